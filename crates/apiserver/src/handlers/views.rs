//! Events as other formats show them (Tables, metadata, YAML, other versions), encoded once for all watches that ask for the same.
//! Plain JSON needs none of this: there an event's own text is shared.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::request::Format;
use crate::resource::Resource;

/// Most views that are kept, and most bytes: watches that keep up are all at the same few events.
const VIEWS: usize = 256;
const BYTES: usize = 4 << 20;

/// What makes one text of an event differ from another.
#[derive(Clone)]
pub(super) struct View {
    pub(super) revision: u64,
    pub(super) resource: Arc<Resource>,
    pub(super) format: Format,
    /// `ADDED`, …: selectors differ.
    pub(super) kind: &'static str,
    /// `includeObject`.
    pub(super) include: String,
    /// Tables show ages.
    pub(super) second: i64,
}

impl PartialEq for View {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
            && Arc::ptr_eq(&self.resource, &other.resource)
            && (self.format, self.kind, self.second) == (other.format, other.kind, other.second)
            && self.include == other.include
    }
}

/// The views of the newest events.
#[derive(Default)]
pub(crate) struct Views(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    views: VecDeque<(View, Bytes)>,
    bytes: usize,
}

impl Views {
    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).views.len()
    }

    /// The text of a view; made if nobody has made it yet.
    pub(super) fn get(&self, view: &View, make: impl FnOnce() -> Option<Bytes>) -> Option<Bytes> {
        let kept = |kept: &Kept| kept.views.iter().rev().find(|(known, _)| known == view).map(|(_, text)| text.clone());
        if let Some(text) = kept(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Some(text);
        }
        // Two watches may make the same at once: that costs less than to wait for each other.
        let text = make()?;
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += text.len();
        kept.views.push_back((view.clone(), text.clone()));
        while kept.views.len() > VIEWS || kept.bytes > BYTES {
            let Some((_, gone)) = kept.views.pop_front() else { break };
            kept.bytes -= gone.len();
        }
        Some(text)
    }
}

//! An object at rest in a cache. Touches nothing.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, PoisonError};

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use serde_json::Value;

use crate::object::Kind;

/// How a cache keeps its objects.
#[derive(Debug)]
pub(crate) enum Keeping {
    /// As they are: what every pass lists costs nothing to read.
    Open,
    /// As text, packed by what it differs in from a sample: what is read once in a pass over one key.
    Packed(Samples),
}

/// Texts that others are packed by: of each name the first one that was seen, for objects of one name are alike in every
/// namespace.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    texts: Mutex<BTreeMap<String, Arc<str>>>,
    /// Whether samples leave out `data`: they outlive their object, and keys must not.
    without_data: bool,
}

/// More names than this have no sample of their own.
const SAMPLES: usize = 32;
/// Half of the best that can be had, in a tenth of the time.
const EFFORT: Compression = Compression::new(3);

thread_local! {
    // Making one costs more than packing an object with it: its tables are a hundred times as large.
    static DEFLATE: RefCell<Compress> = RefCell::new(Compress::new(EFFORT, true));
    static INFLATE: RefCell<Decompress> = RefCell::new(Decompress::new(true));
}

/// An object as a cache keeps it. It may be a Secret, so its content has no Debug output.
#[derive(Clone)]
pub(crate) enum Stored {
    Open(Arc<Value>),
    Text(Arc<str>),
    Packed { bytes: Arc<[u8]>, length: usize, like: Arc<str> },
}

impl Keeping {
    /// `name`: of the object, without its namespace.
    pub(crate) fn store(&self, name: &str, object: &Arc<Value>) -> Stored {
        match self {
            Self::Open => Stored::Open(Arc::clone(object)),
            Self::Packed(samples) => samples.pack(name, object),
        }
    }
}

impl Samples {
    /// For objects of this kind.
    pub(crate) fn of(kind: &Kind) -> Self {
        Self { texts: Mutex::default(), without_data: kind.group.is_empty() && kind.kind == "Secret" }
    }

    fn pack(&self, name: &str, object: &Value) -> Stored {
        let text = object.to_string();
        let like = self.sample(name, object, &text);
        match pack(text.as_bytes(), like.as_bytes()) {
            Some(bytes) => Stored::Packed { bytes: bytes.into(), length: text.len(), like },
            None => Stored::Text(text.into()),
        }
    }

    fn sample(&self, name: &str, object: &Value, text: &str) -> Arc<str> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(like) = texts.get(name) {
            return Arc::clone(like);
        }
        if texts.len() >= SAMPLES {
            // Any other is better than none: it is of the same kind.
            let near = texts.range::<str, _>((Bound::Unbounded, Bound::Excluded(name))).next_back();
            if let Some((_, like)) = near.or_else(|| texts.first_key_value()) {
                return Arc::clone(like);
            }
        }
        let like: Arc<str> = match object {
            Value::Object(fields) if self.without_data => {
                let mut fields = fields.clone();
                fields.remove("data");
                Value::Object(fields).to_string().into()
            }
            _ => text.into(),
        };
        texts.insert(name.to_owned(), Arc::clone(&like));
        like
    }
}

impl Stored {
    pub(crate) fn open(&self) -> Arc<Value> {
        // What was packed is always the text of a value.
        let read = |text: &[u8]| Arc::new(serde_json::from_slice(text).unwrap_or_default());
        match self {
            Self::Open(object) => Arc::clone(object),
            Self::Text(text) => read(text.as_bytes()),
            Self::Packed { bytes, length, like } => read(&unpack(bytes, *length, like.as_bytes()).unwrap_or_default()),
        }
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stored")
    }
}

/// `None` when it would not become shorter, or there is no sample: without one, zlib writes nothing of a dictionary, which [`unpack`]
/// expects.
fn pack(text: &[u8], like: &[u8]) -> Option<Vec<u8>> {
    if like.is_empty() {
        return None;
    }
    DEFLATE.with_borrow_mut(|deflate| {
        deflate.reset();
        deflate.set_dictionary(like).ok()?;
        let mut packed = Vec::with_capacity(text.len());
        let status = deflate.compress_vec(text, &mut packed, FlushCompress::Finish).ok()?;
        packed.shrink_to_fit();
        (status == Status::StreamEnd).then_some(packed)
    })
}

fn unpack(bytes: &[u8], length: usize, like: &[u8]) -> Option<Vec<u8>> {
    INFLATE.with_borrow_mut(|inflate| {
        inflate.reset(true);
        let mut text = Vec::with_capacity(length);
        // The first call reads the header, which asks for the sample.
        let asks = inflate.decompress_vec(bytes, &mut text, FlushDecompress::None).err()?;
        asks.needs_dictionary()?;
        inflate.set_dictionary(like).ok()?;
        let rest = bytes.get(usize::try_from(inflate.total_in()).ok()?..)?;
        let status = inflate.decompress_vec(rest, &mut text, FlushDecompress::Finish).ok()?;
        (status == Status::StreamEnd && text.len() == length).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn packed() -> Keeping {
        Keeping::Packed(Samples::default())
    }

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let object =
            Arc::new(json!({"data": {"a": "\u{0}\"ü\\", "n": 1.5, "big": u64::MAX, "none": null}, "list": [{}]}));
        for keeping in [Keeping::Open, packed()] {
            for name in ["a", "a", "b"] {
                assert_eq!(keeping.store(name, &object).open(), object, "{keeping:?}");
            }
        }
    }

    #[test]
    fn alike_objects_of_a_name_are_kept_in_a_fraction() {
        let keeping = packed();
        let object = |tenant: u32| {
            let rules: Vec<_> = (0..50).map(|n| json!({"verbs": ["get"], "resources": [format!("r{n}")]})).collect();
            Arc::new(json!({"metadata": {"name": "role", "namespace": format!("tenant-{tenant}")}, "rules": rules}))
        };
        keeping.store("role", &object(0));
        let Stored::Packed { bytes, length, .. } = keeping.store("role", &object(1)) else { panic!("it is packed") };
        assert!(bytes.len() * 20 < length, "{} of {length}", bytes.len());
    }

    #[test]
    fn samples_are_bounded() {
        let Keeping::Packed(samples) = packed() else { panic!("it packs") };
        for name in 0..100 {
            let object = json!({"name": name, "text": "x".repeat(100)});
            assert_eq!(*samples.pack(&name.to_string(), &object).open(), object);
        }
        assert_eq!(samples.texts.lock().unwrap().len(), SAMPLES);
    }

    #[test]
    fn sample_of_a_secret_holds_nothing_secret() {
        let samples = Samples::of(&Kind::of::<k8s_openapi::api::core::v1::Secret>());
        let object = json!({"metadata": {"name": "a"}, "data": {"key": "c2VjcmV0"}});
        assert_eq!(*samples.pack("a", &object).open(), object);
        assert!(!samples.texts.lock().unwrap()["a"].contains("c2VjcmV0"));
    }

    #[test]
    fn nothing_is_packed_by_nothing() {
        assert_eq!(pack(&[b'a'; 100], b""), None);
    }

    proptest! {
        #[test]
        fn any_text_is_found_again_whatever_it_is_packed_by(text in "\\PC{0,2000}", like in "\\PC{0,2000}") {
            if let Some(packed) = pack(text.as_bytes(), like.as_bytes()) {
                prop_assert_eq!(unpack(&packed, text.len(), like.as_bytes()), Some(text.into_bytes()));
            }
        }
    }
}

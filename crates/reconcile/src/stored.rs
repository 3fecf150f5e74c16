//! An object at rest in a cache. Touches nothing.

use std::sync::Arc;

use serde_json::Value;

/// How a cache keeps its objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// As they are: what every pass lists costs nothing to read.
    Open,
    /// As text, a tenth of the memory: what is read once in a pass over one key.
    Packed,
}

/// An object as a cache keeps it.
#[derive(Clone, Debug)]
pub(crate) enum Stored {
    Open(Arc<Value>),
    Packed(Arc<str>),
}

impl Keeping {
    pub(crate) fn store(self, object: &Arc<Value>) -> Stored {
        match self {
            Self::Open => Stored::Open(Arc::clone(object)),
            Self::Packed => Stored::Packed(object.to_string().into()),
        }
    }
}

impl Stored {
    pub(crate) fn open(&self) -> Arc<Value> {
        match self {
            Self::Open(object) => Arc::clone(object),
            // The text of a value is always one.
            Self::Packed(text) => Arc::new(serde_json::from_str(text).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_packed_comes_out_as_it_was() {
        let object =
            Arc::new(json!({"data": {"a": "\u{0}\"ü\\", "n": 1.5, "big": u64::MAX, "none": null}, "list": [{}]}));
        for keeping in [Keeping::Open, Keeping::Packed] {
            assert_eq!(keeping.store(&object).open(), object, "{keeping:?}");
        }
    }
}

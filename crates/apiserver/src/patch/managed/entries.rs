//! `metadata.managedFields`: reading, writing, ordering and bounding its entries. Pure.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::clock::rfc3339_seconds;
use crate::field::go_quote;

use super::set::FieldSet;

/// Most entries of updates; older ones are merged into one per version, as kube-apiserver does.
const MAX_UPDATERS: usize = 10;

/// Manager of the entry that old updates are merged into.
const ANCIENT: &str = "ancient-changes";

/// How an entry came to be. The order is that in which entries are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// By server-side apply.
    Apply,
    /// By any other write.
    Update,
}

/// What tells entries apart. Appliers are one whatever version they use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) manager: String,
    pub(super) operation: Operation,
    /// Empty for appliers.
    pub(super) api_version: String,
    pub(super) subresource: String,
}

/// What a manager owns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Owned {
    pub(super) set: FieldSet,
    pub(super) api_version: String,
    pub(super) time: Option<Timestamp>,
}

pub(super) type Entries = BTreeMap<Id, Owned>;

impl Id {
    pub(super) fn new(manager: &str, operation: Operation, api_version: &str, subresource: &str) -> Self {
        Self {
            manager: if manager.is_empty() { "unknown".to_owned() } else { manager.to_owned() },
            operation,
            api_version: if operation == Operation::Apply { String::new() } else { api_version.to_owned() },
            subresource: subresource.to_owned(),
        }
    }
}

/// As conflicts print a manager.
impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&go_quote(&self.manager))?;
        if !self.subresource.is_empty() {
            write!(f, " with subresource {}", go_quote(&self.subresource))?;
        }
        if self.operation == Operation::Update {
            write!(f, " using {}", self.api_version)?;
        }
        Ok(())
    }
}

/// Reads `managedFields`; absent or null is empty. The error says what is malformed.
pub(super) fn decode(list: Option<&Value>) -> Result<Entries, String> {
    let list = match list {
        None | Some(Value::Null) => return Ok(Entries::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err("managedFields is not a list".to_owned()),
    };
    let mut out = Entries::new();
    for (at, entry) in list.iter().enumerate() {
        let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        let operation = match text("operation") {
            "Apply" => Operation::Apply,
            "Update" => Operation::Update,
            _ => return Err("operation must be `Apply` or `Update`".to_owned()),
        };
        let api_version = text("apiVersion");
        if api_version.is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
        }
        let set = match entry.get("fieldsV1") {
            None | Some(Value::Null) => FieldSet::default(),
            Some(fields) => {
                FieldSet::parse(fields).ok_or_else(|| format!("invalid fieldsV1 in managed fields entry {at}"))?
            }
        };
        let time = match entry.get("time") {
            None | Some(Value::Null) => None,
            Some(time) => {
                let time = time.as_str().and_then(|time| time.parse().ok());
                Some(time.ok_or_else(|| format!("invalid time in managed fields entry {at}"))?)
            }
        };
        let id = Id::new(text("manager"), operation, api_version, text("subresource"));
        out.insert(id, Owned { set, api_version: api_version.to_owned(), time });
    }
    Ok(out)
}

/// The entries as `managedFields` lists them.
pub(super) fn encode(entries: &Entries) -> Vec<Value> {
    let mut list: Vec<(&Id, &Owned)> = entries.iter().collect();
    list.sort_by_key(|(id, owned)| {
        (id.operation, seconds(owned), &id.manager, owned.api_version.as_str(), id.subresource.as_str())
    });
    let entry = |(id, owned): (&Id, &Owned)| {
        let operation = match id.operation {
            Operation::Apply => "Apply",
            Operation::Update => "Update",
        };
        let mut out = Map::new();
        out.insert("manager".to_owned(), json!(id.manager));
        out.insert("operation".to_owned(), json!(operation));
        out.insert("apiVersion".to_owned(), json!(owned.api_version));
        if let Some(time) = owned.time {
            out.insert("time".to_owned(), json!(rfc3339_seconds(time)));
        }
        out.insert("fieldsType".to_owned(), json!("FieldsV1"));
        out.insert("fieldsV1".to_owned(), owned.set.to_value());
        if !id.subresource.is_empty() {
            out.insert("subresource".to_owned(), json!(id.subresource));
        }
        Value::Object(out)
    };
    list.into_iter().map(entry).collect()
}

fn seconds(owned: &Owned) -> i64 {
    owned.time.map_or(0, |time| time.as_second())
}

/// Writes the entries into an object; none means no `managedFields`.
pub(super) fn store(object: &mut Value, entries: &Entries) {
    let Some(object) = object.as_object_mut() else { return };
    if entries.is_empty() {
        if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
            metadata.remove("managedFields");
        }
        return;
    }
    let metadata = object.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.insert("managedFields".to_owned(), Value::Array(encode(entries)));
    }
}

/// Takes `managedFields` out of an object.
pub(super) fn take(object: &mut Value) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.remove("managedFields")
}

/// The list is there and says "forget all": empty, or one empty entry.
pub(super) fn is_reset(list: Option<&Value>) -> bool {
    match list {
        Some(Value::Array(list)) => match list.as_slice() {
            [] => true,
            [Value::Object(one)] => one.is_empty(),
            _ => false,
        },
        _ => false,
    }
}

/// Merges the oldest updates of a version into one entry until there are few enough.
pub(super) fn cap(entries: &mut Entries) {
    if entries.len() <= MAX_UPDATERS {
        return;
    }
    let mut updaters: Vec<(i64, Id)> = entries
        .iter()
        .filter(|(id, _)| id.operation == Operation::Update)
        .map(|(id, owned)| (seconds(owned), id.clone()))
        .collect();
    let mut left = updaters.len();
    updaters.sort();
    let mut first_of_version: BTreeMap<String, Id> = BTreeMap::new();
    for (_, id) in updaters {
        if left <= MAX_UPDATERS {
            return;
        }
        let bucket = Id::new(ANCIENT, Operation::Update, &id.api_version, "");
        let Some(first) = first_of_version.get(&id.api_version) else {
            first_of_version.insert(id.api_version.clone(), id);
            continue;
        };
        if !entries.contains_key(&bucket)
            && let Some(owned) = entries.remove(first)
        {
            entries.insert(bucket.clone(), owned);
        }
        if id == bucket {
            continue;
        }
        if let Some(owned) = entries.remove(&id)
            && let Some(ancient) = entries.get_mut(&bucket)
        {
            ancient.set.add(&owned.set);
            ancient.time = owned.time;
            left -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{cap, decode, encode, is_reset};

    fn entry(manager: &str, operation: &str, time: &str, field: &str) -> Value {
        json!({"manager": manager, "operation": operation, "apiVersion": "v1", "time": time, "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {format!("f:{field}"): {}}}})
    }

    #[test]
    fn entries_are_sorted_by_operation_time_and_manager() {
        let list = json!([
            entry("z", "Update", "2026-01-01T00:00:00Z", "a"),
            entry("b", "Apply", "2026-01-02T00:00:00Z", "b"),
            entry("c", "Apply", "2026-01-01T00:00:00Z", "c"),
            entry("a", "Apply", "2026-01-02T00:00:00Z", "d"),
        ]);
        let out = encode(&decode(Some(&list)).unwrap());
        let order: Vec<&str> = out.iter().map(|e| e["manager"].as_str().unwrap()).collect();
        assert_eq!(order, ["c", "a", "b", "z"]);
        assert_eq!(out[3], list[0]);
    }

    #[test]
    fn malformed_entries_are_refused() {
        let good = entry("a", "Apply", "2026-01-01T00:00:00Z", "a");
        for (field, value) in [
            ("operation", json!("Nope")),
            ("apiVersion", json!("")),
            ("fieldsType", json!("X")),
            ("fieldsType", json!("")),
            ("fieldsV1", json!({"x": {}})),
            ("time", json!("yesterday")),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(decode(Some(&json!([bad]))).is_err(), "{field}");
        }
        assert!(decode(Some(&json!([good]))).is_ok());
    }

    #[test]
    fn an_empty_list_and_one_empty_entry_reset() {
        assert!(is_reset(Some(&json!([]))));
        assert!(is_reset(Some(&json!([{}]))));
        assert!(!is_reset(Some(&json!([{}, {}]))));
        assert!(!is_reset(None));
    }

    #[test]
    fn old_updates_become_ancient_changes() {
        let list: Vec<Value> = (0..12)
            .map(|i| entry(&format!("m{i:02}"), "Update", &format!("2026-01-01T00:00:{i:02}Z"), &format!("f{i}")))
            .collect();
        let mut entries = decode(Some(&json!(list))).unwrap();
        cap(&mut entries);
        let out = encode(&entries);
        assert_eq!(out.len(), 10);
        assert_eq!(out[0]["manager"], "ancient-changes");
        assert_eq!(out[0]["fieldsV1"], json!({"f:data": {"f:f0": {}, "f:f1": {}, "f:f2": {}}}));
        assert_eq!(out[0]["time"], "2026-01-01T00:00:02Z");
    }
}

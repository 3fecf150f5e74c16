//! Rules that hold for every object of a kind with granular maps, keyed lists, sets and atomics.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::schema::{Definitions, Schema, Typed, defaults};

use super::shape::Node;
use super::walk::At;
use super::{FieldSet, Manager, Target, apply, settle_times, track_update};

fn schema() -> Schema {
    serde_json::from_value(json!({"type": "object", "properties": {
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "list": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
            "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "proto"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
                    "proto": {"type": "string", "default": "TCP"}, "value": {"type": "integer"},
                    "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}}},
        }},
    }}))
    .unwrap()
}

/// Applies a spec under a fresh clock tick; conflicts are overruled.
fn applied(live: Option<&Value>, spec: &Value, name: &str, tick: i64) -> Value {
    let (schema, defs, reset) = (schema(), Definitions::new(), FieldSet::default());
    let schema = Typed::new(&defs, &schema);
    let target = Target { schema, api_version: "g/v1", kind: "K", custom: true, reset: &reset, versions: &() };
    let who = Manager { name, subresource: "", now: jiff::Timestamp::from_second(1_700_000_000 + tick).unwrap() };
    let config = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "spec": spec});
    apply(&target, live, &config, &who, true).unwrap()
}

fn field_set(object: &Value) -> FieldSet {
    let (schema, defs) = (schema(), Definitions::new());
    At::root(Node::new(Typed::new(&defs, &schema))).field_set(&json!({"spec": object["spec"]}))
}

/// Everything that some manager owns.
fn owned(object: &Value) -> FieldSet {
    let list = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    list.iter().fold(FieldSet::default(), |all, entry| all.union(&FieldSet::parse(&entry["fieldsV1"]).unwrap()))
}

fn ungoverned(object: &Value) -> Value {
    let mut object = object.clone();
    object["metadata"] = Value::Null;
    object
}

fn strings(names: &'static str, most: usize) -> impl Strategy<Value = Value> {
    prop::collection::btree_map(names, "[x-z]", 0..most).prop_map(|map| json!(map))
}

fn set(names: &'static str) -> impl Strategy<Value = Value> {
    prop::collection::btree_set(names, 1..4).prop_map(|set| json!(set))
}

/// A spec whose fields are told apart by `names`: specs over disjoint names have no field in common. Lists hold
/// something: an empty one is owned by nobody.
fn spec(names: &'static str) -> impl Strategy<Value = Value> {
    let keyed = prop::collection::btree_map((names, prop::option::of("TCP|UDP")), (0..3i64, set(names)), 1..4)
        .prop_map(|map| {
            let mut seen = std::collections::BTreeSet::new();
            let unique = map.into_iter().filter(|((name, proto), _)| {
                seen.insert((name.clone(), proto.clone().unwrap_or_else(|| "TCP".to_owned())))
            });
            let element = |((name, proto), (value, set)): ((String, Option<String>), (i64, Value))| {
                let mut out = json!({"name": name, "value": value, "set": set});
                if let Some(proto) = proto {
                    out["proto"] = json!(proto);
                }
                out
            };
            unique.map(element).collect::<Vec<_>>()
        });
    (
        prop::option::of(strings(names, 4)),
        prop::option::of(strings(names, 4)),
        prop::option::of(set(names)),
        prop::option::of(keyed),
    )
        .prop_map(|(map, open, set, keyed)| {
            let mut out = Map::new();
            let mut put = |name: &str, value: Option<Value>| value.map(|value| out.insert(name.to_owned(), value));
            put("map", map);
            put("open", open);
            put("set", set);
            put("keyed", keyed.map(Value::from));
            Value::Object(out)
        })
}

/// As [`spec`], with fields that are owned whole.
fn full_spec() -> impl Strategy<Value = Value> {
    let whole = prop::option::of(strings("[a-c]", 3));
    let list = prop::option::of(prop::collection::vec("[a-c]", 0..3));
    (spec("[a-f]"), whole, list).prop_map(|(mut spec, whole, list)| {
        if let Some(whole) = whole {
            spec["whole"] = whole;
        }
        if let Some(list) = list {
            spec["list"] = json!(list);
        }
        spec
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-c]".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 48, 4, |inner| {
        let key = prop::sample::select(vec![
            "metadata",
            "spec",
            "map",
            "whole",
            "open",
            "set",
            "keyed",
            "name",
            "proto",
            "managedFields",
            "fieldsV1",
            "f:spec",
            "v:1",
            "k:{}",
            ".",
            "operation",
            "time",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()))
        ]
    })
}

/// What a client does to an object.
#[derive(Clone, Copy, Debug)]
enum Act {
    Apply,
    Force,
    /// A PUT of exactly this spec.
    Replace,
}

/// Which parts of a random schema are owned whole.
#[derive(Clone, Copy, Debug)]
struct Whole {
    map: bool,
    list: bool,
    keyed: bool,
}

fn whole() -> impl Strategy<Value = Whole> {
    (any::<bool>(), any::<bool>(), any::<bool>()).prop_map(|(map, list, keyed)| Whole { map, list, keyed })
}

/// The kind with other list and map types and a default.
fn schema_of(whole: Whole) -> Schema {
    let map = json!({"type": "object", "additionalProperties": {"type": "string"},
        "x-kubernetes-map-type": if whole.map { "atomic" } else { "granular" }});
    let set = json!({"type": "array", "items": {"type": "string"},
        "x-kubernetes-list-type": if whole.list { "atomic" } else { "set" }});
    let mut keyed = json!({"type": "array", "items": {"type": "object", "required": ["name"], "properties": {
        "name": {"type": "string"}, "proto": {"type": "string", "default": "TCP"}, "value": {"type": "integer"},
        "set": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"}}}});
    if !whole.keyed {
        keyed["x-kubernetes-list-type"] = json!("map");
        keyed["x-kubernetes-list-map-keys"] = json!(["name", "proto"]);
    }
    serde_json::from_value(json!({"type": "object", "properties": {
        "metadata": {"type": "object"},
        "spec": {"type": "object", "properties": {
            "map": map, "set": set, "keyed": keyed, "limit": {"type": "integer", "default": 5},
            "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
            "list": {"type": "array", "items": {"type": "string"}},
        }},
    }}))
    .unwrap()
}

/// An object, what happens to it and when.
struct History {
    schema: Schema,
    defs: Definitions,
    object: Option<Value>,
    clock: i64,
}

impl History {
    fn new(whole: Whole) -> Self {
        Self { schema: schema_of(whole), defs: Definitions::new(), object: None, clock: 1_700_000_000 }
    }

    fn fields(&self, spec: &Value) -> FieldSet {
        At::root(Node::new(Typed::new(&self.defs, &self.schema))).field_set(&json!({ "spec": spec }))
    }

    /// Does it as the server does; a conflict leaves everything as it was. Whether it was done.
    fn act(&mut self, name: &str, act: Act, spec: &Value) -> bool {
        let reset = FieldSet::default();
        let schema = Typed::new(&self.defs, &self.schema);
        let target = Target { schema, api_version: "g/v1", kind: "K", custom: true, reset: &reset, versions: &() };
        self.clock += 1;
        let who = Manager { name, subresource: "", now: jiff::Timestamp::from_second(self.clock).unwrap() };
        let mut new = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "spec": spec});
        let live = self.object.as_ref();
        let done = match act {
            Act::Replace => {
                defaults::default(&mut new, &self.schema);
                track_update(&target, live, &mut new, &who);
                Some(new)
            }
            Act::Apply | Act::Force => apply(&target, live, &new, &who, matches!(act, Act::Force)).ok(),
        };
        let Some(mut done) = done else { return false };
        defaults::default(&mut done, &self.schema);
        if let Some(live) = live {
            settle_times(live, &mut done);
        }
        self.object = Some(done);
        true
    }

    /// Paths that hold something which no manager owns and no default explains.
    fn unexplained(&self) -> Vec<String> {
        let object = self.object.as_ref().unwrap();
        let stray = self.fields(&object["spec"]).difference(&owned(object));
        let explained = |path: &String| {
            let default = path == ".spec.limit" && object["spec"]["limit"] == 5 || path.ends_with(".proto");
            default || is_empty_container(object, path)
        };
        stray.paths().into_iter().filter(|path| !explained(path)).collect()
    }
}

fn any_set() -> impl Strategy<Value = FieldSet> {
    (full_spec(), full_spec()).prop_map(|(a, b)| {
        let parents = FieldSet::of(&[&["spec"], &["spec", "keyed"], &["other", "x"]]);
        field_set(&json!({"spec": a})).union(&field_set(&json!({"spec": b})).intersection(&parents)).union(&parents)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// The rules that hold after every step of every history, whatever the lists and maps are.
    #[test]
    fn histories_keep_the_rules(
        whole in whole(),
        steps in prop::collection::vec(
            (0..3_usize, prop::sample::select(vec![Act::Apply, Act::Force, Act::Replace]), full_spec(), any::<bool>()),
            1..7,
        ),
    ) {
        let mut world = History::new(whole);
        for (who, act, mut spec, limited) in steps {
            if limited {
                spec["limit"] = json!(7);
            }
            let name = ["alice", "bob", "carol"][who];
            let before = world.object.clone();
            if !world.act(name, act, &spec) {
                prop_assert_eq!(&world.object, &before, "a conflict changes nothing");
                continue;
            }
            let object = world.object.clone().unwrap();
            // An object that nobody manages any more is not tracked again by updates: `skipNonAppliedManager` of kube-apiserver.
            let is_tracked = before.as_ref().is_none_or(|before| !owned(before).is_empty()) || !matches!(act, Act::Replace);
            let left = world.unexplained();
            prop_assert!(!is_tracked || left.is_empty(), "nobody owns {:?} in {}", left, object);
            let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
            for entry in &entries {
                let set = FieldSet::parse(&entry["fieldsV1"]).unwrap();
                prop_assert!(!set.is_empty());
            }
            let mine = entries.iter().find(|e| e["manager"] == name && e["operation"] == "Apply");
            if !matches!(act, Act::Replace) {
                let said = world.fields(&spec);
                let mine = mine.map(|e| FieldSet::parse(&e["fieldsV1"]).unwrap()).unwrap_or_default();
                prop_assert_eq!(&mine, &said, "an applier owns what it says and no more");
                let missing = said.difference(&world.fields(&object["spec"]));
                let missing = missing.paths().into_iter().filter(|path| object.pointer(&path.replace('.', "/")).is_none()).collect::<Vec<_>>();
                prop_assert!(missing.is_empty(), "{:?} is not there", missing);
            }
            // Once more, in any way, changes nothing.
            world.act(name, act, &spec);
            prop_assert_eq!(world.object.as_ref(), Some(&object), "{:?} twice", act);
        }
    }

    #[test]
    fn apply_is_idempotent(first in full_spec(), second in full_spec()) {
        let one = applied(None, &first, "alice", 0);
        let two = applied(Some(&one), &second, "bob", 1);
        prop_assert_eq!(applied(Some(&two), &second, "bob", 2), two);
    }

    #[test]
    fn an_apply_owns_what_it_says_and_sets_it(first in full_spec(), second in full_spec()) {
        let one = applied(None, &first, "alice", 0);
        let two = applied(Some(&one), &second, "bob", 1);
        let wanted = field_set(&json!({"spec": second}));
        prop_assert_eq!(wanted.difference(&owned(&two)), FieldSet::default());
    }

    #[test]
    fn managers_of_disjoint_fields_commute(a in spec("[a-c]"), b in spec("[d-f]"), a2 in spec("[a-c]")) {
        let sorted = |object: &Value| {
            let mut object = ungoverned(object);
            sort(&mut object);
            object
        };
        let ab = applied(Some(&applied(None, &a, "alice", 0)), &b, "bob", 1);
        let ba = applied(Some(&applied(None, &b, "bob", 0)), &a, "alice", 1);
        prop_assert_eq!(sorted(&ab), sorted(&ba));
        prop_assert_eq!(owned(&ab), owned(&ba));
        // Nor does what one drops touch the other's.
        let after = applied(Some(&ab), &a2, "alice", 2);
        prop_assert_eq!(field_set(&json!({"spec": b})).difference(&field_set(&after)).intersection(&leaves()), FieldSet::default());
    }

    #[test]
    fn nothing_is_left_that_nobody_owns(first in full_spec(), second in full_spec(), third in full_spec()) {
        let one = applied(None, &first, "alice", 0);
        let two = applied(Some(&one), &second, "bob", 1);
        let three = applied(Some(&two), &third, "alice", 2);
        let stray = field_set(&three).difference(&owned(&three));
        // Containers that emptied are no values.
        prop_assert!(stray.paths().iter().all(|path| is_empty_container(&three, path)), "{:?} in {}", stray.paths(), three);
    }

    #[test]
    fn an_update_is_owned_where_it_changes(first in full_spec(), second in full_spec()) {
        let (schema, defs, reset) = (schema(), Definitions::new(), FieldSet::default());
        let target = Target { schema: Typed::new(&defs, &schema), api_version: "g/v1", kind: "K", custom: true, reset: &reset, versions: &() };
        let who = Manager { name: "bob", subresource: "", now: jiff::Timestamp::from_second(1_700_000_009).unwrap() };
        let one = applied(None, &first, "alice", 0);
        let mut two = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}, "spec": second});
        track_update(&target, Some(&one), &mut two, &who);
        let unowned = field_set(&two).difference(&owned(&two)).difference(&field_set(&one));
        if !owned(&one).is_empty() {
            prop_assert!(unowned.paths().iter().all(|path| is_empty_container(&two, path)), "{:?}", unowned.paths());
        }
        // A second, equal update changes no more.
        let mut three = two.clone();
        track_update(&target, Some(&two), &mut three, &who);
        prop_assert_eq!(three, two);
    }

    #[test]
    fn field_sets_round_trip(set in any_set()) {
        prop_assert_eq!(FieldSet::parse(&set.to_value()).unwrap(), set);
    }

    #[test]
    fn set_laws(a in any_set(), b in any_set()) {
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(a.difference(&b).intersection(&b), FieldSet::default());
        prop_assert!(a.without_subtrees(&b).difference(&a.difference(&b)).is_empty());
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a);
    }

    #[test]
    fn nothing_panics(live in any_json(), config in any_json(), create in any::<bool>(), builtin in any::<bool>()) {
        let (schema, defs, reset) = (schema(), Definitions::new(), FieldSet::of(&[&["status"]]));
        let target = Target { schema: Typed::new(&defs, &schema), api_version: "g/v1", kind: "K", custom: !builtin, reset: &reset, versions: &() };
        let who = Manager { name: "kubectl", subresource: "", now: jiff::Timestamp::from_second(0).unwrap() };
        let live = if create { None } else { Some(&live) };
        let mut typed = config.clone();
        if let Value::Object(map) = &mut typed {
            map.insert("apiVersion".to_owned(), json!("g/v1"));
            map.insert("kind".to_owned(), json!("K"));
        }
        let _ = apply(&target, live, &typed, &who, false);
        let _ = apply(&target, live, &typed, &who, true);
        let mut new = config.clone();
        track_update(&target, live, &mut new, &who);
        let _ = FieldSet::parse(&config);
    }
}

/// Everything but the containers of the schema.
fn leaves() -> FieldSet {
    let containers =
        FieldSet::of(&[&["spec"], &["spec", "map"], &["spec", "open"], &["spec", "set"], &["spec", "keyed"]]);
    field_set(&json!({"spec": {"map": {}}})).difference(&containers)
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(sort),
        Value::Array(list) => {
            list.iter_mut().for_each(sort);
            list.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

/// Whether `.spec.name` is an empty object or list in the object.
fn is_empty_container(object: &Value, path: &str) -> bool {
    let pointer = path.replace('.', "/");
    match object.pointer(&pointer) {
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        _ => false,
    }
}

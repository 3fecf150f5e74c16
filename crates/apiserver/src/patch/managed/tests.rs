use serde_json::{Value, json};

use crate::schema::{Definitions, Schema, Typed};
use crate::status::Status;

use super::{FieldSet, Manager, Target, Versions, apply, reset_fields, settle_times, track_update};

struct World {
    schema: Schema,
    defs: Definitions,
    reset: FieldSet,
    custom: bool,
    /// Seconds since the epoch; every write takes the next one.
    clock: i64,
    object: Option<Value>,
}

impl World {
    /// A custom kind with every sort of list and map.
    fn custom() -> Self {
        let schema = json!({"type": "object", "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string"}, "v": {"type": "integer"}}}},
                "md": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "proto"],
                    "items": {"type": "object", "properties": {"port": {"type": "integer"},
                        "proto": {"type": "string", "default": "TCP"}, "n": {"type": "string"}}}},
                "s": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "a": {"type": "array", "items": {"type": "string"}},
                "o": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"x": {"type": "string"}, "y": {"type": "string"}}},
                "g": {"type": "object", "additionalProperties": {"type": "string"}},
                "p": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                "d": {"type": "integer"},
            }},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }});
        Self::new(schema, true)
    }

    /// A built-in kind: structs that are always there.
    fn built_in() -> Self {
        let schema = json!({"type": "object", "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"},
            "metadata": {"type": "object", "default": {}, "properties": {
                "name": {"type": "string"}, "labels": {"type": "object", "additionalProperties": {"type": "string"}}}},
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "spec": {"type": "object", "default": {}, "required": ["containers"], "properties": {
                "strategy": {"type": "object", "default": {}, "properties": {"type": {"type": "string"}}},
                "containers": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                    "items": {"type": "object", "required": ["name"], "properties": {
                        "name": {"type": "string", "default": ""}, "image": {"type": "string"},
                        "resources": {"type": "object", "default": {}, "properties": {}},
                        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                            "items": {"type": "object", "properties": {"containerPort": {"type": "integer", "default": 0},
                                "protocol": {"type": "string", "default": "TCP"}}}}}}},
            }},
            "status": {"type": "object", "default": {}, "properties": {"phase": {"type": "string"}}},
        }});
        Self::new(schema, false)
    }

    fn new(schema: Value, custom: bool) -> Self {
        let schema = serde_json::from_value(schema).unwrap();
        let reset = reset_fields("g", "K", custom, "", true);
        Self { schema, defs: Definitions::new(), reset, custom, clock: 1_700_000_000, object: None }
    }

    fn target(&self) -> Target<'_> {
        let schema = Typed::new(&self.defs, &self.schema);
        Target { schema, api_version: "g/v1", kind: "K", custom: self.custom, reset: &self.reset, versions: &() }
    }

    fn who<'a>(&mut self, name: &'a str) -> Manager<'a> {
        self.clock += 1;
        Manager { name, subresource: "", now: jiff::Timestamp::from_second(self.clock).unwrap() }
    }

    fn body(&self, fields: Value) -> Value {
        let mut body = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a"}});
        if let Value::Object(fields) = fields {
            body.as_object_mut().unwrap().extend(fields);
        }
        body
    }

    fn apply(&mut self, name: &str, fields: Value) -> Result<(), Status> {
        self.apply_with(name, fields, false)
    }

    fn apply_with(&mut self, name: &str, fields: Value, force: bool) -> Result<(), Status> {
        let who = self.who(name);
        let out = apply(&self.target(), self.object.as_ref(), &self.body(fields), &who, force)?;
        self.object = Some(out);
        Ok(())
    }

    /// A PUT of the object with these fields and the live metadata.
    fn update(&mut self, name: &str, fields: Value) {
        let who = self.who(name);
        let mut new = self.body(fields);
        track_update(&self.target(), self.object.as_ref(), &mut new, &who);
        self.object = Some(new);
    }

    fn field(&self, name: &str) -> Value {
        self.object.as_ref().unwrap().get(name).cloned().unwrap_or_default()
    }

    /// `manager operation → fieldsV1`.
    fn owned(&self) -> Vec<(String, Value)> {
        let list = self.object.as_ref().unwrap()["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|e| {
                (
                    format!("{} {}", e["manager"].as_str().unwrap(), e["operation"].as_str().unwrap()),
                    e["fieldsV1"].clone(),
                )
            })
            .collect()
    }

    fn owner(&self, who: &str) -> Value {
        self.owned().into_iter().find(|(name, _)| name == who).map(|(_, set)| set).unwrap_or_default()
    }
}

#[test]
fn an_applier_owns_what_it_applies() {
    let mut world = World::custom();
    world
        .apply(
            "alice",
            json!({"spec": {"m": [{"name": "a", "v": 1}], "md": [{"port": 1}], "s": ["x"], "a": ["y"], "o": {"x": "1"},
            "g": {"k": "v"}, "p": {"q": {"r": 1}, "l": [1]}, "d": 5}, "status": {"phase": "X"}}),
        )
        .unwrap();
    assert_eq!(
        world.owned(),
        [(
            "alice Apply".to_owned(),
            json!({"f:spec": {
                "f:m": {r#"k:{"name":"a"}"#: {".": {}, "f:name": {}, "f:v": {}}},
                "f:md": {r#"k:{"port":1,"proto":"TCP"}"#: {".": {}, "f:port": {}}},
                "f:s": {r#"v:"x""#: {}}, "f:a": {}, "f:o": {}, "f:g": {"f:k": {}},
                "f:p": {"f:l": {}, "f:q": {".": {}, "f:r": {}}}, "f:d": {},
            }})
        )]
    );
}

#[test]
fn metadata_that_the_server_keeps_is_not_owned() {
    let mut world = World::custom();
    let metadata = json!({"name": "a", "namespace": "n", "resourceVersion": "1", "uid": "u", "labels": {"l": "1"},
        "finalizers": ["x/y"], "ownerReferences": [{"uid": "u", "name": "o"}]});
    world.apply("alice", json!({"metadata": metadata})).unwrap();
    let expected = json!({"f:metadata": {"f:labels": {"f:l": {}}, "f:finalizers": {r#"v:"x/y""#: {}},
        "f:ownerReferences": {r#"k:{"uid":"u"}"#: {}}}});
    assert_eq!(world.owner("alice Apply"), expected);
}

#[test]
fn an_empty_map_and_a_null_are_owned_as_leaves() {
    let mut world = World::custom();
    world.apply("alice", json!({"metadata": {"name": "a", "labels": {}}, "spec": {"g": {"k": null}}})).unwrap();
    assert_eq!(world.owner("alice Apply"), json!({"f:metadata": {"f:labels": {}}, "f:spec": {"f:g": {"f:k": {}}}}));
}

#[test]
fn a_conflict_names_manager_and_field() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"m": [{"name": "a", "v": 1}]}})).unwrap();
    let error = world.apply("bob", json!({"spec": {"m": [{"name": "a", "v": 2}]}})).unwrap_err();
    assert_eq!(
        error.to_json(),
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
            "message": "Apply failed with 1 conflict: conflict with \"alice\": .spec.m[name=\"a\"].v",
            "details": {"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"alice\"",
                "field": ".spec.m[name=\"a\"].v"}]}})
    );
}

#[test]
fn several_conflicts_are_listed_by_manager() {
    let mut world = World::custom();
    world.update("zoe", json!({"spec": {"d": 1}}));
    world.apply("alice", json!({"spec": {"g": {"a": "1", "b": "1"}}})).unwrap();
    let error = world.apply("bob", json!({"spec": {"d": 2, "g": {"a": "2", "b": "2"}}})).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 3 conflicts: conflicts with \"alice\":\n- .spec.g.a\n- .spec.g.b\nconflicts with \"zoe\" using g/v1:\n- .spec.d"
    );
}

#[test]
fn force_takes_the_field() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"a": ["x"], "d": 1}})).unwrap();
    world.apply_with("bob", json!({"spec": {"a": ["y"]}}), true).unwrap();
    assert_eq!(world.field("spec"), json!({"a": ["y"], "d": 1}));
    assert_eq!(world.owner("alice Apply"), json!({"f:spec": {"f:d": {}}}));
    assert_eq!(world.owner("bob Apply"), json!({"f:spec": {"f:a": {}}}));
}

#[test]
fn an_applier_conflicts_with_its_own_update() {
    let mut world = World::custom();
    world.update("alice", json!({"spec": {"d": 1}}));
    assert!(world.apply("alice", json!({"spec": {"d": 2}})).is_err());
    world.apply_with("alice", json!({"spec": {"d": 2}}), true).unwrap();
    assert_eq!(world.owner("alice Update"), json!({"f:spec": {}}));
}

#[test]
fn what_is_left_out_is_removed_unless_shared() {
    let mut world = World::custom();
    world
        .apply(
            "alice",
            json!({"spec": {"g": {"a": "1", "b": "2"}, "m": [{"name": "a"}, {"name": "b"}], "s": ["x", "y"]}}),
        )
        .unwrap();
    world.apply("bob", json!({"spec": {"g": {"b": "2"}, "m": [{"name": "b"}], "s": ["y"]}})).unwrap();
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    assert_eq!(world.field("spec"), json!({"g": {"b": "2"}, "m": [{"name": "b"}], "s": ["y"], "d": 1}));
}

#[test]
fn what_an_updater_owns_is_not_removed() {
    let mut world = World::custom();
    world.update("carol", json!({"spec": {"d": 1, "m": [{"name": "a", "v": 1}]}}));
    world.apply("alice", json!({"spec": {"d": 1, "g": {"k": "v"}}})).unwrap();
    world.apply("alice", json!({"spec": {}})).unwrap();
    assert_eq!(world.field("spec"), json!({"d": 1, "m": [{"name": "a", "v": 1}]}));
}

#[test]
fn a_map_that_is_still_applied_stays_when_it_empties() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 7}})).unwrap();
    world.apply("alice", json!({"spec": {}})).unwrap();
    assert_eq!(world.field("spec"), json!({}));
    assert_eq!(world.owner("alice Apply"), json!({"f:spec": {}}));
    world.apply("alice", json!({})).unwrap();
    assert_eq!(world.field("spec"), Value::Null);
    assert!(world.owned().is_empty());
}

#[test]
fn lists_keep_the_order_of_the_applied_where_it_says_one() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"s": ["a", "b"], "m": [{"name": "A"}, {"name": "B"}]}})).unwrap();
    world.apply("bob", json!({"spec": {"s": ["c", "b"], "m": [{"name": "C"}, {"name": "A"}]}})).unwrap();
    assert_eq!(world.field("spec"), json!({"s": ["a", "c", "b"], "m": [{"name": "C"}, {"name": "A"}, {"name": "B"}]}));
}

#[test]
fn a_missing_key_takes_its_default() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"md": [{"port": 1}]}})).unwrap();
    world
        .apply("bob", json!({"spec": {"md": [{"port": 1, "proto": "TCP", "n": "x"}, {"port": 1, "proto": "UDP"}]}}))
        .unwrap();
    assert_eq!(world.field("spec")["md"], json!([{"port": 1, "proto": "TCP", "n": "x"}, {"port": 1, "proto": "UDP"}]));
}

#[test]
fn what_does_not_fit_the_schema_is_500() {
    let mut world = World::custom();
    for (fields, why) in [
        (json!({"bogus": 1}), ".bogus: field not declared in schema"),
        (json!({"spec": {"d": "three"}}), ".spec.d: expected numeric (int or float), got \"three\""),
        (json!({"spec": {"s": ["x", "x"]}}), ".spec.s: duplicate entries for key [=\"x\"]"),
        (
            json!({"spec": {"m": [{"v": 1}]}}),
            ".spec.m: element 0: associative list with keys has an element that omits key field \"name\" (and doesn't have default value)",
        ),
    ] {
        let error = world.apply("alice", fields).unwrap_err();
        assert_eq!((error.code, &*error.reason), (500, ""));
        assert_eq!(error.message, format!("failed to create typed patch object (/a; g/v1, Kind=K): {why}"));
    }
}

#[test]
fn a_body_of_another_kind_or_with_managed_fields_is_400() {
    let mut world = World::custom();
    for fields in [
        json!({"kind": "L"}),
        json!({"apiVersion": "g/v2"}),
        json!({"kind": ""}),
        json!({"metadata": {"managedFields": []}}),
    ] {
        assert_eq!(world.apply("alice", fields).unwrap_err().code, 400);
    }
}

#[test]
fn an_update_takes_over_what_it_changes() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"g": {"k": "v", "l": "1"}}})).unwrap();
    world.update("bob", json!({"spec": {"g": {"k": "w", "l": "1"}}}));
    assert_eq!(world.owner("alice Apply"), json!({"f:spec": {"f:g": {"f:l": {}}}}));
    assert_eq!(world.owner("bob Update"), json!({"f:spec": {"f:g": {"f:k": {}}}}));
    world.update("carol", json!({}));
    assert!(world.owned().is_empty());
}

#[test]
fn parents_of_custom_resources_are_owned_and_structs_of_built_in_kinds_are_not() {
    let mut world = World::custom();
    world.update("bob", json!({"spec": {"g": {"k": "v"}}}));
    assert_eq!(world.owner("bob Update"), json!({"f:spec": {".": {}, "f:g": {".": {}, "f:k": {}}}}));

    let mut world = World::built_in();
    world.update(
        "bob",
        json!({"data": {"k": "v"}, "spec": {"strategy": {"type": "R"}, "containers": [
        {"name": "c", "image": "i", "ports": [{"containerPort": 80, "protocol": "TCP"}]}]}}),
    );
    assert_eq!(
        world.owner("bob Update"),
        json!({"f:data": {".": {}, "f:k": {}}, "f:spec": {"f:strategy": {"f:type": {}}, "f:containers": {
            r#"k:{"name":"c"}"#: {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}, "f:ports": {".": {},
                r#"k:{"containerPort":80,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}, "f:protocol": {}}}}}}})
    );
}

#[test]
fn status_is_not_owned_through_the_object() {
    let mut world = World::built_in();
    world.update("bob", json!({"data": {"k": "v"}, "status": {"phase": "X"}}));
    assert_eq!(world.owner("bob Update"), json!({"f:data": {".": {}, "f:k": {}}}));
}

#[test]
fn entries_that_the_client_wrote_are_kept_when_well_formed() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    let mut zed = world.field("metadata")["managedFields"].clone();
    zed[0]["manager"] = json!("zed");
    world.update("bob", json!({"metadata": {"name": "a", "managedFields": zed}, "spec": {"d": 1}}));
    assert_eq!(world.owner("zed Apply"), json!({"f:spec": {"f:d": {}}}));
    zed[0]["operation"] = json!("Nope");
    world.update("bob", json!({"metadata": {"name": "a", "managedFields": zed}, "spec": {"d": 1}}));
    assert_eq!(world.owner("zed Apply"), json!({"f:spec": {"f:d": {}}}));
}

#[test]
fn a_reset_forgets_and_the_next_apply_meets_before_first_apply() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    world.update("bob", json!({"metadata": {"name": "a", "managedFields": []}, "spec": {"d": 1}}));
    assert!(world.owned().is_empty());
    world.update("bob", json!({"spec": {"d": 2}}));
    assert!(world.owned().is_empty(), "an object without entries is not tracked");
    let error = world.apply("alice", json!({"spec": {"d": 3}})).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using g/v1: .spec.d");
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 1, "m": [{"name": "a"}]}})).unwrap();
    let before = world.object.clone();
    world.apply("alice", json!({"spec": {"d": 1, "m": [{"name": "a"}]}})).unwrap();
    assert_eq!(world.object, before);
}

#[test]
fn sharing_a_field_without_changing_the_object_has_no_time() {
    let mut world = World::custom();
    world.update("bob", json!({"spec": {"d": 1}}));
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    let entry = &world.field("metadata")["managedFields"][0];
    assert_eq!((entry["manager"].as_str(), entry.get("time")), (Some("alice"), None));
}

#[test]
fn times_settle_when_nothing_else_changed() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    let old = world.object.clone().unwrap();
    let mut new = old.clone();
    new["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    settle_times(&old, &mut new);
    assert_eq!(new, old);
    new["metadata"]["managedFields"][0]["time"] = json!("2030-01-01T00:00:00Z");
    new["spec"]["d"] = json!(2);
    settle_times(&old, &mut new);
    assert_eq!(new["metadata"]["managedFields"][0]["time"], "2030-01-01T00:00:00Z");
}

#[test]
fn kubectl_may_change_what_its_client_side_apply_wrote() {
    let mut world = World::custom();
    let applied = world.body(json!({"spec": {"d": 1}})).to_string();
    let metadata = json!({"name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": applied}});
    world.update("kubectl-client-side-apply", json!({"metadata": metadata, "spec": {"d": 1, "g": {"k": "v"}}}));
    assert!(world.apply("bob", json!({"spec": {"d": 2}})).is_err());
    assert!(world.apply("kubectl", json!({"spec": {"d": 2, "g": {"k": "w"}}})).is_err(), "not written by kubectl");
    world.apply("kubectl", json!({"spec": {"d": 2}})).unwrap();
    let annotations = &world.field("metadata")["annotations"];
    let now: Value =
        serde_json::from_str(annotations["kubectl.kubernetes.io/last-applied-configuration"].as_str().unwrap())
            .unwrap();
    assert_eq!(now["spec"], json!({"d": 2}));
}

#[test]
fn an_apply_that_only_reorders_changes_nothing() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"s": ["a", "b"], "m": [{"name": "x"}, {"name": "y"}]}})).unwrap();
    let before = world.object.clone();
    world.apply("alice", json!({"spec": {"s": ["b", "a"], "m": [{"name": "y"}, {"name": "x"}]}})).unwrap();
    assert_eq!(world.object, before);
}

#[test]
fn a_map_that_became_atomic_is_owned_whole() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"g": {"a": "1"}, "m": [{"name": "x"}]}})).unwrap();
    let spec = json!({"type": "object", "properties": {
        "g": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}},
        "m": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "d": {"type": "integer"}}});
    world.schema = serde_json::from_value(json!({"type": "object", "properties": {"spec": spec}})).unwrap();
    world.apply("bob", json!({"spec": {"d": 1}})).unwrap();
    assert_eq!(world.owner("alice Apply"), json!({"f:spec": {"f:g": {}, "f:m": {}}}));
    assert!(world.apply("bob", json!({"spec": {"g": {"b": "1"}}})).is_err());
}

#[test]
fn an_entry_of_a_version_that_is_gone_goes() {
    let mut world = World::custom();
    world.apply("alice", json!({"spec": {"d": 1}})).unwrap();
    world.object.as_mut().unwrap()["metadata"]["managedFields"][0]["apiVersion"] = json!("g/v0");
    world.apply("bob", json!({"spec": {"d": 2}})).unwrap();
    assert_eq!(world.owned(), [("bob Apply".to_owned(), json!({"f:spec": {"f:d": {}}}))]);
}

/// Version `g/v2` calls `spec.d` `spec.e`.
struct Renamed {
    schema: Schema,
    defs: Definitions,
}

impl Versions for Renamed {
    fn schema(&self, api_version: &str) -> Option<Typed<'_>> {
        matches!(api_version, "g/v1" | "g/v2").then(|| Typed::new(&self.defs, &self.schema))
    }
    fn convert(&self, object: &Value, _from: &str, to: &str) -> Value {
        let mut out = object.clone();
        let (old, new) = if to == "g/v1" { ("e", "d") } else { ("d", "e") };
        if let Some(spec) = out["spec"].as_object_mut()
            && let Some(value) = spec.remove(old)
        {
            spec.insert(new.to_owned(), value);
        }
        out
    }
}

#[test]
fn entries_are_compared_and_pruned_in_their_own_version() {
    let schema = json!({"type": "object", "properties": {"metadata": {"type": "object"}, "spec": {"type": "object",
        "properties": {"d": {"type": "integer"}, "e": {"type": "integer"}, "x": {"type": "integer"}}}}});
    let versions = Renamed { schema: serde_json::from_value(schema).unwrap(), defs: Definitions::new() };
    let reset = FieldSet::default();
    let schema = Typed::new(&versions.defs, &versions.schema);
    let target =
        |api_version| Target { schema, api_version, kind: "K", custom: true, reset: &reset, versions: &versions };
    let who = |name| Manager { name, subresource: "", now: jiff::Timestamp::UNIX_EPOCH };
    let body = |version: &str, spec: Value| json!({"apiVersion": version, "kind": "K", "metadata": {"name": "a"}, "spec": spec});
    let one = apply(&target("g/v1"), None, &body("g/v1", json!({"d": 1, "x": 1})), &who("alice"), false).unwrap();

    let live = versions.convert(&one, "g/v1", "g/v2");
    let error = apply(&target("g/v2"), Some(&live), &body("g/v2", json!({"e": 2})), &who("bob"), false).unwrap_err();
    assert_eq!(error.message, "Apply failed with 1 conflict: conflict with \"alice\": .spec.d");

    // Alice applies in the other version and leaves out what she called `d`.
    let two = apply(&target("g/v2"), Some(&live), &body("g/v2", json!({"x": 1})), &who("alice"), false).unwrap();
    assert_eq!(two["spec"], json!({"x": 1}));
    let list = two["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["apiVersion"]), (1, &json!("g/v2")));
}

#[test]
fn long_lists_are_merged_in_reasonable_time() {
    let mut world = World::custom();
    let list = |v: i64| (0..5_000).map(|i| json!({"name": format!("n{i}"), "v": v})).collect::<Vec<_>>();
    world.apply("alice", json!({"spec": {"m": list(1)}})).unwrap();
    world.apply("alice", json!({"spec": {"m": list(2)}})).unwrap();
    assert_eq!(world.field("spec")["m"][4_999]["v"], 2);
}

#[test]
fn a_crd_that_restricts_names_does_not_undescribe_metadata() {
    let mut world = World::custom();
    world.schema = serde_json::from_value(json!({"type": "object", "properties": {
        "metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}},
    }}))
    .unwrap();
    let metadata = json!({"name": "a", "labels": {"l": "1"}});
    let template = json!({"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"m": "2"}}, "spec": {}});
    world.apply("alice", json!({"metadata": metadata, "template": template})).unwrap();
    assert_eq!(
        world.owner("alice Apply"),
        json!({"f:metadata": {"f:labels": {"f:l": {}}}, "f:template": {
        "f:apiVersion": {}, "f:kind": {}, "f:metadata": {"f:labels": {"f:m": {}}}, "f:spec": {}}})
    );
}

#[test]
fn a_conflict_names_the_subresource() {
    let mut world = World::custom();
    world.reset = FieldSet::default();
    let status = Manager { subresource: "status", ..world.who("kubelet") };
    let mut object = world.body(json!({"status": {"phase": "X"}}));
    track_update(&world.target(), None, &mut object, &status);
    world.object = Some(object);
    let error = world.apply("bob", json!({"status": {"phase": "Y"}})).unwrap_err();
    assert!(
        error.message.contains("conflict with \"kubelet\" with subresource \"status\" using g/v1: .status"),
        "{error}"
    );
}

#[test]
fn nobody_conflicts_over_fields_that_the_request_cannot_write() {
    let mut world = World::custom();
    let status = Manager { subresource: "status", ..world.who("kubelet") };
    let of_status = reset_fields("g", "K", true, "status", true);
    let mut object = world.body(json!({"spec": {"d": 1}, "status": {"phase": "X"}}));
    track_update(&Target { reset: &of_status, ..world.target() }, None, &mut object, &status);
    world.object = Some(object);
    assert_eq!(world.owner("kubelet Update"), json!({"f:status": {".": {}, "f:phase": {}}}));
    world.apply("bob", json!({"spec": {"d": 1}, "status": {"phase": "Y"}})).unwrap();
    assert_eq!(world.owner("bob Apply"), json!({"f:spec": {"f:d": {}}}));
}

/// Applies and updates of real kinds.
mod built_in_kinds {
    use serde_json::{Value, json};

    use super::super::{FieldSet, Manager, Target, apply, reset_fields, track_update};
    use crate::schema::{Typed, builtin};
    use crate::status::Status;

    fn deployment(pod: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": pod}}})
    }

    fn with_target<T>(act: impl FnOnce(&Target<'_>, &Manager<'_>) -> T) -> T {
        let (defs, schema) = builtin("apps", "v1", "Deployment");
        let reset = reset_fields("apps", "Deployment", false, "", true);
        let schema = Typed::new(&defs, &schema);
        let target =
            Target { schema, api_version: "apps/v1", kind: "Deployment", custom: false, reset: &reset, versions: &() };
        let now = jiff::Timestamp::from_second(1_700_000_000).unwrap();
        act(&target, &Manager { name: "me", subresource: "", now })
    }

    fn applied(live: Option<&Value>, pod: &Value) -> Result<Value, Status> {
        with_target(|target, who| apply(target, live, &deployment(pod), who, false))
    }

    fn owned(object: &Value) -> Value {
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].clone()
    }

    #[test]
    fn selectors_are_owned_whole_and_containers_by_name() {
        let pod = json!({"containers": [{"name": "c", "command": ["run"], "ports": [{"containerPort": 1}],
            "resources": {"limits": {"cpu": "1"}}}], "nodeSelector": {"x": "y"}, "tolerations": [{"key": "k"}]});
        assert_eq!(
            owned(&applied(None, &pod).unwrap()),
            json!({"f:selector": {}, "f:template": {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {
                "f:nodeSelector": {}, "f:tolerations": {}, "f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:name": {},
                    "f:command": {}, "f:resources": {"f:limits": {"f:cpu": {}}},
                    "f:ports": {r#"k:{"containerPort":1,"protocol":"TCP"}"#: {".": {}, "f:containerPort": {}}}}}}}})
        );
    }

    #[test]
    fn structs_that_are_always_there_have_no_owner() {
        let mut object = deployment(&json!({"containers": [{"name": "c", "resources": {}, "env": [{"name": "E"}]}]}));
        object["spec"]["strategy"] = json!({"type": "Recreate"});
        object["status"] = json!({"replicas": 1});
        with_target(|target, who| track_update(target, None, &mut object, who));
        assert_eq!(
            owned(&object),
            json!({"f:selector": {}, "f:strategy": {"f:type": {}}, "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {r#"k:{"name":"c"}"#: {".": {}, "f:name": {}, "f:resources": {},
                    "f:env": {".": {}, r#"k:{"name":"E"}"#: {".": {}, "f:name": {}}}}}}}})
        );
        assert!(!FieldSet::parse(&object["metadata"]["managedFields"][0]["fieldsV1"]).unwrap().has(&["status"]));
    }

    #[test]
    fn an_element_without_its_required_key_is_left_to_validation() {
        let out = applied(None, &json!({"containers": [{"image": "i"}]})).unwrap();
        assert!(owned(&out).to_string().contains(r#"k:{\"name\":\"\"}"#));
    }

    #[test]
    fn quantities_may_be_numbers_or_text() {
        for cpu in [json!(1), json!("500m"), json!(0.5)] {
            let pod = json!({"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu}}}]});
            assert!(applied(None, &pod).is_ok(), "{cpu}");
        }
    }
}

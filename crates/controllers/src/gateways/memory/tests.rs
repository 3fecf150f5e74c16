use serde_json::json;

use super::*;

fn memory(tenants: usize, limit: usize) -> Memory {
    let mut rules = Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap());
    rules.max_removals = limit;
    let memory = Memory::new(rules);
    for tenant in 0..tenants {
        let key = key(&format!("t{tenant}"));
        let anchor = json!({"metadata": {
            "name": names::ANCHOR, "namespace": key.namespace(), "labels": key.object_labels(),
        }});
        memory.see_anchor(&Change { before: None, after: Some(&anchor) });
    }
    memory
}

fn key(tenant: &str) -> GatewayKey {
    GatewayKey::default_of(tenant.parse().unwrap())
}

fn standing(memory: &Memory, tenant: &str) -> Standing {
    memory.standing(&key(tenant), None, true)
}

fn says(memory: &Memory, document: &str) {
    memory.observe(Some(&json!({"data": {NAMESPACES_KEY: document}})));
}

#[test]
fn gw_w04_only_a_document_without_a_doubt_removes() {
    let memory = memory(1, 10);
    assert_eq!(standing(&memory, "t0"), Standing::Unknown, "before the first document");
    for doubtful in ["- name: [", "- nam: t0\n", "- name: T0\n", "- {}\n", "x: 1", "- 7\n"] {
        says(&memory, doubtful);
        assert_eq!(standing(&memory, "t0"), Standing::Unknown, "{doubtful}");
    }
    memory.observe(None);
    assert_eq!(standing(&memory, "t0"), Standing::Unknown, "the ConfigMap is gone");
    says(&memory, "- name: t0\n  x: 1\n");
    assert_eq!(standing(&memory, "t0"), Standing::Wanted, "its entry is wrong");
    for clear in ["[]", "- name: other\n"] {
        says(&memory, clear);
        assert!(matches!(standing(&memory, "t0"), Standing::Removed(_)), "{clear}");
    }
}

#[test]
fn gw_w04_too_many_removals_wait_for_a_word_about_this_document() {
    let memory = memory(3, 2);
    says(&memory, "- name: t0\n");
    let Standing::Removed(removals) = standing(&memory, "t1") else { panic!("t1 is removed") };
    assert!(removals.may_go() && removals.pending == 2);
    says(&memory, "[]");
    let Standing::Removed(removals) = standing(&memory, "t1") else { panic!("t1 is removed") };
    assert!(!removals.may_go());
    let digest = removals.how.rsplit('=').next().unwrap();
    let document = |text: &str, word: &str| {
        json!({
            "metadata": {"annotations": {annotations::ACKNOWLEDGE_REMOVALS: word}}, "data": {NAMESPACES_KEY: text},
        })
    };
    memory.observe(Some(&document("[]", digest)));
    assert!(matches!(standing(&memory, "t1"), Standing::Removed(removals) if removals.may_go()));
    memory.observe(Some(&document("[ ]", digest)));
    assert!(matches!(standing(&memory, "t1"), Standing::Removed(removals) if !removals.may_go()));
}

#[test]
fn gw_f13_anchor_that_is_gone_is_forgotten_and_a_strange_object_is_none() {
    let memory = memory(1, 2);
    for strange in [json!({}), json!(null), json!({"metadata": {"labels": 7}}), json!([1])] {
        memory.see_anchor(&Change { before: None, after: Some(&strange) });
        memory.see_anchor(&Change { before: Some(&strange), after: None });
    }
    assert_eq!(memory.keys(), [key("t0")]);
    let anchor = json!({"metadata": {
        "name": names::ANCHOR, "namespace": "t0", "labels": key("t0").object_labels(),
    }});
    memory.see_anchor(&Change { before: Some(&anchor), after: None });
    assert!(memory.keys().is_empty());
}

fn object(name: &str, extra: &Value) -> (GatewayKey, Value) {
    let mut object = json!({"metadata": {"name": name, "namespace": "t0"}, "spec": {}});
    for (field, value) in extra.as_object().into_iter().flatten() {
        object["metadata"][field] = value.clone();
    }
    (GatewayKey::new("t0".parse().unwrap(), name.parse().unwrap()), object)
}

#[test]
fn gw_w04_gateway_of_an_object_goes_with_it_whether_there_is_a_document_or_not() {
    let memory = memory(0, 10);
    for name in ["openshell-gateway", "team"] {
        let (key, live) = object(name, &json!({}));
        memory.observe_resource(&key, Some(&live));
        assert_eq!(memory.standing(&key, None, true), Standing::Wanted);
        let gone = object(name, &json!({"deletionTimestamp": "2026-11-21T05:00:00Z"})).1;
        memory.observe_resource(&key, Some(&gone));
        assert_eq!(memory.standing(&key, Some(&gone), true), Standing::Unknown, "before the first document");
    }
    let (default, leaving) = object("openshell-gateway", &json!({}));
    memory.observe(None);
    assert!(matches!(memory.standing(&default, Some(&leaving), true), Standing::Removed(_)));
    says(&memory, "- name: t0\n");
    assert_eq!(memory.standing(&default, Some(&leaving), true), Standing::Wanted, "an entry wants it");
    let (team, _) = object("team", &json!({}));
    assert!(matches!(memory.standing(&team, None, true), Standing::Removed(_)));
    assert_eq!(memory.standing(&team, None, false), Standing::Unknown, "the kind is not served");
}

#[test]
fn gw_w04_too_many_deleted_objects_wait_for_a_word_on_each() {
    let memory = memory(0, 1);
    memory.observe(None);
    for name in ["a", "b"] {
        let (key, _) = object(name, &json!({}));
        let anchor = json!({
            "metadata": {"name": key.name_of(names::ANCHOR), "namespace": "t0", "labels": key.object_labels()},
            "data": {"origin": "OpenShellGateway"},
        });
        memory.see_anchor(&Change { before: None, after: Some(&anchor) });
    }
    let may_go = |word: &str| {
        let (key, leaving) = object("a", &json!({"annotations": {annotations::ACKNOWLEDGE_REMOVALS: word}}));
        let Standing::Removed(removals) = memory.standing(&key, Some(&leaving), true) else { panic!("it leaves") };
        removals.may_go()
    };
    assert_eq!([may_go("true"), may_go("false")], [true, false]);
}

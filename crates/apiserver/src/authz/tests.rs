//! An index that follows the store says what one says that reads the store anew.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Clock;
use crate::store::{Encoded, Expect, Key, Write};

const NAMES: [&str; 2] = ["a", "b"];
const NAMESPACES: [&str; 3] = ["", "n", "m"];

/// One change of the store.
#[derive(Clone, Debug)]
enum Step {
    Role { namespace: &'static str, name: &'static str, resource: Option<&'static str> },
    Binding { namespace: &'static str, name: &'static str, to: Option<(&'static str, &'static str, Vec<Value>)> },
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let place = || (proptest::sample::select(&NAMESPACES[..]), proptest::sample::select(&NAMES[..]));
    let resource = proptest::option::weighted(0.8, proptest::sample::select(&["pods", "nodes"][..]));
    let role = (place(), resource).prop_map(|((namespace, name), resource)| Step::Role { namespace, name, resource });
    let subjects = vec![
        json!({"kind": "User", "name": "u"}),
        json!({"kind": "Group", "name": "g"}),
        json!({"kind": "ServiceAccount", "name": "s"}),
        json!({"kind": "ServiceAccount", "name": "s", "namespace": "n"}),
    ];
    let to = (
        proptest::sample::select(&["Role", "ClusterRole"][..]),
        proptest::sample::select(&NAMES[..]),
        proptest::sample::subsequence(subjects, 0..=4),
    );
    let binding = (place(), proptest::option::weighted(0.8, to)).prop_map(|((namespace, name), to)| Step::Binding {
        namespace,
        name,
        to,
    });
    proptest::collection::vec(prop_oneof![4 => role, 6 => binding, 1 => Just(Step::Compact)], 1..30)
}

async fn write(store: &Store, resource: &str, namespace: &str, name: &str, object: Option<Value>) {
    let live = store.get(resource, namespace, name);
    let expect = live.as_ref().map_or(Expect::Absent, |live| Expect::Revision(live.revision()));
    if live.is_none() && object.is_none() {
        return;
    }
    let value = object.map(|mut object| {
        object["metadata"] = json!({"name": name});
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = namespace.into();
        }
        Encoded::new(&object).unwrap()
    });
    store.write(Write { key: Key::new(resource, namespace, name), expect, value }).await.unwrap();
}

async fn take(store: &Store, step: &Step) {
    let kind = |namespace: &str, cluster, namespaced| if namespace.is_empty() { cluster } else { namespaced };
    match step {
        Step::Role { namespace, name, resource } => {
            let stored = kind(namespace, "rbac.authorization.k8s.io/clusterroles", "rbac.authorization.k8s.io/roles");
            let object = resource.map(|r| json!({"rules": [{"apiGroups": [""], "resources": [r], "verbs": ["get"]}]}));
            write(store, stored, namespace, name, object).await;
        }
        Step::Binding { namespace, name, to } => {
            let stored = kind(
                namespace,
                "rbac.authorization.k8s.io/clusterrolebindings",
                "rbac.authorization.k8s.io/rolebindings",
            );
            let object = to
                .as_ref()
                .map(|(kind, role, subjects)| json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects}));
            write(store, stored, namespace, name, object).await;
        }
        Step::Compact => store.compact(),
    }
}

fn decisions(authorizer: &Authorizer, store: &Store) -> Vec<Decision> {
    let users = [
        User::new("u", [""; 0]),
        User::new("x", ["g"]),
        User::service_account("n", "s"),
        User::service_account("m", "s"),
    ];
    let mut all = Vec::new();
    for user in &users {
        for namespace in NAMESPACES {
            for resource in ["pods", "nodes"] {
                let asked = Attributes::Resource {
                    verb: "get",
                    group: "",
                    version: "v1",
                    resource,
                    subresource: "",
                    namespace,
                    name: "",
                };
                all.push(authorizer.authorize(store, user, &asked));
            }
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn following_the_store_is_reading_it_anew(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let store = Store::in_memory(Clock::system());
            let follows = Authorizer::default();
            for step in &steps {
                take(&store, step).await;
                prop_assert_eq!(decisions(&follows, &store), decisions(&Authorizer::default(), &store));
            }
            Ok(())
        })?;
    }
}

#[test]
fn many_bindings_to_one_role_read_it_once() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let found = runtime.block_on(async {
        let store = Store::in_memory(Clock::system());
        let rules = json!({"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
        write(&store, "rbac.authorization.k8s.io/roles", "n", "r", Some(rules)).await;
        for name in ["a", "b", "c"] {
            let subjects = json!([{"kind": "User", "name": "u"}, {"kind": "Group", "name": "g"}]);
            let binding = json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects});
            write(&store, "rbac.authorization.k8s.io/rolebindings", "n", name, Some(binding)).await;
        }
        Authorizer::default().rules_of(&store, &User::new("u", ["g"]), "n")
    });
    assert_eq!(found.iter().count(), 1);
}

#[test]
fn missing_roles_are_told_together() {
    let mut missing = Missing::default();
    for (kind, name) in [("Role", "a"), ("ClusterRole", "b"), ("Role", "a")] {
        missing.add(&RoleRef { kind: kind.to_owned(), name: name.to_owned() });
    }
    assert_eq!(
        missing.text(),
        "[role.rbac.authorization.k8s.io \"a\" not found, clusterrole.rbac.authorization.k8s.io \"b\" not found]"
    );
}

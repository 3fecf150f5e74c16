//! Taking a gateway down: what goes now, what waits, what stays. Pure.
//!
//! The order is the reverse of provisioning as far as it matters: nobody is sent to the gateway any more, then it stops, then
//! it loses its rights, its keys and its configuration, then what shut it off, and last its data. The key that encrypts
//! stored credentials goes only after the data that it encrypts, and stays whenever the data stays.

use std::collections::BTreeSet;
use std::sync::Arc;

use paddock_api::{DataPolicy, DeletionPolicy, annotations};
use paddock_reconcile::{ObjectRef, object};
use serde_json::Value;

/// What goes when. Each object goes when everything of the stages before its own is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Services.
    Exposure,
    /// The gateway itself.
    Workload,
    /// Accounts, roles and bindings, also the one for the whole cluster.
    Rights,
    /// Secrets and configuration.
    Keys,
    /// Network policies.
    Network,
    /// The volume.
    Data,
    /// The key that encrypts stored credentials.
    DataKey,
}

/// The stage of an object. `kek` is the name of the Secret with the key of stored credentials.
pub(super) fn stage(target: &ObjectRef, kek: &str) -> Stage {
    match &*target.kind.kind {
        "Service" => Stage::Exposure,
        "StatefulSet" | "Deployment" => Stage::Workload,
        "PersistentVolumeClaim" => Stage::Data,
        "Secret" if target.name == kek => Stage::DataKey,
        "Secret" | "ConfigMap" => Stage::Keys,
        "NetworkPolicy" => Stage::Network,
        _ => Stage::Rights,
    }
}

/// An object on record and what is there under its name. `live` is `None` when there is nothing, or a stranger.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) target: ObjectRef,
    pub(super) live: Option<Arc<Value>>,
}

/// What the record says of a gateway that nobody wants any more.
#[derive(Debug, Clone)]
pub(super) struct Remains<'a> {
    pub(super) items: &'a [Item],
    pub(super) data: DataPolicy,
    /// Whether the gateway kept its state in a database of somebody else, which does not go with it.
    pub(super) external_database: bool,
    /// Name of the Secret with the key of stored credentials.
    pub(super) kek: &'a str,
}

/// The next step of a teardown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// What is deleted now, in this order. Empty: nothing is left to delete.
    pub(super) delete: Vec<ObjectRef>,
    /// What is not deleted in this step, for now or for good.
    pub(super) keep: Vec<ObjectRef>,
    /// What stays for good: retained data and protected objects.
    pub(super) orphans: Vec<ObjectRef>,
}

/// An object that is there: its stage, its name, whether it is protected.
type Of<'a> = (Stage, &'a ObjectRef, bool);

/// At most this many objects go in one step, which is less than the engine deletes in one pass.
const AT_ONCE: usize = 40;

/// Decides the next step.
pub(super) fn next(remains: &Remains<'_>) -> Step {
    let there: Vec<Of<'_>> = remains
        .items
        .iter()
        .filter_map(|item| {
            let live = item.live.as_deref()?;
            Some((stage(&item.target, remains.kek), &item.target, is_protected(live)))
        })
        .collect();
    let of = |stage: Stage| there.iter().filter(move |(of, ..)| *of == stage);
    let is_kept = |stage: Stage| of(stage).any(|(_, _, protected)| *protected);
    // Never one without the other: data that nobody can read, or a key whose data is gone by mistake.
    let data_stays = remains.data == DataPolicy::Retain || is_kept(Stage::Data) || is_kept(Stage::DataKey);
    let stays = |stage: Stage, protected: bool| match stage {
        Stage::Data => data_stays,
        Stage::DataKey => data_stays || remains.external_database,
        _ => protected,
    };
    let (orphans, mut doomed): (Vec<Of<'_>>, Vec<Of<'_>>) =
        there.iter().partition(|(stage, _, protected)| stays(*stage, *protected));
    doomed.sort_by_key(|(stage, ..)| *stage);
    // Whether the data is gone, and what is protected by then, is looked at anew before the next of these goes.
    let last = match doomed.first() {
        Some((first, ..)) => (*first).max(Stage::Network),
        None => Stage::Network,
    };
    let (mut delete, mut later): (Vec<Of<'_>>, Vec<Of<'_>>) =
        doomed.into_iter().partition(|(stage, ..)| *stage <= last);
    later.extend(delete.split_off(delete.len().min(AT_ONCE)));
    let names = |of: &[Of<'_>]| of.iter().map(|(_, target, _)| (*target).clone()).collect::<Vec<_>>();
    let mut step = Step { delete: names(&delete), keep: names(&later), orphans: names(&orphans) };
    step.keep.extend(step.orphans.iter().cloned());
    step
}

fn is_protected(live: &Value) -> bool {
    object::annotation(live, annotations::PROTECT).is_some_and(|value| value != "false")
}

/// What becomes of the gateway while sandboxes live in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sandboxes {
    /// It may go.
    Free,
    /// It stays, for this reason.
    Block(String),
    /// They go first.
    Drain(String),
}

/// A sandbox that would lose its gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sandbox {
    pub(super) target: ObjectRef,
    pub(super) uid: String,
    /// Whether its deletion was asked for, or may not be.
    pub(super) is_leaving: bool,
    pub(super) is_protected: bool,
}

/// At most this many sandboxes are named.
const NAMED: usize = 5;

/// Decides about live sandboxes.
pub(super) fn sandboxes(live: &[Sandbox], policy: DeletionPolicy) -> Sandboxes {
    if live.is_empty() || policy == DeletionPolicy::Force {
        return Sandboxes::Free;
    }
    let mut names: Vec<&str> = live.iter().take(NAMED).map(|sandbox| sandbox.target.name.as_str()).collect();
    if live.len() > NAMED {
        names.push("…");
    }
    let of = if live.len() == 1 { "sandbox lives" } else { "sandboxes live" };
    let message = format!("{} {of} in it: {}", live.len(), names.join(", "));
    match policy {
        DeletionPolicy::Drain => Sandboxes::Drain(message),
        _ => Sandboxes::Block(message),
    }
}

/// The live sandboxes among Sandbox objects and sandbox pods: a pod counts when its Sandbox is not among them and it has not
/// ended. Those of another gateway, which call another one than `ids` theirs, do not count.
pub(super) fn live_sandboxes(
    objects: &[(ObjectRef, Arc<Value>)],
    pods: &[(ObjectRef, Arc<Value>)],
    ids: &[String],
) -> Vec<Sandbox> {
    let of_another =
        |live: &Value| object::label(live, GATEWAY_ID_LABEL).is_some_and(|id| !ids.iter().any(|own| own == id));
    let known: BTreeSet<&str> = objects.iter().map(|(_, live)| object::uid(live)).collect();
    let has_ended = |pod: &Value| matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
    let is_of_known = |pod: &Value| {
        let owners = pod["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        owners.filter_map(|owner| owner["uid"].as_str()).any(|uid| known.contains(uid))
    };
    let pods = pods.iter().filter(|(_, pod)| !has_ended(pod) && !is_of_known(pod));
    let all = objects.iter().chain(pods).filter(|(_, live)| !of_another(live));
    all.map(|(target, live)| Sandbox {
        target: target.clone(),
        uid: object::uid(live).to_owned(),
        is_leaving: object::is_terminating(live),
        is_protected: is_protected(live),
    })
    .collect()
}

/// The label that gateways put on their Sandbox objects.
pub(super) const GATEWAY_ID_LABEL: &str = "openshell.ai/gateway-id";

/// Whether so many gateways may go at once. `limit` is how many may without anybody saying so.
pub(super) fn may_go(pending: usize, limit: usize, acknowledged: bool) -> bool {
    pending <= limit || acknowledged
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::StatefulSet;
    use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount};
    use k8s_openapi::api::networking::v1::NetworkPolicy;
    use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role};
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEK: &str = "kek";

    fn all() -> Vec<ObjectRef> {
        vec![
            ObjectRef::of::<NetworkPolicy>(Some("n"), "policy"),
            ObjectRef::of::<ServiceAccount>(Some("n"), "account"),
            ObjectRef::of::<Role>(Some("n"), "role"),
            ObjectRef::of::<ClusterRoleBinding>(None, "binding"),
            ObjectRef::of::<Secret>(Some("cp"), "authority"),
            ObjectRef::of::<Secret>(Some("n"), "tls"),
            ObjectRef::of::<Secret>(Some("n"), KEK),
            ObjectRef::of::<ConfigMap>(Some("n"), "config"),
            ObjectRef::of::<Service>(Some("n"), "service"),
            ObjectRef::of::<StatefulSet>(Some("n"), "set"),
            ObjectRef::of::<PersistentVolumeClaim>(Some("n"), "claim"),
        ]
    }

    fn item(target: ObjectRef, protected: bool) -> Item {
        let annotations = if protected { json!({"paddock.dev/protect": "true"}) } else { json!({}) };
        Item { target, live: Some(Arc::new(json!({"metadata": {"annotations": annotations}}))) }
    }

    /// Every step until nothing is left to do: names of what goes; and what stays.
    fn story(items: Vec<Item>, data: DataPolicy, external_database: bool) -> (Vec<Vec<String>>, Vec<String>) {
        let mut items = items;
        let mut steps = Vec::new();
        loop {
            let step = next(&Remains { items: &items, data, external_database, kek: KEK });
            if step.delete.is_empty() {
                return (steps, step.orphans.into_iter().map(|target| target.name).collect());
            }
            for gone in items.iter_mut().filter(|item| step.delete.contains(&item.target)) {
                gone.live = None;
            }
            steps.push(step.delete.into_iter().map(|target| target.name).collect());
        }
    }

    fn plain() -> Vec<Item> {
        all().into_iter().map(|target| item(target, false)).collect()
    }

    #[test]
    fn gw_l11_everything_goes_in_order_and_the_key_after_its_data() {
        let (steps, orphans) = story(plain(), DataPolicy::Delete, false);
        assert_eq!(
            steps,
            [
                vec!["service", "set", "account", "role", "binding", "authority", "tls", "config", "policy"],
                vec!["claim"],
                vec!["kek"],
            ]
        );
        assert!(orphans.is_empty());
    }

    #[test]
    fn gw_w12_retained_data_keeps_its_key() {
        assert_eq!(story(plain(), DataPolicy::Retain, false).1, ["kek", "claim"]);
    }

    #[test]
    fn gw_w12_a_database_of_somebody_else_keeps_its_key_whatever_the_policy() {
        assert_eq!(story(plain(), DataPolicy::Delete, true).1, ["kek"]);
    }

    #[test]
    fn gw_w12_protecting_either_of_data_and_key_keeps_both() {
        for protected in ["claim", KEK] {
            let items = all().into_iter().map(|target| {
                let protect = target.name == protected;
                item(target, protect)
            });
            assert_eq!(story(items.collect(), DataPolicy::Delete, false).1, ["kek", "claim"]);
        }
    }

    #[test]
    fn protected_object_stays_and_holds_nothing_up() {
        let items = all().into_iter().map(|target| {
            let protect = target.name == "service";
            item(target, protect)
        });
        let (steps, orphans) = story(items.collect(), DataPolicy::Delete, false);
        assert_eq!((steps.len(), orphans), (3, vec!["service".to_owned()]));
    }

    fn sandbox(name: &str, extra: Value) -> (ObjectRef, Arc<Value>) {
        let mut live = json!({"metadata": {"name": name, "uid": name}});
        for (key, value) in extra.as_object().into_iter().flatten() {
            live["metadata"][key] = value.clone();
        }
        (ObjectRef::of::<Pod>(Some("n"), name), Arc::new(live))
    }

    #[test]
    fn gw_w24_live_sandboxes_block_and_are_named() {
        let live: Vec<_> = (0..7).map(|n| sandbox(&format!("s{n}"), json!({}))).collect();
        let live = live_sandboxes(&live, &[], &[]);
        let message = "7 sandboxes live in it: s0, s1, s2, s3, s4, …".to_owned();
        assert_eq!(sandboxes(&live, DeletionPolicy::Block), Sandboxes::Block(message.clone()));
        assert_eq!(sandboxes(&live, DeletionPolicy::Drain), Sandboxes::Drain(message));
        assert_eq!(sandboxes(&live, DeletionPolicy::Force), Sandboxes::Free);
        assert_eq!(sandboxes(&[], DeletionPolicy::Block), Sandboxes::Free);
    }

    #[test]
    fn gw_w24_a_pod_counts_once_and_only_while_it_runs() {
        let objects = [sandbox("s", json!({}))];
        let mut ended = sandbox("ended", json!({}));
        Arc::make_mut(&mut ended.1)["status"]["phase"] = "Succeeded".into();
        let pods = [sandbox("of-s", json!({"ownerReferences": [{"uid": "s"}]})), sandbox("stray", json!({})), ended];
        let names: Vec<_> = live_sandboxes(&objects, &pods, &[]).into_iter().map(|s| s.target.name).collect();
        assert_eq!(names, ["s", "stray"]);
    }

    #[test]
    fn gw_w24_sandboxes_of_another_gateway_do_not_count() {
        let of = |id: &str| sandbox(id, json!({"labels": {"openshell.ai/gateway-id": id}}));
        let names: Vec<_> =
            live_sandboxes(&[of("a"), of("b")], &[], &["a".to_owned()]).into_iter().map(|s| s.target.name).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn gw_w04_more_removals_than_the_limit_need_a_word() {
        assert!(may_go(10, 10, false) && !may_go(11, 10, false) && may_go(11, 10, true));
    }

    proptest! {
        /// Whatever is there and whatever is protected: never the key gone and the data there.
        #[test]
        fn gw_w12_the_key_never_goes_before_its_data(there: [bool; 11], protected: [bool; 11], retain: bool) {
            let items: Vec<Item> = all().into_iter().enumerate().filter(|(n, _)| there[*n])
                .map(|(n, target)| item(target, protected[n])).collect();
            let data = if retain { DataPolicy::Retain } else { DataPolicy::Delete };
            let step = next(&Remains { items: &items, data, external_database: false, kek: KEK });
            let names = |of: &[ObjectRef], name: &str| of.iter().any(|target| target.name == name);
            if names(&step.delete, KEK) {
                prop_assert!(items.iter().all(|item| item.target.name != "claim"));
            }
            prop_assert!(step.delete.iter().all(|target| !step.keep.contains(target)));
        }
    }
}

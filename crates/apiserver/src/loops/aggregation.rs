//! Aggregated ClusterRoles get the rules of those that their selectors choose, by server-side apply under the name that
//! kube-controller-manager uses.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Caller, path};
use crate::authz::aggregation::{self, ClusterRole};
use crate::store::{Event, EventKind, ListRequest, Object};

const CLUSTER_ROLES: &str = "rbac.authorization.k8s.io/clusterroles";
const MANAGER: &str = "clusterrole-aggregation-controller";

pub(super) async fn run(caller: Caller) {
    while caller.api.store.is_open() {
        let store = &caller.api.store;
        // The watch first: what changes while the list is read comes again.
        let (Ok(mut watch), Ok(listing)) =
            (store.watch(CLUSTER_ROLES, store.revision()), store.list(&ListRequest::all(CLUSTER_ROLES)))
        else {
            continue;
        };
        let mut roles: BTreeMap<String, ClusterRole> = listing.objects.iter().filter_map(read).collect();
        loop {
            settle(&caller, &roles).await;
            let Ok(events) = watch.next().await else { break };
            for event in events {
                follow(&mut roles, &event);
            }
        }
    }
}

fn read(object: &Object) -> Option<(String, ClusterRole)> {
    let role: ClusterRole = serde_json::from_slice(object.bytes()).ok()?;
    Some((role.name().to_owned(), role))
}

fn follow(roles: &mut BTreeMap<String, ClusterRole>, event: &Event) {
    if event.kind == EventKind::Deleted {
        roles.remove(&*event.key.name);
    } else if let Some((name, role)) = read(&event.object) {
        roles.insert(name, role);
    }
}

/// Applies the rules that aggregated roles should have and have not. What that changes in others comes with its events.
async fn settle(caller: &Caller, roles: &BTreeMap<String, ClusterRole>) {
    let Some(resource) = caller.api.registry.served().find("rbac.authorization.k8s.io", "v1", "clusterroles").cloned()
    else {
        return;
    };
    for (name, role) in roles.iter().filter(|(_, role)| role.collects()) {
        let Some(rules) = aggregation::rules(name, roles).filter(|rules| rules != role.rules()) else { continue };
        let config = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules,
        });
        // A role that went meanwhile would be made by the apply.
        if caller.api.store.get(CLUSTER_ROLES, "", name).is_none() {
            continue;
        }
        if let Err(error) = caller.apply(&path(&resource, "", name), MANAGER, &config).await {
            tracing::warn!(%error, role = name, "cannot aggregate a ClusterRole");
        }
    }
}

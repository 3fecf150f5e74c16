//! A gateway for many namespaces: what it may do in the whole cluster, and what its sandboxes need in each namespace that it
//! serves. Pure.
//!
//! The gateway runs in `workspace_mode = "operator"` and finds the namespaces itself, by the same labels. What it would
//! otherwise have to be allowed to make everywhere (the account of its sandboxes, the Secret that they mount, the policy
//! that keeps others out) is made here. Nothing in another namespace has an owner, because owners do not cross namespaces;
//! it is found by its labels and by the gateway's inventory.

use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role, RoleBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_reconcile::{Desired, Error, ObjectRef, OnImmutable, Prune};

use super::controller::Snapshot;
use super::intent::Intent;
use super::key::GatewayKey;
use super::{names, network, pki, removal, render, resource};

/// Everything that belongs into the served namespaces; nothing for a gateway that serves its own alone.
pub(super) fn objects(intent: &Intent, served: &[String], client: Option<&pki::Data>) -> Result<Vec<Desired>, Error> {
    if intent.serves.is_none() {
        return Ok(Vec::new());
    }
    let mut objects = Vec::new();
    for namespace in served {
        objects.extend(one(intent, namespace, client)?);
    }
    Ok(objects)
}

/// More objects than this do not go from other namespaces at once before somebody says that it is meant: a mistyped selector
/// would take the certificates of all sandboxes away.
pub(super) const MAX_DELETIONS: usize = 50;

/// What is on record in namespaces that are not served any more.
pub(super) fn left(intent: &Intent, snapshot: &Snapshot, control_plane: &str) -> Vec<ObjectRef> {
    let anchor = snapshot.anchor.as_deref().filter(|_| intent.serves.is_some());
    let record = anchor.and_then(|anchor| Prune::read_record(removal::entry(anchor, removal::INVENTORY)?));
    let is_left = |namespace: &str| {
        ![intent.key.namespace(), control_plane].contains(&namespace)
            && snapshot.served.iter().all(|it| it != namespace)
    };
    let targets = record.into_iter().flatten().map(|(target, _)| target);
    targets.filter(|target| target.namespace.as_deref().is_some_and(is_left)).collect()
}

/// What is said while they stay.
pub(super) fn too_many(key: &GatewayKey, count: usize) -> String {
    format!(
        "{count} objects in namespaces that are not served any more would go at once, {MAX_DELETIONS} may; they stay. If this is \
         meant: kubectl annotate --overwrite {}",
        resource::acknowledgement(key)
    )
}

fn one(intent: &Intent, namespace: &str, client: Option<&pki::Data>) -> Result<Vec<Desired>, Error> {
    let key = &intent.key;
    let meta = |name: String| ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: Some(key.object_labels()),
        ..ObjectMeta::default()
    };
    let (account, secret) = (key.sandbox_account(true), key.clients_secret(true));
    let mut objects = vec![
        Desired::of(&network::sandboxes_closed(meta(account.clone())))?,
        Desired::of(&ServiceAccount {
            metadata: meta(account.clone()),
            // Sandbox pods get a projected token of their own, never the account's.
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        })?,
        Desired::of(&Role { metadata: meta(account.clone()), rules: Some(secret_rules(&secret)) })?,
        Desired::of(&RoleBinding {
            metadata: meta(account.clone()),
            role_ref: render::role_ref("Role", &account),
            subjects: Some(vec![render::gateway_account(key)]),
        })?
        .on_immutable(OnImmutable::Recreate),
    ];
    if intent.openshift {
        objects.push(render::privileged(meta(format!("{account}-privileged-scc")), account)?);
    }
    if let Some(data) = client {
        objects.push(Desired::of(&Secret {
            metadata: meta(secret),
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.clone()),
            ..Secret::default()
        })?);
    }
    Ok(objects)
}

/// The gateway looks after the Secret that its sandboxes mount, and no other.
fn secret_rules(name: &str) -> Vec<PolicyRule> {
    vec![PolicyRule {
        resource_names: Some(vec![name.to_owned()]),
        ..render::rule("", &["secrets"], &["get", "patch"])
    }]
}

/// The static ClusterRole of gateways that serve other namespaces: the driver watches sandboxes and namespaces of the whole
/// cluster. No Secret is in it.
pub fn operator_role() -> ClusterRole {
    let mut role = super::rbac::node_reader();
    role.metadata.name = Some(names::OPERATOR_ROLE.to_owned());
    let rules = role.rules.get_or_insert_default();
    rules.retain(|rule| rule.resources.as_ref().is_none_or(|resources| !resources.iter().any(|r| r == "namespaces")));
    rules.push(render::rule("", &["namespaces"], &["get", "list", "watch"]));
    rules.extend(render::sandbox_rules());
    role
}

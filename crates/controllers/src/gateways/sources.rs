//! What the gateways controller watches, and whom a change concerns. Remembers what it sees; touches nothing.

use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    ConfigMap, Namespace, Node, PersistentVolumeClaim, Pod, Secret, Service, ServiceAccount,
};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use paddock_api::{annotations, labels};
use paddock_reconcile::{Change, Kind, Source, object};
use serde_json::Value;

use super::controller::{NAMESPACES_KEY, PLATFORM_CONFIG};
use super::fleet::{self, ROLLOUT};
use super::intent::Intents;
use super::key::GatewayKey;
use super::memory::Memory;
use super::options::Options;
use super::platform::Database;
use super::{claim, names, pods, resource};

/// What of `platform-config` concerns gateways.
#[derive(Clone, Default)]
struct Seen {
    intents: Arc<Intents>,
    text: Option<String>,
    acknowledged: Option<String>,
    downgrade: Option<String>,
}

impl Seen {
    fn of(intents: Arc<Intents>, map: Option<&Value>) -> Self {
        let text = map.and_then(|map| map["data"][NAMESPACES_KEY].as_str()).map(str::to_owned);
        let word = |key: &str| map.and_then(|map| object::annotation(map, key)).map(str::to_owned);
        let [acknowledged, downgrade] = [annotations::ACKNOWLEDGE_REMOVALS, annotations::ALLOW_DOWNGRADE].map(word);
        Self { intents, text, acknowledged, downgrade }
    }

    /// Whom it concerns that `before` is this now.
    fn concerns(&self, before: &Self, memory: &Memory) -> Vec<GatewayKey> {
        if self.downgrade != before.downgrade {
            return memory.keys();
        }
        let mut keys = self.intents.changed_since(&before.intents);
        if self.intents.document != before.intents.document {
            keys.extend(self.intents.keys());
        }
        // Who is not named any more may go, or not, by what the document says as a whole and by what a person says of it.
        if (&self.text, &self.acknowledged) != (&before.text, &before.acknowledged) {
            keys.extend(memory.leaving());
        }
        keys
    }
}

/// All of them.
pub(super) fn all(options: &Options, memory: &Memory) -> Vec<Source<GatewayKey>> {
    let everyone = |memory: &Memory| {
        let memory = memory.clone();
        move |_: &Change<'_>| memory.keys()
    };
    let intent = {
        let memory = memory.clone();
        // The other controller may have judged the document first, so what was seen last is remembered here.
        let seen = Mutex::<Seen>::default();
        move |change: &Change<'_>| {
            let now = Seen::of(memory.observe(change.after), change.after);
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            let before = std::mem::replace(&mut *seen, now.clone());
            drop(seen);
            now.concerns(&before, &memory)
        }
    };
    let namespaces = {
        let memory = memory.clone();
        move |change: &Change<'_>| {
            let name = change.object()["metadata"]["name"].as_str();
            let mut keys = name.map(|name| memory.keys_in(name)).unwrap_or_default();
            keys.extend(memory.shared());
            keys
        }
    };
    let resources = {
        let memory = memory.clone();
        move |change: &Change<'_>| {
            let key = resource::key_of(change.object());
            if let Some(key) = &key {
                memory.observe_resource(key, change.after);
            }
            key.into_iter().collect()
        }
    };
    let nodes = {
        let memory = memory.clone();
        // Nodes report all the time; only their coming and going matters here.
        move |change: &Change<'_>| match (change.before, change.after) {
            (Some(_), Some(_)) => Vec::new(),
            _ => memory.keys(),
        }
    };
    let mut sources = vec![
        Source::of::<ConfigMap>(intent).within(&options.namespace).fields(format!("metadata.name={PLATFORM_CONFIG}")),
        // Whose turn it is wakes those whom it concerns.
        Source::of::<ConfigMap>(fleet::concerned).within(&options.namespace).fields(format!("metadata.name={ROLLOUT}")),
        Source::of::<Pod>(|change| match pods::differ(change.before, change.after) {
            true => GatewayKey::of_object(change.object()).into_iter().collect(),
            false => Vec::new(),
        })
        .labels(labels::TENANT),
        Source::kind(resource::kind(), resources),
        Source::of::<Namespace>(namespaces),
        Source::of::<Node>(nodes),
        Source::of::<CustomResourceDefinition>(everyone(memory))
            .fields(format!("metadata.name={}", names::SANDBOX_CRD)),
        Source::of::<StorageClass>(everyone(memory)),
    ];
    let in_tenant = |memory: &Memory| {
        let memory = memory.clone();
        move |change: &Change<'_>| {
            let namespace = change.object()["metadata"]["namespace"].as_str();
            namespace.map(|name| memory.keys_in(name)).unwrap_or_default()
        }
    };
    // Whatever Secret an author names, without holding what is in everybody's Secrets. Of ours none is one.
    let database = {
        let memory = memory.clone();
        move |change: &Change<'_>| {
            let text = |field: &str| change.object()["metadata"][field].as_str().unwrap_or_default();
            memory.with_database(text("namespace"), text("name"))
        }
    };
    sources.push(Source::of::<Secret>(database).labels(format!("!{}", labels::TENANT)).metadata_only());
    if let Database::Postgres { secret } = &options.rules.database {
        sources.push(Source::of::<Secret>(in_tenant(memory)).fields(format!("metadata.name={secret}")));
    }
    // Certificates and keys that others made do not carry our labels, and are kept. By their names they are seen, and seen to
    // be missing, without a question for each of a thousand tenants.
    for name in [names::SERVER_TLS, names::CLIENT_TLS, names::JWT_KEYS, names::KEK] {
        sources.push(Source::of::<Secret>(in_tenant(memory)).fields(format!("metadata.name={name}")));
    }
    let authorities = {
        let memory = memory.clone();
        move |change: &Change<'_>| {
            let authority = change.object();
            let of = authority["metadata"]["name"].as_str().and_then(|name| name.strip_prefix("openshell-ca-"));
            let namespace = of.map(|of| of.split('.').next().unwrap_or(of));
            let named = namespace.map(|name| memory.keys_in(name)).unwrap_or_default();
            GatewayKey::of_object(authority).map_or(named, |key| vec![key])
        }
    };
    sources.push(Source::of::<Secret>(authorities).within(&options.namespace));
    let children = [
        Kind::of::<ConfigMap>(),
        Kind::of::<Secret>(),
        Kind::of::<Service>(),
        Kind::of::<ServiceAccount>(),
        Kind::of::<StatefulSet>(),
        Kind::of::<Role>(),
        Kind::of::<RoleBinding>(),
        Kind::of::<ClusterRoleBinding>(),
        Kind::of::<NetworkPolicy>(),
    ];
    // A label that changed leads to the gateway that lost the object and to the one that got it.
    let owners = |change: &Change<'_>| -> Vec<GatewayKey> {
        let of = |object: Option<&Value>| object.and_then(GatewayKey::of_object);
        let (before, after) = (of(change.before), of(change.after));
        if before == after { after.into_iter().collect() } else { before.into_iter().chain(after).collect() }
    };
    let memory = memory.clone();
    let owners = move |change: &Change<'_>| {
        let mut keys = owners(change);
        if memory.see_anchor(change) {
            // Of those that are too many to go at once there is one less.
            keys.extend(memory.leaving());
        }
        keys
    };
    sources.extend(children.map(|kind| Source::kind(kind, owners.clone()).labels(labels::TENANT)));
    // Claims are made by the StatefulSet's controller, which knows nothing of tenants.
    let claims = |change: &Change<'_>| claim::of_gateway(change.object()).into_iter().collect();
    sources.push(Source::of::<PersistentVolumeClaim>(claims).labels(format!(
        "{}={}",
        labels::NAME,
        names::APPLICATION
    )));
    sources
}

//! The claim of a gateway's volume: made by the StatefulSet's controller, labelled and grown by us, and never made by us.
//!
//! Pure, except that [`find`] reads it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, Secret, VolumeResourceRequirements,
};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use paddock_api::{annotations, labels};
use paddock_reconcile::{Adopt, Context, Desired, Error, Kind, ObjectRef, Prune, object};
use serde_json::Value;

use super::key::GatewayKey;
use super::{names, removal, render};

/// The claim of this gateway.
pub(super) fn claim_ref(key: &GatewayKey) -> ObjectRef {
    ObjectRef::of::<PersistentVolumeClaim>(
        Some(key.namespace()),
        format!("{}-{}-0", render::DATA_VOLUME, key.gateway()),
    )
}

/// The claim, when there is one. Listed by its labels, because the watch of claims answers that without asking anybody.
pub(super) async fn find(cx: &Context, key: &GatewayKey) -> Result<Option<Arc<Value>>, Error> {
    let labels = [(labels::NAME, names::APPLICATION), (labels::INSTANCE, key.gateway())];
    let claims = cx.list(&Kind::of::<PersistentVolumeClaim>(), Some(key.namespace()), &labels).await?;
    Ok(claims.into_iter().find(|claim| of_gateway(claim).as_ref() == Some(key)))
}

/// The gateway whose claim an object is, by the labels that the StatefulSet's controller gives it.
pub(super) fn of_gateway(claim: &Value) -> Option<GatewayKey> {
    let namespace = claim["metadata"]["namespace"].as_str()?.parse().ok()?;
    let gateway = object::label(claim, labels::INSTANCE)?.parse().ok()?;
    let key = GatewayKey::new(namespace, gateway);
    (claim["metadata"]["name"].as_str()? == claim_ref(&key).name).then_some(key)
}

/// The claim of the gateway's volume, when there is one, and whether it may grow as far as it has to.
pub(super) async fn look(cx: &Context, key: &GatewayKey) -> Result<Option<(Arc<Value>, Growth)>, Error> {
    let Some(live) = find(cx, key).await? else { return Ok(None) };
    if object::is_terminating(&live) {
        return Ok(None);
    }
    let mut growth = growth(&live, false);
    if growth == Growth::Refused
        && let Some(class) = class(&live)
    {
        let class = cx.get(&ObjectRef::of::<StorageClass>(None, class)).await?;
        growth = self::growth(&live, class.is_some_and(|class| class["allowVolumeExpansion"] == true));
    }
    Ok(Some((live, growth)))
}

/// What is known about the claim and its class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Growth {
    /// It is as large as wanted, or larger: claims never shrink.
    None,
    /// It is too small and its class lets it grow.
    Possible,
    /// It is too small and its class, or the lack of one, does not.
    Refused,
}

/// Whether a claim has to grow, and may. `expandable`: what its class says.
pub(super) fn growth(claim: &Value, expandable: bool) -> Growth {
    let asked = claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str).and_then(bytes);
    match (asked, bytes(render::DATA_SIZE)) {
        (Some(asked), Some(wanted)) if asked < wanted && expandable => Growth::Possible,
        (Some(asked), Some(wanted)) if asked < wanted => Growth::Refused,
        _ => Growth::None,
    }
}

/// The name of a claim's class, when it has one.
pub(super) fn class(claim: &Value) -> Option<&str> {
    claim.pointer("/spec/storageClassName")?.as_str().filter(|name| !name.is_empty())
}

/// Fingerprint of the key of stored credentials with which the data of this claim was encrypted.
pub(super) fn key_fingerprint(claim: &Value) -> Option<&str> {
    object::annotation(claim, annotations::DATA_KEY).filter(|print| !print.is_empty())
}

/// What tells two keys of stored credentials apart and nothing about them.
pub(super) fn fingerprint_of(kek: &Secret) -> Option<String> {
    let key = kek.data.as_ref()?.get(names::KEK_KEY)?;
    paddock_pki::sha256_hex(&key.0).get(..16).map(str::to_owned)
}

/// Whether credentials were encrypted with a key before, by what the volume or, with a database elsewhere, the anchor says.
pub(super) fn key_is_on_record(key: &GatewayKey, claim: Option<&(Arc<Value>, Growth)>, anchor: Option<&Value>) -> bool {
    if let Some((claim, _)) = claim {
        return key_fingerprint(claim).is_some();
    }
    let Some(anchor) = anchor else { return false };
    let record = removal::entry(anchor, removal::INVENTORY).and_then(Prune::read_record).unwrap_or_default();
    let kek = ObjectRef::of::<Secret>(Some(key.namespace()), key.name_of(names::KEK));
    removal::entry(anchor, removal::DATABASE) == Some("postgres")
        && record.iter().any(|(target, uid)| *target == kek && !uid.is_empty())
}

/// The fields of an existing claim that are ours: labels by which it is found again, the fingerprint of its key, and its size:
/// the one that it has, or when it has to grow the one wanted. (Once applied, the size must stay applied: leaving it out
/// would take it away.)
pub(super) fn desired(
    key: &GatewayKey,
    claim: &Value,
    fingerprint: Option<&str>,
    growth: Growth,
) -> Result<Desired, Error> {
    let target = claim_ref(key);
    let fingerprint = fingerprint.map(|print| BTreeMap::from([(annotations::DATA_KEY.to_owned(), print.to_owned())]));
    let size = match growth {
        Growth::Possible => Some(render::DATA_SIZE),
        Growth::None | Growth::Refused => claim.pointer("/spec/resources/requests/storage").and_then(Value::as_str),
    };
    let requests = size.map(|size| BTreeMap::from([("storage".to_owned(), Quantity(size.to_owned()))]));
    let resources = VolumeResourceRequirements { requests, ..VolumeResourceRequirements::default() };
    let claim = PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(target.name),
            namespace: target.namespace,
            labels: Some(key.object_labels()),
            annotations: fingerprint,
            ..ObjectMeta::default()
        },
        spec: size
            .map(|_| PersistentVolumeClaimSpec { resources: Some(resources), ..PersistentVolumeClaimSpec::default() }),
        ..PersistentVolumeClaim::default()
    };
    Ok(Desired::of(&claim)?.adopt(Adopt::Always))
}

/// A quantity of storage in bytes, rounded down; `None` for what is none.
fn bytes(text: &str) -> Option<u128> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at_checked(split)?;
    let times: u128 = match suffix {
        "" => 1,
        "k" => 1000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return None,
    };
    digits.parse::<u128>().ok()?.checked_mul(times)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(size: &str) -> Value {
        json!({"spec": {"resources": {"requests": {"storage": size}}, "storageClassName": "fast"}})
    }

    #[test]
    fn gw_d16_a_claim_grows_when_its_class_lets_it_and_never_shrinks() {
        assert_eq!(growth(&claim("512Mi"), true), Growth::Possible);
        assert_eq!(growth(&claim("512Mi"), false), Growth::Refused);
        for size in ["1Gi", "1073741824", "5Gi", "2T", "odd"] {
            assert_eq!(growth(&claim(size), true), Growth::None, "{size}");
        }
    }

    #[test]
    fn claim_is_found_by_its_name_and_its_instance() {
        let of = |name: &str, instance: &str| {
            let labels = json!({"app.kubernetes.io/instance": instance});
            of_gateway(&json!({"metadata": {"namespace": "n", "name": name, "labels": labels}}))
        };
        let team = GatewayKey::new("n".parse().unwrap(), "team".parse().unwrap());
        assert_eq!(of("openshell-data-team-0", "team"), Some(team));
        assert_eq!(of("openshell-data-team-0", "other"), None);
        assert_eq!(of("data", "team"), None);
    }

    #[test]
    fn gw_d16_a_claim_is_told_the_size_that_it_has_unless_it_may_grow() {
        let key = GatewayKey::default_of("n".parse().unwrap());
        let size = |growth| {
            let body = desired(&key, &claim("512Mi"), Some("x"), growth).unwrap().body().clone();
            assert_eq!(key_fingerprint(&body), Some("x"));
            body["spec"]["resources"]["requests"]["storage"].as_str().unwrap().to_owned()
        };
        assert_eq!([Growth::None, Growth::Refused, Growth::Possible].map(size), ["512Mi", "512Mi", "1Gi"]);
    }
}

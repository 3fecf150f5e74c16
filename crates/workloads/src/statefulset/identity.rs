//! Ordinals and what pods are called and carry because of them. Pure.

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume};

use super::claims;
use crate::names::name;
use crate::pods;
use crate::revisions::REVISION;

const POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
const POD_INDEX: &str = "apps.kubernetes.io/pod-index";

/// Set and ordinal that a pod's name consists of.
pub(super) fn parts(pod: &str) -> Option<(&str, i32)> {
    let (set, ordinal) = pod.rsplit_once('-')?;
    let digits = !ordinal.is_empty() && ordinal.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| ordinal.parse().ok()).flatten().map(|ordinal| (set, ordinal))
}

/// The ordinal of a pod of this set.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    parts(name(&pod.metadata)).filter(|(parent, _)| *parent == name(&set.metadata)).map(|(_, ordinal)| ordinal)
}

/// The ordinals that are wanted.
pub(super) fn wanted(spec: &StatefulSetSpec) -> std::ops::Range<i32> {
    let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
    start..start.saturating_add(spec.replicas.unwrap_or(1).max(0))
}

/// The pod of an ordinal, of this template and revision.
pub(super) fn pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, ordinal: i32) -> Pod {
    let mut pod = pods::from_template(template, set);
    let pod_name = format!("{}-{ordinal}", name(&set.metadata));
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(POD_NAME.to_owned(), pod_name.clone());
    labels.insert(POD_INDEX.to_owned(), ordinal.to_string());
    labels.insert(REVISION.to_owned(), revision.to_owned());
    let templates = set.spec.iter().flat_map(|spec| spec.volume_claim_templates.iter().flatten());
    let mut volumes: Vec<Volume> = templates
        .map(|claim| Volume {
            name: name(&claim.metadata).to_owned(),
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claims::name_of(set, claim, ordinal),
                read_only: None,
            }),
            ..Volume::default()
        })
        .collect();
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = Some(pod_name.clone());
    spec.subdomain = set.spec.as_ref().and_then(|s| s.service_name.clone()).filter(|service| !service.is_empty());
    let own: Vec<Volume> =
        spec.volumes.take().into_iter().flatten().filter(|v| volumes.iter().all(|c| c.name != v.name)).collect();
    volumes.extend(own);
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod.metadata.name = Some(pod_name);
    pod
}

/// The labels of its identity that a pod has not.
pub(super) fn missing(pod: &Pod, ordinal: i32) -> Vec<(&'static str, String)> {
    let pod_name = name(&pod.metadata);
    let has = pod.metadata.labels.as_ref().and_then(|labels| labels.get(POD_NAME)).is_some_and(|is| is == pod_name);
    if has { Vec::new() } else { vec![(POD_NAME, pod_name.to_owned()), (POD_INDEX, ordinal.to_string())] }
}

/// The revision that a pod is of.
pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get(REVISION)).map_or("", String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_in_its_ordinal() {
        assert_eq!(parts("my-web-12"), Some(("my-web", 12)));
        assert_eq!(parts("web"), None);
        assert_eq!(parts("web-"), None);
        assert_eq!(parts("web-99999999999"), None);
        assert_eq!(parts("web-+1"), None);
    }
}

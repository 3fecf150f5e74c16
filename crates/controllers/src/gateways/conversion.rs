//! From entries of `platform-config` to `OpenShellGateway` objects that ask for the same. Pure.

use std::collections::BTreeSet;

use paddock_api::gateway::{GROUP, KIND, OpenShellGatewaySpec, VERSION};
use paddock_policy::dns::SubjectName;
use serde_json::{Value, json};

use super::document::{self, RawEntry};
use super::intent::{Intents, Rules};
use super::key::GatewayKey;
use super::problem::Problem;

/// The objects that ask for what the entries of `list` ask for, in the order of their names; with `tenant` that entry's alone.
/// Each is called `openshell-gateway`, so that it takes over what its entry made, and leaves out what its entry leaves out, so
/// that the operator's choices go on to hold.
///
/// # Errors
/// Everything that is wrong with the list, or with the entry: nothing is converted that would not be heard.
pub fn convert(list: &str, tenant: Option<&str>, rules: &Rules) -> Result<Vec<Value>, Vec<Problem>> {
    let judged = Intents::default().next(Some(list), rules);
    let meant = |name: &str| tenant.is_none_or(|tenant| tenant == name);
    let wrong: Vec<Problem> =
        judged.problems().filter(|problem| problem.entry.is_empty() || meant(&problem.entry)).cloned().collect();
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let read = document::read(list).map_err(|problem| vec![problem])?;
    let asked = read.iter().filter_map(|(entry, _)| {
        let name = entry.name.as_ref().map(|name| name.value.as_str()).filter(|name| meant(name))?;
        Some((GatewayKey::default_of(name.parse().ok()?), entry))
    });
    let mut objects: Vec<_> = asked.map(|(key, entry)| (object(&key, entry), key)).collect();
    objects.sort_by(|(_, a), (_, b)| a.cmp(b));
    Ok(objects.into_iter().map(|(object, _)| object).collect())
}

fn object(key: &GatewayKey, entry: &RawEntry) -> Value {
    // A set: names that mean the same are one.
    let mut seen = BTreeSet::new();
    let fresh = |text: &str| text.parse::<SubjectName>().is_ok_and(|name| seen.insert(name));
    let texts = entry.names.iter().map(|name| name.value.as_str());
    let text = |placed: &Option<document::Placed<String>>| placed.as_ref().map(|text| text.value.clone());
    let spec = OpenShellGatewaySpec {
        image: text(&entry.image),
        version: text(&entry.version),
        server_dns_names: texts
            .scan(fresh, |fresh, text| Some(fresh(text).then(|| text.to_owned())))
            .flatten()
            .collect(),
        config: text(&entry.config),
        ..OpenShellGatewaySpec::default()
    };
    json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": KIND,
        "metadata": { "name": key.gateway(), "namespace": key.namespace() },
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateways::Origin;
    use crate::gateways::intent::Intent;
    use crate::gateways::resource;

    const LIST: &str = "- name: tenant-b\n- name: tenant-a\n  gateway:\n    image: ghcr.io/nvidia/openshell/gateway:0.0.111\n    serverDnsNames: [a.example, A.example., 10.0.0.7]\n    config: |\n      [openshell.gateway]\n      log_level = \"debug\"  # $() {{ NAMESPACE_PLACEHOLDER\n";

    fn rules() -> Rules {
        Rules::new("ghcr.io/nvidia/openshell/gateway:0.0.71".parse().unwrap())
    }

    #[test]
    fn gw_w06_a_converted_entry_means_the_same() {
        let objects = convert(LIST, None, &rules()).unwrap();
        let judged = Intents::default().next(Some(LIST), &rules());
        for object in &objects {
            let key = resource::key_of(object).unwrap();
            let entry = resource::compile(&key, object, &rules());
            assert_eq!(entry.problems, []);
            let wanted = judged.entry(&key).unwrap().intent.as_deref().unwrap();
            let wanted = Intent { origin: Origin::Resource, ..wanted.clone() };
            assert_eq!(*entry.intent.unwrap(), wanted);
        }
        let names: Vec<_> = objects.iter().map(|object| object["metadata"]["namespace"].as_str().unwrap()).collect();
        assert_eq!(names, ["tenant-a", "tenant-b"]);
    }

    #[test]
    fn what_an_entry_leaves_out_its_object_leaves_out() {
        let objects = convert("- name: tenant-b\n", None, &rules()).unwrap();
        assert_eq!(objects[0]["spec"], json!({ "isolation": "PerTenant" }));
    }

    #[test]
    fn names_that_mean_the_same_are_one() {
        let objects = convert(LIST, Some("tenant-a"), &rules()).unwrap();
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0]["spec"]["serverDnsNames"], json!(["a.example", "10.0.0.7"]));
    }

    #[test]
    fn a_wrong_entry_is_told_and_nothing_is_converted_unless_another_is_asked_for() {
        let list = "- name: tenant-a\n- name: tenant-b\n  gateway: {imagee: x}\n";
        let wrong = convert(list, None, &rules()).unwrap_err();
        assert!(wrong.len() == 1 && wrong[0].entry == "tenant-b", "{wrong:?}");
        assert_eq!(convert(list, Some("tenant-a"), &rules()).unwrap().len(), 1);
        assert!(convert("x: [", Some("tenant-a"), &rules()).is_err());
    }
}

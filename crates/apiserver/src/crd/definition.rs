//! The rules of CustomResourceDefinition objects: defaults, status, validation. Pure.
//!
//! kube-apiserver's internal type holds a schema, subresources, columns and selectable fields that all versions share once,
//! at the top of the spec; error paths show that (`spec.validation.openAPIV3Schema…`), and so do they here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::jsonpath::JsonPath;
use super::{conditions, structural};
use crate::field::{FieldError, Kind};
use crate::kinds::names::{dns_1035_label, dns_subdomain};
use crate::resource::{Cx, Part};
use crate::status::Status;

/// Where definitions are stored.
const STORAGE: &str = "apiextensions.k8s.io/customresourcedefinitions";

fn versions(crd: &Value) -> &[Value] {
    crd["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// Names that follow from the kind, and no conversion.
pub(crate) fn default(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
    if let Some(kind) = spec["names"]["kind"].as_str().filter(|kind| !kind.is_empty()).map(str::to_owned) {
        if text(&spec["names"], "singular").is_empty() {
            spec["names"]["singular"] = kind.to_lowercase().into();
        }
        if text(&spec["names"], "listKind").is_empty() {
            spec["names"]["listKind"] = format!("{kind}List").into();
        }
    }
}

/// The status of a new definition: it is served from the moment that it is written.
pub(crate) fn prepare_create(crd: &mut Value, cx: &Cx<'_>) -> Result<(), Status> {
    conditions::store_versions(crd);
    conditions::settle(crd, &cx.lookup.list(STORAGE, ""), cx.now);
    Ok(())
}

/// A changed spec may store in another version and have other names.
pub(crate) fn prepare_update(new: &mut Value, old: &Value, part: Part, cx: &Cx<'_>) -> Result<(), Status> {
    if part == Part::Main {
        conditions::store_versions(new);
        if new["spec"]["names"] != old["spec"]["names"] || !conditions::is(old, "NamesAccepted") {
            conditions::settle(new, &cx.lookup.list(STORAGE, ""), cx.now);
        }
    }
    Ok(())
}

pub(crate) fn validate_create(crd: &Value, _cx: &Cx<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    // The name's own form is checked with all other metadata.
    if text(&crd["metadata"], "name") != format!("{}.{}", text(names, "plural"), text(spec, "group")) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &crd["metadata"]["name"], why));
    }
    validate_spec(crd, &mut errors);
    stored_versions(crd, &mut errors);
    approval(crd, &mut errors);
    if spec["preserveUnknownFields"] == true {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid("spec.preserveUnknownFields", &true.into(), why));
    }
    errors
}

fn validate_spec(crd: &Value, errors: &mut Vec<FieldError>) {
    group_and_scope(&crd["spec"], errors);
    all_versions(crd, errors);
    all_names(&crd["spec"]["names"], errors);
    shared(crd, errors);
    conversion(&crd["spec"]["conversion"], errors);
}

/// Groups of the Kubernetes project are for what it has approved.
fn approval(crd: &Value, errors: &mut Vec<FieldError>) {
    const KEY: &str = "api-approved.kubernetes.io";
    let group = text(&crd["spec"], "group");
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|of| group == *of || group.ends_with(&format!(".{of}")));
    if protected && text(&crd["metadata"]["annotations"], KEY).is_empty() {
        let why = format!(
            "protected groups must have approval annotation {KEY:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        errors.push(FieldError::required(format!("metadata.annotations[{KEY}]"), &why));
    }
}

pub(crate) fn validate_update(new: &Value, old: &Value, _part: Part, _cx: &Cx<'_>) -> Vec<FieldError> {
    let crd = new;
    let mut errors = Vec::new();
    validate_spec(crd, &mut errors);
    let mut fixed = |field: &str, new: &Value, old: &Value| {
        if new != old {
            errors.push(FieldError::invalid(field, new, "field is immutable"));
        }
    };
    let (new, established) = (&new["spec"], conditions::is(old, "Established"));
    let old = &old["spec"];
    if established {
        fixed("spec.scope", &new["scope"], &old["scope"]);
        fixed("spec.names.kind", &new["names"]["kind"], &old["names"]["kind"]);
    }
    fixed("spec.group", &new["group"], &old["group"]);
    fixed("spec.names.plural", &new["names"]["plural"], &old["names"]["plural"]);
    stored_versions(crd, &mut errors);
    errors
}

fn group_and_scope(spec: &Value, errors: &mut Vec<FieldError>) {
    let group = text(spec, "group");
    let wrong = dns_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid("spec.group", &spec["group"], &wrong.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid("spec.group", &spec["group"], "should be a domain with at least one dot"));
    }
    match text(spec, "scope") {
        "" => errors.push(FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        _ => errors.push(FieldError::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"])),
    }
}

/// Whether all versions have the same `key`, so that the internal type holds it once.
fn same(crd: &Value, key: &str) -> bool {
    versions(crd).windows(2).all(|pair| pair[0][key] == pair[1][key])
}

fn all_versions(crd: &Value, errors: &mut Vec<FieldError>) {
    let all = versions(crd);
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in all.iter().enumerate() {
        let at = |rest: &str| format!("spec.versions[{i}].{rest}");
        unique &= seen.insert(text(version, "name"));
        let wrong = dns_1035_label(text(version, "name"));
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(at("name"), &version["name"], &wrong.join(",")));
        }
        let schema = &version["schema"]["openAPIV3Schema"];
        if !schema.is_object() {
            errors.push(FieldError::required(at("schema.openAPIV3Schema"), ""));
        } else if !same(crd, "schema") {
            errors.extend(structural::check(schema, &at("schema.openAPIV3Schema")));
        }
        if !same(crd, "subresources") {
            subresources(&version["subresources"], &at("subresources"), errors);
        }
        if !same(crd, "additionalPrinterColumns") {
            columns(&version["additionalPrinterColumns"], &at("additionalPrinterColumns"), errors);
        }
        if !same(crd, "selectableFields") {
            selectable(version, &at("selectableFields"), errors);
        }
    }
    let storage = all.iter().filter(|v| v["storage"] == true).count();
    let mut wrong = |why: &str| {
        errors.push(FieldError::with(Kind::Invalid, "spec.versions", Some(printed(crd)), why));
    };
    if !unique {
        wrong("must contain unique version names");
    }
    if storage != 1 {
        wrong("must have exactly one version marked as storage version");
    }
}

/// The versions as the internal Go type prints them: in the order of its fields, and without what all versions share.
fn printed(crd: &Value) -> String {
    let one = |version: &Value| {
        let held = |key: &str| if same(crd, key) { Value::Null } else { version[key].clone() };
        let fields = [
            ("Name", version["name"].clone()),
            ("Served", (version["served"] == true).into()),
            ("Storage", (version["storage"] == true).into()),
            ("Deprecated", (version["deprecated"] == true).into()),
            ("DeprecationWarning", version["deprecationWarning"].clone()),
            ("Schema", held("schema")),
            ("Subresources", held("subresources")),
            ("AdditionalPrinterColumns", held("additionalPrinterColumns")),
            ("SelectableFields", held("selectableFields")),
        ];
        let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
        format!("{{{}}}", fields.join(","))
    };
    let all: Vec<String> = versions(crd).iter().map(one).collect();
    format!("[{}]", all.join(","))
}

fn all_names(names: &Value, errors: &mut Vec<FieldError>) {
    let at = |key: &str| format!("spec.names.{key}");
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(names, key).is_empty() {
            errors.push(FieldError::required(at(key), ""));
        }
    }
    let mut check = |field: String, value: &Value, mixed: bool| {
        let name = value.as_str().unwrap_or_default();
        let wrong = if mixed { dns_1035_label(&name.to_lowercase()) } else { dns_1035_label(name) };
        if !name.is_empty() && !wrong.is_empty() {
            let lead = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            errors.push(FieldError::invalid(field, value, &format!("{lead}{}", wrong.join(","))));
        }
    };
    check(at("plural"), &names["plural"], false);
    check(at("singular"), &names["singular"], false);
    check(at("kind"), &names["kind"], true);
    check(at("listKind"), &names["listKind"], true);
    for (i, name) in names["shortNames"].as_array().into_iter().flatten().enumerate() {
        check(format!("spec.names.shortNames[{i}]"), name, false);
    }
    for (i, name) in names["categories"].as_array().into_iter().flatten().enumerate() {
        check(format!("spec.names.categories[{i}]"), name, false);
    }
    if !text(names, "kind").is_empty() && names["kind"] == names["listKind"] {
        let why = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(at("listKind"), &names["listKind"], why));
    }
}

/// What all versions share, at the top of the spec.
fn shared(crd: &Value, errors: &mut Vec<FieldError>) {
    let Some(first) = versions(crd).first() else { return };
    let schema = &first["schema"]["openAPIV3Schema"];
    if same(crd, "schema") && schema.is_object() {
        errors.extend(structural::check(schema, "spec.validation.openAPIV3Schema"));
    }
    if same(crd, "subresources") {
        subresources(&first["subresources"], "spec.subresources", errors);
    }
    if same(crd, "additionalPrinterColumns") {
        columns(&first["additionalPrinterColumns"], "spec.additionalPrinterColumns", errors);
    }
    if same(crd, "selectableFields") {
        selectable(first, "spec.selectableFields", errors);
    }
}

fn subresources(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let scale = &value["scale"];
    if !scale.is_object() {
        return;
    }
    let mut check = |key: &str, required: bool, roots: &[&str]| {
        let (field, given) = (format!("{path}.scale.{key}"), text(scale, key));
        if given.is_empty() {
            if required {
                errors.push(FieldError::required(field, ""));
            }
            return;
        }
        let under = |root: &&str| given.starts_with(&format!("{root}.")) || given == *root;
        if !given.starts_with('.') || JsonPath::parse(given).and_then(|path| path.pointer()).is_none() {
            let why = "must be a simple json path starting with .";
            errors.push(FieldError::invalid(field, &scale[key], why));
        } else if !roots.iter().any(under) {
            let either = if roots.len() > 1 { "either " } else { "" };
            let why = format!("should be a json path under {either}{}", roots.join(" or "));
            errors.push(FieldError::invalid(field, &scale[key], &why));
        }
    };
    check("specReplicasPath", true, &[".spec"]);
    check("statusReplicasPath", true, &[".status"]);
    check("labelSelectorPath", false, &[".spec", ".status"]);
}

fn columns(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
    for (i, column) in value.as_array().into_iter().flatten().enumerate() {
        // kube-apiserver's internal type still spells the path's name as v1beta1 did.
        let at = |key: &str| format!("{path}[{i}].{key}");
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(at("name"), ""));
        }
        match text(column, "type") {
            "" => errors.push(FieldError::required(at("type"), "must be one of boolean,date,integer,number,string")),
            known if TYPES.contains(&known) => {}
            _ => {
                let why = "must be one of boolean,date,integer,number,string";
                errors.push(FieldError::invalid(at("type"), &column["type"], why));
            }
        }
        let formats = "byte,date,date-time,double,float,int32,int64,password";
        let format = text(column, "format");
        if !format.is_empty() && !formats.split(',').any(|known| known == format) {
            let why = format!("must be one of {formats}");
            errors.push(FieldError::invalid(at("format"), &column["format"], &why));
        }
        match text(column, "jsonPath") {
            "" => errors.push(FieldError::required(at("JSONPath"), "")),
            path if path.starts_with('.') => {}
            _ => {
                let why = "must be a simple json path starting with .";
                errors.push(FieldError::invalid(at("JSONPath"), &column["jsonPath"], why));
            }
        }
    }
}

/// Selectable fields are scalars of the schema, each named once.
fn selectable(version: &Value, path: &str, errors: &mut Vec<FieldError>) {
    const MOST: usize = 8;
    let all = version["selectableFields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if all.len() > MOST {
        errors.push(FieldError::too_many(path, all.len(), MOST));
    }
    let mut seen = BTreeSet::new();
    for (i, field) in all.iter().enumerate() {
        let (at, given) = (format!("{path}[{i}].jsonPath"), text(field, "jsonPath"));
        if given.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let pointer = JsonPath::parse(given).and_then(|path| path.pointer()).filter(|_| given.starts_with('.'));
        let Some(pointer) = pointer else {
            errors.push(FieldError::invalid(at, &field["jsonPath"], "is an invalid path"));
            continue;
        };
        let node = pointer
            .split('/')
            .skip(1)
            .try_fold(&version["schema"]["openAPIV3Schema"], |node, name| node["properties"].get(name));
        match node.map(|node| text(node, "type")) {
            _ if pointer.starts_with("/metadata/") || pointer == "/metadata" => {
                errors.push(FieldError::invalid(at, &field["jsonPath"], "must not point to fields in metadata"));
            }
            Some("string" | "boolean" | "integer") => {}
            Some(_) => {
                let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with \
                           formats are allowed.";
                errors.push(FieldError::invalid(at.clone(), &field["jsonPath"], why));
            }
            None => {
                let why = "is an invalid path: does not refer to a valid field";
                errors.push(FieldError::invalid(at.clone(), &field["jsonPath"], why));
            }
        }
        if !seen.insert(given) {
            errors.push(FieldError::duplicate(format!("{path}[{i}].jsonPath"), &field["jsonPath"]));
        }
    }
}

/// Versions differ in their schema only: there is no webhook that converts.
fn conversion(value: &Value, errors: &mut Vec<FieldError>) {
    match text(value, "strategy") {
        "" => errors.push(FieldError::required("spec.conversion.strategy", "")),
        "None" => {
            if value["webhook"].is_object() {
                let why = "should not be set when strategy is not set to Webhook";
                errors.push(FieldError::forbidden("spec.conversion.webhookClientConfig", why));
            }
        }
        "Webhook" => {
            let why = "this server converts between versions by their apiVersion alone";
            errors.push(FieldError::forbidden("spec.conversion.strategy", why));
        }
        _ => {
            let supported = ["None", "Webhook"];
            errors.push(FieldError::not_supported("spec.conversion.strategy", &value["strategy"], &supported));
        }
    }
}

fn stored_versions(crd: &Value, errors: &mut Vec<FieldError>) {
    const FIELD: &str = "status.storedVersions";
    let stored = &crd["status"]["storedVersions"];
    let mut left: Vec<(usize, &Value)> = stored.as_array().into_iter().flatten().enumerate().collect();
    if left.is_empty() {
        errors.push(FieldError::invalid(FIELD, stored, "must have at least one stored version"));
        return;
    }
    for version in versions(crd) {
        match left.iter().position(|(_, name)| **name == version["name"]) {
            Some(at) => {
                left.remove(at);
            }
            None if version["storage"] == true => {
                let why = format!("must have the storage version {}", text(version, "name"));
                errors.push(FieldError::invalid(FIELD, stored, &why));
            }
            None => {}
        }
    }
    for (i, name) in left {
        let version = name.as_str().unwrap_or_default();
        let why = format!(
            "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until \
             a storage migration ensures no data remains persisted in {version} and removes {version} from \
             status.storedVersions"
        );
        errors.push(FieldError::invalid(format!("{FIELD}[{i}]"), name, &why));
    }
}

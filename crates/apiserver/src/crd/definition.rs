//! The rules of CustomResourceDefinition objects: defaults, status, validation. Pure.
//!
//! kube-apiserver's internal type holds a schema, subresources, columns and selectable fields that all versions share once,
//! at the top of the spec; error paths show that (`spec.validation.openAPIV3Schema…`), and so do they here.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::structural::{elements, fields, text};
use super::{conditions, conversion, defaults, internal, openapi, serving, structural};
use crate::field::{FieldError, Kind};
use crate::kinds::names::{dns_1035_label, dns_subdomain};
use crate::resource::{Cx, Part};
use crate::schema::report::{Path, Report};
use crate::schema::sharing::Sharing;
use crate::schema::{body::MAX_DEPTH, formats};
use crate::status::Status;

fn versions(crd: &Value) -> &[Value] {
    crd["spec"]["versions"].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Names that follow from the kind, and no conversion.
pub(crate) fn default(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").filter(|spec| spec.is_object()) else { return };
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
    if let Some(service) = spec.pointer_mut("/conversion/webhook/clientConfig/service").filter(|s| s.is_object())
        && service["port"].is_null()
    {
        service["port"] = 443.into();
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
    conditions::settle(crd, &cx.lookup.names_of_group(text(&crd["spec"], "group")), cx.now);
    Ok(())
}

/// A changed spec may store in another version and have other names.
pub(crate) fn prepare_update(new: &mut Value, old: &Value, part: Part, cx: &Cx<'_>) -> Result<(), Status> {
    if part == Part::Main {
        conditions::store_versions(new);
        if new["spec"]["names"] != old["spec"]["names"] || !conditions::is(old, "NamesAccepted") {
            conditions::settle(new, &cx.lookup.names_of_group(text(&new["spec"], "group")), cx.now);
        }
    }
    Ok(())
}

pub(crate) fn validate_create(crd: &Value, _cx: &Cx<'_>) -> Vec<FieldError> {
    let mut report = Report::default();
    let (spec, names) = (&crd["spec"], &crd["spec"]["names"]);
    // The name's own form is checked with all other metadata.
    if text(&crd["metadata"], "name") != format!("{}.{}", text(names, "plural"), text(spec, "group")) {
        let why = "must be spec.names.plural+\".\"+spec.group";
        report.add(|| FieldError::invalid("metadata.name", &crd["metadata"]["name"], why));
    }
    validate_spec(crd, &Allowed { any_ca: true, ..Allowed::default() }, &mut report);
    stored_versions(crd, &mut report);
    approval(crd, None, &mut report);
    preserving(crd, None, &mut report);
    report.into_list()
}

pub(crate) fn validate_update(new: &Value, old: &Value, part: Part, _cx: &Cx<'_>) -> Vec<FieldError> {
    let mut report = Report::default();
    if part == Part::Status {
        names(&new["status"]["acceptedNames"], &Path::root("status.acceptedNames"), &mut report);
        return report.into_list();
    }
    validate_spec(new, &Allowed::by(old, new), &mut report);
    let (to, from) = (&new["spec"], &old["spec"]);
    let mut fixed = |field: &str, new: &Value, old: &Value| {
        if new != old {
            report.add(|| FieldError::invalid(field, new, "field is immutable"));
        }
    };
    if conditions::is(old, "Established") {
        fixed("spec.scope", &to["scope"], &from["scope"]);
        fixed("spec.names.kind", &to["names"]["kind"], &from["names"]["kind"]);
    }
    fixed("spec.group", &to["group"], &from["group"]);
    fixed("spec.names.plural", &to["names"]["plural"], &from["names"]["plural"]);
    stored_versions(new, &mut report);
    approval(new, Some(old), &mut report);
    preserving(new, Some(old), &mut report);
    report.into_list()
}

/// Formats that mean nothing and are ignored: those of a new definition, or those that an update brings.
pub(crate) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    let unknown = |crd: &Value| -> Vec<String> {
        let mut all = Vec::new();
        for version in versions(crd) {
            unknown_formats(&version["schema"]["openAPIV3Schema"], 0, &mut all);
        }
        all
    };
    let known: BTreeSet<String> = old.map(unknown).unwrap_or_default().into_iter().collect();
    let mut told = BTreeSet::new();
    let new = unknown(new).into_iter().filter(|format| !known.contains(format));
    new.filter(|format| told.insert(format.clone())).map(|format| format!("unrecognized format {format:?}")).collect()
}

fn unknown_formats(node: &Value, depth: usize, all: &mut Vec<String>) {
    const MOST: usize = 100;
    if !node.is_object() || depth >= MAX_DEPTH || all.len() >= MOST {
        return;
    }
    let format = text(node, "format");
    if !format.is_empty() && !formats::is_supported(text(node, "type"), format) {
        all.push(format.to_owned());
    }
    let mut below = |node: &Value| unknown_formats(node, depth + 1, all);
    below(&node["items"]);
    for key in ["allOf", "anyOf", "oneOf"] {
        elements(node, key).for_each(|(_, node)| below(node));
    }
    below(&node["not"]);
    fields(node, "properties").for_each(|(_, node)| below(node));
    below(&node["additionalProperties"]);
}

/// What an update may leave as it was, though a new definition may not have it.
#[derive(Default)]
struct Allowed {
    /// Versions whose schema did not change: it was checked when it came.
    unchanged: BTreeSet<String>,
    /// The bundle of authorities of a conversion webhook is not looked at.
    any_ca: bool,
    /// Versions whose selectable fields did not change.
    selectable: BTreeSet<String>,
}

impl Allowed {
    fn by(old: &Value, new: &Value) -> Self {
        let mut allowed = Self {
            any_ca: !conditions::is(old, "Established") || new["spec"]["conversion"] == old["spec"]["conversion"],
            ..Self::default()
        };
        for version in versions(new) {
            let Some(before) = versions(old).iter().find(|before| before["name"] == version["name"]) else { continue };
            let status = |version: &Value| version["subresources"]["status"].is_object();
            if before["schema"] == version["schema"] && status(before) == status(version) {
                allowed.unchanged.insert(text(version, "name").to_owned());
            }
            if before["selectableFields"] == version["selectableFields"] {
                allowed.selectable.insert(text(version, "name").to_owned());
            }
        }
        allowed
    }
}

fn validate_spec(crd: &Value, allowed: &Allowed, report: &mut Report) {
    group_and_scope(&crd["spec"], report);
    all_versions(crd, allowed, report);
    let (spec, at) = (&crd["spec"]["names"], Path::root("spec.names"));
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(spec, key).is_empty() {
            report.add(|| FieldError::required(at.field(key).to_string(), ""));
        }
    }
    names(spec, &at, report);
    shared(crd, allowed, report);
    let conversion = &crd["spec"]["conversion"];
    let path = Path::root("spec.conversion");
    if crd["spec"]["preserveUnknownFields"] == true && conversion["strategy"] != "None" {
        let why = "must be None if spec.preserveUnknownFields is true";
        report.add(|| FieldError::invalid(path.field("strategy").to_string(), &conversion["strategy"], why));
    }
    conversion::check(conversion, allowed.any_ca, &path, report);
}

/// Whether a group is one of the Kubernetes project.
pub(super) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|of| group.strip_suffix(of).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

/// Whether the Kubernetes project has approved a definition for one of its groups.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Approval {
    Missing,
    Bypassed,
    Approved,
    Invalid,
}

/// The annotation that carries the approval.
pub(super) const APPROVAL: &str = "api-approved.kubernetes.io";

pub(super) fn approval_of(crd: &Value) -> Approval {
    let given = text(&crd["metadata"]["annotations"], APPROVAL);
    match given {
        "" => Approval::Missing,
        given if given.starts_with("unapproved") => Approval::Bypassed,
        given
            if given.split_once("://").is_some_and(|(_, host)| !host.is_empty()) && formats::matches("uri", given) =>
        {
            Approval::Approved
        }
        _ => Approval::Invalid,
    }
}

/// What is said of an approval.
pub(super) fn approval_text(crd: &Value) -> String {
    const SEE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
    let given = text(&crd["metadata"]["annotations"], APPROVAL);
    match approval_of(crd) {
        Approval::Missing => format!("protected groups must have approval annotation {APPROVAL:?}, {SEE}"),
        Approval::Bypassed => format!("not approved: {given:?}"),
        Approval::Approved => format!("approved in {given}"),
        Approval::Invalid => format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \
             \"unapproved\", {SEE}"
        ),
    }
}

/// Groups of the Kubernetes project are for what it has approved. An approval that did not change is not looked at.
fn approval(crd: &Value, old: Option<&Value>, report: &mut Report) {
    let state = approval_of(crd);
    if !is_protected(text(&crd["spec"], "group")) || old.is_some_and(|old| approval_of(old) == state) {
        return;
    }
    let field = || format!("metadata.annotations[{APPROVAL}]");
    match state {
        Approval::Missing => report.add(|| FieldError::required(field(), &approval_text(crd))),
        Approval::Invalid => {
            let given = &crd["metadata"]["annotations"][APPROVAL];
            report.add(|| FieldError::invalid(field(), given, &approval_text(crd)));
        }
        Approval::Approved | Approval::Bypassed => {}
    }
}

fn preserving(crd: &Value, old: Option<&Value>, report: &mut Report) {
    if crd["spec"]["preserveUnknownFields"] == true
        && old.is_none_or(|old| old["spec"]["preserveUnknownFields"] != true)
    {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        report.add(|| FieldError::invalid("spec.preserveUnknownFields", &true.into(), why));
    }
}

fn group_and_scope(spec: &Value, report: &mut Report) {
    let group = text(spec, "group");
    let wrong = dns_subdomain(group);
    if group.is_empty() {
        report.add(|| FieldError::required("spec.group", ""));
    } else if !wrong.is_empty() {
        report.add(|| FieldError::invalid("spec.group", &spec["group"], &wrong.join(",")));
    } else if !group.contains('.') {
        report.add(|| FieldError::invalid("spec.group", &spec["group"], "should be a domain with at least one dot"));
    }
    match text(spec, "scope") {
        "" => report.add(|| FieldError::required("spec.scope", "")),
        "Cluster" | "Namespaced" => {}
        _ => report.add(|| FieldError::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"])),
    }
}

/// Whether all versions have the same `key`, so that the internal type holds it once.
fn same(crd: &Value, key: &str) -> bool {
    versions(crd).windows(2).all(|pair| matches!(pair, [a, b] if a[key] == b[key]))
}

fn has_status(version: &Value) -> bool {
    version["subresources"]["status"].is_object()
}

fn all_versions(crd: &Value, allowed: &Allowed, report: &mut Report) {
    let all = versions(crd);
    let root = Path::root("spec.versions");
    let schema_of = |version: &Value| version["schema"]["openAPIV3Schema"].is_object();
    // What all share lies above them, and is there when one has it.
    if !(same(crd, "schema") && all.first().is_some_and(schema_of)) {
        for (i, _) in all.iter().enumerate().filter(|(_, version)| !schema_of(version)) {
            let at = root.index(i);
            report.add(|| FieldError::required(at.field("schema").field("openAPIV3Schema").to_string(), ""));
        }
    }
    let defaults = all.iter().any(|version| super::has_defaults(&version["schema"]["openAPIV3Schema"], 0));
    if defaults && crd["spec"]["preserveUnknownFields"] == true {
        let why = "must be false in order to use defaults in the schema";
        report.add(|| FieldError::invalid("spec.preserveUnknownFields", &true.into(), why));
    }
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (i, version) in all.iter().enumerate() {
        let at = root.index(i);
        unique &= seen.insert(text(version, "name"));
        let wrong = dns_1035_label(text(version, "name"));
        if !wrong.is_empty() {
            report.add(|| FieldError::invalid(at.field("name").to_string(), &version["name"], &wrong.join(",")));
        }
        deprecation(version, &at.field("deprecationWarning"), report);
        if !same(crd, "schema") {
            schema(version, has_status(version), allowed, &at.field("schema").field("openAPIV3Schema"), report);
        }
        if !same(crd, "subresources") {
            serving::subresources(&version["subresources"], &at.field("subresources"), report);
        }
        if !same(crd, "additionalPrinterColumns") {
            let (columns, at) = (&version["additionalPrinterColumns"], at.field("additionalPrinterColumns"));
            serving::columns(columns, &at, report);
        }
        if !same(crd, "selectableFields") {
            let may_exceed = allowed.selectable.contains(text(version, "name"));
            serving::selectable(version, may_exceed, &at.field("selectableFields"), report);
        }
    }
    let storage = all.iter().filter(|version| version["storage"] == true).count();
    let mut wrong = |why: &str| {
        report.add(|| {
            let shown = internal::versions(all, |key| !same(crd, key));
            FieldError::with(Kind::Invalid, "spec.versions", Some(shown), why)
        });
    };
    if !unique {
        wrong("must contain unique version names");
    }
    if storage != 1 {
        wrong("must have exactly one version marked as storage version");
    }
    // The internal type repeats the first version's name.
    if let Some(first) = all.first() {
        let wrong = dns_1035_label(text(first, "name"));
        if !wrong.is_empty() && !text(first, "name").is_empty() {
            report.add(|| FieldError::invalid("spec.version", &first["name"], &wrong.join(",")));
        }
    }
}

fn deprecation(version: &Value, path: &Path<'_>, report: &mut Report) {
    let Some(warning) = version["deprecationWarning"].as_str() else { return };
    let mut invalid = |why: &str| report.add(|| FieldError::invalid(path.to_string(), &warning.into(), why));
    if version["deprecated"] != true {
        return invalid("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        invalid("must be <= 256 characters long");
    }
    if warning.is_empty() {
        invalid("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control() || c.is_whitespace() && *c != ' ') {
        invalid(&format!("must only contain printable UTF-8 characters; non-printable character found at index {at}"));
    }
}

/// The form of names; those that must be there are looked for elsewhere.
fn names(names: &Value, path: &Path<'_>, report: &mut Report) {
    let mut check = |at: Path<'_>, value: &Value, mixed: bool| {
        let name = value.as_str().unwrap_or_default();
        let wrong = if mixed { dns_1035_label(&name.to_lowercase()) } else { dns_1035_label(name) };
        if !wrong.is_empty() {
            let lead = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            report.add(|| FieldError::invalid(at.to_string(), value, &format!("{lead}{}", wrong.join(","))));
        }
    };
    for (key, mixed) in [("plural", false), ("singular", false), ("kind", true), ("listKind", true)] {
        if !text(names, key).is_empty() {
            check(path.field(key), &names[key], mixed);
        }
    }
    for (i, name) in elements(names, "shortNames") {
        check(path.field("shortNames").index(i), name, false);
    }
    if !text(names, "kind").is_empty() && names["kind"] == names["listKind"] {
        let why = "kind and listKind may not be the same";
        report.add(|| FieldError::invalid(path.field("listKind").to_string(), &names["listKind"], why));
    }
    let mut check = |at: Path<'_>, value: &Value| {
        let wrong = dns_1035_label(value.as_str().unwrap_or_default());
        if !wrong.is_empty() {
            report.add(|| FieldError::invalid(at.to_string(), value, &wrong.join(",")));
        }
    };
    for (i, name) in elements(names, "categories") {
        check(path.field("categories").index(i), name);
    }
}

/// What all versions share, at the top of the spec.
fn shared(crd: &Value, allowed: &Allowed, report: &mut Report) {
    let Some(first) = versions(crd).first() else { return };
    let at = |name: &'static str| Path::root(name);
    if same(crd, "schema") {
        let status = versions(crd).iter().any(has_status);
        schema(first, status, allowed, &at("spec.validation.openAPIV3Schema"), report);
    }
    if same(crd, "subresources") {
        serving::subresources(&first["subresources"], &at("spec.subresources"), report);
    }
    if same(crd, "additionalPrinterColumns") {
        serving::columns(&first["additionalPrinterColumns"], &at("spec.additionalPrinterColumns"), report);
    }
    if same(crd, "selectableFields") {
        let may_exceed = allowed.selectable.contains(text(first, "name"));
        serving::selectable(first, may_exceed, &at("spec.selectableFields"), report);
    }
}

/// A version's schema: structural, its defaults fit, its rules are right.
fn schema(version: &Value, status: bool, allowed: &Allowed, path: &Path<'_>, report: &mut Report) {
    let schema = &version["schema"]["openAPIV3Schema"];
    if !schema.is_object() || allowed.unchanged.contains(text(version, "name")) {
        return;
    }
    let mut found = Report::default();
    if status {
        openapi::root_with_status(schema, path, &mut found);
    }
    if schema["nullable"] == true {
        found.add(|| FieldError::forbidden(path.field("nullable").to_string(), "nullable cannot be true at the root"));
    }
    let unsupported = structural::unsupported(schema);
    let mut parsed = None;
    if unsupported.is_none() {
        let mut errors = structural::check(schema, path);
        if errors.is_empty() {
            errors = defaults::check(schema, path);
        }
        if errors.is_empty() {
            parsed = Sharing::default().read(schema).ok();
        }
        found.extend(errors);
    }
    found.extend(openapi::check(schema, parsed.as_deref(), path));
    if let Some(why) = unsupported.filter(|_| found.is_empty()) {
        found.add(|| FieldError::invalid(path.to_string(), &"".into(), &why));
    }
    report.extend(found.into_list());
}

fn stored_versions(crd: &Value, report: &mut Report) {
    const FIELD: &str = "status.storedVersions";
    let stored = &crd["status"]["storedVersions"];
    let mut left: Vec<(usize, &Value)> = stored.as_array().into_iter().flatten().enumerate().collect();
    if left.is_empty() {
        return report.add(|| FieldError::invalid(FIELD, stored, "must have at least one stored version"));
    }
    for version in versions(crd) {
        match left.iter().position(|(_, name)| **name == version["name"]) {
            Some(at) => {
                left.remove(at);
            }
            None if version["storage"] == true => {
                let why = format!("must have the storage version {}", text(version, "name"));
                report.add(|| FieldError::invalid(FIELD, stored, &why));
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
        report.add(|| FieldError::invalid(format!("{FIELD}[{i}]"), name, &why));
    }
}

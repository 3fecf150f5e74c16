//! Server-side apply and the bookkeeping of `metadata.managedFields`. Pure.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`. Entries
//! of other versions of a kind are compared with the request's version: kinds here have the same fields in all versions
//! that matter, so no conversion is made.

mod entries;
mod options;
mod scale;
mod set;
mod shape;
mod walk;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::schema::Typed;
use crate::status::{Details, Status};

pub use entries::Operation;
pub use options::{check_patch_options, manager_errors, manager_name};
pub use scale::{scale_from_parent, scale_to_parent};
pub use set::{Element, FieldSet, Scalar};

use entries::{Entries, Id, Owned, cap, decode, is_reset, store, take};
use shape::Node;
use walk::{At, Comparison, same};

/// Owner of what an object held before it was first applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Where client-side `kubectl apply` keeps what it applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The kind and version that a request is about.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The kind's schema.
    pub schema: Typed<'a>,
    /// `v1` or `apps/v1`: version of the request's body and of the entry that it writes.
    pub api_version: &'a str,
    /// The kind.
    pub kind: &'a str,
    /// Made by a CRD. Built-in kinds always hold their nested structs, which nobody owns.
    pub custom: bool,
    /// Fields that this request cannot write; they are never owned by it. See [`reset_fields`].
    pub reset: &'a FieldSet,
}

/// Who writes.
#[derive(Clone, Copy, Debug)]
pub struct Manager<'a> {
    /// Field manager; see [`manager_name`].
    pub name: &'a str,
    /// `status`, `scale`, … or empty.
    pub subresource: &'a str,
    /// Time of the write.
    pub now: Timestamp,
}

/// What a request on the object or a subresource cannot write. `status` says whether the kind has that subresource.
pub fn reset_fields(group: &str, kind: &str, custom: bool, subresource: &str, status: bool) -> FieldSet {
    match (subresource, group, kind) {
        ("status", ..) if custom => FieldSet::of(&[&["metadata"], &["spec"]]),
        ("status", "apiextensions.k8s.io", "CustomResourceDefinition") => FieldSet::of(&[&["metadata"], &["spec"]]),
        ("status", "apps", "Deployment") => FieldSet::of(&[&["spec"], &["metadata", "labels"]]),
        ("status", "", "Pod") => {
            FieldSet::of(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
        }
        ("status", ..) => FieldSet::of(&[&["spec"]]),
        ("scale", ..) => FieldSet::default(),
        _ if status => FieldSet::of(&[&["status"]]),
        _ => FieldSet::default(),
    }
}

/// Metadata that nobody owns.
fn unowned() -> FieldSet {
    FieldSet::of(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

fn managed_fields(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// Records in `new.metadata.managedFields` what a create, update or patch changed, `old` being the stored object
/// (`None` on create).
///
/// `new` is what the client wants, decoded and defaulted, before the strategy's `prepare`. Entries that the client sent
/// are kept when they are well formed, else those of `old`; an empty list (or one empty entry) forgets all. An object
/// without entries is not tracked until it is applied.
pub fn track_update(target: &Target<'_>, old: Option<&Value>, new: &mut Value, who: &Manager<'_>) {
    let sent = take(new);
    let live = || decode(old.and_then(managed_fields)).unwrap_or_default();
    let mut entries = if who.subresource.is_empty() {
        if is_reset(sent.as_ref()) {
            Entries::new()
        } else {
            match decode(sent.as_ref()) {
                Ok(entries) if !entries.is_empty() => entries,
                _ => live(),
            }
        }
    } else {
        live()
    };
    if !(entries.is_empty() && old.is_some()) {
        take_over(target, old, new, &mut entries, who.name, who);
    }
    store(new, &entries);
}

/// The part of an update that changes entries: what changed moves from its owners to `name`.
fn take_over(
    target: &Target<'_>,
    old: Option<&Value>,
    new: &Value,
    entries: &mut Entries,
    name: &str,
    who: &Manager<'_>,
) {
    let at = At::root(Node::new(target.schema));
    let view = |object: Option<&Value>| {
        let mut object = object.cloned().unwrap_or_else(|| json!({}));
        take(&mut object);
        if !target.custom {
            at.node.fill(&mut object, true);
        }
        object
    };
    let changed = at.compare(Some(&view(old)), Some(&view(Some(new)))).excluding(target.reset);
    yield_fields(entries, None, &changed);
    let taken = changed.modified.union(&changed.added).difference(&unowned());
    if !taken.is_empty() {
        let id = Id::new(name, Operation::Update, target.api_version, who.subresource);
        let owned = entries.entry(id).or_insert_with(|| Owned {
            set: FieldSet::default(),
            api_version: target.api_version.to_owned(),
            time: None,
        });
        owned.set.add(&taken);
        owned.time = Some(who.now);
    }
    cap(entries);
}

/// Takes what changed away from all but `keep`; entries left with nothing go.
fn yield_fields(entries: &mut Entries, keep: Option<&Id>, changed: &Comparison) {
    let gone = changed.modified.union(&changed.added).union(&changed.removed);
    entries.retain(|id, owned| {
        if keep != Some(id) && !gone.is_empty() {
            owned.set = owned.set.difference(&gone);
        }
        !owned.set.is_empty()
    });
}

/// Keeps the old entries when nothing but their times changed: a write that changes nothing must not look like one.
///
/// Call it last before the object is compared with the stored one and written.
pub fn settle_times(old: &Value, new: &mut Value) {
    let timeless = |object: &Value| {
        let mut object = object.clone();
        let mut list = take(&mut object);
        if let Some(Value::Array(list)) = &mut list {
            for entry in list {
                if let Some(entry) = entry.as_object_mut() {
                    entry.remove("time");
                }
            }
        }
        (object, list)
    };
    let Some(before) = managed_fields(old) else { return };
    if managed_fields(new) != Some(before) && timeless(old) == timeless(new) {
        let before = before.clone();
        new["metadata"]["managedFields"] = before;
    }
}

/// Server-side apply of `config` to `live` (`None`: it creates). The result carries its new `managedFields` and is then
/// decoded, defaulted, prepared, validated and written like the body of a PUT (or POST); nothing that happens to it
/// afterwards becomes owned.
///
/// `config` is the body as read, without defaults. `live` is the stored object, defaulted. Errors: 400 for a body of
/// another kind or version or with `managedFields`, 500 for what does not fit the schema, 409 for conflicts unless
/// `force`. Names, uid and resourceVersion of the result are checked by the caller, as for a PUT.
pub fn apply(
    target: &Target<'_>,
    live: Option<&Value>,
    config: &Value,
    who: &Manager<'_>,
    force: bool,
) -> Result<Value, Status> {
    check_config(target, config)?;
    let entries = decode(live.and_then(managed_fields))
        .map_err(|error| Status::new(500, "", format!("failed to decode managed fields: {error}")))?;
    let (mut object, entries) = match apply_to(target, live, config, entries.clone(), who, force) {
        Ok(done) => done,
        // What client-side kubectl wrote and nobody changed since is not in kubectl's way.
        Err(conflicts) if who.name == "kubectl" => {
            let Some(allowed) = live.and_then(|live| last_applied(target, live)) else {
                return Err(conflict(&conflicts));
            };
            let left: Conflicts = conflicts
                .iter()
                .map(|(id, set)| (id.clone(), set.difference(&allowed)))
                .filter(|(_, set)| !set.is_empty())
                .collect();
            if !left.is_empty() {
                return Err(conflict(&left));
            }
            apply_to(target, live, config, entries, who, true).map_err(|conflicts| conflict(&conflicts))?
        }
        Err(conflicts) => return Err(conflict(&conflicts)),
    };
    let annotated =
        |object: &Value| object.pointer("/metadata/annotations").is_some_and(|a| a.get(LAST_APPLIED).is_some());
    if who.name == "kubectl" && live.is_some_and(annotated) {
        object["metadata"]["annotations"][LAST_APPLIED] = Value::String(config.to_string());
    }
    store(&mut object, &entries);
    Ok(object)
}

fn check_config(target: &Target<'_>, config: &Value) -> Result<(), Status> {
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version.is_empty() || kind.is_empty() {
        return Err(Status::bad_request(format!(
            "invalid object type: apiVersion and kind must be set, want {}",
            gvk(target.api_version, target.kind)
        )));
    }
    if kind != target.kind {
        let (got, want) = (gvk(api_version, kind), gvk(target.api_version, target.kind));
        return Err(Status::bad_request(format!("invalid object type: got {got}, want {want}")));
    }
    if api_version != target.api_version {
        return Err(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {api_version}, expected: {}",
            target.api_version
        )));
    }
    if managed_fields(config).is_some_and(|list| !list.is_null()) {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let errors = At::root(Node::new(target.schema)).validate(config);
    if errors.is_empty() {
        return Ok(());
    }
    let text = match errors.as_slice() {
        [one] => one.clone(),
        many => format!("errors:\n{}", many.iter().map(|e| format!("  {e}")).collect::<Vec<_>>().join("\n")),
    };
    let metadata =
        |field: &str| config.pointer(&format!("/metadata/{field}")).and_then(Value::as_str).unwrap_or_default();
    Err(Status::new(
        500,
        "",
        format!(
            "failed to create typed patch object ({}/{}; {}): {text}",
            metadata("namespace"),
            metadata("name"),
            gvk(target.api_version, target.kind)
        ),
    ))
}

/// `apps/v1, Kind=Deployment`.
fn gvk(api_version: &str, kind: &str) -> String {
    let slash = if api_version.contains('/') { "" } else { "/" };
    format!("{slash}{api_version}, Kind={kind}")
}

/// Fields that stand in the way, by owner.
type Conflicts = BTreeMap<Id, FieldSet>;

fn apply_to(
    target: &Target<'_>,
    live: Option<&Value>,
    config: &Value,
    mut entries: Entries,
    who: &Manager<'_>,
    force: bool,
) -> Result<(Value, Entries), Conflicts> {
    let at = At::root(Node::new(target.schema));
    if entries.is_empty()
        && let Some(live) = live
    {
        let nobody = Manager { subresource: "", ..*who };
        take_over(target, None, live, &mut entries, BEFORE_FIRST_APPLY, &nobody);
    }
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    take(&mut before);
    let mut config = config.clone();
    take(&mut config);

    let id = Id::new(who.name, Operation::Apply, target.api_version, who.subresource);
    let last = entries.remove(&id);
    let set = at.field_set(&config).without_subtrees(target.reset);
    let time = last.as_ref().and_then(|last| last.time);
    entries.insert(id.clone(), Owned { set, api_version: target.api_version.to_owned(), time });

    let merged = at.merge(&before, &config);
    let after = match &last {
        Some(last) if !last.set.is_empty() => prune(at, merged, &entries, &last.set),
        _ => merged,
    };
    let changed = at.compare(Some(&before), Some(&after)).excluding(target.reset);
    if !force {
        let taken = changed.modified.union(&changed.added);
        let conflicts: Conflicts = entries
            .iter()
            .filter(|(other, _)| **other != id)
            .map(|(other, owned)| (other.clone(), owned.set.intersection(&taken)))
            .filter(|(_, set)| !set.is_empty())
            .collect();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    yield_fields(&mut entries, Some(&id), &changed);
    if let Some(owned) = entries.get_mut(&id) {
        owned.set = owned.set.difference(&unowned());
        if owned.set.is_empty() {
            entries.remove(&id);
        } else if !same(&before, &after) {
            owned.time = Some(who.now);
        }
    }
    Ok((after, entries))
}

/// Removes what the manager applied last time and not this time, unless another manager owns it, too.
fn prune(at: At<'_>, merged: Value, entries: &Entries, last: &FieldSet) -> Value {
    let named = |set: &FieldSet| at.with_named_parents(set);
    let mut pruned = merged.clone();
    at.remove(&mut pruned, &named(last));
    let all = named(&at.field_set(&merged));

    // What managers own, this one's new set included, comes back.
    let mut managed = FieldSet::default();
    for owned in entries.values() {
        managed.add(&owned.set);
    }
    let keep = named(&at.field_set(&pruned)).union(&named(&managed));
    let mut pruned = merged.clone();
    at.remove(&mut pruned, &all.difference(&keep));

    // What was not the manager's comes back: it may have hung below what was removed.
    let gone = all.difference(&named(&at.field_set(&pruned))).intersection(&named(last));
    let mut out = merged;
    at.remove(&mut out, &gone);
    out
}

/// The fields of kubectl's last-applied annotation that still have the value that it wrote.
fn last_applied(target: &Target<'_>, live: &Value) -> Option<FieldSet> {
    let text = live.pointer("/metadata/annotations")?.get(LAST_APPLIED)?.as_str()?;
    let applied: Value = serde_json::from_str(text).ok()?;
    let at = At::root(Node::new(target.schema));
    if !applied.is_object() || !at.validate(&applied).is_empty() {
        return None;
    }
    let changed = at.compare(Some(&applied), Some(live));
    let set = at.field_set(&applied);
    Some(set.difference(&changed.modified).difference(&changed.added).difference(&changed.removed))
}

/// 409 with one cause per field.
fn conflict(conflicts: &Conflicts) -> Status {
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for (id, set) in conflicts {
        lines.push(format!("conflicts with {id}:"));
        for path in set.paths() {
            lines.push(format!("- {path}"));
            causes.push(("FieldManagerConflict".to_owned(), format!("conflict with {id}"), path));
        }
    }
    let message = match causes.as_slice() {
        [(_, conflict, path)] => format!("Apply failed with 1 conflict: {conflict}: {path}"),
        many => format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n")),
    };
    Status::new(409, "Conflict", message).with(Details { causes, ..Details::default() })
}

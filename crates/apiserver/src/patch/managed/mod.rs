//! Server-side apply and the bookkeeping of `metadata.managedFields`. Pure.
//!
//! The rules are those of `sigs.k8s.io/structured-merge-diff` and `k8s.io/apimachinery/pkg/util/managedfields`. An entry
//! is compared in the version that it was written in (`versions`); one of a version that is gone goes, too.

mod configuration;
mod conflict;
mod entries;
mod last_applied;
mod options;
mod prune;
mod reset;
mod scale;
mod set;
mod shape;
mod versions;
mod walk;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::btree_map::Entry;
use std::sync::LazyLock;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::schema::Typed;
use crate::status::Status;

pub(crate) use configuration::merge_configuration;
pub use entries::Operation;
pub use options::{check_patch_options, manager_errors, manager_name};
pub use reset::reset_fields;
pub use scale::{ReplicasPath, scale_from_parent, scale_to_parent};
pub use set::{Element, FieldSet, Scalar};
pub use versions::Versions;

use conflict::Conflicts;
use entries::{Entries, Id, Owned, cap, decode, is_reset, store, take};
use versions::Comparisons;

/// Owner of what an object held before it was first applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Applies only as the user agent of this name treat what client-side apply wrote as their own.
const KUBECTL: &str = "kubectl";

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
    /// The kind's other versions.
    pub versions: &'a dyn Versions,
}

impl std::fmt::Debug for dyn Versions + '_ {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Versions")
    }
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

/// Metadata that nobody owns.
static UNOWNED: LazyLock<FieldSet> = LazyLock::new(|| {
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
});

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
    let nothing = json!({});
    let old = old.unwrap_or(&nothing);
    target.reconcile(entries);
    let changes = Comparisons::of(target, old, new, entries, versions::Form::Stored);
    changes.yield_fields(entries, None);
    let taken = changes.into_own().written().subtract(&UNOWNED);
    if !taken.is_empty() {
        let id = Id::new(name, Operation::Update, target.api_version, who.subresource);
        let time = Some(who.now);
        match entries.entry(id) {
            Entry::Occupied(mut owned) => {
                owned.get_mut().set.add(&taken);
                owned.get_mut().time = time;
            }
            Entry::Vacant(place) => {
                place.insert(Owned { set: taken, api_version: target.api_version.to_owned(), time });
            }
        }
    }
    cap(entries);
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
        Err(conflicts) if who.name == KUBECTL => {
            let Some(allowed) = live.and_then(|live| last_applied::unchanged(target, live)) else {
                return Err(conflicts.status());
            };
            let left = conflicts.without(&allowed);
            if !left.is_empty() {
                return Err(left.status());
            }
            apply_to(target, live, config, entries, who, true).map_err(|conflicts| conflicts.status())?
        }
        Err(conflicts) => return Err(conflicts.status()),
    };
    if who.name == KUBECTL {
        last_applied::refresh(&mut object, config);
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
    let errors = target.own().validate(config);
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

fn apply_to(
    target: &Target<'_>,
    live: Option<&Value>,
    config: &Value,
    mut entries: Entries,
    who: &Manager<'_>,
    force: bool,
) -> Result<(Value, Entries), Conflicts> {
    let at = target.own();
    if entries.is_empty()
        && let Some(live) = live
    {
        take_over(target, None, live, &mut entries, BEFORE_FIRST_APPLY, who);
    }
    let mut before = live.cloned().unwrap_or_else(|| json!({}));
    take(&mut before);
    let mut config = config.clone();
    take(&mut config);
    target.reconcile(&mut entries);

    let id = Id::new(who.name, Operation::Apply, target.api_version, who.subresource);
    let last = entries.remove(&id);
    let set = at.field_set(&config).without_subtrees(target.reset);
    let time = last.as_ref().and_then(|last| last.time);
    entries.insert(id.clone(), Owned { set, api_version: target.api_version.to_owned(), time });

    let merged = at.merge(&before, &config);
    let after = match &last {
        // What is owned as before is not left out now.
        Some(last) if !last.set.is_empty() && entries.get(&id).is_none_or(|now| *now != *last) => {
            prune::prune(target, merged, &entries, last)
        }
        _ => merged,
    };
    let changes = Comparisons::of(target, &before, &after, &entries, versions::Form::Sent);
    if !force {
        let conflicts = changes.conflicts(&entries, &id);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
    }
    changes.yield_fields(&mut entries, Some(&id));
    let unchanged = changes.own().is_empty();
    if let Some(owned) = entries.get_mut(&id) {
        owned.set = std::mem::take(&mut owned.set).subtract(&UNOWNED);
        if owned.set.is_empty() {
            entries.remove(&id);
        } else if !unchanged {
            owned.time = Some(who.now);
        }
    }
    // Another order of a keyed list or set, or what this request cannot write, is no change.
    Ok((if unchanged { before } else { after }, entries))
}

/// Whether a list of managed fields can be read.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_entries(list: &Value) -> Result<(), String> {
    decode(Some(list)).map(|_| ())
}

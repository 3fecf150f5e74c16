//! ControllerRevisions: the history of a template, which StatefulSets and DaemonSets roll back and forth in. Pure.
//!
//! Rules: kube-controller-manager's `pkg/controller/history`. Names and hashes are the same for the same template.

use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use paddock_reconcile::{Act, Error, Kind};
use serde_json::{Value, json};

use crate::names::{name, namespace, uid};
use crate::owner;
use crate::selector::matches;
use crate::template::safe;

/// The label of a Pod that says of which revision it is; of a DaemonSet's revision: its hash.
pub(crate) const REVISION: &str = "controller-revision-hash";
/// The label of a StatefulSet's revision that holds its hash.
pub(crate) const HASH: &str = "controller.kubernetes.io/hash";

/// The revisions of an owner's template.
#[derive(Debug)]
pub(crate) struct History {
    /// The owner's, oldest first.
    pub(crate) own: Vec<ControllerRevision>,
    /// That of the template as it is now.
    pub(crate) update: ControllerRevision,
    /// How often a name was taken.
    pub(crate) collisions: i32,
    /// The write that makes `update` what it is.
    pub(crate) write: Option<Act>,
    /// Revisions without a controller that become the owner's.
    pub(crate) adoptions: Vec<Act>,
}

impl History {
    /// Of what was `found`: the owner's, orphans, and those of others whose names are in the way. `label` is where hashes stand.
    pub(crate) fn of<K>(
        owner: &K,
        selector: &LabelSelector,
        template: &PodTemplateSpec,
        collisions: Option<i32>,
        label: &str,
        found: &[ControllerRevision],
    ) -> Result<Self, Error>
    where
        K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
    {
        let is_own = |revision: &&ControllerRevision| {
            matches(selector, revision.metadata.labels.as_ref())
                && owner::controller(&revision.metadata).is_none_or(|by| by.uid == uid(owner.metadata()))
        };
        let mut own: Vec<ControllerRevision> = found.iter().filter(is_own).cloned().collect();
        sort(&mut own);
        let orphans = own.iter().filter(|revision| owner::controller(&revision.metadata).is_none());
        let adoptions = orphans.map(|orphan| owner::adopt(owner, orphan, None)).collect();
        let (data, number) = (data(template)?, next(&own));
        let mut collisions = collisions.unwrap_or(0);
        let (update, write) = match equal(&own, &data) {
            Some(equal) if own.last().is_some_and(|last| last.metadata.name == equal.metadata.name) => {
                (equal.clone(), None)
            }
            // Back to an older template: its revision becomes the newest.
            Some(equal) => {
                let renewed = ControllerRevision { revision: number, ..equal.clone() };
                let write = Act::update(&renewed)?;
                (renewed, Some(write))
            }
            None => loop {
                let new = new(owner, template, data.clone(), number, &hash(&data, collisions), label);
                let taken = found.iter().find(|other| other.metadata.name == new.metadata.name);
                match taken {
                    None => {
                        let write = Act::create(&new)?;
                        break (new, Some(write));
                    }
                    Some(same) if same.data == new.data => break (same.clone(), None),
                    // `found` is finite, and so are its names.
                    Some(_) => collisions = collisions.saturating_add(1),
                }
            },
        };
        Ok(Self { own, update, collisions, write, adoptions })
    }
}

/// What a revision keeps: a patch that replaces the template.
pub(crate) fn data(template: &PodTemplateSpec) -> Result<Value, Error> {
    let mut template = serde_json::to_value(template).map_err(|e| Error::fatal(format!("bug: a template: {e}")))?;
    template["$patch"] = "replace".into();
    Ok(json!({"spec": {"template": template}}))
}

/// The template that a revision keeps.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// Oldest first; those of one number by age, then by name.
pub(crate) fn sort(revisions: &mut [ControllerRevision]) {
    revisions.sort_by(|a, b| {
        let age = |r: &ControllerRevision| r.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (a.revision, age(a), &a.metadata.name).cmp(&(b.revision, age(b), &b.metadata.name))
    });
}

/// The newest revision that keeps this; of sorted ones.
pub(crate) fn equal<'a>(revisions: &'a [ControllerRevision], data: &Value) -> Option<&'a ControllerRevision> {
    revisions.iter().rev().find(|revision| revision.data.as_ref().is_some_and(|kept| kept.0 == *data))
}

/// The number of the next revision; of sorted ones.
pub(crate) fn next(revisions: &[ControllerRevision]) -> i64 {
    revisions.last().map_or(1, |last| last.revision.saturating_add(1))
}

/// The hash of a revision's data as texts have it: `probe` makes another one when the name is taken.
pub(crate) fn hash(data: &Value, probe: i32) -> String {
    let mut text = go_json(data);
    text.push_str(&probe.to_string());
    safe(fnv32(text.as_bytes()))
}

/// A new revision of what `owner` keeps. `label` is where its hash stands.
pub(crate) fn new<K>(
    owner: &K,
    template: &PodTemplateSpec,
    data: Value,
    number: i64,
    hash: &str,
    label: &str,
) -> ControllerRevision
where
    K: k8s_openapi::Resource + Metadata<Ty = ObjectMeta>,
{
    let meta = owner.metadata();
    // The name of a revision is a label's value of pods, too; this is what fits in front of the hash.
    let prefix: String = name(meta).chars().take(223).collect();
    let mut labels = template.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    labels.insert(label.to_owned(), hash.to_owned());
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: Some(namespace(meta).to_owned()),
            labels: Some(labels),
            annotations: meta.annotations.clone(),
            owner_references: Some(vec![owner::reference(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// Deletes one.
pub(crate) fn delete(revision: &ControllerRevision) -> Act {
    let meta = &revision.metadata;
    Act::delete(Kind::of::<ControllerRevision>().named(Some(namespace(meta)), name(meta)), uid(meta))
}

/// Those of sorted revisions that history has no room for: the oldest of those that nothing is made of.
pub(crate) fn superfluous(
    revisions: &[ControllerRevision],
    is_live: impl Fn(&ControllerRevision) -> bool,
    limit: Option<i32>,
) -> Vec<&ControllerRevision> {
    let history: Vec<&ControllerRevision> = revisions.iter().filter(|revision| !is_live(revision)).collect();
    let keep = usize::try_from(limit.unwrap_or(10)).unwrap_or(usize::MAX);
    let many = history.len().saturating_sub(keep);
    history.into_iter().take(many).collect()
}

/// JSON as Go writes it: keys sorted, `<`, `>`, `&` and line separators escaped.
fn go_json(value: &Value) -> String {
    let text = value.to_string();
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// FNV-1, 32 bits.
fn fnv32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2_166_136_261, |hash: u32, byte| hash.wrapping_mul(16_777_619) ^ u32::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revision(name: &str, number: i64, data: Value) -> ControllerRevision {
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        ControllerRevision { metadata, data: Some(RawExtension(data)), revision: number }
    }

    #[test]
    fn fnv_1_of_known_bytes() {
        assert_eq!(fnv32(b"a"), 0x050c_5d7e);
    }

    #[test]
    fn markup_is_escaped_before_it_is_hashed() {
        assert_eq!(go_json(&json!({"b": "<&>", "a": 1})), r#"{"a":1,"b":"\u003c\u0026\u003e"}"#);
    }

    #[test]
    fn template_survives_its_revision() {
        let kept: PodTemplateSpec =
            serde_json::from_value(json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": []}}))
                .expect("one");
        let revision = revision("a", 1, data(&kept).expect("data"));
        assert_eq!(template(&revision), Some(kept));
    }

    #[test]
    fn oldest_revisions_that_nothing_is_made_of_go_first() {
        let revisions: Vec<_> = ["a", "b", "c", "d"].iter().zip(1..).map(|(n, i)| revision(n, i, json!(i))).collect();
        let gone = superfluous(&revisions, |r| name(&r.metadata) == "a", Some(1));
        assert_eq!(gone.iter().map(|r| name(&r.metadata)).collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn newest_equal_revision_is_found() {
        let revisions = [revision("a", 1, json!(1)), revision("b", 2, json!(2)), revision("c", 3, json!(1))];
        assert_eq!(equal(&revisions, &json!(1)).map(|r| name(&r.metadata)), Some("c"));
    }
}

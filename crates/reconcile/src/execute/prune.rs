//! Deletion by record. The record names what we made for a key; only what it names can ever be deleted.
//!
//! The record is written before anything is created (so that nothing we made is ever unknown) and after things are gone.
//! May touch the record's ConfigMap and the objects it names.

use kube::api::{DynamicObject, Patch, PatchParams, PostParams, PropagationPolicy};
use serde_json::{Map, Value, json};

use super::{MANAGED_BY, Pass};
use crate::cache::Known;
use crate::context::Context;
use crate::error::{Dependency, Error};
use crate::object::{self, Kind, ObjectRef};
use crate::plan::{Desired, Prune, Recorded};

/// What was made for one key, in the order in which it was made. The uid is empty until the object is known to exist.
#[derive(Debug)]
pub(super) struct Record {
    at: ObjectRef,
    entry: String,
    limit: usize,
    keep: Vec<ObjectRef>,
    labels: Vec<(String, String)>,
    order: Vec<ObjectRef>,
    exists: bool,
    text: String,
    items: Vec<(ObjectRef, String)>,
    wanted: Vec<ObjectRef>,
}

impl Record {
    /// Reads the record, if the plan has one.
    pub(super) async fn open(cx: &Context, prune: &Prune) -> Result<Option<Self>, Error> {
        let Prune::Recorded(recorded) = prune else { return Ok(None) };
        let Recorded { record, entry, limit, keep, labels, order } = &**recorded;
        let found = cx.get(record).await?;
        let text = found.as_ref().and_then(|o| o.get("data")?.get(entry)?.as_str()).unwrap_or("[]").to_owned();
        // A record that cannot be read is not an empty one.
        let items = parse(&text).ok_or_else(|| {
            Error::invalid(
                "RecordUnreadable",
                format!("{record} entry {entry} is not a list of objects; nothing is deleted"),
            )
        })?;
        let wanted = Vec::new();
        let exists = found.is_some();
        let (at, entry, keep, labels) = (record.clone(), entry.clone(), keep.clone(), labels.clone());
        let order = order.clone();
        Ok(Some(Self { at, entry, limit: *limit, keep, labels, order, exists, text, items, wanted }))
    }

    /// Writes down what is about to be made.
    pub(super) async fn intend(&mut self, pass: &mut Pass<'_>, desired: &[Desired]) -> Result<(), Error> {
        for target in desired.iter().map(Desired::target).filter(|target| **target != self.at) {
            self.wanted.push(target.clone());
            if !self.items.iter().any(|(known, _)| known == target) {
                self.items.push((target.clone(), String::new()));
            }
        }
        // What the pass before made is written down in the same request as what this one is about to make.
        for (target, uid) in self.items.iter_mut().filter(|(_, uid)| uid.is_empty()) {
            if let Known::Present(live) = pass.cx.caches.get(target)
                && pass.is_ours(&live)
            {
                object::uid(&live).clone_into(uid);
            }
        }
        self.save(pass).await
    }

    /// Those stay as long as the plan has them, though they are not recorded.
    pub(super) fn wants(&mut self, reports: &[Desired]) {
        self.wanted.extend(reports.iter().map(|desired| desired.target().clone()));
    }

    /// The uid of an object that was seen to exist in an earlier pass.
    pub(super) fn seen(&self, target: &ObjectRef) -> Option<&str> {
        let (_, uid) = self.items.iter().find(|(known, _)| known == target)?;
        (!uid.is_empty()).then_some(uid)
    }

    /// An object was made or found as wanted.
    pub(super) fn confirm(&mut self, target: &ObjectRef, uid: &str) {
        if let Some((_, known)) = self.items.iter_mut().find(|(known, _)| known == target) {
            uid.clone_into(known);
        }
    }

    /// Where this object stands among those that go one after the other.
    fn place(&self, target: &ObjectRef) -> Option<usize> {
        self.order.iter().position(|one| one == target)
    }

    /// Deletes what is recorded and no longer wanted, the newest first or in the plan's order, and writes down what is left.
    pub(super) async fn prune(mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let mut doomed = Vec::new();
        let (mut lingering, mut waits_for) = (None, None);
        let mut gone = Vec::new();
        let unwanted = |target: &ObjectRef| !self.wanted.contains(target);
        for (target, uid) in self.items.iter().rev().filter(|(target, _)| unwanted(target)) {
            let Some(live) = pass.live(target).await? else {
                gone.push(target.clone());
                continue;
            };
            // A namesake made by somebody else after ours was gone.
            let namesake = if uid.is_empty() { !pass.is_ours(&live) } else { object::uid(&live) != uid };
            // Whoever may write the record must not get anything deleted that is not this key's.
            let strange = self.labels.iter().any(|(key, value)| object::label(&live, key) != Some(value));
            if namesake || strange {
                gone.push(target.clone());
            } else if object::is_terminating(&live) {
                waits_for = self.place(target).into_iter().chain(waits_for).min();
                lingering = Some(target.clone());
            } else if !self.keep.contains(target) && !is_protected(pass, &live) {
                doomed.push((target.clone(), object::uid(&live).to_owned()));
            }
        }
        if doomed.len() > self.limit {
            let what = format!(
                "{} objects would be deleted in one pass, {} are allowed; nothing is",
                doomed.len(),
                self.limit
            );
            return Err(Error::invalid("TooManyDeletions", what));
        }
        doomed.sort_by_key(|(target, _)| self.place(target));
        for (target, uid) in doomed {
            if self.place(&target).is_some_and(|place| waits_for.is_some_and(|before| before < place)) {
                break;
            }
            pass.delete(&target, &uid, PropagationPolicy::Background).await?;
            match pass.cx.get_live(&target).await? {
                None => gone.push(target),
                Some(_) => {
                    waits_for = self.place(&target).into_iter().chain(waits_for).min();
                    lingering = Some(target);
                }
            }
        }
        self.items.retain(|(target, _)| !gone.contains(target));
        // Which objects were made the next pass finds out by itself; what is gone is best forgotten at once.
        if gone.is_empty() && pass.holds_back() {
            pass.unsaved |= print(&self.items) != self.text;
        } else {
            self.save(pass).await?;
        }
        match lingering {
            None => Ok(()),
            Some(target) => {
                let what = format!("{target} is being deleted");
                Err(Error::waiting(Dependency::Object(target), what))
            }
        }
    }

    async fn save(&mut self, pass: &mut Pass<'_>) -> Result<(), Error> {
        let text = print(&self.items);
        if text == self.text || (!self.exists && self.items.is_empty()) {
            return Ok(());
        }
        pass.about_to_write().await?;
        let api = self.at.kind.api(pass.cx.client.clone(), self.at.namespace.as_deref());
        let manager = Some(pass.cx.identity.field_manager.clone());
        let failed = |e: kube::Error| Error::from_kube(&e, &self.at);
        let params = PostParams { field_manager: manager.clone(), ..Default::default() };
        let created = match self.exists {
            true => None,
            false => match api.create(&params, &self.fresh(pass, &text)?).await {
                Ok(created) => Some(created),
                // Another key's pass was faster.
                Err(kube::Error::Api(status)) if status.code == 409 => None,
                Err(error) => return Err(failed(error)),
            },
        };
        let answer = match created {
            Some(created) => created,
            None => {
                // A merge patch of one entry: other keys' entries are written by other passes at the same time.
                let entry = if self.items.is_empty() { Value::Null } else { text.as_str().into() };
                let params = PatchParams { field_manager: manager, ..Default::default() }.validation_strict();
                let patch = json!({"data": {&self.entry: entry}});
                api.patch(&self.at.name, &params, &Patch::Merge(&patch)).await.map_err(failed)?
            }
        };
        pass.count("applied");
        pass.writes.applied += 1;
        pass.bookkeeping += 1;
        pass.noted(&self.at, &answer)?;
        self.exists = true;
        self.text = text;
        Ok(())
    }

    fn fresh(&self, pass: &Pass<'_>, text: &str) -> Result<DynamicObject, Error> {
        let body = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {
                "name": self.at.name, "namespace": self.at.namespace,
                "labels": {MANAGED_BY: pass.cx.identity.managed_by},
            },
            "data": {&self.entry: text},
        });
        serde_json::from_value(body).map_err(|e| Error::fatal(format!("bug: {e}")))
    }
}

fn is_protected(pass: &Pass<'_>, live: &Value) -> bool {
    object::annotation(live, &pass.cx.identity.protect_annotation).is_some_and(|value| value != "false")
}

/// One JSON object per item, with short names: the record shares a ConfigMap's 1 MiB with others.
fn print(items: &[(ObjectRef, String)]) -> String {
    let item = |(target, uid): &(ObjectRef, String)| {
        let mut item = Map::new();
        let mut put = |name: &str, value: &str| {
            if !value.is_empty() {
                item.insert(name.to_owned(), value.into());
            }
        };
        put("apiVersion", &target.kind.api_version());
        put("kind", &target.kind.kind);
        put("plural", &target.kind.plural);
        put("namespace", target.namespace.as_deref().unwrap_or_default());
        put("name", &target.name);
        put("uid", uid);
        Value::Object(item)
    };
    Value::Array(items.iter().map(item).collect()).to_string()
}

/// Reads a record: what was made for a key, in that order, with uids where they are known. `None` when it is none.
pub(crate) fn parse(text: &str) -> Option<Vec<(ObjectRef, String)>> {
    let Value::Array(items) = serde_json::from_str(text).ok()? else { return None };
    items.iter().map(parse_item).collect()
}

fn parse_item(item: &Value) -> Option<(ObjectRef, String)> {
    let text = |name: &str| item.get(name).and_then(Value::as_str).map(str::to_owned);
    let api_version = text("apiVersion")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let namespace = text("namespace");
    let kind = Kind {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: text("kind")?.into(),
        plural: text("plural")?.into(),
        namespaced: namespace.is_some(),
    };
    let name = text("name").filter(|name| !name.is_empty())?;
    Some((ObjectRef { kind, namespace, name }, text("uid").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::Deployment;
    use k8s_openapi::api::core::v1::Namespace;

    #[test]
    fn record_survives_a_round_trip() {
        let items = vec![
            (ObjectRef::of::<Deployment>(Some("n"), "a"), "u".to_owned()),
            (ObjectRef::of::<Namespace>(None, "n"), String::new()),
        ];
        assert_eq!(parse(&print(&items)), Some(items));
    }

    #[test]
    fn damaged_record_is_not_an_empty_one() {
        for damaged in ["", "{}", "[{}]", r#"[{"apiVersion":"v1","kind":"Secret"}]"#] {
            assert_eq!(parse(damaged), None, "{damaged}");
        }
    }
}

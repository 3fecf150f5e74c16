//! DELETE of an object and of a collection: preconditions, grace, finalizers, what is answered.

use bytes::Bytes;
use serde_json::{Value, json};

use super::admit::Admit;
use super::meta::{finalizers, is_terminating, metadata, set_finalizers, text};
use super::{ATTEMPTS, Call};
use crate::api::Answer;
use crate::clock::rfc3339_seconds;
use crate::field::FieldError;
use crate::status::Status;
use crate::store::{Expect, Object, Write};

/// Kinds whose deletion answers the object instead of a Status, as their registries in kube-apiserver do.
const ANSWER_OBJECT: &[&str] =
    &["Pod", "PodTemplate", "PersistentVolume", "PersistentVolumeClaim", "ResourceQuota", "ServiceAccount", "Service"];

/// `metav1.DeleteOptions`, checked.
#[derive(Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) grace: Option<i64>,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<Propagation>,
    pub(crate) dry_run: bool,
    /// As it was sent: admission is shown it. `None` for a deletion that another request makes: nobody is asked then.
    pub(crate) shown: Option<Value>,
}

/// What happens to dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Propagation {
    Orphan,
    Background,
    Foreground,
}

/// What a deletion left behind.
enum Gone {
    /// The object as it was last.
    Now(Value),
    /// It waits for finalizers or its grace period.
    Later(Value),
}

impl DeleteOptions {
    async fn read(call: &Call<'_>, body: &Bytes) -> Result<Self, Status> {
        let mut options = if body.is_empty() { json!({}) } else { call.untyped(body).await? };
        if !options.is_object() {
            return Err(Status::bad_request("DeleteOptions must be an object"));
        }
        let kind = options["kind"].as_str().unwrap_or("DeleteOptions");
        if kind != "DeleteOptions" {
            return Err(Status::bad_request(format!("expected a DeleteOptions, not a {kind}")));
        }
        if body.is_empty() {
            if let Some(grace) = call.query.integer("gracePeriodSeconds")? {
                options["gracePeriodSeconds"] = grace.into();
            }
            if let Some(policy) = call.query.find("propagationPolicy") {
                options["propagationPolicy"] = policy.into();
            }
            if call.query.find("orphanDependents").is_some() {
                options["orphanDependents"] = call.query.flag("orphanDependents").into();
            }
        }
        let mut dry: Vec<&str> = call.query.all("dryRun").filter(|v| !v.is_empty()).collect();
        dry.extend(options["dryRun"].as_array().into_iter().flatten().filter_map(Value::as_str));
        let mut errors = Vec::new();
        if dry.iter().any(|v| *v != "All") {
            errors.push(FieldError::not_supported("dryRun", &Value::from(dry.clone()), &["All"]));
        }
        let propagation = match options["propagationPolicy"].as_str() {
            None | Some("") => None,
            Some("Orphan") => Some(Propagation::Orphan),
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some(other) => {
                errors.push(FieldError::not_supported(
                    "propagationPolicy",
                    &Value::from(other),
                    &["Background", "Foreground", "Orphan"],
                ));
                None
            }
        };
        let orphan = options["orphanDependents"].as_bool();
        if orphan.is_some() && propagation.is_some() {
            errors.push(FieldError::invalid(
                "propagationPolicy",
                &options["propagationPolicy"],
                "orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "DeleteOptions", "", &errors));
        }
        let text = |pointer: &str| options.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        Ok(Self {
            grace: options["gracePeriodSeconds"].as_i64(),
            uid: text("/preconditions/uid"),
            resource_version: text("/preconditions/resourceVersion"),
            propagation: propagation.or(match orphan {
                Some(true) => Some(Propagation::Orphan),
                Some(false) => Some(Propagation::Background),
                None => None,
            }),
            dry_run: !dry.is_empty(),
            shown: Some(shown(&options, &dry)),
        })
    }
}

/// The options as the Go type holds them.
fn shown(sent: &Value, dry: &[&str]) -> Value {
    let mut shown = json!({"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"});
    for field in ["gracePeriodSeconds", "preconditions", "orphanDependents", "propagationPolicy"] {
        if let Some(value) = sent.get(field).filter(|value| !value.is_null()) {
            shown[field] = value.clone();
        }
    }
    if !dry.is_empty() {
        shown["dryRun"] = dry.into();
    }
    shown
}

impl Call<'_> {
    pub(crate) async fn delete(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = DeleteOptions::read(self, body).await?;
        let name = self.path.name.clone();
        let gone = self.delete_named(&name, &name, &options).await?;
        match gone {
            Gone::Later(object) => self.answer_object(200, &object),
            Gone::Now(object) if ANSWER_OBJECT.contains(&&*self.resource.kind) && !self.resource.custom => {
                self.answer_object(200, &object)
            }
            Gone::Now(object) => Ok(Answer::json(
                200,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
                    "details": self.success_details(&object),
                }),
            )),
        }
    }

    fn success_details(&self, object: &Value) -> Value {
        let mut details =
            json!({"name": text(object, "name"), "kind": &*self.resource.plural, "uid": text(object, "uid")});
        if !self.resource.group.is_empty() {
            details["group"] = (&*self.resource.group).into();
        }
        details
    }

    /// Deletes one object on behalf of a request that was admitted already (an eviction).
    pub(crate) async fn delete_quietly(&mut self, name: &str, options: &DeleteOptions) -> Result<(), Status> {
        self.delete_named(name, name, options).await.map(|_| ())
    }

    /// `asked` is the name that the request gave: none when it deletes a collection.
    async fn delete_named(&mut self, name: &str, asked: &str, options: &DeleteOptions) -> Result<Gone, Status> {
        for _ in 0..ATTEMPTS {
            let live = self.stored(name).ok_or_else(|| self.not_found(name))?;
            let object = self.decode_stored(&live)?;
            self.check_preconditions(&object, &live, options)?;
            self.admit_deletion(&object, asked, options).await?;
            if let Some(gone) = self.delete_once(object, &live, options).await? {
                return Ok(gone);
            }
        }
        Err(Status::modified(&self.resource.group, &self.resource.plural, name))
    }

    async fn admit_deletion(&mut self, object: &Value, asked: &str, options: &DeleteOptions) -> Result<(), Status> {
        let Some(mut shown) = options.shown.clone() else { return Ok(()) };
        let grace = self.resource.strategy.grace_period(object, options.grace);
        if let Some(grace) = grace {
            // A deletion that is under way and not hurried by this one changes nothing: nobody is asked.
            let pending = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
            if pending > 0 && options.grace.is_none_or(|asked| asked >= pending) {
                return Ok(());
            }
            shown["gracePeriodSeconds"] = grace.into();
        }
        let write = Admit::delete(asked, shown, options.dry_run);
        self.mutate(&write, &mut Value::Null, object).await?;
        self.validate(&write, &mut Value::Null, object).await
    }

    pub(crate) fn check_preconditions(
        &self,
        object: &Value,
        live: &Object,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let conflict = |why: String| {
            // The kind in place of the resource: so kube-apiserver words this one (`rest.BeforeDelete`).
            let group = self.resource.storage.split('/').next().unwrap_or_default();
            Status::conflict(group, &self.resource.kind, text(object, "name"), &why)
        };
        let uid = text(object, "uid");
        if let Some(wanted) = options.uid.as_deref().filter(|w| *w != uid) {
            return Err(conflict(format!(
                "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
                 The object might have been deleted and then recreated"
            )));
        }
        let version = live.revision().to_string();
        if let Some(wanted) = options.resource_version.as_deref().filter(|w| *w != version) {
            return Err(conflict(format!(
                "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
                 The object might have been modified"
            )));
        }
        Ok(())
    }

    /// One try. `None`: another writer was faster.
    async fn delete_once(
        &mut self,
        mut object: Value,
        live: &Object,
        options: &DeleteOptions,
    ) -> Result<Option<Gone>, Status> {
        let strategy = self.resource.strategy.clone();
        let name = text(&object, "name").to_owned();
        let grace = strategy.grace_period(&object, options.grace);
        let before = object.clone();

        let mut wanted: Vec<String> = finalizers(&object)
            .into_iter()
            .filter(|f| options.propagation.is_none() || !matches!(*f, "orphan" | "foregroundDeletion"))
            .map(str::to_owned)
            .collect();
        match options.propagation {
            Some(Propagation::Orphan) => wanted.push("orphan".to_owned()),
            Some(Propagation::Foreground) => wanted.push("foregroundDeletion".to_owned()),
            _ => {}
        }
        wanted.extend(self.deletion_finalizer(&object));
        set_finalizers(&mut object, &wanted);

        let now = rfc3339_seconds(self.now);
        let already = is_terminating(&object);
        let old_grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64);
        let metadata = metadata(&mut object);
        if !already {
            let seconds = grace.unwrap_or(0).max(0);
            let at =
                self.now.saturating_add(std::time::Duration::from_secs(seconds.unsigned_abs())).unwrap_or(self.now);
            metadata.insert("deletionTimestamp".to_owned(), rfc3339_seconds(at).into());
            metadata.insert("deletionGracePeriodSeconds".to_owned(), seconds.into());
            if let Some(generation) = metadata.get("generation").and_then(Value::as_i64).filter(|g| *g > 0) {
                metadata.insert("generation".to_owned(), (generation + 1).into());
            }
        } else if let (Some(new), Some(old)) = (grace, old_grace)
            && new < old
        {
            // A second delete can only shorten the grace period.
            metadata.insert("deletionGracePeriodSeconds".to_owned(), new.into());
            metadata.insert("deletionTimestamp".to_owned(), now.into());
        }
        if *self.resource.kind == *"Namespace" && !self.resource.custom {
            object["status"]["phase"] = "Terminating".into();
        }
        if *self.resource.kind == *"CustomResourceDefinition" && !self.resource.custom && !wanted.is_empty() {
            crate::crd::terminate(&mut object, self.now);
        }
        let goes = wanted.is_empty() && self.may_go(&object);
        if options.dry_run {
            return Ok(Some(if goes { Gone::Now(object) } else { Gone::Later(object) }));
        }
        if !goes && object == before {
            return Ok(Some(Gone::Later(object)));
        }
        let key = self.key(&name);
        let expect = Expect::Revision(live.revision());
        if goes {
            let answered = if grace.is_some() { object } else { before };
            return Ok(self.api.write(Write { key, expect, value: None }).await?.ok().map(|_| Gone::Now(answered)));
        }
        let value = Some(self.api.encode(&self.resource, &object)?);
        Ok(match self.api.write(Write { key, expect, value }).await? {
            Ok(committed) => Some(Gone::Later(self.decode_stored(&committed.object)?)),
            Err(_) => None,
        })
    }

    /// Objects whose end takes work on others get a finalizer that the loop in charge takes off.
    fn deletion_finalizer(&self, object: &Value) -> Option<String> {
        let name = "customresourcecleanup.apiextensions.k8s.io";
        let is_crd = *self.resource.kind == *"CustomResourceDefinition" && !self.resource.custom;
        (is_crd && !is_terminating(object) && !finalizers(object).contains(&name)).then(|| name.to_owned())
    }

    pub(crate) async fn delete_collection(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = DeleteOptions::read(self, body).await?;
        let selected = self.select_all()?;
        let mut deleted = Vec::with_capacity(selected.len());
        for object in selected {
            match self.delete_named(text(&object, "name"), "", &options).await {
                Ok(_) => deleted.push(object),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        self.answer_list(deleted, None)
    }
}

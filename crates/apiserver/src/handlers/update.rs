//! PUT, and the write that ends every PATCH.

use bytes::Bytes;
use serde_json::Value;

use super::admit::Admit;
use super::meta::{finalizers, is_terminating, metadata, text};
use super::{Call, WriteOptions};
use crate::api::Answer;
use crate::field::FieldError;
use crate::kinds::meta;
use crate::patch::managed;
use crate::resource::{CoreMetadata, Part, Resource};
use crate::schema;
use crate::status::Status;
use crate::store::{Expect, Object, Write};

/// How often a write without a resourceVersion is tried again when another writer was faster.
pub(crate) const ATTEMPTS: usize = 16;

/// The outcome of one attempt.
pub(crate) enum Attempt {
    /// Written, or nothing to write.
    Done(Written),
    /// Another writer was faster: read again.
    Raced,
}

/// The object that a write leaves.
pub(crate) enum Written {
    /// As it is stored now.
    Stored(Object),
    /// As it would be, or as it was when it went.
    Shown(Value),
}

impl Written {
    /// Decoded, as the resource's version shows it.
    pub(crate) fn value(self, call: &Call<'_>) -> Result<Value, Status> {
        match self {
            Self::Stored(object) => call.decode_stored(&object),
            Self::Shown(value) => Ok(value),
        }
    }
}

impl Call<'_> {
    pub(crate) async fn update(&mut self, part: Part, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("UpdateOptions")?;
        let mut sent = self.decode_body(body, options.validation).await?;
        self.check_name(&sent)?;
        self.settle_namespace(&mut sent)?;
        for _ in 0..ATTEMPTS {
            let Some(live) = self.stored(&self.path.name) else {
                if part == Part::Main && self.resource.strategy.create_on_update() {
                    let stored = self.create_object(sent, &options, Tracking::Replace).await?;
                    return self.answer_written(201, &stored);
                }
                return Err(self.not_found(&self.path.name));
            };
            let old = self.decode_stored(&live)?;
            if let Attempt::Done(stored) =
                self.attempt(part, sent.clone(), &live, &old, &options, Tracking::Replace).await?
            {
                return self.answer_written(200, &stored);
            }
        }
        Err(self.modified())
    }

    pub(crate) fn modified(&self) -> Status {
        Status::modified(&self.resource.group, &self.resource.plural, &self.path.name)
    }

    pub(crate) fn check_name(&self, sent: &Value) -> Result<(), Status> {
        let name = &self.path.name;
        match text(sent, "name") {
            "" => Err(Status::bad_request(format!(
                "the name of the object ({name} based on URL) was undeterminable: name must be provided"
            ))),
            sent if sent == name => Ok(()),
            sent => Err(Status::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            ))),
        }
    }

    /// One try to turn `old` into `new`: preconditions, rules of the kind, validation, managed fields, store.
    pub(crate) async fn attempt(
        &mut self,
        part: Part,
        mut new: Value,
        live: &Object,
        old: &Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Attempt, Status> {
        let resource = self.resource.clone();
        let name = text(old, "name").to_owned();
        let uid = text(&new, "uid");
        if tracking == Tracking::Replace && !uid.is_empty() && uid != text(old, "uid") {
            let key = format!("/registry{}", self.api.registry_key(&resource, text(old, "namespace"), &name));
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: \
                 UID in precondition: {uid}, UID in object meta: {}",
                text(old, "uid")
            );
            return Err(Status::conflict(&resource.group, &resource.plural, &name, &why));
        }
        // An empty list of managed fields forgets all: it must outlive the dropping of empty fields.
        let sent_fields = metadata(&mut new).get("managedFields").cloned();
        resource.strategy.default(&mut new);
        if let Some(fields) = sent_fields {
            metadata(&mut new).insert("managedFields".to_owned(), fields);
        }
        self.dedup_owners(&mut new);
        if tracking != Tracking::Applied {
            let subresource = part.subresource();
            self.track(Some(old), &mut new, options, subresource);
        }
        let write = Admit::update(&name, options);
        // A Scale and a Binding were admitted as what they are, before they became a change of this object.
        if !matches!(part, Part::Other("scale" | "binding")) {
            self.mutate(&write, &mut new, old).await?;
            self.settle_namespace(&mut new)?;
        }
        self.check_escalation(&name, &new, Some(old))?;
        let asked = text(&new, "resourceVersion").to_owned();
        // A patched object still has the version that it was read with: that is no condition.
        let read_with = tracking != Tracking::Replace && asked == live.revision().to_string();
        let conditional = !asked.is_empty() && asked != "0" && !read_with;
        if conditional {
            let garbage = |_| Status::new(500, "", format!("strconv.ParseUint: parsing {asked:?}: invalid syntax"));
            let number: u64 = asked.parse().map_err(garbage)?;
            if number != live.revision() {
                return Err(self.modified());
            }
        } else if tracking == Tracking::Replace && !resource.strategy.unconditional_update() {
            let detail = "must be specified for an update";
            let error = FieldError::invalid("metadata.resourceVersion", &Value::from(0), detail);
            return Err(Status::invalid(&resource.group, &resource.plural, &name, &[error]));
        }
        self.keep_identity(&mut new, old);
        metadata(&mut new).insert("resourceVersion".to_owned(), live.revision().to_string().into());
        if metadata(&mut new).get("name").is_none() {
            metadata(&mut new).insert("name".to_owned(), name.as_str().into());
        }
        let cx = self.cx();
        resource.strategy.prepare_update(&mut new, old, part, &cx)?;
        if resource.strategy.has_generation() && part != Part::Status && desired_differs(&resource, &new, old) {
            let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
            metadata(&mut new).insert("generation".to_owned(), (generation + 1).into());
        }
        let mut errors = meta::validate_update(&new, old);
        let metadata_rule = resource.strategy.core_metadata();
        if metadata_rule.is_some() {
            errors.extend(meta::standard_finalizers(&new));
        }
        errors.extend(self.check(|| resource.strategy.validate_update(&new, old, part, &cx)));
        self.warnings.extend(cx.take_warnings());
        if part == Part::Main && metadata_rule == Some(CoreMetadata::Twice) {
            errors.extend(meta::validate(&new, resource.strategy.name_rule(), resource.namespaced));
            errors.extend(meta::standard_finalizers(&new));
        }
        let raw = resource.strategy.raw_field().map(|field| (field, self.raw_text(&new, field)));
        if let Some((field, text)) = &raw
            && schema::body::member(live.bytes(), field) != Some(text.as_slice())
            && !errors.iter().any(|error| error.field == *field)
        {
            errors.push(FieldError::invalid(*field, &new[*field], "field is immutable"));
        }
        if !errors.is_empty() {
            return Err(self.invalid(&name, &errors));
        }
        let warnings = resource.strategy.warnings(&new, Some(old));
        managed::settle_times(old, &mut new);
        self.warnings.extend(warnings);
        match part {
            Part::Other("binding") => {}
            Part::Other("scale") => {
                let (mut scale, old) = (self.scale_of(&new)?, self.scale_of(old)?);
                self.validate(&write, &mut scale, &old).await?;
            }
            _ => self.validate(&write, &mut new, old).await?,
        }
        let goes = is_terminating(&new) && finalizers(&new).is_empty() && self.may_go(&new);
        if options.dry_run || (!goes && new == *old) {
            return Ok(Attempt::Done(if options.dry_run {
                Written::Shown(new)
            } else {
                Written::Stored(live.clone())
            }));
        }
        let encoded = self.api.encode_with(&resource, &new, raw.as_ref().map(|(_, text)| text.as_slice()))?;
        let key = self.key(&name);
        if goes {
            // The last finalizer was taken off: the object goes with this write.
            return match self.api.write(Write { key, expect: Expect::Revision(live.revision()), value: None }).await? {
                Ok(_) => Ok(Attempt::Done(Written::Shown(new))),
                Err(_) if conditional => Err(self.modified()),
                Err(_) => Ok(Attempt::Raced),
            };
        }
        match self.api.write(Write { key, expect: Expect::Revision(live.revision()), value: Some(encoded) }).await? {
            Ok(committed) => Ok(Attempt::Done(Written::Stored(committed.object))),
            Err(_) if conditional => Err(self.modified()),
            Err(_) => Ok(Attempt::Raced),
        }
    }

    /// A raw field's text: as it was sent or, when it was not sent by itself, written anew.
    fn raw_text(&self, new: &Value, field: &str) -> Vec<u8> {
        self.raw.clone().unwrap_or_else(|| new[field].to_string().into_bytes())
    }

    /// Whether an object without finalizers that is being deleted may leave the store now.
    pub(crate) fn may_go(&self, object: &Value) -> bool {
        let grace = object.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_i64).unwrap_or(0);
        let own = object.pointer("/spec/finalizers").and_then(Value::as_array).is_some_and(|f| !f.is_empty());
        grace == 0 && !(own && *self.resource.kind == *"Namespace")
    }
}

/// Whether what is wanted differs: everything but metadata and, where that is a subresource, status.
fn desired_differs(resource: &Resource, new: &Value, old: &Value) -> bool {
    let has_status = resource.subresource("status").is_some();
    let wanted = |object: &Value| {
        let mut map = object.as_object().cloned().unwrap_or_default();
        map.remove("metadata");
        if has_status {
            map.remove("status");
        }
        map
    };
    wanted(new) != wanted(old)
}

/// Who keeps the managed fields of a write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// A PUT: what changed now belongs to the manager; a uid in the body is a condition.
    Replace,
    /// A patch: what changed now belongs to the manager.
    Update,
    /// An apply that has set them already.
    Applied,
}

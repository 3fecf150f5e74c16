//! PATCH: the four patch types, each ending in the same write as PUT.

use bytes::Bytes;
use serde_json::Value;

use super::body::unknown_fields;
use super::meta::text;
use super::update::{ATTEMPTS, Attempt, Tracking, Written};
use super::versions::OtherVersions;
use super::{Call, WriteOptions};
use crate::api::Answer;
use crate::patch::managed::{self, FieldSet};
use crate::patch::{self, PatchType, Patched};
use crate::resource::Part;
use crate::schema::body;
use crate::schema::decode::{self, FieldValidation};
use crate::status::{Details, Status};

impl Call<'_> {
    pub(crate) async fn patch(&mut self, part: Part, body: &Bytes) -> Result<Answer, Status> {
        let kind = self.patch_type()?;
        let force = self.query.find("force").map(|_| self.query.flag("force"));
        managed::check_patch_options(kind, self.query.get("fieldManager"), force)?;
        let options = self.write_options("PatchOptions")?;
        if kind == PatchType::Apply {
            return self.apply(part, body, &options).await;
        }
        for _ in 0..ATTEMPTS {
            let (live, old) = self.current()?;
            let patched = patch::apply_patch(kind, Some(self.typed()), &old, body)?;
            let new = self.decode_patched(patched, options.validation)?;
            self.check_patched(&new, &old)?;
            let attempt = self.attempt(part, new, &live, &old, &options, Tracking::Update).await?;
            if let Attempt::Done(stored) = attempt {
                return self.answer_written(200, &stored);
            }
            self.warnings.clear();
        }
        Err(self.modified())
    }

    /// The type of patch that the request's media type names.
    pub(crate) fn patch_type(&self) -> Result<PatchType, Status> {
        let media = self.headers.get(http::header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        // What is no patch at all is turned away before the kind is looked at.
        if PatchType::of(media, false).is_err() {
            return Err(Status::unsupported_media_type("415: Unsupported Media Type").with(Details::default()));
        }
        PatchType::of(media, self.resource.custom)
    }

    /// Type, name and namespace cannot be patched.
    fn check_patched(&self, new: &Value, old: &Value) -> Result<(), Status> {
        let name = text(old, "name");
        let sent = text(new, "name");
        if sent != name {
            return Err(Status::bad_request(format!(
                "the name of the object ({sent}) does not match the name on the URL ({name})"
            )));
        }
        let namespace = text(new, "namespace");
        if self.resource.namespaced && namespace != text(old, "namespace") && !namespace.is_empty() {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        Ok(())
    }

    fn decode_patched(&mut self, mut patched: Patched, validation: FieldValidation) -> Result<Value, Status> {
        let version = self.resource.api_version();
        let sent = |field: &str| patched.object[field].as_str().unwrap_or_default();
        if sent("apiVersion") != version || sent("kind") != &*self.resource.kind {
            let kind = &self.resource.kind;
            let why = format!("{}, Kind={} is not {version}, Kind={kind}", sent("apiVersion"), sent("kind"));
            return Err(patched.undecodable(&why));
        }
        let decoded =
            decode::of_resource(&self.resource, patched.object.clone()).map_err(|e| patched.undecodable(&e))?;
        let unknown = unknown_fields(&decoded.unknown);
        match validation {
            FieldValidation::Strict => {
                patched.object = decoded.value;
                match patched.not_strict(&unknown) {
                    Some(status) => return Err(status),
                    None => return Ok(patched.object),
                }
            }
            FieldValidation::Warn => {
                self.warnings.extend(patched.duplicates);
                self.warnings.extend(unknown);
            }
            FieldValidation::Ignore => {}
        }
        Ok(decoded.value)
    }

    async fn apply(&mut self, part: Part, bytes: &Bytes, options: &WriteOptions) -> Result<Answer, Status> {
        if let Some(live) = self.known_unchanged(bytes) {
            self.api.metrics.unchanged();
            return self.answer_stored(200, &live);
        }
        let read =
            body::parse_yaml(bytes).await.map_err(|e| Status::bad_request(format!("error decoding YAML: {e}")))?;
        self.apply_config(part, read.value, read.duplicates, options, bytes).await
    }

    async fn apply_config(
        &mut self,
        part: Part,
        mut config: Value,
        duplicates: Vec<String>,
        options: &WriteOptions,
        bytes: &Bytes,
    ) -> Result<Answer, Status> {
        let refuse = |detail: String| Status::bad_request(format!("error decoding YAML: {detail}"));
        self.warnings.extend(options.validation.judge(duplicates).map_err(refuse)?);
        let name = self.path.name.clone();
        if config.is_object() {
            self.settle_namespace(&mut config)?;
        }
        let force = self.query.flag("force");
        let kept = self.warnings.len();
        for _ in 0..ATTEMPTS {
            let as_of = self.api.store.revision();
            let live = self.stored(&name);
            let mut old = live.as_ref().map(|o| self.decode_stored(o)).transpose()?;
            if let Some(old) = &mut old {
                self.resource.strategy.default(old);
            }
            if old.is_none() && part != Part::Main {
                return Err(self.not_found(&name));
            }
            let uid = text(&config, "uid");
            if old.is_none() && !uid.is_empty() {
                let why =
                    format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
                return Err(Status::conflict(&self.resource.group, &self.resource.plural, &name, &why));
            }
            let mut merged = {
                let reset = self.reset_fields(&self.path.subresource);
                let api_version = self.resource.api_version();
                let manager =
                    managed::Manager { name: &options.manager, subresource: &self.path.subresource, now: self.now };
                let versions = self.versions();
                managed::apply(&self.target(&api_version, &reset, &versions), old.as_ref(), &config, &manager, force)?
            };
            let decoded = decode::of_resource(&self.resource, merged).map_err(refuse)?;
            let warnings = options.validation.judge(unknown_fields(&decoded.unknown)).map_err(refuse)?;
            merged = decoded.value;
            self.warnings.truncate(kept);
            self.warnings.extend(warnings);
            self.check_name(&merged)?;
            match (live, old) {
                (Some(live), Some(old)) => {
                    let attempt = self.attempt(part, merged, &live, &old, options, Tracking::Applied).await?;
                    if let Attempt::Done(stored) = attempt {
                        if matches!(&stored, Written::Stored(object) if object.revision() == live.revision()) {
                            self.remember_unchanged(bytes, &live, as_of);
                        }
                        return self.answer_written(200, &stored);
                    }
                }
                _ => {
                    // A new object has no version to be compared with.
                    super::meta::metadata(&mut merged).remove("resourceVersion");
                    match self.create_object(merged, options, Tracking::Applied).await {
                        // Someone else created it meanwhile: apply to theirs.
                        Err(status) if status.reason == "AlreadyExists" => {}
                        created => return self.answer_written(201, &created?),
                    }
                }
            }
        }
        Err(self.modified())
    }

    fn target<'t>(
        &'t self,
        api_version: &'t str,
        reset: &'t FieldSet,
        versions: &'t OtherVersions,
    ) -> managed::Target<'t> {
        managed::Target {
            schema: self.typed(),
            api_version,
            kind: &self.resource.kind,
            custom: self.resource.custom,
            reset,
            versions,
        }
    }

    fn reset_fields(&self, subresource: &str) -> FieldSet {
        let has_status = self.resource.subresource("status").is_some();
        managed::reset_fields(&self.resource.group, &self.resource.kind, self.resource.custom, subresource, has_status)
    }

    /// Gives what changed to the manager of a create or update.
    pub(crate) fn track(&self, old: Option<&Value>, new: &mut Value, options: &WriteOptions, subresource: &str) {
        let reset = self.reset_fields(subresource);
        let api_version = self.resource.api_version();
        let manager = managed::Manager { name: &options.manager, subresource, now: self.now };
        let versions = self.versions();
        managed::track_update(&self.target(&api_version, &reset, &versions), old, new, &manager);
    }
}

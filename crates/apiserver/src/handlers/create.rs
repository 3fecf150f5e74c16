//! POST on a collection.

use bytes::Bytes;
use serde_json::Value;

use super::admit::Admit;
use super::meta::text;
use super::update::{Tracking, Written};
use super::{Call, WriteOptions};
use crate::api::Answer;
use crate::authz::{Attributes, Decision};
use crate::kinds::meta;
use crate::status::Status;
use crate::store::{Expect, Write};

/// How many names are tried for an object that is to get one, as kube-apiserver does.
const NAMES: usize = 8;

impl Call<'_> {
    pub(crate) async fn create(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let object = self.decode_body(body, options.validation).await?;
        let generated = text(&object, "name").is_empty() && !text(&object, "generateName").is_empty();
        let told = self.warnings.len();
        for _ in 1..if generated { NAMES } else { 1 } {
            match self.create_object(object.clone(), &options, Tracking::Update).await {
                Err(status) if status.reason == "AlreadyExists" => self.warnings.truncate(told),
                created => return self.answer_written(201, &created?),
            }
        }
        let stored = self.create_object(object, &options, Tracking::Update).await?;
        self.answer_written(201, &stored)
    }

    /// Everything after decoding; also the end of a create by apply or by update.
    pub(crate) async fn create_object(
        &mut self,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Written, Status> {
        let resource = self.resource.clone();
        self.settle_namespace(&mut object)?;
        let had_version = !text(&object, "resourceVersion").is_empty() && text(&object, "resourceVersion") != "0";
        self.wipe_new(&mut object);
        resource.strategy.default(&mut object);
        self.dedup_owners(&mut object);
        if tracking != Tracking::Applied {
            self.track(None, &mut object, options, "");
        }
        let write = Admit::create(text(&object, "name"), options);
        self.mutate(&write, &mut object, &Value::Null).await?;
        // A webhook may have written anything.
        self.settle_namespace(&mut object)?;
        self.check_escalation(text(&object, "name"), &object, None)?;
        self.fill_new(&mut object);
        let cx = self.cx();
        resource.strategy.prepare_create(&mut object, &cx)?;
        let mut errors = meta::validate(&object, resource.strategy.name_rule(), resource.namespaced);
        if resource.strategy.core_metadata().is_some() {
            errors.extend(meta::standard_finalizers(&object));
        }
        errors.extend(self.check(|| resource.strategy.validate_create(&object, &cx)));
        self.warnings.extend(cx.take_warnings());
        if !errors.is_empty() {
            return Err(self.invalid(text(&object, "name"), &errors));
        }
        self.warnings.extend(resource.strategy.warnings(&object, None));
        if tracking != Tracking::Update {
            self.may_create(text(&object, "name"))?;
        }
        self.validate(&write, &mut object, &Value::Null).await?;
        if had_version {
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        let key = self.key(text(&object, "name"));
        if options.dry_run {
            if self.stored(&key.name).is_some() {
                return Err(self.already_exists(text(&object, "name")));
            }
            super::meta::metadata(&mut object).remove("resourceVersion");
            return Ok(Written::Shown(object));
        }
        let value = self.api.encode_with(&resource, &object, self.raw.as_deref())?;
        match self.api.write(Write { key, expect: Expect::Absent, value: Some(value) }).await? {
            Ok(committed) => Ok(Written::Stored(committed.object)),
            Err(_) => Err(self.already_exists(text(&object, "name"))),
        }
    }

    /// Who updates or applies what is not there needs the right to create it.
    fn may_create(&self, name: &str) -> Result<(), Status> {
        let asked = Attributes::Resource {
            verb: "create",
            group: &self.resource.group,
            version: &self.resource.version,
            resource: &self.resource.plural,
            subresource: "",
            namespace: &self.path.namespace,
            name,
        };
        match self.api.authorize(self.user, &asked) {
            Decision::Allow(_) => Ok(()),
            Decision::NoOpinion(reason) => Err(self.forbidden(name, &reason)),
        }
    }

    fn already_exists(&self, name: &str) -> Status {
        Status::already_exists(&self.resource.group, &self.resource.plural, name)
    }
}

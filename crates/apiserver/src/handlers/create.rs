//! POST on a collection.

use bytes::Bytes;
use serde_json::Value;

use super::meta::text;
use super::update::Tracking;
use super::{Call, WriteOptions};
use crate::api::Answer;
use crate::kinds::meta;
use crate::status::{Details, Status};
use crate::store::{Expect, Write};

impl Call<'_> {
    pub(crate) async fn create(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let object = self.decode_body(body, options.validation)?;
        let stored = self.create_object(object, &options, Tracking::Update).await?;
        self.answer_object(201, &stored)
    }

    /// Everything after decoding; also the end of a create by apply or by update.
    pub(crate) async fn create_object(
        &mut self,
        mut object: Value,
        options: &WriteOptions,
        tracking: Tracking,
    ) -> Result<Value, Status> {
        let resource = self.resource.clone();
        self.settle_namespace(&mut object)?;
        let had_version = !text(&object, "resourceVersion").is_empty() && text(&object, "resourceVersion") != "0";
        self.namespace_accepts(text(&object, "name"))?;
        self.fill_new(&mut object);
        resource.strategy.default(&mut object);
        if tracking != Tracking::Applied {
            self.track(None, &mut object, options, "");
        }
        let cx = self.cx();
        resource.strategy.prepare_create(&mut object, &cx)?;
        let mut errors = meta::validate(&object, resource.strategy.name_rule(), resource.namespaced);
        errors.extend(resource.strategy.validate_create(&object, &cx));
        if !errors.is_empty() {
            return Err(self.invalid(text(&object, "name"), &errors));
        }
        if had_version {
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        self.warnings.extend(resource.strategy.warnings(&object, None));
        let key = self.key(text(&object, "name"));
        if options.dry_run {
            if self.stored(&key.name).is_some() {
                return Err(self.already_exists(text(&object, "name")));
            }
            super::meta::metadata(&mut object).remove("resourceVersion");
            return Ok(object);
        }
        let value = self.api.encode(&resource, &object)?;
        match self.api.write(Write { key, expect: Expect::Absent, value: Some(value) }).await? {
            Ok(committed) => self.decode_stored(&committed.object),
            Err(_) => Err(self.already_exists(text(&object, "name"))),
        }
    }

    fn already_exists(&self, name: &str) -> Status {
        Status::already_exists(&self.resource.group, &self.resource.plural, name)
    }

    /// A namespaced object needs a namespace that is there and not on its way out.
    fn namespace_accepts(&self, name: &str) -> Result<(), Status> {
        if !self.resource.namespaced {
            return Ok(());
        }
        let namespace = &self.path.namespace;
        let Some(live) = self.api.lookup("/namespaces", "", namespace) else {
            return Err(Status::not_found("", "namespaces", namespace));
        };
        if !super::meta::is_terminating(&live) {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let mut status = self.forbidden(name, &why);
        let mut details = Details::of(&self.resource.group, &self.resource.plural, name);
        details.causes.push((
            "NamespaceTerminating".to_owned(),
            format!("namespace {namespace} is being terminated"),
            "metadata.namespace".to_owned(),
        ));
        status.details = Some(Box::new(details));
        Err(status)
    }
}

//! One function per verb. Each follows the order of kube-apiserver's handlers, because the order decides which error wins:
//! options → body → defaults → managed fields → mutating admission → prepare → validate → validating admission → store.

mod admit;
mod body;
mod connect;
mod create;
mod delete;
mod get;
mod items;
mod meta;
mod patch;
mod reviews;
mod shown;
mod special;
mod token;
mod unchanged;
mod update;
mod versions;
mod views;
mod watch;

pub(crate) use admit::Options;
pub(crate) use meta::{finalizers, is_terminating, text};
pub(crate) use unchanged::Unchanged;
pub(crate) use update::ATTEMPTS;
pub(crate) use views::Views;

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::Value;

use crate::admission::plugins::quota::Booking;
use crate::api::{Answer, Api};
use crate::field::FieldError;
use crate::patch::managed;
use crate::request::{Format, Query, ResourcePath, Verb};
use crate::resource::{Cx, Lookup, Part, Resource};
use crate::schema::Typed;
use crate::schema::decode::FieldValidation;
use crate::status::Status;
use crate::store::{Key, Object};
use crate::user::User;

/// One request to a resource, with everything that its handler may look at.
pub(crate) struct Call<'a> {
    pub(crate) api: &'a Api,
    pub(crate) resource: Arc<Resource>,
    pub(crate) path: &'a ResourcePath,
    pub(crate) query: &'a Query,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) user: &'a User,
    pub(crate) format: Format,
    pub(crate) now: Timestamp,
    /// When it came, on the clock that deadlines are kept by.
    pub(crate) started: tokio::time::Instant,
    pub(crate) warnings: Vec<String>,
    /// What this write booked in quotas: on its way until the request is answered.
    pub(crate) booking: Option<Booking>,
    /// The body's text of the field that the kind keeps as it was sent; see [`Strategy::raw_field`].
    ///
    /// [`Strategy::raw_field`]: crate::resource::Strategy::raw_field
    pub(crate) raw: Option<Vec<u8>>,
}

/// Options of a write.
#[derive(Clone)]
pub(crate) struct WriteOptions {
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
    pub(crate) manager: String,
    /// `fieldManager` and `fieldValidation` as they were asked for: admission is shown them.
    pub(crate) sent_manager: String,
    pub(crate) sent_validation: String,
}

impl<'a> Call<'a> {
    /// Answers the request, with the warnings that came up on the way, whether it succeeds or not.
    pub(crate) async fn run(mut self, verb: Verb, body: Bytes) -> Answer {
        let answer = match self.path.subresource.as_str() {
            "" => self.on(Part::Main, verb, &body).await,
            "status" => self.on(Part::Status, verb, &body).await,
            _ => self.special(verb, &body).await,
        };
        let mut answer = answer.unwrap_or_else(Answer::from);
        answer.warnings = self.warnings;
        answer
    }

    /// Runs the checks of the kind. Schemas and rules that strangers wrote may take a second over one object: other requests
    /// are answered by another thread meanwhile, where the runtime has more than one.
    pub(crate) fn check<T>(&self, run: impl FnOnce() -> T) -> T {
        let by_strangers = self.resource.custom || *self.resource.storage == *crate::api::CRDS;
        let flavor = tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor());
        match flavor {
            Ok(tokio::runtime::RuntimeFlavor::MultiThread) if by_strangers => tokio::task::block_in_place(run),
            _ => run(),
        }
    }

    async fn on(&mut self, part: Part, verb: Verb, body: &Bytes) -> Result<Answer, Status> {
        match verb {
            Verb::Get => self.get().await,
            Verb::List => self.list().await,
            Verb::Watch => self.watch().await,
            Verb::Create if self.is_review() => self.review(body).await,
            Verb::Create => self.create(body).await,
            Verb::Update => self.update(part, body).await,
            Verb::Patch => self.patch(part, body).await,
            Verb::Delete => self.delete(body).await,
            Verb::DeleteCollection => self.delete_collection(body).await,
        }
    }

    pub(crate) fn cx(&self) -> Cx<'a> {
        Cx::new(self.now, self.api as &dyn Lookup).asked_by(self.user)
    }

    pub(crate) fn key(&self, name: &str) -> Key {
        Key::new(self.resource.storage.clone(), self.path.namespace.as_str(), name)
    }

    /// The stored object of that name in the request's namespace.
    pub(crate) fn stored(&self, name: &str) -> Option<Object> {
        self.api.store.get(&self.resource.storage, &self.path.namespace, name)
    }

    pub(crate) fn typed(&self) -> Typed<'_> {
        Typed::new(&self.resource.definitions, &self.resource.schema)
    }

    pub(crate) fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.resource.group, &self.resource.plural, name)
    }

    pub(crate) fn invalid(&self, name: &str, errors: &[FieldError]) -> Status {
        // Errors name the stored group: an Event is validated as one of the core group.
        let group = self.resource.storage.split('/').next().unwrap_or_default();
        Status::invalid(group, &self.resource.kind, name, errors)
    }

    pub(crate) fn forbidden(&self, name: &str, why: &str) -> Status {
        Status::forbidden(&self.resource.group, &self.resource.plural, name, why)
    }

    /// The stored object in this version, or 404.
    pub(crate) fn current(&self) -> Result<(Object, Value), Status> {
        let object = self.stored(&self.path.name).ok_or_else(|| self.not_found(&self.path.name))?;
        let value = self.decode_stored(&object)?;
        Ok((object, value))
    }

    /// A stored object as this version of the resource shows it.
    pub(crate) fn decode_stored(&self, object: &Object) -> Result<Value, Status> {
        Api::decode_stored(&self.resource, object)
    }

    /// Options shared by all writes; `kind` is the options kind that errors name (`CreateOptions`, …).
    pub(crate) fn write_options(&self, kind: &str) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        let dry: Vec<&str> = self.query.all("dryRun").filter(|v| !v.is_empty()).collect();
        if dry.iter().any(|v| *v != "All") {
            errors.push(FieldError::not_supported("dryRun", &Value::from(dry.clone()), &["All"]));
        }
        let sent_manager = self.query.get("fieldManager");
        errors.extend(managed::manager_errors(sent_manager));
        let asked = self.query.get("fieldValidation");
        let validation = FieldValidation::parse(asked);
        if validation.is_none() {
            errors.push(FieldError::not_supported(
                "fieldValidation",
                &Value::from(asked),
                &["", "Ignore", "Strict", "Warn"],
            ));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", &errors));
        }
        let agent = self.headers.get(http::header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        Ok(WriteOptions {
            dry_run: !dry.is_empty(),
            validation: validation.unwrap_or_default(),
            manager: managed::manager_name(sent_manager, agent),
            sent_manager: sent_manager.to_owned(),
            sent_validation: asked.to_owned(),
        })
    }
}

//! The handlers' side of admission: what the request is made of, and its warnings back into the answer.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Call, WriteOptions, meta};
use crate::admission::{self, Attributes, Operation, Subject};
use crate::status::Status;

/// One write as admission sees it, but for its objects.
pub(crate) struct Admit<'o> {
    operation: Operation,
    name: String,
    options: Options<'o>,
    dry_run: bool,
}

/// The longest that a request may take, unless it asks for less by `timeout`; kube-apiserver's default.
const LONGEST: Duration = Duration::from_secs(60);

impl<'o> Admit<'o> {
    /// A creation; `name` is empty while a name is still to be generated.
    pub(crate) fn create(name: &str, options: &'o WriteOptions) -> Self {
        Self::write(Operation::Create, name, "CreateOptions", options)
    }

    /// A PUT or PATCH of something that exists: both have `UpdateOptions`.
    pub(crate) fn update(name: &str, options: &'o WriteOptions) -> Self {
        Self::write(Operation::Update, name, "UpdateOptions", options)
    }

    /// A deletion; `name` is empty in the deletion of a collection.
    pub(crate) fn delete(name: &str, options: Value, dry_run: bool) -> Self {
        Self { operation: Operation::Delete, name: name.to_owned(), options: Options::Delete(options), dry_run }
    }

    /// A connection (`exec`, `proxy`): it has no options besides its object.
    pub(crate) fn connect(name: &str) -> Self {
        Self { operation: Operation::Connect, name: name.to_owned(), options: Options::None, dry_run: false }
    }

    fn write(operation: Operation, name: &str, kind: &'static str, options: &'o WriteOptions) -> Self {
        Self { operation, name: name.to_owned(), options: Options::Write(kind, options), dry_run: options.dry_run }
    }
}

/// The options of a write.
pub(crate) enum Options<'o> {
    /// A connection has none.
    None,
    /// As the client sent them.
    Delete(Value),
    /// Of this kind.
    Write(&'static str, &'o WriteOptions),
}

impl Options<'_> {
    /// As webhooks and policies are shown them. Most writes meet neither.
    pub(crate) fn shown(&self) -> Value {
        let (kind, options) = match self {
            Self::None => return Value::Null,
            Self::Delete(sent) => return sent.clone(),
            Self::Write(kind, options) => (kind, options),
        };
        let mut shown = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
        if options.dry_run {
            shown["dryRun"] = json!(["All"]);
        }
        for (field, text) in [("fieldManager", &options.sent_manager), ("fieldValidation", &options.sent_validation)] {
            if !text.is_empty() {
                shown[field] = text.as_str().into();
            }
        }
        shown
    }
}

impl Call<'_> {
    /// Lets admission change `object`, the new state of `old` (`null` for a creation).
    pub(crate) async fn mutate(&mut self, write: &Admit<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        let taken = std::mem::take(object);
        let mut attributes = self.attributes(write, &write.name, taken, old);
        let admitted = admission::mutate(&mut attributes).await;
        let warnings = attributes.take_warnings();
        *object = attributes.object;
        self.warnings.extend(warnings);
        admitted
    }

    /// Lets admission refuse `object`. It comes back as it was.
    pub(crate) async fn validate(&mut self, write: &Admit<'_>, object: &mut Value, old: &Value) -> Result<(), Status> {
        let taken = std::mem::take(object);
        let named = meta::text(&taken, "name").to_owned();
        // A name that was generated is known by now.
        let name = if write.name.is_empty() && write.operation == Operation::Create { &named } else { &write.name };
        let mut attributes = self.attributes(write, name, taken, old);
        let admitted = admission::validate(&mut attributes).await;
        let warnings = attributes.take_warnings();
        let booking = attributes.booking.take();
        *object = attributes.object;
        self.warnings.extend(warnings);
        self.booking = booking.or(self.booking.take());
        admitted
    }

    /// Both steps for something that is made by POST and not stored as it is: a Binding, an Eviction, a review, a TokenRequest.
    pub(crate) async fn admit_new(&mut self, object: &mut Value, options: &WriteOptions) -> Result<(), Status> {
        let name = if self.path.name.is_empty() { meta::text(object, "name") } else { &self.path.name };
        let write = Admit::create(name, options);
        self.mutate(&write, object, &Value::Null).await?;
        self.validate(&write, object, &Value::Null).await
    }

    fn longest(&self) -> Duration {
        let asked = paddock_cel::value::Duration::parse(self.query.get("timeout"));
        let asked = asked.and_then(|asked| u64::try_from(asked.nanos).ok()).filter(|nanos| *nanos > 0);
        asked.map_or(LONGEST, |nanos| Duration::from_nanos(nanos).min(LONGEST))
    }

    fn attributes<'s>(&'s self, write: &'s Admit<'s>, name: &'s str, object: Value, old: &'s Value) -> Attributes<'s> {
        let of_namespace = !self.resource.custom && *self.resource.group == *"" && *self.resource.kind == *"Namespace";
        let namespace = if of_namespace { &self.path.name } else { &self.path.namespace };
        let subject = Subject {
            operation: write.operation,
            name,
            object,
            old,
            options: &write.options,
            dry_run: write.dry_run,
            deadline: self.started + self.longest(),
        };
        let place = (namespace.as_str(), self.path.subresource.as_str());
        Attributes::new(self.api, self.resource.clone(), place, self.user, self.now, subject)
    }
}

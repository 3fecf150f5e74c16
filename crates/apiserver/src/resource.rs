//! What is served: one [`Resource`] per group, version and plural name, whether built in or made by a CRD.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use crate::crd::Names;
use crate::field::FieldError;
use crate::schema::{Definitions, Schema};
use crate::user::User;

/// One served resource.
#[derive(Clone)]
pub struct Resource {
    /// API group, empty for core.
    pub group: Arc<str>,
    /// Version, e.g. `v1`.
    pub version: Arc<str>,
    /// Kind, e.g. `Deployment`.
    pub kind: Arc<str>,
    /// Kind of a list.
    pub list_kind: Arc<str>,
    /// Plural name in paths.
    pub plural: Arc<str>,
    /// Singular name for kubectl.
    pub singular: Arc<str>,
    /// Short names for kubectl.
    pub short_names: Vec<Arc<str>>,
    /// Categories for kubectl, e.g. `all`.
    pub categories: Vec<Arc<str>>,
    /// Lives in a namespace.
    pub namespaced: bool,
    /// Verbs in the order discovery lists them (alphabetical).
    pub verbs: &'static [&'static str],
    /// Subresources by path name.
    pub subresources: Vec<Subresource>,
    /// Where objects are kept: `group/plural` (`/configmaps` for core). Versions of one resource share it.
    pub storage: Arc<str>,
    /// The `apiVersion` that objects are stored with; other versions are converted on the way out and in.
    pub storage_version: Arc<str>,
    /// Where `$ref`s of the schema lead.
    pub definitions: Arc<Definitions>,
    /// The object's schema.
    pub schema: Arc<Schema>,
    /// Rules of the kind.
    pub strategy: Arc<dyn Strategy>,
    /// Made by a CRD: strategic merge patches are refused, unknown kinds of fields pruned by its own schema.
    pub custom: bool,
}

/// One subresource.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// `status`, `scale`, `eviction`, `binding`, `token`, …
    pub name: &'static str,
    /// Group, version and kind of what goes over the wire when it is not the parent's.
    pub kind: Option<(&'static str, &'static str, &'static str)>,
    /// Verbs in the order discovery lists them.
    pub verbs: &'static [&'static str],
}

impl Resource {
    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }

    /// Whether this is its group and version, as [`Resource::api_version`] writes them.
    pub fn is_version(&self, api_version: &str) -> bool {
        match api_version.split_once('/') {
            Some((group, version)) => !group.is_empty() && *self.group == *group && *self.version == *version,
            None => self.group.is_empty() && *self.version == *api_version,
        }
    }

    /// The subresource of that name.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }
}

/// Which part of an object a write may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The object itself: everything but `status` where that is a subresource.
    Main,
    /// `/status`.
    Status,
    /// Any other subresource that writes the object, e.g. `resize`, `ephemeralcontainers`, `finalize`, `approval`.
    Other(&'static str),
}

impl Part {
    /// The subresource that writes this part; empty for the object itself.
    pub(crate) fn subresource(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Status => "status",
            Self::Other(name) => name,
        }
    }
}

/// Objects of other kinds, for rules that need them (service IPs in use, priority classes). Never blocks.
pub trait Lookup: Send + Sync {
    /// The stored object, decoded; `storage` as in [`Resource::storage`].
    fn get(&self, storage: &str, namespace: &str, name: &str) -> Option<Value>;
    /// All stored objects of a resource (in one namespace, or everywhere when it is empty).
    fn list(&self, storage: &str, namespace: &str) -> Vec<Value>;
    /// The names that CustomResourceDefinitions of a group have got.
    fn names_of_group(&self, _group: &str) -> Vec<Arc<Names>> {
        Vec::new()
    }
}

/// What a rule may know beyond the object.
pub struct Cx<'a> {
    /// The server's clock.
    pub now: Timestamp,
    /// Other objects.
    pub lookup: &'a dyn Lookup,
    /// Who asks; nobody where the server itself does.
    pub user: Option<&'a User>,
    warnings: Mutex<Vec<String>>,
}

impl<'a> Cx<'a> {
    /// What a rule may know.
    pub fn new(now: Timestamp, lookup: &'a dyn Lookup) -> Self {
        Self { now, lookup, user: None, warnings: Mutex::default() }
    }

    /// The same, for a request of this user.
    #[must_use]
    pub fn asked_by(mut self, user: &'a User) -> Self {
        self.user = Some(user);
        self
    }

    /// Adds a `Warning` header to the answer, whatever becomes of the request.
    pub fn warn(&self, text: String) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(text);
    }

    /// The warnings so far.
    pub(crate) fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One column of a Table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `date`, …
    pub type_: String,
    /// `name` for the first column.
    pub format: String,
    /// Shown by `kubectl explain`-like clients.
    pub description: String,
    /// 0: always shown; above: with `-o wide`.
    pub priority: i32,
}

/// Where a scalable object keeps what a Scale shows, as JSON pointers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    /// Wanted replicas, usually `/spec/replicas`.
    pub spec: String,
    /// Observed replicas, usually `/status/replicas`.
    pub status: String,
    /// Selector: a LabelSelector object or its text.
    pub selector: Option<String>,
}

/// How the validation of a built-in kind looks at metadata, beyond what is checked for all kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CoreMetadata {
    /// An update is checked for what changed.
    Once,
    /// An update is checked for what changed and as a new object is: each mistake is told once more.
    Twice,
}

/// How object names are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain, 253 characters: most kinds.
    Subdomain,
    /// RFC 1123 label, 63 characters.
    Label,
    /// RFC 1035 label: Services.
    Label1035,
    /// Anything that is one path segment: RBAC.
    PathSegment,
}

/// The rules of one kind. All pure but for the look-ups in [`Cx`]; `obj` is decoded JSON of the served version.
///
/// Order on create: decode → `default` → `prepare_create` → `validate_create`; on update: decode → `default` →
/// `prepare_update` → `validate_update`. Metadata that every kind shares (uid, generation base, timestamps) is done by the
/// handlers, shared metadata validation too.
pub trait Strategy: Send + Sync {
    /// Set for kinds whose finalizers must be standard ones or have a domain: the built-in ones.
    fn core_metadata(&self) -> Option<CoreMetadata> {
        None
    }
    /// How names are checked.
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }
    /// Whether `metadata.generation` is kept (1 on create, +1 when the spec changes).
    fn has_generation(&self) -> bool {
        false
    }
    /// PUT to a name that does not exist creates it.
    fn create_on_update(&self) -> bool {
        false
    }
    /// PUT without a resourceVersion is allowed (last writer wins).
    fn unconditional_update(&self) -> bool {
        true
    }
    /// Sets what the kind's schema defaults. Idempotent. Runs on every decoded body and on what comes from the store.
    fn default(&self, _obj: &mut Value) {}
    /// Clears what clients may not set on create (status) and sets what the server gives (cluster IPs).
    fn prepare_create(&self, _obj: &mut Value, _cx: &Cx<'_>) -> Result<(), crate::status::Status> {
        Ok(())
    }
    /// Restores what this part of the object may not change.
    fn prepare_update(
        &self,
        _new: &mut Value,
        _old: &Value,
        _part: Part,
        _cx: &Cx<'_>,
    ) -> Result<(), crate::status::Status> {
        Ok(())
    }
    /// Errors in a new object, in the order kube-apiserver reports them.
    fn validate_create(&self, _obj: &Value, _cx: &Cx<'_>) -> Vec<FieldError> {
        Vec::new()
    }
    /// Errors in a changed object: its own and those of the change (immutable fields).
    fn validate_update(&self, _new: &Value, _old: &Value, _part: Part, _cx: &Cx<'_>) -> Vec<FieldError> {
        Vec::new()
    }
    /// `Warning` headers for a written object.
    fn warnings(&self, _new: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }
    /// Whether `metadata.namespace` is selectable, as it is for most kinds, cluster-scoped ones included.
    fn selectable_by_namespace(&self) -> bool {
        true
    }
    /// Selectable fields besides `metadata.name` and `metadata.namespace`.
    fn selectable(&self) -> &[String] {
        &[]
    }
    /// The value of a selectable field as the selector compares it.
    fn select(&self, _obj: &Value, _field: &str) -> String {
        String::new()
    }
    /// What is said of a field selector that names any other field.
    fn unselectable(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }
    /// Where the `scale` subresource reads and writes; `None`: there is none.
    fn scale_paths(&self) -> Option<ScalePaths> {
        None
    }
    /// Grace period in seconds that a DELETE starts with, given the one asked for; `None` deletes at once.
    fn grace_period(&self, _obj: &Value, _asked: Option<i64>) -> Option<i64> {
        None
    }
    /// Columns of the Table; the first is the name.
    fn columns(&self) -> Vec<Column>;
    /// Cells in the order of the columns.
    fn cells(&self, obj: &Value, now: Timestamp) -> Vec<Value>;
    /// Whether stored bytes of this version are what is served. If not, `served_from_storage` runs on every read.
    fn stored_verbatim(&self) -> bool {
        true
    }
    /// A top-level field that is kept and compared as the text it was sent as: raw bytes in Go. A patch writes it anew.
    fn raw_field(&self) -> Option<&'static str> {
        None
    }
    /// Whether objects can be converted between this version and the stored one.
    fn converts(&self) -> Result<(), crate::status::Status> {
        Ok(())
    }
    /// Converts a stored object to this version. The handlers rewrite `apiVersion`.
    fn served_from_storage(&self, _obj: &mut Value) {}
    /// Converts an object of this version to the stored one.
    fn to_storage(&self, _obj: &mut Value) {}
}

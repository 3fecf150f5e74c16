//! Applies that were found to change nothing. A controller in a settled world says the same again and again; as long as nothing
//! happened that could make the outcome another one, it is answered with the object as it is, without merging anything.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::Call;
use crate::request::Query;
use crate::store::Object;
use crate::user::User;

/// Most applies that are remembered, and most bytes of them; when it is more, all are forgotten.
const APPLIES: usize = 8192;
const BYTES: usize = 8 << 20;

/// Kinds that change all the time and whose objects decide nothing about an apply of another one. Any other change may: one of
/// a namespace, a limit, a class, a definition.
const QUIET: &[&str] = &[
    "/configmaps",
    "/endpoints",
    "/events",
    "/pods",
    "/secrets",
    "apps/daemonsets",
    "apps/deployments",
    "apps/replicasets",
    "apps/statefulsets",
    "batch/jobs",
    "coordination.k8s.io/leases",
    "discovery.k8s.io/endpointslices",
    "events.k8s.io/events",
];

/// Groups whose objects depend on each other or on who asks.
const ENTANGLED: &[&str] =
    &["admissionregistration.k8s.io", "apiextensions.k8s.io", "certificates.k8s.io", "rbac.authorization.k8s.io"];

/// What was asked and came to nothing, by the hash of path and body.
#[derive(Default)]
pub(crate) struct Unchanged {
    hash: RandomState,
    applies: Mutex<Applies>,
}

#[derive(Default)]
struct Applies {
    by_hash: HashMap<u64, Apply>,
    bytes: usize,
}

struct Apply {
    namespace: String,
    name: String,
    subresource: String,
    resource: String,
    query: Query,
    media: Bytes,
    user: User,
    body: Bytes,
    /// Of the object that it left alone.
    revision: u64,
    /// The store's, before it was looked at.
    as_of: u64,
}

impl Call<'_> {
    /// The object, when this apply is known to change nothing of it.
    pub(super) fn known_unchanged(&self, body: &Bytes) -> Option<Object> {
        if !self.may_be_remembered() {
            return None;
        }
        let (revision, as_of) = {
            let applies = self.api.unchanged.applies.lock().unwrap_or_else(PoisonError::into_inner);
            let apply = applies.by_hash.get(&self.unchanged_hash(body))?;
            self.is_of(apply, body).then_some((apply.revision, apply.as_of))?
        };
        let live = self.stored(&self.path.name).filter(|live| live.revision() == revision)?;
        let quiet = |resource: &str| QUIET.contains(&resource) || *resource == *self.resource.storage;
        (self.api.store.last_change_where(|resource| !quiet(resource)) <= as_of).then_some(live)
    }

    /// Remembers that this apply left `live` alone, and did not make anybody say anything. `as_of` is the store's revision from before.
    pub(super) fn remember_unchanged(&self, body: &Bytes, live: &Object, as_of: u64) {
        if !self.may_be_remembered() || !self.warnings.is_empty() {
            return;
        }
        let apply = Apply {
            namespace: self.path.namespace.clone(),
            name: self.path.name.clone(),
            subresource: self.path.subresource.clone(),
            resource: self.resource_id(),
            query: self.query.clone(),
            media: Bytes::copy_from_slice(self.media()),
            user: self.user.clone(),
            // Not the buffer of the connection that it came in.
            body: Bytes::copy_from_slice(body),
            revision: live.revision(),
            as_of,
        };
        let hash = self.unchanged_hash(body);
        let mut applies = self.api.unchanged.applies.lock().unwrap_or_else(PoisonError::into_inner);
        applies.bytes += apply.size();
        if let Some(before) = applies.by_hash.insert(hash, apply) {
            applies.bytes -= before.size();
        }
        if applies.by_hash.len() > APPLIES || applies.bytes > BYTES {
            *applies = Applies::default();
        }
    }

    /// Webhooks and policies may say something else each time.
    fn may_be_remembered(&self) -> bool {
        !ENTANGLED.contains(&&*self.resource.group) && self.api.admission.configured().is_empty()
    }

    fn unchanged_hash(&self, body: &Bytes) -> u64 {
        self.api.unchanged.hash.hash_one((&self.path.namespace, &self.path.name, self.query.get("fieldManager"), body))
    }

    fn resource_id(&self) -> String {
        format!("{}/{}/{}", self.path.group, self.path.version, self.path.resource)
    }

    fn media(&self) -> &[u8] {
        self.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes).unwrap_or_default()
    }

    fn is_of(&self, apply: &Apply, body: &Bytes) -> bool {
        let path = self.path;
        (&apply.namespace, &apply.name, &apply.subresource) == (&path.namespace, &path.name, &path.subresource)
            && apply.resource == self.resource_id()
            && apply.query == *self.query
            && apply.media == self.media()
            && apply.user == *self.user
            && apply.body == *body
    }
}

impl Apply {
    /// Bytes that it takes, about.
    fn size(&self) -> usize {
        512 + self.body.len() + self.namespace.len() + self.name.len()
    }
}

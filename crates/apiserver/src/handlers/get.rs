//! GET of an object and of a collection, and how objects and lists are written into answers.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use super::items::{Items, Stored};
use super::shown::Shown;
use super::update::Written;
use crate::api::{Answer, yaml};
use crate::request::{Encoding, Shape};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::Status;
use crate::store::listing::{self, ListOptions, ListPlan};
use crate::store::{ListRequest, Listing, Object, Position};
use crate::table::{self, IncludeObject};

/// How long a read waits for a revision of the future, as kube-apiserver does.
const REVISION_WAIT: Duration = Duration::from_secs(3);

/// How often it looks.
const REVISION_POLL: Duration = Duration::from_millis(50);

/// The selectors of a request.
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether a decoded object is selected.
    pub(crate) fn matches(&self, call: &Call<'_>, object: &Value) -> bool {
        self.labels.matches_object(object) && self.fields.matches(object, &*call.resource.strategy)
    }
}

/// Paging of a list answer.
pub(crate) struct ListMeta {
    pub(crate) revision: u64,
    pub(crate) next: Option<String>,
    pub(crate) remaining: Option<usize>,
}

impl Call<'_> {
    /// Waits until the store has the revision that a read names, three seconds at most: another client may know of a write
    /// before this server shows it. What is not there then is refused by the read itself.
    pub(crate) async fn reach_revision(&self) {
        let Ok(wanted) = self.query.get("resourceVersion").parse::<u64>() else { return };
        let end = tokio::time::Instant::now() + REVISION_WAIT;
        while self.api.store.revision() < wanted && tokio::time::Instant::now() < end {
            tokio::time::sleep(REVISION_POLL).await;
        }
    }

    pub(crate) async fn get(&mut self) -> Result<Answer, Status> {
        self.reach_revision().await;
        listing::check_get(self.query.get("resourceVersion"), self.api.store.revision())?;
        let object = self.stored(&self.path.name).ok_or_else(|| self.not_found(&self.path.name))?;
        self.answer_stored(200, &object)
    }

    /// Answers with a stored object; where its bytes are what was asked for, without decoding it.
    pub(crate) fn answer_stored(&self, code: u16, object: &Object) -> Result<Answer, Status> {
        if self.is_plain() {
            return Ok(Answer::bytes(code, object.bytes().clone()));
        }
        self.answer_object(code, &self.decode_stored(object)?)
    }

    /// Answers with the outcome of a write.
    pub(crate) fn answer_written(&self, code: u16, written: &Written) -> Result<Answer, Status> {
        match written {
            Written::Stored(object) => self.answer_stored(code, object),
            Written::Shown(value) => self.answer_object(code, value),
        }
    }

    /// Whether stored bytes are what is asked for: JSON of whole objects, in the version that is stored.
    pub(crate) fn is_plain(&self) -> bool {
        self.format.shape == Shape::Object && self.format.encoding == Encoding::Json && self.stored_as_served()
    }

    /// Stored bytes are what this version serves: nothing to convert.
    pub(crate) fn stored_as_served(&self) -> bool {
        self.resource.is_version(&self.resource.storage_version) && self.resource.strategy.stored_verbatim()
    }

    /// The selectors of the query; a malformed or unsupported one is a 400.
    pub(crate) fn selection(&self) -> Result<Selection, Status> {
        let labels = LabelSelector::parse(self.query.get("labelSelector"))?;
        let fields = FieldSelector::parse(self.query.get("fieldSelector"))?;
        fields.check(&*self.resource.strategy)?;
        Ok(Selection { labels, fields })
    }

    pub(crate) async fn list(&mut self) -> Result<Answer, Status> {
        let selection = self.selection()?;
        self.reach_revision().await;
        let plan = listing::plan_list(&self.list_options()?, self.namespace(), self.api.store.revision())?;
        let page = self.read_page(&plan, &selection)?;
        let remaining = (page.next.is_some() && selection.is_everything()).then_some(page.remaining);
        let next = listing::next_token(&page, self.namespace());
        let meta = ListMeta { revision: page.revision, next, remaining };
        let body = if self.is_plain() {
            self.items_of_bytes(page.objects, &meta).body()?
        } else if self.format.encoding == Encoding::Json {
            // What this version cannot show is an answer, not a list that is broken off.
            if self.resource.strategy.converts().is_err() {
                page.objects.iter().try_for_each(|o| self.decode_stored(o).map(drop))?;
            }
            self.shown()?.items(page.objects, &list_metadata(&meta))?.body()?
        } else {
            let items = page.objects.iter().map(|o| self.decode_stored(o)).collect::<Result<Vec<_>, _>>()?;
            return self.answer_list(items, Some(meta));
        };
        Ok(Answer { body, ..Answer::bytes(200, Bytes::new()) })
    }

    /// The namespace of a collection path; `None` for all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        (!self.path.namespace.is_empty()).then_some(self.path.namespace.as_str())
    }

    pub(crate) fn list_options(&self) -> Result<ListOptions<'_>, Status> {
        // Only a watch uses it, but it is read for both.
        self.query.integer("timeoutSeconds")?;
        Ok(ListOptions {
            resource_version: self.query.get("resourceVersion"),
            resource_version_match: self.query.get("resourceVersionMatch"),
            continue_token: self.query.get("continue"),
            limit: self.query.integer("limit")?.unwrap_or(0),
            send_initial_events: self.query.find("sendInitialEvents").map(|_| self.query.flag("sendInitialEvents")),
            allow_watch_bookmarks: self.query.flag("allowWatchBookmarks"),
        })
    }

    pub(super) fn read_page(&self, plan: &ListPlan, selection: &Selection) -> Result<Listing, Status> {
        let request = ListRequest {
            resource: &self.resource.storage,
            namespace: self.namespace(),
            after: plan.after.as_ref().map(|at| (&*at.namespace, &*at.name)),
            limit: plan.limit,
            at: plan.at,
        };
        let listing = if selection.is_everything() {
            self.api.store.list(&request)
        } else if selection.fields.is_key_only() {
            let Selection { labels, fields } = selection;
            self.api.store.list_where(&request, |at, object| {
                fields.matches_key(&at.namespace, &at.name) && labels.matches_text(object.bytes())
            })
        } else {
            let pass =
                |_: &Position, object: &Object| self.decode_stored(object).is_ok_and(|v| selection.matches(self, &v));
            self.api.store.list_where(&request, pass)
        };
        listing.map_err(|_| listing::list_expired(plan, self.namespace()))
    }

    /// All objects that a collection request selects, decoded.
    pub(crate) fn select_all(&self) -> Result<Vec<Value>, Status> {
        let selection = self.selection()?;
        let page = self.read_page(&ListPlan { at: None, after: None, limit: None }, &selection)?;
        page.objects.iter().map(|o| self.decode_stored(o)).collect()
    }

    /// A list written from stored bytes, without decoding one object.
    fn items_of_bytes(&self, objects: Vec<Object>, meta: &ListMeta) -> Items<Stored> {
        let head = json!({"apiVersion": self.resource.api_version(), "kind": &*self.resource.list_kind, "metadata": list_metadata(meta)});
        let mut head = head.to_string();
        head.pop();
        head.push_str(",\"items\":[");
        // Items of built-in lists carry no kind and apiVersion: the list says them.
        let item = Stored { typed: self.resource.custom };
        Items { head: head.into_bytes(), objects, item, tail: b"]}".to_vec() }
    }

    /// Writes one object in the negotiated format.
    pub(crate) fn answer_object(&self, code: u16, object: &Value) -> Result<Answer, Status> {
        let shown = match self.format.shape {
            Shape::Object => Cow::Borrowed(object),
            Shape::Metadata => Cow::Owned(table::partial_object_metadata(object)),
            Shape::Table => {
                let meta = json!({"resourceVersion": super::meta::text(object, "resourceVersion")});
                Cow::Owned(self.table(std::slice::from_ref(object), &meta)?)
            }
        };
        self.write(code, &shown)
    }

    /// Writes decoded objects as a list in the negotiated format.
    pub(crate) fn answer_list(&self, items: Vec<Value>, meta: Option<ListMeta>) -> Result<Answer, Status> {
        let meta = meta.unwrap_or(ListMeta { revision: self.api.store.revision(), next: None, remaining: None });
        self.write(200, &self.shown()?.list(items, &list_metadata(&meta)))
    }

    /// How a list shows its objects.
    fn shown(&self) -> Result<Shown, Status> {
        let shape = self.format.shape;
        let include = if shape == Shape::Table { self.include()? } else { IncludeObject::default() };
        Ok(Shown { resource: self.resource.clone(), shape, include, now: self.now })
    }

    pub(crate) fn table(&self, items: &[Value], metadata: &Value) -> Result<Value, Status> {
        Ok(table::table(&self.resource, items, metadata, self.include()?, true, self.now))
    }

    fn include(&self) -> Result<IncludeObject, Status> {
        let asked = self.query.get("includeObject");
        IncludeObject::parse(asked)
            .ok_or_else(|| Status::bad_request(format!("unrecognized includeObject value: {asked:?}")))
    }

    pub(crate) fn write(&self, code: u16, value: &Value) -> Result<Answer, Status> {
        match self.format.encoding {
            Encoding::Json => Ok(Answer::json(code, value)),
            Encoding::Yaml => yaml(code, value),
        }
    }
}

fn list_metadata(meta: &ListMeta) -> Value {
    let mut out = json!({"resourceVersion": meta.revision.to_string()});
    if let Some(next) = &meta.next {
        out["continue"] = next.as_str().into();
    }
    if let Some(remaining) = meta.remaining.filter(|r| *r > 0) {
        out["remainingItemCount"] = remaining.into();
    }
    out
}

//! The client of a rehearsal: reads come from the server or from nothing, writes are dry runs, and what they would leave is
//! laid over later reads.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use kube::client::Body;
use serde_json::{Value, json};
use tower::service_fn;

use super::Foreseen;
use super::place::{Place, selects};

/// Nesting deeper than this is replaced as a whole.
const DEPTH: usize = 64;
const VERSION: &str = "/metadata/resourceVersion";

pub(super) struct Desk {
    server: Option<kube::Client>,
    version: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What reads see instead of the server's. `None`: it does not exist.
    laid: BTreeMap<Place, Option<Value>>,
    /// What the server had, by the objects written since the last [`Desk::begin`], in the order of the first write.
    before: Vec<(Place, Option<Value>)>,
    /// Deleted and perhaps made anew since then: the server cannot judge what it still has in another form.
    remade: BTreeSet<Place>,
    notes: Vec<String>,
    changes: usize,
    uids: u64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Desk")
    }
}

type Answer = Result<Response<Body>, kube::Error>;

impl Desk {
    pub(super) fn over(client: kube::Client) -> Self {
        Self { server: Some(client), version: None, state: Mutex::default() }
    }

    pub(super) fn empty(version: Option<String>) -> Self {
        Self { server: None, version, state: Mutex::default() }
    }

    pub(super) fn client(self: Arc<Self>) -> kube::Client {
        let namespace = self.server.as_ref().map_or("default", kube::Client::default_namespace).to_owned();
        let service = service_fn(move |request: Request<Body>| {
            let desk = Arc::clone(&self);
            async move { desk.pass(request).await }
        });
        kube::Client::new(service, namespace)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn assume(&self, plural: &str, mut object: Value) -> Result<(), String> {
        let place = Place::of(plural, &object)?;
        let mut state = self.state();
        complete(&mut object, None, &mut state.uids);
        state.laid.insert(place, Some(object));
        Ok(())
    }

    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.before.clear();
        state.notes.clear();
    }

    pub(super) fn changes(&self) -> usize {
        self.state().changes
    }

    pub(super) fn end(&self) -> (Vec<Foreseen>, Vec<String>) {
        let mut state = self.state();
        let written = std::mem::take(&mut state.before);
        let after = |place: &Place| state.laid.get(place).cloned().flatten();
        let objects = written.into_iter().map(|(place, before)| Foreseen { before, after: after(&place) }).collect();
        (objects, std::mem::take(&mut state.notes))
    }

    async fn pass(&self, request: Request<Body>) -> Answer {
        let Some(place) = Place::parse(request.uri().path()) else { return self.outside(request).await };
        let reads = request.method() == Method::GET;
        if place.resource == "events" && !reads {
            let event = body(request).await?;
            self.state().notes.extend(event["note"].as_str().or_else(|| event["message"].as_str()).map(str::to_owned));
            return Ok(answer(StatusCode::CREATED, &event));
        }
        // Reviews change nothing: they ask.
        if place.resource.ends_with("reviews") || (reads && !place.subresource.is_empty()) {
            return self.outside(request).await;
        }
        match (request.method().as_str(), place.name.is_empty()) {
            ("GET", true) => self.list(request, &place).await,
            ("GET", false) => Ok(found(self.see(&place).await?, &place)),
            // A report of ours is no change of the world.
            _ if !place.subresource.is_empty() => {
                let object = Place { subresource: String::new(), ..place };
                Ok(found(self.see(&object).await?, &object))
            }
            ("PATCH", false) | ("POST", true) => self.write(request, place).await,
            ("DELETE", false) => self.delete(request, place).await,
            _ => Ok(failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", &place, "cannot be rehearsed")),
        }
    }

    /// What is about no object.
    async fn outside(&self, request: Request<Body>) -> Answer {
        match (&self.server, &self.version, request.uri().path()) {
            (Some(server), ..) => server.send(request).await,
            (None, Some(version), "/version") => {
                let info = json!({
                    "major": "", "minor": "", "gitVersion": version, "gitCommit": "", "gitTreeState": "", "buildDate": "",
                    "goVersion": "", "compiler": "", "platform": "",
                });
                Ok(answer(StatusCode::OK, &info))
            }
            (None, ..) => Ok(answer(
                StatusCode::NOT_FOUND,
                &json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                    "message": "there is no server", "details": {},
                }),
            )),
        }
    }

    /// The object as reads see it.
    async fn see(&self, place: &Place) -> Result<Option<Value>, kube::Error> {
        let laid = self.state().laid.get(place).cloned();
        match laid {
            Some(laid) => Ok(laid),
            None => self.ask(place).await,
        }
    }

    /// The object as the server has it.
    async fn ask(&self, place: &Place) -> Result<Option<Value>, kube::Error> {
        let Some(server) = &self.server else { return Ok(None) };
        let within =
            if place.namespace.is_empty() { String::new() } else { format!("/namespaces/{}", place.namespace) };
        let path = format!("{}{within}/{}/{}", place.version, place.resource, place.name);
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        match server.request::<Value>(request).await {
            Ok(object) => Ok(Some(object)),
            Err(kube::Error::Api(status))
                if status.code == 404 && status.details.as_ref().is_some_and(|d| !d.name.is_empty()) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn list(&self, request: Request<Body>, place: &Place) -> Answer {
        let query = request.uri().query().unwrap_or_default().to_owned();
        let mut list = match &self.server {
            None => json!({"kind": "List", "apiVersion": "v1", "metadata": {}, "items": []}),
            Some(server) => {
                let listed = server.send(request).await?;
                if !listed.status().is_success() {
                    return Ok(listed);
                }
                json_of(listed.into_body()).await?
            }
        };
        let last = list.pointer("/metadata/continue").and_then(Value::as_str).is_none_or(str::is_empty);
        let laid: Vec<(Place, Option<Value>)> = {
            let state = self.state();
            state
                .laid
                .iter()
                .filter(|(at, _)| at.is_in(place))
                .map(|(at, object)| (at.clone(), object.clone()))
                .collect()
        };
        if let Some(Value::Array(items)) = list.get_mut("items") {
            let name = |object: &Value, pointer: &str| crate::object::text(object, pointer).to_owned();
            items.retain(|item| {
                let here = |at: &Place| {
                    (&at.namespace, &at.name) == (&name(item, "/metadata/namespace"), &name(item, "/metadata/name"))
                };
                !laid.iter().any(|(at, _)| here(at))
            });
            if last {
                items
                    .extend(laid.into_iter().filter_map(|(_, object)| object).filter(|object| selects(&query, object)));
            }
        }
        Ok(answer(StatusCode::OK, &list))
    }

    async fn write(&self, request: Request<Body>, mut place: Place) -> Answer {
        let (parts, content) = request.into_parts();
        let content = bytes(content).await?;
        let wanted: Value = serde_json::from_slice(&content).map_err(kube::Error::SerdeError)?;
        if place.name.is_empty() {
            crate::object::text(&wanted, "/metadata/name").clone_into(&mut place.name);
        }
        let seen = self.see(&place).await?;
        let applies = parts
            .headers
            .get(http::header::CONTENT_TYPE)
            .is_some_and(|of| of.as_bytes().starts_with(b"application/apply"));
        if parts.method == Method::POST && seen.is_some() {
            return Ok(failure(StatusCode::CONFLICT, "AlreadyExists", &place, "already exists"));
        }
        if parts.method == Method::PATCH && !applies && seen.is_none() {
            return Ok(found(None, &place));
        }
        let is_at = |object: &Value| crate::object::text(object, VERSION).to_owned();
        if applies && !is_at(&wanted).is_empty() && seen.as_ref().is_some_and(|seen| is_at(seen) != is_at(&wanted)) {
            return Ok(failure(StatusCode::CONFLICT, "Conflict", &place, "has been modified"));
        }
        let stands = self.remember(&place).await?;
        // The server can only judge what it has: not what was deleted or made in this rehearsal by other means than apply.
        let remade = self.state().remade.contains(&place);
        let judged = match (&self.server, &seen) {
            _ if remade => None,
            (Some(server), Some(_)) if stands || applies => Some(server),
            (Some(server), None) if !stands => Some(server),
            _ => None,
        };
        let mut after = match judged {
            Some(server) => {
                let mut parts = parts;
                parts.uri = dry(&parts.uri).map_err(kube::Error::HttpError)?;
                let judged = server.send(Request::from_parts(parts, Body::from(content))).await?;
                if !judged.status().is_success() {
                    return Ok(judged);
                }
                json_of(judged.into_body()).await?
            }
            None => {
                let mut object = seen.clone().unwrap_or_else(|| json!({}));
                overlay(&mut object, &wanted, DEPTH);
                object
            }
        };
        let code = if seen.is_some() { StatusCode::OK } else { StatusCode::CREATED };
        let mut state = self.state();
        complete(&mut after, seen.as_ref(), &mut state.uids);
        if seen.as_ref().map(essence) != Some(essence(&after)) {
            state.changes += 1;
        }
        state.laid.insert(place, Some(after.clone()));
        Ok(answer(code, &after))
    }

    async fn delete(&self, request: Request<Body>, place: Place) -> Answer {
        if self.see(&place).await?.is_none() {
            return Ok(found(None, &place));
        }
        if self.remember(&place).await?
            && let Some(server) = &self.server
        {
            let (mut parts, content) = request.into_parts();
            parts.uri = dry(&parts.uri).map_err(kube::Error::HttpError)?;
            let judged = server.send(Request::from_parts(parts, content)).await?;
            if !judged.status().is_success() {
                return Ok(judged);
            }
        }
        let mut state = self.state();
        state.changes += 1;
        let name = place.name.clone();
        state.remade.insert(place.clone());
        state.laid.insert(place, None);
        Ok(answer(
            StatusCode::OK,
            &json!({
                "kind": "Status", "apiVersion": "v1", "status": "Success", "details": {"name": name},
            }),
        ))
    }

    /// Notes how the object was before its first write. Returns whether the server has it.
    async fn remember(&self, place: &Place) -> Result<bool, kube::Error> {
        let known = self.state().before.iter().find(|(at, _)| at == place).map(|(_, before)| before.is_some());
        if let Some(known) = known {
            return Ok(known);
        }
        let before = match self.server {
            Some(_) => self.ask(place).await?,
            None => self.see(place).await?,
        };
        let known = before.is_some();
        self.state().before.push((place.clone(), before));
        Ok(known)
    }
}

/// What the server would have added. The uid stays the same over the rehearsal.
fn complete(object: &mut Value, seen: Option<&Value>, uids: &mut u64) {
    let known = seen.map(|seen| crate::object::uid(seen).to_owned()).filter(|uid| !uid.is_empty());
    let own = crate::object::uid(object).to_owned();
    let uid = known.or_else(|| (!own.is_empty()).then_some(own)).unwrap_or_else(|| {
        *uids += 1;
        format!("00000000-0000-0000-0000-{uids:012}")
    });
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("uid".into(), uid.into());
        if seen.is_none() {
            // What was asked for with the version of nothing has it no more.
            metadata.remove("resourceVersion");
        }
    }
}

/// The object without what changes by itself.
fn essence(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in ["resourceVersion", "managedFields", "generation", "creationTimestamp", "uid"] {
            metadata.remove(field);
        }
    }
    object
}

fn dry(uri: &http::Uri) -> Result<http::Uri, http::Error> {
    let joint = if uri.query().is_some() { '&' } else { '?' };
    Ok(format!("{uri}{joint}dryRun=All").parse::<http::Uri>()?)
}

async fn bytes(body: Body) -> Result<Vec<u8>, kube::Error> {
    Ok(body.collect().await?.to_bytes().to_vec())
}

async fn json_of(body: Body) -> Result<Value, kube::Error> {
    serde_json::from_slice(&bytes(body).await?).map_err(kube::Error::SerdeError)
}

async fn body(request: Request<Body>) -> Result<Value, kube::Error> {
    json_of(request.into_body()).await
}

fn found(object: Option<Value>, place: &Place) -> Response<Body> {
    match object {
        Some(object) => answer(StatusCode::OK, &object),
        None => failure(StatusCode::NOT_FOUND, "NotFound", place, "not found"),
    }
}

fn failure(code: StatusCode, reason: &str, place: &Place, what: &str) -> Response<Body> {
    let message = format!("{} \"{}\" {what}", place.resource, place.name);
    let details = json!({"name": place.name, "kind": place.resource});
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code.as_u16(),
        "message": message, "details": details,
    });
    answer(code, &status)
}

fn answer(code: StatusCode, content: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(content.to_string().into_bytes()));
    *response.status_mut() = code;
    response
}

/// What an apply would roughly leave, for want of a server: objects member by member, lists of named things by their names,
/// so that what a server filled in stays; everything else replaces.
fn overlay(target: &mut Value, patch: &Value, depth: usize) {
    let named =
        |list: &[Value]| !list.is_empty() && list.iter().all(|item| item.get("name").is_some_and(Value::is_string));
    match (patch, target, depth.checked_sub(1)) {
        (Value::Object(patch), Value::Object(target), Some(depth)) => {
            for (name, value) in patch {
                if value.is_null() {
                    target.remove(name);
                } else {
                    overlay(target.entry(name.clone()).or_insert(Value::Null), value, depth);
                }
            }
        }
        (Value::Array(patch), Value::Array(target), Some(depth)) if named(patch) && named(target) => {
            let merged = patch.iter().map(|item| {
                let mut known =
                    target.iter().find(|known| known["name"] == item["name"]).cloned().unwrap_or(Value::Null);
                overlay(&mut known, item, depth);
                known
            });
            *target = merged.collect();
        }
        (patch, target, _) => *target = patch.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_filled_in_stays_in_named_lists() {
        let mut live =
            json!({"containers": [{"name": "a", "image": "x", "policy": "Always"}, {"name": "b"}], "l": [1, 2]});
        overlay(&mut live, &json!({"containers": [{"name": "a", "image": "y"}], "l": [3]}), DEPTH);
        assert_eq!(live, json!({"containers": [{"name": "a", "image": "y", "policy": "Always"}], "l": [3]}));
    }

    #[test]
    fn uids_stay_the_same_over_a_rehearsal() {
        let mut uids = 0;
        let mut first = json!({"metadata": {"name": "a"}});
        complete(&mut first, None, &mut uids);
        let mut again = json!({"metadata": {"name": "a", "uid": "another"}});
        complete(&mut again, Some(&first), &mut uids);
        assert_eq!(first["metadata"]["uid"], again["metadata"]["uid"]);
    }
}

//! Subresources other than `status`: scale, binding, eviction, token, finalize; `connect` has those that need a node.

use bytes::Bytes;
use serde_json::{Value, json};

use super::admit::Admit;
use super::delete::DeleteOptions;
use super::update::{Attempt, Tracking};
use super::{ATTEMPTS, Call, body};
use crate::api::Answer;
use crate::kinds::subresources;
use crate::patch::{self, PatchType, managed};
use crate::request::Verb;
use crate::resource::{Lookup, Part};
use crate::schema::body::Format;
use crate::schema::{self, Typed, decode};
use crate::status::Status;
use crate::store::{Encoded, Expect, Key, Write};

impl Call<'_> {
    pub(crate) async fn special(&mut self, verb: Verb, body: &Bytes) -> Result<Answer, Status> {
        let name = self.path.subresource.clone();
        match (&*self.resource.plural, name.as_str(), verb) {
            (_, "scale", Verb::Get) => {
                let (_, object) = self.current()?;
                let scale = self.scale_of(&object)?;
                self.answer_object(200, &scale)
            }
            (_, "scale", Verb::Update | Verb::Patch) => self.write_scale(verb, body).await,
            ("pods", "binding", Verb::Create) => self.bind(body).await,
            ("pods", "eviction", Verb::Create) => self.evict(body).await,
            ("pods", "log", Verb::Get) => self.log().await,
            ("pods", "exec" | "attach" | "portforward" | "proxy", _) | ("services" | "nodes", "proxy", _) => {
                self.connect(&name, verb).await
            }
            ("serviceaccounts", "token", Verb::Create) => self.request_token(body),
            ("namespaces", "finalize", Verb::Update) => {
                self.resource.subresource("finalize").ok_or_else(Status::method_not_allowed)?;
                self.update(Part::Other("finalize"), body).await
            }
            (_, _, Verb::Get) => self.get().await,
            (_, _, Verb::Update) => {
                let part = self.part(&name)?;
                self.update(part, body).await
            }
            (_, _, Verb::Patch) => {
                let part = self.part(&name)?;
                self.patch(part, body).await
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    fn part(&self, name: &str) -> Result<Part, Status> {
        self.resource.subresource(name).map(|s| Part::Other(s.name)).ok_or_else(Status::no_such_resource)
    }

    /// A Scale is a view: what is written to it is written to the object's replicas.
    async fn write_scale(&mut self, verb: Verb, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options(if verb == Verb::Patch { "PatchOptions" } else { "UpdateOptions" })?;
        let (definitions, schema) = schema::builtin("autoscaling", "v1", "Scale");
        let typed = Typed::new(&definitions, &schema);
        let nothing = managed::FieldSet::default();
        let target = managed::Target {
            schema: typed,
            api_version: "autoscaling/v1",
            kind: "Scale",
            custom: false,
            reset: &nothing,
            versions: &(),
        };
        let manager = managed::Manager { name: &options.manager, subresource: "scale", now: self.now };
        for _ in 0..ATTEMPTS {
            let (live, old) = self.current()?;
            let view = self.scale_of(&old)?;
            let kind = if verb == Verb::Patch { Some(self.patch_type()?) } else { None };
            let wanted = match kind {
                Some(PatchType::Apply) => {
                    let force = self.query.find("force").map(|_| self.query.flag("force"));
                    managed::check_patch_options(PatchType::Apply, self.query.get("fieldManager"), force)?;
                    let config = body::untyped(body, Format::Yaml)?;
                    managed::apply(&target, Some(&view), &config, &manager, force == Some(true))?
                }
                kind => {
                    let mut wanted = match kind {
                        Some(kind) => {
                            let patched = patch::apply_patch(kind, Some(typed), &view, body)?;
                            let decoded = decode::decode(typed, patched.object.clone(), "Scale");
                            decoded.map_err(|e| patched.undecodable(&e))?.value
                        }
                        None => decode::decode(typed, self.untyped(body)?, "Scale").map_err(Status::bad_request)?.value,
                    };
                    managed::track_update(&target, Some(&view), &mut wanted, &manager);
                    wanted
                }
            };
            let mut wanted = wanted;
            let write = Admit::update(&self.path.name, &options);
            self.mutate(&write, &mut wanted, &view).await?;
            let new = subresources::with_scale(&self.resource, &old, &wanted, &|version| self.replicas_path(version))?;
            let attempt = self.attempt(Part::Other("scale"), new, &live, &old, &options, Tracking::Applied).await?;
            if let Attempt::Done(stored) = attempt {
                let scale = self.scale_of(&stored.value(self)?)?;
                return self.answer_object(200, &scale);
            }
        }
        Err(self.modified())
    }

    pub(crate) fn scale_of(&self, object: &Value) -> Result<Value, Status> {
        subresources::scale(&self.resource, object, &|version| self.replicas_path(version))
    }

    /// Where a version of this resource keeps its replicas.
    fn replicas_path(&self, api_version: &str) -> Option<Vec<String>> {
        let paths = self.versions().find(api_version)?.strategy.scale_paths()?;
        Some(paths.spec.split('/').skip(1).map(str::to_owned).collect())
    }

    async fn bind(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let mut binding = self.untyped(body)?;
        self.admit_new(&mut binding, &options).await?;
        for _ in 0..ATTEMPTS {
            let (live, old) = self.current()?;
            let new = subresources::bind(&old, &binding, self.now)?;
            if let Attempt::Done(_) =
                self.attempt(Part::Other("binding"), new, &live, &old, &options, Tracking::Update).await?
            {
                return Ok(success(201));
            }
        }
        Err(self.modified())
    }

    async fn evict(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let mut eviction = self.untyped(body)?;
        self.admit_new(&mut eviction, &options).await?;
        let (_, pod) = self.current()?;
        let named = super::meta::text(&eviction, "name");
        if !named.is_empty() && named != self.path.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let budgets = Lookup::list(self.api, "policy/poddisruptionbudgets", &self.path.namespace);
        if let subresources::Eviction::Spend(budget) = subresources::evict(&pod, &budgets, self.now)? {
            self.spend(&budget, options.dry_run).await?;
        }
        let preconditions = |field: &str| {
            eviction
                .pointer(&format!("/deleteOptions/preconditions/{field}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let delete = DeleteOptions {
            grace: eviction.pointer("/deleteOptions/gracePeriodSeconds").and_then(Value::as_i64),
            uid: preconditions("uid"),
            resource_version: preconditions("resourceVersion"),
            dry_run: options.dry_run,
            ..DeleteOptions::default()
        };
        self.delete_quietly(&self.path.name.clone(), &delete).await?;
        Ok(success(201))
    }

    /// Writes a budget that has one disruption less. Another eviction that was faster is a 429, as kube-apiserver answers.
    async fn spend(&self, budget: &Value, dry_run: bool) -> Result<(), Status> {
        if dry_run {
            return Ok(());
        }
        let storage = "policy/poddisruptionbudgets";
        let name = super::meta::text(budget, "name");
        let raced = || Status::new(429, "TooManyRequests", "Too many evictions at once: try again");
        let live = self.api.store.get(storage, &self.path.namespace, name).ok_or_else(raced)?;
        if super::meta::text(budget, "resourceVersion") != live.revision().to_string() {
            return Err(raced());
        }
        let value = Encoded::new(budget).map_err(|e| Status::internal(e.to_string()))?;
        let key = Key::new(storage, self.path.namespace.as_str(), name);
        let write = Write { key, expect: Expect::Revision(live.revision()), value: Some(value) };
        self.api.write(write).await?.map(|_| ()).map_err(|()| raced())
    }
}

fn success(code: u16) -> Answer {
    Answer::json(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}),
    )
}

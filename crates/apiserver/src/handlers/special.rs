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
            ("serviceaccounts", "token", Verb::Create) => self.request_token(body).await,
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
                    let config = body::untyped_yaml(body).await?;
                    managed::apply(&target, Some(&view), &config, &manager, force == Some(true))?
                }
                kind => {
                    let mut wanted = match kind {
                        Some(kind) => {
                            let patched = patch::apply_patch(kind, Some(typed), &view, body)?;
                            let decoded = decode::decode(typed, patched.object.clone(), "Scale");
                            decoded.map_err(|e| patched.undecodable(&e))?.value
                        }
                        None => {
                            let read = self.untyped(body).await?;
                            decode::decode(typed, read, "Scale").map_err(Status::bad_request)?.value
                        }
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
        let mut binding = self.untyped(body).await?;
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
        let mut eviction = self.untyped(body).await?;
        self.admit_new(&mut eviction, &options).await?;
        let named = super::meta::text(&eviction, "name");
        if !named.is_empty() && named != self.path.name {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let preconditions = |field: &str| {
            eviction
                .pointer(&format!("/deleteOptions/preconditions/{field}"))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        let asked = DeleteOptions {
            grace: eviction.pointer("/deleteOptions/gracePeriodSeconds").and_then(Value::as_i64),
            uid: preconditions("uid"),
            resource_version: preconditions("resourceVersion"),
            dry_run: options.dry_run,
            ..DeleteOptions::default()
        };
        // Whoever names a version wants that one and no other.
        let named_version = asked.resource_version.is_some();
        for _ in 0..ATTEMPTS {
            let (live, pod) = self.current()?;
            let mut delete = asked.clone();
            let as_read = asked.resource_version.clone().or_else(|| Some(live.revision().to_string()));
            let budgets = Lookup::list(self.api, "policy/poddisruptionbudgets", &self.path.namespace);
            let mut unhealthy = None;
            match subresources::evict(&pod, &budgets, self.now)? {
                subresources::Eviction::Uncounted | subresources::Eviction::Unguarded { may_recover: false } => {}
                subresources::Eviction::Unguarded { may_recover: true } => delete.resource_version = as_read,
                subresources::Eviction::Unhealthy { budget } => {
                    // It may have become ready meanwhile, or been evicted by somebody else.
                    delete.resource_version = Some(live.revision().to_string());
                    unhealthy = Some(budget);
                }
                subresources::Eviction::Spend(budget) => {
                    if !self.spend(&budget, options.dry_run).await? {
                        continue;
                    }
                }
            }
            let conditional = delete.resource_version.is_some();
            return match (self.delete_evicted(delete).await, unhealthy) {
                (Ok(()), _) => Ok(success(201)),
                (Err(status), Some(budget)) if status.code == 409 && !named_version => {
                    Err(subresources::not_settled(&budget))
                }
                (Err(status), None) if status.code == 409 && conditional && !named_version => continue,
                (Err(status), _) => Err(status),
            };
        }
        Err(self.modified())
    }

    /// Writes on the pod why it goes, then deletes it. Admission was asked about the eviction, and is not asked again.
    async fn delete_evicted(&mut self, mut options: DeleteOptions) -> Result<(), Status> {
        let name = self.path.name.clone();
        for _ in 0..ATTEMPTS {
            let (live, pod) = self.current()?;
            self.check_preconditions(&pod, &live, &options)?;
            let Some(told) = subresources::disrupted(&pod, self.now).filter(|_| !options.dry_run) else {
                return self.delete_quietly(&name, &options).await;
            };
            let value = Some(self.api.encode(&self.resource, &told)?);
            let write = Write { key: self.key(&name), expect: Expect::Revision(live.revision()), value };
            if let Ok(committed) = self.api.write(write).await? {
                if options.resource_version.is_some() {
                    options.resource_version = Some(committed.revision.to_string());
                }
                return self.delete_quietly(&name, &options).await;
            }
        }
        Err(self.modified())
    }

    /// Writes a budget that has one disruption less. `false`: another writer was faster.
    async fn spend(&self, budget: &Value, dry_run: bool) -> Result<bool, Status> {
        if dry_run {
            return Ok(true);
        }
        let storage = "policy/poddisruptionbudgets";
        let name = super::meta::text(budget, "name");
        let Some(live) = self.api.store.get(storage, &self.path.namespace, name) else { return Ok(false) };
        if super::meta::text(budget, "resourceVersion") != live.revision().to_string() {
            return Ok(false);
        }
        let value = Encoded::new(budget).map_err(|e| Status::internal(e.to_string()))?;
        let key = Key::new(storage, self.path.namespace.as_str(), name);
        let write = Write { key, expect: Expect::Revision(live.revision()), value: Some(value) };
        Ok(self.api.write(write).await?.is_ok())
    }
}

fn success(code: u16) -> Answer {
    Answer::json(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code}),
    )
}

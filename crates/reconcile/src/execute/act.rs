//! Carries explicit writes out: step by step, those of a step side by side within bounds. May touch the API server.

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams, Preconditions};
use serde_json::Value;

use super::Pass;
use crate::act::{Act, Outcome, Strategy, Verb};
use crate::context::Context;
use crate::error::{self, Dependency, Error};
use crate::object;

/// Requests of one step that are under way at once.
const WIDTH: usize = 16;

/// What the server made of an act: the object as it is now, or nothing when it is gone.
type Answer = Option<DynamicObject>;

impl Pass<'_> {
    /// Carries out the steps in their order. A step that failed ends the pass for the rest; the error is that of its first
    /// act that failed.
    pub(super) async fn acts(&mut self, steps: &[Vec<Act>]) -> Result<(), Error> {
        for step in steps.iter().filter(|step| !step.is_empty()) {
            self.about_to_write().await?;
            self.step(step).await?;
        }
        Ok(())
    }

    /// Creations start slowly (1, 2, 4 …) and stop at the first failure, so that a quota is not asked a hundred times; anything
    /// else is tried for every object.
    async fn step(&mut self, step: &[Act]) -> Result<(), Error> {
        let creates = step.iter().any(|act| matches!(act.verb, Verb::Create(_)));
        let (mut rest, mut size) = (step, if creates { 1 } else { step.len() });
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            let cx = self.cx;
            let asked: Vec<BoxFuture<'_, _>> = batch.iter().map(|act| send(cx, act).boxed()).collect();
            let answers: Vec<_> = futures::stream::iter(asked).buffered(WIDTH).collect().await;
            let mut failure = None;
            for (act, answer) in batch.iter().zip(answers) {
                if let Err(error) = self.outcome(act, answer).await {
                    failure.get_or_insert(error);
                }
            }
            if let Some(failure) = failure {
                return Err(failure);
            }
            (rest, size) = (later, size.saturating_mul(2));
        }
        Ok(())
    }

    async fn outcome(&mut self, act: &Act, answer: Result<Answer, kube::Error>) -> Result<(), Error> {
        let target = &act.target;
        let event = match answer {
            Ok(answer) => {
                self.counted(&act.verb);
                let object = match answer {
                    Some(object) => {
                        let name = object.metadata.name.clone().unwrap_or_default();
                        let target = target.kind.named(target.namespace.as_deref(), name);
                        let noted = self.noted(&target, &object)?;
                        if object.metadata.deletion_timestamp.is_some() && !lingers(&object) {
                            // The last finalizer was taken off: this is what it was.
                            self.cx.note_deleted(&target, object::uid(&noted));
                        }
                        noted
                    }
                    None => {
                        if let Verb::Delete { uid, .. } = &act.verb {
                            self.cx.note_deleted(target, uid);
                        }
                        Value::Null.into()
                    }
                };
                tracing::debug!(controller = self.controller, %target, verb = name(&act.verb), "done");
                act.report(Outcome::Done(&object))
            }
            Err(error) if is_needless(act, &error) => {
                if let Verb::Delete { uid, .. } = &act.verb {
                    self.cx.note_deleted(target, uid);
                }
                None
            }
            Err(error) => {
                let error = Error::plain(&error, target);
                let ends = matches!(&error, Error::Waiting { on, .. } if matches!(**on, Dependency::Object(_)));
                if !ends && let Some(event) = act.report(Outcome::Failed(error.message())) {
                    self.event(&event).await;
                }
                return Err(error);
            }
        };
        if let Some(event) = event {
            self.event(&event).await;
        }
        Ok(())
    }

    fn counted(&mut self, verb: &Verb) {
        self.count(name(verb));
        match verb {
            Verb::Create(_) => self.writes.created += 1,
            Verb::Update { .. } | Verb::Patch { .. } => self.writes.updated += 1,
            Verb::Delete { .. } => self.writes.deleted += 1,
        }
    }
}

fn name(verb: &Verb) -> &'static str {
    match verb {
        Verb::Create(_) => "created",
        Verb::Update { .. } | Verb::Patch { .. } => "updated",
        Verb::Delete { .. } => "deleted",
    }
}

/// Whether there is nothing left to do: what was to be changed or deleted does not exist, or is another one by now; what was to
/// be there is.
fn is_needless(act: &Act, error: &kube::Error) -> bool {
    match &act.verb {
        Verb::Create(_) => act.unless_there && error::is_taken(error),
        Verb::Update { .. } | Verb::Patch { .. } => error::is_absent(error),
        Verb::Delete { resource_version, .. } => {
            let other = matches!(error, kube::Error::Api(status) if status.code == 409) && resource_version.is_none();
            error::is_absent(error) || other
        }
    }
}

async fn send(cx: &Context, act: &Act) -> Result<Answer, kube::Error> {
    let target = &act.target;
    let api = target.kind.api(cx.client.clone(), target.namespace.as_deref());
    let manager = Some(cx.identity.field_manager.clone());
    let typed = |body: &Value| serde_json::from_value::<DynamicObject>(body.clone()).map_err(kube::Error::SerdeError);
    let post = PostParams { field_manager: manager.clone(), ..Default::default() };
    match &act.verb {
        Verb::Create(body) => api.create(&post, &typed(body)?).await.map(Some),
        Verb::Update { body, subresource: None } => api.replace(&target.name, &post, &typed(body)?).await.map(Some),
        Verb::Update { body, subresource: Some(part) } => {
            api.replace_subresource(part, &target.name, &post, body).await.map(Some)
        }
        Verb::Patch { body, strategy, subresource } => {
            let force = *strategy == Strategy::Apply;
            let params = PatchParams { field_manager: manager, force, ..Default::default() }.validation_strict();
            let patch = match strategy {
                Strategy::Merge => Patch::Merge(body),
                Strategy::Strategic => Patch::Strategic(body),
                Strategy::Apply => Patch::Apply(body),
            };
            match subresource {
                None => api.patch(&target.name, &params, &patch).await,
                Some(part) => api.patch_subresource(part, &target.name, &params, &patch).await,
            }
            .map(Some)
        }
        Verb::Delete { uid, resource_version, grace, propagation } => {
            let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: resource_version.clone() };
            let params = DeleteParams {
                grace_period_seconds: *grace,
                propagation_policy: propagation.clone(),
                preconditions: Some(preconditions),
                ..Default::default()
            };
            let answer = api.delete(&target.name, &params).await?;
            // The answer is the object as it was: of one that is gone at once, too.
            Ok(match answer.left() {
                Some(left) if lingers(&left) => Some(left),
                _ => None,
            })
        }
    }
}

/// Whether a deleted object is still there: held by finalizers or by its grace period.
fn lingers(object: &DynamicObject) -> bool {
    let metadata = &object.metadata;
    let held = metadata.finalizers.as_ref().is_some_and(|held| !held.is_empty());
    let grace = metadata.deletion_grace_period_seconds.is_some_and(|seconds| seconds > 0);
    metadata.deletion_timestamp.is_some() && (held || grace)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn refused(code: u16, reason: &str) -> kube::Error {
        let status = json!({"code": code, "reason": reason, "details": {"name": "a"}});
        kube::Error::Api(serde_json::from_value(status).expect("a status"))
    }

    #[test]
    fn what_others_made_meanwhile_is_a_success_only_for_who_says_so() {
        let create = Act::create(&ConfigMap::default()).expect("an act");
        assert!(!is_needless(&create, &refused(409, "AlreadyExists")));
        assert!(is_needless(&create.clone().unless_there(), &refused(409, "AlreadyExists")));
        assert!(!is_needless(&create.unless_there(), &refused(409, "Conflict")));
    }
}

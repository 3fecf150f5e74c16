//! Webhooks: other servers that may change or refuse a write. Calls out over HTTPS; reads the store.
//!
//! | module | what it is for |
//! |---|---|
//! | `review` | the question and the answer, pure |
//! | `trust` | whose certificate is believed |
//! | `client` | one call |
//!
//! The rules are those of `k8s.io/apiserver/pkg/admission/plugin/webhook`.

mod client;
mod review;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::Instant;

use super::conditions::{self, Match};
use super::expressions::{Bindings, CONDITIONS_BUDGET, Compiled, Compiler, Purpose, Run, Scope};
use super::reinvocation::Reinvocation;
use super::rules::{self, Rule, Selectors};
use super::{Attributes, convert, request};
use crate::kinds::at::At;
use crate::patch;
use crate::resource::Resource;
use crate::status::Status;
use client::Endpoint;
use review::{Unusable, Version};

/// One entry of `webhooks`.
pub(crate) struct Webhook {
    name: String,
    /// Unique over all configurations.
    id: String,
    rules: Vec<Rule>,
    exact: bool,
    selectors: Selectors,
    conditions: Vec<Compiled>,
    /// A call that fails refuses the write.
    fail_closed: bool,
    timeout: Duration,
    /// `sideEffects` is `None` or `NoneOnDryRun`.
    harmless: bool,
    reinvocable: bool,
    mutating: bool,
    version: Option<Version>,
    endpoint: Endpoint,
}

/// Why a webhook did not let a write pass.
enum Failure {
    /// It could not be asked: `failurePolicy` decides.
    Call(String),
    /// It said no, or its patch is impossible.
    Refused(Status),
}

impl Webhook {
    /// The webhooks of a stored configuration.
    pub(crate) fn of(configuration: &Value, mutating: bool) -> Vec<Arc<Self>> {
        let named = configuration.str_at("/metadata/name");
        let one = |(index, webhook): (usize, &Value)| {
            let name = webhook.str_at("/name");
            let seconds = webhook.int_at("/timeoutSeconds").and_then(|s| u64::try_from(s).ok()).unwrap_or(10);
            Arc::new(Self {
                name: name.to_owned(),
                id: format!("{named}/{name}/{index}"),
                rules: Rule::all(webhook.list_at("/rules")),
                exact: webhook.str_at("/matchPolicy") == "Exact",
                selectors: Selectors::of(webhook),
                conditions: conditions(webhook),
                fail_closed: webhook.str_at("/failurePolicy") != "Ignore",
                timeout: Duration::from_secs(seconds),
                harmless: matches!(webhook.str_at("/sideEffects"), "None" | "NoneOnDryRun"),
                reinvocable: webhook.str_at("/reinvocationPolicy") == "IfNeeded",
                mutating,
                version: Version::of(webhook.list_at("/admissionReviewVersions")),
                endpoint: Endpoint::of(webhook.at("/clientConfig")),
            })
        };
        configuration.list_at("/webhooks").iter().enumerate().map(one).collect()
    }

    /// The resource under which the write is this webhook's business.
    fn concerns(&self, a: &Attributes<'_>) -> Result<Option<Arc<Resource>>, Status> {
        let Some(resource) = rules::matched(&self.rules, self.exact, a) else { return Ok(None) };
        if !self.selectors.match_write(a)? {
            return Ok(None);
        }
        Ok(self.conditions_hold(a, &resource)?.then_some(resource))
    }

    fn conditions_hold(&self, a: &Attributes<'_>, resource: &Resource) -> Result<bool, Status> {
        if self.conditions.is_empty() {
            return Ok(true);
        }
        let (object, old) = (convert(a, &a.object, resource), convert(a, a.old, resource));
        let request = request::request(a, resource);
        let bindings = Bindings::of(a, &object, &old, &request, &Value::Null, &Value::Null);
        match conditions::judge(&self.conditions, &mut Run::new(&bindings, &[], CONDITIONS_BUDGET)) {
            Match::Yes => Ok(true),
            Match::No => Ok(false),
            Match::Unclear(why) if self.fail_closed => {
                Err(Status::forbidden(&a.resource.group, &a.resource.plural, a.name, &why))
            }
            Match::Unclear(why) => {
                tracing::warn!(webhook = %self.name, %why, "failed evaluating match conditions, failing open");
                Ok(false)
            }
        }
    }

    /// Asks. The patch, when there is one to apply.
    async fn ask(&self, a: &Attributes<'_>, resource: &Resource) -> Result<Option<Value>, Failure> {
        if a.dry_run && !self.harmless {
            let why = format!("admission webhook {:?} does not support dry run", self.name);
            return Err(Failure::Refused(Status::bad_request(why)));
        }
        let Some(version) = self.version else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Err(Failure::Call(why.to_owned()));
        };
        let left = a.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Refused(overdue()));
        }
        let uid = uuid::Uuid::new_v4().to_string();
        let (object, old) = (convert(a, &a.object, resource), convert(a, a.old, resource));
        let question = review::question(version, &uid, a, resource, &object, &old);
        let body = question.to_string().into();
        let answer = self.endpoint.post(body, self.timeout.min(left), a.api).await.map_err(Failure::Call)?;
        let verdict = review::verdict(version, &uid, self.mutating, &answer).map_err(|unusable| {
            Failure::Call(match unusable {
                Unusable::Garbled(why) => format!("failed to call webhook: {why}"),
                Unusable::Invalid(why) => format!("received invalid webhook response: {why}"),
            })
        })?;
        for warning in verdict.warnings {
            a.warn(warning);
        }
        if !verdict.allowed {
            return Err(Failure::Refused(review::denial(&self.name, &verdict.status)));
        }
        if verdict.patch.is_empty() {
            return Ok(None);
        }
        let patch: Value = serde_json::from_slice(&verdict.patch)
            .map_err(|error| Failure::Call(format!("received undecodable patch in webhook response: {error}")))?;
        if patch.as_array().is_some_and(Vec::is_empty) || patch.is_null() {
            return Ok(None);
        }
        if a.object.is_null() {
            let why = format!(
                "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                self.name
            );
            return Err(Failure::Refused(Status::internal(why)));
        }
        if verdict.patch_type != "JSONPatch" {
            return Err(Failure::Call(format!("unsupported patch type {:?}", verdict.patch_type)));
        }
        patch::patched_by_webhook(&object, patch).map(Some).map_err(|why| Failure::Refused(Status::internal(why)))
    }

    /// What a failed call means for the write.
    fn failed(&self, why: &str) -> Result<(), Status> {
        if self.fail_closed {
            return Err(Status::internal(format!("failed calling webhook {:?}: {why}", self.name)));
        }
        tracing::warn!(webhook = %self.name, %why, "failed calling webhook, failing open");
        Ok(())
    }
}

fn conditions(webhook: &Value) -> Vec<Compiled> {
    let compiler = Compiler::new(Scope { params: false, authorizer: true, patches: false });
    let one = |condition: &Value| compiler.keep(condition.str_at("/expression"), Purpose::Condition);
    webhook.list_at("/matchConditions").iter().map(one).collect()
}

/// Reads an answer as every kind of webhook does: what is told of a denial is an error, and who only validates changes
/// nothing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_any(answer: &[u8]) {
    for version in [Version::V1, Version::V1Beta1] {
        for mutating in [false, true] {
            let Ok(verdict) = review::verdict(version, "u", mutating, answer) else { continue };
            assert!(mutating || verdict.patch.is_empty());
            let status = review::denial("w", &verdict.status);
            assert!(status.code >= 400 && !status.message.is_empty());
        }
    }
}

fn overdue() -> Status {
    Status::new(504, "Timeout", "Timeout: request did not complete within requested timeout")
}

/// Asks the mutating webhooks one after the other; each sees what those before it did.
pub(super) async fn mutate(
    a: &mut Attributes<'_>,
    webhooks: &[Arc<Webhook>],
    round: &mut Reinvocation,
) -> Result<(), Status> {
    if round.again {
        round.webhooks.resume(&a.object);
    }
    let outcome = mutate_in_order(a, webhooks, round).await;
    round.webhooks.leave(&a.object);
    outcome
}

async fn mutate_in_order(
    a: &mut Attributes<'_>,
    webhooks: &[Arc<Webhook>],
    round: &mut Reinvocation,
) -> Result<(), Status> {
    for webhook in webhooks {
        let Some(resource) = webhook.concerns(a)? else { continue };
        if round.again && !round.webhooks.is_due(&webhook.id) {
            continue;
        }
        let asked = webhook.ask(a, &resource).await;
        let (changed, outcome) = match asked {
            Ok(None) => (false, Ok(())),
            Ok(Some(patched)) => match a.accept(patched, &resource) {
                Ok(changed) => (changed, Ok(())),
                Err(why) => (false, Err(Status::internal(why))),
            },
            Err(Failure::Call(why)) => (false, webhook.failed(&why)),
            Err(Failure::Refused(status)) => (false, Err(status)),
        };
        if changed {
            round.webhooks.changed();
            round.wanted = true;
        }
        if webhook.reinvocable {
            round.webhooks.asked(&webhook.id);
        }
        outcome?;
    }
    Ok(())
}

/// Asks the validating webhooks all at once; the first in order that refuses is the answer.
pub(super) async fn validate(a: &Attributes<'_>, webhooks: &[Arc<Webhook>]) -> Result<(), Status> {
    let mut concerned = Vec::new();
    for webhook in webhooks {
        if let Some(resource) = webhook.concerns(a)? {
            concerned.push((webhook, resource));
        }
    }
    let answers = join_all(concerned.iter().map(|(webhook, resource)| webhook.ask(a, resource))).await;
    for ((webhook, _), answer) in concerned.iter().zip(answers) {
        match answer {
            Ok(_) => {}
            Err(Failure::Call(why)) => webhook.failed(&why)?,
            Err(Failure::Refused(status)) => return Err(status),
        }
    }
    Ok(())
}

//! ValidatingAdmissionPolicy: conditions that a write must meet.

use serde_json::Value;

use super::stored::{Rules, Validation};
use super::{Bound, Invocation, invocations, namespace_object};
use crate::admission::conditions::{self, Match};
use crate::admission::expressions::{BUDGET, Bindings, CONDITIONS_BUDGET, Run, Stopped};
use crate::admission::{Attributes, convert, request};
use crate::status::{Details, Status};

/// The longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;

/// Why a write is refused.
struct Denial {
    /// Empty: `Invalid`.
    reason: String,
    message: String,
    /// It refuses whatever the binding says is to be done.
    always: bool,
}

impl Denial {
    /// An error, under a policy that fails closed.
    fn error(message: String) -> Self {
        Self { reason: String::new(), message, always: false }
    }
}

/// Evaluates all policies that are about the write. The first denial is the answer; warnings are added on the way.
pub(in crate::admission) fn validate(a: &Attributes<'_>, bound: &[Bound]) -> Result<(), Status> {
    let (invocations, wrong) = invocations(a, bound);
    let mut denied = Vec::new();
    for wrong in wrong {
        let with = wrong.binding.map(|binding| format!(" with binding '{}'", binding.name)).unwrap_or_default();
        let name = &wrong.policy.name;
        let message = format!("ValidatingAdmissionPolicy '{name}'{with} denied request: {}", wrong.why);
        denied.push((wrong.policy.name.as_str(), Denial::error(message)));
    }
    let namespace = if invocations.is_empty() { Value::Null } else { namespace_object(a)? };
    for invocation in &invocations {
        let Invocation { policy, binding, .. } = invocation;
        for denial in evaluate(a, invocation, &namespace) {
            let (policy, binding_name) = (&policy.name, &binding.name);
            if binding.warn && !denial.always {
                a.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}': {}",
                    denial.message
                ));
            }
            if binding.deny || denial.always {
                let message = format!(
                    "ValidatingAdmissionPolicy '{policy}' with binding '{binding_name}' denied request: {}",
                    denial.message
                );
                denied.push((policy, Denial { message, ..denial }));
            }
        }
    }
    // Policies are asked in the order of their names, whatever went wrong with them.
    match denied.into_iter().min_by_key(|(policy, _)| *policy) {
        Some((_, denial)) => Err(refusal(a, denial)),
        None => Ok(()),
    }
}

fn refusal(a: &Attributes<'_>, denial: Denial) -> Status {
    let Denial { reason, message, .. } = denial;
    let reason = if reason.is_empty() { "Invalid".to_owned() } else { reason };
    let mut status = a.forbidden(&message);
    status.code = match reason.as_str() {
        "Forbidden" => 403,
        "Unauthorized" => 401,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = reason.into();
    let details = status.details.get_or_insert_with(|| Box::new(Details::default()));
    details.causes.push((String::new(), message, String::new()));
    status
}

/// What one policy with one binding and one `params` holds against the write.
fn evaluate(a: &Attributes<'_>, invocation: &Invocation<'_>, namespace: &Value) -> Vec<Denial> {
    let policy = invocation.policy;
    let Rules::Validating { validations, annotations } = &policy.rules else { return Vec::new() };
    let (object, old) = (convert(a, &a.object, &invocation.resource), convert(a, a.old, &invocation.resource));
    let request = request::request(a, &invocation.resource);
    let bindings = Bindings::of(a, &object, &old, &request, namespace, &invocation.params);
    let error = |message: String| if policy.fail_closed { vec![Denial::error(message)] } else { Vec::new() };
    if !policy.conditions.is_empty() {
        let mut run = Run::new(&bindings, &[], CONDITIONS_BUDGET);
        match conditions::judge(&policy.conditions, &mut run) {
            Match::Yes => {}
            Match::No => return Vec::new(),
            Match::Unclear(why) => return error(why),
        }
    }
    let mut run = Run::new(&bindings, &policy.variables, BUDGET);
    let mut outcomes = Vec::with_capacity(validations.len());
    for validation in validations {
        match run.holds(&validation.condition) {
            Err(Stopped::OutOfBudget(why)) => return error(why),
            outcome => outcomes.push(outcome),
        }
    }
    // Messages are made whether they are needed or not, as kube-apiserver does: their cost counts.
    let mut denials = Vec::new();
    let mut exhausted: Option<String> = None;
    for (validation, outcome) in validations.iter().zip(outcomes) {
        let made = match (&validation.message_expression, &exhausted) {
            (Some(expression), None) => match run.evaluate(expression) {
                Ok(paddock_cel::Value::String(text)) => Some(text.trim().to_owned()),
                Err(Stopped::OutOfBudget(why)) => {
                    exhausted = Some(why);
                    None
                }
                _ => None,
            },
            _ => None,
        };
        match outcome {
            Ok(true) => {}
            Ok(false) => denials.push(Denial {
                reason: validation.reason.clone(),
                message: message(validation, made),
                always: false,
            }),
            Err(stopped) if policy.fail_closed => denials.push(Denial::error(stopped.into_text())),
            Err(_) => {}
        }
    }
    if let Some(why) = exhausted {
        return error(format!("failed messageExpression: {why}"));
    }
    if policy.fail_closed {
        // Nothing is published here, but a value that cannot be made refuses all the same.
        let mut run = Run::new(&bindings, &policy.variables, BUDGET);
        for annotation in annotations {
            if let Err(stopped) = run.evaluate(annotation) {
                denials.push(Denial { always: true, ..Denial::error(stopped.into_text()) });
            }
        }
    }
    denials
}

/// The text of a denial: what the expression made, else the one given, else the condition itself.
fn message(validation: &Validation, made: Option<String>) -> String {
    let made = made.filter(|text| !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n'));
    let given = || Some(validation.message.clone()).filter(|text| !text.is_empty());
    made.or_else(given).unwrap_or_else(|| format!("failed expression: {}", validation.condition.source.trim()))
}

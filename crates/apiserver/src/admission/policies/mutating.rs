//! MutatingAdmissionPolicy: expressions whose values change a write, by merging or by JSON patch.

use paddock_cel::Value as Cel;
use serde_json::{Value, json};

use super::stored::{Mutation, Rules};
use super::{Bound, Invocation, invocations, namespace_object};
use crate::admission::conditions::{self, Match};
use crate::admission::expressions::{BUDGET, Bindings, CONDITIONS_BUDGET, Compiled, Run};
use crate::admission::reinvocation::Reinvocation;
use crate::admission::{Attributes, convert, request};
use crate::patch;
use crate::patch::managed;
use crate::resource::Resource;
use crate::schema::Typed;
use crate::status::{Details, Status};

/// Evaluates the policies that are about the write one after the other; each sees what those before it did.
pub(in crate::admission) fn mutate(
    a: &mut Attributes<'_>,
    bound: &[Bound],
    round: &mut Reinvocation,
) -> Result<(), Status> {
    let (invocations, wrong) = invocations(a, bound);
    let mut failures: Vec<(String, &'static str)> = Vec::new();
    for wrong in wrong {
        let name = &wrong.policy.name;
        failures.push(match wrong.binding {
            Some(binding) => {
                (format!("policy '{name}' with binding '{}' denied request: {}", binding.name, wrong.why), "")
            }
            None => (format!("policy {name:?} denied request: {}", wrong.why), ""),
        });
    }
    if !invocations.is_empty() {
        if round.again {
            round.policies.resume(&a.object);
        }
        let namespace = namespace_object(a)?;
        for invocation in &invocations {
            if let Err(why) = invoke(a, invocation, &namespace, round)
                && invocation.policy.fail_closed
            {
                let (policy, binding) = (&invocation.policy.name, &invocation.binding.name);
                failures.push((format!("policy '{policy}' with binding '{binding}' denied request: {why}"), "Invalid"));
            }
        }
        round.policies.leave(&a.object);
    }
    let Some((message, reason)) = failures.first().cloned() else { return Ok(()) };
    let mut status = a.forbidden("");
    status.message = message;
    if !reason.is_empty() {
        status.reason = reason.into();
    }
    let details = status.details.get_or_insert_with(|| Box::new(Details::default()));
    details.causes = failures.into_iter().map(|(message, _)| (String::new(), message, String::new())).collect();
    Err(status)
}

fn invoke(
    a: &mut Attributes<'_>,
    invocation: &Invocation<'_>,
    namespace: &Value,
    round: &mut Reinvocation,
) -> Result<(), String> {
    let policy = invocation.policy;
    let Rules::Mutating { mutations, reinvocable } = &policy.rules else { return Ok(()) };
    let request = request::request(a, &invocation.resource);
    if !policy.conditions.is_empty() {
        let (object, old) = (convert(a, &a.object, &invocation.resource), convert(a, a.old, &invocation.resource));
        let bindings = Bindings::of(a, &object, &old, &request, namespace, &invocation.params);
        match conditions::judge(&policy.conditions, &mut Run::new(&bindings, &[], CONDITIONS_BUDGET)) {
            Match::Yes => {}
            Match::No => return Ok(()),
            Match::Unclear(why) => return Err(why),
        }
    }
    let metadata = invocation.params.get("metadata");
    let param = |field: &str| metadata.and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default();
    let id = format!("{}/{}/{}/{}", policy.name, invocation.binding.name, param("namespace"), param("name"));
    if round.again && !round.policies.is_due(&id) {
        return Ok(());
    }
    let mut changed = false;
    let mut failed = None;
    for mutation in mutations {
        if a.object.is_null() {
            // Nothing is left of an object that is deleted.
            break;
        }
        match step(a, invocation, mutation, namespace, &request) {
            Ok(differs) => changed |= differs,
            Err(why) => {
                failed.get_or_insert(why);
            }
        }
    }
    if changed {
        round.policies.changed();
        round.wanted = true;
    }
    if *reinvocable {
        round.policies.asked(&id);
    }
    failed.map_or(Ok(()), Err)
}

/// One mutation; whether the object changed.
fn step(
    a: &mut Attributes<'_>,
    invocation: &Invocation<'_>,
    mutation: &Mutation,
    namespace: &Value,
    request: &Value,
) -> Result<bool, String> {
    let resource = &invocation.resource;
    let (object, old) = (convert(a, &a.object, resource), convert(a, a.old, resource));
    let changed = {
        let bindings = Bindings::of(a, &object, &old, request, namespace, &invocation.params);
        let mut run = Run::new(&bindings, &invocation.policy.variables, BUDGET);
        match mutation {
            Mutation::Apply(expression) => merged(&mut run, expression, resource, &object)?,
            Mutation::JsonPatch(expression) => patched(&mut run, expression, &object)?,
        }
    };
    a.accept(changed, resource)
}

fn merged(run: &mut Run<'_>, expression: &Compiled, resource: &Resource, object: &Value) -> Result<Value, String> {
    let value = run.evaluate(expression).map_err(crate::admission::expressions::Stopped::into_text)?;
    check_names(&value, "Object").map_err(|why| format!("type mismatch: {why}"))?;
    let mut configuration = value.to_json().map_err(|error| error.to_string())?;
    if !configuration.is_object() {
        return Err("unsupported return type from ApplyConfiguration expression".to_owned());
    }
    for field in ["apiVersion", "kind"] {
        configuration[field] = object[field].clone();
    }
    let schema = Typed::new(&resource.definitions, &resource.schema);
    managed::merge_configuration(schema, object, &configuration).map_err(|why| format!("error applying patch: {why}"))
}

/// The names of constructed objects must be those of the fields that they are put in: `Object{spec: Object.spec{…}}`.
fn check_names(value: &Cel<'_>, path: &str) -> Result<(), String> {
    let Cel::Object(object) = value else {
        return match value {
            Cel::List(list) => list.iter().filter_map(Result::ok).try_for_each(|value| check_names(&value, path)),
            Cel::Map(map) => map.iter().filter_map(Result::ok).try_for_each(|(_, value)| check_names(&value, path)),
            _ => Ok(()),
        };
    };
    let name = object.ty().name();
    if name != path {
        return Err(format!(
            "unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
        ));
    }
    let fields = object.built_fields().into_iter().flatten();
    fields.into_iter().try_for_each(|(field, value)| check_names(value, &format!("{path}.{field}")))
}

fn patched(run: &mut Run<'_>, expression: &Compiled, object: &Value) -> Result<Value, String> {
    let value = run.evaluate(expression).map_err(crate::admission::expressions::Stopped::into_text)?;
    let Cel::List(list) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".to_owned());
    };
    let mut operations = Vec::new();
    for operation in list.iter() {
        let operation = operation.map_err(|error| error.to_string())?;
        let Cel::Object(fields) = &operation else {
            return Err("type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch".to_owned());
        };
        let mut made = json!({});
        for field in ["op", "path", "from", "value"] {
            let Some(value) = fields.get(field).map_err(|error| error.to_string())? else { continue };
            if let Cel::Object(object) = &value {
                check_names(&value, object.ty().name()).map_err(|why| format!("type mismatch: {why}"))?;
            }
            made[field] = value.to_json().map_err(|error| {
                format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
            })?;
        }
        operations.push(made);
    }
    patch::patched_by_policy(object, operations.into()).map_err(|why| format!("JSONPath: {why}"))
}

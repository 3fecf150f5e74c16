//! What of a pod may change after it was made.

use serde_json::{Value, json};

use super::super::at::At;
use super::super::checks::{Errors, hold};
use crate::field::FieldError;
use crate::resource::Part;

const MUTABLE: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
     `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
     `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// Errors of a change to a pod.
pub(super) fn validate(new: &Value, old: &Value, part: Part) -> Errors {
    match part {
        Part::Status => {
            let (now, before) = (new.at("/spec/nodeName"), old.at("/spec/nodeName"));
            hold(now == before, "status.nodeName", now, "may not be changed directly").into_iter().collect()
        }
        Part::Main => {
            let mut errors = super::validate(new);
            errors.extend(spec_change(new.at("/spec"), old.at("/spec")));
            errors
        }
        Part::Other("ephemeralcontainers") => {
            let mut errors = super::validate(new);
            let now = new.list_at("/spec/ephemeralContainers");
            for container in old.list_at("/spec/ephemeralContainers") {
                let field = "spec.ephemeralContainers";
                let name = container.str_at("/name");
                match now.iter().find(|c| c.str_at("/name") == name) {
                    None => errors.push(FieldError::forbidden(
                        field,
                        &format!("existing ephemeral containers {name:?} may not be removed\n"),
                    )),
                    Some(same) if same != container => errors.push(FieldError::forbidden(
                        field,
                        &format!("existing ephemeral containers {name:?} may not be changed\n"),
                    )),
                    Some(_) => {}
                }
            }
            errors
        }
        Part::Other(_) => super::validate(new),
    }
}

/// Takes all but the part that a subresource writes from the stored pod.
pub(super) fn isolate(new: &mut Value, old: &Value, part: &str) {
    let mut kept = old.clone();
    match part {
        "ephemeralcontainers" => {
            if let Some(list) = new.remove_at("/spec/ephemeralContainers") {
                kept.set_at("/spec/ephemeralContainers", list);
            }
        }
        "resize" => {
            for list in ["/spec/containers", "/spec/initContainers"] {
                for container in kept.list_mut_at(list) {
                    let same = new.list_at(list).iter().find(|c| c.str_at("/name") == container.str_at("/name"));
                    if let Some(same) = same {
                        container.set_at("/resources", same.at("/resources").clone());
                        if same.has("/resizePolicy") {
                            container.set_at("/resizePolicy", same.at("/resizePolicy").clone());
                        }
                    }
                }
            }
        }
        // Binding and eviction have made their own change.
        _ => return,
    }
    kept.set_at("/metadata", new.at("/metadata").clone());
    *new = kept;
}

fn spec_change(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for list in ["containers", "initContainers"] {
        if new.list_at(&format!("/{list}")).len() != old.list_at(&format!("/{list}")).len() {
            let detail = "pod updates may not add or remove containers";
            errors.push(FieldError::forbidden(format!("spec.{list}"), detail));
            return errors;
        }
    }
    const DEADLINE: &str = "spec.activeDeadlineSeconds";
    match (new.int_at("/activeDeadlineSeconds"), old.int_at("/activeDeadlineSeconds")) {
        (Some(now), Some(before)) if now > before => {
            let detail = "must be less than or equal to previous value";
            errors.push(FieldError::invalid(DEADLINE, &json!(now), detail));
            return errors;
        }
        (None, Some(_)) => {
            let detail = "must not update from a positive integer to nil value";
            errors.push(FieldError::invalid(DEADLINE, &Value::Null, detail));
            return errors;
        }
        _ => {}
    }
    errors.extend(tolerations(new.list_at("/tolerations"), old.list_at("/tolerations")));
    for gate in new.list_at("/schedulingGates") {
        if !old.list_at("/schedulingGates").contains(gate) {
            let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", gate.str_at("/name"));
            errors.push(FieldError::forbidden("spec.schedulingGates", &detail));
        }
    }
    let mut masked = new.clone();
    for list in ["/containers", "/initContainers"] {
        for (container, before) in masked.list_mut_at(list).iter_mut().zip(old.list_at(list)) {
            take(container, before, "/image");
        }
    }
    for field in ["/activeDeadlineSeconds", "/tolerations", "/schedulingGates"] {
        take(&mut masked, old, field);
    }
    let grace = "/terminationGracePeriodSeconds";
    if new.int_at(grace) == Some(1) && old.int_at(grace).is_some_and(|seconds| seconds < 0) {
        take(&mut masked, old, grace);
    }
    if !old.list_at("/schedulingGates").is_empty() {
        // A gated pod's choice of nodes may still be narrowed.
        let kept = |(key, value): (&String, &Value)| new.at("/nodeSelector").get(key) == Some(value);
        if old.map_at("/nodeSelector").into_iter().flatten().all(kept) {
            take(&mut masked, old, "/nodeSelector");
        }
        take(&mut masked, old, "/affinity/nodeAffinity");
        if !old.has("/affinity") {
            take(&mut masked, old, "/affinity");
        }
    }
    if &masked != old {
        errors.push(FieldError::forbidden("spec", MUTABLE));
    }
    errors
}

fn tolerations(new: &[Value], old: &[Value]) -> Option<FieldError> {
    let same = |a: &Value, b: &Value| {
        ["/key", "/operator", "/value", "/effect"].into_iter().all(|field| a.str_at(field) == b.str_at(field))
    };
    let kept = old.iter().all(|before| new.iter().any(|now| same(now, before)));
    let detail = "existing toleration can not be modified except its tolerationSeconds";
    (!kept).then(|| FieldError::forbidden("spec.tolerations", detail))
}

/// Makes a field what it was, absent included.
pub(in super::super) fn take(new: &mut Value, old: &Value, pointer: &str) {
    if old.has(pointer) {
        new.set_at(pointer, old.at(pointer).clone());
    } else {
        new.remove_at(pointer);
    }
}

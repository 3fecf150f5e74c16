//! ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings.
//!
//! The rules are those of `pkg/apis/admissionregistration/validation`.

use paddock_cel::is_identifier;
use serde_json::{Value, json};

use super::admission_rules::{compiles, match_conditions, match_resources};
use super::at::At;
use super::checks::{Errors, label_selector, named, one_of, required, required_name, required_one_of};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::admission::expressions::{Compiler, Purpose, Scope};
use crate::field::FieldError;

/// Most audit annotations of a policy.
const MAX_ANNOTATIONS: usize = 20;
/// Most bytes of the expression of one.
const MAX_ANNOTATION: usize = 5 * 1024;

/// Most variables of a policy. kube-apiserver has no such bound: the size of a request is its only one.
const MAX_VARIABLES: usize = 1000;

pub(super) const VALIDATING: Rules = Rules {
    columns: || tables::columns(tables::VALIDATING_POLICY),
    cells: tables::validating_policy,
    generation: true,
    default: |obj| policy_defaults(obj, "/spec/matchConstraints"),
    validate_create: |obj, _| validating(obj, None),
    validate_update: |new, old, part, _| match part {
        crate::resource::Part::Main => validating(new, Some(old)),
        _ => status(new),
    },
    ..Rules::PLAIN
};

pub(super) const MUTATING: Rules = Rules {
    columns: || tables::columns(tables::MUTATING_POLICY),
    cells: tables::mutating_policy,
    default: |obj| policy_defaults(obj, "/spec/matchConstraints"),
    validate_create: |obj, _| mutating(obj, None),
    validate_update: |new, old, _, _| mutating(new, Some(old)),
    ..VALIDATING
};

pub(super) const VALIDATING_BINDING: Rules = Rules {
    columns: || tables::columns(tables::POLICY_BINDING),
    cells: tables::policy_binding,
    default: |obj| resources_defaults(obj, "/spec/matchResources"),
    validate_create: |obj, _| validating_binding(obj),
    validate_update: |new, _, _, _| validating_binding(new),
    ..VALIDATING
};

pub(super) const MUTATING_BINDING: Rules = Rules {
    columns: || tables::columns(tables::POLICY_BINDING),
    cells: tables::policy_binding,
    validate_create: |obj, _| mutating_binding(obj),
    validate_update: |new, _, _, _| mutating_binding(new),
    ..VALIDATING_BINDING
};

fn policy_defaults(obj: &mut Value, constraints: &str) {
    obj.default_at("/spec/failurePolicy", "Fail");
    resources_defaults(obj, constraints);
}

fn resources_defaults(obj: &mut Value, resources: &str) {
    for selector in ["namespaceSelector", "objectSelector"] {
        obj.default_at(&format!("{resources}/{selector}"), json!({}));
    }
    obj.default_at(&format!("{resources}/matchPolicy"), "Equivalent");
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in obj.list_mut_at(&format!("{resources}/{list}")) {
            rule.default_at("/scope", "*");
        }
    }
}

/// What both kinds of policies have: up to and with their variables.
fn common(spec: &Value, old: Option<&Value>, patches: bool) -> (Errors, Compiler) {
    let mut errors = Errors::new();
    errors.extend(required_one_of("spec.failurePolicy", spec.str_at("/failurePolicy"), &["Fail", "Ignore"]));
    if spec.has("/paramKind") {
        errors.extend(param_kind(spec.at("/paramKind")));
    }
    if spec.has("/matchConstraints") {
        errors.extend(match_resources(spec.at("/matchConstraints"), "spec.matchConstraints"));
        if spec.list_at("/matchConstraints/resourceRules").is_empty() {
            errors.push(FieldError::required("spec.matchConstraints.resourceRules", ""));
        }
        if patches {
            errors.extend(mutable(spec.at("/matchConstraints"), "spec.matchConstraints"));
        }
    } else {
        errors.push(FieldError::required("spec.matchConstraints", ""));
    }
    let scope = Scope { params: spec.has("/paramKind"), authorizer: true, patches };
    let unchanged = old.is_some_and(|old| {
        ["/paramKind", "/matchConditions"].into_iter().all(|field| spec.at(field) == old.at(&format!("/spec{field}")))
    });
    if !unchanged {
        errors.extend(match_conditions(spec.list_at("/matchConditions"), scope, "spec.matchConditions"));
    }
    let mut compiler = Compiler::new(scope);
    let variables = spec.list_at("/variables");
    if variables.len() > MAX_VARIABLES {
        errors.push(FieldError::too_many("spec.variables", variables.len(), MAX_VARIABLES));
    }
    for (index, variable) in variables.iter().enumerate().take(MAX_VARIABLES) {
        let at = |name: &str| format!("spec.variables[{index}].{name}");
        let name = variable.str_at("/name");
        if name.trim().is_empty() {
            errors.push(FieldError::required(at("name"), "name is not specified"));
        } else if !is_identifier(name) {
            errors.push(FieldError::invalid(at("name"), &json!(name), "must be a valid CEL identifier"));
        }
        let expression = variable.str_at("/expression");
        if expression.trim().is_empty() {
            errors.push(FieldError::required(at("expression"), "expression is not specified"));
        } else if let Err(error) = compiler.variable(name, expression) {
            errors.push(FieldError::invalid(at("expression"), &json!(expression), &error));
        }
    }
    (errors, compiler)
}

/// What is deleted cannot be changed.
fn mutable(resources: &Value, field: &str) -> Errors {
    let field = format!("{field}.resourceRules.operations");
    let rules = resources.list_at("/resourceRules").iter();
    let operations = rules.flat_map(|rule| rule.list_at("/operations")).filter_map(Value::as_str);
    operations.filter_map(|operation| one_of(&field, operation, &["*", "CONNECT", "CREATE", "UPDATE"])).collect()
}

/// `validateValidatingAdmissionPolicySpec`.
fn validating(obj: &Value, old: Option<&Value>) -> Errors {
    let spec = obj.at("/spec");
    let (mut errors, compiler) = common(spec, old, false);
    let (validations, annotations) = (spec.list_at("/validations"), spec.list_at("/auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        errors.extend(["spec.validations", "spec.auditAnnotations"].map(|field| FieldError::required(field, detail)));
    }
    for (index, item) in validations.iter().enumerate() {
        errors.extend(validation(item, &compiler, &format!("spec.validations[{index}]")));
    }
    if annotations.len() > MAX_ANNOTATIONS {
        let detail = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.push(FieldError::invalid("spec.auditAnnotations", spec.at("/auditAnnotations"), &detail));
    }
    let mut keys = Vec::new();
    for (index, item) in annotations.iter().enumerate().take(MAX_ANNOTATIONS) {
        let field = format!("spec.auditAnnotations[{index}]");
        errors.extend(annotation(item, obj.str_at("/metadata/name"), &compiler, &field));
        let key = item.str_at("/key");
        if keys.contains(&key) {
            errors.push(FieldError::duplicate(format!("{field}.key"), &json!(key)));
        }
        keys.push(key);
    }
    errors
}

/// `validateValidation`.
fn validation(item: &Value, compiler: &Compiler, field: &str) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Errors::new();
    let expression = item.str_at("/expression");
    if expression.trim().is_empty() {
        errors.push(FieldError::required(at("expression"), "expression is not specified"));
    } else {
        errors.extend(compiles(compiler, expression, Purpose::Condition, &at("expression")));
    }
    let expression = item.str_at("/messageExpression");
    if !expression.is_empty() && expression.trim().is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(FieldError::invalid(at("messageExpression"), &json!(expression), detail));
    } else if !expression.is_empty() {
        errors.extend(compiles(compiler, expression, Purpose::Message, &at("messageExpression")));
    }
    let message = item.str_at("/message");
    let trimmed = message.trim();
    if !message.is_empty() && trimmed.is_empty() {
        let detail = "must be non-empty if specified";
        errors.push(FieldError::invalid(at("message"), &json!(message), detail));
    } else if trimmed.contains(['\n', '\r']) {
        errors.push(FieldError::invalid(at("message"), &json!(message), "must not contain line breaks"));
    }
    if item.has("/reason") {
        let supported = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
        errors.extend(one_of(&at("reason"), item.str_at("/reason"), supported));
    }
    errors
}

/// `validateAuditAnnotation`.
fn annotation(item: &Value, policy: &str, compiler: &Compiler, field: &str) -> Errors {
    let mut errors = Errors::new();
    let (key, at) = (item.str_at("/key"), format!("{field}.key"));
    if policy.is_empty() {
        errors.push(FieldError::invalid(at, &json!(key), "requires metadata.name be non-empty"));
    } else {
        errors.extend(named(&at, &format!("{policy}/{key}"), names::qualified_name));
    }
    let (expression, at) = (item.str_at("/valueExpression").trim(), format!("{field}.valueExpression"));
    if expression.is_empty() {
        errors.push(FieldError::required(at, "valueExpression is not specified"));
    } else if expression.len() > MAX_ANNOTATION {
        errors.push(FieldError::required(at, &format!("must not exceed {MAX_ANNOTATION} bytes in length")));
    } else {
        errors.extend(compiles(compiler, expression, Purpose::Annotation, &at));
    }
    errors
}

/// `validateMutatingAdmissionPolicySpec`.
fn mutating(obj: &Value, old: Option<&Value>) -> Errors {
    let spec = obj.at("/spec");
    let (mut errors, compiler) = common(spec, old, true);
    let mutations = spec.list_at("/mutations");
    if mutations.is_empty() {
        errors.push(FieldError::required("spec.mutations", "mutations must contain at least one item"));
    }
    for (index, item) in mutations.iter().enumerate() {
        errors.extend(mutation(item, &compiler, &format!("spec.mutations[{index}]")));
    }
    let policy = spec.str_at("/reinvocationPolicy");
    errors.extend(required_one_of("spec.reinvocationPolicy", policy, &["IfNeeded", "Never"]));
    errors
}

/// `validateMutation`.
fn mutation(item: &Value, compiler: &Compiler, field: &str) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Errors::new();
    let (patch_type, purpose, other) = match item.str_at("/patchType") {
        "" => return vec![FieldError::required(at("patchType"), "")],
        "ApplyConfiguration" => ("applyConfiguration", Purpose::Apply, "jsonPatch"),
        "JSONPatch" => ("jsonPatch", Purpose::JsonPatch, "applyConfiguration"),
        unknown => {
            let supported = &["ApplyConfiguration", "JSONPatch"];
            return vec![FieldError::not_supported(at("patchType"), &json!(unknown), supported)];
        }
    };
    let of_type = item.str_at("/patchType");
    if !item.has(&format!("/{patch_type}")) {
        let detail = format!("must be specified when patchType is {of_type}");
        errors.push(FieldError::required(at(patch_type), &detail));
    } else {
        let at = at(&format!("{patch_type}.expression"));
        let expression = item.str_at(&format!("/{patch_type}/expression")).trim();
        if expression.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else {
            errors.extend(compiles(compiler, expression, purpose, &at));
        }
    }
    if item.has(&format!("/{other}")) {
        let detail = format!("must not be specified when patchType is {of_type}");
        errors.push(FieldError::invalid(at(other), &json!(format!("{{{other}}}")), &detail));
    }
    errors
}

/// `validateParamKind`.
fn param_kind(kind: &Value) -> Errors {
    let mut errors = Errors::new();
    let (at_version, at_kind) = ("spec.paramKind.apiVersion", "spec.paramKind.kind");
    let joined = |at: &str, value: &str, prefix: &str, wrong: Vec<String>| {
        let detail = format!("{prefix}{}", wrong.join(","));
        (!wrong.is_empty()).then(|| FieldError::invalid(at, &json!(value), &detail))
    };
    let given = kind.str_at("/apiVersion");
    match given.split('/').collect::<Vec<_>>().as_slice() {
        [""] => errors.push(FieldError::required(at_version, "")),
        parts @ ([_] | [_, _]) => {
            let (group, version) = if let [group, version] = parts { (*group, *version) } else { ("", given) };
            if !group.is_empty() {
                errors.extend(joined(at_version, group, "", names::dns_subdomain(group)));
            }
            if version.is_empty() {
                errors.push(FieldError::invalid(at_version, &json!(given), "version must be specified"));
            } else {
                errors.extend(joined(at_version, version, "", names::dns_1035_label(version)));
            }
        }
        _ => {
            let detail = format!("unexpected GroupVersion string: {given}");
            errors.push(FieldError::invalid(at_version, &json!(given), &detail));
        }
    }
    let name = kind.str_at("/kind");
    if name.is_empty() {
        errors.push(FieldError::required(at_kind, ""));
    } else {
        let wrong = names::dns_1035_label(&name.to_lowercase());
        errors.extend(joined(at_kind, name, "may have mixed case, but should otherwise match: ", wrong));
    }
    errors
}

/// What both kinds of bindings have.
fn binding(obj: &Value) -> Errors {
    let spec = obj.at("/spec");
    let mut errors = required_name("spec.policyName", spec.str_at("/policyName"), names::dns_subdomain);
    errors.extend(param_ref(spec.at("/paramRef")));
    errors.extend(match_resources(spec.at("/matchResources"), "spec.matchResources"));
    errors
}

/// `validateMutatingAdmissionPolicyBindingSpec`.
fn mutating_binding(obj: &Value) -> Errors {
    let mut errors = binding(obj);
    errors.extend(mutable(obj.at("/spec/matchResources"), "spec.matchResources"));
    errors
}

/// `validateValidatingAdmissionPolicyBindingSpec`.
fn validating_binding(obj: &Value) -> Errors {
    let mut errors = binding(obj);
    let field = "spec.validationActions";
    let actions = obj.list_at("/spec/validationActions");
    let mut seen: Vec<&str> = Vec::new();
    for (index, action) in actions.iter().filter_map(Value::as_str).enumerate() {
        let at = format!("{field}[{index}]");
        errors.extend(one_of(&at, action, &["Audit", "Deny", "Warn"]));
        if seen.contains(&action) {
            errors.push(FieldError::duplicate(at, &json!(action)));
        }
        seen.push(action);
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        errors.push(FieldError::invalid(field, obj.at("/spec/validationActions"), detail));
    }
    if seen.is_empty() {
        errors.push(FieldError::required(field, "at least one validation action is required"));
    }
    errors
}

/// `validateParamRef`.
fn param_ref(params: &Value) -> Errors {
    let mut errors = Errors::new();
    if params.is_null() {
        return errors;
    }
    let (name, selected) = (params.str_at("/name"), params.has("/selector"));
    let exclusive = "name and selector are mutually exclusive";
    if !name.is_empty() {
        errors.extend(named("spec.paramRef.name", name, names::path_segment));
        if selected {
            errors.push(FieldError::forbidden("spec.paramRef.name", exclusive));
        }
    }
    if selected {
        errors.extend(label_selector("spec.paramRef.selector", params.at("/selector")));
        if !name.is_empty() {
            errors.push(FieldError::forbidden("spec.paramRef.selector", exclusive));
        }
    }
    if name.is_empty() && !selected {
        errors.push(FieldError::required("spec.paramRef", "one of name or selector must be specified"));
    }
    let (field, action) = ("spec.paramRef.parameterNotFoundAction", params.str_at("/parameterNotFoundAction"));
    match required(field, action) {
        Some(error) => errors.push(error),
        None => errors.extend(one_of(field, action, &["Deny", "Allow"])),
    }
    errors
}

/// `validateValidatingAdmissionPolicyStatus`, without the grammar of field references.
fn status(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    for (index, warning) in obj.list_at("/status/typeChecking/expressionWarnings").iter().enumerate() {
        for field in ["warning", "fieldRef"] {
            let at = format!("status.typeChecking.expressionWarnings[{index}].{field}");
            errors.extend(required(&at, warning.str_at(&format!("/{field}")).trim()));
        }
    }
    errors
}

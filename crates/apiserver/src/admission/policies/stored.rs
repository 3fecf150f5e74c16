//! Policies and bindings as they are stored, their expressions compiled. Pure.

use serde_json::Value;

use crate::admission::expressions::{Compiled, Compiler, Purpose, Scope, Variable};
use crate::admission::rules::MatchResources;
use crate::kinds::at::At;
use crate::selector::LabelSelector;

/// What both kinds of policies share.
pub(crate) struct Policy {
    pub(crate) name: String,
    pub(super) constraints: MatchResources,
    pub(super) conditions: Vec<Compiled>,
    pub(super) variables: Vec<Variable>,
    pub(super) fail_closed: bool,
    pub(super) param_kind: Option<ParamKind>,
    pub(super) rules: Rules,
}

/// What a policy does to a write that it is about.
pub(super) enum Rules {
    Validating { validations: Vec<Validation>, annotations: Vec<Compiled> },
    Mutating { mutations: Vec<Mutation>, reinvocable: bool },
}

/// `paramKind`
pub(super) struct ParamKind {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

/// One of `validations`.
pub(super) struct Validation {
    pub(super) condition: Compiled,
    pub(super) message: String,
    pub(super) message_expression: Option<Compiled>,
    /// Empty: `Invalid`.
    pub(super) reason: String,
}

/// One of `mutations`.
pub(super) enum Mutation {
    Apply(Compiled),
    JsonPatch(Compiled),
}

/// A binding.
pub(crate) struct Binding {
    pub(crate) name: String,
    pub(crate) policy: String,
    pub(super) resources: Option<MatchResources>,
    pub(super) params: Option<ParamRef>,
    pub(super) deny: bool,
    pub(super) warn: bool,
}

/// `paramRef`
pub(super) struct ParamRef {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) selector: Option<Result<LabelSelector, String>>,
    /// `parameterNotFoundAction: Deny`
    pub(super) required: bool,
}

impl Policy {
    /// From a stored object.
    pub(crate) fn of(object: &Value, mutating: bool) -> Self {
        let spec = object.at("/spec");
        let scope = Scope { params: spec.has("/paramKind"), authorizer: true, patches: mutating };
        let plain = Compiler::new(scope);
        let conditions = spec.list_at("/matchConditions").iter();
        let conditions = conditions.map(|c| plain.keep(c.str_at("/expression"), Purpose::Condition)).collect();
        let mut compiler = Compiler::new(scope);
        for variable in spec.list_at("/variables") {
            // A mistake is told by what uses the variable.
            let _ = compiler.variable(variable.str_at("/name"), variable.str_at("/expression"));
        }
        let rules = if mutating { mutations(spec, &compiler) } else { validations(spec, &compiler) };
        Self {
            name: object.str_at("/metadata/name").to_owned(),
            constraints: MatchResources::of(spec.at("/matchConstraints")),
            conditions,
            variables: compiler.into_variables(),
            fail_closed: spec.str_at("/failurePolicy") != "Ignore",
            param_kind: spec.has("/paramKind").then(|| {
                let version = spec.str_at("/paramKind/apiVersion");
                let (group, version) = version.split_once('/').unwrap_or(("", version));
                let kind = spec.str_at("/paramKind/kind");
                ParamKind { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
            }),
            rules,
        }
    }
}

fn validations(spec: &Value, compiler: &Compiler) -> Rules {
    let one = |validation: &Value| Validation {
        condition: compiler.keep(validation.str_at("/expression"), Purpose::Condition),
        message: validation.str_at("/message").trim().to_owned(),
        message_expression: Some(validation.str_at("/messageExpression"))
            .filter(|source| !source.is_empty())
            .map(|source| compiler.keep(source, Purpose::Message)),
        reason: validation.str_at("/reason").to_owned(),
    };
    let annotation = |a: &Value| compiler.keep(a.str_at("/valueExpression").trim(), Purpose::Annotation);
    Rules::Validating {
        validations: spec.list_at("/validations").iter().map(one).collect(),
        annotations: spec.list_at("/auditAnnotations").iter().map(annotation).collect(),
    }
}

fn mutations(spec: &Value, compiler: &Compiler) -> Rules {
    let one = |mutation: &Value| match mutation.str_at("/patchType") {
        "JSONPatch" => Mutation::JsonPatch(compiler.keep(mutation.str_at("/jsonPatch/expression"), Purpose::JsonPatch)),
        _ => Mutation::Apply(compiler.keep(mutation.str_at("/applyConfiguration/expression"), Purpose::Apply)),
    };
    Rules::Mutating {
        mutations: spec.list_at("/mutations").iter().map(one).collect(),
        reinvocable: spec.str_at("/reinvocationPolicy") == "IfNeeded",
    }
}

impl Binding {
    /// From a stored object.
    pub(crate) fn of(object: &Value) -> Self {
        let spec = object.at("/spec");
        let acts = |action: &str| spec.list_at("/validationActions").iter().any(|a| a == action);
        Self {
            name: object.str_at("/metadata/name").to_owned(),
            policy: spec.str_at("/policyName").to_owned(),
            resources: spec.has("/matchResources").then(|| MatchResources::of(spec.at("/matchResources"))),
            params: spec.has("/paramRef").then(|| ParamRef {
                name: spec.str_at("/paramRef/name").to_owned(),
                namespace: spec.str_at("/paramRef/namespace").to_owned(),
                selector: spec.has("/paramRef/selector").then(|| {
                    LabelSelector::from_object(spec.at("/paramRef/selector")).map_err(|error| error.to_string())
                }),
                required: spec.str_at("/paramRef/parameterNotFoundAction") == "Deny",
            }),
            deny: acts("Deny"),
            warn: acts("Warn"),
        }
    }
}

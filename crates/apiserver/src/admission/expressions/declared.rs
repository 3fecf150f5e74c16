//! The variables that expressions may use, and what an expression must be of. Pure.

use std::sync::{Arc, LazyLock};

use paddock_cel::libraries::{self, AUTHORIZER, RESOURCE_CHECK};
use paddock_cel::types::ObjectType;
use paddock_cel::{Env, Type};

/// The variable that holds a policy's variables.
pub(super) const VARIABLES: &str = "variables";

/// What expressions of one place may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// `params`
    pub(crate) params: bool,
    /// `authorizer` and `authorizer.requestResource`
    pub(crate) authorizer: bool,
    /// `Object`, `JSONPatch` and `jsonpatch.escapeKey`
    pub(crate) patches: bool,
}

/// What an expression is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A condition or validation.
    Condition,
    /// `messageExpression`
    Message,
    /// `valueExpression` of an audit annotation.
    Annotation,
    /// One of `variables`.
    Variable,
    /// `applyConfiguration`
    Apply,
    /// `jsonPatch`
    JsonPatch,
}

static JSON_PATCH: LazyLock<Arc<ObjectType>> = LazyLock::new(|| {
    let fields = [("op", Type::String), ("path", Type::String), ("from", Type::String), ("value", Type::Dyn)];
    Arc::new(ObjectType::verbatim("JSONPatch", fields.map(|(name, ty)| (name.to_owned(), ty))))
});

impl Purpose {
    /// Messages are made for whoever was refused, who may not learn what others may do.
    pub(super) fn has_authorizer(self) -> bool {
        self != Self::Message
    }

    /// Whether an expression of that type serves the purpose.
    pub(super) fn check(self, ty: &Type) -> Result<(), String> {
        let (right, wanted) = match self {
            Self::Condition => (*ty == Type::Bool, "bool"),
            Self::Message => (*ty == Type::String, "string"),
            Self::Annotation => (matches!(ty, Type::String | Type::Null), "one of [string null_type]"),
            Self::Variable => (true, ""),
            Self::Apply => (matches!(ty, Type::Object(object) if object.name() == "Object"), "Object"),
            Self::JsonPatch => (*ty == Type::list(Type::Object(JSON_PATCH.clone())), "list(JSONPatch)"),
        };
        if right { Ok(()) } else { Err(format!("must evaluate to {wanted} but got {}", go_name(ty))) }
    }
}

/// The name that cel-go's types print.
fn go_name(ty: &Type) -> String {
    match ty {
        Type::Null => "null_type".to_owned(),
        Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
        Type::Duration => "google.protobuf.Duration".to_owned(),
        other => other.to_string(),
    }
}

fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
    Type::object(ObjectType::verbatim(name, fields.map(|(name, ty)| (name.to_owned(), ty))))
}

/// `request`: an AdmissionRequest without what has variables of its own.
pub(super) static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let kind = || object("kubernetes.GroupVersionKind", [("group", text()), ("version", text()), ("kind", text())]);
    let resource =
        || object("kubernetes.GroupVersionResource", [("group", text()), ("version", text()), ("resource", text())]);
    let user = object(
        "kubernetes.UserInfo",
        [
            ("username", text()),
            ("uid", text()),
            ("groups", Type::list(text())),
            ("extra", Type::map(text(), Type::list(text()))),
        ],
    );
    object(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind()),
            ("resource", resource()),
            ("subResource", text()),
            ("requestKind", kind()),
            ("requestResource", resource()),
            ("requestSubResource", text()),
            ("name", text()),
            ("namespace", text()),
            ("operation", text()),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
});

/// `namespaceObject`, without managed fields and owner references.
pub(super) static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let text = || Type::String;
    let texts = || Type::map(Type::String, Type::String);
    let condition = object(
        "kubernetes.NamespaceCondition",
        [
            ("status", text()),
            ("type", text()),
            ("lastTransitionTime", Type::Timestamp),
            ("message", text()),
            ("reason", text()),
        ],
    );
    let metadata = object(
        "kubernetes.NamespaceMetadata",
        [
            ("name", text()),
            ("generateName", text()),
            ("namespace", text()),
            ("labels", texts()),
            ("annotations", texts()),
            ("UID", text()),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", text()),
            ("finalizers", Type::list(text())),
        ],
    );
    let status = object("kubernetes.NamespaceStatus", [("conditions", Type::list(condition)), ("phase", text())]);
    let spec = object("kubernetes.NamespaceSpec", [("finalizers", Type::list(text()))]);
    object("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
});

/// One environment per scope, built once.
static ENVS: LazyLock<[Env; 8]> = LazyLock::new(|| {
    std::array::from_fn(|bits| {
        build(Scope { params: bits & 1 != 0, authorizer: bits & 2 != 0, patches: bits & 4 != 0 })
    })
});

fn build(scope: Scope) -> Env {
    let mut env = Env::builder()
        .variable("object", Type::Dyn)
        .variable("oldObject", Type::Dyn)
        .variable("namespaceObject", NAMESPACE.clone())
        .variable("request", REQUEST.clone());
    if scope.params {
        env = env.variable("params", Type::Dyn);
    }
    if scope.authorizer {
        env = env.variable("authorizer", AUTHORIZER).variable("authorizer.requestResource", RESOURCE_CHECK);
    }
    if scope.patches {
        env = env.object(JSON_PATCH.clone()).dynamic_object("Object").library(libraries::json_patch());
    }
    env.build()
}

impl Scope {
    pub(super) fn env(self) -> &'static Env {
        let bits = usize::from(self.params) | usize::from(self.authorizer) << 1 | usize::from(self.patches) << 2;
        &ENVS[bits]
    }
}

/// The type of `variables`.
pub(super) fn variables_type(types: &[(String, Type)]) -> Arc<ObjectType> {
    Arc::new(ObjectType::verbatim("kubernetes.variables", types.iter().cloned()))
}

/// The environment with `variables` in it; unchanged when there are none.
pub(super) fn with_variables(env: &Env, types: &[(String, Type)]) -> Env {
    if types.is_empty() {
        return env.clone();
    }
    env.extend().variable(VARIABLES, Type::Object(variables_type(types))).build()
}

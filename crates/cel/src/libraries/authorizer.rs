//! `authorizer`: asks the embedder what the requester may do.
//!
//! The functions only collect what is asked; [`Authorizer::check`] answers. Each check costs 350,000 units, so that an
//! expression has no more than two.

use std::sync::Arc;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Library, Overload};
use crate::types::Type;
use crate::value::{Arguments, Opaque, Value};

use super::names;

/// `kubernetes.authorization.Authorizer`: the type to declare the variable `authorizer` with.
pub const AUTHORIZER: Type = Type::Opaque("kubernetes.authorization.Authorizer");
/// `kubernetes.authorization.ResourceCheck`: the type to declare the variable `authorizer.requestResource` with.
pub const RESOURCE_CHECK: Type = Type::Opaque("kubernetes.authorization.ResourceCheck");
const PATH_CHECK: Type = Type::Opaque("kubernetes.authorization.PathCheck");
const GROUP_CHECK: Type = Type::Opaque("kubernetes.authorization.GroupCheck");
const DECISION: Type = Type::Opaque("kubernetes.authorization.Decision");

/// Who decides what the requester may do. Implemented by the embedder.
pub trait Authorizer: std::fmt::Debug + Send + Sync + 'static {
    /// May `who` do this?
    fn check(&self, who: &Subject, what: &Access) -> Decision;
}

/// Who wants to do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Whoever sent the request that the expression is about.
    Requester,
    /// `system:serviceaccount:namespace:name`.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

/// What somebody wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// A request of a path that is no resource.
    Path {
        /// The path, as the expression gave it.
        path: String,
        /// The HTTP method, in lower case by convention.
        verb: String,
    },
    /// A request of a resource.
    Resource {
        /// Which resource.
        resource: ResourceAccess,
        /// `get`, `list`, `create`, …
        verb: String,
    },
}

/// A resource that access is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceAccess {
    /// The API group; empty for the core group.
    pub group: String,
    /// The resource's plural name.
    pub resource: String,
    /// The subresource; empty for none.
    pub subresource: String,
    /// The namespace; empty for resources of the cluster, and for all namespaces.
    pub namespace: String,
    /// The object's name; empty for all.
    pub name: String,
    /// A field selector as it is written in a query; empty for none. One that does not parse restricts nothing.
    pub field_selector: String,
    /// A label selector as it is written in a query; empty for none. One that does not parse restricts nothing.
    pub label_selector: String,
}

/// The answer to a check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, or nothing.
    pub reason: String,
    /// What went wrong when deciding.
    pub error: Option<String>,
}

/// The value of the variable `authorizer`.
pub fn authorizer<'a>(decides: Arc<dyn Authorizer>) -> Value<'a> {
    Value::opaque(Asker { decides, who: Subject::Requester })
}

/// The value of the variable `authorizer.requestResource`.
pub fn resource_check<'a>(decides: Arc<dyn Authorizer>, resource: ResourceAccess) -> Value<'a> {
    Value::opaque(ResourceCheck { asker: Asker { decides, who: Subject::Requester }, resource })
}

/// `authorizer`.
#[derive(Clone, Debug)]
struct Asker {
    decides: Arc<dyn Authorizer>,
    who: Subject,
}

#[derive(Clone, Debug)]
struct PathCheck {
    asker: Asker,
    path: String,
}

#[derive(Clone, Debug)]
struct GroupCheck {
    asker: Asker,
    group: String,
}

#[derive(Clone, Debug)]
struct ResourceCheck {
    asker: Asker,
    resource: ResourceAccess,
}

/// These values only serve as receivers; they do not compare.
macro_rules! receiver_only {
    ($($value:ty => $type:expr),* $(,)?) => {$(
        impl Opaque for $value {
            fn type_name(&self) -> &'static str {
                match $type {
                    Type::Opaque(name) => name,
                    _ => "",
                }
            }

            fn equals(&self, _: &dyn Opaque) -> bool {
                false
            }
        }
    )*};
}

receiver_only! {
    Asker => AUTHORIZER,
    PathCheck => PATH_CHECK,
    GroupCheck => GROUP_CHECK,
    ResourceCheck => RESOURCE_CHECK,
    Decision => DECISION,
}

pub(super) fn library() -> Library {
    let text = || Type::String;
    let with_text = |receiver: Type| vec![receiver, Type::String];
    let one = |name, overload| Function::new(name, vec![overload]);
    Library {
        functions: vec![
            one("path", Overload::member("authorizer_path", with_text(AUTHORIZER), PATH_CHECK, path)),
            one("group", Overload::member("authorizer_group", with_text(AUTHORIZER), GROUP_CHECK, group)),
            one(
                "serviceAccount",
                Overload::member(
                    "authorizer_serviceaccount",
                    vec![AUTHORIZER, text(), text()],
                    AUTHORIZER,
                    service_account,
                ),
            ),
            one("resource", Overload::member("groupcheck_resource", with_text(GROUP_CHECK), RESOURCE_CHECK, resource)),
            one(
                "subresource",
                refine_overload("resourcecheck_subresource", |budget, args| {
                    refine(budget, args, |access| &mut access.subresource)
                }),
            ),
            one(
                "namespace",
                refine_overload("resourcecheck_namespace", |budget, args| {
                    refine(budget, args, |access| &mut access.namespace)
                }),
            ),
            one(
                "name",
                refine_overload("resourcecheck_name", |budget, args| refine(budget, args, |access| &mut access.name)),
            ),
            one(
                "fieldSelector",
                refine_overload("authorizer_fieldselector", |budget, args| {
                    refine(budget, args, |access| &mut access.field_selector)
                }),
            ),
            one(
                "labelSelector",
                refine_overload("authorizer_labelselector", |budget, args| {
                    refine(budget, args, |access| &mut access.label_selector)
                }),
            ),
            Function::new(
                "check",
                vec![
                    Overload::member("pathcheck_check", with_text(PATH_CHECK), DECISION, check_path),
                    Overload::member("resourcecheck_check", with_text(RESOURCE_CHECK), DECISION, check_resource),
                ],
            ),
            one(
                "allowed",
                Overload::member("decision_allowed", vec![DECISION], Type::Bool, |_, args| {
                    Ok(Value::Bool(args.opaque::<Decision>(0)?.allowed))
                }),
            ),
            one(
                "reason",
                Overload::member("decision_reason", vec![DECISION], text(), |_, args| {
                    Ok(Value::from(args.opaque::<Decision>(0)?.reason.clone()))
                }),
            ),
            one(
                "errored",
                Overload::member("decision_errored", vec![DECISION], Type::Bool, |_, args| {
                    Ok(Value::Bool(args.opaque::<Decision>(0)?.error.is_some()))
                }),
            ),
            one(
                "error",
                Overload::member("decision_error", vec![DECISION], text(), |_, args| {
                    Ok(Value::from(args.opaque::<Decision>(0)?.error.clone().unwrap_or_default()))
                }),
            ),
        ],
        types: vec![AUTHORIZER, PATH_CHECK, GROUP_CHECK, RESOURCE_CHECK, DECISION],
        ..Library::default()
    }
}

fn refine_overload(id: &'static str, call: crate::function::Implementation) -> Overload {
    Overload::member(id, vec![RESOURCE_CHECK, Type::String], RESOURCE_CHECK, call)
}

fn path<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (asker, path) = (args.opaque::<Asker>(0)?, args.text(1)?);
    if path.trim().is_empty() {
        return Err(EvalError::new("path must not be empty"));
    }
    budget.allocate(path.len())?;
    Ok(Value::opaque(PathCheck { asker: asker.clone(), path: path.to_owned() }))
}

fn group<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (asker, group) = (args.opaque::<Asker>(0)?, args.text(1)?);
    budget.allocate(group.len())?;
    Ok(Value::opaque(GroupCheck { asker: asker.clone(), group: group.to_owned() }))
}

fn service_account<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (asker, namespace, name) = (args.opaque::<Asker>(0)?, args.text(1)?, args.text(2)?);
    if !names::dns_subdomain(name).is_empty() {
        return Err(EvalError::new("Invalid service account name"));
    }
    if !names::dns_label(namespace).is_empty() {
        return Err(EvalError::new("Invalid service account namespace"));
    }
    let who = Subject::ServiceAccount { namespace: namespace.to_owned(), name: name.to_owned() };
    Ok(Value::opaque(Asker { decides: Arc::clone(&asker.decides), who }))
}

fn resource<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (group, resource) = (args.opaque::<GroupCheck>(0)?, args.text(1)?);
    if resource.trim().is_empty() {
        return Err(EvalError::new("resource must not be empty"));
    }
    budget.allocate(group.group.len() + resource.len())?;
    let resource =
        ResourceAccess { group: group.group.clone(), resource: resource.to_owned(), ..ResourceAccess::default() };
    Ok(Value::opaque(ResourceCheck { asker: group.asker.clone(), resource }))
}

fn refine<'a>(
    budget: &mut Budget,
    args: &[Value<'a>],
    field: fn(&mut ResourceAccess) -> &mut String,
) -> Result<Value<'a>, EvalError> {
    let (check, text) = (args.opaque::<ResourceCheck>(0)?, args.text(1)?);
    budget.allocate(check.resource.size() + text.len())?;
    let mut check = check.clone();
    text.clone_into(field(&mut check.resource));
    Ok(Value::opaque(check))
}

impl ResourceAccess {
    fn size(&self) -> usize {
        [
            &self.group,
            &self.resource,
            &self.subresource,
            &self.namespace,
            &self.name,
            &self.field_selector,
            &self.label_selector,
        ]
        .into_iter()
        .map(String::len)
        .sum()
    }
}

fn check_path<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (check, verb) = (args.opaque::<PathCheck>(0)?, args.text(1)?);
    let what = Access::Path { path: check.path.clone(), verb: verb.to_owned() };
    Ok(Value::opaque(check.asker.decides.check(&check.asker.who, &what)))
}

fn check_resource<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (check, verb) = (args.opaque::<ResourceCheck>(0)?, args.text(1)?);
    let what = Access::Resource { resource: check.resource.clone(), verb: verb.to_owned() };
    Ok(Value::opaque(check.asker.decides.check(&check.asker.who, &what)))
}

//! Running expressions about one write: the values of the variables, and what may be spent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use paddock_cel::libraries::{self, Access, Authorizer, Decision, ResourceAccess, Subject};
use paddock_cel::types::ObjectType;
use paddock_cel::value::{Fields, Object};
use paddock_cel::{Budget, EvalError, Type, Value, Variables};
use serde_json::Value as Json;

use super::declared::{NAMESPACE, REQUEST, VARIABLES};
use super::{Compiled, Variable};
use crate::admission::Attributes;
use crate::api::Api;
use crate::authz;
use crate::user::User;

/// What all expressions of a policy may spend on one write (`RuntimeCELCostBudget`).
pub(crate) const BUDGET: u64 = 10_000_000;
/// What all match conditions may spend on one write (`RuntimeCELCostBudgetMatchConditions`).
pub(crate) const CONDITIONS_BUDGET: u64 = BUDGET / 4;

/// The values of the variables, `null` for what is not there.
pub(crate) struct Bindings<'a> {
    pub(crate) object: &'a Json,
    pub(crate) old: &'a Json,
    pub(crate) request: &'a Json,
    pub(crate) namespace: &'a Json,
    pub(crate) params: &'a Json,
    authorizer: Arc<dyn Authorizer>,
    resource: ResourceAccess,
}

impl<'a> Bindings<'a> {
    /// Of a write.
    pub(crate) fn of(
        a: &Attributes<'_>,
        object: &'a Json,
        old: &'a Json,
        request: &'a Json,
        namespace: &'a Json,
        params: &'a Json,
    ) -> Self {
        Self {
            object,
            old,
            request,
            namespace,
            params,
            authorizer: Arc::new(Asking { api: a.api.clone(), user: a.user.clone() }),
            resource: ResourceAccess {
                group: a.resource.group.to_string(),
                resource: a.resource.plural.to_string(),
                subresource: a.subresource.to_owned(),
                namespace: a.namespace.to_owned(),
                name: a.name.to_owned(),
                ..ResourceAccess::default()
            },
        }
    }
}

/// What the requester may do, by the server's own rules.
#[derive(Debug)]
struct Asking {
    api: Api,
    user: User,
}

impl Authorizer for Asking {
    fn check(&self, who: &Subject, what: &Access) -> Decision {
        let account;
        let user = match who {
            Subject::Requester => &self.user,
            Subject::ServiceAccount { namespace, name } => {
                account = User::service_account(namespace, name);
                &account
            }
        };
        let attributes = match what {
            Access::Path { path, verb } => authz::Attributes::Path { verb, path },
            Access::Resource { resource, verb } => authz::Attributes::Resource {
                verb,
                group: &resource.group,
                version: "*",
                resource: &resource.resource,
                subresource: &resource.subresource,
                namespace: &resource.namespace,
                name: &resource.name,
            },
        };
        match self.api.authorize(user, &attributes) {
            authz::Decision::Allow(reason) => Decision { allowed: true, reason, error: None },
            authz::Decision::NoOpinion(reason) => Decision { allowed: false, reason, error: None },
        }
    }
}

static NO_VARIABLES: LazyLock<Arc<ObjectType>> = LazyLock::new(|| Arc::new(ObjectType::any("kubernetes.variables")));

/// Expressions of one policy about one write. Variables are computed once, when they are first used.
pub(crate) struct Run<'a> {
    computed: Arc<Computed<'a>>,
    /// Cost units left.
    left: u64,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// It went wrong; others may still run.
    Failed(String),
    /// Nothing is left to spend.
    OutOfBudget(String),
}

impl Stopped {
    /// What is told.
    pub(crate) fn into_text(self) -> String {
        match self {
            Self::Failed(text) | Self::OutOfBudget(text) => text,
        }
    }
}

impl<'a> Run<'a> {
    /// A run that may spend `budget`.
    pub(crate) fn new(bindings: &'a Bindings<'a>, variables: &'a [Variable], budget: u64) -> Self {
        let values = Mutex::new(vec![None; variables.len()]);
        let computed = Computed { bindings, variables, values, spent: AtomicU64::new(0) };
        Self { computed: Arc::new(computed), left: budget }
    }

    /// The value of an expression.
    pub(crate) fn evaluate(&mut self, expression: &Compiled) -> Result<Value<'a>, Stopped> {
        let program = match &expression.program {
            Ok(program) => program,
            Err(error) => return Err(Stopped::Failed(format!("compilation error: {error}"))),
        };
        let mut budget = Budget::new(Budget::PER_EXPRESSION);
        let outcome = program.evaluate(&self.computed.scope(), &mut budget);
        let spent = budget.spent().saturating_add(self.computed.spent.swap(0, Ordering::Relaxed));
        let Some(left) = self.left.checked_sub(spent) else {
            self.left = 0;
            return Err(Stopped::OutOfBudget(
                "validation failed due to running out of cost budget, no further validation rules will be run"
                    .to_owned(),
            ));
        };
        self.left = left;
        outcome
            .map_err(|error| Stopped::Failed(format!("expression '{}' resulted in error: {error}", expression.source)))
    }

    /// Whether a condition holds.
    pub(crate) fn holds(&mut self, expression: &Compiled) -> Result<bool, Stopped> {
        self.evaluate(expression).map(|value| matches!(value, Value::Bool(true)))
    }
}

/// The variables of a run, and the values they have so far.
struct Computed<'a> {
    bindings: &'a Bindings<'a>,
    variables: &'a [Variable],
    values: Mutex<Vec<Option<Result<Value<'a>, EvalError>>>>,
    /// Cost units that variables took.
    spent: AtomicU64,
}

/// What one evaluation sees.
struct Names<'a>(Arc<Computed<'a>>);

impl<'a> Computed<'a> {
    fn scope(self: &Arc<Self>) -> Names<'a> {
        Names(self.clone())
    }

    fn known(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner).get(index).cloned().flatten()
    }

    /// The value of a variable. What it uses is computed before it, so that no evaluation starts another one: a long chain of
    /// variables takes no more stack than one.
    fn value(self: &Arc<Self>, wanted: usize) -> Result<Value<'a>, EvalError> {
        let mut pending = vec![wanted];
        while let Some(&index) = pending.last() {
            if self.known(index).is_some() {
                pending.pop();
                continue;
            }
            let Some(variable) = self.variables.get(index) else { break };
            let missing: Vec<usize> = variable.uses.iter().copied().filter(|i| self.known(*i).is_none()).collect();
            if missing.is_empty() {
                let value = self.compute(variable);
                if let Some(place) = self.values.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
                    *place = Some(value);
                }
                pending.pop();
            } else {
                pending.extend(missing);
            }
        }
        self.known(wanted).unwrap_or_else(|| Err(EvalError::new("no such variable")))
    }

    fn compute(self: &Arc<Self>, variable: &'a Variable) -> Result<Value<'a>, EvalError> {
        let name = &variable.name;
        let program = variable
            .expression
            .program
            .as_ref()
            .map_err(|error| EvalError::new(format!("composited variable {name:?} fails to compile: {error}")))?;
        let mut budget = Budget::new(Budget::PER_EXPRESSION);
        let outcome = program.evaluate(&self.scope(), &mut budget);
        self.spent.fetch_add(budget.spent(), Ordering::Relaxed);
        outcome.map_err(|error| EvalError::new(format!("composited variable {name:?} fails to evaluate: {error}")))
    }
}

impl<'a> Variables<'a> for Names<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let bindings = self.0.bindings;
        let typed = |json: &'a Json, ty: &Type| Value::from_json(json, ty);
        Some(match name {
            "object" => Ok(Value::from(bindings.object)),
            "oldObject" => Ok(Value::from(bindings.old)),
            "params" => Ok(Value::from(bindings.params)),
            "request" => typed(bindings.request, &REQUEST),
            "namespaceObject" => typed(bindings.namespace, &NAMESPACE),
            "authorizer" => Ok(libraries::authorizer(bindings.authorizer.clone())),
            "authorizer.requestResource" => {
                Ok(libraries::resource_check(bindings.authorizer.clone(), bindings.resource.clone()))
            }
            VARIABLES => Ok(Value::Object(Object::computed(Arc::new(Self(self.0.clone())), NO_VARIABLES.clone()))),
            _ => return None,
        })
    }
}

impl<'a> Fields<'a> for Names<'a> {
    fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let index = self.0.variables.iter().rposition(|variable| variable.name == name)?;
        Some(self.0.value(index))
    }
}

//! One pass of one key: snapshot, plan, execute. Used by the runtime, and by tests that want a single step.

use std::time::Duration;

use crate::context::Context;
use crate::controller::Controller;
use crate::error::{Dependency, Error};
use crate::execute::{Said, Writes, execute};
use crate::plan::{Plan, Verdict};
use crate::queue::Finish;

/// How a pass ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Passed {
    /// What was written.
    pub writes: Writes,
    /// How things stand, or what went wrong.
    pub result: Result<Verdict, Error>,
    /// When the queue runs the key again.
    pub finish: Finish,
}

impl Passed {
    /// `settled` or the class of what keeps the key from it, as metrics spell it.
    pub fn outcome(&self) -> &'static str {
        match &self.result {
            Ok(Verdict::Settled) => "settled",
            Ok(Verdict::Waiting { .. }) => "waiting",
            Ok(Verdict::Invalid { .. }) => "invalid",
            Err(error) => error.class(),
        }
    }

    /// Why the key is not settled, in a sentence.
    pub fn message(&self) -> Option<String> {
        match &self.result {
            Ok(Verdict::Settled) => None,
            Ok(Verdict::Waiting { on, message }) => Some(format!("waiting for {on}: {message}")),
            Ok(Verdict::Invalid { reason, message }) => Some(format!("{reason}: {message}")),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Runs one pass. `said` is what this key's pass before said; a restarted process begins with an empty one.
pub async fn run_pass<C: Controller>(controller: &C, cx: &Context, key: &C::Key, said: &mut Said) -> Passed {
    let planned = match controller.snapshot(cx, key).await {
        Ok(snapshot) => controller.plan(key, &snapshot, cx.clock().now()),
        Err(error) => Err(error),
    };
    match planned {
        Err(error) => {
            let finish = after_error(&error, None);
            Passed { writes: Writes::default(), result: Err(error), finish }
        }
        Ok(plan) => {
            let (writes, done) = execute(cx, controller.name(), &plan, said).await;
            let result = done.map(|()| plan.verdict.clone());
            let finish = after(cx, &plan, &result, said);
            Passed { writes, result, finish }
        }
    }
}

fn after(cx: &Context, plan: &Plan, result: &Result<Verdict, Error>, said: &Said) -> Finish {
    let mut look_again = plan.look_again.map(|at| {
        let wait = Duration::try_from(at.duration_since(cx.clock().now())).unwrap_or_default();
        cx.clock().monotonic().saturating_add(wait)
    });
    if !said.may_hold_back() {
        // What was written starts the next pass at once, where it is watched.
        look_again = Some(cx.clock().monotonic());
    }
    match result {
        Ok(Verdict::Settled) if plan.is_empty() => Finish::Forgotten,
        Ok(Verdict::Waiting { on, .. }) => Finish::Waiting { on: on.clone(), look_again },
        Ok(verdict) => match (&plan.listen, verdict) {
            (Some(on), _) => Finish::Waiting { on: on.clone(), look_again },
            (None, Verdict::Invalid { .. }) => Finish::Invalid { look_again },
            (None, _) => Finish::Settled { look_again },
        },
        Err(error) => after_error(error, look_again),
    }
}

fn after_error(error: &Error, look_again: Option<Duration>) -> Finish {
    match error {
        Error::Fatal { .. } | Error::Invalid { .. } => Finish::Invalid { look_again },
        Error::Waiting { on, .. } => Finish::Waiting { on: Dependency::clone(on), look_again },
        Error::Transient { retry_after, .. } => Finish::Transient { retry_after: *retry_after },
    }
}

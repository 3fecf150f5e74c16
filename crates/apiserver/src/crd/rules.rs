//! CEL rules of a definition (`x-kubernetes-validations`): they compile, use the old value only where there is one, and
//! cannot cost too much. Pure.

use serde_json::Value;

use super::program::{Compiled, Failure};
use super::{decl, internal, program};
use crate::field::{FieldError, Kind};
use crate::schema::Schema;
use crate::schema::report::{Path, Report};

/// Most that one expression may cost, estimated (`StaticEstimatedCostLimit`).
const MAX_EXPRESSION: u64 = 10_000_000;
/// Most that all expressions of a schema may cost, estimated (`StaticEstimatedCRDCostLimit`).
const MAX_SCHEMA: u64 = 100_000_000;
/// The dearest expressions that are named when all together cost too much.
const NAMED: usize = 4;

/// By how much a node multiplies the values below it: the bound of a list or map. Nothing: there is none.
pub(super) fn multiplicity(node: &Value) -> Option<u64> {
    let bound = |key: &str| node[key].as_i64().map(|max| u64::try_from(max).unwrap_or(0));
    match node["type"].as_str().unwrap_or_default() {
        "object" if !node["additionalProperties"].is_null() => bound("maxProperties"),
        "array" => bound("maxItems"),
        _ => Some(1),
    }
}

/// What the expressions of a schema can cost.
#[derive(Default)]
pub(super) struct Costs {
    total: u64,
    dearest: Vec<(u64, String)>,
}

impl Costs {
    /// Notes an expression's cost; an error when it alone is too much.
    fn note(&mut self, cost: u64, what: &str, path: &Path<'_>) -> Option<FieldError> {
        self.total = self.total.saturating_add(cost);
        if cost >= MAX_SCHEMA / 100 {
            self.dearest.push((cost, path.to_string()));
            self.dearest.sort_by(|(a, _), (b, _)| b.cmp(a));
            self.dearest.truncate(NAMED);
        }
        (cost > MAX_EXPRESSION).then(|| FieldError::forbidden(path.to_string(), &too_dear(what, cost, MAX_EXPRESSION)))
    }

    /// The errors when all together cost too much.
    pub(super) fn total(self, path: &Path<'_>) -> Vec<FieldError> {
        if self.total <= MAX_SCHEMA {
            return Vec::new();
        }
        let why = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        let mut errors: Vec<FieldError> =
            self.dearest.into_iter().map(|(_, path)| FieldError::forbidden(path, why)).collect();
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.push(FieldError::forbidden(path.to_string(), &too_dear(what, self.total, MAX_SCHEMA)));
        errors
    }
}

#[expect(clippy::cast_precision_loss, reason = "a factor for people to read")]
fn too_dear(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// Where the rules of a node are.
pub(super) struct At<'a> {
    /// A whole object.
    pub(super) root: bool,
    /// Of the list of rules.
    pub(super) path: Path<'a>,
    /// The first node above whose values before and after an update cannot be told apart.
    pub(super) uncorrelatable: Option<&'a Path<'a>>,
    /// How many values of the node one object can have; nothing: no bound is declared.
    pub(super) cardinality: Option<u64>,
}

/// The rules of a node whose schema is right.
pub(super) fn check(schema: &Schema, at: &At<'_>, costs: &mut Costs, report: &mut Report) {
    let Some(decl) = decl::of(schema, at.root || schema.embedded_resource) else {
        let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to \
                   convert structural schema to CEL declarations";
        return report.add(|| FieldError::internal(at.path.to_string(), why));
    };
    let times = at.cardinality.unwrap_or_else(|| decl.max_occurrences());
    for (i, (rule, compiled)) in schema.validations.iter().zip(program::compile(schema, &decl)).enumerate() {
        let rule_at = at.path.index(i);
        let shown = || Some(internal::rule(rule));
        let Compiled { program, message, uses_old } = compiled;
        let at_rule = rule_at.field("rule");
        let cost = program.as_ref().map_or(0, |program| program.cost(&*decl).max.saturating_mul(times));
        if let Some(error) = costs.note(cost, "estimated rule cost", &at_rule) {
            report.add(|| error);
        }
        if let Err(Failure(why)) = &program {
            report.add(|| FieldError::with(Kind::Invalid, at_rule.to_string(), shown(), why));
        }
        let at_message = rule_at.field("messageExpression");
        match &message {
            Some(Err(Failure(why))) => {
                report.add(|| FieldError::with(Kind::Invalid, at_message.to_string(), shown(), why));
            }
            // As in kube-apiserver, the cost of a message is that of one.
            Some(Ok(message)) => {
                let cost = message.cost(&*decl).max;
                if let Some(error) = costs.note(cost, "estimated messageExpression cost", &at_message) {
                    report.add(|| error);
                }
            }
            None => {}
        }
        if uses_old {
            if let Some(above) = at.uncorrelatable {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {above}");
                report.add(|| FieldError::invalid(at_rule.to_string(), &rule["rule"], &why));
            }
        } else if !rule["optionalOldSelf"].is_null() {
            let why = "may not be set if oldSelf is not used in rule";
            let field = rule_at.field("optionalOldSelf");
            report.add(|| FieldError::invalid(field.to_string(), &rule["optionalOldSelf"], why));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_far_a_cost_is_above_its_limit_is_said_in_words() {
        assert!(
            too_dear("x", 2_000_000_000, 10_000_000).starts_with("x exceeds budget by factor of more than 100x (try ")
        );
        assert!(too_dear("x", 12_000_000, 10_000_000).starts_with("x exceeds budget by factor of 1.200000x (try "));
        assert!(too_dear("x", 25_000_000, 10_000_000).starts_with("x exceeds budget by factor of 2.5x (try "));
    }

    #[test]
    fn the_dearest_rules_are_named_when_all_cost_too_much() {
        let mut costs = Costs::default();
        for i in 1..=6_u64 {
            let path = Path::root("s");
            assert!(costs.note(i * 10_000_000, "x", &path.index(i as usize)).is_some() == (i > 1));
        }
        let errors = costs.total(&Path::root("s"));
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["s[6]", "s[5]", "s[4]", "s[3]", "s"]);
    }

    #[test]
    fn a_list_or_map_without_a_bound_has_no_multiplicity() {
        use serde_json::json;
        assert_eq!(multiplicity(&json!({"type": "array", "maxItems": 3})), Some(3));
        assert_eq!(multiplicity(&json!({"type": "array"})), None);
        assert_eq!(multiplicity(&json!({"type": "object", "additionalProperties": {}})), None);
        assert_eq!(multiplicity(&json!({"type": "object"})), Some(1));
    }
}

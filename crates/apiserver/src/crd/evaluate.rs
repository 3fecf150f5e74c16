//! CEL rules of a custom resource, run over an object: in which order, on which values, within which budget, and what is said
//! of a rule that fails. Pure. Programs are compiled once, with the definition.
//!
//! `apiextensions-apiserver/pkg/apiserver/schema/cel` (`Validator`).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use paddock_cel::{Budget, EvalError, Program, Value as CelValue, Variables};
use serde_json::Value;

use super::decl::{self, Decl};
use super::program::{self, Failure};
use crate::field::{FieldError, Kind};
use crate::schema::body::MAX_DEPTH;
use crate::schema::report::{Path, Report};
use crate::schema::validate::Correlated;
use crate::schema::{AdditionalProperties, Schema};

/// Longest message that an expression may make, in bytes.
const MAX_MESSAGE: usize = 5 * 1024;
const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// The rules of a schema node and below. There is none where there are no rules.
pub(super) struct Rules {
    schema: Arc<Schema>,
    decl: Option<Arc<Decl>>,
    rules: Vec<Rule>,
    items: Option<Box<Self>>,
    values: Option<Box<Self>>,
    fields: BTreeMap<String, Self>,
}

struct Rule {
    program: Result<Program, String>,
    message_program: Option<Program>,
    /// As written, without blanks around.
    rule: String,
    message: String,
    message_source: String,
    uses_old: bool,
    optional_old: bool,
    reason: String,
    /// What `fieldPath` leads to, as errors print it.
    field: String,
}

/// Compiles the rules of a schema. Nothing: it has none. `root`: a whole object.
pub(super) fn compile(schema: &Arc<Schema>, raw: &Value, root: bool) -> Option<Rules> {
    node(schema, raw, root, 0)
}

fn node(schema: &Arc<Schema>, raw: &Value, root: bool, depth: usize) -> Option<Rules> {
    if depth >= MAX_DEPTH {
        return None;
    }
    let below = |schema: &Arc<Schema>, raw: &Value| node(schema, raw, schema.embedded_resource, depth + 1);
    let items = schema.items.as_ref().and_then(|items| below(items, &raw["items"])).map(Box::new);
    let values = match &schema.additional_properties {
        Some(AdditionalProperties::Schema(values)) => below(values, &raw["additionalProperties"]).map(Box::new),
        _ => None,
    };
    let fields: BTreeMap<String, Rules> = schema
        .properties
        .iter()
        .filter_map(|(name, child)| Some((name.clone(), below(child, &raw["properties"][name.as_str()])?)))
        .collect();
    if schema.validations.is_empty() && items.is_none() && values.is_none() && fields.is_empty() {
        return None;
    }
    let decl = (!schema.validations.is_empty()).then(|| decl::of(schema, root)).flatten();
    let compiled = decl.iter().flat_map(|decl| program::compile(schema, decl));
    let rules =
        schema.validations.iter().zip(compiled).map(|(rule, compiled)| Rule::new(rule, compiled, raw)).collect();
    Some(Rules { schema: schema.clone(), decl, rules, items, values, fields })
}

impl Rule {
    fn new(rule: &Value, compiled: program::Compiled, raw: &Value) -> Self {
        let text = |key: &str| rule[key].as_str().unwrap_or_default().to_owned();
        let trimmed = |key: &str| text(key).trim().to_owned();
        let found = super::fieldpath::follow(&text("fieldPath"), raw, true);
        Self {
            program: compiled.program.map_err(|Failure(why)| why),
            message_program: compiled.message.and_then(Result::ok),
            rule: trimmed("rule"),
            message: trimmed("message"),
            message_source: text("messageExpression"),
            uses_old: compiled.uses_old,
            optional_old: rule["optionalOldSelf"] == true,
            reason: text("reason"),
            field: found.map(|found| found.printed).unwrap_or_default(),
        }
    }

    /// The rule in errors about it.
    fn named(&self) -> &str {
        if self.message.is_empty() { &self.rule } else { &self.message }
    }
}

/// What the rules say of an object.
pub(super) struct Verdict {
    /// What is wrong.
    pub(super) errors: Vec<FieldError>,
    /// What is wrong and was so before: texts of warnings.
    pub(super) warnings: Vec<String>,
}

/// Runs the rules over an object; `old` is what it was before an update.
pub(super) fn evaluate<'a>(rules: &'a Rules, new: &'a Value, old: Option<&'a Value>) -> Verdict {
    let mut run = Run {
        remaining: Budget::PER_OBJECT,
        errors: Report::default(),
        warnings: Report::default(),
        unchanged: HashMap::new(),
    };
    let place = Place { old, current: old.map(|old| Correlated { old, schema: &rules.schema }), nearest: None };
    // That the budget is used up is one of the errors.
    run.node(rules, new, place, &Path::root("")).ok();
    let warnings = run.warnings.into_list();
    Verdict {
        errors: run.errors.into_list(),
        warnings: warnings.iter().map(|error| format!("{}: {}", error.field, error.message)).collect(),
    }
}

/// The budget is used up: no further rule is run.
struct Exhausted;

/// What a value was before.
#[derive(Clone, Copy)]
struct Place<'a> {
    /// What rules see as the old value: elements of lists have one by their keys only.
    old: Option<&'a Value>,
    /// What it is compared with to tell whether it changed.
    current: Option<Correlated<'a>>,
    /// The nearest value above that can be compared.
    nearest: Option<(Correlated<'a>, &'a Value)>,
}

struct Run {
    remaining: u64,
    errors: Report,
    warnings: Report,
    /// Whether values did not change, by where they lie in memory: large ones are asked about often.
    unchanged: HashMap<*const Value, bool>,
}

struct Known<'a> {
    this: Result<CelValue<'a>, EvalError>,
    old: Option<Result<CelValue<'a>, EvalError>>,
}

impl<'a> Variables<'a> for Known<'a> {
    fn get(&self, name: &str) -> Option<Result<CelValue<'a>, EvalError>> {
        match name {
            "self" => Some(self.this.clone()),
            "oldSelf" => self.old.clone(),
            _ => None,
        }
    }
}

impl Run {
    fn node<'a>(
        &mut self,
        rules: &'a Rules,
        value: &'a Value,
        place: Place<'a>,
        path: &Path<'_>,
    ) -> Result<(), Exhausted> {
        // A `null` is for the rules of what holds it.
        if value.is_null() {
            return Ok(());
        }
        self.own(rules, value, place, path)?;
        let nearest = place.current.map(|current| (current, value)).or(place.nearest);
        match value {
            Value::Array(list) => {
                let Some(items) = &rules.items else { return Ok(()) };
                let keyed = rules.schema.list_type.as_deref() == Some("map");
                let olds = place.old.filter(|_| keyed).map(|old| Correlated { old, schema: &rules.schema }.elements());
                let elements = place.current.map(Correlated::elements);
                for (i, item) in list.iter().enumerate() {
                    let below = Place {
                        old: olds.as_ref().and_then(|olds| olds.at(i, item)).map(|found| found.old),
                        current: elements.as_ref().and_then(|elements| elements.at(i, item)),
                        nearest,
                    };
                    self.node(items, item, below, &path.index(i))?;
                }
            }
            Value::Object(map) => {
                let below = |name: &str| Place {
                    old: place.old.and_then(|old| old.get(name)),
                    current: place.current.and_then(|current| current.field(name)),
                    nearest,
                };
                if let Some(values) = &rules.values {
                    for (name, value) in map {
                        self.node(values, value, below(name), &path.key(name))?;
                    }
                }
                for (name, fields) in &rules.fields {
                    let Some(value) = map.get(name) else { continue };
                    // Both objects were brought to one version: its type tells nothing of what changed.
                    let of_the_type = path.is_empty() && matches!(name.as_str(), "apiVersion" | "kind");
                    let place = below(name);
                    let place = if of_the_type { Place { current: None, nearest: None, ..place } } else { place };
                    self.node(fields, value, place, &path.field(name))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The rules of one value.
    fn own<'a>(
        &mut self,
        rules: &'a Rules,
        value: &'a Value,
        place: Place<'a>,
        path: &Path<'_>,
    ) -> Result<(), Exhausted> {
        if rules.schema.validations.is_empty() {
            return Ok(());
        }
        let type_ = Value::from(rules.schema.type_.as_deref().unwrap_or_default());
        let Some(decl) = &rules.decl else {
            let why = "rule compiler initialization error: unable to convert structural schema to CEL declarations";
            self.errors.add(|| FieldError::invalid(path.or_nil(), &type_, why));
            return Ok(());
        };
        if self.remaining == 0 {
            return self.exhausted(path, &type_, OUT_OF_BUDGET);
        }
        let old = place.old.filter(|old| !old.is_null());
        let read = |value: &'a Value| CelValue::from_json(value, &decl.ty);
        let mut known = Known { this: read(value), old: None };
        let mut unchanged = None;
        for rule in &rules.rules {
            let program = match &rule.program {
                Ok(program) => program,
                Err(why) => {
                    let why = format!("rule compile error: {why}");
                    self.errors.add(|| FieldError::invalid(path.or_nil(), &type_, &why));
                    continue;
                }
            };
            // A rule about a change needs something that changed.
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            known.old = match (rule.uses_old, rule.optional_old, old) {
                (false, ..) => None,
                (true, false, old) => old.map(read),
                (true, true, None) => Some(Ok(CelValue::Optional(None))),
                (true, true, Some(old)) => Some(read(old).map(CelValue::some)),
            };
            let verdict = match self.run(program, &known) {
                Ok(verdict) => verdict,
                Err(Overrun::Object) => return self.exhausted(path, &type_, OUT_OF_BUDGET),
                Err(Overrun::Expression(error)) => {
                    let why = format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {}",
                        rule.named()
                    );
                    return self.exhausted(path, &type_, &why);
                }
            };
            match verdict {
                Ok(CelValue::Bool(true)) => continue,
                Err(error) => {
                    let text = error.to_string();
                    let why = if text.starts_with("no such overload") {
                        format!(
                            "'{text}': call arguments did not match a supported operator, function or macro signature for rule: \
                             {}",
                            rule.named()
                        )
                    } else {
                        format!("{text} evaluating rule: {}", rule.named())
                    };
                    self.errors.add(|| FieldError::invalid(path.or_nil(), &type_, &why));
                    continue;
                }
                Ok(_) => {}
            }
            let at = if rule.field.is_empty() { path.or_nil() } else { path.field(&rule.field).to_string() };
            let told = *unchanged.get_or_insert_with(|| self.is_unchanged(value, place)) && !rule.uses_old;
            let report = |run: &mut Self, error: FieldError| {
                let list = if told { &mut run.warnings } else { &mut run.errors };
                list.add(|| error);
            };
            known.old = old.filter(|_| rule.uses_old).map(read);
            let detail = match self.message(rule, &known) {
                Ok(detail) => detail,
                Err(why) => {
                    report(self, FieldError::invalid(at, &type_, &why));
                    return Err(Exhausted);
                }
            };
            let detail = detail.unwrap_or_else(|| {
                if rule.message.is_empty() { format!("failed rule: {}", rule.rule) } else { rule.message.clone() }
            });
            let shown = match type_.as_str() {
                Some("object" | "array") => None,
                _ => Some(crate::field::go_value(value)),
            };
            report(
                self,
                match rule.reason.as_str() {
                    "FieldValueForbidden" => FieldError::forbidden(at, &detail),
                    "FieldValueRequired" => FieldError::required(at, &detail),
                    "FieldValueDuplicate" => FieldError::with(Kind::Duplicate, at, shown, ""),
                    _ => FieldError::with(Kind::Invalid, at, shown, &detail),
                },
            );
        }
        Ok(())
    }

    fn exhausted(&mut self, path: &Path<'_>, type_: &Value, why: &str) -> Result<(), Exhausted> {
        self.errors.add(|| FieldError::invalid(path.or_nil(), type_, why));
        Err(Exhausted)
    }

    /// Runs an expression within what is left.
    fn run<'a>(&mut self, program: &Program, known: &Known<'a>) -> Result<Result<CelValue<'a>, EvalError>, Overrun> {
        let limit = self.remaining.min(Budget::PER_EXPRESSION);
        let mut budget = Budget::new(limit);
        let value = program.evaluate(known, &mut budget);
        if budget.spent() > self.remaining {
            return Err(Overrun::Object);
        }
        self.remaining -= budget.spent();
        match value {
            Err(error) if error.is_over_budget() => Err(Overrun::Expression(error)),
            value => Ok(value),
        }
    }

    /// The message that a rule's expression makes; nothing when there is none or it makes no proper one.
    ///
    /// # Errors
    /// The budget is used up.
    fn message(&mut self, rule: &Rule, known: &Known<'_>) -> Result<Option<String>, String> {
        let Some(program) = &rule.message_program else { return Ok(None) };
        let value = self.run(program, known).map_err(|overrun| match overrun {
            Overrun::Object => {
                "messageExpression evaluation failed due to running out of cost budget, no further validation \
                                rules will be run"
                    .to_owned()
            }
            Overrun::Expression(_) => format!(
                "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                rule.message_source
            ),
        })?;
        let Ok(CelValue::String(text)) = value else { return Ok(None) };
        let text = text.trim();
        let proper = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
        Ok(proper.then(|| text.to_owned()))
    }

    /// The value, or the nearest above it that can be compared, did not change.
    fn is_unchanged(&mut self, value: &Value, place: Place<'_>) -> bool {
        let Some((before, now)) = place.current.map(|current| (current, value)).or(place.nearest) else { return false };
        *self.unchanged.entry(std::ptr::from_ref(now)).or_insert_with(|| before.is(now))
    }
}

/// Why an evaluation was broken off.
enum Overrun {
    /// All rules of the object together may cost no more.
    Object,
    /// This expression may cost no more.
    Expression(EvalError),
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::sharing::Sharing;

    fn verdict(spec: Value, old: Option<Value>, new: Value) -> Verdict {
        let raw = json!({"type": "object", "properties": {"spec": spec}});
        let rules = compile(&Sharing::default().read(&raw).unwrap(), &raw, true).unwrap();
        let object = |spec: Value| json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "n"}, "spec": spec});
        let (new, old) = (object(new), old.map(object));
        evaluate(&rules, &new, old.as_ref())
    }

    fn printed(verdict: Verdict) -> Vec<String> {
        verdict.errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    fn created(spec: Value, value: Value) -> Vec<String> {
        printed(verdict(spec, None, value))
    }

    fn integers(rules: Value) -> Value {
        json!({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
               "x-kubernetes-validations": rules})
    }

    #[test]
    fn a_rule_that_fails_says_its_message_or_itself() {
        let rules = json!([{"rule": " self.a < self.b "}, {"rule": "self.a < 0", "message": " negative "}]);
        assert_eq!(
            created(integers(rules), json!({"a": 2, "b": 1})),
            ["spec: Invalid value: failed rule: self.a < self.b", "spec: Invalid value: negative"]
        );
    }

    #[test]
    fn a_message_is_made_by_an_expression_that_makes_a_proper_one() {
        let with = |expression: &str| {
            let rule = json!({"rule": "self.a < 0", "message": "plain", "messageExpression": expression});
            created(integers(json!([rule])), json!({"a": 2}))
        };
        assert_eq!(with("'a is ' + string(self.a)"), ["spec: Invalid value: a is 2"]);
        assert_eq!(with("' '"), ["spec: Invalid value: plain"]);
        assert_eq!(with("string(1 / (self.a - 2))"), ["spec: Invalid value: plain"]);
    }

    #[test]
    fn the_value_of_a_scalar_is_shown() {
        let spec = json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == 'x'", "message": "no"}]});
        assert_eq!(created(spec, json!("y")), [r#"spec: Invalid value: "y": no"#]);
    }

    #[test]
    fn a_rule_that_cannot_be_decided_fails_with_the_type_of_the_value() {
        assert_eq!(
            created(integers(json!([{"rule": "self.a / self.b > 1"}])), json!({"a": 1, "b": 0})),
            [r#"spec: Invalid value: "object": division by zero evaluating rule: self.a / self.b > 1"#]
        );
    }

    #[test]
    fn paths_name_keys_and_indexes() {
        let item =
            json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0", "message": "positive"}]});
        let spec = json!({"type": "object", "additionalProperties": {"type": "array", "items": item}});
        assert_eq!(created(spec, json!({"k": [1, 0]})), ["spec[k][1]: Invalid value: 0: positive"]);
    }

    #[test]
    fn a_rule_about_a_change_waits_for_one() {
        let spec =
            json!({"type": "string", "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "fixed"}]});
        assert_eq!(created(spec.clone(), json!("x")), [""; 0]);
        assert_eq!(printed(verdict(spec, Some(json!("x")), json!("y"))), [r#"spec: Invalid value: "y": fixed"#]);
    }

    #[test]
    fn an_optional_old_value_is_there_when_nothing_is() {
        let rule = json!({"rule": "oldSelf.hasValue() || self == 'x'", "message": "no", "optionalOldSelf": true});
        let spec = json!({"type": "string", "x-kubernetes-validations": [rule]});
        assert_eq!(created(spec.clone(), json!("y")), [r#"spec: Invalid value: "y": no"#]);
        assert_eq!(printed(verdict(spec, Some(json!("z")), json!("y"))), [""; 0]);
    }

    #[test]
    fn elements_of_map_lists_have_their_old_value() {
        let value =
            json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "grows"}]});
        let spec = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": value}}});
        let old = json!([{"k": "a", "v": 5}]);
        assert_eq!(
            printed(verdict(spec, Some(old), json!([{"k": "b", "v": 1}, {"k": "a", "v": 4}]))),
            ["spec[1].v: Invalid value: 4: grows"]
        );
    }

    #[test]
    fn what_was_wrong_and_did_not_change_is_a_warning() {
        let rule = json!([{"rule": "self != 'bad'", "message": "no"}]);
        let spec = json!({"type": "object", "properties": {
            "a": {"type": "string", "x-kubernetes-validations": rule}, "b": {"type": "string"}}});
        let found = verdict(spec.clone(), Some(json!({"a": "bad"})), json!({"a": "bad", "b": "x"}));
        assert_eq!(found.warnings, [r#"spec.a: Invalid value: "bad": no"#]);
        assert!(found.errors.is_empty());
        assert_eq!(printed(verdict(spec, Some(json!({"a": "x"})), json!({"a": "bad"}))).len(), 1);
    }

    #[test]
    fn reason_and_field_are_those_of_the_rule() {
        let rule = |reason: &str| json!([{"rule": "false", "message": "no", "reason": reason, "fieldPath": ".a"}]);
        assert_eq!(created(integers(rule("FieldValueForbidden")), json!({})), ["spec.a: Forbidden: no"]);
        assert_eq!(created(integers(rule("FieldValueRequired")), json!({})), ["spec.a: Required value: no"]);
        assert_eq!(created(integers(rule("FieldValueDuplicate")), json!({})), ["spec.a: Duplicate value"]);
    }

    #[test]
    fn names_of_the_object_can_be_reached_at_its_root() {
        let raw = json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.metadata.name == 'x'"}]});
        let rules = compile(&Sharing::default().read(&raw).unwrap(), &raw, true).unwrap();
        let object = json!({"apiVersion": "a/v1", "kind": "A", "metadata": {"name": "n"}});
        assert_eq!(
            printed(evaluate(&rules, &object, None)),
            ["<nil>: Invalid value: failed rule: self.metadata.name == 'x'"]
        );
    }

    #[test]
    fn rules_stop_when_the_budget_is_used_up() {
        let rule = json!({"rule": "self.all(x, self.all(y, self.all(z, x + y + z >= 0)))", "message": "no"});
        let spec = json!({"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [rule]});
        let found = created(spec, json!(vec![1; 200]));
        assert_eq!(
            found,
            [
                r#"spec: Invalid value: "array": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: no"#
            ]
        );
    }

    #[test]
    fn a_schema_without_rules_costs_nothing() {
        let raw = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        assert!(compile(&Sharing::default().read(&raw).unwrap(), &raw, true).is_none());
    }
}

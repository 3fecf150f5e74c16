//! What must hold for every expression: no panic, and what checks does not go wrong by types.

use paddock_cel::cost::UnknownSizes;
use paddock_cel::types::ObjectType;
use paddock_cel::{Budget, Env, Type, Value};
use proptest::prelude::*;

/// `self` with a field of each simple kind.
fn schema() -> Type {
    let fields = [
        ("i", Type::Int),
        ("s", Type::String),
        ("b", Type::Bool),
        ("l", Type::list(Type::Int)),
        ("m", Type::map(Type::String, Type::Int)),
    ];
    Type::object(ObjectType::new("Widget", fields.map(|(name, ty)| (name.to_owned(), ty))))
}

fn env() -> Env {
    let bindings = paddock_cel::libraries::bindings();
    Env::builder().variable("self", schema()).variable("any", Type::Dyn).library(bindings).build()
}

/// Runs a program on data that has all fields.
fn run(program: &paddock_cel::Program) -> Result<serde_json::Value, String> {
    let json = serde_json::json!({"i": 3, "s": "text", "b": true, "l": [1, 2, 3], "m": {"a": 1}});
    let this = Value::from_json(&json, &schema()).map_err(|error| error.to_string())?;
    let value = program.evaluate(&[("self", this), ("any", Value::from(&json))], &mut Budget::new(20_000));
    value.and_then(|value| value.to_json()).map_err(|error| error.to_string())
}

fn int(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![
        (-100_i64..100).prop_map(|number| format!("({number})")),
        Just("self.i".to_owned()),
        Just("self.l[0]".to_owned()),
        Just("self.m.a".to_owned()),
    ];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        (int(depth - 1), prop::sample::select(vec!["+", "-", "*", "/", "%"]), int(depth - 1))
            .prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
        text(depth - 1).prop_map(|text| format!("size({text})")),
        list(depth - 1).prop_map(|list| format!("{list}.size()")),
        (list(depth - 1), int(depth - 1)).prop_map(|(list, index)| format!("{list}[?{index}].orValue({index})")),
        (truth(depth - 1), int(depth - 1), int(depth - 1))
            .prop_map(|(test, yes, no)| format!("({test} ? {yes} : {no})")),
        (int(depth - 1), int(depth - 1)).prop_map(|(value, body)| format!("cel.bind(v, {value}, v + {body})")),
    ]
    .boxed()
}

fn text(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("self.s".to_owned()), Just("'é\\n'".to_owned()), Just("r'a\\b'".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        (text(depth - 1), text(depth - 1)).prop_map(|(left, right)| format!("({left} + {right})")),
        int(depth - 1).prop_map(|number| format!("string({number})")),
        text(depth - 1).prop_map(|text| format!("{text}.upperAscii()")),
        list(depth - 1).prop_map(|list| format!("{list}.map(x, string(x)).join(',')")),
    ]
    .boxed()
}

fn list(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("self.l".to_owned()), Just("[1, 2]".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        (list(depth - 1), list(depth - 1)).prop_map(|(left, right)| format!("({left} + {right})")),
        (list(depth - 1), int(depth - 1)).prop_map(|(list, number)| format!("{list}.map(x, x + {number})")),
        (list(depth - 1), truth(depth - 1)).prop_map(|(list, test)| format!("{list}.filter(x, x > 0 && {test})")),
        (list(depth - 1), int(depth - 1))
            .prop_map(|(list, value)| format!("{list}.transformList(i, v, i + v + {value})")),
        (int(depth - 1), int(depth - 1)).prop_map(|(one, other)| format!("[{one}, {other}, ?optional.none()]")),
    ]
    .boxed()
}

fn truth(depth: u32) -> BoxedStrategy<String> {
    let leaf = prop_oneof![Just("self.b".to_owned()), Just("has(self.m.x)".to_owned()), Just("true".to_owned())];
    if depth == 0 {
        return leaf.boxed();
    }
    prop_oneof![
        leaf,
        (int(depth - 1), prop::sample::select(vec!["==", "!=", "<", ">="]), int(depth - 1))
            .prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
        (truth(depth - 1), prop::sample::select(vec!["&&", "||"]), truth(depth - 1))
            .prop_map(|(left, sign, right)| format!("({left} {sign} {right})")),
        (list(depth - 1), int(depth - 1)).prop_map(|(list, number)| format!("{list}.exists(x, x == {number})")),
        (int(depth - 1), list(depth - 1)).prop_map(|(number, list)| format!("({number} in {list})")),
        (text(depth - 1), text(depth - 1)).prop_map(|(text, part)| format!("{text}.contains({part})")),
    ]
    .boxed()
}

fn of_any_type() -> impl Strategy<Value = (String, Type)> {
    prop_oneof![
        int(4).prop_map(|source| (source, Type::Int)),
        text(4).prop_map(|source| (source, Type::String)),
        list(4).prop_map(|source| (source, Type::list(Type::Int))),
        truth(4).prop_map(|source| (source, Type::Bool)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_checks_never_fails_by_types((source, ty) in of_any_type()) {
        let program = env().compile(&source).map_err(|error| TestCaseError::fail(format!("{source}: {error}")))?;
        prop_assert_eq!(program.result_type(), &ty, "{}", source);
        if let Err(error) = run(&program) {
            prop_assert!(!error.contains("no such overload") && !error.contains("no such attribute"), "{source}: {error}");
        }
    }

    #[test]
    fn declared_and_undeclared_data_give_the_same((source, _) in of_any_type()) {
        let declared = run(&env().compile(&source).unwrap());
        let undeclared = run(&env().compile(&source.replace("self", "any")).unwrap());
        prop_assert_eq!(declared, undeclared, "{}", source);
    }

    #[test]
    fn the_cost_is_within_the_estimate((source, _) in of_any_type()) {
        let program = env().compile(&source).unwrap();
        let json = serde_json::json!({"i": 3, "s": "text", "b": true, "l": [1, 2, 3], "m": {"a": 1}});
        let mut budget = Budget::default();
        let _ = program.evaluate(&[("self", Value::from_json(&json, &schema()).unwrap())], &mut budget);
        // cel-go's tracker counts one more for a path that begins at no variable; its estimate does not.
        let paths = source.matches("[?").count() as u64;
        let most = program.cost(&UnknownSizes).max.saturating_add(paths);
        prop_assert!(budget.spent() <= most, "{}: {} > {}", source, budget.spent(), most);
    }

    #[test]
    fn any_words_compile_and_run_or_err(words in prop::collection::vec(prop::sample::select(vec![
        "self", "any", ".i", ".l", ".m", ".s", "[0]", "['a']", "[?0]", ".?x", "(", ")", "[", "]", "{", "}", ",", ":", "?", "+", "-", "*",
        "/", "%", "==", "<", "in", "&&", "||", "!", "1", "1u", "2.5", "'x'", "b'y'", "null", "true", "x", "has(", ".map(x,", ".all(x,",
        ".exists(i, v,", ".filter(x,", ".sortBy(x,", "cel.bind(x,", "optional.of(", ".orValue(", ".optMap(x,", "size(", "string(", "dyn(",
        "type(", "timestamp(", ".format([", "quantity(", ".matches(", ".sum()", "url(", ".split(",
    ]), 1..14)) {
        if let Ok(program) = env().compile(&words.concat()) {
            let _ = program.cost(&UnknownSizes);
            let _ = run(&program);
        }
    }

    #[test]
    fn any_text_compiles_or_errs(source in ".{0,120}") {
        if let Err(error) = env().compile(&source) {
            prop_assert!(error.to_string().starts_with("ERROR: <input>:"));
        }
    }
}

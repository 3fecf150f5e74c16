//! Rules on declared data, as CRDs have them: what compiles, to what type, and what it is worth.

use serde_json::{Value as Json, json};

use crate::types::ObjectType;
use crate::{Budget, Env, Type, Value};

/// `self`: an object with a field of each kind.
fn schema() -> Type {
    let port = Type::object(ObjectType::new(
        "Port",
        [("name".to_owned(), Type::String), ("number".to_owned(), Type::Int), ("x-y".to_owned(), Type::String)],
    ));
    let fields = [
        ("a", Type::Int),
        ("b", Type::Int),
        ("ratio", Type::Double),
        ("name", Type::String),
        ("namespace", Type::String),
        ("on", Type::Bool),
        ("when", Type::Timestamp),
        ("day", Type::Timestamp),
        ("ttl", Type::Duration),
        ("data", Type::Bytes),
        ("any", Type::Dyn),
        ("labels", Type::map(Type::String, Type::String)),
        ("list", Type::list(Type::String)),
        ("set", Type::set(Type::String)),
        ("ports", Type::list_map(port, ["name".to_owned()])),
        ("a.b/c", Type::String),
        ("none", Type::String),
    ];
    Type::object(ObjectType::new("Widget", fields.map(|(name, ty)| (name.to_owned(), ty))))
}

fn data() -> Json {
    json!({
        "a": 1, "b": 2, "ratio": 1, "name": "x", "namespace": "ns", "on": true, "when": "2024-01-01T00:00:00Z", "day": "2024-02-29",
        "ttl": "1h", "data": "YWJj", "any": {"i": 1, "f": 1.5, "l": [1, "a", null], "n": null}, "labels": {"app": "web", "a/b": "c"},
        "list": ["a", "b"], "set": ["a", "b"], "ports": [{"name": "p", "number": 80}, {"name": "q", "number": 90, "x-y": "z"}],
        "a.b/c": "dots", "none": null,
    })
}

/// The type and the value of an expression, or what is wrong with it.
fn worth(source: &str) -> String {
    let env = Env::builder()
        .variable("self", schema())
        .variable("oldSelf", schema())
        .variable("object", Type::Dyn)
        .variable("n", Type::Int)
        .build();
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(error) => {
            let issues: Vec<_> = error.issues().iter().map(|issue| issue.message.clone()).collect();
            return issues.join("; ");
        }
    };
    let (json, ty) = (data(), schema());
    let this = Value::from_json(&json, &ty).unwrap();
    let variables = [("self", this.clone()), ("oldSelf", this), ("object", Value::from(&json)), ("n", Value::Int(7))];
    match program.evaluate(&variables, &mut Budget::default()) {
        Ok(value) => format!("{}: {}", program.result_type(), value.to_json().unwrap()),
        Err(error) => format!("{}: {error}", program.result_type()),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (rule, source, expected) in cases {
        assert_eq!(worth(source), *expected, "{rule}: {source}");
    }
}

#[test]
fn declared_fields_have_their_types() {
    check(&[
        ("int", "self.a + 1", "int: 2"),
        ("whole_json_of_a_number_is_a_double", "self.ratio / 2.0", "double: 0.5"),
        ("text", "self.name", "string: \"x\""),
        ("reserved_name", "self.__namespace__", "string: \"ns\""),
        ("escaped_name", "self.a__dot__b__slash__c", "string: \"dots\""),
        ("timestamp", "self.when.getFullYear()", "int: 2024"),
        ("date", "self.day > self.when", "bool: true"),
        ("duration", "self.ttl == duration('60m')", "bool: true"),
        ("bytes", "self.data == b'abc'", "bool: true"),
        ("map", "self.labels['a/b'] + self.labels.app", "string: \"cweb\""),
        ("list_of_objects", "self.ports.map(p, p.number)", "list(int): [80,90]"),
        ("list_map", "self.ports.filter(p, has(p.x__dash__y)).size()", "int: 1"),
        ("null_field", "has(self.none)", "bool: true"),
        ("whole", "self == oldSelf && self.ports == oldSelf.ports", "bool: true"),
        ("lists_keep_their_kind", "self.set + ['b', 'c']", "list(string): [\"a\",\"b\",\"c\"]"),
        ("sets_have_no_order", "self.set == ['b', 'a'] && self.list != ['b', 'a']", "bool: true"),
    ]);
}

#[test]
fn absent_fields() {
    check(&[
        ("has", "has(self.ports[0].x__dash__y)", "bool: false"),
        ("access", "self.ports[0].x__dash__y", "string: no such key: x__dash__y"),
        ("optional", "self.ports[0].?x__dash__y.orValue('d')", "string: \"d\""),
        ("undefined", "self.nope == 1", "undefined field 'nope'"),
        ("undefined_in_has", "has(self.nope)", "undefined field 'nope'"),
        ("undefined_deep", "self.ports.exists(p, p.nope == 1)", "undefined field 'nope'"),
        ("missing_in_dyn", "object.nope.deeper", "dyn: no such key: nope"),
        ("missing_in_map", "self.labels.nope", "string: no such key: nope"),
    ]);
}

#[test]
fn undeclared_types_are_found_when_it_runs() {
    check(&[
        ("dyn_int", "object.a + 1", "int: 2"),
        ("dyn_numbers", "object.any.f > object.any.i", "bool: true"),
        ("dyn_null", "object.any.n == null", "bool: true"),
        ("dyn_of_declared", "self.any.l.exists(x, x == 'a')", "bool: true"),
        ("wrong_operands", "object.a + object.name", "dyn: no such overload"),
        ("operand_without_operator", "object.any + object.any", "dyn: no such overload: _+_"),
        ("wrong_receiver", "object.a.startsWith('x')", "bool: no such overload: startsWith(int, string)"),
        ("field_of_a_number", "object.a.b", "dyn: no such key: b"),
        ("has_of_a_number", "has(object.a.b)", "bool: false"),
        ("condition", "object.a ? 1 : 2", "int: no such overload"),
        ("quoted_index", "object['a'] == 1", "bool: true"),
        ("type_of_dyn", "type(object.any.l) == list && type(object.a) == int", "bool: true"),
    ]);
}

#[test]
fn what_does_not_check() {
    check(&[
        ("equality", "self.a == 'x'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("int_and_double", "self.a == 1.0", "found no matching overload for '_==_' applied to '(int, double)'"),
        ("null", "self.a == null", "found no matching overload for '_==_' applied to '(int, null)'"),
        ("null_object", "self == null", "bool: false"),
        ("member_of_text", "self.name.b", "type 'string' does not support field selection"),
        (
            "range",
            "self.a.all(x, true)",
            "expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("predicate", "self.list.all(x, x)", "found no matching overload for '_&&_' applied to '(bool, string)'"),
        ("branches", "self.on ? 1 : 'a'", "found no matching overload for '_?_:_' applied to '(bool, int, string)'"),
        ("undeclared_function", "nope(self)", "undeclared reference to 'nope' (in container '')"),
        ("undeclared_member", "self.name.nope()", "undeclared reference to 'nope' (in container '')"),
        ("not_a_message", "int{a: 1}", "'int' is not a message type"),
        ("undeclared_message", "Nope{a: 1}", "undeclared reference to 'Nope' (in container '')"),
        ("optional_element", "[?self.a]", "expected type 'optional_type(int)' but found 'int'"),
        ("map_values", "{'a': 1, 'b': 'c'}", "expected type 'int' but found 'string'"),
        ("list_of_params", "[[], [1]][0].size() + [].size()", "int: 0"),
        ("loop_variables_end", "self.list.all(x, true) && x == 1", "undeclared reference to 'x' (in container '')"),
        ("loop_variables_shadow", "[1].all(n, n == 1) && n == 7", "bool: true"),
    ]);
}

#[test]
fn objects_are_built_from_declared_types() {
    let patch = ObjectType::new("JSONPatch", [("op".to_owned(), Type::String), ("value".to_owned(), Type::Dyn)]);
    let env = Env::builder().dynamic_object("Object").object(patch.into()).build();
    let build = |source: &str| match env.compile(source) {
        Ok(program) => {
            let none: [(&str, Value<'_>); 0] = [];
            let value = program.evaluate(&none, &mut Budget::default()).unwrap();
            format!("{}: {}", program.result_type(), value.to_json().unwrap())
        }
        Err(error) => error.issues()[0].message.clone(),
    };
    assert_eq!(build("Object{spec: Object.spec{replicas: 3}}"), r#"Object: {"spec":{"replicas":3}}"#);
    assert_eq!(build("Object.spec{?a: optional.none(), b__dash__c: 'x'}"), r#"Object.spec: {"b-c":"x"}"#);
    assert_eq!(build("[JSONPatch{op: 'add', value: {'a': 1}}]"), r#"list(JSONPatch): [{"op":"add","value":{"a":1}}]"#);
    assert_eq!(build("JSONPatch{op: 1}"), "expected type of field 'op' is 'string' but provided type is 'int'");
    assert_eq!(build("JSONPatch{nope: 1}"), "undefined field 'nope'");
}

#[test]
fn references_are_declared_variables_alone() {
    let env = Env::builder().variable("self", Type::Dyn).variable("oldSelf", Type::Dyn).build();
    assert!(env.compile("self == oldSelf").unwrap().references("oldSelf"));
    assert!(!env.compile("[1].all(oldSelf, oldSelf == 1)").unwrap().references("oldSelf"));
    assert!(!env.compile("self.oldSelf").unwrap().references("oldSelf"));
}

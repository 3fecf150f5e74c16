//! What expressions of the language alone are worth.

use crate::value::Value;
use crate::{Budget, Env};

/// The value of an expression as JSON, or its error.
fn worth(source: &str) -> String {
    let program = match Env::builder().library(crate::libraries::bindings()).build().compile(source) {
        Ok(program) => program,
        Err(error) => return error.to_string(),
    };
    let none: [(&str, Value<'_>); 0] = [];
    match program.evaluate(&none, &mut Budget::default()) {
        Ok(value) => value.to_json().map_or_else(|error| error.to_string(), |json| json.to_string()),
        Err(error) => format!("error: {error}"),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (rule, source, expected) in cases {
        assert_eq!(worth(source), *expected, "{rule}: {source}");
    }
}

#[test]
fn arithmetic() {
    check(&[
        ("precedence", "1 + 2 * 3", "7"),
        ("division_truncates", "-7 / 2", "-3"),
        ("modulo_has_the_sign_of_the_left", "-7 % 2", "-1"),
        ("division_by_zero", "1 / 0", "error: division by zero"),
        ("modulus_by_zero", "1 % 0", "error: modulus by zero"),
        ("double_division_by_zero", "1.0 / 0.0 > 1.0", "true"),
        ("overflow", "9223372036854775807 + 1", "error: integer overflow"),
        ("smallest_divided", "-9223372036854775808 / -1", "error: integer overflow"),
        ("uint_underflow", "0u - 1u", "error: unsigned integer overflow"),
        ("text", "'a' + 'b'", "\"ab\""),
        ("bytes", "b'a' + b'b'", "\"YWI=\""),
        ("lists", "[1] + [2, 3]", "[1,2,3]"),
        ("durations", "duration('1h') - duration('30m')", "\"1800s\""),
        ("time_and_duration", "timestamp('2024-02-28T23:00:00Z') + duration('2h')", "\"2024-02-29T01:00:00Z\""),
        ("times", "timestamp('2024-01-01T00:01:00Z') - timestamp('2024-01-01T00:00:00Z')", "\"60s\""),
        ("time_overflow", "timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"),
    ]);
}

#[test]
fn logic_absorbs_errors() {
    check(&[
        ("false_and_error", "1 / 0 == 1 && false", "false"),
        ("true_or_error", "1 / 0 == 1 || true", "true"),
        ("error_and_true", "1 / 0 == 1 && true", "error: division by zero"),
        ("first_error_wins", "1 / 0 == 1 || 1 % 0 == 1", "error: division by zero"),
        ("ternary_is_lazy", "true ? 1 : 1 / 0", "1"),
        ("exists_absorbs", "[0, 1].exists(x, 1 / x == 1)", "true"),
        ("all_absorbs", "[0, 2].all(x, 4 / x == 1)", "false"),
        ("all_fails", "[0, 1].all(x, 1 / x == 1)", "error: division by zero"),
        ("exists_one_does_not_absorb", "[0, 1].exists_one(x, 1 / x == 1)", "error: division by zero"),
    ]);
}

#[test]
fn comparison() {
    check(&[
        ("across_types", "1 < 2.5 && 1u <= 1 && -1 < 0u", "true"),
        ("dyn_numbers", "dyn(1) == 1.0 && dyn(1) == 1u", "true"),
        ("different_types", "dyn(1) == 'a'", "false"),
        ("lists", "[1, 2] == [1, 2] && [1] != [2]", "true"),
        ("maps", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true"),
        ("mixed_keys", "{1: 'a'}[dyn(1u)]", "\"a\""),
        ("text_order", "'a' < 'b' && 'B' < 'a'", "true"),
        ("nan", "double('NaN') == double('NaN')", "false"),
    ]);
}

#[test]
fn containers() {
    check(&[
        ("size_of_text", "size('héé')", "3"),
        ("member_size", "[1, 2].size() + {'a': 1}.size() + b'abc'.size()", "6"),
        ("in_list", "2 in [1, 2]", "true"),
        ("in_list_other_number", "dyn(2.0) in [1, 2]", "true"),
        ("in_map", "'a' in {'a': 1}", "true"),
        ("index", "[1, 2][1]", "2"),
        ("index_out_of_bounds", "[1, 2][2]", "error: index out of bounds: 2"),
        ("negative_index", "[1, 2][-1]", "error: index out of bounds: -1"),
        ("missing_key", "{'a': 1}['b']", "error: no such key: b"),
        ("missing_field", "{'a': 1}.b", "error: no such key: b"),
        ("has", "has({'a': 1}.a) && !has({'a': 1}.b)", "true"),
        ("repeated_key", "{'a': 1, 'a': 2}", "error: Failed with repeated key"),
    ]);
}

#[test]
fn macros() {
    check(&[
        ("map", "[1, 2].map(x, x * 2)", "[2,4]"),
        ("map_with_filter", "[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"),
        ("filter", "[1, 2, 3].filter(x, x != 2)", "[1,3]"),
        ("nested", "[[1], [2, 3]].map(l, l.map(x, x + 1))", "[[2],[3,4]]"),
        ("keys", "{'b': 1, 'a': 2}.map(k, k)", "[\"b\",\"a\"]"),
        ("exists_one", "[1, 2, 2].exists_one(x, x == 1)", "true"),
        ("index_and_value", "[5, 6].all(i, v, v == i + 5)", "true"),
        ("key_and_value", "{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"),
        ("exists_one_two", "{'a': 1, 'b': 1}.existsOne(k, v, v == 1)", "false"),
        ("transform_list", "[5, 6].transformList(i, v, i > 0, v)", "[6]"),
        ("transform_map", "{'a': 1}.transformMap(k, v, v + 1)", "{\"a\":2}"),
        ("transform_map_filter", "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, k)", "{\"b\":\"b\"}"),
        ("transform_map_entry", "{'a': 'x'}.transformMapEntry(k, v, {v: k})", "{\"x\":\"a\"}"),
        (
            "transform_map_entry_twice",
            "['x', 'x'].transformMapEntry(i, v, {v: i})",
            "error: insert failed: key x already exists",
        ),
        ("bind", "cel.bind(x, 2, x * x)", "4"),
        ("bind_shadows", "cel.bind(x, 1, cel.bind(x, x + 1, x))", "2"),
        ("map_over_outer", "[1, 2].map(x, [10].map(y, x + y)[0])", "[11,12]"),
    ]);
}

#[test]
fn optional_values() {
    check(&[
        ("of", "optional.of(1).value()", "1"),
        ("none", "optional.none().hasValue()", "false"),
        ("none_value", "optional.none().value()", "error: optional.none() dereference"),
        ("or_value_is_lazy", "optional.of(1).orValue(1 / 0)", "1"),
        ("or", "optional.none().or(optional.of(2)).value()", "2"),
        ("zero", "optional.ofNonZeroValue('').hasValue()", "false"),
        ("select", "{'a': {'b': 1}}.?a.b.orValue(0)", "1"),
        ("select_missing", "{'a': {'b': 1}}.?c.b.orValue(0)", "0"),
        ("index", "[1][?0].value() + [1][?5].orValue(7)", "8"),
        ("opt_map", "optional.of(2).optMap(x, x * 2).value()", "4"),
        ("opt_flat_map", "optional.of({'a': 1}).optFlatMap(x, x.?b).hasValue()", "false"),
        ("opt_map_of_path", "{'a': 1}.?a.optMap(x, x + 1).orValue(0)", "2"),
        ("list_element", "[1, ?optional.none(), ?optional.of(2)]", "[1,2]"),
        ("map_entry", "{?'a': optional.none(), ?'b': optional.of(1)}", "{\"b\":1}"),
        ("has_of_optional", "has({'a': {'b': 1}}.?a.b)", "true"),
        ("unwrap", "optional.unwrap([optional.of(1), optional.none()])", "[1]"),
        ("first_and_last", "[1, 2].first().value() + [1, 2].last().value()", "3"),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("int_of_text", "int('-42')", "-42"),
        ("int_of_other_text", "int('x')", "error: type conversion error from 'string' to 'int'"),
        ("int_of_double", "int(-1.9)", "-1"),
        ("int_of_large_double", "int(1e19)", "error: integer overflow"),
        ("uint_of_negative", "uint(-1)", "error: unsigned integer overflow"),
        ("double_of_text", "double('1e3')", "1000.0"),
        (
            "text_of_doubles",
            "[string(1.5), string(1000000.0), string(0.00001), string(-3.0)]",
            "[\"1.5\",\"1e+06\",\"1e-05\",\"-3\"]",
        ),
        ("text_of_others", "string(true) + string(1u) + string(b'x')", "\"true1x\""),
        ("text_of_octets", "string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"),
        ("text_of_duration", "string(duration('1h0.5s'))", "\"3600.5s\""),
        ("text_of_time", "string(timestamp('2024-01-01T00:00:00.50+01:00'))", "\"2023-12-31T23:00:00.5Z\""),
        ("seconds", "int(timestamp('1970-01-01T00:01:00Z')) + int(duration('5ns'))", "65"),
        ("bool_of_text", "bool('True')", "true"),
        ("type", "type(1) == int && type('a') != int && type(type(1)) == type", "true"),
        ("type_of_list", "type([1]) == list && type({}) == map", "true"),
        (
            "time_literal_is_checked",
            "timestamp('x')",
            "ERROR: <input>:1:11: invalid timestamp argument\n | timestamp('x')\n | ..........^",
        ),
        (
            "duration_literal_is_checked",
            "duration('1y')",
            "ERROR: <input>:1:10: invalid duration argument\n | duration('1y')\n | .........^",
        ),
        (
            "pattern_is_checked",
            "'a'.matches('(')",
            "ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^",
        ),
    ]);
}

#[test]
fn text_and_time() {
    check(&[
        ("contains", "'abc'.contains('b') && 'abc'.startsWith('ab') && 'abc'.endsWith('bc')", "true"),
        ("matches", "'a1'.matches('^[a-z]\\\\d$') && matches('xay', 'a')", "true"),
        ("pattern_that_is_no_constant", "['a', 'b'].all(p, 'ab'.matches(p + '+'))", "true"),
        ("year", "timestamp('2024-02-29T12:34:56.789Z').getFullYear()", "2024"),
        ("month_from_zero", "timestamp('2024-02-29T12:34:56.789Z').getMonth()", "1"),
        ("day_of_month", "timestamp('2024-02-29T12:34:56Z').getDayOfMonth()", "28"),
        ("date", "timestamp('2024-02-29T12:34:56Z').getDate()", "29"),
        ("day_of_week", "timestamp('2024-02-29T12:34:56Z').getDayOfWeek()", "4"),
        ("milliseconds", "timestamp('2024-02-29T12:34:56.789Z').getMilliseconds()", "789"),
        ("zone", "timestamp('2024-02-29T23:30:00Z').getHours('+01:00')", "0"),
        ("unknown_zone", "timestamp('2024-07-01T00:00:00Z').getHours('No/Where')", "error: unknown time zone No/Where"),
        ("duration_hours", "duration('90m').getHours() + duration('90m').getMinutes()", "91"),
    ]);
}

#[test]
fn errors_of_the_checker() {
    check(&[
        ("undeclared", "x", "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^"),
        (
            "no_overload",
            "1 == 'a'",
            "ERROR: <input>:1:3: found no matching overload for '_==_' applied to '(int, string)'\n | 1 == 'a'\n | ..^",
        ),
        (
            "no_member_overload",
            "1.startsWith('a')",
            "ERROR: <input>:1:13: found no matching overload for 'startsWith' applied to 'int.(string)'\n | 1.startsWith('a')\n | ............^",
        ),
        (
            "several_in_order",
            "x + y",
            "ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x + y\n | ^\nERROR: <input>:1:5: undeclared reference to 'y' (in container '')\n | x + y\n | ....^",
        ),
        (
            "elements_of_one_type",
            "[1, 'a']",
            "ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a']\n | ....^",
        ),
        (
            "second_line",
            "true &&\n  f(1)",
            "ERROR: <input>:2:4: undeclared reference to 'f' (in container '')\n |   f(1)\n | ...^",
        ),
    ]);
}

#[test]
fn cost_limit_ends_evaluation() {
    let list = "[0,1,2,3,4,5,6,7,8,9]";
    let loops =
        format!("{list}.all(a, {list}.all(b, {list}.all(c, {list}.all(d, {list}.all(e, {list}.all(f, true))))))");
    assert_eq!(worth(&loops), "error: operation cancelled: actual cost limit exceeded");
    assert_eq!(worth(&format!("{loops} || true")), "error: operation cancelled: actual cost limit exceeded");
}

#[test]
fn memory_is_limited() {
    let mut source = "size(l0)".to_owned();
    for step in 1..60 {
        source = format!("cel.bind(l{}, l{step} + l{step}, {source})", step - 1);
    }
    assert_eq!(
        worth(&format!("cel.bind(l59, [1, 2], {source})")),
        "error: operation cancelled: actual cost limit exceeded"
    );
}

#[test]
fn types_that_explode_are_refused() {
    let mut source = "size(m0)".to_owned();
    for step in 1..60 {
        source = format!("cel.bind(m{}, {{m{step}: m{step}}}, {source})", step - 1);
    }
    let source = format!("cel.bind(m59, {{1: 1}}, {source})");
    assert_eq!(worth(&source), "ERROR: <input>:-1:0: the types of the expression are too large");
}

#[test]
fn the_deepest_expressions_run_on_a_small_stack() {
    let deep = |before: &str, inner: &str, after: &str, count: usize| {
        format!("{}{inner}{}", before.repeat(count), after.repeat(count))
    };
    let sources = [
        deep("size([", "1", "])", 110),
        deep("[1].all(x, ", "true", ")", 110),
        deep("{1: ", "1", "}", 240),
        deep("true ? ", "1", " : 1", 1),
        deep("!(", "true", ")", 240),
        deep("cel.bind(x, 1, ", "x", ")", 240),
        format!("1{}", " + 1".repeat(240)),
        format!("optional.of(1){}", ".optMap(x, x)".repeat(60)),
        deep("[1].map(x, ", "1", ")", 80),
    ];
    // Most of it is the parser's, in builds that are not optimised.
    let small = std::thread::Builder::new().stack_size(7 << 18);
    let worker = small.spawn(move || {
        for source in &sources {
            let value = worth(source);
            assert!(!value.contains("ERROR") && !value.contains("error"), "{source}: {value}");
        }
    });
    worker.unwrap().join().unwrap();
}

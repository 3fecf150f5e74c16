use super::*;
use crate::macros;

/// A tree in one line: calls as `f(a, b)`, comprehensions by their parts.
fn show(expr: &Expr) -> String {
    let list = |parts: &mut dyn Iterator<Item = &Expr>| parts.map(show).collect::<Vec<_>>().join(", ");
    match &expr.kind {
        ExprKind::Literal(Literal::Null) => "null".into(),
        ExprKind::Literal(Literal::Bool(value)) => value.to_string(),
        ExprKind::Literal(Literal::Int(value)) => value.to_string(),
        ExprKind::Literal(Literal::Uint(value)) => format!("{value}u"),
        ExprKind::Literal(Literal::Double(value)) => format!("{value:?}"),
        ExprKind::Literal(Literal::String(value)) => format!("{value:?}"),
        ExprKind::Literal(Literal::Bytes(value)) => format!("b{value:?}"),
        ExprKind::Ident(name) => name.to_string(),
        ExprKind::Select(select) if select.test_only => format!("has({}.{})", show(&select.operand), select.field),
        ExprKind::Select(select) => format!("{}.{}", show(&select.operand), select.field),
        ExprKind::Call(call) => {
            let target = call.target.as_ref().map(|target| format!("{}.", show(target))).unwrap_or_default();
            format!("{target}{}({})", call.function, list(&mut call.args.iter()))
        }
        ExprKind::List(made) => format!("[{}]{:?}", list(&mut made.elements.iter()), made.optional),
        ExprKind::Map(entries) => {
            let entry = |entry: &MapEntry| {
                format!("{}{}: {}", if entry.optional { "?" } else { "" }, show(&entry.key), show(&entry.value))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
        ExprKind::Struct(made) => {
            let field = |field: &StructField| {
                format!("{}{}: {}", if field.optional { "?" } else { "" }, field.name, show(&field.value))
            };
            format!("{}{{{}}}", made.type_name, made.fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        ExprKind::Comprehension(fold) => format!(
            "fold({}{} in {}, {} = {}, {}, {}, {})",
            fold.var,
            fold.var2.as_ref().map(|name| format!(",{name}")).unwrap_or_default(),
            show(&fold.range),
            fold.accu,
            show(&fold.init),
            show(&fold.condition),
            show(&fold.step),
            show(&fold.result)
        ),
    }
}

fn known() -> Vec<Macro> {
    macros::standard().into_iter().chain([macros::binding()]).collect()
}

fn tree(source: &str) -> String {
    match parse(source, &known()) {
        Ok(parsed) => show(&parsed.root),
        Err(issue) => format!("error at {:?}: {}", issue.offset, issue.message),
    }
}

#[track_caller]
fn check(cases: &[(&str, &str, &str)]) {
    for (rule, source, expected) in cases {
        assert_eq!(tree(source), *expected, "{rule}: {source}");
    }
}

#[test]
fn literals() {
    check(&[
        ("int", "42", "42"),
        ("hex", "0xFf", "255"),
        ("negative_hex", "-0x10", "-16"),
        ("smallest_int", "-9223372036854775808", "-9223372036854775808"),
        ("int_too_large", "9223372036854775808", "error at Some(0): invalid int literal"),
        ("uint", "7u", "7u"),
        ("uint_hex", "0xAU", "10u"),
        ("double", "1.5e3", "1500.0"),
        ("double_without_whole", ".5", "0.5"),
        ("double_exponent", "1e-2", "0.01"),
        ("escapes", r#""\a\n\t\\\x41\u00e9\U0001F600\101\'""#, r#""\u{7}\n\t\\Aé😀A'""#),
        ("raw", r#"r"a\n""#, r#""a\\n""#),
        ("triple_quoted", "'''a'b\n''c'''", "\"a'b\\n''c\""),
        ("bytes_octets", r"b'\xffé'", "b[255, 195, 169]"),
        ("bytes_take_no_code_points", r"b'\u00ff'", "error at Some(0): invalid bytes literal"),
        ("surrogate_is_no_letter", r"'\ud800'", "error at Some(0): invalid string literal"),
        ("unfinished", "'a", "error at Some(0): Syntax error: token recognition error at: ''a'"),
        ("null_and_bools", "[null, true, false]", "[null, true, false][]"),
    ]);
}

#[test]
fn operators_bind_as_in_the_grammar() {
    check(&[
        ("product_before_sum", "1 + 2 * 3", "_+_(1, _*_(2, 3))"),
        ("left_to_right", "1 - 2 - 3", "_-_(_-_(1, 2), 3)"),
        ("minus_without_space", "1-1", "_-_(1, 1)"),
        ("relation_after_sum", "a + 1 < b in c", "@in(_<_(_+_(a, 1), b), c)"),
        ("and_before_or", "a || b && c", "_||_(a, _&&_(b, c))"),
        ("chains_are_balanced", "a && b && c && d", "_&&_(_&&_(a, b), _&&_(c, d))"),
        ("ternary", "a ? b : c ? d : e", "_?_:_(a, b, _?_:_(c, d, e))"),
        ("double_not", "!!a", "a"),
        ("triple_not", "!!!a", "!_(a)"),
        ("negated_name", "-a.b", "-_(a.b)"),
        ("negated_number", "--1", "-_(-1)"),
        ("parentheses", "(a + b) * c", "_*_(_+_(a, b), c)"),
        ("comment", "a // b\n + c", "_+_(a, c)"),
    ]);
}

#[test]
fn members_and_constructors() {
    check(&[
        ("select_and_index", "a.b[0].c()", "_[_](a.b, 0).c()"),
        ("optional_select", "a.?b[?0]", r#"_[?_](_?._(a, "b"), 0)"#),
        ("leading_dot", ".a.b(1)", ".a.b(1)"),
        ("map", "{'a': 1, ?'b': c,}", r#"{"a": 1, ?"b": c}"#),
        ("list_with_optional", "[a, ?b, c]", "[a, b, c][1]"),
        ("message", "Object.spec{a: 1, ?b: c}", "Object.spec{a: 1, ?b: c}"),
        ("reserved", "a + for", "error at Some(4): reserved identifier: for"),
        ("reserved_is_a_field", "a.for", "a.for"),
        (
            "in_is_no_field",
            "a.in",
            "error at Some(2): Syntax error: no viable alternative at input 'in' expecting IDENTIFIER",
        ),
        (
            "empty_argument",
            "f(,)",
            "error at Some(2): Syntax error: mismatched input ',' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
        ),
        ("rest", "a b", "error at Some(2): Syntax error: extraneous input 'b' expecting <EOF>"),
    ]);
}

#[test]
fn macros_become_comprehensions() {
    check(&[
        ("has", "has(a.b.c)", "has(a.b.c)"),
        ("has_takes_a_field", "has(a)", "error at Some(4): invalid argument to has() macro"),
        (
            "all",
            "l.all(x, x > 0)",
            "fold(x in l, @result = true, @not_strictly_false(@result), _&&_(@result, _>_(x, 0)), @result)",
        ),
        (
            "exists",
            "l.exists(x, x)",
            "fold(x in l, @result = false, @not_strictly_false(!_(@result)), _||_(@result, x), @result)",
        ),
        (
            "exists_one",
            "l.exists_one(x, x)",
            "fold(x in l, @result = 0, true, _?_:_(x, _+_(@result, 1), @result), _==_(@result, 1))",
        ),
        ("map", "l.map(x, x + 1)", "fold(x in l, @result = [][], true, _+_(@result, [_+_(x, 1)][]), @result)"),
        (
            "map_with_filter",
            "l.map(x, x > 0, x)",
            "fold(x in l, @result = [][], true, _?_:_(_>_(x, 0), _+_(@result, [x][]), @result), @result)",
        ),
        (
            "filter",
            "l.filter(x, x)",
            "fold(x in l, @result = [][], true, _?_:_(x, _+_(@result, [x][]), @result), @result)",
        ),
        (
            "two_variables",
            "l.all(i, v, i < v)",
            "fold(i,v in l, @result = true, @not_strictly_false(@result), _&&_(@result, _<_(i, v)), @result)",
        ),
        (
            "transform_map",
            "m.transformMap(k, v, v)",
            "fold(k,v in m, @result = {}, true, cel.@mapInsert(@result, k, v), @result)",
        ),
        ("bind", "cel.bind(x, 1, x)", "fold(#unused in [][], x = 1, false, x, x)"),
        ("bind_of_others", "a.bind(x, 1, x)", "a.bind(x, 1, x)"),
        (
            "opt_map",
            "o.optMap(x, x)",
            "_?_:_(o.hasValue(), optional.of(fold(#unused in [][], x = o.value(), false, x, x)), optional.none())",
        ),
        ("loop_variable_is_a_name", "l.all(x.y, true)", "error at Some(7): argument must be a simple name"),
        ("other_counts_are_calls", "l.all(x)", "l.all(x)"),
    ]);
}

#[test]
fn depth_is_limited() {
    let limit = "error at None: expression recursion limit exceeded: 250";
    assert_eq!(tree(&format!("{}1{}", "(".repeat(249), ")".repeat(249))), "1");
    assert_eq!(tree(&format!("{}1{}", "(".repeat(90_000), ")".repeat(9_000))), limit);
    assert_eq!(tree(&format!("{}1{}", "[".repeat(45_000), "]".repeat(45_000))), limit);
    assert_eq!(tree(&format!("1{}", "+1".repeat(40_000))), limit);
    assert_eq!(tree(&format!("a{}", ".a".repeat(40_000))), limit);
    assert!(tree(&"!".repeat(40_000)).contains("mismatched input '<EOF>'"));
    assert_eq!(tree(&"a ? b : ".repeat(10_000)), limit);
    assert!(tree(&format!("a{}", "&& a".repeat(20_000))).starts_with("_&&_"));
    let nested = format!("a{}", ".optMap(x, x)".repeat(300));
    assert_eq!(tree(&nested), limit);
}

#[test]
fn length_is_limited() {
    let error = "error at None: expression code point size exceeds limit: size: 100001, limit 100000";
    assert_eq!(tree(&" ".repeat(100_001)), error);
}

proptest::proptest! {
    #[test]
    fn any_text_parses_or_errs(source in ".{0,200}") {
        let _ = parse(&source, &known());
    }

    #[test]
    fn any_tokens_parse_or_err(parts in proptest::collection::vec(proptest::sample::select(vec![
        "a", "1", "1u", ".", "?", "(", ")", "[", "]", "{", "}", ":", ",", "'x'", "b'", "\\", "all", "has", "map", "+", "-", "!", "&&", "in", " ",
    ]), 0..60)) {
        let _ = parse(&parts.concat(), &known());
    }
}

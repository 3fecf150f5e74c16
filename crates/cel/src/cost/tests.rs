//! Costs that follow by hand from the rules.

use serde_json::json;

use super::*;
use crate::value::Value;

/// What a call of an overload did cost, with JSON arguments and result.
fn called(id: &str, args: &serde_json::Value, result: &serde_json::Value) -> u64 {
    let args: Vec<Value<'_>> = args.as_array().unwrap().iter().map(Value::from).collect();
    call_cost(id)(&args, &Value::from(result))
}

#[test]
fn a_call_costs_what_its_rule_says() {
    let text = "x".repeat(25);
    for (id, args, result, cost) in [
        // Reading a text: a tenth of its letters, rounded up.
        ("string_lower_ascii", json!([text]), json!(text), 3),
        ("string_to_quantity", json!(["1Gi"]), json!(null), 1),
        ("starts_with_string", json!([text, "x"]), json!(true), 3),
        ("string_to_url", json!([""]), json!(null), 0),
        // Reading and building: twice that.
        ("string_replace_string_string", json!([text, "x", "y"]), json!(null), 5),
        ("list_join", json!([["a"]]), json!(text), 5),
        // A text against a regular expression of 4 letters: ceil(26 / 10) * ceil(4 / 4).
        ("matches_string", json!([text, "[ab]"]), json!(true), 3),
        ("string_find_string", json!(["", "a{10}b{10}"]), json!(""), 3),
        // ceil(25 / 10) * ceil(12 / 10).
        ("contains_string", json!([text, "xxxxxxxxxxxx"]), json!(true), 6),
        ("add_string", json!([text, "xxxxxxx"]), json!(null), 4),
        // The shorter of both.
        ("equals", json!([text, "x"]), json!(false), 1),
        ("equals", json!([1, 2]), json!(false), 1),
        ("less_string", json!([text, text]), json!(false), 3),
        ("in_list", json!([1, [1, 2, 3]]), json!(true), 3),
        // Every element, or a tenth of every letter rounded down.
        ("list_int_sum_int", json!([[1, 2, 3]]), json!(6), 3),
        ("list_string_max_string", json!([[text, text]]), json!(text), 4),
        ("string_index_of_string", json!([text, "y"]), json!(-1), 2),
        // The list that is made, and the call.
        ("list_reverse", json!([[1, 2, 3]]), json!([3, 2, 1]), 14),
        ("lists_range", json!([5]), json!([0, 1, 2, 3, 4]), 16),
        ("list_flatten_int", json!([[[1], [2]], 3]), json!([1, 2]), 17),
        // Each with each, twice; texts a tenth more.
        ("list_int_sort", json!([[1, 2, 3]]), json!([1, 2, 3]), 29),
        ("list_string_sort", json!([["a", "b", "c"]]), json!([]), 29),
        ("list_string_sortByAssociatedKeys", json!([[1, 2], ["a", "b"]]), json!([1, 2]), 19),
        ("list_distinct", json!([[]]), json!([]), 11),
        ("list_sets_contains_list", json!([[1, 2, 3], [1, 2]]), json!(true), 7),
        ("list_sets_equivalent_list", json!([[1, 2, 3], [1, 2]]), json!(false), 13),
        // 10 for the list, 2 for reading 20 letters, 50 for each second one.
        ("authorizer_labelselector", json!([null, "aaaaaaaaaaaaaaaaaaaa"]), json!(null), 512),
        ("resourcecheck_check", json!([null, "get"]), json!(null), 350_000),
        // Nothing special.
        ("add_int64", json!([1, 2]), json!(3), 1),
        ("authorizer_path", json!([null, text]), json!(null), 1),
        ("is_url_string", json!([text]), json!(false), 1),
    ] {
        assert_eq!(called(id, &args, &result), cost, "{id} {args}");
    }
}

#[test]
fn ranges_do_not_overflow() {
    let most = SizeEstimate::UNKNOWN;
    assert_eq!(most.add(most).max, u64::MAX);
    assert_eq!(most.multiply(most).max, u64::MAX);
    assert_eq!(most.by_factor(2.0).max, u64::MAX);
    assert_eq!(selector_cost(most).max, u64::MAX);
}

/// Texts and lists of at most so many letters and elements, as a CRD's schema declares them.
struct Declared;

impl Sizes for Declared {
    fn size(&self, path: &[String], _: &Type) -> Option<SizeEstimate> {
        let max = match path.join(".").as_str() {
            "self" => 20,
            "self.text" | "self.map.@values" => 100,
            "self.list" | "self.map" => 10,
            "self.list.@items" | "self.map.@keys" => 5,
            "self.lists" => 3,
            "self.lists.@items" => 4,
            "self.lists.@items.@items" => 7,
            "self.number" | "self.truth" => 0,
            _ => return None,
        };
        Some(SizeEstimate { min: 0, max })
    }
}

fn environment_type() -> Type {
    let ty = crate::types::ObjectType::new(
        "object",
        [
            ("text".to_owned(), Type::String),
            ("list".to_owned(), Type::list(Type::String)),
            ("lists".to_owned(), Type::list(Type::list(Type::String))),
            ("map".to_owned(), Type::map(Type::String, Type::String)),
            ("number".to_owned(), Type::Int),
            ("truth".to_owned(), Type::Bool),
        ],
    );
    Type::object(ty)
}

fn environment() -> crate::Env {
    crate::Env::builder()
        .variable("self", environment_type())
        .variable("authorizer", crate::libraries::AUTHORIZER)
        .variable("unknown", Type::String)
        .build()
}

#[test]
fn an_expression_can_cost_what_its_parts_can() {
    let environment = environment();
    for (expression, min, max) in [
        // Constants are free, a name and a field cost 1 each, a call at least 1.
        ("true", 0, 0),
        ("1 + 2", 1, 1),
        ("self.number", 2, 2),
        ("has(self.number)", 1, 1),
        ("-self.number + 1", 4, 4),
        ("[1, 2]", 10, 10),
        ("{'a': self.number}", 32, 32),
        // Numbers of a schema have no size, so comparing them is free.
        ("self.number == 1", 2, 2),
        ("1 == 1", 1, 1),
        // The shorter of both texts, a tenth of its letters.
        ("self.text == 'abc'", 3, 3),
        ("self.text == self.text", 5, 14),
        ("self.text < 'x'", 3, 3),
        ("self.text.size() < 5", 4, 4),
        ("self.text.startsWith('0123456789a')", 4, 4),
        // ceil(100 / 10) * ceil(3 / 10).
        ("self.text.contains('xyz')", 2, 12),
        // ceil(101 / 10) * ceil(6 / 4).
        ("self.text.matches('[a-z]+')", 4, 24),
        ("self.text.find('[a-z]+') == ''", 4, 24),
        ("self.text + 'abcdefghi'", 3, 13),
        ("'a' in self.list", 2, 12),
        // && and || may stop after the first, ?: takes one of two.
        ("self.truth && self.text == 'a'", 2, 5),
        ("self.truth || 1 == 1", 2, 3),
        ("self.truth ? self.text : 'a'", 2, 4),
        ("(self.truth ? 'abcdefghijkl' : 'a') == 'abcdefghijkl'", 3, 4),
        // A loop: its range and its result once, condition and step for each element.
        ("[1, 2, 3].all(x, x > 0)", 20, 26),
        ("self.list.all(x, x == 'a')", 3, 53),
        ("self.list.exists(x, x == 'a')", 3, 63),
        ("self.list.map(x, x + 'b')", 13, 153),
        ("self.list.exists_one(x, x == 'a')", 4, 44),
        ("self.map.all(k, k == 'abcdefghijk')", 3, 53),
        ("self.map.all(k, v, k == v)", 3, 63),
        ("self.lists.all(l, l.all(x, x == ''))", 3, 3 * (4 * 4 + 1 + 1 + 1 + 2) + 3),
        // Functions of the libraries.
        ("self.text.lowerAscii()", 2, 12),
        ("self.text.replace('a', 'bcd').matches('x')", 3, 53),
        ("self.list.join(',')", 2, 8),
        ("self.text.split(',').all(x, true)", 3, 2 + 20 + 100 * 3 + 1),
        ("[1, 2, 3].sum()", 13, 13),
        ("self.list.isSorted()", 2, 22),
        ("['a', 'bb'].isSorted()", 12, 2 * (1 + 1_844_674_407_370_955_264) + 10),
        ("[3, 1, 2].sort()", 39, 39),
        ("[3, 1, 2].sortBy(x, -x)", 104, 104),
        ("lists.range(5)", 16, 16),
        ("self.list.distinct()", 13, 213),
        ("sets.contains(self.list, ['a', 'b'])", 13, 33),
        // Reading a text costs a tenth of its letters.
        ("quantity('1Gi').isGreaterThan(quantity('1'))", 3, 3),
        ("ip('1.2.3.4').family() == 4", 3, 3),
        ("isIP(self.text)", 2, 12),
        ("ip.isCanonical(self.text)", 2, 22),
        ("isURL(self.text)", 3, 3),
        ("url(self.text).getHost()", 3, 13),
        ("cidr('10.0.0.0/8').containsIP('10.0.0.1')", 3, 6),
        ("cidr('10.0.0.0/8').containsCIDR(cidr('10.0.0.0/16'))", 6, 10),
        ("semver('1.0.0').major()", 2, 2),
        ("quantity('1') == quantity('2')", 3, 3),
        ("format.dns1123Label().validate(self.text).hasValue()", 4, 4 + 320),
        ("authorizer.path('/healthz').check('get').allowed()", 350_003, 350_003),
        ("authorizer.group('').resource('pods').labelSelector('app=a').check('list').allowed()", 350_165, 350_165),
        // Nothing is known of this one.
        ("unknown == 'a'", 2, 2),
        ("unknown.lowerAscii()", 1, 1_844_674_407_370_955_265),
    ] {
        let program = environment.compile(expression).unwrap();
        assert_eq!(program.cost(&Declared), CostEstimate { min, max }, "{expression}");
    }
}

/// What no schema declares bounds nothing, and nothing overflows.
#[test]
fn loops_over_the_unknown_can_cost_anything() {
    let environment = crate::Env::builder().variable("lists", Type::list(Type::list(Type::Int))).build();
    let program = environment.compile("lists.all(l, l.all(x, lists.exists(m, x in m)))").unwrap();
    assert_eq!(program.cost(&UnknownSizes).max, u64::MAX);
}

/// What an evaluation did cost.
fn spent(expression: &str) -> u64 {
    let me = json!({"text": "abcdefghijklmno", "list": ["a", "b", "c"], "number": 1, "truth": true});
    let ty = environment_type();
    let value = Value::from_json(&me, &ty).unwrap();
    let mut budget = crate::Budget::default();
    environment().compile(expression).unwrap().evaluate(&[("self", value)], &mut budget).unwrap();
    budget.spent()
}

#[test]
fn an_evaluation_costs_what_it_does() {
    for (expression, cost) in [
        // Constants, and what is made of constants alone, are free.
        ("[1, 2, 3]", 0),
        ("{'a': [1]}", 0),
        ("[uint(1), uint('2')]", 0),
        ("duration('1h')", 0),
        ("1 + 2", 1),
        ("self.number", 2),
        ("[self.number]", 12),
        ("{'a': self.number}", 32),
        ("has(self.number)", 1),
        ("self.text == 'abcdefghijklmno'", 4),
        ("self.text.size()", 3),
        ("self.text + 'abcdef'", 5),
        ("self.text.contains('bc')", 4),
        ("self.text.matches('[a-z]+')", 6),
        // A loop ends when its condition says so: range 2, condition 2, step 1 + 2, condition 2, result 1.
        ("self.list.all(x, x == 'b')", 10),
        ("self.list.all(x, x == x)", 2 + 1 + 3 * (2 + 1 + 3)),
        ("self.list.map(x, x + 'b')", 2 + 1 + 3 * (1 + 1 + 10 + 2)),
        ("self.truth || self.text == 'a'", 2),
        ("self.truth ? self.text : self.list[0]", 4),
        ("quantity('100Mi').isLessThan(quantity('1Gi'))", 3),
    ] {
        assert_eq!(spent(expression), cost, "{expression}");
    }
}

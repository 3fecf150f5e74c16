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

//! What a call did cost: cel-go's cost tracker with Kubernetes' rules.

use super::{
    AUTHORIZATION_CHECK_COST, LIST_CREATE_BASE_COST, REGEX_STRING_LENGTH_COST_FACTOR, STRING_TRAVERSAL_COST_FACTOR,
    SizeEstimate, by_factor, selector_cost,
};
use crate::libraries;
use crate::value::Value;

/// What a call did cost, from its arguments (receiver first) and its result.
pub(crate) type CallCost = for<'a> fn(&[Value<'a>], &Value<'a>) -> u64;

/// What a call costs besides its work, when its rule says so.
const CALL_COST: u64 = 1;

/// The rule for an overload. Resolved once when a program is planned.
pub(crate) fn call_cost(overload_id: &str) -> CallCost {
    match overload_id {
        "pathcheck_check" | "resourcecheck_check" => |_, _| AUTHORIZATION_CHECK_COST,
        "authorizer_fieldselector" | "authorizer_labelselector" => {
            |args, _| selector_cost(SizeEstimate::fixed(size_at(args, 1))).max
        }
        "list_a_index_of_int" | "list_a_last_index_of_int" => |args, _| args.first().map_or(0, traversal),
        "string_index_of_string" | "string_index_of_string_int" => |args, _| args.first().map_or(0, traversal),
        "string_last_index_of_string" | "string_last_index_of_string_int" => {
            |args, _| args.first().map_or(0, traversal)
        }
        "string_to_url" | "string_lower_ascii" | "string_upper_ascii" | "string_trim" => read_once,
        "string_substring_int" | "string_substring_int_int" | "string_jsonpatch_escapeKey_string" => read_once,
        "string_to_ip" | "is_ip" | "string_to_cidr" | "is_cidr" => read_once,
        "string_to_quantity" | "is_quantity_string" => read_once,
        "string_to_semver" | "string_bool_to_semver" | "is_semver_string" | "is_semver_string_bool" => read_once,
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string" => read_once,
        "strings_quote" | "string_format" => read_once,
        "string_replace_string_string" | "string_replace_string_string_int" => read_and_built,
        "string_split_string" | "string_split_string_int" | "ip_is_canonical" => read_and_built,
        "list_join" | "list_join_string" => |_, result| by_factor(size_of(result), 2.0 * STRING_TRAVERSAL_COST_FACTOR),
        "string_find_string" | "string_find_all_string" | "string_find_all_string_int" | "matches_string" => {
            |args, _| matching(size_at(args, 0), size_at(args, 1))
        }
        "format-validate" => |args, _| {
            let pattern = args.first().and_then(libraries::format_regex_size).unwrap_or_default();
            matching(size_at(args, 1), pattern)
        },
        "cidr_contains_ip_ip" => |args, _| by_factor(2 * size_at(args, 0), STRING_TRAVERSAL_COST_FACTOR),
        "cidr_contains_ip_string" => |args, _| {
            by_factor(2 * size_at(args, 0), STRING_TRAVERSAL_COST_FACTOR)
                + by_factor(size_at(args, 1), STRING_TRAVERSAL_COST_FACTOR)
        },
        "cidr_contains_cidr" => |args, _| contains_cidr(size_at(args, 0)),
        "cidr_contains_cidr_string" => {
            |args, _| contains_cidr(size_at(args, 0)) + by_factor(size_at(args, 1), STRING_TRAVERSAL_COST_FACTOR)
        }
        "list_slice" | "lists_range" | "list_reverse" => |_, result| listing(size_of(result), 1.0),
        "list_flatten" => |args, _| listing(size_at(args, 0), 1.0),
        "list_flatten_int" => |args, _| match args.get(1) {
            Some(Value::Int(depth)) => listing(size_at(args, 0), *depth as f64),
            _ => listing(size_at(args, 0), 1.0),
        },
        "list_distinct" => |args, _| args.first().map_or(0, comparing_all),
        "list_sets_contains_list" | "list_sets_intersects_list" => |args, _| comparing_sets(args, 1.0),
        "list_sets_equivalent_list" => |args, _| comparing_sets(args, 2.0),
        "in_list" => |args, _| size_at(args, 1),
        "equals" => |args, _| match args.first() {
            Some(value @ Value::Opaque(_)) if libraries::is_unit_comparable(&value.type_of()) => 1,
            _ => shorter(args),
        },
        "not_equals" => |args, _| shorter(args),
        "less_string" | "less_equals_string" | "greater_string" | "greater_equals_string" => |args, _| shorter(args),
        "less_bytes" | "less_equals_bytes" | "greater_bytes" | "greater_equals_bytes" => |args, _| shorter(args),
        "add_string" | "add_bytes" => {
            |args, _| by_factor(size_at(args, 0).saturating_add(size_at(args, 1)), STRING_TRAVERSAL_COST_FACTOR)
        }
        "contains_string" => |args, _| {
            let [text, searched] = [0, 1].map(|at| by_factor(size_at(args, at), STRING_TRAVERSAL_COST_FACTOR));
            text.saturating_mul(searched)
        },
        id => of_each_type(id).unwrap_or(|_, _| 1),
    }
}

/// The rules of functions that have an overload for each type of element.
fn of_each_type(id: &str) -> Option<CallCost> {
    if libraries::is_sort(id) {
        return Some(|args, _| args.first().map_or(0, comparing_all));
    }
    if libraries::is_sort_by(id) {
        return Some(|args, _| args.get(1).map_or(0, comparing_all));
    }
    let of_list = id.strip_prefix("list_")?;
    let traverses = ["_is_sorted_bool", "_sum_", "_max_", "_min_"].iter().any(|part| of_list.contains(part));
    traverses.then_some(|args, _| args.first().map_or(0, traversal))
}

fn read_once<'a>(args: &[Value<'a>], _: &Value<'a>) -> u64 {
    by_factor(size_at(args, 0), STRING_TRAVERSAL_COST_FACTOR)
}

fn read_and_built<'a>(args: &[Value<'a>], _: &Value<'a>) -> u64 {
    by_factor(size_at(args, 0), 2.0 * STRING_TRAVERSAL_COST_FACTOR)
}

/// A text of this length against a regular expression of that length. An empty text is not free.
fn matching(text: u64, pattern: u64) -> u64 {
    let text = by_factor(text.saturating_add(1), STRING_TRAVERSAL_COST_FACTOR);
    text.saturating_mul(by_factor(pattern, REGEX_STRING_LENGTH_COST_FACTOR))
}

fn contains_cidr(size: u64) -> u64 {
    by_factor(2 * size, STRING_TRAVERSAL_COST_FACTOR) + by_factor(size, STRING_TRAVERSAL_COST_FACTOR) + 1
}

/// A call that makes a list, with some work for each element.
fn listing(elements: u64, factor: f64) -> u64 {
    ((elements as f64 * factor) as u64).saturating_add(CALL_COST).saturating_add(LIST_CREATE_BASE_COST)
}

/// Each element against each other.
fn comparing_all(list: &Value<'_>) -> u64 {
    let Value::List(list) = list else { return 1 };
    let texts = matches!(list.get(0), Ok(Value::String(_) | Value::Bytes(_)));
    let elements = list.len() as u64;
    listing(elements.saturating_mul(elements), if texts { 2.0 + STRING_TRAVERSAL_COST_FACTOR } else { 2.0 })
}

fn comparing_sets(args: &[Value<'_>], factor: f64) -> u64 {
    let pairs = size_at(args, 0).saturating_mul(size_at(args, 1));
    CALL_COST.saturating_add((pairs as f64 * factor) as u64)
}

/// Comparing ends with the shorter of both.
fn shorter(args: &[Value<'_>]) -> u64 {
    by_factor(size_at(args, 0).min(size_at(args, 1)), STRING_TRAVERSAL_COST_FACTOR)
}

fn size_at(args: &[Value<'_>], index: usize) -> u64 {
    args.get(index).map_or(0, size_of)
}

/// What `size()` would say; 1 for what has no size.
fn size_of(value: &Value<'_>) -> u64 {
    let size = match value {
        Value::String(text) => text.chars().count(),
        Value::Bytes(bytes) => bytes.len(),
        Value::List(list) => list.len(),
        Value::Map(map) => map.len(),
        Value::Object(object) => match (object.json(), object.built_fields()) {
            (Some(properties), _) => properties.len(),
            (None, Some(fields)) => fields.len(),
            (None, None) => 1,
        },
        Value::Optional(Some(value)) => return size_of(value),
        Value::Opaque(_) => return libraries::size(value),
        _ => 1,
    };
    size as u64
}

/// What going through a value with all that is in it costs. Texts count octets here, rounded down.
fn traversal(value: &Value<'_>) -> u64 {
    let text = |length: usize| (length as f64 * STRING_TRAVERSAL_COST_FACTOR) as u64;
    match value {
        Value::String(letters) => text(letters.len()),
        Value::Bytes(octets) => text(octets.len()),
        Value::List(list) => list.iter().flatten().fold(0, |cost, element| cost.saturating_add(traversal(&element))),
        Value::Map(map) => map
            .iter()
            .flatten()
            .fold(0, |cost, (key, value)| cost.saturating_add(traversal(&key)).saturating_add(traversal(&value))),
        Value::Object(object) => {
            let names = object.ty().fields().map(|(name, _)| name);
            names.fold(0, |cost, name| match object.get(name) {
                Ok(Some(value)) => cost.saturating_add(text(name.len())).saturating_add(traversal(&value)),
                _ => cost,
            })
        }
        _ => 1,
    }
}

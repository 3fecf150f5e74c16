//! Functions of lists: Kubernetes' (`sum`, `isSorted`, …), cel-go's list extension (version 3) and sets.

use std::cmp::Ordering;

use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Implementation, Library, Overload};
use crate::types::Type;
use crate::value::{Arguments, Duration, List, Value};

/// A list's elements are ordered when they are of one of these types; with the names in overload ids.
const COMPARABLE: [(&str, Type); 8] = [
    ("int", Type::Int),
    ("uint", Type::Uint),
    ("double", Type::Double),
    ("bool", Type::Bool),
    ("duration", Type::Duration),
    ("timestamp", Type::Timestamp),
    ("string", Type::String),
    ("bytes", Type::Bytes),
];

/// The longest list that `lists.range` makes, as in cel-go.
const MAX_RANGE: i64 = 10_000_000;

/// `list_int_max_int` and the like: ids are static, so each is spelled out.
macro_rules! ids {
    ($prefix:literal, $suffix:literal) => {
        [
            concat!($prefix, "int", $suffix),
            concat!($prefix, "uint", $suffix),
            concat!($prefix, "double", $suffix),
            concat!($prefix, "bool", $suffix),
            concat!($prefix, "duration", $suffix),
            concat!($prefix, "timestamp", $suffix),
            concat!($prefix, "string", $suffix),
            concat!($prefix, "bytes", $suffix),
        ]
    };
}

const IS_SORTED: [&str; 8] = ids!("list_", "_is_sorted_bool");
const MAX: [&str; 8] = [
    "list_int_max_int",
    "list_uint_max_uint",
    "list_double_max_double",
    "list_bool_max_bool",
    "list_duration_max_duration",
    "list_timestamp_max_timestamp",
    "list_string_max_string",
    "list_bytes_max_bytes",
];
const MIN: [&str; 8] = [
    "list_int_min_int",
    "list_uint_min_uint",
    "list_double_min_double",
    "list_bool_min_bool",
    "list_duration_min_duration",
    "list_timestamp_min_timestamp",
    "list_string_min_string",
    "list_bytes_min_bytes",
];
/// The names that cel-go gives the sort overloads are of the types as messages say them.
const SORT: [&str; 8] = [
    "list_int_sort",
    "list_uint_sort",
    "list_double_sort",
    "list_bool_sort",
    "list_google.protobuf.Duration_sort",
    "list_google.protobuf.Timestamp_sort",
    "list_string_sort",
    "list_bytes_sort",
];
const SORT_BY: [&str; 8] = [
    "list_int_sortByAssociatedKeys",
    "list_uint_sortByAssociatedKeys",
    "list_double_sortByAssociatedKeys",
    "list_bool_sortByAssociatedKeys",
    "list_google.protobuf.Duration_sortByAssociatedKeys",
    "list_google.protobuf.Timestamp_sortByAssociatedKeys",
    "list_string_sortByAssociatedKeys",
    "list_bytes_sortByAssociatedKeys",
];

/// Whether an overload is of `sort`.
pub(crate) fn is_sort(id: &str) -> bool {
    SORT.contains(&id)
}

/// Whether an overload is of what `sortBy` becomes.
pub(crate) fn is_sort_by(id: &str) -> bool {
    SORT_BY.contains(&id)
}

/// Kubernetes' functions.
pub(super) fn kubernetes() -> Library {
    let any = || Type::param("A");
    let summable = [
        ("list_int_sum_int", Type::Int, sum_int as Implementation),
        ("list_uint_sum_uint", Type::Uint, sum_uint),
        ("list_double_sum_double", Type::Double, sum_double),
        ("list_duration_sum_duration", Type::Duration, sum_duration),
    ];
    let sum = summable.into_iter().map(|(id, ty, call)| Overload::member(id, vec![Type::list(ty.clone())], ty, call));
    Library {
        functions: vec![
            Function::new("isSorted", each(IS_SORTED, |_| Type::Bool, is_sorted)),
            Function::new("sum", sum.collect()),
            Function::new("max", each(MAX, Type::clone, |budget, args| extreme(budget, "max", args, Ordering::Less))),
            Function::new(
                "min",
                each(MIN, Type::clone, |budget, args| extreme(budget, "min", args, Ordering::Greater)),
            ),
            Function::new(
                "indexOf",
                vec![Overload::member("list_a_index_of_int", vec![Type::list(any()), any()], Type::Int, index_of)],
            ),
            Function::new(
                "lastIndexOf",
                vec![Overload::member(
                    "list_a_last_index_of_int",
                    vec![Type::list(any()), any()],
                    Type::Int,
                    last_index_of,
                )],
            ),
        ],
        ..Library::default()
    }
}

/// cel-go's list extension and sets; `sortBy` is a macro.
pub(super) fn extension() -> Library {
    let of = |name: &str| Type::list(Type::param(name));
    let sort_by = SORT_BY.into_iter().zip(COMPARABLE);
    let sort_by =
        sort_by.map(|(id, (_, key))| Overload::member(id, vec![of("T"), Type::list(key)], of("T"), sort_by_keys));
    let sets = |id, call| vec![Overload::global(id, vec![of("T"), of("T")], Type::Bool, call)];
    Library {
        functions: vec![
            Function::new(
                "slice",
                vec![Overload::member("list_slice", vec![of("T"), Type::Int, Type::Int], of("T"), slice)],
            ),
            Function::new(
                "flatten",
                vec![
                    Overload::member("list_flatten", vec![Type::list(of("T"))], of("T"), flatten),
                    Overload::member(
                        "list_flatten_int",
                        vec![Type::list(Type::Dyn), Type::Int],
                        Type::list(Type::Dyn),
                        flatten,
                    ),
                ],
            ),
            Function::new("sort", each(SORT, |ty| Type::list(ty.clone()), sort)),
            Function::new("@sortByAssociatedKeys", sort_by.collect()),
            Function::new(
                "lists.range",
                vec![Overload::global("lists_range", vec![Type::Int], Type::list(Type::Int), range)],
            ),
            Function::new("reverse", vec![Overload::member("list_reverse", vec![of("T")], of("T"), reverse)]),
            Function::new("distinct", vec![Overload::member("list_distinct", vec![of("T")], of("T"), distinct)]),
            Function::new("sets.contains", sets("list_sets_contains_list", sets_contains)),
            Function::new("sets.equivalent", sets("list_sets_equivalent_list", sets_equivalent)),
            Function::new("sets.intersects", sets("list_sets_intersects_list", sets_intersects)),
        ],
        macros: vec![super::sort_by::sort_by()],
        ..Library::default()
    }
}

/// One overload for lists of each comparable type.
fn each(ids: [&'static str; 8], result: fn(&Type) -> Type, call: Implementation) -> Vec<Overload> {
    let overload = |(id, (_, ty)): (&'static str, (&str, Type))| {
        let result = result(&ty);
        Overload::member(id, vec![Type::list(ty)], result, call)
    };
    ids.into_iter().zip(COMPARABLE).map(overload).collect()
}

/// Refuses work that will cost more than is left, before it is done: its cost is charged only afterwards.
fn affordable(budget: &Budget, units: usize) -> Result<(), EvalError> {
    if u64::try_from(units).unwrap_or(u64::MAX) > budget.remaining() { Err(EvalError::over_budget()) } else { Ok(()) }
}

/// A list to go through. Short texts cost nothing, so going through them is counted as work.
fn traverse<'v, 'a>(budget: &mut Budget, args: &'v [Value<'a>]) -> Result<&'v List<'a>, EvalError> {
    let list = args.list(0)?;
    budget.work(list.len().saturating_mul(16))?;
    Ok(list)
}

/// A list of so many elements.
fn allocate(budget: &mut Budget, elements: usize) -> Result<(), EvalError> {
    budget.allocate(elements.saturating_mul(size_of::<Value<'_>>()))
}

fn elements<'a>(list: &List<'a>) -> Result<Vec<Value<'a>>, EvalError> {
    list.iter().collect()
}

fn compare(left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, EvalError> {
    left.compare(right).ok_or_else(|| match (left, right) {
        (Value::Double(_), Value::Double(_)) => EvalError::new("NaN values cannot be ordered"),
        _ => EvalError::no_such_overload(),
    })
}

fn is_sorted<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut previous = None;
    for element in traverse(budget, args)?.iter() {
        let element = element?;
        if let Some(previous) = previous
            && compare(&previous, &element)?.is_gt()
        {
            return Ok(Value::Bool(false));
        }
        previous = Some(element);
    }
    Ok(Value::Bool(true))
}

/// The first element that no other is more extreme than.
fn extreme<'a>(
    budget: &mut Budget,
    name: &str,
    args: &[Value<'a>],
    replaced: Ordering,
) -> Result<Value<'a>, EvalError> {
    let mut best = None;
    for element in traverse(budget, args)?.iter() {
        let element = element?;
        best = match best {
            Some(best) if compare(&best, &element)? != replaced => Some(best),
            _ => Some(element),
        };
    }
    best.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

/// Adds up with `add`, which says None on overflow.
fn sum<'a, T>(
    args: &[Value<'a>],
    zero: T,
    add: fn(T, &Value<'a>) -> Option<T>,
    overflow: &str,
) -> Result<T, EvalError> {
    args.list(0)?.iter().try_fold(zero, |sum, element| add(sum, &element?).ok_or_else(|| EvalError::new(overflow)))
}

fn sum_int<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    // What a list without types holds besides numbers does not add up.
    let add = |sum: i64, element: &Value<'_>| match element {
        Value::Int(number) => sum.checked_add(*number),
        _ => None,
    };
    // The sum of an empty list is an int whatever its type; of another list, what its elements are.
    match args.list(0)?.iter().next().transpose()? {
        Some(Value::Uint(_)) => sum(args, 0, add_uint, "unsigned integer overflow").map(Value::Uint),
        Some(Value::Double(_)) => sum(args, 0.0, add_double, "no such overload").map(Value::Double),
        Some(Value::Duration(_)) => sum(args, 0, add_duration, "duration overflow").map(duration),
        Some(Value::Int(_)) | None => sum(args, 0, add, "integer overflow").map(Value::Int),
        Some(_) => Err(EvalError::no_such_overload()),
    }
}

fn sum_uint<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sum(args, 0, add_uint, "unsigned integer overflow").map(Value::Uint)
}

fn sum_double<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sum(args, 0.0, add_double, "no such overload").map(Value::Double)
}

fn sum_duration<'a>(_: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sum(args, 0, add_duration, "duration overflow").map(duration)
}

fn add_uint(sum: u64, element: &Value<'_>) -> Option<u64> {
    match element {
        Value::Uint(number) => sum.checked_add(*number),
        _ => None,
    }
}

fn add_double(sum: f64, element: &Value<'_>) -> Option<f64> {
    match element {
        Value::Double(number) => Some(sum + number),
        _ => None,
    }
}

fn add_duration(sum: i64, element: &Value<'_>) -> Option<i64> {
    match element {
        Value::Duration(span) => sum.checked_add(span.nanos),
        _ => None,
    }
}

fn duration<'a>(nanos: i64) -> Value<'a> {
    Value::Duration(Duration { nanos })
}

fn index_of<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (list, searched) = (args.list(0)?, args.value(1)?);
    find(budget, list, searched, 0..list.len())
}

fn last_index_of<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (list, searched) = (args.list(0)?, args.value(1)?);
    find(budget, list, searched, (0..list.len()).rev())
}

fn find<'a>(
    budget: &mut Budget,
    list: &List<'a>,
    searched: &Value<'a>,
    indices: impl Iterator<Item = usize>,
) -> Result<Value<'a>, EvalError> {
    for index in indices {
        if list.get(index)?.equals(searched, budget)? {
            return Ok(Value::Int(index as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn slice<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (list, start, end) = (args.list(0)?, args.int(1)?, args.int(2)?);
    let cannot = |why: String| Err(EvalError::new(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return cannot("negative indexes not supported".to_owned());
    };
    if from > to {
        return cannot("start index must be less than or equal to end index".to_owned());
    }
    if to > list.len() {
        return cannot(format!("list is length {}", list.len()));
    }
    allocate(budget, to - from)?;
    Ok(Value::list((from..to).map(|index| list.get(index)).collect::<Result<_, _>>()?))
}

fn flatten<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let depth = if args.len() > 1 { args.int(1)? } else { 1 };
    let depth = u64::try_from(depth).map_err(|_| EvalError::new("level must be non-negative"))?;
    // One list after the other, the innermost last, instead of a recursion.
    let mut open = vec![(args.list(0)?.clone(), 0, depth)];
    let mut flat = Vec::new();
    while let Some((list, at, depth)) = open.last_mut() {
        if *at >= list.len() {
            open.pop();
            continue;
        }
        let (element, depth) = (list.get(*at)?, *depth);
        *at += 1;
        match element {
            Value::List(inner) if depth > 0 => open.push((inner, 0, depth - 1)),
            element => {
                allocate(budget, 1)?;
                flat.push(element);
            }
        }
    }
    Ok(Value::list(flat))
}

fn sort<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sorted(budget, args.list(0)?, args.list(0)?)
}

fn sort_by_keys<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    sorted(budget, args.list(0)?, args.list(1)?)
}

/// The elements in the order of their keys; those with equal keys as they were.
fn sorted<'a>(budget: &mut Budget, list: &List<'a>, keys: &List<'a>) -> Result<Value<'a>, EvalError> {
    let (length, count) = (list.len(), keys.len());
    if length != count {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {length} and {count} \
             elements respectively"
        )));
    }
    affordable(budget, length.saturating_mul(length).saturating_mul(2))?;
    allocate(budget, length.saturating_mul(3))?;
    let mut keyed = elements(keys)?.into_iter().zip(elements(list)?).collect::<Vec<_>>();
    if let Some((first, _)) = keyed.first() {
        if !COMPARABLE.iter().any(|(_, ty)| *ty == first.type_of()) {
            return Err(EvalError::new("list elements must be comparable"));
        }
        if keyed.iter().any(|(key, _)| key.type_of() != first.type_of()) {
            return Err(EvalError::new("list elements must have the same type"));
        }
    }
    keyed.sort_by(|(left, _), (right, _)| left.compare(right).unwrap_or(Ordering::Equal));
    Ok(Value::list(keyed.into_iter().map(|(_, element)| element).collect()))
}

fn range<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let length = args.int(0)?;
    if length < 0 {
        return Err(EvalError::new(format!("lists.range: size must be non-negative, got {length}")));
    }
    if length > MAX_RANGE {
        return Err(EvalError::new(format!("lists.range: size {length} exceeds maximum allowed ({MAX_RANGE})")));
    }
    let elements = usize::try_from(length).unwrap_or(usize::MAX);
    affordable(budget, elements)?;
    allocate(budget, elements)?;
    Ok(Value::list((0..length).map(Value::Int).collect()))
}

fn reverse<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let list = args.list(0)?;
    allocate(budget, list.len())?;
    let mut reversed = elements(list)?;
    reversed.reverse();
    Ok(Value::list(reversed))
}

fn distinct<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let list = args.list(0)?;
    affordable(budget, list.len().saturating_mul(list.len()).saturating_mul(2))?;
    allocate(budget, list.len())?;
    let mut kept: Vec<Value<'a>> = Vec::new();
    for element in list.iter() {
        let element = element?;
        if !contains(budget, &kept, &element)? {
            kept.push(element);
        }
    }
    Ok(Value::list(kept))
}

fn contains<'a>(budget: &mut Budget, values: &[Value<'a>], searched: &Value<'a>) -> Result<bool, EvalError> {
    for value in values {
        if value.equals(searched, budget)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Both lists of a set function, when every element of one can be compared with every element of the other.
fn two_sets<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<(Vec<Value<'a>>, Vec<Value<'a>>), EvalError> {
    let (left, right) = (args.list(0)?, args.list(1)?);
    affordable(budget, left.len().saturating_mul(right.len()))?;
    allocate(budget, left.len() + right.len())?;
    Ok((elements(left)?, elements(right)?))
}

fn contains_all<'a>(budget: &mut Budget, set: &[Value<'a>], subset: &[Value<'a>]) -> Result<bool, EvalError> {
    for element in subset {
        if !contains(budget, set, element)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn sets_contains<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (set, subset) = two_sets(budget, args)?;
    contains_all(budget, &set, &subset).map(Value::Bool)
}

fn sets_equivalent<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = two_sets(budget, args)?;
    Ok(Value::Bool(contains_all(budget, &left, &right)? && contains_all(budget, &right, &left)?))
}

fn sets_intersects<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (left, right) = two_sets(budget, args)?;
    for element in &left {
        if contains(budget, &right, element)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

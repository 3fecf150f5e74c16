//! What calls of functions can cost: Kubernetes' estimator and those of cel-go's extensions. What is not here, cel-go's own
//! estimator decides (`estimate`).

use super::{
    AUTHORIZATION_CHECK_COST, CostEstimate, LIST_CREATE_BASE_COST, REGEX_STRING_LENGTH_COST_FACTOR,
    STRING_TRAVERSAL_COST_FACTOR, SizeEstimate, Sizes, selector_cost,
};
use crate::ast::{Expr, ExprKind, Literal};
use crate::libraries;
use crate::types::Type;

/// The longest regular expression that a named format is supposed to have.
const MAX_NAME_FORMAT_REGEX_SIZE: f64 = 128.0;
/// The longest name that a named format is supposed to have.
const MAX_FORMAT_SIZE: u64 = 64;

/// An argument (or the receiver) of a call.
pub(super) struct Node<'n> {
    pub(super) expr: &'n Expr,
    pub(super) ty: &'n Type,
    /// Where it comes from; empty when it comes from no variable.
    pub(super) path: Vec<String>,
    /// Its size when something is known of it.
    pub(super) size: Option<SizeEstimate>,
}

/// What a call can cost besides its arguments, and how large its result can be.
pub(super) struct CallEstimate {
    pub(super) cost: CostEstimate,
    pub(super) result_size: Option<SizeEstimate>,
}

impl Node<'_> {
    fn size(&self) -> SizeEstimate {
        self.size.unwrap_or(SizeEstimate::UNKNOWN)
    }

    /// The value of a constant that is an `int`; negative ones count as 0.
    fn int(&self) -> Option<u64> {
        match self.expr.kind {
            ExprKind::Literal(Literal::Int(number)) => Some(u64::try_from(number).unwrap_or(0)),
            _ => None,
        }
    }

    /// The type of a list's elements, and how large they can be.
    fn elements<'t>(&'t self, sizes: &dyn Sizes) -> Option<(&'t Type, SizeEstimate)> {
        let element = match self.ty {
            Type::List(list) => &list.element,
            Type::Map(map) => &map.key,
            Type::Optional(of) | Type::Type(of) => of,
            _ => return None,
        };
        let mut path = self.path.clone();
        let size = if path.is_empty() {
            None
        } else {
            path.push("@items".to_owned());
            sizes.size(&path, element)
        };
        Some((element, size.unwrap_or(SizeEstimate::UNKNOWN)))
    }
}

fn cost(cost: CostEstimate) -> Option<CallEstimate> {
    Some(CallEstimate { cost, result_size: None })
}

fn sized(cost: CostEstimate, size: SizeEstimate) -> Option<CallEstimate> {
    Some(CallEstimate { cost, result_size: Some(size) })
}

fn traversed(size: SizeEstimate) -> CostEstimate {
    size.by_factor(STRING_TRAVERSAL_COST_FACTOR)
}

/// What a call of `function`, resolved to the overload `id`, can cost. None where there is no special rule.
pub(super) fn estimate(
    function: &str,
    id: &str,
    target: Option<&Node<'_>>,
    args: &[Node<'_>],
    sizes: &dyn Sizes,
) -> Option<CallEstimate> {
    list_extension(id, target, args).or_else(|| kubernetes(function, id, target, args, sizes))
}

/// cel-go's list extension and sets: by overload.
fn list_extension(id: &str, target: Option<&Node<'_>>, args: &[Node<'_>]) -> Option<CallEstimate> {
    let listing = |factor: f64, size: SizeEstimate| {
        sized(size.by_factor(factor).add(CostEstimate::fixed(1 + LIST_CREATE_BASE_COST)), size)
    };
    let comparing_all = |node: &Node<'_>, texts: bool| {
        let size = node.size();
        listing(if texts { 2.0 + STRING_TRAVERSAL_COST_FACTOR } else { 2.0 }, size.multiply(size))
    };
    match (id, target, args) {
        ("list_slice", Some(target), [start, end]) => {
            let (start, end) = (start.int().unwrap_or(0), end.int().unwrap_or(target.size().max));
            listing(1.0, SizeEstimate::fixed(end.wrapping_sub(start)))
        }
        ("lists_range", None, [length]) => listing(1.0, SizeEstimate::fixed(length.int().unwrap_or(u64::MAX))),
        ("list_reverse", Some(target), []) => listing(1.0, target.size()),
        ("list_flatten", Some(target), []) => listing(1.0, target.size()),
        ("list_flatten_int", Some(target), [depth]) => listing(depth.int().unwrap_or(u64::MAX) as f64, target.size()),
        ("list_distinct", Some(target), []) => comparing_all(target, false),
        (id, Some(target), []) if libraries::is_sort(id) => comparing_all(target, is_text_sort(id)),
        (id, Some(_), [keys]) if libraries::is_sort_by(id) => comparing_all(keys, is_text_sort(id)),
        ("list_sets_contains_list" | "list_sets_intersects_list", None, [left, right]) => {
            cost(left.size().multiply(right.size()).by_factor(1.0).add(CostEstimate::fixed(1)))
        }
        ("list_sets_equivalent_list", None, [left, right]) => {
            cost(left.size().multiply(right.size()).by_factor(2.0).add(CostEstimate::fixed(1)))
        }
        _ => None,
    }
}

fn is_text_sort(id: &str) -> bool {
    id.starts_with("list_string_") || id.starts_with("list_bytes_")
}

/// Kubernetes' estimator: by function.
fn kubernetes(
    function: &str,
    id: &str,
    target: Option<&Node<'_>>,
    args: &[Node<'_>],
    sizes: &dyn Sizes,
) -> Option<CallEstimate> {
    const ONE: CostEstimate = CostEstimate::fixed(1);
    match (function, target, args) {
        ("check", ..) => cost(CostEstimate::fixed(AUTHORIZATION_CHECK_COST)),
        (
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name" | "allowed"
            | "reason" | "error" | "errored",
            ..,
        ) => cost(ONE),
        ("fieldSelector" | "labelSelector", _, [selector]) => cost(selector_cost(selector.size())),
        ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(target), _) => {
            let Some((element, element_size)) = target.elements(sizes) else {
                return cost(traversed(target.size()));
            };
            let texts = matches!(element, Type::String | Type::Bytes);
            cost(target.size().times(if texts { ONE.add(traversed(element_size)) } else { ONE }))
        }
        ("url" | "jsonpatch.escapeKey", _, [text]) => sized(traversed(text.size()), text.size()),
        ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(target), _) => {
            sized(traversed(target.size()), target.size())
        }
        ("replace", Some(target), [old, new, ..]) => {
            let size = target.size();
            sized(size.by_factor(2.0 * STRING_TRAVERSAL_COST_FACTOR), replaced(size, old.size(), new.size()))
        }
        ("split", Some(target), _) => {
            let size = target.size();
            let most = match args.get(1).map(|limit| &limit.expr.kind) {
                Some(ExprKind::Literal(Literal::Int(limit))) => limit.cast_unsigned(),
                _ => size.max,
            };
            sized(size.by_factor(2.0 * STRING_TRAVERSAL_COST_FACTOR), SizeEstimate { min: 0, max: most })
        }
        ("join", Some(target), _) => {
            let list = target.size();
            let elements = target.elements(sizes).map_or(SizeEstimate::fixed(0), |(_, element)| list.multiply(element));
            let separators = SizeEstimate { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
            let separator =
                args.first().map_or(SizeEstimate::fixed(0), |separator| separator.size().multiply(separators));
            let size = elements.add(separator);
            sized(traversed(size), size)
        }
        ("find" | "findAll", Some(target), [pattern, ..]) => {
            let size = target.size();
            sized(matching(size, pattern.size()), SizeEstimate { min: 0, max: size.max })
        }
        ("ip", Some(_), []) => cost(ONE),
        ("ip" | "isIP" | "cidr" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver", None, [text, ..]) => {
            cost(traversed(text.size()))
        }
        ("ip.isCanonical", None, [text]) => cost(text.size().by_factor(2.0 * STRING_TRAVERSAL_COST_FACTOR)),
        (
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery",
            ..,
        ) => cost(ONE),
        ("containsIP", Some(_), [other, ..]) => {
            let compared = traversed(ADDRESS_SIZE.add(ADDRESS_SIZE));
            let read = if id == "cidr_contains_ip_string" { traversed(other.size()) } else { CostEstimate::fixed(0) };
            cost(compared.add(read))
        }
        ("containsCIDR", Some(_), [other, ..]) => {
            let compared = traversed(ADDRESS_SIZE.add(ADDRESS_SIZE)).add(traversed(ADDRESS_SIZE)).add(ONE);
            let read = if id == "cidr_contains_cidr_string" { traversed(other.size()) } else { CostEstimate::fixed(0) };
            cost(compared.add(read))
        }
        ("validate", Some(_), [text, ..]) => {
            cost(traversed(text.size()).by_factor(MAX_NAME_FORMAT_REGEX_SIZE * REGEX_STRING_LENGTH_COST_FACTOR))
        }
        ("_==_", _, [left, right]) if left.ty == right.ty && libraries::is_unit_comparable(left.ty) => {
            let most = match left.ty {
                Type::Opaque("kubernetes.NamedFormat") => MAX_FORMAT_SIZE,
                Type::Opaque("kubernetes.URL") => right.size.map_or(1, |size| size.max),
                _ => return cost(ONE),
            };
            cost(CostEstimate { min: 1, max: most }.by_factor(STRING_TRAVERSAL_COST_FACTOR))
        }
        _ => None,
    }
}

/// The octets of an address.
const ADDRESS_SIZE: SizeEstimate = SizeEstimate { min: 4, max: 16 };

/// A text against a regular expression; an empty text is not free.
pub(super) fn matching(text: SizeEstimate, pattern: SizeEstimate) -> CostEstimate {
    let text = traversed(text.add(SizeEstimate::fixed(1)));
    text.multiply(pattern.by_factor(REGEX_STRING_LENGTH_COST_FACTOR))
}

/// The size after `replace(old, new)`.
fn replaced(size: SizeEstimate, old: SizeEstimate, new: SizeEstimate) -> SizeEstimate {
    // How often it is replaced, and what remains of the text, for the longest and for the shortest result.
    let (most, retained_most) = if old.min == 0 {
        // Nothing is replaced around every letter.
        (size.max.saturating_add(1), size.max)
    } else if new.max <= old.min {
        (0, size.max)
    } else {
        ((size.max as f64 / old.min as f64).ceil() as u64, 0)
    };
    let (least, retained_least) = if old.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if old.max <= new.min {
        (0, size.min)
    } else {
        ((size.min as f64 / old.max as f64).ceil() as u64, 0)
    };
    let count = SizeEstimate { min: least, max: most };
    count.multiply(new).add(SizeEstimate { min: retained_least, max: retained_most })
}

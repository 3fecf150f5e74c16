//! Kubernetes' types that are more than text: URLs, IP addresses, networks, quantities, versions, named formats.

use std::any::Any;
use std::net::IpAddr;

use super::ip::{self, Cidr};
use super::names::{FORMATS, Format};
use super::quantity::Quantity;
use super::semver::Semver;
use super::text::text_list;
use super::url::{self, Url};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::function::{Function, Implementation, Library, Overload};
use crate::types::Type;
use crate::value::{Arguments, Map, Opaque, Value};

const URL: Type = Type::Opaque("kubernetes.URL");
const IP: Type = Type::Opaque("net.IP");
const CIDR: Type = Type::Opaque("net.CIDR");
const QUANTITY: Type = Type::Opaque("kubernetes.Quantity");
const SEMVER: Type = Type::Opaque("kubernetes.Semver");
const FORMAT: Type = Type::Opaque("kubernetes.NamedFormat");

/// Values of these types are opaque to the language; they equal by `==` of Rust.
macro_rules! opaque {
    ($($value:ty => $type:expr),* $(,)?) => {$(
        impl Opaque for $value {
            fn type_name(&self) -> &'static str {
                match $type {
                    Type::Opaque(name) => name,
                    _ => "",
                }
            }

            fn equals(&self, other: &dyn Opaque) -> bool {
                let other: &dyn Any = other;
                other.downcast_ref::<Self>().is_some_and(|other| self == other)
            }
        }
    )*};
}

opaque! {
    Url => URL,
    IpAddr => IP,
    Cidr => CIDR,
    Quantity => QUANTITY,
    Semver => SEMVER,
    Format => FORMAT,
}

impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// Whether comparing two values of this type costs one unit.
pub(crate) fn is_unit_comparable(ty: &Type) -> bool {
    [URL, IP, CIDR, QUANTITY, SEMVER, FORMAT].contains(ty)
        || matches!(ty, Type::Opaque(name) if name.starts_with("kubernetes.authorization."))
}

/// The length of the regular expression that a format is supposed to have. None for a value that is no format.
pub(crate) fn format_regex_size(value: &Value<'_>) -> Option<u64> {
    value.downcast::<Format>().map(|format| format.max_regex_size)
}

/// The size of an opaque value as costs count it: octets of an address or of a prefix; 1 for others.
pub(crate) fn size(value: &Value<'_>) -> u64 {
    match (value.downcast::<IpAddr>(), value.downcast::<Cidr>()) {
        (Some(IpAddr::V4(_)), _) => 4,
        (Some(IpAddr::V6(_)), _) => 16,
        (None, Some(cidr)) => u64::from(cidr.bits.div_ceil(8)),
        (None, None) => 1,
    }
}

pub(super) fn library() -> Library {
    let mut functions = Vec::new();
    functions.extend(url_functions());
    functions.extend(ip_functions());
    functions.extend(cidr_functions());
    functions.extend(quantity_functions());
    functions.extend(semver_functions());
    functions.extend(format_functions());
    Library { functions, types: vec![URL, IP, CIDR, QUANTITY, SEMVER, FORMAT], ..Library::default() }
}

/// `jsonpatch.escapeKey`.
pub(super) fn json_patch() -> Library {
    let overload =
        Overload::global("string_jsonpatch_escapeKey_string", vec![Type::String], Type::String, |budget, args| {
            let key = args.text(0)?;
            budget.allocate(key.len().saturating_mul(2))?;
            Ok(Value::from(key.replace('~', "~0").replace('/', "~1")))
        });
    Library { functions: vec![Function::new("jsonpatch.escapeKey", vec![overload])], ..Library::default() }
}

/// `name(text)`.
fn of_text(name: &'static str, id: &'static str, result: Type, call: Implementation) -> Function {
    Function::new(name, vec![Overload::global(id, vec![Type::String], result, call)])
}

/// `receiver.name()`.
fn getter(name: &'static str, id: &'static str, receiver: Type, result: Type, call: Implementation) -> Function {
    Function::new(name, vec![Overload::member(id, vec![receiver], result, call)])
}

fn url_functions() -> Vec<Function> {
    let part = |name, id, call| getter(name, id, URL, Type::String, call);
    vec![
        of_text("url", "string_to_url", URL, |budget, args| {
            let url = Url::parse(args.text(0)?)?;
            budget.allocate(url.size())?;
            Ok(Value::opaque(url))
        }),
        of_text("isURL", "is_url_string", Type::Bool, |budget, args| {
            // Its cost is 1 whatever it reads.
            budget.work(args.text(0)?.len().saturating_mul(8))?;
            Ok(Value::Bool(url::check_request_uri(args.text(0)?).is_ok()))
        }),
        part("getScheme", "url_get_scheme", |budget, args| url_part(budget, args, |url| &url.scheme)),
        part("getHost", "url_get_host", |budget, args| url_part(budget, args, |url| &url.host)),
        part("getHostname", "url_get_hostname", |budget, args| url_part(budget, args, Url::hostname)),
        part("getPort", "url_get_port", |budget, args| url_part(budget, args, Url::port)),
        part("getEscapedPath", "url_get_escaped_path", |budget, args| url_part(budget, args, |url| &url.escaped_path)),
        getter("getQuery", "url_get_query", URL, Type::map(Type::String, Type::list(Type::String)), get_query),
    ]
}

fn url_part<'a>(budget: &mut Budget, args: &[Value<'a>], part: fn(&Url) -> &str) -> Result<Value<'a>, EvalError> {
    let part = part(args.opaque(0)?);
    budget.allocate(part.len())?;
    Ok(Value::from(part.to_owned()))
}

fn get_query<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let url: &Url = args.opaque(0)?;
    // A pair takes two letters at least, and two strings.
    budget.allocate(url.size().saturating_mul(size_of::<String>()))?;
    // By key, each with its values in order.
    let mut pairs = url.query();
    pairs.sort_by(|left, right| left.0.cmp(&right.0));
    let mut query = Map::default();
    for same in pairs.chunk_by(|left, right| left.0 == right.0) {
        let Some((key, _)) = same.first() else { continue };
        let values = text_list(budget, same.iter().map(|(_, value)| value))?;
        budget.allocate(key.len() + 2 * size_of::<Value<'_>>())?;
        query.insert(Value::from(key.clone()), values)?;
    }
    Ok(Value::Map(query))
}

fn ip_functions() -> Vec<Function> {
    let test = |name, id, call| getter(name, id, IP, Type::Bool, call);
    vec![
        of_text("ip", "string_to_ip", IP, |_, args| Ok(Value::opaque(ip::parse_ip(args.text(0)?)?))),
        of_text("isIP", "is_ip", Type::Bool, |_, args| Ok(Value::Bool(ip::parse_ip(args.text(0)?).is_ok()))),
        of_text("ip.isCanonical", "ip_is_canonical", Type::Bool, |_, args| {
            let text = args.text(0)?;
            Ok(Value::Bool(ip::parse_ip(text)?.to_string() == text))
        }),
        getter("family", "ip_family", IP, Type::Int, |_, args| {
            Ok(Value::Int(if args.opaque::<IpAddr>(0)?.is_ipv4() { 4 } else { 6 }))
        }),
        test("isUnspecified", "ip_is_unspecified", |_, args| ip_test(args, |ip| ip.is_unspecified())),
        test("isLoopback", "ip_is_loopback", |_, args| ip_test(args, |ip| ip.is_loopback())),
        test("isLinkLocalMulticast", "ip_is_link_local_multicast", |_, args| {
            ip_test(args, ip::is_link_local_multicast)
        }),
        test("isLinkLocalUnicast", "ip_is_link_local_unicast", |_, args| ip_test(args, ip::is_link_local_unicast)),
        test("isGlobalUnicast", "ip_is_global_unicast", |_, args| ip_test(args, ip::is_global_unicast)),
        Function::new(
            "string",
            vec![
                Overload::global("ip_to_string", vec![IP], Type::String, |_, args| {
                    Ok(Value::from(args.opaque::<IpAddr>(0)?.to_string()))
                }),
                Overload::global("cidr_to_string", vec![CIDR], Type::String, |_, args| {
                    Ok(Value::from(args.opaque::<Cidr>(0)?.to_string()))
                }),
            ],
        ),
    ]
}

fn ip_test<'a>(args: &[Value<'a>], test: fn(IpAddr) -> bool) -> Result<Value<'a>, EvalError> {
    Ok(Value::Bool(test(*args.opaque(0)?)))
}

fn cidr_functions() -> Vec<Function> {
    let contains = |id, other, call| Overload::member(id, vec![CIDR, other], Type::Bool, call);
    vec![
        of_text("cidr", "string_to_cidr", CIDR, |_, args| Ok(Value::opaque(ip::parse_cidr(args.text(0)?)?))),
        of_text("isCIDR", "is_cidr", Type::Bool, |_, args| Ok(Value::Bool(ip::parse_cidr(args.text(0)?).is_ok()))),
        Function::new(
            "containsIP",
            vec![
                contains("cidr_contains_ip_string", Type::String, |_, args| {
                    Ok(Value::Bool(args.opaque::<Cidr>(0)?.contains(ip::parse_ip(args.text(1)?)?)))
                }),
                contains("cidr_contains_ip_ip", IP, |_, args| {
                    Ok(Value::Bool(args.opaque::<Cidr>(0)?.contains(*args.opaque(1)?)))
                }),
            ],
        ),
        Function::new(
            "containsCIDR",
            vec![
                contains("cidr_contains_cidr_string", Type::String, |_, args| {
                    Ok(Value::Bool(args.opaque::<Cidr>(0)?.contains_cidr(ip::parse_cidr(args.text(1)?)?)))
                }),
                contains("cidr_contains_cidr", CIDR, |_, args| {
                    Ok(Value::Bool(args.opaque::<Cidr>(0)?.contains_cidr(*args.opaque(1)?)))
                }),
            ],
        ),
        getter("ip", "cidr_ip", CIDR, IP, |_, args| Ok(Value::opaque(args.opaque::<Cidr>(0)?.ip))),
        getter("prefixLength", "cidr_prefix_length", CIDR, Type::Int, |_, args| {
            Ok(Value::Int(args.opaque::<Cidr>(0)?.bits.into()))
        }),
        getter("masked", "cidr_masked", CIDR, CIDR, |_, args| Ok(Value::opaque(args.opaque::<Cidr>(0)?.masked()))),
    ]
}

fn quantity_functions() -> Vec<Function> {
    let with = |id, other, result, call| Overload::member(id, vec![QUANTITY, other], result, call);
    let compared = |name, id, result, call| Function::new(name, vec![with(id, QUANTITY, result, call)]);
    vec![
        of_text("quantity", "string_to_quantity", QUANTITY, |budget, args| {
            quantity(budget, Quantity::parse(args.text(0)?)?)
        }),
        of_text("isQuantity", "is_quantity_string", Type::Bool, |_, args| {
            Ok(Value::Bool(Quantity::parse(args.text(0)?).is_ok()))
        }),
        // A function, not a member, in Kubernetes too.
        Function::new(
            "sign",
            vec![Overload::global("quantity_sign", vec![QUANTITY], Type::Int, |_, args| {
                Ok(Value::Int(args.opaque::<Quantity>(0)?.sign()))
            })],
        ),
        compared("isGreaterThan", "quantity_is_greater_than", Type::Bool, |_, args| {
            Ok(Value::Bool(args.opaque::<Quantity>(0)? > args.opaque(1)?))
        }),
        compared("isLessThan", "quantity_is_less_than", Type::Bool, |_, args| {
            Ok(Value::Bool(args.opaque::<Quantity>(0)? < args.opaque(1)?))
        }),
        compared("compareTo", "quantity_compare_to", Type::Int, |_, args| {
            Ok(Value::Int(args.opaque::<Quantity>(0)?.cmp(args.opaque(1)?) as i64))
        }),
        getter("asApproximateFloat", "quantity_get_float", QUANTITY, Type::Double, |_, args| {
            Ok(Value::Double(args.opaque::<Quantity>(0)?.as_double()))
        }),
        getter("asInteger", "quantity_get_int", QUANTITY, Type::Int, |_, args| {
            let integer = args.opaque::<Quantity>(0)?.as_int();
            integer.map(Value::Int).ok_or_else(|| EvalError::new("cannot convert value to integer"))
        }),
        getter("isInteger", "quantity_is_integer", QUANTITY, Type::Bool, |_, args| {
            Ok(Value::Bool(args.opaque::<Quantity>(0)?.as_int().is_some()))
        }),
        Function::new(
            "add",
            vec![
                with("quantity_add", QUANTITY, QUANTITY, |budget, args| {
                    quantity(budget, args.opaque::<Quantity>(0)?.add(args.opaque(1)?))
                }),
                with("quantity_add_int", Type::Int, QUANTITY, |budget, args| {
                    quantity(budget, args.opaque::<Quantity>(0)?.add(&Quantity::from_int(args.int(1)?)))
                }),
            ],
        ),
        Function::new(
            "sub",
            vec![
                with("quantity_sub", QUANTITY, QUANTITY, |budget, args| {
                    quantity(budget, args.opaque::<Quantity>(0)?.sub(args.opaque(1)?))
                }),
                with("quantity_sub_int", Type::Int, QUANTITY, |budget, args| {
                    quantity(budget, args.opaque::<Quantity>(0)?.sub(&Quantity::from_int(args.int(1)?)))
                }),
            ],
        ),
    ]
}

fn quantity<'a>(budget: &mut Budget, quantity: Quantity) -> Result<Value<'a>, EvalError> {
    budget.allocate(quantity.size())?;
    Ok(Value::opaque(quantity))
}

fn semver_functions() -> Vec<Function> {
    let with =
        |name, id, result, call| Function::new(name, vec![Overload::member(id, vec![SEMVER, SEMVER], result, call)]);
    let number = |name, id, call| getter(name, id, SEMVER, Type::Int, call);
    let both = |name, plain, normalized, result: Type, call| {
        Function::new(
            name,
            vec![
                Overload::global(plain, vec![Type::String], result.clone(), call),
                Overload::global(normalized, vec![Type::String, Type::Bool], result, call),
            ],
        )
    };
    vec![
        both("semver", "string_to_semver", "string_bool_to_semver", SEMVER, |_, args| Ok(Value::opaque(semver(args)?))),
        both("isSemver", "is_semver_string", "is_semver_string_bool", Type::Bool, |_, args| {
            Ok(Value::Bool(semver(args).is_ok()))
        }),
        with("isGreaterThan", "semver_is_greater_than", Type::Bool, |_, args| {
            Ok(Value::Bool(args.opaque::<Semver>(0)? > args.opaque(1)?))
        }),
        with("isLessThan", "semver_is_less_than", Type::Bool, |_, args| {
            Ok(Value::Bool(args.opaque::<Semver>(0)? < args.opaque(1)?))
        }),
        with("compareTo", "semver_compare_to", Type::Int, |_, args| {
            Ok(Value::Int(args.opaque::<Semver>(0)?.cmp(args.opaque(1)?) as i64))
        }),
        // As in Go, a number beyond 63 bits turns negative.
        number("major", "semver_major", |_, args| Ok(Value::Int(args.opaque::<Semver>(0)?.major.cast_signed()))),
        number("minor", "semver_minor", |_, args| Ok(Value::Int(args.opaque::<Semver>(0)?.minor.cast_signed()))),
        number("patch", "semver_patch", |_, args| Ok(Value::Int(args.opaque::<Semver>(0)?.patch.cast_signed()))),
    ]
}

/// The version that the first argument is, normalized when there is a second one and it says so.
fn semver(args: &[Value<'_>]) -> Result<Semver, EvalError> {
    let normalize = args.len() > 1 && args.bool(1)?;
    if normalize { Semver::parse_normalized(args.text(0)?) } else { Semver::parse(args.text(0)?) }
}

/// `format.dns1123Label()`: each format has a function of its own.
fn constant_format<'a, const INDEX: usize>(_: &mut Budget, _: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    FORMATS.get(INDEX).map(|format| Value::opaque(*format)).ok_or_else(EvalError::no_such_overload)
}

/// The functions of [`FORMATS`], in its order.
const CONSTANT_FORMATS: [(&str, Implementation); FORMATS.len()] = [
    ("format.dns1123Label", constant_format::<0>),
    ("format.dns1123Subdomain", constant_format::<1>),
    ("format.dns1035Label", constant_format::<2>),
    ("format.qualifiedName", constant_format::<3>),
    ("format.dns1123LabelPrefix", constant_format::<4>),
    ("format.dns1123SubdomainPrefix", constant_format::<5>),
    ("format.dns1035LabelPrefix", constant_format::<6>),
    ("format.labelValue", constant_format::<7>),
    ("format.uri", constant_format::<8>),
    ("format.uuid", constant_format::<9>),
    ("format.byte", constant_format::<10>),
    ("format.date", constant_format::<11>),
    ("format.datetime", constant_format::<12>),
];

fn format_functions() -> Vec<Function> {
    let constants = CONSTANT_FORMATS
        .into_iter()
        .map(|(name, call)| Function::new(name, vec![Overload::global(name, Vec::new(), FORMAT, call)]));
    let named = of_text("format.named", "format-named", Type::optional(FORMAT), |_, args| {
        let name = args.text(0)?;
        Ok(FORMATS
            .iter()
            .find(|format| format.name == name)
            .map_or(Value::none(), |format| Value::some(Value::opaque(*format))))
    });
    let errors = Type::optional(Type::list(Type::String));
    let validate = Overload::member("format-validate", vec![FORMAT, Type::String], errors, |budget, args| {
        let wrong = (args.opaque::<Format>(0)?.validate)(args.text(1)?);
        if wrong.is_empty() { Ok(Value::none()) } else { text_list(budget, wrong.iter()).map(Value::some) }
    });
    constants.chain([named, Function::new("validate", vec![validate])]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_a_function_of_its_name() {
        for (format, (function, _)) in FORMATS.iter().zip(CONSTANT_FORMATS) {
            assert_eq!(function.strip_prefix("format."), Some(format.name));
        }
    }

    #[test]
    fn keys_are_escaped_for_json_pointers() {
        let call = json_patch().functions[0].overloads[0].call;
        let escaped = call(&mut Budget::default(), &[Value::from("a/b~c")]).unwrap();
        assert_eq!(escaped.to_json().unwrap(), "a~1b~0c");
    }
}

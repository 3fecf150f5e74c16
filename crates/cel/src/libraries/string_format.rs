//! `'…'.format([…])`: printf's clauses over CEL values, in English. Its result is bounded by the budget's memory.

use std::fmt::Write;

use super::go::quote;
use crate::ast::{Checked, Expr, ExprKind, Id, Literal};
use crate::budget::Budget;
use crate::error::EvalError;
use crate::standard;
use crate::types::Type;
use crate::value::{Arguments, List, Map, Value};

/// Digits after the point unless a clause says otherwise.
const PRECISION: usize = 6;
/// The largest precision and width that are taken.
const MAX_PRECISION: usize = 1_000;
/// How deep lists and maps are written.
const MAX_DEPTH: usize = 128;

pub(super) fn format<'a>(budget: &mut Budget, args: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let (template, list) = (args.text(0)?, args.list(1)?);
    budget.allocate(template.len())?;
    let mut written = String::with_capacity(template.len());
    let mut rest = template;
    let mut index = 0;
    while let Some((before, clause)) = rest.split_once('%') {
        written.push_str(before);
        if let Some(after) = clause.strip_prefix('%') {
            written.push('%');
            rest = after;
            continue;
        }
        if index >= list.len() {
            return Err(EvalError::new(format!("index {index} out of range")));
        }
        let argument = list.get(index)?;
        index += 1;
        if clause.is_empty() {
            return Err(EvalError::new("unexpected end of string"));
        }
        let (clause, after) = Clause::parse(clause)
            .map_err(|error| EvalError::new(format!("could not parse formatting clause: {error}")))?;
        let text = clause.write(budget, &argument)?;
        written.push_str(&text);
        rest = after;
    }
    written.push_str(rest);
    Ok(Value::from(written))
}

/// What is wrong with a constant template for a list of arguments that is written out: where, and what.
///
/// Kubernetes refuses such calls when it compiles them. `call` is the node of the call.
pub(crate) fn check(checked: &Checked, call: &Expr) -> Option<(Id, String)> {
    let ExprKind::Call(format) = &call.kind else { return None };
    let (Some(target), [list]) = (&format.target, format.args.as_slice()) else { return None };
    let (ExprKind::Literal(Literal::String(template)), ExprKind::List(list)) = (&target.kind, &list.kind) else {
        return None;
    };
    if &*format.function != "format" {
        return None;
    }
    let mut rest: &str = template;
    let mut index = 0;
    while let Some((_, clause)) = rest.split_once('%') {
        if let Some(after) = clause.strip_prefix('%') {
            rest = after;
            continue;
        }
        if clause.is_empty() {
            return Some((call.id, "unexpected end of string".to_owned()));
        }
        let Some(argument) = list.elements.get(index) else {
            return Some((call.id, format!("index {index} out of range")));
        };
        let (clause, after) = match Clause::parse(clause) {
            Ok(parsed) => parsed,
            Err(error) => return Some((call.id, format!("could not parse formatting clause: {error}"))),
        };
        if let Some(wrong) = clause.refused(checked, argument) {
            let message = clause.complaint(&name_of_type(checked.type_of(wrong)));
            return Some((wrong, format!("error during formatting: {message}")));
        }
        index += 1;
        rest = after;
    }
    (list.elements.len() > index).then(|| {
        let found = list.elements.len();
        (call.id, format!("too many arguments supplied to string.format (expected {index}, got {found})"))
    })
}

#[derive(Clone, Copy)]
enum Clause {
    Text,
    Decimal,
    Fixed(usize),
    /// Its number is a width: cel-go passes it where Go expects one.
    Scientific(usize),
    Binary,
    Hex {
        upper: bool,
    },
    Octal,
}

impl Clause {
    /// The clause at the start of `text`, and what comes after it.
    fn parse(text: &str) -> Result<(Self, &str), String> {
        let (precision, text) = match text.strip_prefix('.') {
            Some(digits) => {
                let end = digits.find(|letter: char| !letter.is_ascii_digit());
                let end = end.ok_or("error while parsing precision: could not find end of precision specifier")?;
                let (digits, rest) = digits.split_at(end);
                let failed = |why: &str| {
                    let number = quote(digits);
                    format!(
                        "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing {number}: {why}"
                    )
                };
                if digits.is_empty() {
                    return Err(failed("invalid syntax"));
                }
                let precision = digits.parse().ok().filter(|precision| *precision <= MAX_PRECISION);
                (Some(precision.ok_or_else(|| failed("value out of range"))?), rest)
            }
            None => (None, text),
        };
        let mut letters = text.chars();
        let clause = match letters.next() {
            Some('s') => Self::Text,
            Some('d') => Self::Decimal,
            Some('f') => Self::Fixed(precision.unwrap_or(PRECISION)),
            Some('e') => Self::Scientific(precision.unwrap_or(PRECISION)),
            Some('b') => Self::Binary,
            Some('x') => Self::Hex { upper: false },
            Some('X') => Self::Hex { upper: true },
            Some('o') => Self::Octal,
            other => {
                return Err(format!(
                    "unrecognized formatting clause \"{}\"",
                    other.map(String::from).unwrap_or_default()
                ));
            }
        };
        Ok((clause, letters.as_str()))
    }

    /// What is said of a value of another type than the clause takes.
    fn complaint(self, found: &str) -> String {
        let what = match self {
            Self::Text => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
                 timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed(_) => "fixed-point clause can only be used on doubles",
            Self::Scientific(_) => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex { .. } => "only integers, byte buffers, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("{what}, was given {found}")
    }

    /// The node whose type the clause does not take: the argument, or a part of one that is written out.
    fn refused(self, checked: &Checked, argument: &Expr) -> Option<Id> {
        let ty = checked.type_of(argument.id);
        let taken = match self {
            Self::Text => !matches!(ty, Type::Object(_) | Type::Optional(_) | Type::Opaque(_)),
            Self::Decimal | Self::Octal => matches!(ty, Type::Int | Type::Uint),
            // Three words are doubles too.
            Self::Fixed(_) | Self::Scientific(_) => matches!(ty, Type::Double | Type::String),
            Self::Binary => matches!(ty, Type::Int | Type::Uint | Type::Bool),
            Self::Hex { .. } => matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes),
        };
        if !taken && !ty.is_dyn() {
            return Some(argument.id);
        }
        let parts: Vec<&Expr> = match (self, &argument.kind) {
            (Self::Text, ExprKind::List(list)) => list.elements.iter().collect(),
            (Self::Text, ExprKind::Map(entries)) => {
                entries.iter().flat_map(|entry| [&entry.key, &entry.value]).collect()
            }
            _ => Vec::new(),
        };
        parts.into_iter().find_map(|part| self.refused(checked, part))
    }

    fn write(self, budget: &mut Budget, value: &Value<'_>) -> Result<String, EvalError> {
        let text = match self {
            Self::Text => return text(budget, value, MAX_DEPTH).map_err(in_formatting),
            Self::Decimal => decimal(value),
            Self::Fixed(precision) => double(value).map(|number| fixed(number, precision)),
            Self::Scientific(width) => double(value).map(|number| scientific(number, width)),
            Self::Binary => binary(value),
            Self::Hex { upper } => {
                if let Value::String(text) = value {
                    budget.allocate(text.len().saturating_mul(2))?;
                } else if let Value::Bytes(bytes) = value {
                    budget.allocate(bytes.len().saturating_mul(2))?;
                }
                hex(value, upper)
            }
            Self::Octal => octal(value),
        };
        let refused = || in_formatting(EvalError::new(self.complaint(&type_name(value))));
        let text = text.ok_or_else(refused)?;
        budget.allocate(text.len())?;
        Ok(text)
    }
}

fn in_formatting(error: EvalError) -> EvalError {
    if error.is_over_budget() { error } else { EvalError::new(format!("error during formatting: {error}")) }
}

/// What cel-go calls the type of a value when it runs.
fn type_name(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null_type".to_owned(),
        Value::Timestamp(_) => "google.protobuf.Timestamp".to_owned(),
        Value::Duration(_) => "google.protobuf.Duration".to_owned(),
        Value::List(_) => "list".to_owned(),
        Value::Map(_) => "map".to_owned(),
        Value::Optional(_) => "optional_type".to_owned(),
        Value::Type(_) => "type".to_owned(),
        other => other.type_of().to_string(),
    }
}

/// What cel-go calls a type.
fn name_of_type(ty: &Type) -> String {
    match ty {
        Type::Null => "null_type".to_owned(),
        Type::Timestamp => "google.protobuf.Timestamp".to_owned(),
        Type::Duration => "google.protobuf.Duration".to_owned(),
        Type::List(_) => "list".to_owned(),
        Type::Map(_) => "map".to_owned(),
        Type::Optional(_) => "optional_type".to_owned(),
        Type::Type(_) => "type".to_owned(),
        other => other.to_string(),
    }
}

/// `%s`.
fn text(budget: &mut Budget, value: &Value<'_>, depth: usize) -> Result<String, EvalError> {
    let text = match value {
        Value::List(list) => return list_text(budget, list, depth),
        Value::Map(map) => return map_text(budget, map, depth),
        Value::String(text) => text.to_string(),
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| {
            EvalError::new("could not convert argument \"invalid UTF-8 in bytes, cannot convert to string\" to string")
        })?,
        Value::Null => "null".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Uint(number) => number.to_string(),
        Value::Double(number) => standard::float(*number),
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(span) => span.to_string(),
        Value::Type(of) => name_of_type(of),
        Value::Object(_) | Value::Optional(_) | Value::Opaque(_) => {
            return Err(EvalError::new(Clause::Text.complaint(&type_name(value))));
        }
    };
    budget.allocate(text.len())?;
    Ok(text)
}

/// An element of a list or of a map, as CEL would write it.
fn nested_text(budget: &mut Budget, value: &Value<'_>, depth: usize) -> Result<String, EvalError> {
    let depth = depth.checked_sub(1).ok_or_else(|| EvalError::new("value is nested too deep"))?;
    Ok(match value {
        Value::String(string) => {
            budget.allocate(string.len().saturating_mul(2))?;
            quote(string)
        }
        Value::Bytes(_) => format!("b{}", quote(&text(budget, value, depth)?)),
        Value::Double(number) if number.is_nan() => "\"NaN\"".to_owned(),
        Value::Double(number) if number.is_infinite() => if *number > 0.0 { "\"+Inf\"" } else { "\"-Inf\"" }.to_owned(),
        Value::Double(number) => format!("{number:.PRECISION$}"),
        Value::Timestamp(time) => format!("timestamp(\"{time}\")"),
        Value::Duration(span) => format!("duration(\"{span}\")"),
        Value::Object(_) | Value::Optional(_) | Value::Opaque(_) => {
            return Err(EvalError::new(format!("no formatting function for {}", type_name(value))));
        }
        other => text(budget, other, depth)?,
    })
}

fn list_text(budget: &mut Budget, list: &List<'_>, depth: usize) -> Result<String, EvalError> {
    let mut written = String::from("[");
    for (index, element) in list.iter().enumerate() {
        let element = nested_text(budget, &element?, depth)?;
        budget.allocate(element.len() + 2)?;
        if index > 0 {
            written.push_str(", ");
        }
        written.push_str(&element);
    }
    written.push(']');
    Ok(written)
}

/// The entries in the order of their written keys.
fn map_text(budget: &mut Budget, map: &Map<'_>, depth: usize) -> Result<String, EvalError> {
    let mut entries = Vec::new();
    for entry in map.iter() {
        let (key, value) = entry?;
        if !matches!(key, Value::String(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_)) {
            return Err(EvalError::new(format!("no formatting function for map key of type {}", type_name(&key))));
        }
        let key = nested_text(budget, &key, depth)?;
        let value = nested_text(budget, &value, depth)?;
        budget.allocate(key.len() + value.len() + 3)?;
        entries.push((key, value));
    }
    entries.sort_by(|left, right| left.0.cmp(&right.0));
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    Ok(format!("{{{}}}", entries.join(", ")))
}

fn decimal(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Int(number) => Some(number.to_string()),
        Value::Uint(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A double, or one of the three words for those that have no digits.
fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(number) => Some(*number),
        Value::String(text) if &**text == "NaN" => Some(f64::NAN),
        Value::String(text) if &**text == "Infinity" => Some(f64::INFINITY),
        Value::String(text) if &**text == "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn binary(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Int(number) => Some(signed(*number, format!("{:b}", number.unsigned_abs()))),
        Value::Uint(number) => Some(format!("{number:b}")),
        Value::Bool(truth) => Some(u8::from(*truth).to_string()),
        _ => None,
    }
}

fn hex(value: &Value<'_>, upper: bool) -> Option<String> {
    let octets = |octets: &[u8]| {
        octets.iter().fold(String::with_capacity(octets.len() * 2), |mut written, octet| {
            // Writing to a string cannot fail.
            let _ = write!(written, "{octet:02x}");
            written
        })
    };
    let lower = match value {
        Value::String(text) => octets(text.as_bytes()),
        Value::Bytes(bytes) => octets(bytes),
        Value::Int(number) => signed(*number, format!("{:x}", number.unsigned_abs())),
        Value::Uint(number) => format!("{number:x}"),
        _ => return None,
    };
    Some(if upper { lower.to_ascii_uppercase() } else { lower })
}

fn octal(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Int(number) => Some(signed(*number, format!("{:o}", number.unsigned_abs()))),
        Value::Uint(number) => Some(format!("{number:o}")),
        _ => None,
    }
}

fn signed(number: i64, digits: String) -> String {
    if number < 0 { format!("-{digits}") } else { digits }
}

/// English digits: groups of three, and `∞`.
fn fixed(number: f64, precision: usize) -> String {
    if !number.is_finite() {
        return special(number);
    }
    let plain = format!("{:.precision$}", number.abs());
    let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, ""));
    let mut written = String::with_capacity(plain.len() + whole.len() / 3 + 1);
    if number.is_sign_negative() {
        written.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            written.push(',');
        }
        written.push(digit);
    }
    if !fraction.is_empty() {
        written.push('.');
        written.push_str(fraction);
    }
    written
}

/// `2.625000 × 10⁰⁰`, as English writes it, with narrow spaces.
fn scientific(number: f64, width: usize) -> String {
    if !number.is_finite() {
        return special(number);
    }
    let plain = format!("{number:.PRECISION$e}");
    let (mantissa, exponent) = plain.split_once('e').unwrap_or((&plain, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let mut written = format!("{mantissa}\u{202f}×\u{202f}10");
    if exponent < 0 {
        written.push('⁻');
    }
    written.extend(format!("{:02}", exponent.abs()).chars().map(superscript));
    let missing = width.saturating_sub(written.chars().count());
    format!("{}{written}", " ".repeat(missing))
}

fn superscript(digit: char) -> char {
    const DIGITS: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digit.to_digit(10).and_then(|digit| DIGITS.get(digit as usize)).copied().unwrap_or(digit)
}

fn special(number: f64) -> String {
    if number.is_nan() {
        "NaN"
    } else if number > 0.0 {
        "∞"
    } else {
        "-∞"
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formatted(template: &str, args: Vec<Value<'static>>) -> Result<String, String> {
        match format(&mut Budget::default(), &[Value::from(template.to_owned()), Value::list(args)]) {
            Ok(Value::String(text)) => Ok(text.to_string()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn clauses_write_values() {
        let time = || Value::Timestamp(crate::value::Timestamp::parse("2023-02-03T23:31:20Z").flatten().unwrap());
        let span = || Value::Duration(crate::value::Duration::parse("1h45m47s").unwrap());
        for (template, args, written) in [
            ("no substitution", vec![], "no substitution"),
            ("%s and %d%%", vec![Value::from("text"), Value::Int(42)], "text and 42%"),
            ("%s", vec![Value::Double(64.2)], "64.2"),
            ("%s", vec![Value::Double(1e6)], "1e+06"),
            ("%s", vec![Value::Double(0.00001)], "1e-05"),
            ("%s", vec![Value::Bool(true)], "true"),
            ("%s", vec![Value::Null], "null"),
            ("%s", vec![Value::Type(Type::Timestamp)], "google.protobuf.Timestamp"),
            ("%s", vec![time()], "2023-02-03T23:31:20Z"),
            ("%s", vec![span()], "6347s"),
            ("%d", vec![Value::Uint(7)], "7"),
            ("%f", vec![Value::Double(3.25)], "3.250000"),
            ("%.3f", vec![Value::Double(-1234567.8912)], "-1,234,567.891"),
            ("%.0f", vec![Value::Double(1000.0)], "1,000"),
            ("%f", vec![Value::from("NaN")], "NaN"),
            ("%f", vec![Value::from("-Infinity")], "-∞"),
            ("%e", vec![Value::Double(2.625)], "2.625000\u{202f}×\u{202f}10⁰⁰"),
            ("%e", vec![Value::Double(1052.032911275)], "1.052033\u{202f}×\u{202f}10⁰³"),
            ("%e", vec![Value::Double(0.00001)], "1.000000\u{202f}×\u{202f}10⁻⁰⁵"),
            ("%b", vec![Value::Int(-5)], "-101"),
            ("%b", vec![Value::Bool(true)], "1"),
            ("%x", vec![Value::Int(26)], "1a"),
            ("%X", vec![Value::from("Hé")], "48C3A9"),
            ("%x", vec![Value::Bytes(b"\x00\xff".as_slice().into())], "00ff"),
            ("%o", vec![Value::Int(30)], "36"),
        ] {
            assert_eq!(formatted(template, args), Ok(written.to_owned()), "{template}");
        }
    }

    #[test]
    fn nested_values_are_written_as_cel_writes_them() {
        let mut map = Map::default();
        map.insert(Value::from("b"), Value::from("x")).unwrap();
        map.insert(Value::from("a"), Value::Double(2.0)).unwrap();
        let list = vec![
            Value::Int(1),
            Value::from("te\"xt"),
            Value::Null,
            Value::Bytes(b"oct".as_slice().into()),
            Value::Double(f64::INFINITY),
            Value::Duration(crate::value::Duration { nanos: 1_500_000_000 }),
            Value::Map(map),
        ];
        let written = r#"[1, "te\"xt", null, b"oct", "+Inf", duration("1.5s"), {"a":2.000000, "b":"x"}]"#;
        assert_eq!(formatted("%s", vec![Value::list(list)]), Ok(written.to_owned()));
    }

    #[test]
    fn bad_clauses_have_cel_gos_errors() {
        let string = "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
                      timestamps, was given optional_type";
        for (template, args, error) in [
            ("%s %s", vec![Value::Int(1)], "index 1 out of range".to_owned()),
            ("100%", vec![Value::Int(1)], "unexpected end of string".to_owned()),
            ("%q", vec![Value::Int(1)], "could not parse formatting clause: unrecognized formatting clause \"q\"".to_owned()),
            (
                "%.3",
                vec![Value::Int(1)],
                "could not parse formatting clause: error while parsing precision: could not find end of precision specifier"
                    .to_owned(),
            ),
            (
                "%.f",
                vec![Value::Double(1.0)],
                "could not parse formatting clause: error while parsing precision: error while converting precision to integer: \
                 strconv.Atoi: parsing \"\": invalid syntax"
                    .to_owned(),
            ),
            (
                "%d",
                vec![Value::from("x")],
                "error during formatting: decimal clause can only be used on integers, was given string".to_owned(),
            ),
            (
                "%f",
                vec![Value::Null],
                "error during formatting: fixed-point clause can only be used on doubles, was given null_type".to_owned(),
            ),
            (
                "%e",
                vec![Value::list(vec![])],
                "error during formatting: scientific clause can only be used on doubles, was given list".to_owned(),
            ),
            (
                "%b",
                vec![Value::Double(1.0)],
                "error during formatting: only integers and bools can be formatted as binary, was given double".to_owned(),
            ),
            (
                "%x",
                vec![Value::Bool(true)],
                "error during formatting: only integers, byte buffers, and strings can be formatted as hex, was given bool".to_owned(),
            ),
            (
                "%o",
                vec![Value::Bool(true)],
                "error during formatting: octal clause can only be used on integers, was given bool".to_owned(),
            ),
            ("%s", vec![Value::none()], format!("error during formatting: {string}")),
        ] {
            assert_eq!(formatted(template, args), Err(error), "{template}");
        }
    }

    #[test]
    fn a_result_beyond_the_memory_is_refused() {
        let long = Value::from("a".repeat(10_000_000));
        let error = formatted("%s%s%s%s%s%s%s", vec![long; 7]).unwrap_err();
        assert_eq!(error, "operation cancelled: actual cost limit exceeded");
    }

    proptest::proptest! {
        #[test]
        fn any_template_is_written_without_panic(template in "[%.0-9sdfebxXoé ]{0,16}", number: f64) {
            let _ = formatted(&template, vec![Value::Double(number), Value::Int(1), Value::from("é")]);
        }
    }
}

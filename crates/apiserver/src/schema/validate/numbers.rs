//! Bounds and divisors of numbers, with the rounding of kube-openapi: for an integer they are integers. Pure.

use serde_json::{Number, Value};

use super::{Outcome, Walk};
use crate::schema::Schema;
use crate::schema::report::Path;

/// What a value is compared as.
#[derive(Clone, Copy)]
enum Compared {
    Int(i64),
    Float(f64),
}

impl Walk<'_> {
    pub(super) fn number(
        &mut self,
        out: &mut Outcome,
        number: &Number,
        schema: &Schema,
        format: Option<&str>,
        path: &Path<'_>,
    ) {
        let Some(float) = number.as_f64() else { return };
        let value = Value::Number(number.clone());
        let compared = number.as_i64().map_or(Compared::Float(float), Compared::Int);
        let type_ = if schema.int_or_string { "" } else { schema.type_.as_deref().unwrap_or_default() };
        let fits = |number: f64| in_range(number, type_, format);
        let out_of_range = |what: &str, path: &Path<'_>| {
            let format = format.map_or_else(|| "(default format)".to_owned(), |format| format!("with format {format}"));
            format!("{what} value must be of type {type_} {format} in {path}")
        };
        if !fits(float) {
            self.nowhere(out, path, |path| out_of_range("Checked", path));
        }
        if let Some(factor) = schema.multiple_of {
            let native = fits(factor);
            if !native {
                self.nowhere(out, path, |path| out_of_range("MultipleOf", path));
            }
            let bound = bound(compared, factor, native);
            let why = if factor < 0.0 {
                Some(format!("factor MultipleOf declared for {path} must be positive: {}", go_float(factor)))
            } else {
                (!is_multiple(bound.0, bound.1)).then(|| format!("{path} in body should be a multiple of {}", bound.2))
            };
            if let Some(why) = why {
                self.fail(out, path, |field, _| crate::field::FieldError::invalid(field, &value, &why));
            }
        }
        for (limit, exclusive, least, name) in [
            (schema.minimum, schema.exclusive_minimum, true, "Minimum boundary"),
            (schema.maximum, schema.exclusive_maximum, false, "Maximum boundary"),
        ] {
            let Some(limit) = limit else { continue };
            let native = fits(limit);
            if !native {
                self.nowhere(out, path, |path| out_of_range(name, path));
            }
            let (a, b, shown) = bound(compared, limit, native);
            let order = match (a, b) {
                (Compared::Int(a), Compared::Int(b)) => a.cmp(&b),
                (a, b) => a.float().total_cmp(&b.float()),
            };
            let wrong = if least { order.is_lt() } else { order.is_gt() };
            if wrong || exclusive && order.is_eq() {
                let than = match (least, exclusive) {
                    (true, true) => "greater than",
                    (true, false) => "greater than or equal to",
                    (false, true) => "less than",
                    (false, false) => "less than or equal to",
                };
                self.invalid(out, path, &value, &format!("should be {than} {shown}"));
            }
        }
    }
}

impl Compared {
    #[expect(clippy::cast_precision_loss, reason = "as Go converts")]
    fn float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// The two sides of a comparison, and the bound as messages show it. An integer is compared with the bound cut to one.
fn bound(value: Compared, limit: f64, native: bool) -> (Compared, Compared, String) {
    #[expect(clippy::cast_possible_truncation, reason = "as Go converts; it saturates where Go does not define it")]
    match value {
        Compared::Int(value) if native => {
            let limit = limit as i64;
            (Compared::Int(value), Compared::Int(limit), limit.to_string())
        }
        other => (Compared::Float(other.float()), Compared::Float(limit), go_float(limit)),
    }
}

fn is_multiple(value: Compared, factor: Compared) -> bool {
    match (value, factor) {
        (Compared::Int(_), Compared::Int(0)) => true,
        (Compared::Int(value), Compared::Int(factor)) => value.checked_rem(factor).is_none_or(|rest| rest == 0),
        (value, factor) => {
            let (value, factor) = (value.float(), factor.float());
            factor == 0.0 || is_integer(if factor < 1.0 { 1.0 / factor * value } else { value / factor })
        }
    }
}

/// Whether a number is an integer for JSON: rounding errors of divisions are forgiven.
pub(super) fn is_integer(number: f64) -> bool {
    const MAX: f64 = 9_007_199_254_740_991.0;
    if !number.is_finite() || number.abs() > MAX {
        return false;
    }
    let (whole, size) = (number.trunc(), number.abs());
    number == whole || (number - whole).abs() / (size + whole.abs()) < 1e-9
}

/// Whether a number can be held by the type and format.
#[expect(clippy::cast_precision_loss, reason = "the bounds of the types")]
fn in_range(number: f64, type_: &str, format: Option<&str>) -> bool {
    match (type_, format) {
        ("integer", Some("int32")) => {
            number.fract() == 0.0 && (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number)
        }
        ("integer", _) => number.fract() == 0.0 && (i64::MIN as f64..=i64::MAX as f64).contains(&number),
        (_, Some("float")) => number.abs() <= f64::from(f32::MAX),
        _ => true,
    }
}

/// A number as Go's `%v` prints it.
fn go_float(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-4..1e21).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, power) = exponent.strip_prefix('-').map_or(('+', exponent), |power| ('-', power));
    format!("{digits}e{sign}{power:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_in_go() {
        for (number, text) in [(10.0, "10"), (0.5, "0.5"), (1e21, "1e+21"), (0.00001, "1e-05"), (-2.5, "-2.5")] {
            assert_eq!(go_float(number), text);
        }
    }

    #[test]
    fn rounding_errors_are_forgiven() {
        assert!(is_integer(1.0 / 0.1 * 0.3));
        assert!(!is_integer(1.5));
        assert!(!is_integer(1e300));
    }
}

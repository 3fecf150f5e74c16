//! Numbers that may be given as a percentage; quantities. Pure.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// What becomes of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// It counts as a whole.
    Up,
    /// It does not count.
    Down,
}

/// The number, or that percentage of `total`; 0 when it is neither.
pub(crate) fn scaled(value: &IntOrString, total: usize, round: Round) -> usize {
    match value {
        IntOrString::Int(number) => usize::try_from(*number).unwrap_or(0),
        IntOrString::String(text) => {
            let percent: usize = text.strip_suffix('%').and_then(|p| p.parse().ok()).unwrap_or(0);
            let product = total.saturating_mul(percent);
            match round {
                Round::Up => product.div_ceil(100),
                Round::Down => product / 100,
            }
        }
    }
}

/// A quantity in billionths, rounded up; `None` when it is none. What is out of range is the largest number.
pub(crate) fn billionths(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-'))).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (negative, number) = match number.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{part}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let exponent = |of: &str| of.strip_prefix(['e', 'E']).and_then(|e| e.parse::<i32>().ok());
    let (base, power): (i128, i32) = match unit {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (1024, 1),
        "Mi" => (1024, 2),
        "Gi" => (1024, 3),
        "Ti" => (1024, 4),
        "Pi" => (1024, 5),
        "Ei" => (1024, 6),
        other => (10, exponent(other)?),
    };
    let fraction = i32::try_from(part.len()).ok()?;
    let digits: i128 = digits.parse().unwrap_or(i128::MAX);
    let scale = |value: i128, base: i128, power: i32| {
        base.checked_pow(power.unsigned_abs()).map_or(i128::MAX, |factor| value.saturating_mul(factor))
    };
    let (up, down) = if base == 10 { (power.saturating_add(9), fraction) } else { (9, fraction) };
    let value = if base == 10 { digits } else { scale(digits, base, power) };
    let tens = up.saturating_sub(down);
    let value = match 10_i128.checked_pow(tens.unsigned_abs()) {
        Some(factor) if tens < 0 => value / factor + i128::from(value % factor != 0),
        Some(factor) => value.saturating_mul(factor),
        None if tens < 0 => i128::from(value != 0),
        None => scale(value, 10, tens),
    };
    Some(if negative { value.saturating_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_of_different_units_compare() {
        let of = |text: &str| billionths(&Quantity(text.into()));
        assert_eq!(of("1Gi"), of("1073741824"));
        assert_eq!(of("1.5Ki"), of("1536"));
        assert_eq!(of("1e3"), of("1k"));
        assert_eq!(of("0.5"), of("500m"));
        assert!(of("1G") < of("1Gi"));
        assert_eq!(of("1x"), None);
        assert_eq!(of(""), None);
        assert_eq!(of("1e999"), Some(i128::MAX));
    }

    #[test]
    fn percentages_are_rounded_as_asked() {
        let third = IntOrString::String("34%".into());
        assert_eq!((scaled(&third, 10, Round::Up), scaled(&third, 10, Round::Down)), (4, 3));
    }
}

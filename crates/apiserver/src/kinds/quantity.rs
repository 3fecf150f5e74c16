//! Resource quantities: parsing, comparing and the canonical form of `k8s.io/apimachinery/pkg/api/resource`.

use std::cmp::Ordering;

/// A quantity: `nanos` billionths of a unit, and the family of suffixes that it prints with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

const NANO: i128 = 1_000_000_000;
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
/// Suffix and power of ten.
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];

impl Quantity {
    /// Parses `100m`, `1.5Gi`, `1e3`, …; `None` when it is none or does not fit. Precision below a billionth is rounded up.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') || whole.len() + fraction.len() > 30 {
            return None;
        }
        let digits: i128 = format!("{whole}{fraction}").parse().ok()?;
        let fraction = i32::try_from(fraction.len()).ok()?;
        let (nanos, format) = match suffix {
            "" => (scale(digits, 9 - fraction)?, Format::Decimal),
            _ if suffix.starts_with(['e', 'E']) && suffix.len() > 1 => {
                let exponent: i32 = suffix[1..].parse().ok()?;
                (scale(digits, exponent.checked_add(9 - fraction)?)?, Format::Exponent)
            }
            _ => match BINARY.iter().position(|s| *s == suffix) {
                Some(power) => {
                    let factor = 1i128.checked_shl(10 * u32::try_from(power).ok()?)?;
                    (scale(digits.checked_mul(factor)?, 9 - fraction)?, Format::Binary)
                }
                None => {
                    let (_, power) = DECIMAL.iter().find(|(s, _)| *s == suffix)?;
                    (scale(digits, power + 9 - fraction)?, Format::Decimal)
                }
            },
        };
        Some(Self { nanos: if text.starts_with('-') { -nanos } else { nanos }, format })
    }

    /// Whether it is below zero.
    pub(crate) fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    pub(crate) fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// Whether it is a whole number of units.
    pub(crate) fn is_whole(self) -> bool {
        self.nanos % NANO == 0
    }

    /// The shortest text of the same value and suffix family.
    pub(crate) fn canonical(self) -> String {
        let sign = if self.nanos < 0 { "-" } else { "" };
        let amount = self.nanos.abs();
        if self.format == Format::Binary && amount % NANO == 0 && amount / NANO >= 1024 {
            let mut units = amount / NANO;
            let mut power = 0;
            while units % 1024 == 0 && power + 1 < BINARY.len() {
                units /= 1024;
                power += 1;
            }
            return format!("{sign}{units}{}", BINARY[power]);
        }
        if amount == 0 {
            return "0".to_owned();
        }
        let (mut number, mut power) = (amount, -9);
        while number % 1000 == 0 && power < 18 {
            number /= 1000;
            power += 3;
        }
        match (self.format, power) {
            (_, 0) => format!("{sign}{number}"),
            (Format::Exponent, _) => format!("{sign}{number}e{power}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, p)| *p == power).map_or("", |(s, _)| *s);
                format!("{sign}{number}{suffix}")
            }
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.nanos.partial_cmp(&other.nanos)
    }
}

fn scale(digits: i128, power: i32) -> Option<i128> {
    let factor = 10i128.checked_pow(power.unsigned_abs())?;
    if power >= 0 { digits.checked_mul(factor) } else { Some(digits / factor + i128::from(digits % factor != 0)) }
}

/// The canonical text, or the text itself when it is no quantity.
pub(crate) fn canonical(text: &str) -> String {
    Quantity::parse(text).map_or_else(|| text.to_owned(), Quantity::canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_keeps_the_suffix_family() {
        let cases = [
            ("1000m", "1"),
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1.5Gi", "1536Mi"),
            ("2048", "2048"),
            ("1000", "1k"),
            ("100000", "100k"),
            ("512Ki", "512Ki"),
            ("0", "0"),
            ("1e3", "1e3"),
            ("-1", "-1"),
            ("0.5Gi", "512Mi"),
            ("10m", "10m"),
        ];
        for (given, wanted) in cases {
            assert_eq!(canonical(given), wanted, "{given}");
        }
    }

    #[test]
    fn what_is_no_quantity_does_not_parse() {
        for text in ["", "x", "1x", "1.2.3", "--1", ".", "1ki", "99999999999999999999999999999999999999"] {
            assert_eq!(Quantity::parse(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_compare_by_value() {
        assert!(Quantity::parse("1500m") > Quantity::parse("1"));
    }
}

//! `resource.Quantity`: parsing and the canonical form in which kube-apiserver writes quantities back.

/// What kube-apiserver says of text that is no quantity.
const WRONG: &str = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

/// The value of a quantity, in billionths of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantity(i128);

/// How the exponent was written, and is written again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Binary,
    Decimal,
    Exponent,
}

/// Nano: the finest step a quantity keeps.
const SCALE: u32 = 9;
const ONE: i128 = 1_000_000_000;
/// No quantity is greater than 2^63-1.
const MAX: i128 = i64::MAX as i128 * ONE;

/// The canonical form: `0.5` is `500m`, `1000m` is `1`, `2048Ki` is `2Mi`. Finer than nano is rounded away from zero,
/// greater than 2^63-1 is cut off there.
///
/// # Errors
/// kube-apiserver's text when `text` is no quantity.
pub fn canonical(text: &str) -> Result<String, &'static str> {
    let (nanos, format) = parse(text)?;
    Ok(write(nanos, format))
}

/// The canonical form, or the text itself when it is no quantity: for values that validation speaks about later.
pub(crate) fn canonical_or_same(text: &str) -> String {
    canonical(text).unwrap_or_else(|_| text.to_owned())
}

impl Quantity {
    /// Reads `100m`, `1.5Gi`, `1e3`, …; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse(text).ok().map(|(nanos, _)| Self(nanos))
    }

    /// Whether it is below zero.
    pub(crate) fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Whether it is zero.
    pub(crate) fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether it is a whole number of units.
    pub(crate) fn is_whole(self) -> bool {
        self.0 % ONE == 0
    }
}

/// A quantity that is added up and written again, in the form it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Amount {
    nanos: i128,
    format: Format,
}

impl Amount {
    /// Nothing.
    pub(crate) const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// Reads `100m`, `1.5Gi`, `1e3`, …; `None` when it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        parse(text).ok().map(|(nanos, format)| Self { nanos, format })
    }

    /// So many whole units.
    pub(crate) fn whole(units: usize) -> Self {
        let nanos = i128::try_from(units).unwrap_or(MAX).saturating_mul(ONE);
        Self { nanos, format: Format::Decimal }
    }

    /// What compares.
    pub(crate) fn value(self) -> Quantity {
        Quantity(self.nanos)
    }

    /// The sum, in the form of the first that is not zero.
    pub(crate) fn plus(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos).clamp(-MAX, MAX), format }
    }

    /// The difference, or nothing where it would be less than nothing.
    pub(crate) fn minus(self, other: Self) -> Self {
        let nanos = self.nanos.saturating_sub(other.nanos);
        if nanos > 0 { Self { nanos, format: self.format } } else { Self::ZERO }
    }

    /// The greater of the two.
    pub(crate) fn max(self, other: Self) -> Self {
        if other.nanos > self.nanos { other } else { self }
    }

    /// A part of a unit counts as a whole one.
    pub(crate) fn rounded_up(self) -> Self {
        Self { nanos: self.units().saturating_mul(ONE), format: self.format }
    }

    /// Whole units, rounded up.
    pub(crate) fn units(self) -> i128 {
        up(self.nanos, ONE)
    }

    /// Thousandths of a unit, rounded up.
    pub(crate) fn millis(self) -> i128 {
        up(self.nanos, ONE / 1000)
    }
}

/// `nanos` in steps of `step`, away from zero.
fn up(nanos: i128, step: i128) -> i128 {
    let steps = nanos / step;
    if nanos % step == 0 { steps } else { steps + nanos.signum() }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&write(self.nanos, self.format))
    }
}

/// Sign, value in nano units and format.
fn parse(text: &str) -> Result<(i128, Format), &'static str> {
    let (negative, rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    let (number, suffix) = rest.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(WRONG);
    }
    let (base, exponent, format) = self::suffix(suffix)?;
    let digits = format!("{whole}{fraction}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok((0, format));
    }
    let places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
    let nanos = if base == 2 {
        binary(digits, places, exponent)
    } else {
        decimal(digits, exponent.saturating_sub(places).saturating_add(i64::from(SCALE)))
    };
    Ok((if negative { -nanos } else { nanos }, format))
}

/// `digits * 10^shift`, rounded up, at most [`MAX`].
fn decimal(digits: &str, shift: i64) -> i128 {
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    if length.saturating_add(shift) > 29 {
        return MAX;
    }
    if length.saturating_add(shift) <= 0 {
        return 1;
    }
    let keep = usize::try_from(length.saturating_add(shift.min(0))).unwrap_or(0);
    let (kept, cut) = digits.split_at(keep.min(digits.len()));
    let mut value: i128 = kept.parse().unwrap_or(MAX);
    if cut.bytes().any(|b| b != b'0') {
        value += 1;
    }
    let zeros = u32::try_from(shift.max(0)).unwrap_or(0);
    value.checked_mul(10i128.pow(zeros.min(30))).unwrap_or(MAX).min(MAX)
}

/// `digits * 10^-places * 2^exponent` in nano units, rounded up, at most [`MAX`].
fn binary(digits: &str, places: i64, exponent: i64) -> i128 {
    let nanos = decimal(digits, i64::from(SCALE) - places);
    nanos.checked_mul(1i128 << exponent.clamp(0, 60)).unwrap_or(MAX).min(MAX)
}

fn suffix(text: &str) -> Result<(u8, i64, Format), &'static str> {
    let decimal = |exponent| Ok((10, exponent, Format::Decimal));
    let binary = |exponent| Ok((2, exponent, Format::Binary));
    match text {
        "n" => decimal(-9),
        "u" => decimal(-6),
        "m" => decimal(-3),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(10),
        "Mi" => binary(20),
        "Gi" => binary(30),
        "Ti" => binary(40),
        "Pi" => binary(50),
        "Ei" => binary(60),
        _ => match text.strip_prefix(['e', 'E']).map(str::parse::<i32>) {
            Some(Ok(exponent)) => Ok((10, i64::from(exponent), Format::Exponent)),
            Some(Err(_)) => Err("unable to parse quantity's suffix"),
            None if text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'-') => {
                Err("unable to parse quantity's suffix")
            }
            None => Err(WRONG),
        },
    }
}

fn write(nanos: i128, format: Format) -> String {
    if nanos == 0 {
        return "0".to_owned();
    }
    // A part of a unit would be lost in the binary form: `1.1Gi` is `1181116006400m`.
    if format == Format::Binary && nanos.abs() >= 1024 * ONE && nanos % ONE == 0 {
        let mut value = nanos.abs() / ONE;
        let mut power = 0;
        while value % 1024 == 0 && power < 6 {
            value /= 1024;
            power += 1;
        }
        let sign = if nanos < 0 { "-" } else { "" };
        return format!("{sign}{value}{}", ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"][power]);
    }
    let mut value = nanos;
    let mut power = -3i32;
    while value % 1000 == 0 && power < 6 {
        value /= 1000;
        power += 1;
    }
    if format == Format::Exponent {
        return if power == 0 { value.to_string() } else { format!("{value}e{}", power * 3) };
    }
    let suffix = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"][usize::try_from(power + 3).unwrap_or(3)];
    format!("{value}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::{Amount, Quantity, canonical};

    #[test]
    fn a_sum_is_written_like_its_first_part() {
        let sum = |a: &str, b: &str| Amount::parse(a).unwrap().plus(Amount::parse(b).unwrap()).to_string();
        assert_eq!([sum("1Gi", "1G"), sum("600m", "500m"), sum("0", "1Mi")], ["2073741824", "1100m", "1Mi"]);
    }

    #[test]
    fn a_difference_is_never_negative() {
        let minus = |a: &str, b: &str| Amount::parse(a).unwrap().minus(Amount::parse(b).unwrap()).to_string();
        assert_eq!([minus("2Gi", "1Gi"), minus("1", "2")], ["1Gi", "0"]);
    }

    #[test]
    fn a_binary_quantity_with_a_part_of_a_unit_is_written_in_decimals() {
        assert_eq!(canonical("1.1Gi").unwrap(), "1181116006400m");
        assert_eq!(canonical("1.5Gi").unwrap(), "1536Mi");
    }

    #[test]
    fn parts_of_units_round_up() {
        let amount = Amount::parse("1500u").unwrap();
        assert_eq!((amount.units(), amount.millis(), amount.rounded_up().to_string().as_str()), (1, 2, "1"));
    }

    #[test]
    fn quantities_are_written_in_canonical_form() {
        for (text, expected) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1", "1"),
            ("1.0", "1"),
            ("1.5", "1500m"),
            ("1.5Gi", "1536Mi"),
            ("2048Ki", "2Mi"),
            ("1000", "1k"),
            ("100Mi", "100Mi"),
            ("1024", "1024"),
            ("0Gi", "0"),
            ("0.5Ki", "512"),
            ("-1500m", "-1500m"),
            ("+3", "3"),
            ("1e3", "1e3"),
            ("1000e3", "1e6"),
            ("1E3", "1e3"),
            ("0.1n", "1n"),
            (".5", "500m"),
            ("1.", "1"),
            ("1000Gi", "1000Gi"),
            ("99E", "9223372036854775807"),
            ("12000000000", "12G"),
        ] {
            assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn quantities_compare_by_value() {
        assert!(Quantity::parse("1500m") > Quantity::parse("1"));
    }

    #[test]
    fn text_that_is_no_quantity_is_refused() {
        for text in ["", "x", "1.1.1", "1 Gi", "1gi", "e3", "-", "1Kii", "1é"] {
            assert!(canonical(text).is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn canonical_form_is_its_own(text in "[+-]?[0-9]{1,25}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]{1,2})?") {
            let once = canonical(&text).unwrap();
            proptest::prop_assert_eq!(canonical(&once).unwrap(), once);
        }
        #[test]
        fn any_text_is_answered(text in ".{0,40}") {
            let _ = canonical(&text);
        }
    }
}

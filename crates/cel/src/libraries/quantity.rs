//! Kubernetes' resource quantities: `1.5Gi`, `200m`, `1e3`; reading, adding, comparing. Pure.
//!
//! As in `k8s.io/apimachinery/pkg/api/resource`, a quantity that fits is a 64-bit number with a decimal scale, and only
//! such one can be an integer; others are numbers of any size. No quantity is finer than a nano: reading rounds up.

use std::cmp::Ordering;

use crate::error::EvalError;

const WRONG_FORMAT: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
const WRONG_SUFFIX: &str = "unable to parse quantity's suffix";
const WRONG_NUMBER: &str = "unable to parse numeric part of quantity";

/// Decimal places of the finest quantity.
const NANO: i32 = 9;
/// Decimal digits that always fit 64 bits.
const SAFE_DIGITS: i64 = 18;
/// The largest decimal exponent, and the most digits, that are read. Kubernetes has no bound, and takes its time; nobody means
/// more, and comparing costs 1 however many digits there are.
const MAX_EXPONENT: i64 = 1_000;

/// A quantity.
#[derive(Clone, Debug)]
pub(super) enum Quantity {
    /// `value * 10^scale`, with `-9 <= scale`.
    Small { value: i64, scale: i32 },
    /// A number of nanos.
    Large(Nanos),
}

/// A signed whole number of nanos of any size.
#[derive(Clone, Debug)]
pub(super) struct Nanos {
    negative: bool,
    magnitude: Magnitude,
}

impl Quantity {
    /// `resource.ParseQuantity`.
    pub(super) fn parse(text: &str) -> Result<Self, EvalError> {
        parse(text).map_err(EvalError::new)
    }

    /// `resource.NewQuantity`.
    pub(super) fn from_int(value: i64) -> Self {
        Self::Small { value, scale: 0 }
    }

    /// The whole number that it is, as far as Kubernetes sees it: a number written with decimal places is none.
    pub(super) fn as_int(&self) -> Option<i64> {
        match self {
            Self::Small { value, scale } => shift(*value, u32::try_from(*scale).ok()?),
            Self::Large(_) => None,
        }
    }

    /// The nearest double.
    pub(super) fn as_double(&self) -> f64 {
        match self {
            Self::Small { value, scale: 0 } => *value as f64,
            Self::Small { value, scale } => *value as f64 * 10_f64.powi(*scale),
            Self::Large(nanos) => {
                let magnitude = nanos.magnitude.as_double() * 1e-9;
                if nanos.negative { -magnitude } else { magnitude }
            }
        }
    }

    /// -1, 0 or 1.
    pub(super) fn sign(&self) -> i64 {
        match self {
            Self::Small { value, .. } => value.signum(),
            Self::Large(nanos) if nanos.magnitude.is_zero() => 0,
            Self::Large(nanos) => {
                if nanos.negative {
                    -1
                } else {
                    1
                }
            }
        }
    }

    /// The sum.
    pub(super) fn add(&self, other: &Self) -> Self {
        self.add_small(other).unwrap_or_else(|| Self::Large(self.nanos().add(&other.nanos())))
    }

    /// The difference.
    pub(super) fn sub(&self, other: &Self) -> Self {
        self.add(&other.negated())
    }

    fn negated(&self) -> Self {
        match self {
            Self::Small { value, scale } => match value.checked_neg() {
                Some(value) => Self::Small { value, scale: *scale },
                None => Self::Large(self.nanos().negated()),
            },
            Self::Large(nanos) => Self::Large(nanos.negated()),
        }
    }

    /// The sum when both are small and so is it.
    fn add_small(&self, other: &Self) -> Option<Self> {
        let (Self::Small { value: left, scale: left_scale }, Self::Small { value: right, scale: right_scale }) =
            (self, other)
        else {
            return None;
        };
        if *right == 0 {
            return Some(self.clone());
        }
        if *left == 0 {
            return Some(other.clone());
        }
        let scale = *left_scale.min(right_scale);
        let left = shift(*left, u32::try_from(left_scale - scale).ok()?)?;
        let right = shift(*right, u32::try_from(right_scale - scale).ok()?)?;
        Some(Self::Small { value: left.checked_add(right)?, scale })
    }

    fn nanos(&self) -> Nanos {
        match self {
            Self::Small { value, scale } => {
                let mut magnitude = Magnitude::from_digits(value.unsigned_abs().to_string().bytes());
                magnitude.shift(usize::try_from(scale + NANO).unwrap_or(0));
                Nanos { negative: *value < 0, magnitude }
            }
            Self::Large(nanos) => nanos.clone(),
        }
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Small { .. } => 0,
            Self::Large(nanos) => nanos.magnitude.limbs.len() * size_of::<u32>(),
        }
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        let (left, right) = (self.sign(), other.sign());
        match left.cmp(&right) {
            Ordering::Equal if left < 0 => other.nanos().magnitude.cmp(&self.nanos().magnitude),
            Ordering::Equal => self.nanos().magnitude.cmp(&other.nanos().magnitude),
            different => different,
        }
    }
}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Quantity {}

impl Nanos {
    fn negated(&self) -> Self {
        Self { negative: !self.negative, magnitude: self.magnitude.clone() }
    }

    fn add(&self, other: &Self) -> Self {
        if self.negative == other.negative {
            return Self { negative: self.negative, magnitude: self.magnitude.add(&other.magnitude) };
        }
        match self.magnitude.cmp(&other.magnitude) {
            Ordering::Less => Self { negative: other.negative, magnitude: other.magnitude.sub(&self.magnitude) },
            _ => Self { negative: self.negative, magnitude: self.magnitude.sub(&other.magnitude) },
        }
    }
}

/// `value * 10^places`, when it fits.
fn shift(value: i64, places: u32) -> Option<i64> {
    value.checked_mul(10_i64.checked_pow(places)?)
}

/// A quantity taken apart.
struct Parts<'a> {
    negative: bool,
    /// Digits before the point, without leading zeros, but at least one.
    whole: &'a str,
    /// Digits after the point.
    fraction: &'a str,
    /// Whether a digit was written.
    digits: bool,
    suffix: &'a str,
}

/// What a suffix multiplies by.
enum Suffix {
    /// A power of ten.
    Decimal(i64),
    /// A power of two.
    Binary(u32),
}

fn split(text: &str) -> Result<Parts<'_>, &'static str> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let significant = unsigned.trim_start_matches('0');
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = significant.split_at(digits(significant));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let exponent = suffix.trim_start_matches(|letter| "eEinumkKMGTP".contains(letter));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if !exponent.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WRONG_FORMAT);
    }
    Ok(Parts {
        negative,
        whole: if whole.is_empty() { "0" } else { whole },
        fraction,
        digits: unsigned.starts_with(|letter: char| letter.is_ascii_digit()) || !fraction.is_empty(),
        suffix,
    })
}

fn suffix(text: &str) -> Option<Suffix> {
    Some(match text {
        "" => Suffix::Decimal(0),
        "n" => Suffix::Decimal(-9),
        "u" => Suffix::Decimal(-6),
        "m" => Suffix::Decimal(-3),
        "k" => Suffix::Decimal(3),
        "M" => Suffix::Decimal(6),
        "G" => Suffix::Decimal(9),
        "T" => Suffix::Decimal(12),
        "P" => Suffix::Decimal(15),
        "E" => Suffix::Decimal(18),
        "Ki" => Suffix::Binary(10),
        "Mi" => Suffix::Binary(20),
        "Gi" => Suffix::Binary(30),
        "Ti" => Suffix::Binary(40),
        "Pi" => Suffix::Binary(50),
        "Ei" => Suffix::Binary(60),
        _ => {
            let exponent: i64 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
            if exponent > MAX_EXPONENT {
                return None;
            }
            Suffix::Decimal(exponent)
        }
    })
}

fn parse(text: &str) -> Result<Quantity, &'static str> {
    if text.is_empty() {
        return Err(WRONG_FORMAT);
    }
    let parts = split(text)?;
    if parts.whole.len() + parts.fraction.len() > MAX_EXPONENT as usize {
        return Err(WRONG_NUMBER);
    }
    let suffix = suffix(parts.suffix).ok_or(WRONG_SUFFIX)?;
    match parse_small(&parts, &suffix)? {
        Some(small) => Ok(small),
        None if !parts.digits => Err(WRONG_NUMBER),
        None => Ok(parse_large(&parts, &suffix)),
    }
}

/// The quantity when it surely fits 64 bits and has no more than nine decimal places.
fn parse_small(parts: &Parts<'_>, suffix: &Suffix) -> Result<Option<Quantity>, &'static str> {
    let digits = (parts.whole.len() + parts.fraction.len()) as i64;
    let (factor, exponent, room) = match *suffix {
        Suffix::Decimal(exponent) => (1, exponent, SAFE_DIGITS - digits),
        Suffix::Binary(power) if parts.fraction.is_empty() => {
            (1_i64 << power, 0, 15 - digits - i64::from(power) * 3 / 10 - 1)
        }
        Suffix::Binary(_) => return Ok(None),
    };
    let scale = exponent - parts.fraction.len() as i64;
    if room < 0 || scale < -i64::from(NANO) {
        return Ok(None);
    }
    let value: i64 = format!("{}{}", parts.whole, parts.fraction).parse().map_err(|_| WRONG_NUMBER)?;
    let Some(value) = value.checked_mul(factor) else { return Ok(None) };
    let value = if parts.negative { -value } else { value };
    Ok(Some(Quantity::Small { value, scale: scale as i32 }))
}

fn parse_large(parts: &Parts<'_>, suffix: &Suffix) -> Quantity {
    let digits = parts.whole.bytes().chain(parts.fraction.bytes());
    let places = |exponent: i64| exponent + i64::from(NANO) - parts.fraction.len() as i64;
    let magnitude = match *suffix {
        Suffix::Decimal(exponent) => nanos(digits, parts.whole.len() + parts.fraction.len(), places(exponent), 0),
        Suffix::Binary(power) => {
            // Binary quantities are capped at the largest 64-bit number.
            let mut most = Magnitude::from_digits(i64::MAX.to_string().bytes());
            most.shift(NANO as usize);
            nanos(digits, parts.whole.len() + parts.fraction.len(), places(0), power).min(most)
        }
    };
    Quantity::Large(Nanos { negative: parts.negative, magnitude })
}

/// `digits * 2^power * 10^places`, rounded up.
fn nanos(digits: impl Iterator<Item = u8> + Clone, count: usize, places: i64, power: u32) -> Magnitude {
    let mut magnitude = Magnitude::from_digits(digits);
    for _ in 0..power / 10 {
        magnitude.multiply(1 << 10);
    }
    match usize::try_from(places) {
        Ok(places) => magnitude.shift(places),
        // A number of n digits, times at most 2^60, has no digit left of place n + 19.
        Err(_) if places < -(count as i64 + 19) => {
            if !magnitude.is_zero() {
                magnitude = Magnitude::from_digits(std::iter::once(b'1'));
            }
        }
        Err(_) => magnitude.unshift_rounding_up(places.unsigned_abs() as usize),
    }
    magnitude
}

/// A whole number of any size: limbs of nine decimal digits, the lowest first, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Magnitude {
    limbs: Vec<u32>,
}

const LIMB: u64 = 1_000_000_000;
const LIMB_DIGITS: usize = 9;

impl Magnitude {
    fn from_digits(digits: impl Iterator<Item = u8>) -> Self {
        let digits: Vec<u8> = digits.collect();
        let limbs = digits
            .rchunks(LIMB_DIGITS)
            .map(|chunk| chunk.iter().fold(0, |limb, digit| limb * 10 + u32::from(digit.wrapping_sub(b'0') % 10)))
            .collect();
        Self { limbs }.trimmed()
    }

    fn trimmed(mut self) -> Self {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    fn is_zero(&self) -> bool {
        self.limbs.is_empty()
    }

    fn digits(&self) -> String {
        let mut digits = String::with_capacity(self.limbs.len() * LIMB_DIGITS);
        for limb in self.limbs.iter().rev() {
            digits.push_str(&format!("{limb:09}"));
        }
        digits
    }

    fn as_double(&self) -> f64 {
        // The digits of a whole number are always a number.
        self.digits().parse().unwrap_or(0.0)
    }

    /// Times `10^places`.
    fn shift(&mut self, places: usize) {
        if self.is_zero() {
            return;
        }
        self.multiply(10_u32.pow((places % LIMB_DIGITS) as u32));
        self.limbs.splice(0..0, std::iter::repeat_n(0, places / LIMB_DIGITS));
    }

    /// Divided by `10^places`, rounded up.
    fn unshift_rounding_up(&mut self, places: usize) {
        let dropped = places / LIMB_DIGITS;
        let mut exact = self.limbs.iter().take(dropped).all(|limb| *limb == 0);
        self.limbs.drain(..dropped.min(self.limbs.len()));
        let divisor = 10_u64.pow((places % LIMB_DIGITS) as u32);
        let mut rest = 0;
        for limb in self.limbs.iter_mut().rev() {
            let value = rest * LIMB + u64::from(*limb);
            *limb = (value / divisor) as u32;
            rest = value % divisor;
        }
        exact &= rest == 0;
        *self = Self { limbs: std::mem::take(&mut self.limbs) }.trimmed();
        if !exact {
            *self = self.add(&Self { limbs: vec![1] });
        }
    }

    fn multiply(&mut self, factor: u32) {
        let mut carry = 0;
        for limb in &mut self.limbs {
            let value = u64::from(*limb) * u64::from(factor) + carry;
            *limb = (value % LIMB) as u32;
            carry = value / LIMB;
        }
        while carry > 0 {
            self.limbs.push((carry % LIMB) as u32);
            carry /= LIMB;
        }
    }

    fn add(&self, other: &Self) -> Self {
        let mut carry = 0;
        let mut limbs = Vec::with_capacity(self.limbs.len().max(other.limbs.len()) + 1);
        for at in 0..self.limbs.len().max(other.limbs.len()) {
            let value = u64::from(self.limb(at)) + u64::from(other.limb(at)) + carry;
            limbs.push((value % LIMB) as u32);
            carry = value / LIMB;
        }
        limbs.push(carry as u32);
        Self { limbs }.trimmed()
    }

    /// Less a number that is not greater.
    fn sub(&self, other: &Self) -> Self {
        let mut borrow = 0;
        let limbs = (0..self.limbs.len())
            .map(|at| {
                let value = u64::from(self.limb(at)) + LIMB - u64::from(other.limb(at)) - borrow;
                borrow = u64::from(value < LIMB);
                (value % LIMB) as u32
            })
            .collect();
        Self { limbs }.trimmed()
    }

    fn limb(&self, at: usize) -> u32 {
        self.limbs.get(at).copied().unwrap_or(0)
    }
}

impl Ord for Magnitude {
    fn cmp(&self, other: &Self) -> Ordering {
        self.limbs.len().cmp(&other.limbs.len()).then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }
}

impl PartialOrd for Magnitude {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity::parse(text).unwrap()
    }

    #[test]
    fn equal_quantities_may_be_written_differently() {
        for (left, right) in [
            ("1.5G", "1500M"),
            ("200M", "0.2G"),
            ("1Ki", "1024"),
            ("1.5Ki", "1536"),
            ("1e3", "1k"),
            ("1E3", "1000"),
            ("100m", "0.1"),
            ("+5", "5"),
            ("-0", "0"),
            ("0.000000000001", "1n"),
            ("1e-20", "1n"),
            ("-1e-999999999", "-1n"),
            ("0e-999999999", "0"),
            ("1.0000000001", "1.000000001"),
            ("10000000000000000000000", "1e22"),
            ("0.5", "500m"),
            ("9999999Ei", "9223372036854775807"),
            ("0.00000000000000001Ki", "1n"),
            ("1.", "1"),
            (".", "0"),
            ("-", "0"),
        ] {
            assert_eq!(quantity(left), quantity(right), "{left} {right}");
        }
    }

    #[test]
    fn what_is_no_quantity_has_kubernetes_errors() {
        for (text, error) in [
            ("", WRONG_FORMAT),
            ("1,3G", WRONG_FORMAT),
            ("1.2.3", WRONG_FORMAT),
            ("1e5x", WRONG_FORMAT),
            (" 1", WRONG_FORMAT),
            ("Three", WRONG_FORMAT),
            ("200K", WRONG_SUFFIX),
            ("Mi", ""),
            ("1mi", WRONG_SUFFIX),
            ("1e", WRONG_SUFFIX),
            ("1e99999999999999999999", WRONG_SUFFIX),
            ("1e1001", WRONG_SUFFIX),
            (".e-10", WRONG_NUMBER),
            (&"1".repeat(1_001), WRONG_NUMBER),
        ] {
            let read = Quantity::parse(text);
            if error.is_empty() {
                // A number without digits is zero of its unit.
                assert_eq!(read.unwrap().sign(), 0, "{text}");
            } else {
                assert_eq!(read.unwrap_err().to_string(), error, "{text}");
            }
        }
    }

    #[test]
    fn comparison_is_by_value() {
        for (less, more) in [
            ("50M", "50Mi"),
            ("-2", "-1"),
            ("-1", "0"),
            ("0", "1n"),
            ("999999999999999999999999", "1e24"),
            ("-1e24", "-999999999999999999999999"),
        ] {
            assert!(quantity(less) < quantity(more), "{less} {more}");
        }
    }

    #[test]
    fn only_small_quantities_without_decimal_places_are_integers() {
        for (text, int) in [
            ("50k", Some(50_000)),
            ("50000000G", Some(50_000_000_000_000_000)),
            ("1Ki", Some(1024)),
            ("0.5k", Some(500)),
            ("1.0", None),
            ("1000m", None),
            ("50000000000G", None),
            ("9999999999999999999999999999999999999G", None),
        ] {
            assert_eq!(quantity(text).as_int(), int, "{text}");
        }
    }

    #[test]
    fn sums_are_exact() {
        for (left, right, sum) in [
            ("50k", "20", "50020"),
            ("1", "1m", "1001m"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("1e30", "-1e30", "0"),
            ("1e30", "1n", "1000000000000000000000000000000.000000001"),
            ("-5", "3", "-2"),
            ("1e20", "-1e21", "-9e20"),
        ] {
            assert_eq!(quantity(left).add(&quantity(right)), quantity(sum), "{left} {right}");
            assert_eq!(quantity(sum).sub(&quantity(right)), quantity(left), "{sum} {right}");
        }
    }

    #[test]
    fn the_double_is_near() {
        for (text, double) in [("1.5G", 1.5e9), ("0.1", 0.1), ("-2Ki", -2048.0), ("1e30", 1e30), ("0", 0.0)] {
            let near = quantity(text).as_double();
            assert!((near - double).abs() <= double.abs() * 1e-15, "{text}: {near}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[-+]?[0-9.]{0,30}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}") {
            let _ = Quantity::parse(&text);
        }

        #[test]
        fn whole_numbers_add_as_integers_do(left in -1_000_000_000_000_i64..1_000_000_000_000, right: i64) {
            let sum = Quantity::from_int(left).add(&Quantity::from_int(right));
            let expected = quantity(&(i128::from(left) + i128::from(right)).to_string());
            proptest::prop_assert_eq!(sum, expected);
        }
    }
}

//! Spans of time in Go's forms.

use std::fmt;

/// A span of time: nanoseconds, in the range of Go's `time.Duration` (about 292 years).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    /// Nanoseconds.
    pub nanos: i64,
}

/// Units that [`Duration::parse`] knows, longer names first, with their nanoseconds.
const UNITS: [(&str, i128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

impl Duration {
    /// Go's `time.ParseDuration`: `1h30m`, `-1.5s`, `300ms`, `0`.
    pub fn parse(text: &str) -> Option<Self> {
        let (negative, mut rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        if rest == "0" {
            return Some(Self::default());
        }
        if rest.is_empty() {
            return None;
        }
        let mut total: i128 = 0;
        while !rest.is_empty() {
            let whole_end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            let (whole, after) = rest.split_at(whole_end);
            let (fraction, after) = match after.strip_prefix('.') {
                Some(after) => {
                    after.split_at(after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len()))
                }
                None => ("", after),
            };
            if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 {
                return None;
            }
            let unit_end = after.find(|letter: char| letter == '.' || letter.is_ascii_digit()).unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
            total += whole.parse::<i128>().unwrap_or(0) * nanos;
            // Digits beyond the 18th are below a nanosecond of an hour.
            let digits = fraction.get(..fraction.len().min(18))?;
            total += digits.parse::<i128>().unwrap_or(0) * nanos / 10_i128.pow(digits.len() as u32);
            if total > i128::from(i64::MAX) + 1 {
                return None;
            }
            rest = after;
        }
        i64::try_from(if negative { -total } else { total }).ok().map(|nanos| Self { nanos })
    }
}

impl fmt::Display for Duration {
    /// Seconds: `3600s`, `0.5s`; CEL's `string(duration)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.nanos.unsigned_abs();
        let sign = if self.nanos < 0 { "-" } else { "" };
        let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        if fraction == 0 {
            return write!(f, "{sign}{seconds}s");
        }
        let fraction = format!("{fraction:09}");
        write!(f, "{sign}{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

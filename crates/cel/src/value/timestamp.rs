//! Points in time in the years 1 to 9999, all of them (jiff's own instants end a day earlier).

use std::fmt;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};

/// A point in time: nanoseconds since 1970, in the years 1 to 9999 (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    nanos: i128,
}

/// Nanoseconds of a second.
const SECOND: i128 = 1_000_000_000;
/// The first second of year 1.
const FIRST: i64 = -62_135_596_800;
/// The last second of year 9999.
const LAST: i64 = 253_402_300_799;

impl Timestamp {
    /// So many seconds since 1970. None outside of the years 1 to 9999.
    pub fn from_second(seconds: i64) -> Option<Self> {
        Self::from_nanosecond(i128::from(seconds) * SECOND)
    }

    /// So many nanoseconds since 1970. None outside of the years 1 to 9999.
    pub fn from_nanosecond(nanos: i128) -> Option<Self> {
        let seconds = nanos.div_euclid(SECOND);
        (i128::from(FIRST)..=i128::from(LAST)).contains(&seconds).then_some(Self { nanos })
    }

    /// Whole seconds since 1970.
    pub fn as_second(self) -> i64 {
        // The range is that of years, far within 64 bits.
        self.nanos.div_euclid(SECOND) as i64
    }

    /// Nanoseconds since 1970.
    pub fn as_nanosecond(self) -> i128 {
        self.nanos
    }

    /// RFC 3339 as Go reads it: seconds and a zone are a must, `T` and `Z` are capital, there are no leap seconds.
    /// The inner None: the form is right, the time is out of range.
    pub fn parse(text: &str) -> Option<Option<Self>> {
        let octets = text.as_bytes();
        let digits = |range: std::ops::Range<usize>| {
            octets.get(range).is_some_and(|octets| octets.iter().all(u8::is_ascii_digit))
        };
        let sign = |at: usize, sign: u8| octets.get(at) == Some(&sign);
        let parts = digits(0..4) && digits(5..7) && digits(8..10) && digits(11..13) && digits(14..16) && digits(17..19);
        let signs = sign(4, b'-') && sign(7, b'-') && sign(10, b'T') && sign(13, b':') && sign(16, b':');
        if !(parts && signs) || octets.get(17..19) == Some(b"60") {
            return None;
        }
        let rest = text.get(19..)?;
        let zone = rest.strip_prefix('.').map_or(rest, |rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()));
        let offset = offset(zone)?;
        let mut civil = text.strip_suffix(zone)?.to_owned();
        // Digits below a nanosecond do not count.
        civil.truncate(29);
        let civil: DateTime = civil.parse().ok()?;
        let at_utc = Self::of_civil(civil);
        Some(Self::from_nanosecond(at_utc - i128::from(offset) * SECOND))
    }

    /// A full date (`2024-02-29`), at its first moment in UTC.
    pub fn parse_date(text: &str) -> Option<Self> {
        let date: Date = text.parse().ok().filter(|_| text.len() == 10)?;
        Self::from_nanosecond(Self::of_civil(date.to_datetime(jiff::civil::Time::midnight())))
    }

    fn of_civil(civil: DateTime) -> i128 {
        let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
        civil.duration_since(epoch).as_nanos()
    }

    /// Date and time of day in UTC.
    pub fn civil(self) -> DateTime {
        self.shifted(0)
    }

    /// Date and time of day in a zone.
    pub fn civil_in(self, zone: &TimeZone) -> DateTime {
        let clamped = self.nanos.clamp(jiff::Timestamp::MIN.as_nanosecond(), jiff::Timestamp::MAX.as_nanosecond());
        let offset = jiff::Timestamp::from_nanosecond(clamped).map_or(Offset::UTC, |time| zone.to_offset(time));
        self.shifted(offset.seconds())
    }

    fn shifted(self, offset: i32) -> DateTime {
        let epoch = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);
        let nanos = self.nanos + i128::from(offset) * SECOND;
        let span = jiff::SignedDuration::new(nanos.div_euclid(SECOND) as i64, nanos.rem_euclid(SECOND) as i32);
        epoch.saturating_add(span)
    }
}

/// Seconds east of UTC: `Z`, `+01:00`.
fn offset(zone: &str) -> Option<i32> {
    if zone == "Z" {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] = zone.as_bytes() else { return None };
    let number = |tens: &u8, ones: &u8| {
        let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
        digits.then(|| i32::from(tens - b'0') * 10 + i32::from(ones - b'0'))
    };
    let (hours, minutes) = (number(h1, h2).filter(|h| *h < 24)?, number(m1, m2).filter(|m| *m < 60)?);
    let seconds = hours * 3600 + minutes * 60;
    Some(if *sign == b'-' { -seconds } else { seconds })
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with as many digits of the second as there are.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.civil())
    }
}

impl From<jiff::Timestamp> for Timestamp {
    /// What is before year 1 becomes its first moment.
    fn from(time: jiff::Timestamp) -> Self {
        Self { nanos: time.as_nanosecond().max(i128::from(FIRST) * SECOND) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match Timestamp::parse(text) {
            Some(Some(time)) => time.to_string(),
            Some(None) => "out of range".to_owned(),
            None => "no time".to_owned(),
        }
    }

    #[test]
    fn times_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z"),
            ("2024-01-01T00:00:00.50+01:00", "2023-12-31T23:00:00.5Z"),
            ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
            ("2024-01-01T00:00:00.1234567891Z", "2024-01-01T00:00:00.123456789Z"),
            ("0001-01-01T00:00:00+01:00", "out of range"),
            ("2024-02-30T00:00:00Z", "no time"),
            ("2024-01-01T00:00:60Z", "no time"),
            ("2024-01-01T00:00:00", "no time"),
            ("2024-01-01t00:00:00z", "no time"),
            ("2024-01-01T00:00:00.Z", "no time"),
            ("2024-01-01 00:00:00Z", "no time"),
            ("é024-01-01T00:00:00Z", "no time"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }

    #[test]
    fn a_zone_moves_the_clock() {
        let time = Timestamp::parse("9999-12-31T12:00:00Z").flatten().unwrap();
        let zone = TimeZone::fixed(Offset::from_hours(-5).unwrap());
        assert_eq!(time.civil_in(&zone).hour(), 7);
    }
}

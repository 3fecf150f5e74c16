//! The clocks of certificates: clock skew at the start, renewal at two thirds.

use jiff::{SignedDuration, Timestamp};

/// A certificate starts this long before it is made, so that a peer whose clock is behind accepts it at once.
pub const CLOCK_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// When a certificate should be replaced: after two thirds of its life, which leaves a third to repair a failure.
pub fn renew_at(not_before: Timestamp, not_after: Timestamp) -> Timestamp {
    let life = not_after.duration_since(not_before);
    // Never later than the end, and never before the start, whatever the (foreign) dates are.
    let two_thirds = life.checked_mul(2).map_or(life, |twice| twice / 3);
    not_before.checked_add(two_thirds).unwrap_or(not_after).clamp(not_before.min(not_after), not_after)
}

/// A share of `most` that is always the same for `seed` and evenly spread over seeds: what keeps a thousand certificates that
/// were made in one hour from being renewed in one hour.
pub fn spread(seed: &str, most: SignedDuration) -> SignedDuration {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, seed.as_bytes());
    let share = digest.as_ref().iter().take(2).fold(0_i32, |share, byte| share * 256 + i32::from(*byte));
    most.checked_div(65_536).and_then(|part| part.checked_mul(share)).unwrap_or_default()
}

/// X.509 has whole seconds only; cutting here keeps what we report equal to what the certificate says.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{renew_at, spread};

    #[test]
    fn renewal_is_at_two_thirds_of_life() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-01-04T00:00:00Z".parse().unwrap();
        assert_eq!(renew_at(start, end).to_string(), "2026-01-03T00:00:00Z");
    }

    #[test]
    fn spread_is_stable_and_spreads() {
        let day = jiff::SignedDuration::from_hours(24);
        let all: std::collections::BTreeSet<_> = (0..100).map(|n| spread(&format!("tenant-{n}"), day)).collect();
        assert!(all.len() > 95 && all.iter().all(|some| !some.is_negative() && *some < day));
        assert_eq!(spread("tenant-a", day), spread("tenant-a", day));
    }

    proptest! {
        #[test]
        fn renewal_is_never_after_the_end(
            start in Timestamp::MIN.as_second()..Timestamp::MAX.as_second(),
            end in Timestamp::MIN.as_second()..Timestamp::MAX.as_second(),
        ) {
            let (start, end) = (Timestamp::from_second(start).unwrap(), Timestamp::from_second(end).unwrap());
            prop_assert!(renew_at(start, end) <= end);
        }
    }
}

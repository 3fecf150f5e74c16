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

/// X.509 has whole seconds only; cutting here keeps what we report equal to what the certificate says.
pub(crate) fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::renew_at;

    #[test]
    fn renewal_is_at_two_thirds_of_life() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let end: Timestamp = "2026-01-04T00:00:00Z".parse().unwrap();
        assert_eq!(renew_at(start, end).to_string(), "2026-01-03T00:00:00Z");
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

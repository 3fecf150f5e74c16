//! Numbers that may be given as a percentage. Pure.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_rounded_as_asked() {
        let third = IntOrString::String("34%".into());
        assert_eq!((scaled(&third, 10, Round::Up), scaled(&third, 10, Round::Down)), (4, 3));
    }
}

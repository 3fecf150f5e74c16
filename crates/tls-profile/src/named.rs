//! The named profiles. "Intermediate" has meant three things over the releases of OpenShift, so a name means nothing without a
//! [`Generation`].

use crate::{Group, Profile, Suite, Version};

/// Which release's tables the names refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Generation {
    /// OpenShift up to 4.21: Mozilla's guidelines 5.0 with the suites of TLS 1.3.
    A,
    /// OpenShift 4.22: guidelines 5.7.
    B,
    /// OpenShift 4.23 and newer: guidelines 5.8, with groups. The default where the platform's release is not known.
    #[default]
    C,
}

/// A profile by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Named {
    /// For clients of twenty years ago.
    Old,
    /// What is recommended, and meant where nothing is said.
    #[default]
    Intermediate,
    /// TLS 1.3 alone.
    Modern,
}

impl Generation {
    /// The generation of an OpenShift release; `None` for what does not read as `MAJOR.MINOR…`.
    pub fn of_release(release: &str) -> Option<Self> {
        let mut parts = release.split(['.', '-']);
        let (major, minor): (u32, u32) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(match (major, minor) {
            (..=3, _) | (4, ..=21) => Self::A,
            (4, 22) => Self::B,
            _ => Self::C,
        })
    }

    /// `A`, `B` or `C`, as reports show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
        }
    }

    /// The generation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::A, Self::B, Self::C].into_iter().find(|generation| generation.name() == name)
    }
}

/// Suites of Old that only generation A has: finite-field Diffie-Hellman.
const ONLY_A: [u16; 5] = [0x009E, 0x009F, 0xCCAA, 0x0067, 0x006B];
/// Suites of Old that generation B left out: Go does not have them.
const NOT_B: [u16; 3] = [0xC024, 0xC028, 0x003D];
/// The last suite of Old: those behind it in the table are in no named profile.
const LAST_OF_OLD: u16 = 0x000A;
/// Suites of Intermediate that only generation A has.
const INTERMEDIATE_ONLY_A: [u16; 2] = [0x009E, 0x009F];

impl Named {
    /// All of them, widest first.
    pub const ALL: [Self; 3] = [Self::Old, Self::Intermediate, Self::Modern];

    /// The name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Old => "Old",
            Self::Intermediate => "Intermediate",
            Self::Modern => "Modern",
        }
    }

    /// The profile that a name means in a generation.
    pub fn profile(self, generation: Generation) -> Profile {
        let old: Vec<Suite> = {
            let end = Suite::all().iter().position(|s| s.code() == LAST_OF_OLD).map_or(0, |at| at + 1);
            Suite::all().get(..end).unwrap_or_default().to_vec()
        };
        let is_intermediate = |suite: &Suite| {
            let aead_ecdhe = matches!(suite.code(), 0xC02B | 0xC02F | 0xC02C | 0xC030 | 0xCCA9 | 0xCCA8);
            suite.is_tls13() || aead_ecdhe || generation == Generation::A && INTERMEDIATE_ONLY_A.contains(&suite.code())
        };
        let member = |suite: &Suite| match self {
            Self::Old => match generation {
                Generation::A => true,
                Generation::B => !ONLY_A.contains(&suite.code()) && !NOT_B.contains(&suite.code()),
                Generation::C => !ONLY_A.contains(&suite.code()),
            },
            Self::Intermediate => is_intermediate(suite),
            Self::Modern => suite.is_tls13(),
        };
        let min_version = match self {
            Self::Old => Version::Tls10,
            Self::Intermediate => Version::Tls12,
            Self::Modern => Version::Tls13,
        };
        let groups = [Group::X25519MlKem768, Group::X25519, Group::Secp256r1, Group::Secp384r1];
        Profile {
            ciphers: Some(old.iter().filter(|suite| member(suite)).map(|suite| suite.openssl().to_owned()).collect()),
            min_version: Some(min_version),
            groups: (generation == Generation::C).then(|| groups.map(|group| group.name().to_owned()).to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(generation: Generation) -> [usize; 3] {
        Named::ALL.map(|named| named.profile(generation).ciphers.map_or(0, |ciphers| ciphers.len()))
    }

    #[test]
    fn the_generations_have_as_many_suites_as_published() {
        assert_eq!([Generation::A, Generation::B, Generation::C].map(sizes), [[29, 11, 3], [21, 9, 3], [24, 9, 3]]);
    }

    #[test]
    fn only_the_newest_generation_names_groups() {
        let groups = |generation| Named::Modern.profile(generation).groups.map(|groups| groups.len());
        assert_eq!([Generation::A, Generation::B, Generation::C].map(groups), [None, None, Some(4)]);
    }

    #[test]
    fn a_release_has_a_generation() {
        let of = ["4.14.0", "4.21.9", "4.22.1", "4.23.0-ec.1", "5.0.0", "five"].map(Generation::of_release);
        use Generation::{A, B, C};
        assert_eq!(of, [Some(A), Some(A), Some(B), Some(C), Some(C), None]);
    }
}

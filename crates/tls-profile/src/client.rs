//! Who must be able to talk to what is served: a profile that the API server cannot speak would have it pass over a webhook in
//! silence.

use crate::{Effective, Group, Version};

/// What a client offers by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientModel {
    /// Who that is.
    pub name: &'static str,
    /// Groups that it offers.
    groups: &'static [Group],
}

/// Go's suites by default, as far as a server of ours can have them: <https://go.dev/blog/tls-cipher-suites>.
const GO_SUITES: &[u16] = &[0x1301, 0x1302, 0x1303, 0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8];

impl ClientModel {
    /// Components of Kubernetes 1.33 to 1.35, built with Go 1.24 or 1.25: the API server, the kubelet's probes.
    pub const KUBERNETES: Self = Self {
        name: "Kubernetes 1.33 to 1.35",
        groups: &[Group::X25519MlKem768, Group::X25519, Group::Secp256r1, Group::Secp384r1, Group::Secp521r1],
    };
    /// Programs built with Go 1.23 or older, such as many an installed Prometheus.
    pub const OLDER_GO: Self = Self {
        name: "Go 1.23 and older",
        groups: &[Group::X25519, Group::Secp256r1, Group::Secp384r1, Group::Secp521r1],
    };
    /// Programs built with Go 1.26: every group of the API.
    pub const NEWER_GO: Self = Self { name: "Go 1.26", groups: &Group::ALL };

    /// All of them.
    pub const ALL: [Self; 3] = [Self::KUBERNETES, Self::OLDER_GO, Self::NEWER_GO];

    /// Whether the two have a version, a suite and a group in common.
    pub fn speaks(&self, effective: &Effective) -> bool {
        effective.versions().into_iter().any(|version| {
            let tls13 = version == Version::Tls13;
            let suite = effective.suites.iter().any(|s| s.is_tls13() == tls13 && GO_SUITES.contains(&s.code()));
            let group =
                effective.groups.iter().any(|group| (tls13 || group.serves_tls12()) && self.groups.contains(group));
            suite && group
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, Named, Options, Profile, resolve};

    fn speakers(groups: Option<&[&str]>) -> Vec<&'static str> {
        let groups = groups.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        let profile = Profile { groups, ..Named::Modern.profile(crate::Generation::B) };
        let effective = resolve(&profile, &Backend::RUSTLS_AWS_LC, &Options::default()).effective.unwrap();
        ClientModel::ALL.iter().filter(|client| client.speaks(&effective)).map(|client| client.name).collect()
    }

    #[test]
    fn tls_f21_clients_that_cannot_speak_a_profile_are_told() {
        assert_eq!(speakers(None).len(), 3);
        assert_eq!(speakers(Some(&["X25519MLKEM768"])), ["Kubernetes 1.33 to 1.35", "Go 1.26"]);
        assert_eq!(speakers(Some(&["SecP256r1MLKEM768"])), ["Go 1.26"]);
    }
}

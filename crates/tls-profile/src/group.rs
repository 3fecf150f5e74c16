//! Key exchange groups by number and by the names that the API, OpenSSL and Go give them.

/// A key exchange group of the API (`spec.tlsSecurityProfile.custom.groups`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Hybrid of X25519 and ML-KEM-768: safe against quantum computers.
    X25519MlKem768,
    /// Curve25519.
    X25519,
    /// NIST P-256.
    Secp256r1,
    /// NIST P-384.
    Secp384r1,
    /// NIST P-521.
    Secp521r1,
    /// Hybrid of P-256 and ML-KEM-768.
    Secp256r1MlKem768,
    /// Hybrid of P-384 and ML-KEM-1024.
    Secp384r1MlKem1024,
}

impl Group {
    /// All of them, in the order of the API.
    pub const ALL: [Self; 7] = [
        Self::X25519MlKem768,
        Self::X25519,
        Self::Secp256r1,
        Self::Secp384r1,
        Self::Secp521r1,
        Self::Secp256r1MlKem768,
        Self::Secp384r1MlKem1024,
    ];

    /// The name in the API and in `profile.json`.
    pub fn name(self) -> &'static str {
        self.names()[0]
    }

    /// The API's name first, then what else is understood.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::X25519MlKem768 => &["X25519MLKEM768"],
            Self::X25519 => &["X25519", "x25519"],
            Self::Secp256r1 => &["secp256r1", "prime256v1", "P-256", "CurveP256"],
            Self::Secp384r1 => &["secp384r1", "P-384", "CurveP384"],
            Self::Secp521r1 => &["secp521r1", "P-521", "CurveP521"],
            Self::Secp256r1MlKem768 => &["SecP256r1MLKEM768"],
            Self::Secp384r1MlKem1024 => &["SecP384r1MLKEM1024"],
        }
    }

    /// The group of a name as the API, OpenSSL or Go spell it, in exactly that case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.names().contains(&name))
    }

    /// The number on the wire (IANA's registry of TLS supported groups).
    pub fn code(self) -> u16 {
        match self {
            Self::X25519MlKem768 => 0x11EC,
            Self::X25519 => 0x001D,
            Self::Secp256r1 => 0x0017,
            Self::Secp384r1 => 0x0018,
            Self::Secp521r1 => 0x0019,
            Self::Secp256r1MlKem768 => 0x11EB,
            Self::Secp384r1MlKem1024 => 0x11ED,
        }
    }

    /// Usable with TLS 1.2: the hybrids are not.
    pub fn serves_tls12(self) -> bool {
        !matches!(self, Self::X25519MlKem768 | Self::Secp256r1MlKem768 | Self::Secp384r1MlKem1024)
    }

    /// Approved in FIPS mode. X25519MLKEM768 is, by its ML-KEM part (NIST SP 800-56C, section 2); X25519 alone is not.
    pub fn is_fips(self) -> bool {
        self != Self::X25519
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_its_group() {
        for group in Group::ALL {
            for name in group.names() {
                assert_eq!(Group::from_name(name), Some(group), "{name}");
            }
        }
    }
}

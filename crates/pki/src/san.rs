//! Subject alternative names in one canonical form, so that sets of them can be compared.

use std::fmt;
use std::net::IpAddr;

/// One subject alternative name of a certificate. DNS names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectAltName {
    /// A DNS name, perhaps with a leading `*.` label.
    Dns(String),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
}

impl From<&str> for SubjectAltName {
    /// An address literal becomes [`Self::Ip`], everything else a lower-case DNS name. Nothing is validated here:
    /// which names a tenant may ask for is a rule of `paddock-policy`.
    fn from(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Dns(text.to_ascii_lowercase()), Self::Ip)
    }
}

impl From<IpAddr> for SubjectAltName {
    fn from(address: IpAddr) -> Self {
        Self::Ip(address)
    }
}

impl fmt::Display for SubjectAltName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::SubjectAltName;

    #[test]
    fn address_literals_become_addresses() {
        assert_eq!(SubjectAltName::from("127.0.0.1"), SubjectAltName::Ip([127, 0, 0, 1].into()));
        assert_eq!(SubjectAltName::from("::1").to_string(), "::1");
    }

    #[test]
    fn dns_names_are_lower_case() {
        assert_eq!(SubjectAltName::from("A.Example"), SubjectAltName::Dns("a.example".to_owned()));
    }
}

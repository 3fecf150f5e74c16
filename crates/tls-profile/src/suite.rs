//! Cipher suites by number, with the names that OpenSSL, IANA and Go give them. A name leads to a number by this table alone,
//! never by taking it apart.

use std::fmt;

/// Which kind of key a server needs for a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// TLS 1.3: any kind.
    Any,
    /// An ECDSA key.
    Ecdsa,
    /// An RSA key.
    Rsa,
}

/// A cipher suite that profiles name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Suite {
    code: u16,
    openssl: &'static str,
    iana: &'static str,
    authentication: Authentication,
}

const fn suite(code: u16, openssl: &'static str, iana: &'static str, authentication: Authentication) -> Suite {
    Suite { code, openssl, iana, authentication }
}

/// In the order in which the named profiles list them (<https://ssl-config.mozilla.org/guidelines/5.8.json>), then those that
/// only custom profiles name.
const SUITES: &[Suite] = &[
    suite(0x1301, "TLS_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256", Authentication::Any),
    suite(0x1302, "TLS_AES_256_GCM_SHA384", "TLS_AES_256_GCM_SHA384", Authentication::Any),
    suite(0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256", Authentication::Any),
    suite(0xC02B, "ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", Authentication::Ecdsa),
    suite(0xC02F, "ECDHE-RSA-AES128-GCM-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", Authentication::Rsa),
    suite(0xC02C, "ECDHE-ECDSA-AES256-GCM-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", Authentication::Ecdsa),
    suite(0xC030, "ECDHE-RSA-AES256-GCM-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", Authentication::Rsa),
    suite(
        0xCCA9,
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Authentication::Ecdsa,
    ),
    suite(0xCCA8, "ECDHE-RSA-CHACHA20-POLY1305", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Authentication::Rsa),
    suite(0x009E, "DHE-RSA-AES128-GCM-SHA256", "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256", Authentication::Rsa),
    suite(0x009F, "DHE-RSA-AES256-GCM-SHA384", "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384", Authentication::Rsa),
    suite(0xCCAA, "DHE-RSA-CHACHA20-POLY1305", "TLS_DHE_RSA_WITH_CHACHA20_POLY1305_SHA256", Authentication::Rsa),
    suite(0xC023, "ECDHE-ECDSA-AES128-SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256", Authentication::Ecdsa),
    suite(0xC027, "ECDHE-RSA-AES128-SHA256", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256", Authentication::Rsa),
    suite(0xC009, "ECDHE-ECDSA-AES128-SHA", "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", Authentication::Ecdsa),
    suite(0xC013, "ECDHE-RSA-AES128-SHA", "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", Authentication::Rsa),
    suite(0xC024, "ECDHE-ECDSA-AES256-SHA384", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384", Authentication::Ecdsa),
    suite(0xC028, "ECDHE-RSA-AES256-SHA384", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384", Authentication::Rsa),
    suite(0xC00A, "ECDHE-ECDSA-AES256-SHA", "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", Authentication::Ecdsa),
    suite(0xC014, "ECDHE-RSA-AES256-SHA", "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", Authentication::Rsa),
    suite(0x0067, "DHE-RSA-AES128-SHA256", "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256", Authentication::Rsa),
    suite(0x006B, "DHE-RSA-AES256-SHA256", "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256", Authentication::Rsa),
    suite(0x009C, "AES128-GCM-SHA256", "TLS_RSA_WITH_AES_128_GCM_SHA256", Authentication::Rsa),
    suite(0x009D, "AES256-GCM-SHA384", "TLS_RSA_WITH_AES_256_GCM_SHA384", Authentication::Rsa),
    suite(0x003C, "AES128-SHA256", "TLS_RSA_WITH_AES_128_CBC_SHA256", Authentication::Rsa),
    suite(0x003D, "AES256-SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA256", Authentication::Rsa),
    suite(0x002F, "AES128-SHA", "TLS_RSA_WITH_AES_128_CBC_SHA", Authentication::Rsa),
    suite(0x0035, "AES256-SHA", "TLS_RSA_WITH_AES_256_CBC_SHA", Authentication::Rsa),
    suite(0x000A, "DES-CBC3-SHA", "TLS_RSA_WITH_3DES_EDE_CBC_SHA", Authentication::Rsa),
    suite(0xC012, "ECDHE-RSA-DES-CBC3-SHA", "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA", Authentication::Rsa),
    suite(0x0005, "RC4-SHA", "TLS_RSA_WITH_RC4_128_SHA", Authentication::Rsa),
    suite(0xC007, "ECDHE-ECDSA-RC4-SHA", "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA", Authentication::Ecdsa),
    suite(0xC011, "ECDHE-RSA-RC4-SHA", "TLS_ECDHE_RSA_WITH_RC4_128_SHA", Authentication::Rsa),
];

/// Go's names that lack the hash (<https://pkg.go.dev/crypto/tls#pkg-constants>).
const ALIASES: [(&str, u16); 2] =
    [("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", 0xCCA8), ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", 0xCCA9)];

impl Suite {
    /// Every suite that a name leads to.
    pub fn all() -> &'static [Self] {
        SUITES
    }

    /// The suite of a name as OpenSSL, IANA or Go spell it, in exactly that case.
    pub fn from_name(name: &str) -> Option<Self> {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == name).map(|(_, code)| *code);
        SUITES.iter().copied().find(|s| s.openssl == name || s.iana == name || Some(s.code) == alias)
    }

    /// The suite of a number.
    pub fn from_code(code: u16) -> Option<Self> {
        SUITES.iter().copied().find(|s| s.code == code)
    }

    /// The number on the wire.
    pub fn code(self) -> u16 {
        self.code
    }

    /// OpenSSL's name, the one that profiles use.
    pub fn openssl(self) -> &'static str {
        self.openssl
    }

    /// IANA's name.
    pub fn iana(self) -> &'static str {
        self.iana
    }

    /// Which key it needs.
    pub fn authentication(self) -> Authentication {
        self.authentication
    }

    /// A suite of TLS 1.3; every other is one of TLS 1.2 and older.
    pub fn is_tls13(self) -> bool {
        self.code >> 8 == 0x13
    }

    /// Not approved in FIPS mode: ChaCha20.
    pub fn is_fips(self) -> bool {
        !matches!(self.code, 0x1303 | 0xCCA8 | 0xCCA9 | 0xCCAA)
    }
}

impl fmt::Debug for Suite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.openssl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_lead_to_one_suite() {
        for suite in SUITES {
            assert_eq!(Suite::from_name(suite.openssl), Some(*suite));
            assert_eq!(Suite::from_name(suite.iana), Some(*suite));
        }
    }

    #[test]
    fn a_number_has_one_suite() {
        for suite in SUITES {
            assert_eq!(SUITES.iter().filter(|s| s.code == suite.code).count(), 1, "{suite:?}");
        }
    }

    #[test]
    fn gos_names_without_the_hash_are_known() {
        let names = ALIASES.map(|(name, _)| Suite::from_name(name).map(Suite::iana));
        assert_eq!(
            names,
            [
                Some("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"),
                Some("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256")
            ]
        );
    }

    #[test]
    fn the_case_of_a_name_counts() {
        assert_eq!(Suite::from_name("ecdhe-rsa-aes128-gcm-sha256"), None);
    }
}

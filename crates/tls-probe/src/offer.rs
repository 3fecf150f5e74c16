//! A ClientHello, as bytes. By RFC 8446 (TLS 1.3), RFC 5246 (1.2), RFC 4346 and 2246 (older), RFC 6101 (SSL 3.0, which has no
//! extensions), RFC 8422 (curves), RFC 7301 (ALPN), RFC 5746 (the renegotiation signal) and RFC 8701 (values that must be passed
//! over).

use std::fmt;

use paddock_tls_profile::{Group, Version};

/// A version that a server can be asked for: those of profiles, and the one before them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// SSL 3.0, which no profile allows.
    Ssl30,
    /// A version that profiles know.
    Tls(Version),
}

impl Protocol {
    /// All of them, oldest first.
    pub const ALL: [Self; 5] = [
        Self::Ssl30,
        Self::Tls(Version::Tls10),
        Self::Tls(Version::Tls11),
        Self::Tls(Version::Tls12),
        Self::Tls(Version::Tls13),
    ];

    /// TLS 1.3, whose hellos differ from all others.
    pub(crate) const TLS13: Self = Self::Tls(Version::Tls13);

    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Ssl30 => 0x0300,
            Self::Tls(version) => version.code(),
        }
    }

    /// `VersionSSL30`, or the name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ssl30 => "VersionSSL30",
            Self::Tls(version) => version.name(),
        }
    }
}

impl fmt::Display for Protocol {
    /// `SSL 3.0`, `TLS 1.2`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssl30 => f.write_str("SSL 3.0"),
            Self::Tls(version) => version.fmt(f),
        }
    }
}

/// What a client offers: one version, and of that version these suites and groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The only version that is offered.
    pub protocol: Protocol,
    /// Suites by number, preferred first; at most [`Offer::MAX_SUITES`] are written.
    pub suites: Vec<u16>,
    /// Groups by number, preferred first; at most [`Offer::MAX_GROUPS`] are written. SSL 3.0 cannot say them.
    pub groups: Vec<u16>,
    /// TLS 1.3: the group for which a key share is sent. Without one the server names the group that it would have instead
    /// (RFC 8446, section 4.2.8). Groups that [`Offer::can_share`] does not know send none.
    pub share: Option<u16>,
    /// Application protocols; at most [`Offer::MAX_ALPN`] are written.
    pub alpn: Vec<String>,
    /// The name that the server is called by; an address is never sent.
    pub server_name: Option<String>,
    /// Besides, offer a suite, a group, a version and an extension that do not exist: a server must pass over them (RFC 8701).
    pub grease: bool,
}

impl Offer {
    /// Most suites in one hello.
    pub const MAX_SUITES: usize = 1024;
    /// Most groups in one hello.
    pub const MAX_GROUPS: usize = 256;
    /// Most application protocols in one hello.
    pub const MAX_ALPN: usize = 8;

    /// An offer of suites and groups, with nothing besides.
    pub fn new(protocol: Protocol, suites: Vec<u16>, groups: Vec<u16>) -> Self {
        Self { protocol, suites, groups, share: None, alpn: Vec::new(), server_name: None, grease: false }
    }

    /// Whether a key share can be sent for a group.
    pub fn can_share(group: u16) -> bool {
        share(group).is_some()
    }

    /// The hello as one record. `random` is all that is not decided by the offer.
    pub fn encode(&self, random: [u8; 32]) -> Vec<u8> {
        let mut body = Vec::new();
        // TLS 1.3 calls itself 1.2 here and says the truth in an extension (RFC 8446, section 4.1.2).
        body.extend(self.protocol.code().min(0x0303).to_be_bytes());
        body.extend(random);
        body.push(0); // no session to resume
        vector16(&mut body, |out| {
            if self.grease {
                out.extend(GREASE.to_be_bytes());
            }
            for suite in self.suites.iter().take(Self::MAX_SUITES) {
                out.extend(suite.to_be_bytes());
            }
            if self.protocol != Protocol::TLS13 {
                // No renegotiation has happened (RFC 5746, section 3.3): there are servers that refuse who does not say so.
                out.extend(0x00FF_u16.to_be_bytes());
            }
        });
        body.extend([1, 0]); // no compression
        if self.protocol != Protocol::Ssl30 {
            vector16(&mut body, |out| self.extensions(out));
        }
        let mut message = vec![1]; // client_hello
        let [_, high, middle, low] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
        message.extend([high, middle, low]);
        message.append(&mut body);
        // Servers of any age take 3.1 here (RFC 5246, appendix E.1; RFC 8446, section 5.1).
        let mut record = vec![22];
        record.extend(self.protocol.code().min(0x0301).to_be_bytes());
        vector16(&mut record, |out| out.append(&mut message));
        record
    }

    fn extensions(&self, out: &mut Vec<u8>) {
        let tls13 = self.protocol == Protocol::TLS13;
        if self.grease {
            extension(out, GREASE, |_| {});
        }
        if let Some(name) = self.server_name.as_deref().filter(|name| (1..=255).contains(&name.len())) {
            extension(out, 0, |out| {
                vector16(out, |out| {
                    out.push(0); // host_name
                    vector16(out, |out| out.extend(name.as_bytes()));
                });
            });
        }
        if !tls13 {
            extension(out, 23, |_| {}); // extended_master_secret: there are servers that insist (RFC 7627)
        }
        extension(out, 10, |out| {
            vector16(out, |out| {
                let grease = self.grease.then_some(&GREASE);
                for group in grease.into_iter().chain(self.groups.iter().take(Self::MAX_GROUPS)) {
                    out.extend(group.to_be_bytes());
                }
            });
        });
        if !tls13 {
            extension(out, 11, |out| out.extend([1, 0])); // uncompressed points (RFC 8422, section 5.1.2)
        }
        // Versions before TLS 1.2 do not have it (RFC 5246, section 7.4.1.4.1).
        if self.protocol >= Protocol::Tls(Version::Tls12) {
            extension(out, 13, |out| {
                vector16(out, |out| {
                    for scheme in SIGNATURES {
                        out.extend(scheme.to_be_bytes());
                    }
                });
            });
        }
        if !self.alpn.is_empty() {
            extension(out, 16, |out| {
                vector16(out, |out| {
                    for protocol in self.alpn.iter().take(Self::MAX_ALPN) {
                        let name: Vec<u8> = protocol.bytes().take(255).collect();
                        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
                        out.extend(name);
                    }
                });
            });
        }
        if tls13 {
            extension(out, 43, |out| {
                let grease = if self.grease { GREASE.to_be_bytes().to_vec() } else { Vec::new() };
                out.push(if self.grease { 4 } else { 2 });
                out.extend(grease);
                out.extend(self.protocol.code().to_be_bytes());
            });
            extension(out, 51, |out| {
                vector16(out, |out| {
                    if let Some((group, key)) = self.share.and_then(|group| Some((group, share(group)?))) {
                        out.extend(group.to_be_bytes());
                        vector16(out, |out| out.extend(key));
                    }
                });
            });
        }
    }
}

/// A value that is reserved so that nothing can ever have it (RFC 8701, section 2).
const GREASE: u16 = 0x0A0A;

/// Every signature scheme, so that no server lacks one for its key: ECDSA, EdDSA, RSA-PSS, RSA, and the old ones with SHA-1 and
/// SHA-224 (RFC 8446, section 4.2.3; RFC 5246, section 7.4.1.4.1), brainpool (RFC 8734) and ML-DSA.
const SIGNATURES: [u16; 28] = [
    0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B, 0x0401, 0x0501, 0x0601,
    0x081A, 0x081B, 0x081C, 0x0904, 0x0905, 0x0906, 0x0303, 0x0301, 0x0302, 0x0402, 0x0502, 0x0602, 0x0203, 0x0201,
];

/// Public keys that are valid and that nobody has the private key of, for nothing is ever encrypted: the group's generator, and for
/// ML-KEM the key whose polynomials are all zero, which passes the check of FIPS 203, section 7.2.
fn share(group: u16) -> Option<Vec<u8>> {
    let montgomery = |generator: u8, length: usize| {
        let mut key = vec![0; length];
        if let Some(first) = key.first_mut() {
            *first = generator;
        }
        key
    };
    // RFC 7919 requires the value padded to the length of the prime.
    let finite_field = |length: usize| {
        let mut key = vec![0; length];
        if let Some(last) = key.last_mut() {
            *last = 2;
        }
        key
    };
    if let Some(group) = Group::ALL.into_iter().find(|known| known.code() == group) {
        return Some(match group {
            Group::X25519 => montgomery(9, 32),
            Group::Secp256r1 => P256_GENERATOR.to_vec(),
            Group::Secp384r1 => P384_GENERATOR.to_vec(),
            Group::Secp521r1 => P521_GENERATOR.to_vec(),
            // The order of the parts is the draft's, and differs (draft-ietf-tls-ecdhe-mlkem, section 4.1).
            Group::X25519MlKem768 => [vec![0; 1184], montgomery(9, 32)].concat(),
            Group::Secp256r1MlKem768 => [P256_GENERATOR.to_vec(), vec![0; 1184]].concat(),
            Group::Secp384r1MlKem1024 => [P384_GENERATOR.to_vec(), vec![0; 1568]].concat(),
        });
    }
    Some(match group {
        0x001E => montgomery(5, 56), // X448
        0x0100 => finite_field(256),
        0x0101 => finite_field(384),
        0x0102 => finite_field(512),
        0x0103 => finite_field(768),
        0x0104 => finite_field(1024),
        0x0200 => vec![0; 800],
        0x0201 => vec![0; 1184],
        0x0202 => vec![0; 1568],
        _ => return None,
    })
}

const fn unhex<const N: usize>(text: &[u8]) -> [u8; N] {
    const fn digit(c: u8) -> u8 {
        match c {
            b'0'..=b'9' => c - b'0',
            _ => c - b'a' + 10,
        }
    }
    let mut bytes = [0; N];
    let mut at = 0;
    while at < N {
        bytes[at] = digit(text[2 * at]) << 4 | digit(text[2 * at + 1]);
        at += 1;
    }
    bytes
}

/// The base points of NIST SP 800-186, section 3.2.1, uncompressed.
const P256_GENERATOR: [u8; 65] = unhex(
    b"04\
      6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296\
      4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5",
);
const P384_GENERATOR: [u8; 97] = unhex(
    b"04\
      aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e3872760ab7\
      3617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e819d7a431d7c90ea0e5f",
);
const P521_GENERATOR: [u8; 133] = unhex(
    b"04\
      00c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66\
      011839296a789a3bc0045c8a5fb42c7d1bd998f54449579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd16650",
);

/// Appends what `fill` writes, behind its length in two bytes. Nothing here is longer: every list is bounded.
fn vector16(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    inner.truncate(usize::from(u16::MAX));
    out.extend(u16::try_from(inner.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.append(&mut inner);
}

fn extension(out: &mut Vec<u8>, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend(kind.to_be_bytes());
    vector16(out, fill);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The offer as hexadecimal digits, its random bytes as dots.
    fn hello(offer: &Offer) -> String {
        let hello = offer.encode([0xAA; 32]);
        let digits = hello.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");
        digits.replace(["aa"; 32].join(" ").as_str(), "…")
    }

    fn of(protocol: Protocol) -> Offer {
        Offer::new(protocol, vec![0xC02F, 0x002F], vec![0x001D, 0x0017])
    }

    /// RFC 6101, section 5.6.1.2: nothing follows the compression methods.
    #[test]
    fn a_hello_of_ssl_3_has_no_extensions() {
        let expected = ["16 03 00 00 31", "01 00 00 2d", "03 00 … 00", "00 06 c0 2f 00 2f 00 ff", "01 00"];
        assert_eq!(hello(&of(Protocol::Ssl30)), expected.join(" "));
    }

    /// RFC 2246, section 7.4.1.2, with the extensions of RFC 8422; no signature algorithms (RFC 5246, section 7.4.1.4.1).
    #[test]
    fn a_hello_of_tls_1_0_names_curves_but_no_signatures() {
        let expected = [
            "16 03 01 00 47",
            "01 00 00 43",
            "03 01 … 00",
            "00 06 c0 2f 00 2f 00 ff",
            "01 00",
            "00 14",
            "00 17 00 00",
            "00 0a 00 06 00 04 00 1d 00 17",
            "00 0b 00 02 01 00",
        ];
        assert_eq!(hello(&of(Protocol::Tls(Version::Tls10))), expected.join(" "));
    }

    /// RFC 5246, section 7.4.1.2; RFC 6066, section 3; RFC 7301, section 3.1.
    #[test]
    fn a_hello_of_tls_1_2_names_server_and_protocols() {
        let offer = Offer {
            server_name: Some("a.example".to_owned()),
            alpn: vec!["h2".to_owned()],
            ..of(Protocol::Tls(Version::Tls12))
        };
        let expected = [
            "16 03 01 00 a0",
            "01 00 00 9c",
            "03 03 … 00",
            "00 06 c0 2f 00 2f 00 ff",
            "01 00",
            "00 6d",
            "00 00 00 0e 00 0c 00 00 09 61 2e 65 78 61 6d 70 6c 65",
            "00 17 00 00",
            "00 0a 00 06 00 04 00 1d 00 17",
            "00 0b 00 02 01 00",
            "00 0d 00 3a 00 38 04 03 05 03 06 03 08 07 08 08 08 04 08 05 08 06 08 09 08 0a 08 0b 04 01 05 01 06 01",
            "08 1a 08 1b 08 1c 09 04 09 05 09 06 03 03 03 01 03 02 04 02 05 02 06 02 02 03 02 01",
            "00 10 00 05 00 03 02 68 32",
        ];
        assert_eq!(hello(&offer), expected.join(" "));
    }

    /// RFC 8446, sections 4.1.2, 4.2.1 and 4.2.8: an empty list of shares asks which group the server would have.
    #[test]
    fn a_hello_of_tls_1_3_says_its_version_in_an_extension() {
        let offer = Offer::new(Protocol::TLS13, vec![0x1301], vec![0x001D]);
        let expected = [
            "16 03 01 00 82",
            "01 00 00 7e",
            "03 03 … 00",
            "00 02 13 01",
            "01 00",
            "00 53",
            "00 0a 00 04 00 02 00 1d",
            "00 0d 00 3a 00 38 04 03 05 03 06 03 08 07 08 08 08 04 08 05 08 06 08 09 08 0a 08 0b 04 01 05 01 06 01",
            "08 1a 08 1b 08 1c 09 04 09 05 09 06 03 03 03 01 03 02 04 02 05 02 06 02 02 03 02 01",
            "00 2b 00 03 02 03 04",
            "00 33 00 02 00 00",
        ];
        assert_eq!(hello(&offer), expected.join(" "));
    }

    /// RFC 8701, section 3.1: among suites, groups, versions and extensions.
    #[test]
    fn what_does_not_exist_is_offered_in_four_places() {
        let offer = Offer { grease: true, ..Offer::new(Protocol::TLS13, vec![0x1301], vec![0x001D]) };
        let hello = offer.encode([0xAA; 32]);
        assert_eq!(hello.windows(2).filter(|pair| *pair == [0x0A, 0x0A]).count(), 4);
        let plain = Offer { grease: false, ..offer }.encode([0xAA; 32]);
        assert_eq!(hello.len(), plain.len() + 2 + 2 + 2 + 4);
    }

    #[test]
    fn a_hello_fits_one_record_whatever_is_offered() {
        let offer = Offer {
            alpn: vec!["x".repeat(1000); 1000],
            server_name: Some("n".repeat(255)),
            share: Some(0x11ED),
            ..Offer::new(Protocol::TLS13, vec![1; 40_000], vec![2; 40_000])
        };
        let hello = offer.encode([0; 32]);
        assert!(hello.len() <= 5 + (1 << 14), "{}", hello.len());
        assert_eq!(usize::from(u16::from_be_bytes([hello[3], hello[4]])), hello.len() - 5);
    }

    #[test]
    fn every_group_of_the_api_has_a_key_share() {
        assert!(Group::ALL.into_iter().all(|group| Offer::can_share(group.code())));
    }
}

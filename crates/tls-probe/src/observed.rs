//! Everything that was seen of a server, and how reports show it.

use paddock_tls_profile::{Suite, Version};
use serde_json::{Value, json};

use crate::catalogue;
use crate::{Certificate, Protocol};

/// Whose order of suites decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The client's.
    Client,
    /// The server's own.
    Server,
}

/// One version that a server speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken {
    /// Which.
    pub protocol: Protocol,
    /// Suites that it accepts, in the order in which it chose them. Never empty.
    pub suites: Vec<u16>,
    /// Groups that it accepts, in the order in which it chose them. Of the versions before TLS 1.3 only the newest that is spoken is
    /// asked; the others have none here.
    pub groups: Vec<u16>,
    /// Whose order of suites decides; `None` where there is one suite.
    pub order: Option<Order>,
}

/// What was seen of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// The versions that it speaks, oldest first.
    pub spoken: Vec<Spoken>,
    /// The certificates that it showed, one for each kind of key.
    pub certificates: Vec<Certificate>,
    /// The application protocols that it takes, of `h2` and `http/1.1`. `None`: it only speaks TLS 1.3, which does not say so in the
    /// open.
    pub alpn: Option<Vec<String>>,
    /// Whether it passes over what does not exist, as it must (RFC 8701).
    pub tolerant: bool,
    /// How many handshakes it took to find out.
    pub handshakes: usize,
}

impl Observed {
    /// Versions that are spoken, oldest first.
    pub fn protocols(&self) -> impl Iterator<Item = Protocol> {
        self.spoken.iter().map(|spoken| spoken.protocol)
    }

    /// Suites that are accepted in any version, each once; newest version first.
    pub fn suites(&self) -> Vec<u16> {
        once(self.spoken.iter().rev().flat_map(|spoken| &spoken.suites))
    }

    /// Groups that are accepted in any version, each once; newest version first.
    pub fn groups(&self) -> Vec<u16> {
        once(self.spoken.iter().rev().flat_map(|spoken| &spoken.groups))
    }

    /// What was seen, as reports show it: `versions` (each with `version`, `suites`, `groups`, `order`), `certificates`, `alpn`,
    /// `tolerant` and `handshakes`.
    pub fn report(&self) -> Value {
        let versions: Vec<_> = self
            .spoken
            .iter()
            .map(|spoken| {
                json!({
                    "version": spoken.protocol.name(),
                    "suites": spoken.suites.iter().map(|suite| suite_report(*suite)).collect::<Vec<_>>(),
                    "groups": spoken.groups.iter().map(|group| group_title(*group)).collect::<Vec<_>>(),
                    "order": spoken.order.map(|order| match order { Order::Client => "Client", Order::Server => "Server" }),
                })
            })
            .collect();
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|certificate| json!({ "key": certificate.key, "notAfter": certificate.not_after.to_string() }))
            .collect();
        json!({
            "versions": versions,
            "certificates": certificates,
            "alpn": self.alpn,
            "tolerant": self.tolerant,
            "handshakes": self.handshakes,
        })
    }

    pub(crate) fn newest_before_tls13(&self) -> Option<&Spoken> {
        self.spoken.iter().rev().find(|spoken| spoken.protocol <= Protocol::Tls(Version::Tls12))
    }
}

fn once<'a>(codes: impl Iterator<Item = &'a u16>) -> Vec<u16> {
    let mut found = Vec::new();
    for code in codes {
        if !found.contains(code) {
            found.push(*code);
        }
    }
    found
}

fn suite_report(code: u16) -> Value {
    json!({
        "code": format!("0x{code:04X}"),
        "name": suite_title(code),
        "iana": catalogue::suite_name(code),
    })
}

/// The name that profiles use, else IANA's, else the number.
pub(crate) fn suite_title(code: u16) -> String {
    let known = Suite::from_code(code).map(Suite::openssl).or_else(|| catalogue::suite_name(code));
    known.map_or_else(|| format!("0x{code:04X}"), str::to_owned)
}

/// The name of a group, else its number.
pub(crate) fn group_title(code: u16) -> String {
    catalogue::group_name(code).map_or_else(|| format!("0x{code:04X}"), str::to_owned)
}

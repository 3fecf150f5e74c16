//! The types that a row can have: how a value is written on the command line, in the environment and in this table.

use std::net::SocketAddr;
use std::path::PathBuf;

use jiff::SignedDuration;
use paddock_api::{DataPolicy, DeletionPolicy, DriftPolicy};
use paddock_apiserver::Loop;
use paddock_controllers::gateways::Share;
use paddock_tls_profile::{Generation, KeyKind, Tls13Policy, Version};

/// A type that a row can have.
pub(crate) trait Value: Sized {
    /// Its name in the reference.
    const TYPE: &'static str;
    /// A switch is set by its flag alone and takes no value.
    const IS_SWITCH: bool = false;
    /// Reads a value; the error says what was expected, to follow "… is not ".
    fn read(text: &str) -> Result<Self, String>;
}

impl Value for String {
    const TYPE: &'static str = "text";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a text of at least one character".to_owned()) } else { Ok(text.to_owned()) }
    }
}

impl Value for PathBuf {
    const TYPE: &'static str = "path";

    fn read(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("a path".to_owned()) } else { Ok(text.into()) }
    }
}

impl Value for bool {
    const TYPE: &'static str = "switch";
    const IS_SWITCH: Self = true;

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err("`true` or `false`".to_owned()),
        }
    }
}

impl Value for u32 {
    const TYPE: &'static str = "number";

    fn read(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(0) | Err(_) => Err(format!("a whole number between 1 and {}", Self::MAX)),
            Ok(number) => Ok(number),
        }
    }
}

impl Value for Share {
    const TYPE: &'static str = "count or percentage";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "a count such as `3`, or a percentage such as `10%`".to_owned())
    }
}

/// A span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) SignedDuration);

impl Value for Span {
    const TYPE: &'static str = "time";

    fn read(text: &str) -> Result<Self, String> {
        let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let factor = match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            _ => None,
        };
        let seconds = digits.parse::<u32>().ok().zip(factor).map(|(number, factor)| i64::from(number) * factor);
        seconds
            .map(|seconds| Self(SignedDuration::from_secs(seconds)))
            .ok_or_else(|| "a time such as `30s`, `10m` or `1h`".to_owned())
    }
}

/// A count that may be 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) u32);

impl Value for Count {
    const TYPE: &'static str = "number from 0";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| format!("a whole number between 0 and {}", u32::MAX))
    }
}

impl Value for SocketAddr {
    const TYPE: &'static str = "address";

    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| "an address and a port, such as `127.0.0.1:6443`".to_owned())
    }
}

/// A version of TLS by the name that the API gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TlsVersion(pub(crate) Version);

impl Value for TlsVersion {
    const TYPE: &'static str = "TLS version";

    fn read(text: &str) -> Result<Self, String> {
        let known = || format!("one of {}", Version::ALL.map(Version::name).join(", "));
        Version::from_name(text).map(Self).ok_or_else(known)
    }
}

/// An address, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionalAddr(pub(crate) Option<SocketAddr>);

impl Value for OptionalAddr {
    const TYPE: &'static str = "address or `off`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self(None)),
            _ => SocketAddr::read(text).map(|addr| Self(Some(addr))).map_err(|expected| format!("`off` or {expected}")),
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Text,
    /// One object per line.
    Json,
}

impl Value for LogFormat {
    const TYPE: &'static str = "`auto`, `text` or `json`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(Self::TYPE.to_owned()),
        }
    }
}

impl Value for DeletionPolicy {
    const TYPE: &'static str = "`Block`, `Drain` or `Force`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "Block" => Ok(Self::Block),
            "Drain" => Ok(Self::Drain),
            "Force" => Ok(Self::Force),
            _ => Err(Self::TYPE.to_owned()),
        }
    }
}

impl Value for DataPolicy {
    const TYPE: &'static str = "`Retain` or `Delete`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "Retain" => Ok(Self::Retain),
            "Delete" => Ok(Self::Delete),
            _ => Err(Self::TYPE.to_owned()),
        }
    }
}

impl Value for DriftPolicy {
    const TYPE: &'static str = "`Revert` or `Report`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "Revert" => Ok(Self::Revert),
            "Report" => Ok(Self::Report),
            _ => Err(Self::TYPE.to_owned()),
        }
    }
}

/// The controllers that the operator can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    /// Agent gateways from `platform-config`.
    Gateways,
    /// What every listener serves, decided and handed over.
    TlsProfile,
}

impl Controller {
    /// All there are, by the names that they are chosen by.
    pub(crate) const ALL: [(&'static str, Self); 2] = [("gateways", Self::Gateways), ("tls-profile", Self::TlsProfile)];
}

/// Which controllers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Controllers(pub(crate) Vec<Controller>);

impl Value for Controllers {
    const TYPE: &'static str = "list of controllers";

    fn read(text: &str) -> Result<Self, String> {
        let expected = || {
            let names = Controller::ALL.map(|(name, _)| name).join(", ");
            format!("a comma-separated list of: {names}")
        };
        let mut chosen = Vec::new();
        for name in text.split(',').map(str::trim) {
            let known = Controller::ALL.into_iter().find(|(known, _)| *known == name);
            let (_, controller) = known.ok_or_else(expected)?;
            if !chosen.contains(&controller) {
                chosen.push(controller);
            }
        }
        Ok(Self(chosen))
    }
}

/// Which of the API server's own loops run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Loops(pub(crate) Vec<Loop>);

impl Value for Loops {
    const TYPE: &'static str = "list of loops";

    fn read(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self(Loop::all()));
        }
        let named = |name: &str| Loop::all().into_iter().find(|l| l.name() == name);
        let chosen: Option<Vec<Loop>> = text.split(',').map(|name| named(name.trim())).collect();
        let known = || Loop::all().into_iter().map(Loop::name).collect::<Vec<_>>().join(", ");
        chosen.map(Self).ok_or_else(|| format!("all, or a comma-separated list of: {}", known()))
    }
}

impl Value for Generation {
    const TYPE: &'static str = "`A`, `B` or `C`";

    fn read(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| Self::TYPE.to_owned())
    }
}

impl Value for Tls13Policy {
    const TYPE: &'static str = "`Platform` or `Strict`";

    fn read(text: &str) -> Result<Self, String> {
        Self::from_name(text).ok_or_else(|| Self::TYPE.to_owned())
    }
}

impl Value for KeyKind {
    const TYPE: &'static str = "`RSA` or `ECDSA`";

    fn read(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| Self::TYPE.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_loop_is_refused_with_the_known_ones() {
        let error = Loops::read("namespaces,nothing").unwrap_err();
        assert!(error.starts_with("all, or a comma-separated list of: namespaces, garbage-collection"), "{error}");
    }

    #[test]
    fn all_loops_have_one_name() {
        assert_eq!(Loops::read("all"), Ok(Loops(Loop::all())));
    }

    #[test]
    fn an_address_needs_a_port() {
        assert!(SocketAddr::read("127.0.0.1").is_err());
        assert_eq!(SocketAddr::read("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
    }

    #[test]
    fn off_is_an_address_that_is_not_listened_on() {
        assert_eq!(OptionalAddr::read("off"), Ok(OptionalAddr(None)));
    }

    #[test]
    fn an_unknown_controller_is_refused_with_the_known_ones() {
        assert_eq!(
            Controllers::read("gateways,mesh"),
            Err("a comma-separated list of: gateways, tls-profile".to_owned())
        );
    }

    #[test]
    fn a_controller_named_twice_runs_once() {
        assert_eq!(Controllers::read("gateways, gateways"), Ok(Controllers(vec![Controller::Gateways])));
    }
}

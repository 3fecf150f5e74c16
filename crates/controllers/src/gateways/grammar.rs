//! Texts in `gateway.toml` that the gateway reads with a grammar of their own and refuses to start without. Pure.

use std::net::Ipv6Addr;

/// What a text has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grammar {
    /// What Kubernetes calls an AppArmor profile.
    AppArmor,
    /// A number of milliseconds or seconds, of a call that may take from 10 ms to 30 s.
    CallTimeout,
    /// A number of milliseconds or seconds.
    Timeout,
    /// Nothing, or a socket below a directory of its own, which is mounted.
    SocketPath,
    /// Where traces go.
    Collector,
    /// A forward proxy.
    Proxy,
}

impl Grammar {
    /// What to tell whose text is none.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::AppArmor => "RuntimeDefault, Unconfined or Localhost/PROFILE",
            Self::CallTimeout => "a number with ms or s behind it, from 10ms to 30s",
            Self::Timeout => "a number with ms or s behind it",
            Self::SocketPath => "an absolute path below a directory of its own",
            Self::Collector => "a URL that begins with http:// or https://",
            Self::Proxy => "http://HOST:PORT, without credentials or a path",
        }
    }

    /// Whether this is one.
    pub(super) fn holds(self, text: &str) -> bool {
        match self {
            Self::AppArmor => {
                let local = text.strip_prefix("Localhost/").is_some_and(|name| !name.is_empty());
                local || matches!(text, "RuntimeDefault" | "Unconfined")
            }
            Self::CallTimeout => milliseconds(text).is_some_and(|time| (10..=30_000).contains(&time)),
            Self::Timeout => milliseconds(text).is_some_and(|time| time > 0),
            Self::SocketPath => {
                let mut parts = text.split('/').skip(1);
                let named = parts.by_ref().filter(|part| !part.is_empty() && !matches!(*part, "." | "..")).count();
                let plain = text.split('/').all(|part| !matches!(part, "." | ".."));
                text.is_empty() || (text.starts_with('/') && text.trim() == text && plain && named > 1)
            }
            Self::Collector => {
                let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
                rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', ':']) && is_visible(rest))
            }
            Self::Proxy => text.strip_prefix("http://").is_some_and(is_address),
        }
    }
}

fn milliseconds(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s')?, 1000),
    };
    // A sign is none of the digits.
    let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    number.parse::<u64>().ok().filter(|_| is_number)?.checked_mul(unit)
}

fn is_visible(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_graphic())
}

/// `host:port`, perhaps with the empty path behind it.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.strip_suffix('/').unwrap_or(text).rsplit_once(':') else { return false };
    let is_host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let labels = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
            labels && host.bytes().any(|b| b.is_ascii_alphanumeric())
        }
    };
    let is_port = port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    is_host && is_port
}

#[cfg(test)]
mod tests {
    use super::Grammar::{AppArmor, CallTimeout, Collector, Proxy, SocketPath, Timeout};

    #[test]
    fn gw_w07_texts_are_read_as_the_gateway_reads_them() {
        for (grammar, good, bad) in [
            (AppArmor, &["Unconfined", "Localhost/x"][..], &["Localhost/", "unconfined", ""][..]),
            (
                CallTimeout,
                &["10ms", "500ms", "30s"],
                &["abc", "9ms", "31s", "2", "", "+5s", "-1s", "99999999999999999999s"],
            ),
            (Timeout, &["1ms", "300s"], &["0s", "1m", "s"]),
            (SocketPath, &["", "/run/spire/agent.sock"], &["run/x", "/x", "/", "/run/../x", " /run/x", "/run/x "]),
            (
                Collector,
                &["http://otel:4317", "https://o.example"],
                &["", "otel:4317", "http://", "http:///x", "https://a b"],
            ),
            (
                Proxy,
                &["http://proxy.example:3128", "http://10.0.0.1:80/", "http://[::1]:8080"],
                &[
                    "not a url",
                    "",
                    "http://p",
                    "https://p:1",
                    "http://u:p@h:1",
                    "http://p:1/x",
                    "http://p:0",
                    "http://:1",
                    "p:1",
                ],
            ),
        ] {
            for text in good {
                assert!(grammar.holds(text), "{grammar:?} {text}");
            }
            for text in bad {
                assert!(!grammar.holds(text), "{grammar:?} {text}");
            }
        }
    }
}

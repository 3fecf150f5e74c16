//! The WebSocket handshake (RFC 6455, section 4.2) without the socket: headers in, agreement or refusal out. Pure.

use http::{HeaderMap, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::status::Status;

/// What both sides agreed on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) accept: String,
    /// One of those served; `None` when the client named none, which stands for the last of them.
    pub(crate) protocol: Option<&'static str>,
}

/// Agrees on the first of the client's protocols that is among `served`.
///
/// # Errors
/// 400 in kube-apiserver's words for a request that is no WebSocket handshake, and for one without a common protocol.
pub(crate) fn agree(headers: &HeaderMap, served: &[&'static str]) -> Result<Agreement, Status> {
    let upgrade = text(headers, header::UPGRADE);
    if upgrade.is_empty() || !has_token(headers, header::CONNECTION, "upgrade") {
        return Err(Status::bad_request("Upgrade request required"));
    }
    if !upgrade.eq_ignore_ascii_case("websocket") {
        return Err(Status::bad_request(format!(
            "{upgrade} is not served, WebSocket is: use kubectl 1.31 or newer, or another client that speaks it"
        )));
    }
    if text(headers, header::SEC_WEBSOCKET_VERSION) != "13" {
        return Err(Status::bad_request("only version 13 of the WebSocket protocol is served"));
    }
    let key = text(headers, header::SEC_WEBSOCKET_KEY);
    if key.is_empty() {
        return Err(Status::bad_request("the header Sec-WebSocket-Key is missing"));
    }
    let mut wanted = tokens(headers, header::SEC_WEBSOCKET_PROTOCOL).peekable();
    let protocol = match wanted.peek() {
        None => None,
        Some(_) => {
            let common = wanted.find_map(|wanted| served.iter().find(|served| **served == wanted));
            let none = || {
                let served = served.join(", ");
                Status::bad_request(format!("no common WebSocket subprotocol: this server speaks {served}"))
            };
            Some(*common.ok_or_else(none)?)
        }
    };
    Ok(Agreement { accept: derive_accept_key(key.as_bytes()), protocol })
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim).unwrap_or_default()
}

fn tokens(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_key_is_answered_as_the_rfc_does_it() {
        let agreement = agree(&headers(&WEBSOCKET), &["a"]).unwrap();
        assert_eq!(agreement, Agreement { accept: "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=".to_owned(), protocol: None });
    }

    #[test]
    fn the_clients_first_choice_wins() {
        let mut all = WEBSOCKET.to_vec();
        all.push(("sec-websocket-protocol", "x, b, a"));
        assert_eq!(agree(&headers(&all), &["a", "b"]).unwrap().protocol, Some("b"));
    }

    #[test]
    fn no_common_protocol_is_refused_with_those_that_are_served() {
        let mut all = WEBSOCKET.to_vec();
        all.push(("sec-websocket-protocol", "x"));
        let status = agree(&headers(&all), &["a", "b"]).unwrap_err();
        assert_eq!(status.message, "no common WebSocket subprotocol: this server speaks a, b");
    }

    #[test]
    fn spdy_is_refused_in_words() {
        let status = agree(&headers(&[("connection", "Upgrade"), ("upgrade", "SPDY/3.1")]), &["a"]).unwrap_err();
        assert!(status.message.starts_with("SPDY/3.1 is not served"));
    }

    #[test]
    fn a_plain_request_is_told_that_an_upgrade_is_required() {
        assert_eq!(agree(&HeaderMap::new(), &["a"]).unwrap_err().message, "Upgrade request required");
    }
}

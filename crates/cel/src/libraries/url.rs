//! URLs as Go's `net/url` reads them, with its error texts. Pure; linear in the length of the text.

use std::fmt::{self, Write};
use std::sync::Arc;

use super::go::quote;
use crate::error::EvalError;

/// An absolute URI or an absolute path.
#[derive(Clone, Debug, Default)]
pub(super) struct Url {
    pub(super) scheme: String,
    /// What follows the scheme of a URI without a slash: `mailto:a@b`.
    opaque: String,
    /// `user:password` as written.
    userinfo: Option<String>,
    /// Host and port.
    pub(super) host: String,
    /// The path as it is sent.
    pub(super) escaped_path: String,
    force_query: bool,
    raw_query: String,
    fragment: String,
    /// Whether there was no authority though there could have been one: `scheme:/path`.
    omit_host: bool,
    /// The whole as it is written again. Comparing costs 1, so it is there already.
    written: Arc<str>,
}

/// Two URLs are the same when they are written the same.
impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.written, &other.written) || self.written == other.written
    }
}

/// What an escape stands in: other bytes may be there as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Path,
    Host,
    Zone,
    User,
    Query,
    Fragment,
}

impl Url {
    /// `url(text)`.
    pub(super) fn parse(text: &str) -> Result<Self, EvalError> {
        let failed = |error: String| EvalError::new(format!("URL parse error during conversion from string: {error}"));
        check_request_uri(text).map_err(failed)?;
        // The fragment is cut off only now: a request URI has none, so that it is part of path or query there.
        let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(rest, false).map_err(|error| failed(in_parse(rest, &error)))?;
        if let Err(error) = unescape(fragment, Part::Fragment) {
            return Err(failed(in_parse(text, &error)));
        }
        url.fragment = fragment.to_owned();
        url.written = url.to_string().into();
        Ok(url)
    }

    /// The host without brackets and port.
    pub(super) fn hostname(&self) -> &str {
        let host = self.split_port().0;
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, or nothing.
    pub(super) fn port(&self) -> &str {
        self.split_port().1
    }

    fn split_port(&self) -> (&str, &str) {
        match self.host.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (&self.host, ""),
        }
    }

    /// The query's keys, each with its values, in the order of their first use. What cannot be read is left out.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        let component =
            |text: &str| unescape(text, Part::Query).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.raw_query
            .split('&')
            .filter(|pair| !pair.is_empty() && !pair.contains(';'))
            .filter_map(|pair| {
                let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                Some((component(key)?, component(value)?))
            })
            .collect()
    }

    /// About how much memory it takes.
    pub(super) fn size(&self) -> usize {
        self.written.len()
            + self.escaped_path.len()
            + self.raw_query.len()
            + self.fragment.len()
            + self.host.len()
            + self.opaque.len()
    }
}

/// `isURL` and `format.uri()`: the error of Go's `url.ParseRequestURI`, if any.
pub(super) fn check_request_uri(text: &str) -> Result<(), String> {
    parse(text, true).map(|_| ()).map_err(|error| in_parse(text, &error))
}

fn in_parse(text: &str, error: &str) -> String {
    format!("parse {}: {error}", quote(text))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.scheme.is_empty() {
            write!(f, "{}:", self.scheme)?;
        }
        if !self.opaque.is_empty() {
            f.write_str(&self.opaque)?;
        } else {
            let authority = !self.host.is_empty() || self.userinfo.is_some();
            if authority || (!self.scheme.is_empty() && !self.omit_host && !self.escaped_path.is_empty()) {
                f.write_str("//")?;
            }
            if let Some(userinfo) = &self.userinfo {
                write!(f, "{userinfo}@")?;
            }
            f.write_str(&self.host)?;
            if !self.escaped_path.is_empty() && !self.escaped_path.starts_with('/') && !self.host.is_empty() {
                f.write_char('/')?;
            }
            f.write_str(&self.escaped_path)?;
        }
        if self.force_query || !self.raw_query.is_empty() {
            write!(f, "?{}", self.raw_query)?;
        }
        if !self.fragment.is_empty() {
            write!(f, "#{}", self.fragment)?;
        }
        Ok(())
    }
}

fn parse(text: &str, via_request: bool) -> Result<Url, String> {
    if text.bytes().any(|byte| byte < b' ' || byte == 0x7f) {
        return Err("net/url: invalid control character in URL".to_owned());
    }
    if text.is_empty() && via_request {
        return Err("empty url".to_owned());
    }
    if text == "*" {
        return Ok(Url { escaped_path: text.to_owned(), ..Url::default() });
    }
    let (scheme, rest) = split_scheme(text)?;
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
    let rest = match rest.split_once('?') {
        Some((rest, "")) => {
            url.force_query = true;
            rest
        }
        Some((rest, query)) => {
            query.clone_into(&mut url.raw_query);
            rest
        }
        None => rest,
    };
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Ok(url);
        }
        if via_request {
            return Err("invalid URI for request".to_owned());
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return Err("first path segment in URL cannot contain colon".to_owned());
        }
    }
    let mut path = rest;
    if let Some(rest) =
        rest.strip_prefix("//").filter(|rest| !url.scheme.is_empty() || (!via_request && !rest.starts_with('/')))
    {
        let end = rest.find('/').unwrap_or(rest.len());
        let authority;
        (authority, path) = rest.split_at(end);
        (url.userinfo, url.host) = parse_authority(authority)?;
    } else {
        url.omit_host = !url.scheme.is_empty();
    }
    let unescaped = unescape(path, Part::Path)?;
    url.escaped_path = if path.bytes().all(is_valid_in_path) { path.to_owned() } else { escape_path(&unescaped) };
    Ok(url)
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err("missing protocol scheme".to_owned()),
            b':' => return Ok(text.split_once(':').unwrap_or(("", text))),
            _ => break,
        }
    }
    Ok(("", text))
}

/// The user information as written, and the host with its port.
fn parse_authority(authority: &str) -> Result<(Option<String>, String), String> {
    let (userinfo, host) = match authority.rsplit_once('@') {
        Some((userinfo, host)) => (Some(userinfo), host),
        None => (None, authority),
    };
    let host = parse_host(host)?;
    if let Some(userinfo) = userinfo {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
        if !userinfo.bytes().all(valid) {
            return Err("net/url: invalid userinfo".to_owned());
        }
        for part in userinfo.splitn(2, ':') {
            unescape(part, Part::User)?;
        }
    }
    Ok((userinfo.map(str::to_owned), host))
}

fn parse_host(host: &str) -> Result<String, String> {
    let bad_port = |port: &str| {
        let digits = port.strip_prefix(':');
        (!port.is_empty() && !digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())))
            .then(|| format!("invalid port {} after host", quote(port)))
    };
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Some(literal) = host.strip_prefix('[') {
        let Some((address, port)) = literal.rsplit_once(']') else {
            return Err("missing ']' in host".to_owned());
        };
        if let Some(error) = bad_port(port) {
            return Err(error);
        }
        let unescaped = match address.find("%25") {
            Some(zone) => {
                let (address, zone) = address.split_at(zone);
                [unescape(address, Part::Host)?, unescape(zone, Part::Zone)?].concat()
            }
            None => unescape(address, Part::Host)?,
        };
        return Ok(format!("[{}]{port}", text(unescaped)));
    }
    // The first colon: a host without brackets has none of its own.
    if let Some(error) = host.find(':').and_then(|colon| bad_port(host.split_at(colon).1)) {
        return Err(error);
    }
    unescape(host, Part::Host).map(text)
}

/// What escapes stand for. Bytes, because they need not be UTF-8.
fn unescape(text: &str, part: Part) -> Result<Vec<u8>, String> {
    let in_host = matches!(part, Part::Host | Part::Zone);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match first {
            b'%' => {
                let escape = rest.get(..3.min(rest.len())).unwrap_or_default();
                let invalid = || Err(format!("invalid URL escape {}", quote(&String::from_utf8_lossy(escape))));
                let digit = |at: usize| escape.get(at).and_then(|byte| char::from(*byte).to_digit(16));
                let (Some(high), Some(low)) = (digit(1), digit(2)) else { return invalid() };
                let byte = (high * 16 + low) as u8;
                match part {
                    // In a host escapes are for what is not ASCII, and for the % before a zone.
                    Part::Host if byte < 0x80 && escape != b"%25" => return invalid(),
                    Part::Zone if escape != b"%25" && byte != b' ' && !is_valid_in_host(byte) => return invalid(),
                    _ => bytes.push(byte),
                }
                rest = rest.get(3..).unwrap_or_default();
                continue;
            }
            b'+' if part == Part::Query => bytes.push(b' '),
            byte if in_host && *byte < 0x80 && !is_valid_in_host(*byte) => {
                return Err(format!("invalid character {} in host name", quote(&char::from(*byte).to_string())));
            }
            byte => bytes.push(*byte),
        }
        rest = after;
    }
    Ok(bytes)
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)
}

fn is_valid_in_host(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:[]<>\"".contains(&byte)
}

fn is_valid_in_path(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@[]/%".contains(&byte)
}

fn escape_path(bytes: &[u8]) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for byte in bytes {
        if is_unreserved(*byte) || b"$&+,/:;=@".contains(byte) {
            escaped.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn the_parts_of_a_url() {
        for (text, scheme, host, hostname, port, path) in [
            ("/path", "", "", "", "", "/path"),
            ("https://example.com/", "https", "example.com", "example.com", "", "/"),
            (
                "HTTPS://user:pass@example.com:80/path?query=val#fragment",
                "https",
                "example.com:80",
                "example.com",
                "80",
                "/path",
            ),
            ("https://example.com", "https", "example.com", "example.com", "", ""),
            ("https://[::1]:80/", "https", "[::1]:80", "::1", "80", "/"),
            ("https://[::1]/", "https", "[::1]", "::1", "", "/"),
            ("https://[fe80::1%25eth0]/", "https", "[fe80::1%eth0]", "fe80::1%eth0", "", "/"),
            ("https://127.0.0.1:/", "https", "127.0.0.1:", "127.0.0.1", "", "/"),
            (
                "https://example.com/path with spaces/",
                "https",
                "example.com",
                "example.com",
                "",
                "/path%20with%20spaces/",
            ),
            ("https://example.com/a%2fb", "https", "example.com", "example.com", "", "/a%2fb"),
            ("https://example.com/世", "https", "example.com", "example.com", "", "/%E4%B8%96"),
            ("//host/path", "", "host", "host", "", "/path"),
            ("mailto:a@b", "mailto", "", "", "", ""),
            ("file:///etc/passwd", "file", "", "", "", "/etc/passwd"),
        ] {
            let url = url(text);
            let parts = (url.scheme.as_str(), url.host.as_str(), url.hostname(), url.port(), url.escaped_path.as_str());
            assert_eq!(parts, (scheme, host, hostname, port, path), "{text}");
        }
    }

    #[test]
    fn bad_urls_have_gos_errors() {
        for (text, error) in [
            ("", r#"parse "": empty url"#),
            ("../relative-path", r#"parse "../relative-path": invalid URI for request"#),
            ("https://a:b:c/", r#"parse "https://a:b:c/": invalid port ":b:c" after host"#),
            ("https://a:b/", r#"parse "https://a:b/": invalid port ":b" after host"#),
            (":a", r#"parse ":a": missing protocol scheme"#),
            ("/a\n", r#"parse "/a\n": net/url: invalid control character in URL"#),
            ("/%zz", r#"parse "/%zz": invalid URL escape "%zz""#),
            ("/%a", r#"parse "/%a": invalid URL escape "%a""#),
            ("http://a b/", r#"parse "http://a b/": invalid character " " in host name"#),
            ("http://%41/", r#"parse "http://%41/": invalid URL escape "%41""#),
            ("http://[::1/", r#"parse "http://[::1/": missing ']' in host"#),
            ("http://[::1]a/", r#"parse "http://[::1]a/": invalid port "a" after host"#),
            ("http://a<@b/", r#"parse "http://a<@b/": net/url: invalid userinfo"#),
        ] {
            let expected = format!("URL parse error during conversion from string: {error}");
            assert_eq!(Url::parse(text).unwrap_err().to_string(), expected, "{text}");
            assert_eq!(check_request_uri(text).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn the_query_is_read_pair_by_pair() {
        let query = |text: &str| url(text).query();
        let pairs =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>();
        assert_eq!(query("/p?k1=a&k2=b&k2=c"), pairs(&[("k1", "a"), ("k2", "b"), ("k2", "c")]));
        assert_eq!(query("/p?key with spaces=a+b%20c"), pairs(&[("key with spaces", "a b c")]));
        assert_eq!(query("/p?a;b=c&d&=e&%zz=1"), pairs(&[("d", ""), ("", "e")]));
        assert_eq!(query("/p?"), pairs(&[]));
    }

    #[test]
    fn a_url_is_written_as_it_was_read() {
        for text in [
            "https://user:pass@example.com:80/path?query=val#fragment",
            "/path?",
            "mailto:a@b",
            "file:///etc",
            "scheme:/path",
            "//host/path",
        ] {
            assert_eq!(url(text).to_string(), text);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "[a-z:/?#@%\\[\\]0-9. é]{0,30}") {
            let _ = Url::parse(&text).map(|url| (url.to_string(), url.query(), url.port().len()));
        }
    }
}

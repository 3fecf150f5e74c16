//! Container image references: the grammar, and which of them may run.
//!
//! The grammar says what a runtime would understand; the policy says what a platform allows. They are kept apart, so that
//! an error says which of the two refused.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// A parsed reference: `[host[:port]/]path[:tag][@algorithm:hex]`. Nothing is lower-cased or completed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageReference {
    registry: Option<String>,
    path: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl ImageReference {
    /// Host with its port, such as `ghcr.io` or `registry.example.com:5000`; `None` for a short name.
    pub fn registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// Path within the registry, such as `nvidia/openshell/gateway`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest with its algorithm, such as `sha256:…`.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(registry) = &self.registry {
            write!(f, "{registry}/")?;
        }
        f.write_str(&self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// Why a text is no image reference, or why the image may not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Nothing.
    #[error("an image reference must not be empty")]
    Empty,
    /// Registry and path are longer than 255 characters.
    #[error("registry and path have at most 255 characters, these have {0}")]
    TooLong(usize),
    /// The host is neither a DNS name nor an address in brackets.
    #[error("{0:?} is not a registry host")]
    Host(String),
    /// The port is not a number from 1 to 65535.
    #[error("{0:?} is not a port from 1 to 65535")]
    Port(String),
    /// A path component breaks the grammar.
    #[error("path component {0:?} must be lower-case letters and digits, separated by '.', '_', '__' or hyphens")]
    Path(String),
    /// The tag breaks the grammar.
    #[error("tag {0:?} must be 1 to 128 letters, digits, '_', '.' or '-', and not start with '.' or '-'")]
    Tag(String),
    /// The digest breaks the grammar.
    #[error("digest {0:?} must be sha256: with 64 or sha512: with 128 lower-case hexadecimal digits")]
    Digest(String),
    /// A short name: runtimes complete it differently.
    #[error("image {0} names no registry; write it in full, such as ghcr.io/{0}")]
    Unqualified(String),
    /// Not on the allow list.
    #[error("image {image} is not allowed; allowed are images below {allowed}")]
    NotAllowed {
        /// The image.
        image: String,
        /// The allow list, comma separated.
        allowed: String,
    },
    /// The policy wants a digest.
    #[error("image {0} must be pinned by digest (@sha256:…)")]
    DigestRequired(String),
    /// The policy wants to know which image it is.
    #[error("image {0} has no tag but `latest`, which is another image tomorrow; name a version")]
    Latest(String),
}

impl FromStr for ImageReference {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        if text.is_empty() {
            return Err(ImageError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(checked_digest(digest)?)),
            None => (text, None),
        };
        // The first component is a host when it could not be a path component: the rule of every runtime.
        let (registry, rest) = match rest.split_once('/') {
            Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => {
                (Some(checked_registry(first)?), rest)
            }
            _ => (None, rest),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(checked_tag(tag)?)),
            None => (rest, None),
        };
        path.split('/').try_for_each(check_component)?;
        let length = registry.as_ref().map_or(0, |registry: &String| registry.len() + 1) + path.len();
        if length > 255 {
            return Err(ImageError::TooLong(length));
        }
        Ok(Self { registry, path: path.to_owned(), tag, digest })
    }
}

fn checked_registry(text: &str) -> Result<String, ImageError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (address, after) = bracketed.split_once(']').ok_or_else(|| ImageError::Host(text.to_owned()))?;
            if address.parse::<Ipv6Addr>().is_err() || !(after.is_empty() || after.starts_with(':')) {
                return Err(ImageError::Host(text.to_owned()));
            }
            (None, after.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), None),
        },
    };
    if let Some(host) = host {
        // Hosts are case-insensitive, but nothing is lower-cased: what is written is what the runtime gets.
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if !host.split('.').all(label) {
            return Err(ImageError::Host(host.to_owned()));
        }
    }
    if let Some(port) = port {
        let number = port.bytes().all(|b| b.is_ascii_digit()).then(|| port.parse::<u16>().ok()).flatten();
        if number.is_none_or(|number| number == 0) {
            return Err(ImageError::Port(port.to_owned()));
        }
    }
    Ok(text.to_owned())
}

fn check_component(component: &str) -> Result<(), ImageError> {
    let error = || ImageError::Path(component.to_owned());
    let bytes = component.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    if !(bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric)) {
        return Err(error());
    }
    for separator in component.split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit()) {
        let hyphens = separator.bytes().all(|b| b == b'-');
        if !(hyphens || matches!(separator, "." | "_" | "__")) {
            return Err(error());
        }
    }
    Ok(())
}

fn checked_tag(tag: &str) -> Result<String, ImageError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let good = tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || b == b'.' || b == b'-');
    if good { Ok(tag.to_owned()) } else { Err(ImageError::Tag(tag.to_owned())) }
}

fn checked_digest(digest: &str) -> Result<String, ImageError> {
    let length = match digest.split_once(':') {
        Some(("sha256", hex)) => Some((hex, 64)),
        Some(("sha512", hex)) => Some((hex, 128)),
        _ => None,
    };
    let good = length.is_some_and(|(hex, length)| {
        hex.len() == length && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    });
    if good { Ok(digest.to_owned()) } else { Err(ImageError::Digest(digest.to_owned())) }
}

/// Which images may run. The default allows every fully qualified image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImagePolicy {
    /// Registry hosts with optional paths, such as `ghcr.io/nvidia`. Empty allows every registry.
    pub allowed: Vec<String>,
    /// Whether every image must carry a digest.
    pub digest_required: bool,
    /// Whether `latest`, also where it is only implied, is refused. A digest names an image better than any tag.
    pub latest_forbidden: bool,
}

impl ImagePolicy {
    /// Refuses an image that may not run. Prefixes match at `/` only: `ghcr.io/nvidia` does not allow
    /// `ghcr.io/nvidia-evil/x`.
    ///
    /// # Errors
    /// One of the last four kinds of [`ImageError`].
    pub fn check(&self, image: &ImageReference) -> Result<(), ImageError> {
        let Some(registry) = image.registry() else { return Err(ImageError::Unqualified(image.to_string())) };
        let allows = |prefix: &String| {
            let (host, path) =
                prefix.trim_end_matches('/').split_once('/').unwrap_or((prefix.trim_end_matches('/'), ""));
            host.eq_ignore_ascii_case(registry)
                && (path.is_empty()
                    || image.path() == path
                    || image.path().strip_prefix(path).is_some_and(|rest| rest.starts_with('/')))
        };
        if !self.allowed.is_empty() && !self.allowed.iter().any(allows) {
            return Err(ImageError::NotAllowed { image: image.to_string(), allowed: self.allowed.join(", ") });
        }
        if self.digest_required && image.digest().is_none() {
            return Err(ImageError::DigestRequired(image.to_string()));
        }
        let latest = image.tag().is_none_or(|tag| tag == "latest") && image.digest().is_none();
        if self.latest_forbidden && latest {
            return Err(ImageError::Latest(image.to_string()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn image(text: &str) -> ImageReference {
        text.parse().unwrap()
    }

    #[test]
    fn gw_f05_references_of_every_shape_are_accepted() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        for text in [
            "ghcr.io/nvidia/openshell/gateway:0.0.71",
            "registry.example.com:5000/x:1",
            "localhost/x",
            "localhost:5000/x",
            "[::1]:5000/x/y",
            "[2001:db8::1]/x",
            "short",
            "library/short:v1",
            "a.b/c.d_e__f---g/h:_Tag-1.2",
            &format!("ghcr.io/x@{digest}"),
            &format!("ghcr.io/x:1@{digest}"),
            &format!("ghcr.io/x@sha512:{}", "0".repeat(128)),
        ] {
            assert_eq!(text.parse::<ImageReference>().map(|i| i.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn parts_are_told_apart() {
        let parsed = image(&format!("r.example:5000/a/b:t@sha256:{}", "0".repeat(64)));
        assert_eq!(parsed.registry(), Some("r.example:5000"));
        assert_eq!(parsed.path(), "a/b");
        assert_eq!(parsed.tag(), Some("t"));
        assert_eq!(parsed.digest().map(str::len), Some(71));
    }

    #[test]
    fn gw_f06_ports_are_1_to_65535() {
        for (port, good) in
            [("1", true), ("65535", true), ("0", false), ("65536", false), ("x", false), ("", false), ("+80", false)]
        {
            let text = format!("r.example:{port}/x");
            assert_eq!(text.parse::<ImageReference>().is_ok(), good, "{text}");
        }
    }

    #[test]
    fn gw_f05_metacharacters_and_bad_parts_are_refused() {
        let long = format!("r.example/{}", "a".repeat(246));
        for text in [
            "",
            "UPPER/x",
            "ghcr.io/Upper",
            "ghcr.io/x;y",
            "ghcr.io/x&y",
            "ghcr.io/x|y",
            "ghcr.io/x`y",
            "ghcr.io/x$y",
            "ghcr.io/x\ny",
            "ghcr.io/x:",
            "ghcr.io/x:.t",
            "ghcr.io/x:a:b",
            "ghcr.io//x",
            "/x",
            "ghcr.io/",
            "ghcr.io/x@",
            "ghcr.io/x@sha256:00",
            "ghcr.io/x@md5:00",
            "ghcr.io/x___y",
            "ghcr.io/x..y",
            "-r.example/x",
            "[::g]/x",
            "[::1/x",
            "ghcr.io/-x",
            "ghcr.io/x-",
            "ghcr.io/NAMESPACE_PLACEHOLDER",
            &long,
        ] {
            assert!(text.parse::<ImageReference>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn gw_f07_allow_list_matches_whole_segments() {
        let policy =
            ImagePolicy { allowed: vec!["ghcr.io/nvidia".to_owned(), "quay.io/".to_owned()], ..Default::default() };
        for (text, allowed) in [
            ("ghcr.io/nvidia/openshell/gateway:1", true),
            ("ghcr.io/nvidia:1", true),
            ("ghcr.io/nvidia-evil/x", false),
            ("ghcr.io/other/x", false),
            ("ghcr.io.evil.example/nvidia/x", false),
            ("ghcr.io:5000/nvidia/x", false),
            ("quay.io/anything", true),
        ] {
            assert_eq!(policy.check(&image(text)).is_ok(), allowed, "{text}");
        }
    }

    #[test]
    fn empty_allow_list_means_every_qualified_image() {
        assert_eq!(ImagePolicy::default().check(&image("any.example/x")), Ok(()));
        assert_eq!(ImagePolicy::default().check(&image("x")), Err(ImageError::Unqualified("x".to_owned())));
    }

    #[test]
    fn gw_a07_digest_can_be_required() {
        let policy = ImagePolicy { digest_required: true, ..Default::default() };
        assert!(policy.check(&image("r.example/x:1")).is_err());
        assert!(policy.check(&image(&format!("r.example/x@sha256:{}", "0".repeat(64)))).is_ok());
    }

    #[test]
    fn gw_w08_latest_can_be_refused_also_where_it_is_implied() {
        let policy = ImagePolicy { latest_forbidden: true, ..Default::default() };
        let digest = format!("@sha256:{}", "0".repeat(64));
        for (tag, good) in [(":1", true), (":latest", false), ("", false), (&digest, true)] {
            assert_eq!(policy.check(&image(&format!("r.example/x{tag}"))).is_ok(), good, "{tag}");
        }
    }

    proptest! {
        #[test]
        fn accepted_references_round_trip(text in "\\PC{0,80}|[a-z0-9.:/@_\\[\\]-]{0,80}") {
            if let Ok(image) = text.parse::<ImageReference>() {
                prop_assert_eq!(image.to_string(), text.clone());
                prop_assert_eq!(text.parse(), Ok(image));
            }
        }
    }
}

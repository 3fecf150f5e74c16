//! What a gateway reads only at its start: a digest of it all, which restarts the gateway when it changes, and one of each
//! part, which tells why. Pure.

use std::fmt::Write as _;

/// Everything that a gateway reads only at its start. Certificates are not in it: the gateway reloads them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inputs<'a> {
    /// The effective `gateway.toml`.
    pub(super) file: &'a str,
    /// The public part of the token keys.
    pub(super) tokens: &'a str,
    /// Served versions of the Sandbox kind.
    pub(super) sandboxes: &'a str,
    /// Digest of the external database's connection string.
    pub(super) database: Option<&'a str>,
}

impl Inputs<'_> {
    /// A new value restarts the gateway.
    pub(super) fn hash(&self) -> String {
        let mut text = [self.file, self.tokens, self.sandboxes].join("\0");
        if let Some(database) = self.database {
            text.push('\0');
            text.push_str(database);
        }
        paddock_pki::sha256_hex(text.as_bytes())
    }

    /// The parts, for [`changed`]; it stands on the workload and not on its pods, so that it restarts nothing itself.
    pub(super) fn parts(&self) -> String {
        let mut text = String::new();
        for (name, content) in
            [("file", self.file), ("tokens", self.tokens), ("database", self.database.unwrap_or_default())]
        {
            let _ = write!(text, "{name}={:.12} ", paddock_pki::sha256_hex(content.as_bytes()));
        }
        text + "sandboxes=" + self.sandboxes
    }
}

/// A part of the inputs that differs between two texts of [`Inputs::parts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    File,
    Tokens,
    Database,
    /// From and to.
    Sandboxes(String, String),
}

/// Which parts differ.
pub(super) fn changed(before: &str, after: &str) -> Vec<Part> {
    let part = |text: &str, name: &str| {
        let mut parts = text.split(' ').filter_map(|part| part.split_once('='));
        parts.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
    };
    let mut found = Vec::new();
    for (name, kind) in [("file", Part::File), ("tokens", Part::Tokens), ("database", Part::Database)] {
        if part(before, name) != part(after, name) {
            found.push(kind);
        }
    }
    let (from, to) = (part(before, "sandboxes"), part(after, "sandboxes"));
    if from != to {
        found.push(Part::Sandboxes(from, to));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Inputs<'_> = Inputs { file: "a = 1", tokens: "kid", sandboxes: "v1alpha1", database: None };

    #[test]
    fn each_part_is_told_apart() {
        for (other, part) in [
            (Inputs { file: "a = 2", ..ONE }, Part::File),
            (Inputs { tokens: "other", ..ONE }, Part::Tokens),
            (Inputs { database: Some("uri"), ..ONE }, Part::Database),
            (
                Inputs { sandboxes: "v1alpha1,v1beta1", ..ONE },
                Part::Sandboxes("v1alpha1".into(), "v1alpha1,v1beta1".into()),
            ),
        ] {
            assert_ne!(other.hash(), ONE.hash());
            assert_eq!(changed(&ONE.parts(), &other.parts()), [part]);
        }
        assert_eq!(changed(&ONE.parts(), &ONE.parts()), []);
    }

    #[test]
    fn no_part_tells_its_content() {
        let secret = Inputs { database: Some("digest-of-a-password"), ..ONE };
        assert!(!secret.parts().contains("digest-of-a-password") && !secret.parts().contains("kid"));
    }
}

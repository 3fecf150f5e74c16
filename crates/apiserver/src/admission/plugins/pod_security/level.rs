//! What the labels of a namespace ask of its pods: a level and a version for each of enforce, audit and warn. Pure.

use std::fmt;

use serde_json::{Value, json};

use crate::field::FieldError;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// How strict: each level refuses what those before it refuse, and more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

/// The Kubernetes release whose checks are meant: `v1.N`, or whatever is newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    Minor(u32),
    Latest,
}

/// What one mode asks: `restricted:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standard {
    pub(crate) level: Level,
    pub(crate) version: Version,
}

/// The standards of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Policy {
    /// Pods that do not meet it are refused.
    pub(crate) enforce: Standard,
    /// Pods and workloads that do not meet it are noted.
    pub(crate) audit: Standard,
    /// Who makes pods and workloads that do not meet it is warned.
    pub(crate) warn: Standard,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Latest => write!(f, "{level}:latest"),
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Self::Privileged),
            "baseline" => Some(Self::Baseline),
            "restricted" => Some(Self::Restricted),
            _ => None,
        }
    }
}

impl Version {
    /// `latest` or `v1.N`, without leading zeros.
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self::Latest);
        }
        let minor = text.strip_prefix("v1.")?;
        let digits = !minor.is_empty() && minor.bytes().all(|b| b.is_ascii_digit());
        let plain = digits && (minor == "0" || !minor.starts_with('0'));
        if plain { minor.parse().ok().map(Self::Minor) } else { None }
    }
}

impl Policy {
    /// The policy that labels ask for, and what is wrong with them. A bad label never loosens `enforce`; it switches audit and
    /// warn off. Where only `enforce` is given, it warns too.
    pub(crate) fn of(labels: &Value) -> (Self, Vec<FieldError>) {
        let lowest = Standard { level: Level::Privileged, version: Version::Latest };
        let mut policy = Self { enforce: lowest, audit: lowest, warn: lowest };
        let mut errors = Vec::new();
        let modes = [
            ("enforce", Level::Restricted, &mut policy.enforce),
            ("audit", Level::Privileged, &mut policy.audit),
            ("warn", Level::Privileged, &mut policy.warn),
        ];
        for (mode, when_bad, standard) in modes {
            let label = format!("{PREFIX}{mode}");
            if let Some(text) = labels.get(&label).and_then(Value::as_str) {
                standard.level = Level::parse(text).unwrap_or_else(|| {
                    errors.push(wrong(&label, text, "must be one of privileged, baseline, restricted"));
                    when_bad
                });
            }
            let label = format!("{PREFIX}{mode}-version");
            if let Some(text) = labels.get(&label).and_then(Value::as_str) {
                standard.version = Version::parse(text).unwrap_or_else(|| {
                    errors.push(wrong(&label, text, "must be \"latest\" or \"v1.x\""));
                    Version::Latest
                });
            }
        }
        let label = |mode: &str| labels.get(format!("{PREFIX}{mode}")).and_then(Value::as_str);
        let enforced = label("enforce").is_some_and(|text| Level::parse(text).is_some());
        if enforced && label("warn").is_none() && policy.enforce.level > policy.warn.level {
            policy.warn.level = policy.enforce.level;
            if label("warn-version").is_none() {
                policy.warn.version = policy.enforce.version;
            }
        }
        (policy, errors)
    }
}

fn wrong(label: &str, text: &str, detail: &str) -> FieldError {
    FieldError::invalid(format!("metadata.labels[{label}]"), &json!(text), detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(labels: &[(&str, &str)]) -> (Policy, Vec<FieldError>) {
        let labels = labels.iter().map(|(mode, text)| (format!("{PREFIX}{mode}"), json!(text))).collect();
        Policy::of(&Value::Object(labels))
    }

    #[test]
    fn a_namespace_without_labels_is_privileged() {
        let (policy, errors) = policy(&[]);
        assert_eq!((policy.enforce.to_string().as_str(), errors.len()), ("privileged:latest", 0));
    }

    #[test]
    fn enforce_alone_also_warns() {
        let (policy, _) = policy(&[("enforce", "baseline"), ("enforce-version", "v1.20")]);
        assert_eq!((policy.warn.to_string().as_str(), policy.audit.level), ("baseline:v1.20", Level::Privileged));
    }

    #[test]
    fn a_version_to_warn_by_stands() {
        let (policy, _) = policy(&[("enforce", "baseline"), ("enforce-version", "v1.20"), ("warn-version", "v1.30")]);
        assert_eq!(policy.warn.to_string(), "baseline:v1.30");
    }

    #[test]
    fn a_warn_label_stands_for_itself() {
        assert_eq!(policy(&[("enforce", "restricted"), ("warn", "baseline")]).0.warn.level, Level::Baseline);
    }

    #[test]
    fn a_bad_level_enforces_the_strictest_and_warns_of_nothing() {
        let (policy, errors) = policy(&[("enforce", "x"), ("warn", "y")]);
        assert_eq!((policy.enforce.level, policy.warn.level, errors.len()), (Level::Restricted, Level::Privileged, 2));
    }

    #[test]
    fn versions_are_latest_or_plain_minors_of_one() {
        let texts = ["latest", "v1.0", "v1.36", "v1.01", "1.2", "v2.0", "v1.", "v1.99999999999", ""];
        let right = texts.map(|text| Version::parse(text).is_some());
        assert_eq!(right, [true, true, true, false, false, false, false, false, false]);
    }

    #[test]
    fn errors_come_mode_by_mode_level_before_version() {
        let (_, errors) = policy(&[("warn", "x"), ("enforce-version", "y"), ("enforce", "z")]);
        let fields: Vec<_> = errors.iter().map(|e| e.field.rsplit('/').next().unwrap_or_default()).collect();
        assert_eq!(fields, ["enforce]", "enforce-version]", "warn]"]);
    }
}

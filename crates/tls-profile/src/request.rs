//! What somebody asked for: a profile by name or in full, as `spec.tlsSecurityProfile` of OpenShift's `APIServer` and our own
//! `ServingPolicy` write it.

use serde_json::Value;

use crate::profile::{shortened, wrong};
use crate::{Generation, Invalid, Named, Profile};

/// A profile that was asked for. What a name means follows the platform's release, so the name is what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// By name.
    Named(Named),
    /// In full.
    Custom(Profile),
}

impl Default for Request {
    fn default() -> Self {
        Self::Named(Named::default())
    }
}

impl Request {
    /// Reads `spec.tlsSecurityProfile`; `null`, `{}` and an empty `type` mean Intermediate. The members `old`, `intermediate` and
    /// `modern` say nothing.
    ///
    /// # Errors
    /// What is wrong. A wrong profile never means a wider one.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let members = match value {
            Value::Null => return Ok(Self::default()),
            Value::Object(members) => members,
            other => return Err(wrong("tlsSecurityProfile", "an object", other)),
        };
        let kind = match members.get("type") {
            None | Some(Value::Null) => "",
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(wrong("type", "a text", other)),
        };
        match kind {
            "" => Ok(Self::default()),
            "Custom" => match members.get("custom") {
                None | Some(Value::Null) => Err(Invalid::NoCustom),
                Some(Value::Object(custom)) => Profile::from_members(custom).map(Self::Custom),
                Some(other) => Err(wrong("custom", "an object", other)),
            },
            name => Named::ALL
                .into_iter()
                .find(|named| named.name() == name)
                .map(Self::Named)
                .ok_or_else(|| Invalid::UnknownType(shortened(name))),
        }
    }

    /// `Old`, `Intermediate`, `Modern` or `Custom`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Named(named) => named.name(),
            Self::Custom(_) => "Custom",
        }
    }

    /// The profile that is meant.
    pub fn profile(&self, generation: Generation) -> Profile {
        match self {
            Self::Named(named) => named.profile(generation),
            Self::Custom(profile) => profile.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Version;

    #[test]
    fn tls_f07_tls_d05_nothing_said_means_intermediate() {
        for value in [json!(null), json!({}), json!({"type": ""}), json!({"type": null}), json!({"old": {}})] {
            assert_eq!(Request::parse(&value), Ok(Request::Named(Named::Intermediate)), "{value}");
        }
    }

    #[test]
    fn a_name_needs_no_body() {
        assert_eq!(Request::parse(&json!({"type": "Modern"})), Ok(Request::Named(Named::Modern)));
    }

    #[test]
    fn a_custom_profile_is_taken_as_it_is() {
        let value = json!({"type": "Custom", "custom": {"ciphers": ["b", "a"], "minTLSVersion": "VersionTLS11"}});
        let profile = Profile {
            ciphers: Some(vec!["b".to_owned(), "a".to_owned()]),
            min_version: Some(Version::Tls11),
            groups: None,
        };
        assert_eq!(Request::parse(&value), Ok(Request::Custom(profile)));
    }

    #[test]
    fn tls_f09_what_is_wrong_is_refused() {
        let refused = |value: Value| Request::parse(&value).unwrap_err();
        assert_eq!(refused(json!({"type": "custom"})), Invalid::UnknownType("custom".to_owned()));
        assert_eq!(refused(json!({"type": "Custom"})), Invalid::NoCustom);
        assert_eq!(refused(json!("Modern")).to_string(), "tlsSecurityProfile is a text, where an object is expected");
        assert_eq!(refused(json!({"type": 1})).to_string(), "type is a number, where a text is expected");
    }
}

//! Which namespaces gateways may be in and may serve, by the operator's choice, and how they stand. Reads the API server,
//! by the engine.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Namespace;
use paddock_reconcile::{Context, Error, Kind};
use serde_json::Value;

use super::intent::Rules;
use super::network::is_label;
use super::resource::Served;

/// The namespaces that may hold gateways: those with all of these labels. The default has none, so that every namespace may.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces(Vec<(String, Option<String>)>);

/// The text is not a selector of namespaces.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a label LABEL=VALUE nor the name of one")]
pub struct NamespacesError(String);

impl FromStr for Namespaces {
    type Err = NamespacesError;

    /// Reads `LABEL=VALUE,LABEL,…`: a label with that value, or with any.
    fn from_str(text: &str) -> Result<Self, NamespacesError> {
        let read = |part: &str| {
            let (key, value) =
                part.trim().split_once('=').map_or((part.trim(), None), |(key, value)| (key, Some(value)));
            let valid = is_label(key, value.unwrap_or_default());
            if valid { Ok((key.to_owned(), value.map(str::to_owned))) } else { Err(NamespacesError(part.to_owned())) }
        };
        text.split(',').map(read).collect::<Result<_, _>>().map(Self)
    }
}

impl Namespaces {
    /// Whether a gateway may be in this namespace.
    pub(super) fn selects(&self, namespace: &Value) -> bool {
        let labels = &namespace["metadata"]["labels"];
        self.0.iter().all(|(key, wanted)| match (labels[key].as_str(), wanted) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(value), Some(wanted)) => value == wanted,
        })
    }
}

/// Where a gateway's namespace stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Missing,
    Terminating,
    /// The operator's selector does not choose it.
    NotSelected,
    There,
}

impl Home {
    /// Why nothing can be done there: a reason in CamelCase and a sentence; `None` when something can.
    pub(super) fn obstacle(self, namespace: &str) -> Option<(&'static str, String)> {
        match self {
            Self::Missing => Some(("NamespaceMissing", format!("namespace {namespace} does not exist"))),
            Self::Terminating => Some(("NamespaceTerminating", format!("namespace {namespace} is terminating"))),
            Self::NotSelected => {
                let message = format!(
                    "namespace {namespace} does not have the labels of --gateways-namespaces; what runs there is left alone"
                );
                Some(("NamespaceNotSelected", message))
            }
            Self::There => None,
        }
    }
}

pub(super) fn home(namespace: Option<&Value>, rules: &Rules) -> Home {
    match namespace {
        None => Home::Missing,
        Some(namespace) if paddock_reconcile::object::is_terminating(namespace) => Home::Terminating,
        Some(namespace) if !rules.namespaces.selects(namespace) => Home::NotSelected,
        Some(_) => Home::There,
    }
}

/// How every namespace that exists stands, by its name: for those who look at all tenants.
pub(super) async fn homes(cx: &Context, rules: &Rules) -> Result<HashMap<String, Home>, Error> {
    let all = cx.list(&Kind::of::<Namespace>(), None, &[]).await?;
    let stands = |namespace: &Arc<Value>| {
        Some((namespace["metadata"]["name"].as_str()?.to_owned(), home(Some(namespace), rules)))
    };
    Ok(all.iter().filter_map(stands).collect())
}

/// The namespaces that are served, sorted: what the gateway selects among those that may be touched.
pub(super) fn served_names(served: &Served, rules: &Rules, all: &[Arc<Value>]) -> Vec<String> {
    let mut names: Vec<String> = all
        .iter()
        .filter(|namespace| served.selects(namespace) && home(Some(namespace), rules) == Home::There)
        .filter_map(|namespace| namespace["metadata"]["name"].as_str())
        .filter(|name| name.parse().is_ok_and(|name| rules.reserved.check(&name).is_ok()))
        .map(str::to_owned)
        .collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_selected_by_all_their_labels() {
        let namespace = serde_json::json!({ "metadata": { "labels": { "agents": "yes", "team": "" } } });
        for (text, selected) in [
            ("agents", true),
            ("agents=yes", true),
            ("agents=yes, team=", true),
            ("agents=no", false),
            ("agents=yes,other", false),
        ] {
            assert_eq!(text.parse::<Namespaces>().unwrap().selects(&namespace), selected, "{text}");
        }
        assert!(Namespaces::default().selects(&Value::Null));
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["", "a=b=c", "a,,b", "-a", "a in (b)", "a/b/c"] {
            assert!(text.parse::<Namespaces>().is_err(), "{text}");
        }
    }
}

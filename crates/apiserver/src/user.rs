//! Who asks: a name, groups, and what the authenticator knew besides. Pure.

use std::collections::BTreeMap;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// User name: a certificate's common name, `system:serviceaccount:NAMESPACE:NAME` of a service account.
    pub name: String,
    /// Unique id of a service account; empty for certificates.
    pub uid: String,
    /// Groups: a certificate's organisations, a service account's groups, and `system:authenticated`.
    pub groups: Vec<String>,
    /// What else the credentials say, e.g. `authentication.kubernetes.io/pod-name`.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Members may do everything: no rule is asked.
pub(crate) const MASTERS: &str = "system:masters";
/// Everyone whose credentials were accepted.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// Everyone else.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

impl User {
    /// Someone known, in these groups and `system:authenticated`.
    pub fn new(name: impl Into<String>, groups: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut groups: Vec<String> = groups.into_iter().map(Into::into).collect();
        if !groups.iter().any(|group| group == AUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// Who gives no credentials.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec![UNAUTHENTICATED.to_owned()], ..Self::default() }
    }

    /// The administrator that kubeconfigs of this server name.
    pub fn admin() -> Self {
        Self::new("admin", [MASTERS])
    }

    /// A service account, as its tokens name it.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups = ["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        Self::new(format!("system:serviceaccount:{namespace}:{name}"), groups)
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

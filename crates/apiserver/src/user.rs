//! Who asks: a name, groups, and what the authenticator knew besides. Pure.

use std::collections::BTreeMap;

use http::HeaderMap;

use crate::status::Status;

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

    /// Whom the request is made as: the user that impersonation headers name, else the caller. Whoever is known may
    /// impersonate, as they may do everything
    /// (<https://kubernetes.io/docs/reference/access-authn-authz/authentication/#user-impersonation>).
    pub(crate) fn acting(self, headers: &HeaderMap) -> Result<Self, Status> {
        let text = |name: &str| headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned);
        let groups: Vec<String> = text("impersonate-group").collect();
        let Some(name) = text("impersonate-user").next().filter(|name| !name.is_empty()) else {
            return if groups.is_empty() {
                Ok(self)
            } else {
                Err(Status::bad_request("groups are impersonated without a user"))
            };
        };
        if self.is_anonymous() {
            return Err(Status::unauthorized());
        }
        if name == "system:anonymous" {
            return Ok(Self::anonymous());
        }
        Ok(Self::new(name, groups))
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        self.is_in(UNAUTHENTICATED)
    }

    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(k, v)| (http::HeaderName::from_static(k), http::HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn an_impersonated_user_has_none_of_the_callers_groups() {
        let user =
            User::admin().acting(&headers(&[("impersonate-user", "alice"), ("impersonate-group", "dev")])).unwrap();
        assert_eq!(user, User::new("alice", ["dev"]));
    }

    #[test]
    fn who_is_not_known_impersonates_nobody() {
        let answer = User::anonymous().acting(&headers(&[("impersonate-user", "alice")]));
        assert_eq!(answer.map_err(|status| status.code), Err(401));
    }
}

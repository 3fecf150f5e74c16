//! Asks the API server who somebody is and what they may do. Touches the Kubernetes API.

use std::collections::BTreeMap;
use std::fmt;

use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{NonResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Client;
use kube::api::{Api, PostParams};

/// Who a token belongs to, as the API server says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// The name, such as `system:serviceaccount:monitoring:prometheus`.
    pub name: String,
    /// The uid, where there is one.
    pub uid: Option<String>,
    /// The groups.
    pub groups: Vec<String>,
    /// What else is known, by key.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// There is no answer, so nobody is let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreviewed {
    /// The API server is away, overloaded or answers nonsense: asking again may help.
    #[error("the review could not be made: {0}")]
    Away(String),
    /// The API server does not let this process ask: asking again at once would get the same answer.
    #[error("the API server refuses to review: {0}")]
    Refused(String),
}

/// Whoever reviews tokens and access.
pub trait Reviewer: Send + Sync + 'static {
    /// Who a token belongs to; `None` when it is not good.
    fn token(&self, token: String) -> BoxFuture<'static, Result<Option<User>, Unreviewed>>;

    /// Whether that user may do this to a path that is no resource. `verb` is in lower case.
    fn access(&self, user: User, path: String, verb: String) -> BoxFuture<'static, Result<bool, Unreviewed>>;
}

/// Reviews by TokenReview and SubjectAccessReview. Needs `create` on both.
#[derive(Clone)]
pub struct KubeReviewer(Client);

impl fmt::Debug for KubeReviewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeReviewer").finish_non_exhaustive()
    }
}

impl KubeReviewer {
    /// Asks through this client.
    pub fn new(client: Client) -> Self {
        Self(client)
    }
}

impl Reviewer for KubeReviewer {
    fn token(&self, token: String) -> BoxFuture<'static, Result<Option<User>, Unreviewed>> {
        let api: Api<TokenReview> = Api::all(self.0.clone());
        Box::pin(async move {
            let spec = TokenReviewSpec { token, audiences: None };
            let review = TokenReview { spec, ..TokenReview::default() };
            let answer = api.create(&PostParams::default(), &review).await.map_err(unreviewed)?;
            let status = answer.status.ok_or_else(|| Unreviewed::Away("a TokenReview without a status".to_owned()))?;
            if status.authenticated != Some(true) {
                return Ok(None);
            }
            let user = status.user.unwrap_or_default();
            Ok(user.username.filter(|name| !name.is_empty()).map(|name| User {
                name,
                uid: user.uid,
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            }))
        })
    }

    fn access(&self, user: User, path: String, verb: String) -> BoxFuture<'static, Result<bool, Unreviewed>> {
        let api: Api<SubjectAccessReview> = Api::all(self.0.clone());
        Box::pin(async move {
            let what = NonResourceAttributes { path: Some(path), verb: Some(verb) };
            let spec = SubjectAccessReviewSpec {
                user: Some(user.name),
                uid: user.uid,
                groups: Some(user.groups),
                extra: Some(user.extra),
                non_resource_attributes: Some(what),
                ..SubjectAccessReviewSpec::default()
            };
            let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
            let answer = api.create(&PostParams::default(), &review).await.map_err(unreviewed)?;
            let status =
                answer.status.ok_or_else(|| Unreviewed::Away("a SubjectAccessReview without a status".to_owned()))?;
            Ok(status.allowed && status.denied != Some(true))
        })
    }
}

/// What [`KubeReviewer`] needs to be allowed: to ask, nothing else.
pub fn rules() -> Vec<PolicyRule> {
    let rule = |group: &str, resource: &str| PolicyRule {
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(vec![resource.to_owned()]),
        verbs: vec!["create".to_owned()],
        ..PolicyRule::default()
    };
    vec![rule("authentication.k8s.io", "tokenreviews"), rule("authorization.k8s.io", "subjectaccessreviews")]
}

/// The error without what it may quote of the request.
fn unreviewed(error: kube::Error) -> Unreviewed {
    match error {
        kube::Error::Api(status) => {
            let told = format!("it answers {} {}", status.code, status.reason);
            // What a client does wrong it does wrong again; a timeout and "too many requests" are about the moment.
            if (400..500).contains(&status.code) && !matches!(status.code, 408 | 429) {
                Unreviewed::Refused(told)
            } else {
                Unreviewed::Away(told)
            }
        }
        kube::Error::SerdeError(_) => {
            Unreviewed::Away("the API server answers something else than a review".to_owned())
        }
        other => Unreviewed::Away(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn tls_f28_a_refusal_is_told_from_an_outage_by_its_code() {
        let refused = |code: u16| {
            let status = Status { code, ..Status::default() };
            matches!(unreviewed(kube::Error::Api(status.boxed())), Unreviewed::Refused(_))
        };
        assert_eq!([401, 403, 404, 422].map(refused), [true; 4]);
        assert_eq!([408, 429, 500, 503, 504].map(refused), [false; 5]);
    }
}

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

/// The API server gave no answer: it is away, refuses to review, or answers nonsense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the review could not be made: {0}")]
pub struct Unreviewed(pub String);

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
            let status = answer.status.ok_or_else(|| Unreviewed("a TokenReview without a status".to_owned()))?;
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
                answer.status.ok_or_else(|| Unreviewed("a SubjectAccessReview without a status".to_owned()))?;
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
    Unreviewed(match error {
        kube::Error::Api(status) => format!("the API server answers {} {}", status.code, status.reason),
        kube::Error::SerdeError(_) => "the API server answers something else than a review".to_owned(),
        other => other.to_string(),
    })
}

//! May I, and may they: answered by what this server does, which until it has authorisation is: who is authenticated may do
//! everything.

use serde_json::{Value, json};

use super::super::{Call, meta};
use crate::status::Status;

impl Call<'_> {
    /// Answers a review of the group `authorization.k8s.io` in place.
    pub(super) fn access_review(&self, review: &mut Value) -> Result<(), Status> {
        review["status"] = match &*self.resource.kind {
            "SelfSubjectRulesReview" => json!({
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": false,
            }),
            "SelfSubjectAccessReview" => allowed(true),
            _ => {
                let groups = review.pointer("/spec/groups").and_then(Value::as_array);
                let unknown = groups.is_some_and(|groups| groups.iter().any(|g| g == "system:unauthenticated"));
                allowed(!unknown)
            }
        };
        meta::metadata(review);
        Ok(())
    }
}

fn allowed(yes: bool) -> Value {
    let reason =
        if yes { "every authenticated user may do everything here" } else { "who is not authenticated may do nothing" };
    json!({"allowed": yes, "reason": reason})
}

//! Reviews: questions that are asked by POST and stored nowhere. They are answered by what this server does, which until it
//! has authorisation is: who is authenticated may do everything.

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use crate::api::Answer;
use crate::status::Status;

impl Call<'_> {
    /// Whether the resource is a question.
    pub(super) fn is_review(&self) -> bool {
        matches!(&*self.resource.group, "authentication.k8s.io" | "authorization.k8s.io") && !self.resource.custom
    }

    pub(super) fn review(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let mut review = self.decode_body(body, options.validation)?;
        let status = match &*self.resource.kind {
            "SelfSubjectReview" => json!({"userInfo": {"username": self.user.name, "groups": self.user.groups}}),
            // No token is issued here, so none is valid.
            "TokenReview" => json!({"user": {}, "error": "this server issues no tokens"}),
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
        review["status"] = status;
        super::meta::metadata(&mut review);
        self.answer_object(201, &review)
    }
}

fn allowed(yes: bool) -> Value {
    let reason =
        if yes { "every authenticated user may do everything here" } else { "who is not authenticated may do nothing" };
    json!({"allowed": yes, "reason": reason})
}

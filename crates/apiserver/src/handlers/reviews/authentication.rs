//! Who am I, and whose is this token.

use serde_json::{Value, json};

use super::super::{Call, meta};
use crate::status::Status;

impl Call<'_> {
    /// Answers a review of the group `authentication.k8s.io` in place.
    pub(super) fn authentication_review(&self, review: &mut Value) -> Result<(), Status> {
        review["status"] = match &*self.resource.kind {
            "SelfSubjectReview" => json!({"userInfo": {"username": self.user.name, "groups": self.user.groups}}),
            // No token is issued here, so none is valid.
            _ => json!({"user": {}, "error": "this server issues no tokens"}),
        };
        meta::metadata(review);
        Ok(())
    }
}

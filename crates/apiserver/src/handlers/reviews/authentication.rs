//! Who am I, and whose is this token.

use serde_json::{Map, Value, json};

use super::super::{Call, meta};
use crate::clock::rfc3339_seconds;
use crate::status::Status;
use crate::user::User;

impl Call<'_> {
    /// Answers a review of the group `authentication.k8s.io` in place.
    pub(super) fn authentication_review(&mut self, review: &mut Value) -> Result<(), Status> {
        if &*self.resource.kind == "SelfSubjectReview" {
            review["metadata"] = json!({"creationTimestamp": rfc3339_seconds(self.now)});
            review["status"] = json!({"userInfo": user_info(self.user)});
            return Ok(());
        }
        let token = review.pointer("/spec/token").and_then(Value::as_str).unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        // A token is one word: it travels in a header.
        let token = token.split(' ').next().unwrap_or_default();
        let audiences = review.pointer("/spec/audiences").and_then(Value::as_array);
        let audiences: Vec<String> =
            audiences.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let status = match self.api.authenticate_token(token, &audiences) {
            Ok(holder) => {
                self.warnings.extend(holder.warning.map(str::to_owned));
                json!({"authenticated": true, "user": user_info(&holder.user), "audiences": holder.audiences})
            }
            Err(refused) => json!({"user": {}, "error": refused.message()}),
        };
        review["status"] = status;
        meta::metadata(review);
        Ok(())
    }
}

/// `authentication.k8s.io` UserInfo: what is empty is left out.
pub(crate) fn user_info(user: &User) -> Value {
    let mut info = Map::new();
    for (key, text) in [("username", &user.name), ("uid", &user.uid)] {
        if !text.is_empty() {
            info.insert(key.to_owned(), text.as_str().into());
        }
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), user.groups.as_slice().into());
    }
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    Value::Object(info)
}

//! Reviews: questions that are asked by POST and stored nowhere.

mod access;
mod authentication;

use bytes::Bytes;

use super::Call;
use crate::api::Answer;
use crate::status::Status;

impl Call<'_> {
    /// Whether the resource is a question.
    pub(super) fn is_review(&self) -> bool {
        matches!(&*self.resource.group, "authentication.k8s.io" | "authorization.k8s.io") && !self.resource.custom
    }

    pub(super) async fn review(&mut self, body: &Bytes) -> Result<Answer, Status> {
        let options = self.write_options("CreateOptions")?;
        let mut review = self.decode_body(body, options.validation).await?;
        self.admit_new(&mut review, &options).await?;
        match &*self.resource.group {
            "authentication.k8s.io" => self.authentication_review(&mut review)?,
            _ => self.access_review(&mut review)?,
        }
        self.answer_object(201, &review)
    }
}

//! Request bodies: media type → format, bytes → object of the resource, and what unknown fields lead to.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Call;
use crate::protobuf;
use crate::resource::Resource;
use crate::schema;
use crate::schema::body::{self, Format};
use crate::schema::decode::{self, FieldValidation};
use crate::status::Status;

/// YAML of a kind of its own (a Scale to apply): read, not checked.
pub(super) async fn untyped_yaml(bytes: &Bytes) -> Result<Value, Status> {
    body::parse_yaml(bytes).await.map(|b| b.value).map_err(Status::bad_request)
}

impl Call<'_> {
    /// The body as text, in the format that the Content-Type names; 415 for others. kubectl sends protobuf.
    fn text<'b>(&self, bytes: &'b Bytes) -> Result<(Cow<'b, [u8]>, Format), Status> {
        let media = self.headers.get(http::header::CONTENT_TYPE).map_or("", |v| v.to_str().unwrap_or("unreadable"));
        match media.split(';').next().unwrap_or_default().trim() {
            "" | "application/json" => Ok((Cow::Borrowed(bytes), Format::Json)),
            "application/yaml" => Ok((Cow::Borrowed(bytes), Format::Yaml)),
            protobuf::MEDIA_TYPE => match protobuf::decode(bytes) {
                Ok(value) => Ok((Cow::Owned(value.to_string().into_bytes()), Format::Json)),
                Err(error @ protobuf::Error::Kind(_)) => Err(Status::unsupported_media_type(error.to_string())),
                Err(error) => Err(Status::bad_request(error.to_string())),
            },
            _ => Err(Status::unsupported_media_type(
                "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf",
            )),
        }
    }

    /// A body of a kind of its own (options, a Scale, a Binding): read, not checked.
    pub(super) async fn untyped(&self, bytes: &Bytes) -> Result<Value, Status> {
        match self.text(bytes)? {
            (_, Format::Yaml) => untyped_yaml(bytes).await,
            (text, Format::Json) => body::parse(&text, Format::Json).map(|b| b.value).map_err(Status::bad_request),
        }
    }

    /// Decodes a body into this resource's kind.
    pub(super) async fn decode_body(&mut self, bytes: &Bytes, validation: FieldValidation) -> Result<Value, Status> {
        self.decode_as(&self.resource.clone(), bytes, validation).await
    }

    /// Decodes a body into the kind that goes over the wire at the path's subresource.
    pub(super) async fn decode_subresource(
        &mut self,
        bytes: &Bytes,
        validation: FieldValidation,
    ) -> Result<Value, Status> {
        let mut resource = (*self.resource).clone();
        let subresource = resource.subresource(&self.path.subresource).ok_or_else(Status::no_such_resource)?;
        if let Some((group, version, kind)) = subresource.kind {
            (resource.definitions, resource.schema) = schema::builtin(group, version, kind);
            (resource.group, resource.version, resource.kind) = (group.into(), version.into(), kind.into());
        }
        self.decode_as(&resource, bytes, validation).await
    }

    async fn decode_as(
        &mut self,
        resource: &Resource,
        bytes: &Bytes,
        validation: FieldValidation,
    ) -> Result<Value, Status> {
        let (text, format) = self.text(bytes)?;
        let read = match format {
            Format::Yaml => body::parse_yaml(bytes).await,
            Format::Json => body::parse(&text, Format::Json),
        };
        let (mut object, warnings) = decode::read(read, &text, format, resource, validation)?;
        expect_type(resource, &mut object)?;
        self.warnings.extend(warnings);
        self.raw = match (self.resource.strategy.raw_field(), format) {
            (Some(field), Format::Json) => body::member(&text, field).map(<[u8]>::to_vec),
            _ => None,
        };
        Ok(object)
    }
}

/// Kind and version may be left out; when they are there they are the path's.
fn expect_type(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let sent = |field: &str| object[field].as_str().unwrap_or_default();
    let (sent_version, sent_kind) = (sent("apiVersion"), sent("kind"));
    if !sent_version.is_empty() && !resource.is_version(sent_version) {
        return Err(Status::bad_request(format!(
            "the API version in the data ({sent_version}) does not match the expected API version ({})",
            resource.api_version()
        )));
    }
    let kind = &*resource.kind;
    if !sent_kind.is_empty() && sent_kind != kind {
        return Err(Status::bad_request(format!(
            "{sent_kind} in version {:?} cannot be handled as a {kind}: the kinds do not match",
            &*resource.version
        )));
    }
    if sent_version.is_empty() {
        object["apiVersion"] = resource.api_version().into();
    }
    if object["kind"].as_str() != Some(kind) {
        object["kind"] = kind.into();
    }
    if !object["metadata"].is_object() {
        object["metadata"] = json!({});
    }
    Ok(())
}

/// Unknown paths as strict decoding words them.
pub(super) fn unknown_fields(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("unknown field {path:?}")).collect()
}

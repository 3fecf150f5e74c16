//! May I, and may they: what authorisation says of a question, with its reason.

use serde_json::{Map, Value, json};

use super::super::{Call, meta};
use crate::authz::{Attributes, Decision};
use crate::field::{FieldError, Kind};
use crate::kinds::At;
use crate::kinds::checks::{label_requirement, shown};
use crate::selector::{FieldSelector, LabelSelector};
use crate::status::Status;
use crate::user::User;

const RESOURCE: &str = "/spec/resourceAttributes";
const PATH: &str = "/spec/nonResourceAttributes";

impl Call<'_> {
    /// Answers a review of the group `authorization.k8s.io` in place.
    pub(super) fn access_review(&self, review: &mut Value) -> Result<(), Status> {
        let kind = &*self.resource.kind;
        meta::metadata(review);
        if kind == "SelfSubjectRulesReview" {
            return self.rules_review(review);
        }
        self.settle_namespace(review)?;
        let errors = validate(kind, review);
        if !errors.is_empty() {
            // The object has no kind by then, and kube-apiserver names none.
            return Err(Status::invalid(&self.resource.group, "", "", &errors));
        }
        let asked = if review.has(RESOURCE) {
            let text = |field: &str| review.str_at(&format!("{RESOURCE}/{field}"));
            Attributes::Resource {
                verb: text("verb"),
                group: text("group"),
                version: text("version"),
                resource: text("resource"),
                subresource: text("subresource"),
                namespace: text("namespace"),
                name: text("name"),
            }
        } else {
            let text = |field: &str| review.str_at(&format!("{PATH}/{field}"));
            Attributes::Path { verb: text("verb"), path: text("path") }
        };
        let decision = match kind {
            "SelfSubjectAccessReview" => self.api.authorize(self.user, &asked),
            _ => self.api.authorize(&subject(review), &asked),
        };
        let (allowed, reason) = match decision {
            Decision::Allow(reason) => (true, reason),
            Decision::NoOpinion(reason) => (false, reason),
        };
        let mut status = Map::from_iter([("allowed".to_owned(), allowed.into())]);
        for (field, text) in [("reason", reason), ("evaluationError", unread_selectors(review))] {
            if !text.is_empty() {
                status.insert(field.to_owned(), text.into());
            }
        }
        review["status"] = status.into();
        Ok(())
    }

    /// What one may do in a namespace. Each role is listed once, however often it is bound.
    fn rules_review(&self, review: &mut Value) -> Result<(), Status> {
        let namespace = review.str_at("/spec/namespace");
        if namespace.is_empty() {
            return Err(Status::bad_request("no namespace on request"));
        }
        let found = self.api.authorizer.rules_of(&self.api.store, self.user, namespace);
        let (mut resources, mut paths) = (Vec::new(), Vec::new());
        for rule in found.iter() {
            if !rule.resources.is_empty() {
                let mut info = Map::from_iter([("verbs".to_owned(), json!(rule.verbs))]);
                let lists = [
                    ("apiGroups", &rule.api_groups),
                    ("resources", &rule.resources),
                    ("resourceNames", &rule.resource_names),
                ];
                for (field, list) in lists.into_iter().filter(|(_, list)| !list.is_empty()) {
                    info.insert(field.to_owned(), json!(list));
                }
                resources.push(Value::Object(info));
            }
            if !rule.non_resource_urls.is_empty() {
                paths.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.non_resource_urls}));
            }
        }
        let mut status =
            json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": !found.error.is_empty()});
        if !found.error.is_empty() {
            status["evaluationError"] = found.error.into();
        }
        // The answer is a new object: neither metadata nor the question come back.
        review["metadata"] = json!({});
        review["spec"] = json!({});
        review["status"] = status;
        Ok(())
    }
}

/// Whom a review asks about.
fn subject(review: &Value) -> User {
    let strings = |list: &[Value]| list.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let extra = review.map_at("/spec/extra").into_iter().flatten();
    User {
        name: review.str_at("/spec/user").to_owned(),
        uid: review.str_at("/spec/uid").to_owned(),
        groups: strings(review.list_at("/spec/groups")),
        extra: extra.map(|(key, values)| (key.clone(), strings(values.list_at("")))).collect(),
    }
}

/// `pkg/apis/authorization/validation`.
fn validate(kind: &str, review: &Value) -> Vec<FieldError> {
    let (resource, path) = (review.has(RESOURCE), review.has(PATH));
    // As Go shows the internal struct.
    let shown_path = || {
        let text = |field: &str| review.str_at(&format!("{PATH}/{field}")).to_owned();
        json!({"Path": text("path"), "Verb": text("verb")}).to_string()
    };
    let invalid_path = |detail: &str| shown(Kind::Invalid, "spec.nonResourceAttributes", shown_path(), detail);
    let mut errors = Vec::new();
    if resource && path {
        errors.push(invalid_path("cannot be specified in combination with resourceAttributes"));
    }
    if !resource && !path {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(FieldError::invalid("spec.resourceAttributes", &Value::Null, detail));
    }
    let nobody = review.str_at("/spec/user").is_empty() && review.list_at("/spec/groups").is_empty();
    if kind != "SelfSubjectAccessReview" && nobody {
        errors.push(FieldError::invalid("spec.user", &json!(""), "at least one of user or group must be specified"));
    }
    errors.extend(selector(review.at(&format!("{RESOURCE}/fieldSelector")), "fieldSelector", |field, requirement| {
        field_requirement(field, requirement)
    }));
    errors.extend(selector(review.at(&format!("{RESOURCE}/labelSelector")), "labelSelector", |field, requirement| {
        label_requirement(field, requirement, true)
    }));
    let local = kind == "LocalSubjectAccessReview";
    let rest: Map<String, Value> = review
        .map_at("/metadata")
        .into_iter()
        .flatten()
        .filter(|(key, value)| !is_empty(value) && *key != "managedFields" && !(local && *key == "namespace"))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if !rest.is_empty() {
        let detail = if local { "must be empty except for namespace" } else { "must be empty" };
        errors.push(FieldError::invalid("metadata", review.at("/metadata"), detail));
    }
    if local {
        let asked = review.str_at(&format!("{RESOURCE}/namespace"));
        if resource && asked != review.str_at("/metadata/namespace") {
            let field = "spec.resourceAttributes.namespace";
            errors.push(FieldError::invalid(field, &json!(asked), "must match metadata.namespace"));
        }
        if path {
            errors.push(invalid_path("disallowed on this kind of request"));
        }
    }
    errors
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn selector(selector: &Value, name: &str, requirement: impl Fn(&str, &Value) -> Vec<FieldError>) -> Vec<FieldError> {
    if selector.is_null() {
        return Vec::new();
    }
    let field = format!("spec.resourceAttributes.{name}");
    let (raw, requirements) = (selector.str_at("/rawSelector"), selector.list_at("/requirements"));
    let mut errors = Vec::new();
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            errors.push(FieldError::invalid(format!("{field}.rawSelector"), &json!(raw), detail));
        }
        (true, true) => {
            let detail = format!("when {field} is specified, requirements or rawSelector is required");
            errors.push(FieldError::required(format!("{field}.requirements"), &detail));
        }
        _ => {}
    }
    for (index, item) in requirements.iter().enumerate() {
        errors.extend(requirement(&format!("{field}.requirements[{index}]"), item));
    }
    errors
}

/// An operator of a newer client is no error.
fn field_requirement(field: &str, requirement: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if requirement.str_at("/key").is_empty() {
        errors.push(FieldError::required(format!("{field}.key"), "must be specified"));
    }
    let none = requirement.list_at("/values").is_empty();
    match requirement.str_at("/operator") {
        "In" | "NotIn" if none => {
            let detail = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(FieldError::required(format!("{field}.values"), detail));
        }
        "Exists" | "DoesNotExist" if !none => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(FieldError::forbidden(format!("{field}.values"), detail));
        }
        _ => {}
    }
    errors
}

/// Says which selectors could not be understood; RBAC looks at none.
fn unread_selectors(review: &Value) -> String {
    let unread = ["fieldSelector", "labelSelector"].into_iter().filter_map(|name| {
        let selector = review.at(&format!("{RESOURCE}/{name}"));
        let (raw, requirements) = (selector.str_at("/rawSelector"), selector.list_at("/requirements"));
        let of_fields = name == "fieldSelector";
        let parses = if of_fields { FieldSelector::parse(raw).is_ok() } else { LabelSelector::parse(raw).is_ok() };
        let understood = requirements.iter().filter(|item| match item.str_at("/operator") {
            "In" | "NotIn" => !of_fields || item.list_at("/values").len() == 1,
            "Exists" | "DoesNotExist" => !of_fields,
            _ => false,
        });
        let how = match (parses, requirements.len(), understood.count()) {
            (true, all, understood) if understood == all => return None,
            (true, _, understood) if understood > 0 => "partially ignored",
            _ => "ignored",
        };
        Some(format!("spec.resourceAttributes.{name} {how} due to parse error"))
    });
    unread.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kind: &str, review: Value) -> Vec<String> {
        validate(kind, &review).into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    #[test]
    fn a_question_is_about_a_resource_or_a_path() {
        let both = json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/x", "verb": "get"}}});
        assert_eq!(
            [messages("SelfSubjectAccessReview", both), messages("SelfSubjectAccessReview", json!({"spec": {}}))],
            [
                [
                    r#"spec.nonResourceAttributes: Invalid value: {"Path":"/x","Verb":"get"}: cannot be specified in combination with resourceAttributes"#
                ],
                [
                    "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
                ],
            ]
        );
    }

    #[test]
    fn a_local_question_stays_in_its_namespace() {
        let review =
            json!({"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": {"namespace": "b"}}});
        assert_eq!(
            messages("LocalSubjectAccessReview", review),
            [r#"spec.resourceAttributes.namespace: Invalid value: "b": must match metadata.namespace"#]
        );
    }

    #[test]
    fn a_review_has_no_metadata() {
        let review = json!({"metadata": {"name": "a"}, "spec": {"user": "u", "resourceAttributes": {}}});
        assert_eq!(
            messages("SubjectAccessReview", review),
            [r#"metadata: Invalid value: {"name":"a"}: must be empty"#]
        );
    }

    #[test]
    fn a_selector_has_text_or_requirements() {
        let of = |selector: Value| {
            let review = json!({"spec": {"resourceAttributes": {"labelSelector": selector}}});
            messages("SelfSubjectAccessReview", review)
        };
        let requirements = json!([{"key": "a", "operator": "New"}]);
        assert_eq!(
            [of(json!({})), of(json!({"rawSelector": "a=b", "requirements": requirements}))],
            [
                [
                    "spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required"
                ],
                [
                    r#"spec.resourceAttributes.labelSelector.rawSelector: Invalid value: "a=b": may not specified at the same time as requirements"#
                ],
            ]
        );
    }

    #[test]
    fn selectors_that_are_not_understood_are_told() {
        let requirements = json!([{"key": "a", "operator": "In", "values": ["x"]}, {"key": "a", "operator": "New"}]);
        let review = json!({"spec": {"resourceAttributes": {
            "fieldSelector": {"rawSelector": "a"}, "labelSelector": {"requirements": requirements}}}});
        assert_eq!(
            unread_selectors(&review),
            "spec.resourceAttributes.fieldSelector ignored due to parse error; \
             spec.resourceAttributes.labelSelector partially ignored due to parse error"
        );
    }
}

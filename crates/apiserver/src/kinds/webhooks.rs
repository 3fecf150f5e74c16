//! Webhook configurations, admission policies, and other kinds of the control plane itself.

use serde_json::{Value, json};

use super::at::At;
use super::checks::{Errors, named, one_of};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::crd::definition;
use crate::field::FieldError;

pub(super) const WEBHOOKS: Rules = Rules {
    generation: true,
    default: |obj| {
        for webhook in obj.list_mut_at("/webhooks") {
            for (field, value) in [
                ("failurePolicy", json!("Fail")),
                ("matchPolicy", json!("Equivalent")),
                ("namespaceSelector", json!({})),
                ("objectSelector", json!({})),
                ("timeoutSeconds", json!(10)),
            ] {
                webhook.default_at(&format!("/{field}"), value);
            }
            webhook.default_at("/clientConfig/service/port", 443);
            for rule in webhook.list_mut_at("/rules") {
                rule.default_at("/scope", "*");
            }
        }
    },
    validate_create: |obj, _| webhooks(obj),
    validate_update: |new, _, _, _| webhooks(new),
    columns: || tables::columns(tables::WEBHOOKS),
    cells: tables::webhooks,
    ..Rules::PLAIN
};

/// `validateWebhookConfiguration`.
fn webhooks(obj: &Value) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for (index, webhook) in obj.list_at("/webhooks").iter().enumerate() {
        let at = |field: &str| format!("webhooks[{index}].{field}");
        let name = webhook.str_at("/name");
        errors.extend(domain(&at("name"), name));
        let versions = webhook.list_at("/admissionReviewVersions");
        if versions.is_empty() {
            let detail = "must specify one of v1, v1beta1";
            errors.push(FieldError::required(at("admissionReviewVersions"), detail));
        } else if !versions.iter().any(|version| version == "v1" || version == "v1beta1") {
            let detail = "must include at least one of v1, v1beta1";
            let value = webhook.at("/admissionReviewVersions");
            errors.push(FieldError::invalid(at("admissionReviewVersions"), value, detail));
        }
        let supported = &["None", "NoneOnDryRun"];
        match webhook.str_at("/sideEffects") {
            "" => errors.push(FieldError::required(at("sideEffects"), "must specify one of None, NoneOnDryRun")),
            effects => errors.extend(one_of(&at("sideEffects"), effects, supported)),
        }
        errors.extend(one_of(&at("failurePolicy"), webhook.str_at("/failurePolicy"), &["Fail", "Ignore"]));
        errors.extend(one_of(&at("matchPolicy"), webhook.str_at("/matchPolicy"), &["Equivalent", "Exact"]));
        if let Some(seconds) = webhook.int_at("/timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(at("timeoutSeconds"), &json!(seconds), detail));
        }
        let client = webhook.at("/clientConfig");
        match (client.has("/url"), client.has("/service")) {
            (true, true) | (false, false) => {
                let detail = "exactly one of url or service is required";
                errors.push(FieldError::required(at("clientConfig"), detail));
            }
            (true, false) => {
                let scheme = client.str_at("/url").split_once("://").map_or("", |(scheme, _)| scheme);
                if scheme != "https" {
                    let detail = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
                    errors.push(FieldError::invalid(at("clientConfig.url"), &json!(scheme), detail));
                }
            }
            (false, true) => {
                for (field, text) in
                    [("name", "service name is required"), ("namespace", "service namespace is required")]
                {
                    if client.str_at(&format!("/service/{field}")).is_empty() {
                        errors.push(FieldError::required(at(&format!("clientConfig.service.{field}")), text));
                    }
                }
            }
        }
        if seen.contains(&name) {
            errors.push(FieldError::duplicate(at("name"), &json!(name)));
        }
        seen.push(name);
    }
    errors
}

/// `IsFullyQualifiedName`.
fn domain(field: &str, name: &str) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(field, "")];
    }
    let mut errors = named(field, name, names::dns_subdomain);
    if errors.is_empty() && name.split('.').count() < 3 {
        let detail = "should be a domain with at least three segments separated by dots";
        errors.push(FieldError::invalid(field, &json!(name), detail));
    }
    errors
}

pub(super) const MUTATING: Rules = Rules {
    default: |obj| {
        (WEBHOOKS.default)(obj);
        for webhook in obj.list_mut_at("/webhooks") {
            webhook.default_at("/reinvocationPolicy", "Never");
        }
    },
    ..WEBHOOKS
};

pub(super) const POLICY: Rules = Rules {
    generation: true,
    default: |obj| {
        obj.default_at("/spec/failurePolicy", "Fail");
        obj.default_at("/spec/matchConstraints/matchPolicy", "Equivalent");
        for constraints in ["/spec/matchConstraints", "/spec/matchResources"] {
            for selector in ["namespaceSelector", "objectSelector"] {
                obj.default_at(&format!("{constraints}/{selector}"), json!({}));
            }
            obj.default_at(&format!("{constraints}/matchPolicy"), "Equivalent");
            for rule in obj.list_mut_at(&format!("{constraints}/resourceRules")) {
                rule.default_at("/scope", "*");
            }
        }
    },
    ..Rules::PLAIN
};

pub(super) const POLICY_BINDING: Rules = Rules {
    default: |obj| {
        for selector in ["namespaceSelector", "objectSelector"] {
            obj.default_at(&format!("/spec/matchResources/{selector}"), json!({}));
        }
        obj.default_at("/spec/matchResources/matchPolicy", "Equivalent");
    },
    ..POLICY
};

pub(super) const API_SERVICE: Rules = Rules {
    default: |obj| {
        obj.default_at("/spec/service/port", 443);
        obj.default_at("/status", json!({}));
    },
    columns: || tables::columns(tables::API_SERVICE),
    cells: tables::api_service,
    ..Rules::PLAIN
};

pub(super) const DEFINITION: Rules = Rules {
    generation: true,
    default: definition::default,
    prepare_create: definition::prepare_create,
    prepare_update: definition::prepare_update,
    validate_create: definition::validate_create,
    validate_update: definition::validate_update,
    columns: || tables::columns(tables::DEFINITION),
    cells: tables::definition,
    ..Rules::PLAIN
};

pub(super) const SIGNING_REQUEST: Rules = Rules {
    fields: &["spec.signerName"],
    unselectable: |field| format!("field label not supported: {field}"),
    default: |obj| obj.default_at("/status", json!({})),
    ..Rules::PLAIN
};

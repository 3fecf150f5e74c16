//! Webhook configurations, and other kinds of the control plane itself.

use serde_json::{Value, json};

use super::admission_rules;
use super::at::At;
use super::checks::{Errors, named, one_of};
use super::names;
use super::rules::Rules;
use super::tables::cluster as tables;
use crate::admission::expressions::Scope;
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
    validate_create: |obj, _| webhooks(obj, None),
    validate_update: |new, old, _, _| webhooks(new, Some(old)),
    columns: || tables::columns(tables::WEBHOOKS),
    cells: tables::webhooks,
    ..Rules::PLAIN
};

/// `validateValidatingWebhookConfiguration`, `validateMutatingWebhookConfiguration`.
fn webhooks(obj: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    let lenient = |holds: fn(&Value) -> bool| old.is_some_and(|old| !old.list_at("/webhooks").iter().all(holds));
    // What an old object was let in with may stay.
    let any_effects = lenient(|w| matches!(w.str_at("/sideEffects"), "None" | "NoneOnDryRun"));
    let any_version = lenient(|w| {
        w.list_at("/admissionReviewVersions").is_empty() || w.list_at("/admissionReviewVersions").iter().any(is_known)
    });
    let same_conditions = old.is_some_and(|old| {
        let (new, old) = (obj.list_at("/webhooks"), old.list_at("/webhooks"));
        let conditions = |webhook: &Value| webhook.at("/matchConditions").clone();
        new.len() == old.len() && new.iter().zip(old).all(|(new, old)| conditions(new) == conditions(old))
    });
    for (index, webhook) in obj.list_at("/webhooks").iter().enumerate() {
        let field = format!("webhooks[{index}]");
        let at = |name: &str| format!("{field}.{name}");
        let name = webhook.str_at("/name");
        errors.extend(domain(&at("name"), name));
        for (index, rule) in webhook.list_at("/rules").iter().enumerate() {
            errors.extend(admission_rules::rule(rule, &format!("{field}.rules[{index}]")));
        }
        errors.extend(one_of(&at("failurePolicy"), webhook.str_at("/failurePolicy"), &["Fail", "Ignore"]));
        errors.extend(one_of(&at("matchPolicy"), webhook.str_at("/matchPolicy"), &["Equivalent", "Exact"]));
        let supported: &[&str] =
            if any_effects { &["None", "NoneOnDryRun", "Some", "Unknown"] } else { &["None", "NoneOnDryRun"] };
        if webhook.has("/sideEffects") {
            errors.extend(one_of(&at("sideEffects"), webhook.str_at("/sideEffects"), supported));
        } else {
            let detail = format!("must specify one of {}", supported.join(", "));
            errors.push(FieldError::required(at("sideEffects"), &detail));
        }
        if let Some(seconds) = webhook.int_at("/timeoutSeconds").filter(|seconds| !(1..=30).contains(seconds)) {
            let detail = "the timeout value must be between 1 and 30 seconds";
            errors.push(FieldError::invalid(at("timeoutSeconds"), &json!(seconds), detail));
        }
        errors.extend(admission_rules::selectors(webhook, &field));
        if webhook.has("/reinvocationPolicy") {
            let policy = webhook.str_at("/reinvocationPolicy");
            errors.extend(one_of(&at("reinvocationPolicy"), policy, &["IfNeeded", "Never"]));
        }
        errors.extend(client_config(webhook.at("/clientConfig"), &at("clientConfig")));
        if !same_conditions {
            let scope = Scope { params: false, authorizer: true, patches: false };
            let conditions = webhook.list_at("/matchConditions");
            errors.extend(admission_rules::match_conditions(conditions, scope, &at("matchConditions")));
        }
        errors.extend(review_versions(
            webhook.at("/admissionReviewVersions"),
            !any_version,
            &at("admissionReviewVersions"),
        ));
        if !name.is_empty() {
            if seen.contains(&name) {
                errors.push(FieldError::duplicate(at("name"), &json!(name)));
            }
            seen.push(name);
        }
    }
    errors
}

fn is_known(version: &Value) -> bool {
    version == "v1" || version == "v1beta1"
}

/// `validateAdmissionReviewVersions`.
fn review_versions(versions: &Value, known: bool, field: &str) -> Errors {
    let list = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    if list.is_empty() {
        return vec![FieldError::required(field, "must specify one of v1, v1beta1")];
    }
    let mut errors = Errors::new();
    for (index, version) in list.iter().enumerate() {
        let at = format!("{field}[{index}]");
        if list.iter().take(index).any(|other| other == version) {
            errors.push(FieldError::invalid(at, version, "duplicate version"));
            continue;
        }
        errors.extend(named(&at, version.as_str().unwrap_or_default(), names::dns_1035_label));
    }
    if known && !list.iter().any(is_known) {
        errors.push(FieldError::invalid(field, versions, "must include at least one of v1, v1beta1"));
    }
    errors
}

fn client_config(client: &Value, field: &str) -> Errors {
    match (client.has("/url"), client.has("/service")) {
        (true, true) | (false, false) => {
            vec![FieldError::required(field, "exactly one of url or service is required")]
        }
        (true, false) => webhook_url(client.str_at("/url"), &format!("{field}.url")),
        (false, true) => service(client.at("/service"), &format!("{field}.service")),
    }
}

/// `ValidateWebhookURL`.
fn webhook_url(url: &str, field: &str) -> Errors {
    const FORM: &str = "; desired format: https://host[/path]";
    if url.contains(|c: char| c.is_ascii_control()) {
        let why = format!("parse {url:?}: net/url: invalid control character in URL{FORM}");
        return vec![FieldError::required(field, &format!("url must be a valid URL: {why}"))];
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |text: &&str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    let (scheme, rest) = match rest.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
        Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
        None => (String::new(), rest),
    };
    let authority = rest.strip_prefix("//").map(|rest| rest.split('/').next().unwrap_or_default()).unwrap_or_default();
    let (user, host) = authority.rsplit_once('@').map_or(("", authority), |(user, host)| (user, host));
    let mut errors = Errors::new();
    let mut wrong = |value: &str, detail: &str| errors.push(FieldError::invalid(field, &json!(value), detail));
    if scheme != "https" {
        wrong(&scheme, &format!("'https' is the only allowed URL scheme{FORM}"));
    }
    if host.is_empty() {
        wrong("", &format!("host must be provided{FORM}"));
    }
    if authority.contains('@') {
        wrong(user, "user information is not permitted in the URL");
    }
    if !fragment.is_empty() {
        wrong(fragment, "fragments are not permitted in the URL");
    }
    if !query.is_empty() {
        wrong(query, "query parameters are not permitted in the URL");
    }
    errors
}

/// `ValidateWebhookService`. kube-apiserver hands it name and namespace the wrong way round, and so it tells them.
fn service(service: &Value, field: &str) -> Errors {
    let at = |name: &str| format!("{field}.{name}");
    let mut errors = Errors::new();
    if service.str_at("/namespace").is_empty() {
        errors.push(FieldError::required(at("name"), "service name is required"));
    }
    if service.str_at("/name").is_empty() {
        errors.push(FieldError::required(at("namespace"), "service namespace is required"));
    }
    let port = service.int_at("/port").unwrap_or(443);
    let wrong = names::port_number(port);
    if !wrong.is_empty() {
        let detail = format!("port is not valid: {}", wrong.join(", "));
        errors.push(FieldError::invalid(at("port"), &json!(port), &detail));
    }
    let path = service.str_at("/path");
    let mut bad_path = |detail: &str| errors.push(FieldError::invalid(at("path"), &json!(path), detail));
    match path {
        "" | "/" => return errors,
        "//" => {
            bad_path("segment[0] may not be empty");
            return errors;
        }
        _ => {}
    }
    if !path.starts_with('/') {
        bad_path("must start with a '/'");
    }
    // The first character is passed over, whatever it is.
    let mut rest = path.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            bad_path(&format!("segment[{index}] may not be empty"));
        }
        for wrong in names::dns_subdomain(step).into_iter().filter(|_| !step.is_empty()) {
            bad_path(&format!("segment[{index}]: {wrong}"));
        }
    }
    errors
}

/// `IsFullyQualifiedName`.
fn domain(field: &str, name: &str) -> Errors {
    if name.is_empty() {
        return vec![FieldError::required(field, "")];
    }
    let wrong = names::dns_subdomain(name);
    let detail = match wrong.is_empty() {
        false => wrong.join(","),
        true if name.split('.').count() < 3 => {
            "should be a domain with at least three segments separated by dots".to_owned()
        }
        true => return Errors::new(),
    };
    vec![FieldError::invalid(field, &json!(name), &detail)]
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
    warnings: definition::warnings,
    columns: || tables::columns(tables::DEFINITION),
    cells: tables::definition,
    ..Rules::PLAIN
};

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: Errors) -> Vec<String> {
        errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    fn with(field: &str, value: Value) -> Vec<String> {
        texts(webhooks(&json!({"webhooks": [webhook(field, value)]}), None))
    }

    fn webhook(field: &str, value: Value) -> Value {
        let mut webhook = json!({
            "name": "a.example.com", "clientConfig": {"url": "https://h/p"}, "sideEffects": "None",
            "admissionReviewVersions": ["v1"], "failurePolicy": "Fail", "matchPolicy": "Exact",
        });
        webhook[field] = value;
        webhook
    }

    #[test]
    fn a_url_is_https_and_names_a_host_and_a_path_alone() {
        let wrong = |url: &str| -> Vec<String> {
            let errors = webhook_url(url, "u").into_iter();
            errors
                .map(|error| error.message.rsplit_once(": ").map_or(error.message.clone(), |(_, why)| why.to_owned()))
                .collect()
        };
        assert_eq!(wrong("https://h:8443/p"), Vec::<String>::new());
        assert_eq!(wrong("https://me@h/p?q=1#f").len(), 3);
        let form = " https://host[/path]".trim();
        assert_eq!(wrong("http://"), [form, form]);
    }

    #[test]
    fn the_path_of_a_service_has_no_empty_segment() {
        let wrong = |path: &str| texts(service(&json!({"name": "n", "namespace": "s", "path": path}), "s"));
        assert_eq!(wrong("/a/b/"), Vec::<String>::new());
        assert_eq!(wrong("/a//b"), ["s.path: Invalid value: \"/a//b\": segment[1] may not be empty"]);
        assert_eq!(wrong("é").len(), 2);
    }

    #[test]
    fn a_service_without_a_name_is_told_at_its_namespace() {
        let wrong = texts(service(&json!({"namespace": "s"}), "s"));
        assert_eq!(wrong, ["s.namespace: Required value: service namespace is required"]);
    }

    #[test]
    fn one_known_version_is_enough() {
        assert_eq!(with("admissionReviewVersions", json!(["v9", "v1"])), Vec::<String>::new());
        assert_eq!(
            with("admissionReviewVersions", json!(["v9"])),
            ["webhooks[0].admissionReviewVersions: Invalid value: [\"v9\"]: must include at least one of v1, v1beta1"]
        );
        assert_eq!(
            with("admissionReviewVersions", json!(["v1", "v1"])),
            ["webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version"]
        );
    }

    #[test]
    fn names_are_unique() {
        let two = webhook("sideEffects", json!("None"));
        let wrong = texts(webhooks(&json!({"webhooks": [two, two]}), None));
        assert_eq!(wrong, ["webhooks[1].name: Duplicate value: \"a.example.com\""]);
    }

    #[test]
    fn conditions_that_do_not_change_are_not_compiled_again() {
        let broken = json!({"webhooks": [webhook("matchConditions", json!([{"name": "n", "expression": "nope("}]))]});
        assert_eq!(webhooks(&broken, None).len(), 1);
        assert_eq!(webhooks(&broken, Some(&broken)).len(), 0);
    }
}

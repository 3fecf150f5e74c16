//! `spec.conversion` of a definition. Conversion webhooks are checked as kube-apiserver checks them and never called. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use super::structural::text;
use crate::field::FieldError;
use crate::kinds::names::{dns_1035_label, dns_subdomain};
use crate::schema::report::{Path, Report};

/// What is wrong with the conversion. `any_ca`: the bundle of authorities is not looked at.
pub(super) fn check(conversion: &Value, any_ca: bool, path: &Path<'_>, report: &mut Report) {
    if conversion.is_null() {
        return;
    }
    let strategy = path.field("strategy");
    match text(conversion, "strategy") {
        "" => report.add(|| FieldError::required(strategy.to_string(), "")),
        "None" | "Webhook" => {}
        _ => report
            .add(|| FieldError::not_supported(strategy.to_string(), &conversion["strategy"], &["None", "Webhook"])),
    }
    // The internal type holds the webhook's fields themselves.
    let (client, versions) =
        (&conversion["webhook"]["clientConfig"], &conversion["webhook"]["conversionReviewVersions"]);
    let (client_at, versions_at) = (path.field("webhookClientConfig"), path.field("conversionReviewVersions"));
    if conversion["strategy"] == "Webhook" {
        if client.is_object() {
            self::client(client, any_ca, &client_at, report);
        } else {
            report.add(|| FieldError::required(client_at.to_string(), "required when strategy is set to Webhook"));
        }
        review_versions(versions, &versions_at, report);
        return;
    }
    let why = "should not be set when strategy is not set to Webhook";
    if client.is_object() {
        report.add(|| FieldError::forbidden(client_at.to_string(), why));
    }
    if versions.as_array().is_some_and(|all| !all.is_empty()) {
        report.add(|| FieldError::forbidden(versions_at.to_string(), why));
    }
}

fn client(client: &Value, any_ca: bool, path: &Path<'_>, report: &mut Report) {
    match (client["url"].as_str(), client["service"].is_object()) {
        (Some(_), true) | (None, false) => {
            report.add(|| FieldError::required(path.to_string(), "exactly one of url or service is required"));
        }
        (Some(text), false) => url(text, &path.field("url"), report),
        (None, true) => service(&client["service"], &path.field("service"), report),
    }
    let bundle = text(client, "caBundle");
    if !bundle.is_empty() && !any_ca && !holds_certificates(bundle) {
        let why = "unable to load root certificates: unable to parse bytes as PEM block";
        report.add(|| FieldError::invalid(path.field("caBundle").to_string(), &client["caBundle"], why));
    }
}

fn url(text: &str, path: &Path<'_>, report: &mut Report) {
    const FORM: &str = "; desired format: https://host[/path]";
    let mut invalid =
        |found: &str, why: String| report.add(|| FieldError::invalid(path.to_string(), &found.into(), &why));
    let (scheme, rest) = text.split_once(':').unwrap_or(("", text));
    if scheme != "https" {
        invalid(scheme, format!("'https' is the only allowed URL scheme{FORM}"));
    }
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest.strip_prefix("//").map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = authority.rsplit_once('@').map_or((None, authority), |(user, host)| (Some(user), host));
    if host.is_empty() {
        invalid("", format!("host must be provided{FORM}"));
    }
    if let Some(user) = user {
        invalid(user, "user information is not permitted in the URL".to_owned());
    }
    if !fragment.is_empty() {
        invalid(fragment, "fragments are not permitted in the URL".to_owned());
    }
    if !query.is_empty() {
        invalid(query, "query parameters are not permitted in the URL".to_owned());
    }
}

fn service(service: &Value, path: &Path<'_>, report: &mut Report) {
    for (key, why) in [("name", "service name is required"), ("namespace", "service namespace is required")] {
        if text(service, key).is_empty() {
            report.add(|| FieldError::required(path.field(key).to_string(), why));
        }
    }
    let port = service["port"].as_i64().unwrap_or_default();
    if !(1..=65535).contains(&port) {
        let why = "port is not valid: must be between 1 and 65535, inclusive";
        report.add(|| FieldError::invalid(path.field("port").to_string(), &port.into(), why));
    }
    let given = text(service, "path");
    let mut invalid =
        |why: &str| report.add(|| FieldError::invalid(path.field("path").to_string(), &given.into(), why));
    if given.is_empty() || given == "/" {
        return;
    }
    if given == "//" {
        return invalid("segment[0] may not be empty");
    }
    let Some(rest) = given.strip_prefix('/') else { return invalid("must start with a '/'") };
    for (i, segment) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if segment.is_empty() {
            invalid(&format!("segment[{i}] may not be empty"));
        } else {
            dns_subdomain(segment).iter().for_each(|why| invalid(&format!("segment[{i}]: {why}")));
        }
    }
}

fn review_versions(versions: &Value, path: &Path<'_>, report: &mut Report) {
    let all = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    if all.is_empty() {
        return report.add(|| FieldError::required(path.to_string(), ""));
    }
    let mut seen = BTreeSet::new();
    for (i, version) in all.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        let mut invalid = |why: &str| report.add(|| FieldError::invalid(path.index(i).to_string(), version, why));
        if seen.insert(name) {
            dns_1035_label(name).iter().for_each(|why| invalid(why));
        } else {
            invalid("duplicate version");
        }
    }
    if !seen.contains("v1") && !seen.contains("v1beta1") {
        report.add(|| FieldError::invalid(path.to_string(), versions, "must include at least one of v1, v1beta1"));
    }
}

/// Whether a bundle, in base64, holds a certificate.
fn holds_certificates(bundle: &str) -> bool {
    use base64::Engine as _;
    let decoded = base64::engine::general_purpose::STANDARD.decode(bundle).unwrap_or_default();
    memchr::memmem::find(&decoded, b"-----BEGIN CERTIFICATE-----").is_some()
        && memchr::memmem::find(&decoded, b"-----END CERTIFICATE-----").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn errors(conversion: Value) -> Vec<String> {
        let mut report = Report::default();
        check(&conversion, false, &Path::root("spec.conversion"), &mut report);
        report.into_list().iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    #[test]
    fn a_webhook_is_described_when_it_is_the_strategy_and_not_otherwise() {
        assert_eq!(
            errors(json!({"strategy": "Webhook"})),
            [
                "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook",
                "spec.conversion.conversionReviewVersions: Required value",
            ]
        );
        assert_eq!(
            errors(json!({"strategy": "None", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}})),
            [
                "spec.conversion.webhookClientConfig: Forbidden: should not be set when strategy is not set to Webhook",
                "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook",
            ]
        );
        assert_eq!(
            errors(json!({"strategy": "x"})),
            [r#"spec.conversion.strategy: Unsupported value: "x": supported values: "None", "Webhook""#]
        );
    }

    fn with(client: Value) -> Vec<String> {
        errors(json!({"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}))
    }

    #[test]
    fn a_webhook_is_reached_by_url_or_by_service() {
        assert_eq!(with(json!({"url": "https://a/b"})), [""; 0]);
        assert_eq!(with(json!({"service": {"name": "a", "namespace": "b", "port": 443, "path": "/c"}})), [""; 0]);
        assert_eq!(
            with(json!({})),
            ["spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required"]
        );
        assert_eq!(with(json!({"url": "http://u@a?q#f"})).len(), 4,);
        assert_eq!(
            with(json!({"service": {"name": "a", "namespace": "b", "port": 0, "path": "c"}})),
            [
                "spec.conversion.webhookClientConfig.service.port: Invalid value: 0: port is not valid: must be between 1 and \
                 65535, inclusive",
                "spec.conversion.webhookClientConfig.service.path: Invalid value: \"c\": must start with a '/'",
            ]
        );
    }

    #[test]
    fn a_version_of_the_review_is_known() {
        let versions = |versions: Value| {
            errors(json!({"strategy": "Webhook", "webhook": {"clientConfig": {"url": "https://a"},
                          "conversionReviewVersions": versions}}))
        };
        assert_eq!(
            versions(json!(["v9"])),
            [
                r#"spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1"#
            ]
        );
        assert_eq!(
            versions(json!(["v1", "v1"])),
            [r#"spec.conversion.conversionReviewVersions[1]: Invalid value: "v1": duplicate version"#]
        );
    }
}

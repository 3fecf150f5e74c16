//! CertificateSigningRequest: who asks is written down by the server, what is asked never changes, approvals and the
//! certificate come through subresources of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::at::At;
use super::checks::{Errors, one_of, required};
use super::rules::Rules;
use super::tables::cluster as tables;
use super::{names, replace, timestamp};
use crate::field::FieldError;
use crate::resource::{Cx, NameRule, Part};

pub(super) const SIGNING_REQUEST: Rules = Rules {
    name: NameRule::PathSegment,
    namespace_field: false,
    fields: &["spec.signerName"],
    unselectable: |field| format!("field label not supported: {field}"),
    default: |obj| {
        obj.default_at("/status", json!({}));
        for condition in obj.list_mut_at("/status/conditions") {
            condition.default_at("/status", "");
        }
    },
    prepare_create: |obj, cx| {
        sign_for(obj, cx);
        Ok(())
    },
    prepare_update: |new, old, part, cx| {
        replace(new, old, |key| key == "spec");
        if part == Part::Other("approval") {
            // Only the conditions may change.
            let conditions = new.at("/status/conditions").clone();
            replace(new, old, |key| key == "status");
            if conditions.is_null() {
                new.remove_at("/status/conditions");
            } else {
                new.set_at("/status/conditions", conditions);
            }
        }
        if part != Part::Main {
            stamp(new, old, cx.now);
        }
        Ok(())
    },
    validate_create: |obj, _| request(obj, None),
    validate_update: |new, old, part, _| {
        let mut errors = request(new, Some(old));
        errors.extend(transition(new, old, part));
        errors
    },
    columns: || tables::columns(tables::SIGNING_REQUEST),
    cells: tables::signing_request,
    ..Rules::PLAIN
};

/// Whatever the body says of the requester is replaced by who it is.
fn sign_for(obj: &mut Value, cx: &Cx<'_>) {
    for field in ["username", "uid", "groups", "extra"] {
        obj.remove_at(&format!("/spec/{field}"));
    }
    let (Some(user), true) = (cx.user, obj.at("/spec").is_object()) else { return };
    obj.set_at("/spec/username", user.name.as_str());
    if !user.uid.is_empty() {
        obj.set_at("/spec/uid", user.uid.as_str());
    }
    if !user.groups.is_empty() {
        obj.set_at("/spec/groups", user.groups.clone());
    }
    if !user.extra.is_empty() {
        obj.set_at("/spec/extra", json!(user.extra));
    }
}

/// Times of conditions that came without: now, or since when the status was already so.
fn stamp(new: &mut Value, old: &Value, now: Timestamp) {
    let now = timestamp(now);
    for condition in new.list_mut_at("/status/conditions") {
        condition.default_at("/lastUpdateTime", now.clone());
        let same = |c: &&Value| ["/type", "/status"].iter().all(|f| c.at(f) == condition.at(f));
        let since = old.list_at("/status/conditions").iter().find(same).map(|c| c.str_at("/lastTransitionTime"));
        let since = since.filter(|since| !since.is_empty()).unwrap_or(&now).to_owned();
        condition.default_at("/lastTransitionTime", since);
    }
}

/// Every usage there is, sorted as messages list them.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// `validateCertificateSigningRequest`. What an old object was let in with may stay.
fn request(obj: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::new();
    if let Err(why) = parsed(obj.str_at("/spec/request")) {
        errors.push(FieldError::invalid("spec.request", obj.at("/spec/request"), &why));
    }
    let usages = obj.list_at("/spec/usages");
    if usages.is_empty() {
        errors.push(FieldError::required("spec.usages", ""));
    }
    for (index, usage) in usages.iter().enumerate().filter(|_| old.is_none()) {
        errors.extend(one_of(&format!("spec.usages[{index}]"), usage.as_str().unwrap_or_default(), USAGES));
    }
    for (index, usage) in usages.iter().enumerate().filter(|_| old.is_none()) {
        // Few distinct usages are valid: the search is short wherever the rest of the object is.
        if usages.iter().take(index.min(USAGES.len() + 1)).any(|other| other == usage) {
            errors.push(FieldError::duplicate(format!("spec.usages[{index}]"), usage));
        }
    }
    let signer = obj.str_at("/spec/signerName");
    if signer == "kubernetes.io/legacy-unknown" {
        let detail = "the legacy signerName is not allowed via this API version";
        errors.push(FieldError::invalid("spec.signerName", &json!(signer), detail));
    } else {
        errors.extend(signer_name("spec.signerName", signer));
    }
    if let Some(seconds) = obj.int_at("/spec/expirationSeconds").filter(|seconds| *seconds < 600) {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        errors.push(FieldError::invalid("spec.expirationSeconds", &json!(seconds), detail));
    }
    errors.extend(conditions(obj.list_at("/status/conditions")));
    if old.is_none_or(|old| certificate(old.str_at("/status/certificate")).is_ok())
        && let Err(why) = certificate(obj.str_at("/status/certificate"))
    {
        errors.push(FieldError::invalid("status.certificate", &json!("<certificate data>"), &why));
    }
    errors
}

/// `ParseCSR`. The signature is not checked: nothing here verifies one, and nothing here signs certificates by it.
fn parsed(request: &str) -> Result<(), String> {
    let unreadable = || "PEM block type must be CERTIFICATE REQUEST".to_owned();
    let pem = STANDARD.decode(request).map_err(|_| unreadable())?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| unreadable())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(unreadable());
    }
    x509_parser::certification_request::X509CertificationRequest::from_der(&block.contents)
        .map_err(|_| "asn1: structure error: malformed certificate request".to_owned())?;
    Ok(())
}

/// `validateCertificate`.
fn certificate(data: &str) -> Result<(), String> {
    if data.is_empty() {
        return Ok(());
    }
    let pem = STANDARD.decode(data).unwrap_or_default();
    let (mut rest, mut blocks) = (pem.as_slice(), 0);
    while let Ok((after, block)) = x509_parser::pem::parse_x509_pem(rest) {
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        X509Certificate::from_der(&block.contents).map_err(|_| "x509: malformed certificate".to_owned())?;
        blocks += 1;
        rest = after;
    }
    if blocks == 0 { Err("must contain one or more CERTIFICATE PEM blocks".to_owned()) } else { Ok(()) }
}

/// `ValidateSignerName`.
fn signer_name(field: &str, name: &str) -> Errors {
    if let Some(missing) = required(field, name) {
        return vec![missing];
    }
    let [Some(domain), Some(path), None] = ({
        let mut parts = name.split('/');
        [parts.next(), parts.next(), parts.next()]
    }) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return vec![FieldError::invalid(field, &json!(name), detail)];
    };
    let mut errors = Errors::new();
    if domain.len() > 253 {
        errors.push(FieldError::too_long(field, 253));
    }
    let mut labels = |part: &str, rule: fn(&str) -> Vec<String>| {
        let wrong = part.split('.').map(|label| (label, rule(label))).find(|(_, wrong)| !wrong.is_empty());
        let (label, wrong) = wrong.unwrap_or_default();
        for why in wrong {
            let detail = format!("validating label {label:?}: {why}");
            errors.push(FieldError::invalid(field, &json!(part), &detail));
        }
    };
    labels(domain, names::dns_label);
    labels(path, names::dns_subdomain);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(field, &json!(domain), detail));
    }
    if name.len() > 253 + 1 + 253 + 63 + 1 {
        errors.push(FieldError::too_long(field, 253 + 1 + 253 + 63 + 1));
    }
    errors
}

/// `validateConditions`.
fn conditions(list: &[Value]) -> Errors {
    let mut errors = Errors::new();
    let (mut approved, mut denied) = (false, false);
    let mut seen = std::collections::HashSet::new();
    for (index, condition) in list.iter().enumerate() {
        let at = |name: &str| format!("status.conditions[{index}].{name}");
        let (kind, status) = (condition.str_at("/type"), condition.str_at("/status"));
        errors.extend(required(&at("type"), kind));
        // An approval is there or not: it cannot be false.
        let supported: &[&str] = match kind {
            "Approved" | "Denied" | "Failed" => &["True"],
            _ => &["False", "True", "Unknown"],
        };
        errors.extend(required(&at("status"), status).or_else(|| one_of(&at("status"), status, supported)));
        approved |= kind == "Approved";
        denied |= kind == "Denied";
        if approved && denied && matches!(kind, "Approved" | "Denied") {
            let detail = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(at("type"), &json!(kind), detail));
        }
        if !seen.insert(kind) {
            errors.push(FieldError::duplicate(at("type"), &json!(kind)));
        }
    }
    errors
}

/// `validateCertificateSigningRequestUpdate`: which part may bring what.
fn transition(new: &Value, old: &Value, part: Part) -> Errors {
    const CONDITIONS: &str = "status.conditions";
    let of = |object: &Value, kind: &str| -> Vec<Value> {
        object.list_at("/status/conditions").iter().filter(|c| c.str_at("/type") == kind).cloned().collect()
    };
    let mut errors = Errors::new();
    for kind in ["Approved", "Denied", "Failed"] {
        if of(new, kind).len() < of(old, kind).len() {
            let detail = format!("updates may not remove a condition of type {kind:?}");
            errors.push(FieldError::forbidden(CONDITIONS, &detail));
        }
    }
    for kind in ["Approved", "Denied"] {
        let (new, old) = (of(new, kind), of(old, kind));
        if part == Part::Other("approval") || new.len() < old.len() || new == old {
            continue;
        }
        let what = if new.len() > old.len() { "add" } else { "modify" };
        let detail = format!("updates may not {what} a condition of type {kind:?}");
        errors.push(FieldError::forbidden(CONDITIONS, &detail));
    }
    let (new, old) = (new.str_at("/status/certificate"), old.str_at("/status/certificate"));
    if new != old {
        if part != Part::Status {
            errors.push(FieldError::forbidden("status.certificate", "updates may not set certificate content"));
        }
        if !old.is_empty() {
            let detail = "updates may not modify existing certificate content";
            errors.push(FieldError::forbidden("status.certificate", detail));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Lookup;
    use crate::user::User;

    struct Nothing;

    impl Lookup for Nothing {
        fn get(&self, _: &str, _: &str, _: &str) -> Option<Value> {
            None
        }
        fn list(&self, _: &str, _: &str) -> Vec<Value> {
            Vec::new()
        }
    }

    fn texts(errors: &Errors) -> Vec<String> {
        errors.iter().map(|e| format!("{}: {}", e.field, e.message)).collect()
    }

    fn updated(mut new: Value, old: &Value, part: Part) -> (Value, Vec<String>) {
        let cx = Cx::new(Timestamp::UNIX_EPOCH, &Nothing);
        (SIGNING_REQUEST.prepare_update)(&mut new, old, part, &cx).unwrap();
        let errors = texts(&transition(&new, old, part));
        (new, errors)
    }

    #[test]
    fn the_requester_is_who_asks_whatever_the_body_says() {
        let user = User::new("joe", ["devs"]);
        let cx = Cx::new(Timestamp::UNIX_EPOCH, &Nothing).asked_by(&user);
        let mut obj = json!({"spec": {"username": "root", "uid": "1", "groups": ["g"], "extra": {"a": ["b"]}}});
        (SIGNING_REQUEST.prepare_create)(&mut obj, &cx).unwrap();
        assert_eq!(obj, json!({"spec": {"username": "joe", "groups": ["devs", "system:authenticated"]}}));
    }

    #[test]
    fn what_is_asked_never_changes() {
        let old = json!({"spec": {"username": "joe"}, "status": {}});
        let new = json!({"spec": {"username": "eve"}, "status": {}});
        assert_eq!(updated(new, &old, Part::Status).0.at("/spec/username"), "joe");
    }

    #[test]
    fn an_approval_brings_conditions_alone_and_their_times() {
        let old = json!({"spec": {}, "status": {}});
        let new = json!({"spec": {}, "status": {"certificate": "eA==", "conditions": [{"type": "Approved", "status": "True"}]}});
        let time = "1970-01-01T00:00:00Z";
        let condition =
            json!({"type": "Approved", "status": "True", "lastUpdateTime": time, "lastTransitionTime": time});
        let (new, errors) = updated(new, &old, Part::Other("approval"));
        assert_eq!((new.at("/status"), errors), (&json!({"conditions": [condition]}), vec![]));
    }

    #[test]
    fn status_cannot_approve() {
        let old = json!({"status": {}});
        let new = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
        let why = "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"";
        assert_eq!(updated(new, &old, Part::Status).1, [why]);
    }

    #[test]
    fn approvals_stay() {
        let old = json!({"status": {"conditions": [{"type": "Denied", "status": "True"}]}});
        let why = "status.conditions: Forbidden: updates may not remove a condition of type \"Denied\"";
        assert_eq!(updated(json!({"status": {}}), &old, Part::Other("approval")).1, [why]);
    }

    #[test]
    fn nobody_is_approved_and_denied() {
        let both = [json!({"type": "Approved", "status": "True"}), json!({"type": "Denied", "status": "True"})];
        let why = "status.conditions[1].type: Invalid value: \"Denied\": Approved and Denied conditions are mutually \
                   exclusive";
        assert_eq!(texts(&conditions(&both)), [why]);
    }

    #[test]
    fn an_approval_cannot_be_false() {
        let why = "status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"";
        assert_eq!(texts(&conditions(&[json!({"type": "Approved", "status": "False"})])), [why]);
    }

    #[test]
    fn a_signer_is_a_domain_and_a_path() {
        let why =
            "f: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'";
        assert_eq!(texts(&signer_name("f", "x")), [why]);
    }

    #[test]
    fn an_empty_request_is_told_in_full() {
        let errors = request(&json!({"spec": {"request": "eA==", "usages": ["fly"], "expirationSeconds": 5}}), None);
        let fields: Vec<_> = errors.iter().map(|e| e.field.as_str()).collect();
        assert_eq!(fields, ["spec.request", "spec.usages[0]", "spec.signerName", "spec.expirationSeconds"]);
    }
}

//! CertificateApproval, CertificateSigning, CertificateSubjectRestriction: who may approve and sign requests of a signer, and
//! whom no client certificate may name.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::admission::{Attributes, Operation};
use crate::authz::{self, Decision};
use crate::kinds::at::At;
use crate::status::Status;

const GROUP: &str = "certificates.k8s.io";
const PLURAL: &str = "certificatesigningrequests";
/// The signer whose certificates the API server believes.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

pub(super) fn validate(a: &Attributes<'_>) -> Result<(), Status> {
    let signer = a.old.str_at("/spec/signerName");
    match a.operation {
        // The old object counts: the update may try to change the signer.
        Operation::Update if a.is_part(GROUP, PLURAL, "approval") && !may(a, "approve", signer) => {
            Err(a.forbidden(&format!("user not permitted to approve requests with signerName {signer:?}")))
        }
        Operation::Update if a.is_part(GROUP, PLURAL, "status") => {
            let same = ["/status/certificate", "/status/conditions"].iter().all(|f| a.object.at(f) == a.old.at(f));
            if same || may(a, "sign", signer) {
                return Ok(());
            }
            Err(a.forbidden(&format!("user not permitted to sign requests with signerName {signer:?}")))
        }
        Operation::Create if a.is(GROUP, PLURAL) => subject(&a.object).map_err(|why| a.forbidden(&why)),
        _ => Ok(()),
    }
}

/// Rights are given for one signer, or for all of a domain.
fn may(a: &Attributes<'_>, verb: &str, signer: &str) -> bool {
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    [signer, domain.as_str()].into_iter().any(|name| {
        let right = authz::Attributes::Resource {
            verb,
            group: GROUP,
            version: "*",
            resource: "signers",
            subresource: "",
            namespace: "",
            name,
        };
        matches!(a.api.authorize(a.user, &right), Decision::Allow(_))
    })
}

/// Nobody becomes a member of `system:masters` by a certificate.
fn subject(request: &Value) -> Result<(), String> {
    if request.str_at("/spec/signerName") != CLIENTS {
        return Ok(());
    }
    let unreadable = || "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST".to_owned();
    let pem = STANDARD.decode(request.str_at("/spec/request")).map_err(|_| unreadable())?;
    let (_, block) = x509_parser::pem::parse_x509_pem(&pem).map_err(|_| unreadable())?;
    if block.label != "CERTIFICATE REQUEST" {
        return Err(unreadable());
    }
    let (_, parsed) =
        X509CertificationRequest::from_der(&block.contents).map_err(|error| format!("failed to parse CSR: {error}"))?;
    let mut groups = parsed.certification_request_info.subject.iter_organization();
    if groups.any(|group| group.as_str().is_ok_and(|group| group == "system:masters")) {
        return Err(format!("use of {CLIENTS} signer with system:masters group is not allowed"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `CN=joe, O=system:masters`.
    const MASTER: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
        MIHhMIGJAgEAMCcxDDAKBgNVBAMMA2pvZTEXMBUGA1UECgwOc3lzdGVtOm1hc3Rl\n\
        cnMwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQX4E8AvTzWsjPBSsOAqVU885Us\n\
        U0p84Sb84sjaLHM6ODkHmu6HpojoSAw6IHIjZUngn6MYP9726pQ81dG9QDHBoAAw\n\
        CgYIKoZIzj0EAwIDRwAwRAIgCWFNvE3ewqR8tuDH3G1cUVvZ9zsKSjGOCRjPeRvI\n\
        UIoCIAI86TNPFW6ZepT0bJc5rDvzmC1m7/bw7jBH+AQupHBq\n\
        -----END CERTIFICATE REQUEST-----\n";
    /// `CN=joe, O=devs`.
    const DEVELOPER: &str = "-----BEGIN CERTIFICATE REQUEST-----\n\
        MIHXMH8CAQAwHTEMMAoGA1UEAwwDam9lMQ0wCwYDVQQKDARkZXZzMFkwEwYHKoZI\n\
        zj0CAQYIKoZIzj0DAQcDQgAEtTMfL5wBEbGH7Gw3p395jXQIShjthdgI2Lkzi0sn\n\
        M4CZ1ZUfaHxKN8iEDsOg87kBJjnqndmy0Mo1Zy1fsp6AGqAAMAoGCCqGSM49BAMC\n\
        A0gAMEUCIF0d20t7doxiOXGIZUjzB4KI7XTAs1DfWD2d213cnBVpAiEAldBJ1C10\n\
        0Wj+VdPJBPO9hnjTbnPuCVZG73/+qSs/rV0=\n\
        -----END CERTIFICATE REQUEST-----\n";

    fn of(signer: &str, pem: &str) -> Result<(), String> {
        subject(&json!({"spec": {"signerName": signer, "request": STANDARD.encode(pem)}}))
    }

    #[test]
    fn no_client_certificate_makes_a_master() {
        let why = "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed";
        assert_eq!([of(CLIENTS, MASTER), of(CLIENTS, DEVELOPER)], [Err(why.to_owned()), Ok(())]);
    }

    #[test]
    fn other_signers_are_not_believed_and_may_sign_what_they_like() {
        assert_eq!(of("example.com/any", MASTER), Ok(()));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let why = "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST";
        assert_eq!(of(CLIENTS, "no PEM at all"), Err(why.to_owned()));
    }
}

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

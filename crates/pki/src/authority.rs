//! Certificate authorities and the leaves that they issue.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use rand::TryRngCore;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod,
    KeyUsagePurpose, SanType, SerialNumber,
};
use x509_parser::prelude::{FromDer, ParsedExtension, X509Certificate};

use crate::key::EcKey;
use crate::lifetime::whole_seconds;
use crate::{CLOCK_SKEW, CertificateInfo, PkiError, Secret, SubjectAltName, inspect};

/// What a leaf may be used for; becomes its extended key usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Authenticates a server (`serverAuth`).
    Server,
    /// Authenticates a client (`clientAuth`).
    Client,
    /// Authenticates either side, as for peers that dial each other.
    Both,
}

/// What a leaf shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafRequest {
    /// Subject common name. For Kubernetes clients: the user's name.
    pub common_name: String,
    /// Subject organization. For Kubernetes clients: the user's group.
    pub organization: Option<String>,
    /// Subject organizational unit.
    pub organizational_unit: Option<String>,
    /// Names and addresses for which the leaf is valid; may be empty for clients.
    pub names: BTreeSet<SubjectAltName>,
    /// What it may be used for.
    pub usage: Usage,
    /// Start of its life, less [`CLOCK_SKEW`].
    pub now: Timestamp,
    /// End of its life; cut to the authority's own end, because a leaf that outlives its issuer cannot be verified.
    pub not_after: Timestamp,
}

/// A certificate with its private key.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// The certificate in PEM, without its issuer.
    pub certificate_pem: String,
    /// The private key as PKCS#8 PEM.
    pub key_pem: Secret,
}

/// A self-signed ECDSA P-256 authority that signs leaves directly (path length 0).
pub struct CertificateAuthority {
    certificate_pem: String,
    info: CertificateInfo,
    issuer: Issuer<'static, EcKey>,
}

impl CertificateAuthority {
    /// Makes an authority that is valid from `now` (less [`CLOCK_SKEW`]) for `validity`.
    ///
    /// # Errors
    /// [`PkiError::Lifetime`] when `validity` is not positive; [`PkiError::Provider`] when the provider fails.
    pub fn generate(common_name: &str, now: Timestamp, validity: SignedDuration) -> Result<Self, PkiError> {
        let not_after = now.checked_add(validity).map_err(|error| PkiError::Provider(error.to_string()))?;
        let key = EcKey::generate()?;
        let mut params = params(common_name, now, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate_pem = params.self_signed(&key).map_err(|error| provider(&error))?.pem();
        Self::assemble(certificate_pem, key)
    }

    /// Loads an authority from its certificate and private key (PKCS#8 or SEC1, ECDSA P-256).
    ///
    /// # Errors
    /// When either text is unreadable, the two do not belong together, or the certificate is no authority.
    pub fn from_pem(certificate_pem: &str, key_pem: &str) -> Result<Self, PkiError> {
        Self::assemble(certificate_pem.to_owned(), EcKey::from_pem(key_pem)?)
    }

    fn assemble(certificate_pem: String, key: EcKey) -> Result<Self, PkiError> {
        let info = inspect(&certificate_pem)?;
        if !info.is_authority {
            return Err(PkiError::NotAnAuthority);
        }
        let (_, parsed) =
            X509Certificate::from_der(info.der()).map_err(|error| PkiError::Certificate(error.to_string()))?;
        if *parsed.public_key().subject_public_key.data != *key.public_point() {
            return Err(PkiError::KeyMismatch);
        }
        // The issuer name in leaves must repeat our subject byte by byte, whatever string types a foreign tool chose.
        let mut issuer = CertificateParams::default();
        issuer.distinguished_name = distinguished_name(&parsed)?;
        issuer.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        if let Some(identifier) = subject_key_identifier(&parsed) {
            issuer.key_identifier_method = KeyIdMethod::PreSpecified(identifier);
        }
        Ok(Self { certificate_pem, info, issuer: Issuer::new(issuer, key) })
    }

    /// The authority's certificate in PEM.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The authority's private key as PKCS#8 PEM.
    ///
    /// # Errors
    /// [`PkiError::Provider`] when the provider refuses to encode it.
    pub fn key_pem(&self) -> Result<Secret, PkiError> {
        self.issuer.key().to_pem()
    }

    /// What the authority's certificate says.
    pub fn info(&self) -> &CertificateInfo {
        &self.info
    }

    /// Issues a leaf with a fresh key and a random serial number.
    ///
    /// # Errors
    /// [`PkiError::Name`] for a name that is not ASCII, [`PkiError::Lifetime`] when nothing of the asked life is left
    /// inside the authority's, [`PkiError::Provider`] when the provider fails.
    pub fn issue(&self, request: &LeafRequest) -> Result<Leaf, PkiError> {
        let not_after = request.not_after.min(self.info.not_after);
        let mut params = params(&request.common_name, request.now, not_after)?;
        if let Some(organization) = &request.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
        }
        if let Some(unit) = &request.organizational_unit {
            params.distinguished_name.push(DnType::OrganizationalUnitName, unit.as_str());
        }
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = match request.usage {
            Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
            Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
        };
        params.subject_alt_names = request.names.iter().map(san_type).collect::<Result<_, _>>()?;
        let key = EcKey::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|error| provider(&error))?;
        Ok(Leaf { certificate_pem: certificate.pem(), key_pem: key.to_pem()? })
    }
}

/// Whether an ECDSA P-256 private key belongs to a certificate. Unreadable texts and other kinds of keys do not.
pub fn key_belongs(certificate_pem: &str, key_pem: &str) -> bool {
    let (Ok(info), Ok(key)) = (inspect(certificate_pem), EcKey::from_pem(key_pem)) else { return false };
    X509Certificate::from_der(info.der())
        .is_ok_and(|(_, parsed)| *parsed.public_key().subject_public_key.data == *key.public_point())
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("info", &self.info).finish_non_exhaustive()
    }
}

fn params(common_name: &str, now: Timestamp, not_after: Timestamp) -> Result<CertificateParams, PkiError> {
    let not_before = whole_seconds(now.checked_sub(CLOCK_SKEW).unwrap_or(now));
    let not_after = whole_seconds(not_after);
    // Seconds since 1970 must fit an unsigned duration: certificates of the 1960s are nobody's wish.
    let (Ok(start), Ok(end)) = (u64::try_from(not_before.as_second()), u64::try_from(not_after.as_second())) else {
        return Err(PkiError::Lifetime { not_before, not_after });
    };
    if not_after <= now {
        return Err(PkiError::Lifetime { not_before, not_after });
    }
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + std::time::Duration::from_secs(start);
    params.not_after = epoch + std::time::Duration::from_secs(end);
    params.serial_number = Some(serial_number()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

/// 128 random bits, positive and non-zero, as RFC 5280 and the CA/Browser rules want.
fn serial_number() -> Result<SerialNumber, PkiError> {
    let mut bytes = [0_u8; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| PkiError::Provider(format!("no random serial number: {error}")))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn san_type(name: &SubjectAltName) -> Result<SanType, PkiError> {
    match name {
        SubjectAltName::Ip(address) => Ok(SanType::IpAddress(*address)),
        SubjectAltName::Dns(dns) => match dns.as_str().try_into() {
            Ok(ia5) if !dns.is_empty() => Ok(SanType::DnsName(ia5)),
            _ => Err(PkiError::Name(dns.clone())),
        },
    }
}

fn subject_key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
        _ => None,
    })
}

/// Rebuilds the subject with the string types it was written with; a name of another shape is refused.
fn distinguished_name(certificate: &X509Certificate<'_>) -> Result<DistinguishedName, PkiError> {
    let unsupported = || PkiError::Certificate("its subject has a form that cannot be repeated in leaves".to_owned());
    let mut name = DistinguishedName::new();
    for relative in certificate.subject().iter() {
        let mut attributes = relative.iter();
        let (Some(attribute), None) = (attributes.next(), attributes.next()) else { return Err(unsupported()) };
        let oid: Vec<u64> = attribute.attr_type().iter().ok_or_else(unsupported)?.collect();
        let kind = DnType::from_oid(&oid);
        let text = attribute.as_str().map_err(|_| unsupported())?;
        if name.get(&kind).is_some() {
            return Err(unsupported());
        }
        let value = match attribute.attr_value().tag().0 {
            12 => rcgen::DnValue::Utf8String(text.to_owned()),
            19 => rcgen::DnValue::PrintableString(text.try_into().map_err(|_| unsupported())?),
            22 => rcgen::DnValue::Ia5String(text.try_into().map_err(|_| unsupported())?),
            _ => return Err(unsupported()),
        };
        name.push(kind, value);
    }
    Ok(name)
}

fn provider(error: &rcgen::Error) -> PkiError {
    PkiError::Provider(error.to_string())
}

#[cfg(test)]
mod tests;

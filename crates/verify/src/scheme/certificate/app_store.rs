//! Apple App Store Server Notifications V2: a JWS in `/signedPayload` of the body, with its certificates in the header.
//!
//! The chain must end at Apple Root CA - G3, which is pinned here, and must have the extensions that Apple issues for
//! receipts: every developer has certificates below the same root. The signature proves that Apple sent it, not for
//! which app, so the route lists its bundle ids. Those of the sandbox are listed with the prefix `sandbox:`. Anyone
//! with a tester account can cause sandbox events, and they must not be accepted as purchases.

use std::borrow::Cow;
use std::time::Duration;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use rustls_pki_types::{CertificateDer, UnixTime};
use serde::Deserialize;
use serde::de::IgnoredAny;
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::scheme::certificate::chain::SenderCertificate;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::signature_match::{SignatureMatch, ValidityWindow};
use crate::scheme::spec::KeyAlgorithm;

/// Apple Root CA - G3 in base64, <https://www.apple.com/certificateauthority/AppleRootCA-G3.cer>.
const ROOT: &str = "MIICQzCCAcmgAwIBAgIILcX8iNLFS5UwCgYIKoZIzj0EAwMwZzEbMBkGA1UEAwwSQXBwbGUgUm9vdCBDQSAtIEczMSYwJAYDVQQLDB1BcHBsZSBDZXJ0aWZpY2F0aW9uIEF1dGhvcml0eTETMBEGA1UECgwKQXBwbGUgSW5jLjELMAkGA1UEBhMCVVMwHhcNMTQwNDMwMTgxOTA2WhcNMzkwNDMwMTgxOTA2WjBnMRswGQYDVQQDDBJBcHBsZSBSb290IENBIC0gRzMxJjAkBgNVBAsMHUFwcGxlIENlcnRpZmljYXRpb24gQXV0aG9yaXR5MRMwEQYDVQQKDApBcHBsZSBJbmMuMQswCQYDVQQGEwJVUzB2MBAGByqGSM49AgEGBSuBBAAiA2IABJjpLz1AcqTtkyJygRMc3RCV8cWjTnHcFBbZDuWmBSp3ZHtfTjjTuxxEtX/1H7YyYl3J6YRbTzBPEVoA/VhYDKX1DyxNB0cTddqXl5dvMVztK517IDvYuVTZXpmkOlEKMaNCMEAwHQYDVR0OBBYEFLuw3qFYM4iapIqZ3r6966/ayySrMA8GA1UdEwEB/wQFMAMBAf8wDgYDVR0PAQH/BAQDAgEGMAoGCCqGSM49BAMDA2gAMGUCMQCD6cHEFl4aXTQY2e3v9GwOAEZLuN+yRhHFD/3meoyhpmvOwgPUnPWTxnS4at+qIxUCMG1mihDK1A3UT82NQz60imOlM27jbdoXt2QfyFMm+YhidDkLF1vLUagM6BgD56KyKA==";

/// Extension of certificates that sign receipts and notifications.
const SIGNS_RECEIPTS: &str = "1.2.840.113635.100.6.11.1";

/// Extension of the CA that issues them.
const ISSUES_SIGNERS: &str = "1.2.840.113635.100.6.2.1";

/// Largest JWS header, in bytes, with three certificates in base64; Apple's have 5 KiB.
const MAX_HEADER: usize = 32 * 1024;

/// Leeway for Apple's clock, in milliseconds.
const LEEWAY_MS: i64 = 60_000;

/// Time after the expiry of its certificate in which a notification may arrive: Apple retries for 157 hours.
const RETRIES_MS: i64 = 7 * 24 * 3_600_000;

#[derive(Deserialize)]
struct AppStoreNotification<'b> {
    #[serde(borrow, rename = "signedPayload")]
    signed_payload: Cow<'b, str>,
}

#[derive(Deserialize)]
struct JwsHeader {
    alg: String,
    x5c: Vec<String>,
    crit: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppStorePayload {
    signed_date: i64,
    data: Option<AppIdentity>,
    summary: Option<AppIdentity>,
    app_data: Option<AppIdentity>,
    external_purchase_token: Option<AppIdentity>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppIdentity {
    bundle_id: Option<String>,
    environment: Option<String>,
    external_purchase_id: Option<String>,
}

/// A JWS, split into its parts.
struct JwsParts<'b> {
    text: &'b str,
    header: &'b str,
    payload: &'b str,
    signature: &'b str,
}

/// Verifies the notification in a body; returns `None` if its certificate did not make the signature.
pub(super) fn verify(
    apps: &[String],
    body: &[u8],
) -> Result<Option<SignatureMatch>, MaterialFault> {
    let notification = read(body)?;
    let signed = split(&notification.signed_payload)?;
    // Before anything is decoded: a client without any key can send a header as long as a body may be.
    if signed.header.len() > MAX_HEADER {
        return Err(malformed("has a JWS header that is too long"));
    }
    let header: JwsHeader = json(
        signed.header,
        "has a JWS header that is not JSON with certificates",
    )?;
    // RFC 7515 section 4.1.11: a verifier must reject extensions that it does not implement.
    if header.alg != "ES256" || header.crit.is_some() {
        return Err(malformed("is not signed with ES256 without extensions"));
    }
    let payload: AppStorePayload =
        json(signed.payload, "has a payload that is not a notification")?;
    // The payload is still unverified; its date only selects the time at which the chain must be valid.
    let (leaf, validity) = chain(&header.x5c, payload.signed_date).map_err(malformed)?;
    let signature = decode(signed.signature, "has a signature that is not base64url")?;
    if !leaf.verifies(
        KeyAlgorithm::EcdsaP256Fixed,
        signed.text.as_bytes(),
        &signature,
    ) {
        return Ok(None);
    }
    // Only now the payload is authentic, so its app can be compared.
    check_app(apps, &payload)?;
    Ok(Some(SignatureMatch {
        secret_index: 0,
        digest: Sha256::digest(signed.text.as_bytes()).into(),
        signed_time: None,
        validity: Some(validity),
    }))
}

/// Returns a text member of the payload. Only for verified bodies.
pub(in crate::scheme) fn claim(body: &[u8], name: &str) -> Option<String> {
    let notification = read(body).ok()?;
    let payload = split(&notification.signed_payload).ok()?.payload;
    let payload = BASE64URL_NOPAD.decode(payload.as_bytes()).ok()?;
    let payload: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    Some(payload.get(name)?.as_str()?.to_owned())
}

fn read(body: &[u8]) -> Result<AppStoreNotification<'_>, MaterialFault> {
    serde_json::from_slice(body).map_err(|_| {
        let fault = "is not a JSON object with one text `signedPayload`";
        MaterialFault::malformed("the body", fault)
    })
}

fn split(text: &str) -> Result<JwsParts<'_>, MaterialFault> {
    let parts = || {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        (!payload.contains('.')).then_some(JwsParts {
            text: signed,
            header,
            payload,
            signature,
        })
    };
    parts().ok_or_else(|| malformed("is not a JWS of three parts"))
}

fn decode(part: &str, fault: &'static str) -> Result<Vec<u8>, MaterialFault> {
    let decoded = BASE64URL_NOPAD.decode(part.as_bytes());
    decoded.map_err(|_| malformed(fault))
}

fn json<T: for<'de> Deserialize<'de>>(part: &str, fault: &'static str) -> Result<T, MaterialFault> {
    let text = decode(part, fault)?;
    serde_json::from_slice(&text).map_err(|_| malformed(fault))
}

/// Verifies the certificates at the time of the signature, and returns that of the signer.
///
/// As in Apple's libraries without online checks, the signed time counts: a notification that is sent again after its
/// certificate has expired is still valid.
fn chain(
    x5c: &[String],
    signed_ms: i64,
) -> Result<(SenderCertificate, ValidityWindow), &'static str> {
    const FAULT: &str = "has certificates that do not chain to Apple's root";
    // The third certificate is the root as the sender shows it; only the pinned one counts.
    let [leaf, issuer, _root] = x5c else {
        return Err("does not have three certificates");
    };
    let der = |text: &String| BASE64.decode(text.as_bytes()).map(CertificateDer::from);
    let leaf = der(leaf).map_err(|_| FAULT)?;
    let issuer = der(issuer).map_err(|_| FAULT)?;
    let root = BASE64.decode(ROOT.as_bytes()).map(CertificateDer::from);
    let root = root.map_err(|_| FAULT)?;
    let anchors = [webpki::anchor_from_trusted_cert(&root).map_err(|_| FAULT)?];
    let seconds = u64::try_from(signed_ms.div_euclid(1000)).map_err(|_| FAULT)?;
    let verified = EndEntityCert::try_from(&leaf).map_err(|_| FAULT)?;
    let path = verified.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &anchors,
        std::slice::from_ref(&issuer),
        UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
        // webpki compares this usage only with certificates that have one; Apple's extensions are checked below.
        KeyUsage::server_auth(),
        None,
        None,
    );
    path.map_err(|_| FAULT)?;
    if !has_extension(&leaf, SIGNS_RECEIPTS) || !has_extension(&issuer, ISSUES_SIGNERS) {
        return Err("has a certificate of Apple that is not for signing notifications");
    }
    let leaf = SenderCertificate::read(&leaf)?;
    let validity = ValidityWindow {
        name: "the notification",
        from_ms: Some(signed_ms.saturating_sub(LEEWAY_MS)),
        until_ms: Some(leaf.until_ms().saturating_add(RETRIES_MS)),
    };
    Ok((leaf, validity))
}

fn has_extension(der: &CertificateDer<'_>, oid: &str) -> bool {
    X509Certificate::from_der(der).is_ok_and(|(_, certificate)| {
        let mut extensions = certificate.extensions().iter();
        extensions.any(|one| one.oid.to_id_string() == oid)
    })
}

/// Compares app and environment with the route's `audience`. According to Apple, exactly one of the four members is
/// present.
fn check_app(allowed: &[String], payload: &AppStorePayload) -> Result<(), MaterialFault> {
    let apps = [
        &payload.data,
        &payload.summary,
        &payload.external_purchase_token,
        &payload.app_data,
    ];
    let mut apps = apps.into_iter().flatten();
    let app = apps.next().ok_or_else(|| MaterialFault::missing("data"))?;
    // With two apps it would be unclear which one the event is for.
    if apps.next().is_some() {
        return Err(malformed("names two apps"));
    }
    let bundle = app.bundle_id.as_deref();
    let bundle = bundle.ok_or_else(|| MaterialFault::missing("bundleId"))?;
    let environment = app.environment.as_deref();
    // External purchase tokens have the environment in their id.
    let is_sandbox = match (&app.external_purchase_id, environment) {
        (Some(id), None) => id.starts_with("SANDBOX"),
        (_, Some("Sandbox")) => true,
        (_, Some("Production")) => false,
        _ => {
            let fault = "is neither `Production` nor `Sandbox`";
            return Err(MaterialFault::malformed("environment", fault));
        }
    };
    // Sandbox and production must match exactly, in both directions.
    let is_known = |known: &String| match known.strip_prefix("sandbox:") {
        Some(known) => is_sandbox && known == bundle,
        None => !is_sandbox && known == bundle,
    };
    if allowed.iter().any(is_known) {
        return Ok(());
    }
    let fault = "is not in the route's `audience`, or belongs to the other environment";
    Err(MaterialFault::malformed("bundleId", fault))
}

fn malformed(fault: &'static str) -> MaterialFault {
    MaterialFault::malformed("/signedPayload", fault)
}

#[cfg(test)]
mod tests;

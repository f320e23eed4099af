//! PayPal: the signed text is `transmission-id|transmission-time|webhook-id|checksum of the body`.
//!
//! The route's secret is the webhook id, which binds a signature to one webhook: every PayPal account can have signed
//! events sent to any URL under an id of its own. The checksum is a CRC, for which it is easy to make another body.

use data_encoding::BASE64;
use http::HeaderName;

use crate::model::secret::Secret;
use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::certificate::chain::SenderCertificate;
use crate::scheme::certificate::message::{CertificateMessage, certificate_url};
use crate::scheme::head::RequestHead;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::remote_keys::KeySource;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::spec::KeyAlgorithm;
use crate::scheme::spec::certificate::{
    AUTH_ALGO, CERT_URL, TRANSMISSION_ID, TRANSMISSION_SIG, TRANSMISSION_TIME,
};

/// Returns whether the URL is on one of PayPal's two hosts for certificates.
pub(super) fn is_own_host(url: &RemoteUrl) -> bool {
    url.port() == 443 && matches!(url.host(), "api.paypal.com" | "api.sandbox.paypal.com")
}

/// Returns whether the certificate has a name of PayPal's webhook certificates.
pub(super) fn is_own_certificate(certificate: &SenderCertificate) -> bool {
    let is_own = |name: &String| {
        matches!(
            name.as_str(),
            "messageverificationcerts.paypal.com" | "messageverificationcerts.sandbox.paypal.com"
        )
    };
    certificate.names().iter().any(is_own)
}

/// Reads the head, and composes one text per current webhook id.
pub(super) fn read(
    hosts: &[HostPattern],
    ids: &[Secret],
    head: &RequestHead<'_>,
    body: &[u8],
    current: SecretSet,
) -> Result<CertificateMessage, MaterialFault> {
    let malformed = |name: &HeaderName, fault| MaterialFault::malformed(name.as_str(), fault);
    let field = |name: &HeaderName| field(head, name);
    let (id, time) = (field(&TRANSMISSION_ID)?, field(&TRANSMISSION_TIME)?);
    // The header is not signed, so it may not select the algorithm.
    if field(&AUTH_ALGO)? != "SHA256withRSA" {
        return Err(malformed(&AUTH_ALGO, "is not `SHA256withRSA`"));
    }
    let url = certificate_url(field(&CERT_URL)?, hosts, is_own_host);
    let url = url.map_err(|fault| malformed(&CERT_URL, fault))?;
    let signature = BASE64.decode(field(&TRANSMISSION_SIG)?.as_bytes());
    let signature = signature.map_err(|_| malformed(&TRANSMISSION_SIG, "is not base64"))?;
    // PayPal signs a CRC-32 of the body in decimal digits.
    let checksum = crc32fast::hash(body);
    let ids = ids.iter().enumerate();
    let ids = ids.filter(|(index, _)| current.contains(*index));
    let texts = ids.map(|(index, webhook)| {
        let mut text = format!("{id}|{time}|").into_bytes();
        text.extend_from_slice(webhook.expose());
        text.extend_from_slice(format!("|{checksum}").as_bytes());
        (index, text)
    });
    Ok(CertificateMessage {
        source: KeySource::Chain(url),
        algorithm: KeyAlgorithm::RsaSha256,
        signature,
        texts: texts.collect(),
    })
}

/// Reads a header. It must not contain the separator of the signed text, which would give the text a second reading.
fn field<'h>(head: &RequestHead<'h>, name: &HeaderName) -> Result<&'h str, MaterialFault> {
    let value = read_head::read_header(head, name)?;
    let is_fit = |byte: &u8| byte.is_ascii_graphic() && *byte != b'|';
    let text = std::str::from_utf8(value).ok();
    let text = text.filter(|text| !text.is_empty() && text.as_bytes().iter().all(is_fit));
    text.ok_or_else(|| {
        MaterialFault::malformed(
            name.as_str(),
            "is empty or contains `|` or characters other than visible ASCII",
        )
    })
}

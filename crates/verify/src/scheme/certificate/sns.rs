//! Amazon SNS: the signed text consists of certain fields of the JSON body, with name and value on separate lines.
//!
//! The signature proves that Amazon sent it, not for whose topic: every account can have SNS send to any URL. So the
//! route lists its topics. SNS publishes its certificates without a chain to a CA; the host they are fetched from over
//! TLS, their name and their dates vouch for them.

use data_encoding::BASE64;

use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::certificate::chain::SenderCertificate;
use crate::scheme::certificate::message::{CertificateMessage, certificate_url};
use crate::scheme::jwt::token::StrictObject;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::remote_keys::KeySource;
use crate::scheme::spec::KeyAlgorithm;

/// Fields of a notification in the order of the signed text; `Subject` only if it is present.
const NOTIFICATION: [&str; 6] = [
    "Message",
    "MessageId",
    "Subject",
    "Timestamp",
    "TopicArn",
    "Type",
];

/// Fields of the two types of confirmations.
const CONFIRMATION: [&str; 7] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

/// Returns whether the URL is on a host of SNS: `sns.REGION.amazonaws.com`, in China `sns.REGION.amazonaws.com.cn`.
pub fn is_own_host(url: &RemoteUrl) -> bool {
    url.port() == 443 && is_regional(url.host())
}

fn is_regional(host: &str) -> bool {
    let rest = host.strip_prefix("sns.");
    let region = rest.and_then(|rest| {
        rest.strip_suffix(".amazonaws.com")
            .or_else(|| rest.strip_suffix(".amazonaws.com.cn"))
    });
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    region.is_some_and(|region| region.len() >= 3 && region.bytes().all(is_letter))
}

/// Returns whether the certificate is issued to SNS, globally or in a region.
pub(super) fn is_own_certificate(certificate: &SenderCertificate) -> bool {
    let is_own = |name: &String| {
        matches!(name.as_str(), "sns.amazonaws.com" | "sns.amazonaws.com.cn") || is_regional(name)
    };
    certificate.names().iter().any(is_own)
}

/// Reads the message and composes its signed text.
pub(super) fn read(
    hosts: &[HostPattern],
    topics: &[String],
    body: &[u8],
) -> Result<CertificateMessage, MaterialFault> {
    let json = StrictObject::parse(body).ok_or_else(|| {
        let fault = "is not a JSON object with unique names";
        MaterialFault::malformed("the body", fault)
    })?;
    let malformed = MaterialFault::malformed;
    // The type selects the signed fields; it is itself one of them.
    let fields: &[&str] = match text(&json, "Type")? {
        "Notification" => &NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &CONFIRMATION,
        _ => return Err(malformed("Type", "is not a message type of SNS")),
    };
    // The version is not signed, but a signature for one version never verifies as the other.
    let algorithm = match text(&json, "SignatureVersion")? {
        "1" => KeyAlgorithm::RsaSha1,
        "2" => KeyAlgorithm::RsaSha256,
        _ => return Err(malformed("SignatureVersion", "is neither 1 nor 2")),
    };
    let topic = text(&json, "TopicArn")?;
    if !topics.iter().any(|known| known == topic) {
        return Err(malformed("TopicArn", "is not in the route's `audience`"));
    }
    let url = certificate_url(text(&json, "SigningCertURL")?, hosts, is_own_host);
    let url = url.map_err(|fault| malformed("SigningCertURL", fault))?;
    // Certificates of SNS are `.pem` files, so this excludes everything else on its hosts.
    if !url.path_query().ends_with(".pem") || url.path_query().contains('?') {
        return Err(malformed("SigningCertURL", "does not end with `.pem`"));
    }
    let signature = BASE64.decode(text(&json, "Signature")?.as_bytes());
    let signature = signature.map_err(|_| malformed("Signature", "is not base64"))?;
    Ok(CertificateMessage {
        source: KeySource::Certificate(url),
        algorithm,
        signature,
        texts: vec![(0, signed_text(&json, fields, body.len())?)],
    })
}

fn signed_text(
    json: &StrictObject,
    fields: &[&str],
    room: usize,
) -> Result<Vec<u8>, MaterialFault> {
    let mut signed = Vec::with_capacity(room);
    for name in fields {
        // SNS does not sign `Subject` if the message lacks it.
        if *name == "Subject" && json.scalar(name).is_none_or(serde_json::Value::is_null) {
            continue;
        }
        for part in [name, "\n", text(json, name)?, "\n"] {
            signed.extend_from_slice(part.as_bytes());
        }
    }
    Ok(signed)
}

fn text<'j>(json: &'j StrictObject, name: &str) -> Result<&'j str, MaterialFault> {
    match json.scalar(name) {
        None => Err(MaterialFault::missing(name)),
        Some(value) => value
            .as_str()
            .ok_or_else(|| MaterialFault::malformed(name, "is not a string")),
    }
}

//! Amazon SNS: the signed text is made of chosen fields of the JSON body, name and value on lines of their own.
//!
//! The signature shows that Amazon sent it, not for whose topic: every account can have SNS send to any URL. So the
//! route names its topics. The certificates that SNS publishes come without the chain that would lead to an authority;
//! what vouches for them is the host that they are fetched from over TLS, their name and their dates.

use data_encoding::BASE64;

use crate::net::remote_url::RemoteUrl;
use crate::scheme::certificate::{Certificate, CertificateScheme, Message};
use crate::scheme::jwt::token::Object;
use crate::scheme::material::MaterialFault;
use crate::scheme::remote::KeySource;
use crate::scheme::spec::KeyAlgorithm;

/// The fields of a notification, in the order of the signed text; `Subject` only where it is there.
const NOTIFICATION: [&str; 6] = [
    "Message",
    "MessageId",
    "Subject",
    "Timestamp",
    "TopicArn",
    "Type",
];

/// The fields of the other two types.
const CONFIRMATION: [&str; 7] = [
    "Message",
    "MessageId",
    "SubscribeURL",
    "Timestamp",
    "Token",
    "TopicArn",
    "Type",
];

/// The fields that every signature covers.
pub(in crate::scheme) const ALWAYS_SIGNED: [&str; 5] =
    ["Message", "MessageId", "Timestamp", "TopicArn", "Type"];

/// Whether it is on SNS's own hosts: `sns.REGION.amazonaws.com`, in China `sns.REGION.amazonaws.com.cn`.
#[must_use]
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

/// Made out to SNS, as a whole or in a region.
pub(super) fn is_own_certificate(certificate: &Certificate) -> bool {
    let is_own = |name: &String| {
        matches!(name.as_str(), "sns.amazonaws.com" | "sns.amazonaws.com.cn") || is_regional(name)
    };
    certificate.names().iter().any(is_own)
}

/// Reads the body.
pub(super) fn read(scheme: &CertificateScheme, body: &[u8]) -> Result<Message, MaterialFault> {
    let json = Object::parse(body).ok_or_else(|| {
        let fault = "is not a JSON object whose names are each there once";
        MaterialFault::malformed("the body", fault)
    })?;
    let malformed = MaterialFault::malformed;
    let fields: &[&str] = match text(&json, "Type")? {
        "Notification" => &NOTIFICATION,
        "SubscriptionConfirmation" | "UnsubscribeConfirmation" => &CONFIRMATION,
        _ => return Err(malformed("Type", "is none that SNS sends")),
    };
    let algorithm = match text(&json, "SignatureVersion")? {
        "1" => KeyAlgorithm::RsaSha1,
        "2" => KeyAlgorithm::RsaSha256,
        _ => return Err(malformed("SignatureVersion", "is neither 1 nor 2")),
    };
    let topic = text(&json, "TopicArn")?;
    if !scheme.topics.iter().any(|known| known == topic) {
        return Err(malformed("TopicArn", "is none of the route's `audience`"));
    }
    let url = scheme.certificate_url(text(&json, "SigningCertURL")?);
    let url = url.map_err(|fault| malformed("SigningCertURL", fault))?;
    if !url.path_query().ends_with(".pem") || url.path_query().contains('?') {
        return Err(malformed("SigningCertURL", "does not end with `.pem`"));
    }
    let signature = BASE64.decode(text(&json, "Signature")?.as_bytes());
    let signature = signature.map_err(|_| malformed("Signature", "is not base64"))?;
    Ok(Message {
        source: KeySource::Certificate(url),
        algorithm,
        signature,
        texts: vec![(0, signed_text(&json, fields, body.len())?)],
    })
}

fn signed_text(json: &Object, fields: &[&str], room: usize) -> Result<Vec<u8>, MaterialFault> {
    let mut signed = Vec::with_capacity(room);
    for name in fields {
        if *name == "Subject" && json.scalar(name).is_none_or(serde_json::Value::is_null) {
            continue;
        }
        for part in [name, "\n", text(json, name)?, "\n"] {
            signed.extend_from_slice(part.as_bytes());
        }
    }
    Ok(signed)
}

fn text<'j>(json: &'j Object, name: &str) -> Result<&'j str, MaterialFault> {
    match json.scalar(name) {
        None => Err(MaterialFault::missing(name)),
        Some(value) => value
            .as_str()
            .ok_or_else(|| MaterialFault::malformed(name, "is not a text")),
    }
}

//! Schemes with certificates in words.

use crate::scheme::spec::{CertificateKind, CertificateSpec};
use crate::scheme::words::phrases::LabeledLine;

/// Describes the algorithm and the encoding of a signature.
pub(super) fn signature(kind: CertificateKind) -> &'static str {
    match kind {
        // The message has a version of its own, which selects the digest.
        CertificateKind::Sns => "RSA-SHA256 (version 2) or RSA-SHA1 (version 1) in base64",
        CertificateKind::AppStore => "a JWS with ES256",
        CertificateKind::PayPal => "RSA-SHA256 in base64",
    }
}

/// Describes how a message with a certificate is verified, as labeled sentences.
pub(super) fn lines(spec: &CertificateSpec) -> Vec<LabeledLine> {
    let signature = signature(spec.kind);
    match spec.kind {
        CertificateKind::Sns => vec![
            (
                "signature",
                format!("{signature}, in `/Signature` of the body"),
            ),
            (
                "signed text",
                "names and values of the message's fields, each on a line of its own".to_owned(),
            ),
            (
                "key",
                "the certificate at `/SigningCertURL`, only on a host `sns.REGION.amazonaws.com`"
                    .to_owned(),
            ),
            ("audience", "the route's `audience`: the topics that are allowed to send".to_owned()),
        ],
        CertificateKind::AppStore => vec![
            (
                "signature",
                format!("{signature}, in `/signedPayload` of the body"),
            ),
            (
                "key",
                "the certificate in the JWS, whose chain ends at Apple Root CA - G3; nothing is fetched"
                    .to_owned(),
            ),
            (
                "audience",
                "the route's `audience`: the bundle ids of your apps, with `sandbox:` before those of the sandbox"
                    .to_owned(),
            ),
        ],
        CertificateKind::PayPal => vec![
            (
                "signature",
                format!("{signature}, in the header `paypal-transmission-sig`"),
            ),
            (
                "signed text",
                "the headers `paypal-transmission-id` and `paypal-transmission-time`, the webhook's id, and the \
                CRC-32 of the body"
                    .to_owned(),
            ),
            (
                "key",
                "the certificate at `paypal-cert-url`, only on PayPal's hosts; its chain is verified"
                    .to_owned(),
            ),
            ("secret", "the webhook's id".to_owned()),
        ],
    }
}

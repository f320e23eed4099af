//! `type = "sns"` and `type = "paypal"`: signatures whose key is in a certificate that the request names.

use http::HeaderName;

use crate::net::remote_url::HostPattern;
use crate::scheme::certificate::{paypal, sns};
use crate::scheme::spec::Field;

/// `type = "sns"` or `type = "paypal"`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateSpec {
    /// Whose.
    pub kind: CertificateKind,
    /// The hosts on which certificates may stand; empty: the sender's own.
    pub hosts: Vec<HostPattern>,
    /// For SNS, the topics that may send, which the route says.
    pub topics: Vec<String>,
}

/// Whose signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateKind {
    /// Amazon SNS: chosen fields of the JSON body.
    Sns,
    /// PayPal: headers, the webhook's id and a checksum of the body.
    PayPal,
}

impl CertificateSpec {
    /// Whether the signature covers a field of the request.
    pub(super) fn signs_field(&self, field: &Field) -> bool {
        match (self.kind, field) {
            (CertificateKind::Sns, Field::Json(pointer)) => match pointer.as_slice() {
                [name] => sns::ALWAYS_SIGNED.contains(&name.as_str()),
                _ => false,
            },
            (CertificateKind::PayPal, Field::Header(name)) => paypal::SIGNED_HEADERS.contains(name),
            _ => false,
        }
    }
}

impl CertificateKind {
    /// The headers that verification reads.
    pub(super) fn headers(self) -> &'static [HeaderName] {
        match self {
            Self::Sns => &[],
            Self::PayPal => &paypal::HEADERS,
        }
    }
}

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
    /// For SNS the topics that may send, for the App Store the bundle ids, which the route says.
    pub topics: Vec<String>,
}

/// Whose signatures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateKind {
    /// Amazon SNS: chosen fields of the JSON body.
    Sns,
    /// PayPal: headers, the webhook's id and a checksum of the body.
    PayPal,
    /// Apple's App Store: a JWS in the body, which carries its certificates.
    AppStore,
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
            (CertificateKind::AppStore, Field::Claim(_)) => true,
            _ => false,
        }
    }
}

impl CertificateKind {
    /// Whether the sender signs for everybody alike, so that the route names what is its own.
    #[must_use]
    pub fn needs_audience(self) -> bool {
        matches!(self, Self::Sns | Self::AppStore)
    }

    /// The headers that verification reads.
    pub(super) fn headers(self) -> &'static [HeaderName] {
        match self {
            Self::Sns | Self::AppStore => &[],
            Self::PayPal => &paypal::HEADERS,
        }
    }
}

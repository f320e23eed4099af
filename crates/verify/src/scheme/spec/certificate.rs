//! Spec of `type = "sns"`, `"paypal"` and `"app_store"`: signatures with a key in a certificate.

use http::HeaderName;

use crate::net::remote_url::HostPattern;
use crate::scheme::spec::location::FieldLocation;

/// Fields that every signature of SNS covers.
const SNS_SIGNED: [&str; 5] = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"];

pub(in crate::scheme) const TRANSMISSION_ID: HeaderName =
    HeaderName::from_static("paypal-transmission-id");
pub(in crate::scheme) const TRANSMISSION_TIME: HeaderName =
    HeaderName::from_static("paypal-transmission-time");
pub(in crate::scheme) const TRANSMISSION_SIG: HeaderName =
    HeaderName::from_static("paypal-transmission-sig");
pub(in crate::scheme) const CERT_URL: HeaderName = HeaderName::from_static("paypal-cert-url");
pub(in crate::scheme) const AUTH_ALGO: HeaderName = HeaderName::from_static("paypal-auth-algo");

/// Headers that the verification of PayPal reads.
static PAYPAL_HEADERS: [HeaderName; 5] = [
    TRANSMISSION_ID,
    TRANSMISSION_TIME,
    TRANSMISSION_SIG,
    CERT_URL,
    AUTH_ALGO,
];

/// Headers that PayPal's signature covers.
static PAYPAL_SIGNED: [HeaderName; 2] = [TRANSMISSION_ID, TRANSMISSION_TIME];

/// Spec of a scheme with certificates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CertificateSpec {
    /// Sender whose format is used.
    pub kind: CertificateKind,
    /// Hosts from which certificates may be fetched; empty: the sender's own.
    pub hosts: Vec<HostPattern>,
    /// Topics of SNS that may send, or bundle ids of the App Store; the route sets them.
    pub topics: Vec<String>,
}

/// Sender and format of a certificate signature.
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
    /// Returns whether the signature covers a field of the request.
    pub(super) fn signs_field(&self, field: &FieldLocation) -> bool {
        match (self.kind, field) {
            (CertificateKind::Sns, FieldLocation::Json(pointer)) => match pointer.as_slice() {
                [name] => SNS_SIGNED.contains(&name.as_str()),
                _ => false,
            },
            (CertificateKind::PayPal, FieldLocation::Header(name)) => PAYPAL_SIGNED.contains(name),
            (CertificateKind::AppStore, FieldLocation::Claim(_)) => true,
            _ => false,
        }
    }
}

impl CertificateKind {
    /// Returns whether the sender signs for all its customers alike, so that the route must list its own ids.
    #[must_use]
    pub fn needs_audience(self) -> bool {
        matches!(self, Self::Sns | Self::AppStore)
    }

    /// Returns the headers that verification reads.
    pub(super) fn headers(self) -> &'static [HeaderName] {
        match self {
            Self::Sns | Self::AppStore => &[],
            Self::PayPal => &PAYPAL_HEADERS,
        }
    }
}

//! The unverified parts of a request with a certificate.

use crate::net::remote_url::{HostPattern, RemoteUrl};
use crate::scheme::remote_keys::KeySource;
use crate::scheme::spec::KeyAlgorithm;

/// Unverified parts of a request that the signature needs.
pub(super) struct CertificateMessage {
    /// Location of the certificate that the request names.
    pub(super) source: KeySource,
    pub(super) algorithm: KeyAlgorithm,
    pub(super) signature: Vec<u8>,
    /// The signed text; for PayPal one per webhook id, with the id's position.
    pub(super) texts: Vec<(usize, Vec<u8>)>,
}

/// Returns the URL of the certificate if it may be fetched: on one of the hosts of the spec, or without any on the
/// sender's own. The error says why not.
pub(super) fn certificate_url(
    text: &str,
    hosts: &[HostPattern],
    is_own_host: fn(&RemoteUrl) -> bool,
) -> Result<RemoteUrl, &'static str> {
    let url =
        RemoteUrl::parse_strange(text).map_err(|_| "is not an https URL in its normal form")?;
    let is_own = match hosts {
        [] => is_own_host(&url),
        hosts => url.is_on(hosts),
    };
    if !is_own {
        return Err("is not on a host of the sender");
    }
    Ok(url)
}

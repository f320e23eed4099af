//! Client certificates of senders: authorities, revocation lists, and the check of a certificate against both.
//!
//! The TLS handshake comes before the route is known. So it proves only that the client has the key of the certificate
//! that it shows. Whether a route trusts that certificate is decided for each request, by the rule of the route: a resumed
//! session, a connection that is used for several hosts, and a list that changed meanwhile cannot bypass it.

mod crl;
mod identity;
mod peer;
mod rule;

pub(crate) use crate::client_certs::peer::PeerCertificates;
pub(crate) use crate::client_certs::rule::{
    ClientCertError, ClientCertFault, ClientCertRule, ClientCertSettings, RefreshOutcome,
};

//! The names and the CA of one config, with the file of CAs already checked.

use std::sync::Arc;

use crate::config::model::AcmeSection;
use crate::net::client::{ClientError, OwnTls, system_roots};
use crate::net::egress_proxy::EgressProxy;

/// Everything that a config says about managed certificates.
#[derive(Clone)]
pub(crate) struct AcmePlan {
    pub(super) section: AcmeSection,
    /// Proxy through which the CA is reached, unless its host is an exception.
    pub(super) proxy: Option<Arc<EgressProxy>>,
}

impl AcmePlan {
    /// Checks the file of CAs and returns the plan. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or has no certificate.
    pub(crate) fn build(
        section: &AcmeSection,
        proxy: Option<Arc<EgressProxy>>,
    ) -> Result<Self, ClientError> {
        if let Some(ca) = &section.ca {
            OwnTls::read(system_roots, Some(ca), None)?;
        }
        Ok(Self {
            section: section.clone(),
            proxy,
        })
    }
}

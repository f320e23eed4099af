//! The names and the CA of one config, with the file of CAs already checked.

use crate::config::model::AcmeSection;
use crate::net::client::{ClientError, OwnTls, system_roots};

/// Everything that a config says about managed certificates.
#[derive(Clone)]
pub(crate) struct AcmePlan {
    pub(super) section: AcmeSection,
}

impl AcmePlan {
    /// Checks the file of CAs and returns the plan. Blocks.
    ///
    /// # Errors
    /// The file cannot be read or has no certificate.
    pub(crate) fn build(section: &AcmeSection) -> Result<Self, ClientError> {
        if let Some(ca) = &section.ca {
            OwnTls::read(system_roots, Some(ca), None)?;
        }
        Ok(Self {
            section: section.clone(),
        })
    }
}

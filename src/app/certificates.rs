//! Certificates of a running gate: the manager of `[tls.acme]`, and the health of all certificates for operators.

use std::sync::Arc;

use crate::acme::{AcmePlan, CertificateHealth, CertificateManager};
use crate::admin::tls::AdminTls;
use crate::app::error::StartError;
use crate::config::model::GateConfig;
use crate::edge::EdgeServer;
use crate::model::clock::ClockReading;
use crate::store::Store;

/// All certificates of a gate: of files, of a CA, and of the admin listener.
#[derive(Clone)]
pub(crate) struct CertificateSources {
    pub(super) edge: Arc<EdgeServer>,
    pub(super) manager: Arc<CertificateManager>,
    pub(super) admin: Option<Arc<AdminTls>>,
}

impl CertificateSources {
    /// Returns the health of the certificates of the public listeners: those of files first, in the order of the config.
    pub(crate) fn public_health(&self) -> Vec<CertificateHealth> {
        let files = self.edge.file_certificates().into_iter();
        let files = files.map(|info| CertificateHealth::of_file(info.names, info.not_after));
        files.chain(self.manager.health()).collect()
    }

    /// Returns the health of all certificates, with that of the admin listener at the end.
    pub(crate) fn health(&self) -> Vec<CertificateHealth> {
        let own = self.admin.as_ref().map(|tls| tls.info());
        let own = own.map(|info| CertificateHealth::of_file(info.names, info.not_after));
        let mut health = self.public_health();
        health.extend(own);
        health
    }

    /// Returns why no handshake can succeed, while there is no certificate at all.
    pub(crate) fn missing(&self) -> Option<String> {
        self.manager.missing()
    }
}

/// Creates the manager of a gate. It has no plan until a config is in use.
pub(super) fn manager(
    edge: &Arc<EdgeServer>,
    state_folder: &std::path::Path,
    store: Option<Store>,
) -> Arc<CertificateManager> {
    let files = Arc::clone(edge);
    CertificateManager::new(
        state_folder,
        store,
        Arc::clone(edge.managed()),
        Arc::new(move || files.file_certificates()),
        Arc::new(ClockReading::read),
    )
}

/// Builds the plan of a config, and checks that its folder can be written. Blocks.
pub(super) fn plan(
    config: &GateConfig,
    manager: &CertificateManager,
) -> Result<Option<AcmePlan>, StartError> {
    let acme = config.tls.as_ref().and_then(|tls| tls.acme.as_ref());
    let Some(acme) = acme else {
        return Ok(None);
    };
    // A certificate that cannot be stored would be ordered again after each restart, until the CA refuses.
    manager.prepare().map_err(StartError::AcmeStorage)?;
    let plan =
        AcmePlan::build(acme, config.egress_proxy.clone()).map_err(StartError::AcmeAuthority)?;
    Ok(Some(plan))
}

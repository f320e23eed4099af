//! Calls of the store for nodes that share it: reports, the duty of alerts, and certificates.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::store::certificate_item::CertificateItem;
use crate::store::error::StoreError;
use crate::store::handle::{Backend, Store};
use crate::store::nodes::{NodeReport, NodeRow};
use crate::store::rows::DestinationId;

impl Store {
    /// Takes or prolongs the duty of alerts, for a time. Returns its term, which grows whenever the duty goes to another
    /// node, or `None` if another node has it. A store of one process always has it.
    pub(crate) async fn take_alert_duty(&self, lease: Duration) -> Result<Option<i64>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Some(0)),
            Backend::Postgres(store) => store.take_alert_duty(lease).await,
        }
    }

    /// Lists the rows of alerts whose names begin with a text. A store of one process has no such rows.
    pub(crate) async fn alert_rows(
        &self,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.alert_rows(prefix).await,
        }
    }

    /// Writes or deletes rows of alerts in one transaction. With a term, this changes nothing and returns `false` if
    /// this node does not have the duty in this term.
    pub(crate) async fn put_alert_rows(
        &self,
        term: Option<i64>,
        rows: Vec<(String, Option<String>)>,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(store) => store.put_alert_rows(term, rows).await,
        }
    }

    /// Lists the nodes that share the store, this one first. An SQLite file has one node, so its list is empty.
    pub(crate) async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            return Ok(stub.nodes.lock().clone());
        }
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.nodes().await,
        }
    }

    /// Returns the name of this node, if several nodes may share the store.
    pub(crate) fn node_name(&self) -> Option<&str> {
        #[cfg(test)]
        if self.stub.is_some() {
            return Some("test");
        }
        match &self.backend {
            Backend::Sqlite(_) => None,
            Backend::Postgres(store) => Some(store.node_name()),
        }
    }

    /// Returns a value that changes with each written or removed certificate item. An SQLite file has no items: its process
    /// holds certificates in files.
    pub(crate) async fn certificate_version(&self) -> Result<(i64, i64), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok((0, 0)),
            Backend::Postgres(store) => store.certificate_version().await,
        }
    }

    /// Returns the certificate items of these kinds that all nodes share.
    pub(crate) async fn certificate_items(
        &self,
        kinds: Vec<String>,
    ) -> Result<Vec<CertificateItem>, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(Vec::new()),
            Backend::Postgres(store) => store.certificate_items(kinds).await,
        }
    }

    /// Writes a certificate item for all nodes.
    pub(crate) async fn put_certificate_item(
        &self,
        item: CertificateItem,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.put_certificate_item(item).await,
        }
    }

    /// Removes a certificate item for all nodes.
    pub(crate) async fn remove_certificate_item(
        &self,
        kind: String,
        name: String,
    ) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.remove_certificate_item(kind, name).await,
        }
    }

    /// Takes or extends the lease of the one node that orders certificates. Returns `false` if another node has it.
    pub(crate) async fn take_certificate_lease(
        &self,
        length: Duration,
    ) -> Result<bool, StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(true),
            Backend::Postgres(store) => store.take_certificate_lease(length).await,
        }
    }

    /// Ends the lease of this node.
    pub(crate) async fn end_certificate_lease(&self) -> Result<(), StoreError> {
        match &self.backend {
            Backend::Sqlite(_) => Ok(()),
            Backend::Postgres(store) => store.end_certificate_lease().await,
        }
    }

    /// Sets what this node publishes about itself with its next beats.
    pub(crate) fn publish(&self, report: NodeReport) {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            *stub.report.lock() = Some(report.clone());
        }
        match &self.backend {
            Backend::Sqlite(_) => {}
            Backend::Postgres(store) => store.publish(report),
        }
    }

    /// Returns a receiver of destinations that got work from other nodes. Only one receiver gets them: the newest.
    pub(crate) fn news(&self) -> mpsc::Receiver<DestinationId> {
        #[cfg(test)]
        if let Some(stub) = &self.stub {
            return stub.news();
        }
        match &self.backend {
            // No other process writes the file, so this channel is closed at once.
            Backend::Sqlite(_) => mpsc::channel(1).1,
            Backend::Postgres(store) => store.news(),
        }
    }
}

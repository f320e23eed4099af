//! Data about the connection of a request, for its handler.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::admin::access::CallerOrigin;
use crate::admin::connection_deadline::ConnectionDeadline;
use crate::admin::tls::AdminTls;

/// Data about the connection of a request, for its handler.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionContext {
    /// Deadline of the connection, which a handler may extend.
    pub(super) deadline: Arc<ConnectionDeadline>,
    /// Cancelled when the admin listener stops.
    pub(super) stop: CancellationToken,
    /// The client: its address, or the user of the Unix socket.
    pub(super) origin: CallerOrigin,
    /// TLS of the listener, if the connection uses it.
    pub(super) tls: Option<Arc<AdminTls>>,
    /// Detail for the audit log that only the handler knows, such as how many deliveries changed.
    pub(super) remark: Arc<OnceLock<String>>,
}

impl ConnectionContext {
    /// Sets the detail for the audit log. Only the first call counts.
    pub(super) fn remark(&self, text: String) {
        let _ = self.remark.set(text);
    }
}

//! State that all handlers of the console share.

use crate::admin::AdminApi;
use crate::console::session::SessionTable;

/// State that all handlers of the console share.
pub(super) struct ConsoleState {
    pub(super) api: AdminApi,
    pub(super) sessions: SessionTable,
}

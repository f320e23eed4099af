//! Problems with client certificates that the log already has.

use std::collections::HashSet;

use crate::model::ids::RouteName;

/// Problems of routes that were logged already: an error that holds for days must not fill the log.
#[derive(Default)]
pub(super) struct ReportedLists {
    pub(super) failed: HashSet<RouteName>,
    pub(super) ended: HashSet<RouteName>,
}

//! Reasons why there is no key, and the time for which a key is held.

use std::sync::Arc;
use std::time::Duration;

/// Age after which keys become invalid if no fetch succeeded: a day, and an hour for the refresh.
pub(crate) const HELD: Duration = Duration::from_secs(25 * 3600);

/// Reason why there is no key for a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum KeyFault {
    /// The source was fetched, but has no such key.
    Unknown,
    /// The source could not be fetched, or its response is not usable; the text gives the reason.
    Unavailable(Arc<str>),
    /// The client has used up its budget for fetches.
    Spent,
}

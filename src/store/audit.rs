//! Audit rows: one row for each operator action. `admin` writes them, and the store keeps them beside the objects that
//! they concern.

/// An operator action that has ended, whether it succeeded or failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OperatorAction {
    /// When the action ended, in milliseconds since the epoch.
    pub at_ms: i64,
    /// The name of the token, or the user of the Unix socket.
    pub who: String,
    /// The role of the token at the time of the action.
    pub role: String,
    /// The address that the request came from.
    pub source: String,
    /// The name of an operation of the admin API.
    pub action: String,
    /// The object that the action concerned; empty where the action has no target.
    pub target: String,
    /// Further detail that distinguishes actions of the same name.
    pub detail: Option<String>,
    /// The HTTP status of the response.
    pub status: u16,
}

/// A stored action with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ActionRow {
    /// The number of the row: later actions have higher numbers.
    pub id: i64,
    /// The node that ran the action, if several nodes share the store.
    pub node: Option<String>,
    /// The action as it was recorded.
    pub action: OperatorAction,
}

/// Criteria for audit rows. A row matches if it meets all criteria that are set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct ActionSearch {
    /// Only actions of this token or user.
    pub who: Option<String>,
    /// Only operations of this name.
    pub action: Option<String>,
    /// Only actions on this target.
    pub target: Option<String>,
    /// Only actions at this time or later, in milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Only actions before this time, in milliseconds since the epoch.
    pub before_ms: Option<i64>,
}

impl ActionSearch {
    /// Returns whether an action meets all criteria.
    #[must_use]
    pub(crate) fn wants(&self, action: &OperatorAction) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        is(&self.who, &action.who)
            && is(&self.action, &action.action)
            && is(&self.target, &action.target)
            && self.since_ms.is_none_or(|since| action.at_ms >= since)
            && self.before_ms.is_none_or(|before| action.at_ms < before)
    }
}

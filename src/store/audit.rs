//! What operators did: one row for each action, written by `admin`, kept beside what they acted on.

/// An action that ended, one way or the other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// When it ended. Milliseconds since the epoch.
    pub at_ms: i64,
    /// Whose token, or which user of the socket.
    pub who: String,
    /// What they may do.
    pub role: String,
    /// Where they asked from.
    pub source: String,
    /// What they asked for: the name of an operation of the admin API.
    pub action: String,
    /// With what; empty where the action has no target.
    pub target: String,
    /// What else tells the action from others of its name.
    pub detail: Option<String>,
    /// The status of the answer.
    pub status: u16,
}

/// An action with its number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActionRow {
    /// Its number: later ones have higher ones.
    pub id: i64,
    /// The action.
    pub action: Action,
}

/// Which actions. All that is said has to hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ActionSearch {
    /// Of this one.
    pub who: Option<String>,
    /// Of this name.
    pub action: Option<String>,
    /// With this target.
    pub target: Option<String>,
    /// At this time or later. Milliseconds since the epoch.
    pub since_ms: Option<i64>,
    /// Before this time. Milliseconds since the epoch.
    pub before_ms: Option<i64>,
}

impl ActionSearch {
    /// Whether an action is one of those that are looked for.
    #[must_use]
    pub fn wants(&self, action: &Action) -> bool {
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

//! What the gate remembers in counts: by minute and hour, by secret, and what a route in monitor mode would refuse.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Moment, Verdict};

/// Requests with one reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReasonCount {
    /// A word of a closed set, as in verdicts.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What came on a route in a stretch of time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Tally {
    /// When it began.
    pub start: Moment,
    /// Events that passed every check.
    pub accepted: u64,
    /// Known already, and answered so.
    pub duplicate: u64,
    /// Checks of a URL.
    pub challenge: u64,
    /// Kept from the app by the route's filter.
    pub filtered: u64,
    /// Refused.
    pub refused: Vec<ReasonCount>,
    /// Let through in monitor mode, though they fail a check.
    pub would_refuse: Vec<ReasonCount>,
}

impl Tally {
    /// Requests that the gate took, or answered itself.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.accepted + self.duplicate + self.challenge + self.filtered
    }

    /// Requests that the gate kept from the app, or would have.
    #[must_use]
    pub fn failed(&self) -> u64 {
        let each = self.refused.iter().chain(&self.would_refuse);
        each.map(|each| each.count).sum()
    }
}

/// What came on a route lately. Stretches in which nothing came are not there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct History {
    /// Its name.
    pub route: String,
    /// Since when this process counts.
    pub counted_since: Moment,
    /// The minutes of the last hour, the oldest first.
    pub minutes: Vec<Tally>,
    /// The hours of the last two days, the oldest first.
    pub hours: Vec<Tally>,
}

impl History {
    /// When the last stretch began in which something came.
    #[must_use]
    pub fn last(&self) -> Option<Moment> {
        let last = self.minutes.last().or(self.hours.last());
        last.map(|tally| tally.start)
    }

    /// Requests of the last hour that the gate took, or answered itself.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.minutes.iter().map(Tally::passed).sum()
    }

    /// Requests of the last hour that the gate kept from the app, or would have.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.minutes.iter().map(Tally::failed).sum()
    }
}

/// What would change if a route in monitor mode refused what fails a check.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Promotion {
    /// The route.
    pub route: String,
    /// Whether it refuses already.
    pub enforced: bool,
    /// Since when requests were counted for this: 24 hours of the clock, or since the start.
    pub since: Moment,
    /// Requests that came since.
    pub requests: u64,
    /// Of these, those that would have been refused.
    pub would_refuse: u64,
    /// The same by reason, the most frequent first.
    pub reasons: Vec<ReasonCount>,
    /// The last ones that are still remembered (`keep_verdicts`), the newest first; 50 at most.
    pub examples: Vec<Verdict>,
}

/// A secret of the running config: never its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct SecretUse {
    /// The route.
    pub route: String,
    /// Its `name`, or its position.
    pub name: String,
    /// When it begins to count.
    pub not_before: Option<Moment>,
    /// When it ceases to count.
    pub until: Option<Moment>,
    /// Signatures that matched it since the process started.
    pub matches: u64,
    /// The last of them.
    pub last_match: Option<Moment>,
}

/// The secrets of all routes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Secrets {
    /// Since when this process counts.
    pub counted_since: Moment,
    /// By route, in the order of the config.
    pub secrets: Vec<SecretUse>,
}

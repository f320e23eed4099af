//! Destinations and what waits there.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::wire::{Counts, Moment};

/// How a destination does, as those see it who deliver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `closed`: attempts are made; `open`: they pause after failures in a row; `half_open`: one is being tried.
    pub breaker: String,
    /// Attempts that are going on.
    pub in_flight: u64,
    /// When it last took an event.
    pub last_success: Option<Moment>,
    /// When an attempt last failed.
    pub last_failure: Option<Moment>,
}

/// A destination and what waits there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Destination {
    /// Its route.
    pub route: String,
    /// Its name.
    pub name: String,
    /// An operator paused it.
    pub paused: bool,
    /// An operator paused its route.
    pub route_paused: bool,
    /// Why it was switched off; none: it was not. `resume` switches it on again.
    pub disabled: Option<String>,
    /// Deliveries by state; those that have ended are counted up to 1,000 only.
    pub deliveries: Counts,
    /// When the oldest open delivery was made.
    pub oldest_open: Option<Moment>,
    /// How it does; none where the running config has no such destination.
    pub health: Option<Health>,
}

/// All destinations that were ever named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Destinations {
    /// The destinations.
    pub destinations: Vec<Destination>,
}

/// A test event that was sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct TestEvent {
    /// Its id in the inbox.
    pub event: String,
    /// The number of its delivery, which says what becomes of it.
    pub delivery: i64,
}

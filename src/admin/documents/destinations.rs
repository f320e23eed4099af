//! JSON shapes of destinations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::{ApiTimestamp, StateCounts};

/// Health of a destination, as its worker sees it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Health)]
pub(crate) struct HealthDocument {
    /// State of the circuit breaker: `closed` (attempts run), `open` (attempts pause after repeated failures) or
    /// `half_open` (one attempt tests the destination).
    pub breaker: String,
    /// Number of attempts in progress.
    pub in_flight: u64,
    /// Time of the last successful attempt.
    pub last_success: Option<ApiTimestamp>,
    /// Time of the last failed attempt.
    pub last_failure: Option<ApiTimestamp>,
}

/// A destination with its deliveries by state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Destination)]
pub(crate) struct DestinationDocument {
    /// Name of the route.
    pub route: String,
    /// Name of the destination.
    pub name: String,
    /// True if an operator paused the destination.
    pub paused: bool,
    /// True if an operator paused the route.
    pub route_paused: bool,
    /// Reason why the gate disabled the destination; null if it is enabled. `resume` enables it again.
    pub disabled: Option<String>,
    /// Number of deliveries in each state; ended ones are counted up to 1,000 only.
    pub deliveries: StateCounts,
    /// Time at which the oldest open delivery was created.
    pub oldest_open: Option<ApiTimestamp>,
    /// Health of the destination; null if it is not in the running config.
    pub health: Option<HealthDocument>,
}

/// All destinations, including those that left the config.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Destinations)]
pub(crate) struct DestinationList {
    /// Destinations of all routes.
    pub destinations: Vec<DestinationDocument>,
}

/// A test event that is being delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct TestEvent {
    /// Id of the event in the inbox.
    pub event: String,
    /// Number of its delivery, whose state shows the outcome.
    pub delivery: i64,
}

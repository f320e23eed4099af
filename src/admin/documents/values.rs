//! Values that several documents have.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use strum::IntoStaticStr;
use utoipa::ToSchema;

use crate::model::delivery::{DeliveryState, DeliveryStep};

/// Raw bytes in a response; used only in the OpenAPI document.
#[derive(Debug, ToSchema)]
#[schema(as = Raw, value_type = String, format = Binary)]
pub(crate) struct RawBytes(());

/// A moment in milliseconds since the epoch; in JSON an RFC 3339 text with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ToSchema)]
#[schema(as = Moment, value_type = String, format = DateTime, example = "2026-11-25T08:30:00.000Z")]
pub(crate) struct ApiTimestamp(pub i64);

impl fmt::Display for ApiTimestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A number outside of the calendar shows as the epoch: one odd row must not fail a whole list.
        let time = jiff::Timestamp::from_millisecond(self.0);
        write!(f, "{:.3}", time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl Serialize for ApiTimestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ApiTimestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(time.as_millisecond()))
    }
}

/// State of a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = State)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStateName {
    Pending,
    InFlight,
    Waiting,
    Delivered,
    Dead,
    Cancelled,
}

impl From<DeliveryState> for DeliveryStateName {
    fn from(state: DeliveryState) -> Self {
        match state {
            DeliveryState::Pending => Self::Pending,
            DeliveryState::InFlight => Self::InFlight,
            DeliveryState::Waiting => Self::Waiting,
            DeliveryState::Delivered => Self::Delivered,
            DeliveryState::Dead => Self::Dead,
            DeliveryState::Cancelled => Self::Cancelled,
        }
    }
}

/// An action of an operator on a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema, IntoStaticStr)]
#[schema(as = Action)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(crate) enum DeliveryAction {
    /// Attempts the delivery now.
    Retry,
    /// Ends an open delivery without further attempts.
    Cancel,
    /// Ends a dead-lettered delivery for good.
    Discard,
}

impl DeliveryAction {
    /// Returns the word of the API for the action.
    pub(crate) fn word(self) -> &'static str {
        self.into()
    }

    /// Returns the step in the state table of deliveries.
    pub(crate) fn step(self) -> DeliveryStep {
        match self {
            Self::Retry => DeliveryStep::Retry,
            Self::Cancel => DeliveryStep::Cancel,
            Self::Discard => DeliveryStep::Discard,
        }
    }
}

/// Number of deliveries in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[schema(as = Counts)]
pub(crate) struct StateCounts {
    pub pending: u64,
    pub in_flight: u64,
    pub waiting: u64,
    pub delivered: u64,
    pub dead: u64,
    pub cancelled: u64,
}

impl StateCounts {
    /// Converts counts of the store, which are in the order of `DeliveryState::ALL`.
    pub(crate) fn new([pending, in_flight, waiting, delivered, dead, cancelled]: [u64; 6]) -> Self {
        Self {
            pending,
            in_flight,
            waiting,
            delivered,
            dead,
            cancelled,
        }
    }

    /// Returns each count with the word for its state.
    pub(crate) fn with_names(&self) -> [(&'static str, u64); 6] {
        [
            ("pending", self.pending),
            ("in flight", self.in_flight),
            ("waiting", self.waiting),
            ("delivered", self.delivered),
            ("dead", self.dead),
            ("cancelled", self.cancelled),
        ]
    }

    /// Returns the number of open deliveries, which the gate attempts without an operator.
    pub(crate) fn open(&self) -> u64 {
        self.pending
            .saturating_add(self.in_flight)
            .saturating_add(self.waiting)
    }
}

/// A problem document (RFC 9457), the body of every error response.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ProblemDocument {
    /// Kind of the error, by its HTTP status.
    pub title: String,
    /// HTTP status of the response.
    pub status: u16,
    /// Reason why this request failed, and what to do.
    #[serde(default)]
    pub detail: Option<String>,
    /// Errors and warnings of an invalid config, with their locations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub diagnostics: Option<serde_json::Value>,
}

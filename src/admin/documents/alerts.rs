//! JSON shapes of alerts and their receivers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;

/// An open alert.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Alert)]
pub(crate) struct AlertDocument {
    /// Number of the alert.
    pub id: u64,
    /// Kind of the problem, as a word of a closed set, such as `dead_letters`.
    pub condition: String,
    /// The thing that has the problem, such as `route/destination`.
    pub subject: String,
    /// Sentence that describes the problem and what to do.
    pub text: String,
    /// How bad it is: 0 at first, and higher when it got worse.
    pub level: u32,
    /// Time at which the problem was found first.
    pub since: ApiTimestamp,
    /// Time since which the problem is absent; the alert is over soon if it does not return.
    pub absent_since: Option<ApiTimestamp>,
    /// Name of the token that acknowledged the alert; null if it is not acknowledged.
    pub acknowledged_by: Option<String>,
    /// Time of the acknowledgment.
    pub acknowledged_at: Option<ApiTimestamp>,
}

/// A receiver of alerts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertReceiver)]
pub(crate) struct AlertReceiverDocument {
    /// Name of the receiver in the config.
    pub name: String,
    /// Kind of the receiver, such as `slack` or `mail`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Number of alerts about which it still has to be notified.
    pub waiting: u64,
    /// Number of failed attempts in a row; 0 if it accepted the last message.
    pub failures: u64,
    /// Time of the first of these.
    pub failing_since: Option<ApiTimestamp>,
    /// Error of the last one.
    pub last_error: Option<String>,
    /// Time at which it accepted a message last.
    pub last_accepted: Option<ApiTimestamp>,
}

/// All open alerts and all receivers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Alerts)]
pub(crate) struct AlertList {
    /// Open alerts, most urgent first.
    pub alerts: Vec<AlertDocument>,
    /// Receivers of the config, sorted by name.
    pub receivers: Vec<AlertReceiverDocument>,
}

/// Outcome of a test message to one receiver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertTest)]
pub(crate) struct AlertTestDocument {
    /// Name of the receiver in the config.
    pub name: String,
    /// Kind of the receiver, such as `slack` or `mail`.
    #[serde(rename = "type")]
    pub kind: String,
    /// True if the receiver accepted the message.
    pub accepted: bool,
    /// Error, if it did not.
    pub error: Option<String>,
}

/// Outcomes of test messages.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertTests)]
pub(crate) struct AlertTestList {
    /// Outcomes by receiver, sorted by name.
    pub receivers: Vec<AlertTestDocument>,
}

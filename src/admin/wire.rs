//! The JSON shapes of the admin API, for those who answer and for those who ask (`cli`). The types of `model` and
//! `store` have none: what stands on a disk or in memory may change without the API changing.
//!
//! Fields are only ever added. A time is RFC 3339 in UTC, a state one of the words of the inbox.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use crate::model::delivery::{DeliveryState, Step};

/// Bytes as they are; only the document of the API names them.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub struct Raw(());

/// A moment, with milliseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-25T08:30:00.000Z")]
pub struct Moment(pub i64);

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_millisecond(self.0);
        write!(f, "{:.3}", time.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(time.as_millisecond()))
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words of `DeliveryState`")]
pub enum State {
    Pending,
    InFlight,
    Waiting,
    Delivered,
    Dead,
    Cancelled,
}

impl From<DeliveryState> for State {
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

impl From<State> for DeliveryState {
    fn from(state: State) -> Self {
        match state {
            State::Pending => Self::Pending,
            State::InFlight => Self::InFlight,
            State::Waiting => Self::Waiting,
            State::Delivered => Self::Delivered,
            State::Dead => Self::Dead,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// What an operator asks for a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Attempt it now.
    Retry,
    /// No more attempts.
    Cancel,
    /// Done with a dead letter.
    Discard,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Discard => "discard",
        }
    }

    /// The step of the table.
    #[must_use]
    pub fn step(self) -> Step {
        match self {
            Self::Retry => Step::Retry,
            Self::Cancel => Step::Cancel,
            Self::Discard => Step::Discard,
        }
    }
}

/// How many deliveries stand in each state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
#[expect(missing_docs, reason = "the words of `DeliveryState`")]
pub struct Counts {
    pub pending: u64,
    pub in_flight: u64,
    pub waiting: u64,
    pub delivered: u64,
    pub dead: u64,
    pub cancelled: u64,
}

impl Counts {
    /// As the store counts: in the order of `DeliveryState::ALL`.
    #[must_use]
    pub fn new([pending, in_flight, waiting, delivered, dead, cancelled]: [u64; 6]) -> Self {
        Self {
            pending,
            in_flight,
            waiting,
            delivered,
            dead,
            cancelled,
        }
    }

    /// With their words.
    #[must_use]
    pub fn words(&self) -> [(&'static str, u64); 6] {
        [
            ("pending", self.pending),
            ("in flight", self.in_flight),
            ("waiting", self.waiting),
            ("delivered", self.delivered),
            ("dead", self.dead),
            ("cancelled", self.cancelled),
        ]
    }

    /// Those that may still be attempted by themselves.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.pending
            .saturating_add(self.in_flight)
            .saturating_add(self.waiting)
    }
}

/// An event in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its id in the inbox: the id of the request that brought it.
    pub uid: String,
    /// The route that took it.
    pub route: String,
    /// Who sent it, as a provider's id.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<String>,
    /// The provider's type of it.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What destinations know it by (`webhook-id`), the same for each copy and attempt.
    pub webhook_id: String,
    /// When it was accepted.
    pub received: Moment,
    /// Bytes of its body.
    pub body_size: u64,
    /// Its deliveries by state.
    pub deliveries: Counts,
}

/// A part of the events, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Events {
    /// The events.
    pub events: Vec<Event>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}

/// A header field of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Header {
    /// In lower case.
    pub name: String,
    /// As sent; none where it may be a secret that the sender shows. Bytes that are no UTF-8 are replaced.
    pub value: Option<String>,
}

/// The body of an event.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Body {
    /// Whether it is there: it may have been let go after its deliveries (`keep_body = false`).
    pub is_kept: bool,
    /// Bytes, where it is there.
    pub size: Option<u64>,
    /// SHA-256 in hexadecimal digits, taken at acceptance.
    pub sha256: String,
}

/// An event with all but its body, which `/events/{uid}/body` gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct EventDetail {
    /// Its id in the inbox: the id of the request that brought it.
    pub uid: String,
    /// The route that took it.
    pub route: String,
    /// Who sent it, as a provider's id.
    pub provider: String,
    /// The provider's id of it.
    pub event_id: Option<String>,
    /// The provider's type of it.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// What destinations know it by (`webhook-id`), the same for each copy and attempt.
    pub webhook_id: String,
    /// When it was accepted.
    pub received: Moment,
    /// The address of the sender.
    pub source: String,
    /// Whether it came over TLS.
    pub tls: bool,
    /// The method as sent.
    pub method: String,
    /// Path and query as sent; what may be a secret in the query is left out.
    pub target: String,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The headers that were kept, in no certain order.
    pub headers: Vec<Header>,
    /// About its body.
    pub body: Body,
    /// Its deliveries, the newest first, 500 at most.
    pub deliveries: Vec<Delivery>,
}

/// One event for one destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Delivery {
    /// Its number.
    pub id: i64,
    /// The event, by its id in the inbox.
    pub event: String,
    /// The route of both.
    pub route: String,
    /// Where to.
    pub destination: String,
    /// The provider's id of the event.
    pub event_id: Option<String>,
    /// The provider's type of the event.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Attempts so far.
    pub attempts: u32,
    /// Whether it is a replay.
    pub replay: bool,
    /// When it was made.
    pub created: Moment,
    /// When the next attempt is due, where one is.
    pub due: Option<Moment>,
    /// When it ended, where it has.
    pub ended: Option<Moment>,
    /// What the last attempt was answered.
    pub last_status: Option<u16>,
    /// What went wrong with the last attempt: a word of a closed set.
    pub last_error: Option<String>,
}

/// A part of the deliveries, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Deliveries {
    /// The deliveries.
    pub deliveries: Vec<Delivery>,
    /// Where there are more: the `cursor` of the next part.
    pub next: Option<String>,
}

/// One exchange with a destination.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Attempt {
    /// Its number, from 1.
    pub number: u32,
    /// When it began.
    pub started: Moment,
    /// Until the end of the answer, or the error.
    pub duration_ms: u32,
    /// What the destination answered.
    pub status: Option<u16>,
    /// What went wrong: a word of a closed set.
    pub error: Option<String>,
    /// The error with its causes.
    pub error_detail: Option<String>,
    /// The first bytes of the answer, as text.
    pub answer: String,
}

/// A delivery with its attempts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeliveryDetail {
    /// The delivery.
    pub delivery: Delivery,
    /// Its attempts, in their order.
    pub attempts: Vec<Attempt>,
}

/// What a change of many deliveries did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Deliveries that were changed, or would be. Those in whose state it cannot be done do not count.
    pub count: u64,
    /// Whether counting was given up at this number: there are more.
    pub is_more: bool,
}

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

/// Where a replay stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    /// It is being worked off.
    Running,
    /// An operator stopped it.
    Paused,
    /// All its deliveries were made.
    Ended,
}

/// Old events that are delivered again.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// Its number.
    pub id: i64,
    /// When it was asked for.
    pub created: Moment,
    /// Where it stands.
    pub state: ReplayState,
    /// Deliveries to be made.
    pub total: u64,
    /// Deliveries made, or left out.
    pub done: u64,
    /// Left out because the body was not kept.
    pub skipped: u64,
}

/// The replays, the newest first.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Replays {
    /// The replays.
    pub replays: Vec<Replay>,
}

/// What became of asking for a replay.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ReplayAsked {
    /// Whether it was only counted.
    pub dry_run: bool,
    /// Deliveries that it makes, or would make.
    pub count: u64,
    /// The replay, where it was begun.
    pub replay: Option<Replay>,
}

/// What is in the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoreStats {
    /// Whether a commit would be taken now.
    pub healthy: bool,
    /// Events.
    pub events: u64,
    /// Deliveries by state.
    pub deliveries: Counts,
    /// Claims, expired ones that were not swept yet included.
    pub claims: u64,
    /// Bytes of the file and its log.
    pub size: u64,
    /// Bytes in the file that hold nothing.
    pub spare: u64,
    /// When the oldest open delivery was made.
    pub oldest_open: Option<Moment>,
    /// Groups that were committed since the store was opened.
    pub groups: u64,
    /// Commits, takings and outcomes in these groups.
    pub grouped: u64,
    /// Times that the store was opened anew after a failed write.
    pub reopened: u64,
}

/// How the gate does.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// Whether the gate takes requests; not while it starts or drains.
    pub ready: bool,
    /// When this process began to answer.
    pub started: Moment,
    /// Whether there is a store.
    pub has_store: bool,
    /// Whether a commit to the store would be taken now; none: there is no store.
    pub store_healthy: Option<bool>,
    /// Live tails that are open.
    pub tails: u64,
}

/// A refusal (RFC 9457).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemDocument {
    /// What kind of refusal it is.
    pub title: String,
    /// The status of the answer.
    pub status: u16,
    /// What is wrong with this request, and what to do.
    #[serde(default)]
    pub detail: Option<String>,
}

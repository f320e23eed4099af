//! JSON shapes of the nodes that share a store.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::admin::documents::values::ApiTimestamp;

/// A node: one hookgate process that uses the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Node)]
pub(crate) struct NodeDocument {
    /// Number of the node in the store, which is new with each start.
    pub id: i64,
    /// Name of the node: `node` of `[store]`, or the name of its host.
    pub name: String,
    /// True for the node that answers this request.
    pub this: bool,
    /// True if the node is alive, as far as this node can see.
    pub alive: bool,
    /// Version of the program.
    pub version: String,
    /// Time at which the node registered.
    pub started: ApiTimestamp,
    /// Time of its last beat, by which it shows that it is alive.
    pub last_beat: ApiTimestamp,
    /// Time at which the node stopped, or another one declared it dead.
    pub ended: Option<ApiTimestamp>,
    /// Digest of its config, without what belongs to one machine: addresses, folders, the node's name, `[admin]` and
    /// `[log]`.
    pub config: String,
    /// How far its clock is ahead of the database's clock, in milliseconds.
    pub clock_offset_ms: i64,
    /// Number of open connections on its public listeners.
    pub connections: u64,
    /// Number of its in-flight requests.
    pub in_flight: u64,
    /// Number of its in-flight delivery attempts.
    pub attempts_in_flight: u64,
    /// Destinations whose circuit breaker is open on this node, as `route/name`.
    pub open_breakers: Vec<String>,
    /// Problems of the node, as sentences.
    pub warnings: Vec<String>,
}

/// The nodes that share the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Nodes)]
pub(crate) struct NodeList {
    /// True if several nodes can share the store. Otherwise the list has this process only.
    pub shared: bool,
    /// Nodes: this one first, then those that are alive, then those that ended within a day.
    pub nodes: Vec<NodeDocument>,
}

//! The store in a PostgreSQL database that any number of nodes share.
//!
//! `open` starts the thread that all sessions live on. `beat` keeps this node's lease, and `takeover` ends the work of
//! nodes that died. `commit` writes groups of events, `take` and `finish` move deliveries. The other files have one
//! subject each, with its methods and their SQL.

mod alerts;
mod attempt_rows;
mod attempts;
mod audit;
mod beat;
mod bounds;
mod certificate_items;
mod change;
pub(super) mod check;
mod claims;
mod clock;
mod commit;
mod commit_group;
mod commit_rows;
mod connect;
mod count;
mod delivery_list;
mod delivery_search;
mod destinations;
mod duty;
mod erase;
mod event_list;
mod event_rows;
mod event_search;
pub(super) mod export;
mod finish;
mod group_event;
mod host_failure;
mod hours;
mod keys;
mod lease;
mod limits;
mod measured_size;
mod migrate;
mod names;
mod new_names;
mod nodes;
mod observer;
mod offline;
mod open;
mod order;
mod outcome_rows;
mod patience;
mod pooler;
pub(super) mod probe;
mod purge;
mod purge_events;
mod queue;
mod replay;
mod replay_source;
mod replay_step;
mod sealed_outcome;
mod search_query;
mod session;
mod sessions;
mod shared;
mod shared_claim_queue;
mod shared_claims;
mod snapshot;
mod state_lock;
pub(super) mod stats;
pub(super) mod store;
mod take;
mod take_rows;
mod takeover;
mod tally;
#[cfg(test)]
mod testing;
mod text;
mod text_search;
mod thread;
pub(super) mod transfer;

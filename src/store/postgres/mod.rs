//! The store in a PostgreSQL database that any number of nodes share.
//!
//! `store` starts the thread that all sessions live on. `beat` keeps this node's lease, and `takeover` ends the work of
//! nodes that died. `commit` writes groups of events, `take` and `finish` move deliveries. The other files have one
//! subject each, with its methods and their SQL.

mod attempts;
mod audit;
mod beat;
mod change;
mod claims;
mod clock;
mod commit;
mod commit_group;
mod commit_rows;
mod connect;
mod destinations;
mod event_rows;
mod finish;
mod host_failure;
mod keys;
mod lease;
mod lists;
mod migrate;
mod names;
mod nodes;
mod observer;
mod order;
mod outcome_rows;
mod pooler;
pub(super) mod probe;
mod purge;
mod queue;
mod replay;
mod session;
mod sessions;
mod shared;
mod state_lock;
mod stats;
pub(super) mod store;
mod take;
mod takeover;
mod tally;
mod text;
mod thread;
pub(super) mod transfer;

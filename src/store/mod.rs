//! The store: durable events, deliveries, attempts and claims. Only this module knows SQL.
//!
//! `inbox` commits events, `deliver` takes due deliveries and records outcomes, and `admin` queries and changes rows
//! for an operator. `store` passes each call to one of two databases: an SQLite file of this process (`sqlite`), or a
//! PostgreSQL database that several nodes share (`postgres`). Both write in groups: all tasks that arrive while one group
//! is synchronized form the next group, so that one synchronization serves many tasks.
//!
//! The store never reports a task as done before it is durable. After a failed write its state is unknown: SQLite fails
//! all waiting tasks, opens the file again and checks it, and PostgreSQL repeats the group under the same numbers.

mod aliases;
pub(crate) mod audit;
pub(crate) mod certificate_item;
pub(crate) mod content_match;
pub(crate) mod erase;
mod error;
mod event;
mod export_line;
mod filter;
mod handle;
mod head;
mod lane_counts;
mod names;
#[cfg(test)]
pub(crate) mod node_testing;
pub(crate) mod nodes;
mod offline;
mod options;
pub(crate) mod partial;
mod postgres;
mod purge_sweeps;
mod replay_text;
pub(crate) mod rows;
mod seal;
mod sealed_event;
pub(crate) mod search;
pub(crate) mod shared_claim;
mod sqlite;
pub(crate) mod take;
#[cfg(test)]
pub(crate) mod tests;
mod transfer;
mod transfer_tables;

pub use crate::store::error::StoreError;
pub use crate::store::handle::Store;
pub(crate) use crate::store::offline::{check, export, stats_of};
pub(crate) use crate::store::options::PurgeResult;
pub use crate::store::options::{RetentionLimits, StoreOptions, StoreStatistics};
pub(crate) use crate::store::postgres::probe::{migrate, probe, versions};
pub(crate) use crate::store::sqlite::copy::copy;
pub(crate) use crate::store::sqlite::salvage::{SalvageResult, salvage};
pub(crate) use crate::store::transfer::{Transfer, transfer};

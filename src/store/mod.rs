//! The store: durable events, deliveries, attempts and claims. Only this module knows SQL.
//!
//! `inbox` commits events, `deliver` takes due deliveries and records outcomes, and `admin` queries and changes rows
//! for an operator. One thread writes, in groups: all tasks that arrive while one group is synchronized to the disk
//! form the next group, so that one synchronization serves many tasks. A pool of read-only connections serves queries
//! beside the writer.
//!
//! The store never reports a task as done before it is durable. After a failed write the state of the file is unknown.
//! The store then fails all waiting tasks, opens the file again and checks it before the next group.

pub(crate) mod audit;
mod error;
mod options;
pub(crate) mod partial;
pub(crate) mod rows;
pub(crate) mod search;
mod sqlite;
#[cfg(test)]
mod tests;

pub use crate::store::error::StoreError;
pub(crate) use crate::store::options::PurgeResult;
pub use crate::store::options::{RetentionLimits, StoreOptions, StoreStatistics};
pub(crate) use crate::store::sqlite::check::check;
pub(crate) use crate::store::sqlite::copy::copy;
pub(crate) use crate::store::sqlite::export::export;
pub(crate) use crate::store::sqlite::salvage::{SalvageResult, salvage};
pub(crate) use crate::store::sqlite::stats::stats_of;
pub use crate::store::sqlite::store::Store;

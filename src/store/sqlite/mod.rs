//! The store in one SQLite file.
//!
//! `store` opens it. `writer` is the only thread that writes: `queue` hands it tasks, which run as `group_work`. `readers`
//! serve queries beside it. The other files have one subject each, with its methods of `Store` and their SQL. `check`,
//! `copy`, `export` and `salvage` open a file by its path, even while a gate runs on it.

mod audit;
mod carve;
mod change;
pub(super) mod check;
mod checkpoint;
mod claims;
mod clock;
mod clock_row;
mod commit;
mod connect;
pub(super) mod copy;
mod count;
mod destinations;
mod erase;
mod event_columns;
mod event_rows;
pub(super) mod export;
mod fifo;
mod file_sharing;
mod finish;
mod group_work;
mod id_index;
mod index_ranges;
mod lane_oldest;
mod limits;
mod list_numbers;
mod lists;
mod load_names;
mod migrate;
mod open;
pub(super) mod options;
mod out_of_order;
mod purge;
mod queue;
mod quick_check;
mod readers;
mod replay;
pub(super) mod salvage;
mod sealing_keys;
mod search;
mod shared;
mod sharing;
pub(super) mod stats;
pub(super) mod store;
mod take_due;
#[cfg(test)]
mod testing;
mod text_search;
mod time_index;
pub(super) mod transfer;
mod undo_group;
mod wal;
mod writer;

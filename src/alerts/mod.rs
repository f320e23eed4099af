//! Alerts: which problems are open, and messages about them to the receivers of the config.
//!
//! `admin` finds problems and hands them over. This module remembers them (`book`), learns what is usual for each route
//! (`rhythm`, `refusals`), decides which receiver gets which message and when (`outbox`), and sends it (`sender`). All
//! of it is in [`AlertCenter`]. Nothing here is on the path of a request, every list has a bound, and a receiver that is
//! away holds up nothing else.

mod book;
mod center;
mod distribution;
mod findings;
mod keeper;
mod learned;
mod message;
mod outbox;
mod payload;
mod plan;
mod refusals;
mod reports;
mod rhythm;
mod sender;
mod slots;
mod text;

pub(crate) use crate::alerts::book::OpenAlert;
pub(crate) use crate::alerts::center::AlertCenter;
pub(crate) use crate::alerts::findings::{NodeFindings, RecentTraffic};
pub(crate) use crate::alerts::keeper::AlertKeeper;
pub(crate) use crate::alerts::plan::{AlertPlan, AlertPlanError};
pub(crate) use crate::alerts::reports::{ReceiverReport, TestOutcome};

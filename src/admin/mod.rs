//! The admin listener: metrics, health checks, the admin API and the console.
//!
//! It is a listener of its own and never a public one. `app` binds it, reports readiness to it, and passes in the other
//! parts of the gate that it may use (`AdminControls`). A web page must not be able to use it through an operator's browser:
//! the server checks `Host`, which stops DNS rebinding, and pages of other origins may not make changes.

pub(crate) mod access;
mod alerts;
mod api;
pub(crate) mod api_resource;
#[cfg(test)]
mod api_tests;
pub(crate) mod audit;
mod audit_log;
mod caller_store;
mod caller_view;
mod certificate_list;
pub(crate) mod config_view;
mod connection_context;
mod connection_deadline;
pub(crate) mod controls;
mod deliveries;
mod destinations;
pub(crate) mod documents;
mod erase;
mod events;
mod history;
mod listener;
mod memory_erase;
mod node_counts;
mod node_report;
mod node_rows;
#[cfg(test)]
mod node_tests;
mod nodes;
mod operations;
pub(crate) mod parameters;
pub(crate) mod path;
mod problem;
mod problems;
mod providers;
mod redact;
mod rejections;
mod replay_worker;
mod replays;
mod requests;
pub(crate) mod resources;
mod rotation;
mod running_config;
mod server;
mod state;
mod status;
mod tail;
mod tail_stream;
mod test_event;
#[cfg(test)]
mod tests;
pub(crate) mod tls;
mod verdicts;
mod watch_problems;

pub(crate) use crate::admin::api::{AdminApi, is_foreign};
pub(crate) use crate::admin::connection_context::ConnectionContext;
pub(crate) use crate::admin::controls::AdminControls;
pub(crate) use crate::admin::listener::{
    AdminError, AdminListener, SocketFile, default_listen, leave_socket_files,
};
pub(crate) use crate::admin::node_report::node_report;
pub(crate) use crate::admin::replay_worker::run_replays;
pub(crate) use crate::admin::rotation::watch_secrets;
pub(crate) use crate::admin::server::serve;
pub(crate) use crate::admin::state::AdminState;
pub(crate) use crate::admin::watch_problems::watch_problems;

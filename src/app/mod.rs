//! Composition root: builds the gate from a config, runs it and reloads it.
//!
//! Only this module and `cli` know all other modules. `RunningGate::start` binds and serves; `run` adds the process around it:
//! signals, systemd and the watch over certificates. No module below may read a signal, the environment or the command
//! line.

mod certificates;
mod client_certs;
mod cross_reload;
mod error;
mod explain;
mod fixed_settings;
mod gate_process;
mod generation;
pub(crate) mod hardening;
mod http_listener;
mod local;
mod prepared_config;
mod ranges;
mod reload;
mod reported_lists;
mod run;
mod running_gate;
mod store_runtime;
mod succession;
pub(crate) mod systemd;
mod traces;

pub(crate) use crate::app::run::run;
pub(crate) use crate::app::running_gate::RunningGate;
pub(crate) use crate::app::succession::control::{control_path, request_reload};

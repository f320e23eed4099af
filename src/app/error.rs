//! Errors from starting the gate, or from building a new config.

use std::io;
use std::net::SocketAddr;

use hookgate_verify::scheme::SchemeError;
use thiserror::Error;

use crate::acme::StorageError;
use crate::admin::AdminError;
use crate::alerts::AlertPlanError;
use crate::app::succession::error::SuccessionError;
use crate::deliver::PlanError;
use crate::dispatch::TargetError;
use crate::edge::EdgeError;
use crate::model::ids::{DestinationName, RouteName};
use crate::net::client::ClientError;
use crate::record::log::LogError;
use crate::store::StoreError;

/// Error from starting the gate, or from building a new config.
#[derive(Debug, Error)]
pub(crate) enum StartError {
    /// The public listeners cannot be set up.
    #[error("cannot set up the listeners")]
    Edge(#[source] EdgeError),
    /// The upstream of a route cannot be compiled.
    #[error("cannot set up the upstream of route `{route}`")]
    Upstream {
        route: RouteName,
        source: TargetError,
    },
    /// The signature scheme of a route cannot be compiled.
    #[error("cannot set up the scheme of route `{route}`")]
    Scheme {
        route: RouteName,
        source: SchemeError,
    },
    /// An address of `listen` cannot be bound.
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    /// A socket that systemd handed over cannot be used.
    #[error("cannot use a socket that systemd handed over")]
    Adopt(#[source] io::Error),
    /// The config has no `listen`, and systemd handed over no socket.
    #[error(
        "there is nothing to listen on: set `listen` in `[server]`, or start hookgate through its systemd socket"
    )]
    NoListener,
    /// A socket that systemd handed over would serve plain HTTP on a public address.
    #[error(
        "the socket for {address} would serve plain HTTP on a public address: add `[tls]`, or set `insecure_http = true` in `[server]`"
    )]
    Insecure { address: SocketAddr },
    /// The store cannot be opened or queried.
    #[error("cannot open or query the store")]
    Store(#[source] StoreError),
    /// A destination of a route cannot be compiled.
    #[error("cannot set up the destination `{destination}` of route `{route}`")]
    Destination {
        route: RouteName,
        destination: DestinationName,
        source: PlanError,
    },
    /// The client for the trace collector cannot be set up.
    #[error("cannot set up the trace export to the collector in `[telemetry]`")]
    Telemetry(#[source] ClientError),
    /// A receiver of alerts cannot be set up.
    #[error(transparent)]
    Alerts(AlertPlanError),
    /// A task of the start panicked; the log has the panic.
    #[error("a task of the start panicked: this is a bug, see the log line of the panic")]
    Panicked,
    /// The admin listener cannot be set up.
    #[error("cannot set up the admin listener")]
    Admin(#[source] AdminError),
    /// The former process passed nothing on.
    #[error("cannot take over from the former process, which stays in use")]
    Succession(#[source] SuccessionError),
    /// The folder for keys and certificates of `[tls.acme]` cannot be used.
    #[error(
        "cannot store keys and certificates of `[tls.acme]`: set `state_dir` in `[server]` to a folder that hookgate may write"
    )]
    AcmeStorage(#[source] StorageError),
    /// The file of CAs in `[tls.acme]` cannot be used.
    #[error("cannot use `ca` of `[tls.acme]`")]
    AcmeAuthority(#[source] ClientError),
    /// The log cannot be started.
    #[error("cannot start the log")]
    Log(#[source] LogError),
}

//! Errors of a takeover.

use std::io;

use thiserror::Error;

/// The reason why no process took over.
#[derive(Debug, Error)]
pub(crate) enum SuccessionError {
    /// The connection between both processes failed.
    #[error("the connection between the old and the new process failed")]
    Channel(#[from] io::Error),
    /// The other process ended.
    #[error("the other process ended: see its messages above")]
    Ended,
    /// The other process sent nothing in time.
    #[error("the other process was not ready within {seconds} s")]
    Late {
        /// The limit in seconds.
        seconds: u64,
    },
    /// The other process sent something that does not fit.
    #[error("the other process sent an unexpected message: it may be another version")]
    Unexpected,
    /// The other process refused.
    #[error("{0}")]
    Refused(String),
    /// The new process could not be started.
    #[error("cannot start `{program}`")]
    Spawn {
        /// Path of the program.
        program: String,
        /// The error of the system.
        source: io::Error,
    },
    /// The store cannot be shared.
    #[error("the store cannot be handed over now")]
    Store(#[source] crate::store::StoreError),
}

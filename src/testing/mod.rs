//! Testing with webhooks: real events of a provider, signed as it signs them; a receiver that keeps what it gets and
//! answers as told; and the gate in process, on a free port.
//!
//! `hookgate send`, `listen` and `replay-file` stand on it, and tests of apps can:
//!
//! ```
//! use hookgate::testing::{Gate, Receiver, Sender};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_of_a_test_0123456789";
//! let app = Receiver::start().await?;
//! let gate = Gate::start(&format!(
//!     r#"
//!     [routes.stripe]
//!     path = "/stripe"
//!     provider = "stripe"
//!     secret = "{secret}"
//!     upstream = "{}"
//!     "#,
//!     app.url("/webhooks")
//! ))
//! .await?;
//!
//! let stripe = Sender::new("stripe", secret, &gate.url("/stripe"))?;
//! let paid = stripe.event(Some("invoice.paid"))?;
//! assert_eq!(gate.send(&paid).await?.status, 200);
//!
//! let got = app.next().await;
//! assert_eq!(got.request.header("hookgate-event-type"), Some("invoice.paid"));
//! assert_eq!(got.request.body, paid.body);
//!
//! let mut forged = paid.clone();
//! forged.body = "{}".into();
//! assert_eq!(gate.send(&forged).await?.status, 401);
//! # gate.stop().await;
//! # Ok(())
//! # }
//! ```

mod edit;
mod exchange;
mod fill;
mod folder;
mod gate;
pub mod payloads;
pub mod receiver;
mod sender;
mod shape;

pub use crate::net::request_file::RequestFile;
pub use crate::testing::edit::set;
pub use crate::testing::exchange::{Answer, Target, Trust};
pub use crate::testing::folder::Folder;
pub use crate::testing::gate::Gate;
pub use crate::testing::receiver::{Received, Receiver, Respond};
pub use crate::testing::sender::{Sender, can_send, new_secret};

use crate::config;
use crate::document::report::{Report, Style};
use crate::net::request_file::RequestFileError;
use crate::scheme::{SchemeError, SignError};

/// Why a test tool cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestingError {
    /// No provider has this id.
    #[error("no provider has the id `{0}`")]
    NoProvider(String),
    /// Its events are signed with a key that only it has, or inside of the body.
    #[error("events of `{0}` can be verified here, but not signed: {1}")]
    NotSignable(String, &'static str),
    /// No payload of this type.
    #[error("`{provider}` has no payload of the type `{asked}`; there are: {known}")]
    NoPayload {
        /// The provider.
        provider: String,
        /// What was asked for.
        asked: String,
        /// What there is.
        known: String,
    },
    /// The secret is not one of this provider's.
    #[error("{0}")]
    Scheme(#[from] SchemeError),
    /// The event cannot be signed.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// A part of the request is none.
    #[error("{0}")]
    Request(#[from] RequestFileError),
    /// A value cannot be set.
    #[error("{0}")]
    Set(String),
    /// The URL is none.
    #[error("`{0}` is no URL of `http://` or `https://` with a host")]
    Url(String),
    /// The config cannot be used.
    #[error("the config is refused:\n{0}")]
    Config(String),
    /// The gate or the receiver cannot be started, or does not answer.
    #[error("{0}: {1}")]
    Io(&'static str, String),
}

impl TestingError {
    fn config(report: &Report) -> Self {
        Self::Config(report.render(Style::Plain).to_string())
    }
}

/// Reads a config as `hookgate run` would.
fn load(text: &str) -> Result<config::Loaded, TestingError> {
    config::load_text("testing.toml", text).map_err(|report| TestingError::config(&report))
}

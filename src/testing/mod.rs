//! Test tools for webhooks: a sender of signed events, a receiver, and a gate in the same process.
//!
//! `hookgate demo`, `send`, `listen` and `replay-file` use this module, and so can the tests of apps. A test needs no network
//! except loopback, and no account at a provider:
//!
//! ```
//! use hookgate::testing::{TestGate, WebhookReceiver, EventSender};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let secret = "whsec_of_a_test_0123456789";
//! let app = WebhookReceiver::start().await?;
//! let gate = TestGate::start(&format!(
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
//! let stripe = EventSender::new("stripe", secret, &gate.url("/stripe"))?;
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
mod error;
mod exchange;
mod folder;
mod gate;
mod log_capture;
pub mod payloads;
mod placeholders;
pub mod receiver;
mod sender;
mod shape;

pub use crate::net::request_file::RequestFile;
pub use crate::testing::edit::set;
pub use crate::testing::error::TestingError;
pub(crate) use crate::testing::exchange::parse as parse_url;
pub use crate::testing::exchange::{ReceivedResponse, SendTarget, ServerTrust};
pub use crate::testing::folder::PrivateFolder;
pub use crate::testing::gate::TestGate;
pub use crate::testing::receiver::{ReceivedRequest, ResponseBehavior, WebhookReceiver};
pub use crate::testing::sender::{EventSender, can_send, new_secret};

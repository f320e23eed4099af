//! Verifies webhooks: their signature, its time, and the id and type of the event.

#[doc(hidden)]
pub mod document;
#[doc(hidden)]
pub mod model;
#[doc(hidden)]
pub mod net;
#[doc(hidden)]
pub mod providers;
#[doc(hidden)]
pub mod scheme;

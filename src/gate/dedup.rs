//! Claims on event ids.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

/// What names an event.
pub type Key = [u8; 32];

/// The claims of one route.
pub struct Claims {
    spent: Cache<Key, u16>,
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<u16>>>>,
}

/// A claim of one event; only its owner may end it.
pub struct Claim {
    claims: Arc<Claims>,
    key: Key,
    outcome: watch::Sender<Option<u16>>,
    is_ended: bool,
}

/// What asking for a claim gives.
pub enum Asked {
    /// Nobody has it.
    Claimed(Claim),
    /// It is spent.
    Spent(StatusCode),
    /// It is in flight.
    InFlight(watch::Receiver<Option<u16>>),
}

impl Claims {
    /// Empty.
    #[must_use]
    pub fn new(window: Duration, entries: u64) -> Arc<Self> {
        let spent = Cache::builder()
            .max_capacity(entries)
            .time_to_live(window)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Arc::new(Self {
            spent,
            in_flight: Mutex::default(),
        })
    }

    /// Asks.
    pub fn ask(self: &Arc<Self>, key: Key) -> Asked {
        let mut in_flight = self
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = self.spent.get(&key) {
            return Asked::Spent(StatusCode::from_u16(status).unwrap_or(StatusCode::OK));
        }
        if let Some(outcome) = in_flight.get(&key) {
            return Asked::InFlight(outcome.clone());
        }
        let (outcome, receiver) = watch::channel(None);
        in_flight.insert(key, receiver);
        Asked::Claimed(Claim {
            claims: Arc::clone(self),
            key,
            outcome,
            is_ended: false,
        })
    }
}

impl Claim {
    /// The app took it.
    pub fn spend(mut self, status: StatusCode) {
        self.claims.spent.insert(self.key, status.as_u16());
        self.end(status.as_u16());
    }

    /// It did not.
    pub fn release(mut self, status: StatusCode) {
        self.end(status.as_u16());
    }

    fn end(&mut self, status: u16) {
        self.is_ended = true;
        let mut in_flight = self
            .claims
            .in_flight
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        in_flight.remove(&self.key);
        drop(in_flight);
        self.outcome.send_replace(Some(status));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_ended {
            self.end(500);
        }
    }
}

/// The key of an id.
#[must_use]
pub fn key_of_id(id: &str) -> Key {
    Sha256::digest(id.as_bytes()).into()
}

//! The inbox: a verified event becomes durable, and only then is anything promised to its sender.
//!
//! `pipeline` hands in what the gate let through; event, claims and deliveries go into one transaction of the store.
//! Whoever has an `Accepted` has a commit that the disk has confirmed: there is no other way to make one.

pub mod outlets;
pub mod retention;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest as _, Sha256};

use crate::gate::dedup::{Key, Keys};
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::inbox::outlets::Outlets;
use crate::model::clock::Now;
use crate::model::delivery::DeliveryId;
use crate::model::error;
use crate::model::ids::EventId;
use crate::net::outgoing::set_marks;
use crate::scheme::standard::message_id;
use crate::store::rows::{
    Claim, Committed, DestinationId, NewDelivery, NewEvent, SpentClaim, StoredEvent,
};
use crate::store::{Store, StoreError};

/// Takes events in.
#[derive(Clone)]
pub struct Inbox {
    store: Store,
}

/// A commit that is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Accepted {
    /// The event is stored with these deliveries.
    Stored(Vec<(DestinationId, DeliveryId)>),
    /// The store had it already; this is what the first one's sender got.
    Duplicate(u16),
}

/// How an event is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What its sender gets, and later a duplicate.
    pub status: u16,
    /// How long its first attempts wait.
    pub delay: Duration,
    /// Higher goes first: -1, 0 or 1.
    pub priority: i8,
    /// Whether its one delivery is being attempted already (hybrid).
    pub is_in_flight: bool,
}

impl Terms {
    /// At once, as all others.
    #[must_use]
    pub fn usual(status: u16) -> Self {
        Self {
            status,
            delay: Duration::ZERO,
            priority: 0,
            is_in_flight: false,
        }
    }
}

impl Inbox {
    /// An inbox over a store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// Commits an event. Durable when it returns.
    ///
    /// # Errors
    /// A condition of a destination that fails on the event, or a store that does not take it. Nothing was stored.
    pub async fn accept(
        &self,
        parts: &EventParts,
        verdict: &Verdict,
        keys: Option<Keys>,
        outlets: &Outlets,
        terms: Terms,
    ) -> Result<Accepted, Reject> {
        let now = Now::read();
        let wanted = outlets.wanted(parts, verdict)?;
        let store_now = self.store.now();
        let due_ms = store_now.unix_ms.saturating_add(millis(terms.delay));
        let deliveries = wanted.iter().map(|(destination, order_key)| NewDelivery {
            destination: *destination,
            due_ms,
            priority: terms.priority,
            order_key: *order_key,
            is_in_flight: terms.is_in_flight,
        });
        let event = NewEvent {
            event: stored(parts, verdict, outlets, now),
            claims: claims(keys.unwrap_or_default().deciding(), outlets, store_now),
            status: terms.status,
            deliveries: deliveries.collect(),
        };
        match self.store.commit(event).await {
            Ok(Committed::New(numbers)) => {
                // In the same transaction they could make this event a duplicate of another.
                let watched = keys.and_then(|keys| keys.watched);
                if watched.is_some() {
                    self.remember(watched.into_iter(), outlets, terms.status);
                }
                let destinations = wanted.into_iter().map(|(destination, _)| destination);
                Ok(Accepted::Stored(destinations.zip(numbers).collect()))
            }
            Ok(Committed::Duplicate(status)) => Ok(Accepted::Duplicate(status)),
            Err(err) => Err(refusal(&err)),
        }
    }

    /// Whether nothing is attempted there now: an operator paused it, or the app wants no more.
    #[must_use]
    pub fn is_held(&self, outlets: &Outlets) -> bool {
        let mut all = outlets.ids();
        all.any(|id| self.store.is_held(id))
    }

    /// Remembers over restarts that the app of a proxy route took an event. Does not wait: should the process die before
    /// it is written, a copy reaches the app once more.
    pub fn remember(&self, keys: impl Iterator<Item = Key>, outlets: &Outlets, status: u16) {
        let spent = claims(keys, outlets, self.store.now())
            .into_iter()
            .map(|claim| SpentClaim {
                route: outlets.route().clone(),
                claim,
                status,
            });
        self.store.spend(spent.collect());
    }
}

fn refusal(err: &StoreError) -> Reject {
    Reject::NotStored {
        fault: error::chain(err).into(),
    }
}

fn claims(keys: impl Iterator<Item = Key>, outlets: &Outlets, now: Now) -> Vec<Claim> {
    let Some(window) = outlets.window() else {
        return Vec::new();
    };
    let expires_ms = now.unix_ms.saturating_add(millis(window));
    let each = keys.map(|key| Claim {
        key: key.to_bytes(),
        expires_ms,
    });
    each.collect()
}

fn stored(parts: &EventParts, verdict: &Verdict, outlets: &Outlets, now: Now) -> StoredEvent {
    let event_id = parts.event_id.clone();
    let target = parts.uri.path_and_query();
    StoredEvent {
        uid: verdict.request_id,
        route: outlets.route().clone(),
        provider: outlets.provider().to_owned(),
        webhook_id: message_id(event_id.as_ref().map(EventId::as_str), &parts.digest),
        event_id,
        event_type: parts.event_type.clone(),
        received_ms: now.unix_ms,
        source: parts.source.ip,
        is_tls: parts.source.is_tls,
        method: parts.method.clone(),
        target: target.map_or("/", |target| target.as_str()).to_owned(),
        host: host(parts),
        headers: stored_headers(parts),
        body: Some(parts.body.clone()),
        digest: Sha256::digest(&parts.body).into(),
    }
}

/// The host that was asked for: that of the target where it names one.
fn host(parts: &EventParts) -> Option<String> {
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let sent = || {
        let value = parts.headers.get(header::HOST);
        value.and_then(|value: &HeaderValue| value.to_str().ok())
    };
    authority.or_else(sent).map(str::to_owned)
}

/// Headers as they are stored: all that `deliver` may send, and what dedup found out. The host has a place of its own.
fn stored_headers(parts: &EventParts) -> HeaderMap {
    let mut headers = parts.headers.clone();
    headers.remove(header::HOST);
    set_marks(&mut headers, parts.marks);
    headers
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

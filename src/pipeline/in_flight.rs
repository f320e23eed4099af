//! Requests in flight: their number, and the permits for exchanges with apps.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Counters of requests in flight.
#[derive(Default)]
pub(super) struct InFlightCounts {
    /// All requests in flight, verified or not.
    all: AtomicUsize,
    /// Requests that hold one of the `max_in_flight` permits: verified ones, and those that monitor mode forwards.
    exchanges: AtomicUsize,
}

/// A permit of a request in flight, returned when dropped.
pub(super) struct InFlightPermit {
    counts: Arc<InFlightCounts>,
    has_exchange: bool,
}

/// From this number of requests in flight they take turns.
const CROWD: usize = 4;

impl InFlightCounts {
    /// Counts one more request until the permit is dropped.
    pub(super) fn enter(self: &Arc<Self>) -> InFlightPermit {
        self.all.fetch_add(1, Ordering::Relaxed);
        InFlightPermit {
            counts: Arc::clone(self),
            has_exchange: false,
        }
    }

    /// Returns the number of requests in flight.
    pub(super) fn all(&self) -> usize {
        self.all.load(Ordering::Relaxed)
    }
}

impl InFlightPermit {
    /// Returns whether other requests are probably ready too. Then all of them are checked before the first is written
    /// to its app, and all responses are read before the first is written to its sender. So the code of one stage stays
    /// in the processor's cache, and a sleeping peer is woken once for several. With few requests, turns would only
    /// delay them.
    pub(super) fn takes_turn(&self) -> bool {
        self.counts.all.load(Ordering::Relaxed) >= CROWD
    }

    /// Takes one of the exchanges with apps. Returns `false` if `max` are taken.
    ///
    /// Only verified requests come here, and those that monitor mode forwards. Slow or untrusted clients hold no
    /// exchange.
    pub(super) fn begin_exchange(&mut self, max: usize) -> bool {
        let before = self.counts.exchanges.fetch_add(1, Ordering::Relaxed);
        self.has_exchange = true;
        // A rejected request has counted itself too. Dropping the permit takes both counts back.
        before < max
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if self.has_exchange {
            self.counts.exchanges.fetch_sub(1, Ordering::Relaxed);
        }
        self.counts.all.fetch_sub(1, Ordering::Relaxed);
    }
}

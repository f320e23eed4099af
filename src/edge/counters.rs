//! Counters of the edge.
//!
//! They are plain atomics: connections write them, and `record` reads them for `/metrics`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The counters of one process. They survive reloads.
#[derive(Debug, Default)]
pub(crate) struct EdgeCounters {
    /// Connections that the kernel accepted, including those closed for a limit.
    pub accepted: AtomicCounter,
    /// Connections that are open now.
    pub open: AtomicGauge,
    /// Errors of `accept` itself, such as no free file descriptors.
    pub accept_failed: AtomicCounter,
    /// Connections closed because `max_connections` was reached.
    pub refused_total: AtomicCounter,
    /// Connections closed because `max_connections_per_source` was reached.
    pub refused_source: AtomicCounter,
    /// Connections closed for a PROXY protocol header that is missing, malformed or from an untrusted peer.
    pub refused_proxy_header: AtomicCounter,
    /// TLS handshakes that completed within the deadline.
    pub handshakes_ok: AtomicCounter,
    /// TLS handshakes that failed, timeouts not included.
    pub handshakes_failed: AtomicCounter,
    /// Connections whose PROXY header and TLS handshake were not complete in time.
    pub handshakes_timed_out: AtomicCounter,
    /// Connections on which the client selected HTTP/1.
    pub connections_h1: AtomicCounter,
    /// Connections on which the client selected HTTP/2.
    pub connections_h2: AtomicCounter,
    /// Requests passed to the handler.
    pub requests: AtomicCounter,
    /// Request heads rejected before the handler saw them.
    pub heads_refused: AtomicCounter,
    /// Request heads that were not complete in time.
    pub heads_timed_out: AtomicCounter,
    /// Connections closed because they were idle for too long.
    pub idle_closed: AtomicCounter,
    /// Connections closed because the peer did not read its response.
    pub writes_stalled: AtomicCounter,
    /// HTTP/2 connections closed for a flood of frames without content.
    pub floods_cut: AtomicCounter,
}

/// A counter that only grows.
#[derive(Debug, Default)]
pub(crate) struct AtomicCounter(AtomicU64);

impl AtomicCounter {
    /// Returns the value so far.
    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A value that grows and shrinks.
#[derive(Debug, Default)]
pub(crate) struct AtomicGauge(AtomicUsize);

impl AtomicGauge {
    /// Returns the value at this moment.
    pub(crate) fn read(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds one where the result is at most `limit`, in one atomic step. Returns false otherwise.
    pub(super) fn add_within(&self, limit: usize) -> bool {
        let more = |now: usize| (now < limit).then(|| now.saturating_add(1));
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }

    pub(super) fn subtract(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

//! What the sockets have done so far, as plain atomics: written by the connections, read by `record` for `/metrics`.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts of one process; they survive reloads.
#[derive(Debug, Default)]
pub struct Counters {
    /// Connections accepted by the kernel, refused ones included.
    pub accepted: Count,
    /// Connections that are open now.
    pub open: Gauge,
    /// Errors of `accept` itself, such as no free file descriptors.
    pub accept_failed: Count,
    /// Connections closed because there were too many in all.
    pub refused_total: Count,
    /// Connections closed because one source had too many.
    pub refused_source: Count,
    /// Connections closed for a missing, foreign or malformed PROXY protocol header.
    pub refused_proxy_header: Count,
    /// TLS handshakes that succeeded.
    pub handshakes_ok: Count,
    /// TLS handshakes that failed.
    pub handshakes_failed: Count,
    /// Peers that did not finish PROXY header and TLS handshake in time.
    pub handshakes_timed_out: Count,
    /// Connections that speak HTTP/1.
    pub connections_h1: Count,
    /// Connections that speak HTTP/2.
    pub connections_h2: Count,
    /// Requests handed on.
    pub requests: Count,
    /// Heads refused before anything saw them.
    pub heads_refused: Count,
    /// Heads that did not arrive in time.
    pub heads_timed_out: Count,
    /// Idle connections closed.
    pub idle_closed: Count,
    /// Connections cut because the peer did not read its answer.
    pub writes_stalled: Count,
    /// HTTP/2 connections cut for a flood of frames that carry nothing.
    pub floods_cut: Count,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// The number so far.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// A number that grows and shrinks.
#[derive(Debug, Default)]
pub struct Gauge(AtomicUsize);

impl Gauge {
    /// The number now.
    #[must_use]
    pub fn read(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes one more where that keeps the number within `limit`.
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

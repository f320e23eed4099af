//! Positions of the sweeps of retention, which continue from round to round.

/// Pause of a sweep after its end. It is shorter if the retention is shorter than 16 times this.
pub(in crate::store) const REST_MS: i64 = 10 * 60 * 1000;

/// The times by which a round decides.
#[derive(Clone, Copy)]
pub(in crate::store) struct PurgeCutoffs {
    /// Time of the wall clock, for ended rows.
    pub(in crate::store) ended_ms: i64,
    /// Time of the store's clock, for claims.
    pub(in crate::store) claims_ms: i64,
}

/// The positions of the sweeps.
#[derive(Clone, Default)]
pub(in crate::store) struct PurgeSweeps {
    pub(in crate::store) age: PurgeSweep,
    pub(in crate::store) size: PurgeSweep,
    pub(in crate::store) attempts: PurgeSweep,
    pub(in crate::store) claims: PurgeSweep,
}

#[derive(Clone, Default)]
pub(in crate::store) struct PurgeSweep {
    /// The last row of the sweep: an event, a delivery, or the route of a claim.
    pub(in crate::store) position: i64,
    /// The key of the last claim.
    pub(in crate::store) key: Vec<u8>,
    /// The sweep pauses until this time.
    resume_ms: i64,
}

impl PurgeSweep {
    pub(in crate::store) fn is_resting(&self, now_ms: i64) -> bool {
        // A clock that ran ahead and was set back must not cause a pause of years.
        now_ms < self.resume_ms && self.resume_ms.saturating_sub(now_ms) <= REST_MS
    }

    pub(in crate::store) fn end(&mut self, now_ms: i64, kept_ms: i64) {
        self.position = 0;
        self.key.clear();
        self.resume_ms = now_ms.saturating_add((kept_ms / 16).clamp(1, REST_MS));
    }
}

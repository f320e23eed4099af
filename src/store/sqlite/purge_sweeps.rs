//! Positions of the sweeps of retention, which continue from round to round.

/// Pause of a sweep after its end. It is shorter if the retention is shorter than 16 times this.
pub(super) const REST_MS: i64 = 10 * 60 * 1000;

/// The positions of the sweeps.
#[derive(Clone, Default)]
pub(super) struct PurgeSweeps {
    pub(super) age: PurgeSweep,
    pub(super) size: PurgeSweep,
    pub(super) attempts: PurgeSweep,
    pub(super) claims: PurgeSweep,
}

#[derive(Clone, Default)]
pub(super) struct PurgeSweep {
    /// The last row of the sweep: an event, a delivery, or the route of a claim.
    pub(super) position: i64,
    /// The key of the last claim.
    pub(super) key: Vec<u8>,
    /// The sweep pauses until this time.
    resume_ms: i64,
}

impl PurgeSweep {
    pub(super) fn is_resting(&self, now_ms: i64) -> bool {
        // A clock that ran ahead and was set back must not cause a pause of years.
        now_ms < self.resume_ms && self.resume_ms.saturating_sub(now_ms) <= REST_MS
    }

    pub(super) fn end(&mut self, now_ms: i64, kept_ms: i64) {
        self.position = 0;
        self.key.clear();
        self.resume_ms = now_ms.saturating_add((kept_ms / 16).clamp(1, REST_MS));
    }
}

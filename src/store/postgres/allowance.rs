//! The number of deliveries that a take may begin, by the limits of all nodes together.

use crate::store::postgres::lease::ATTEMPT_GRACE_MS;
use crate::store::postgres::session::SqlValue;
use crate::store::take::{TakeHold, TakeRate, TakeRequest};

/// A destination's row, which the take holds.
pub(super) struct LockedDestination {
    pub(super) is_held: bool,
    pub(super) tokens: Option<f64>,
    pub(super) filled_ms: Option<i64>,
    pub(super) open_until_ms: Option<i64>,
}

/// How many deliveries a take may take, and what else it writes.
pub(super) struct Allowance {
    pub(super) count: usize,
    pub(super) hold: Option<TakeHold>,
    /// Tokens before the take, if the destination has a rate.
    tokens: Option<f64>,
    /// How long the breaker stays open for other takes, if this one is its probe.
    probe_until_ms: Option<i64>,
}

impl Allowance {
    pub(super) fn of(
        request: &TakeRequest,
        locked: &LockedDestination,
        in_flight: i64,
        now_ms: i64,
    ) -> Self {
        let in_flight = usize::try_from(in_flight).unwrap_or(usize::MAX);
        // A reload may have lowered the limit below what is in flight.
        let free = request.concurrency.saturating_sub(in_flight);
        let mut allowance = Self {
            count: request.limit.min(free),
            hold: None,
            tokens: None,
            probe_until_ms: None,
        };
        if free < request.limit {
            allowance.hold = Some(TakeHold::Full);
        }
        if let Some(until_ms) = locked.open_until_ms {
            if now_ms < until_ms {
                allowance.count = 0;
                allowance.hold = Some(TakeHold::BreakerUntil(until_ms));
                return allowance;
            }
            // The pause is over: one delivery on one node shows whether the destination is back.
            // The other nodes wait until the probe must have ended. If its node dies meanwhile, another probe follows
            // by itself.
            let limit_ms = i64::try_from(request.attempt_limit.as_millis()).unwrap_or(i64::MAX);
            let until_ms = now_ms
                .saturating_add(limit_ms)
                .saturating_add(ATTEMPT_GRACE_MS);
            allowance.count = allowance.count.min(1);
            allowance.probe_until_ms = Some(until_ms);
            allowance.hold = Some(TakeHold::BreakerUntil(until_ms));
        }
        if let Some(rate) = request.rate {
            allowance.limit_rate(rate, locked, now_ms);
        }
        allowance
    }

    fn limit_rate(&mut self, rate: TakeRate, locked: &LockedDestination, now_ms: i64) {
        let most = f64::from(rate.burst);
        // The bound of one millisecond keeps a period of zero from making the rate infinite.
        let per_ms = f64::from(rate.count) / (rate.period.as_secs_f64() * 1000.0).max(1.0);
        let tokens = match (locked.tokens, locked.filled_ms) {
            // The database's clock may step back, which must not take tokens away.
            (Some(tokens), Some(filled_ms)) => {
                let elapsed_ms = now_ms.saturating_sub(filled_ms).max(0);
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a wait beyond 2^52 ms fills any bucket"
                )]
                let filled = tokens + elapsed_ms as f64 * per_ms;
                filled.min(most)
            }
            _ => most,
        };
        self.tokens = Some(tokens);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "tokens are between 0 and the rate's burst"
        )]
        let whole = tokens.max(0.0) as usize;
        if whole < self.count {
            self.count = whole;
            #[expect(
                clippy::cast_possible_truncation,
                reason = "a wait of at most one period"
            )]
            let wait_ms = ((whole as f64 + 1.0 - tokens) / per_ms).ceil() as i64;
            self.hold = Some(TakeHold::RateUntil(now_ms.saturating_add(wait_ms.max(1))));
        }
    }

    /// Returns what the take used up.
    pub(super) fn used(&self, taken: usize) -> AllowanceUse {
        #[expect(clippy::cast_precision_loss, reason = "a take is small")]
        let tokens = self.tokens.map(|tokens| tokens - taken as f64);
        AllowanceUse {
            tokens,
            probe_until_ms: self.probe_until_ms,
        }
    }
}

/// Changes of a destination's row by a take.
pub(super) struct AllowanceUse {
    tokens: Option<f64>,
    probe_until_ms: Option<i64>,
}

impl AllowanceUse {
    /// Takes the id, the tokens left, the time, and the end of a probe. Values that are null change nothing.
    pub(super) const UPDATE: &str =
        "UPDATE destination SET tokens = coalesce($2::double precision, tokens),
        filled_ms = CASE WHEN $2 IS NULL THEN filled_ms ELSE $3::bigint END,
        open_until_ms = coalesce($4::bigint, open_until_ms) WHERE id = $1";

    pub(super) fn is_empty(&self) -> bool {
        self.tokens.is_none() && self.probe_until_ms.is_none()
    }

    pub(super) fn values<'a>(&'a self, id: &'a i64, now_ms: &'a i64) -> [SqlValue<'a>; 4] {
        [id, &self.tokens, now_ms, &self.probe_until_ms]
    }
}

//! Times as ranges of event numbers.
//!
//! Numbers follow the time of reception only roughly: clocks differ between nodes and step. An index groups the events by
//! hour, and the lowest and highest number of each hour bound a search exactly, whatever the clocks did.

use tokio_postgres::Error;

use crate::store::postgres::session::Session;

/// Hours that one search looks up, a few microseconds each: more than two years.
const MAX_HOURS: i64 = 20_000;

/// The first and last number of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct EventRange {
    pub(super) first: i64,
    pub(super) last: i64,
}

impl EventRange {
    pub(super) const ALL: Self = Self {
        first: 0,
        last: i64::MAX,
    };
}

/// Returns a range that contains the numbers of all events from `since_ms` to `before_ms`, or `None` if there are no such
/// events. The range may contain others too.
pub(super) async fn range(
    session: &Session,
    since_ms: Option<i64>,
    before_ms: Option<i64>,
) -> Result<Option<EventRange>, Error> {
    if since_ms.is_none() && before_ms.is_none() {
        return Ok(Some(EventRange::ALL));
    }
    let sql = "SELECT min(received_ms / 3600000), max(received_ms / 3600000) FROM event";
    let row = session.query_one(sql, &[]).await?;
    let (Some(oldest), Some(newest)): (Option<i64>, Option<i64>) = (row.get(0), row.get(1)) else {
        return Ok(None);
    };
    let hour = |ms: i64| ms / 3_600_000;
    let first = since_ms.map_or(oldest, |since| oldest.max(hour(since)));
    let last = before_ms.map_or(newest, |before| newest.min(hour(before)));
    if first > last {
        return Ok(None);
    }
    // A clock that was wrong by years makes the range long. Reading all events is then cheaper.
    if last.saturating_sub(first) > MAX_HOURS {
        return Ok(Some(EventRange::ALL));
    }
    // Two index probes for each hour, however many events it has.
    let sql = "SELECT
            min((SELECT id FROM event WHERE received_ms / 3600000 = hour ORDER BY id LIMIT 1)),
            max((SELECT id FROM event WHERE received_ms / 3600000 = hour ORDER BY id DESC LIMIT 1))
        FROM generate_series($1::bigint, $2::bigint) AS hour";
    let row = session.query_one(sql, &[&first, &last]).await?;
    Ok(match (row.get(0), row.get(1)) {
        (Some(first), Some(last)) => Some(EventRange { first, last }),
        _ => None,
    })
}

//! Limits on the store: the size of its data, and the number of events.

use std::time::{Duration, Instant};

use tokio_postgres::Error;

use crate::model::clock;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::{stats, tally};

/// Estimated bytes of an event's rows and index entries beside its body.
pub(super) const OVERHEAD: u64 = 1024;

/// The stored bytes as of the last measurement, without what this node deleted since.
#[derive(Default)]
pub(super) struct MeasuredSize {
    measured: Option<(u64, Instant)>,
}

impl MeasuredSize {
    /// Returns the bytes if they were measured not long ago.
    pub(super) fn known(&self, age: Duration) -> Option<u64> {
        let (bytes, at) = self.measured?;
        (clock::instant().saturating_duration_since(at) < age).then_some(bytes)
    }

    pub(super) fn set(&mut self, bytes: u64, at: Instant) {
        self.measured = Some((bytes, at));
    }

    /// Subtracts deleted events.
    pub(super) fn subtract(&mut self, content: u64, events: u64) {
        if let Some((bytes, _)) = &mut self.measured {
            let freed = events.saturating_mul(OVERHEAD).saturating_add(content);
            *bytes = bytes.saturating_sub(freed);
        }
    }
}

/// Returns the bytes of the stored rows if they may exceed a bound, and otherwise the smaller of two estimates.
///
/// The files keep the space of deleted rows for later ones, so they only bound the rows from above. If they are within the
/// bound, the rows are too. Otherwise the sizes of all events are added up, which reads the whole table.
pub(super) async fn stored_bytes(
    shared: &NodeShared,
    session: &Session,
    bound: u64,
) -> Result<u64, Error> {
    let files = stats::size(session).await?;
    if files <= bound {
        return Ok(files);
    }
    // Without `keep_body` most bodies are gone, and only the contents know which.
    let sql = match shared.options.keep_body {
        true => "SELECT coalesce(sum(body_size), 0)::bigint, count(*) FROM event",
        false => "SELECT coalesce(sum(octet_length(body)), 0)::bigint, count(*) FROM content",
    };
    let row = session.query_one(sql, &[]).await?;
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    let rows = unsigned(row.get(1)).saturating_mul(OVERHEAD);
    Ok(files.min(unsigned(row.get(0)).saturating_add(rows)))
}

/// Returns the limit that one more event would exceed.
pub(super) async fn reached(
    shared: &NodeShared,
    session: &Session,
) -> Result<Option<&'static str>, Error> {
    if let Some(most) = shared.options.max_events {
        let events = tally::load(session).await?.events;
        if u64::try_from(events).unwrap_or(0) >= most {
            return Ok(Some("`max_events`: the store holds that many events"));
        }
    }
    if let Some(most) = shared.options.max_size
        && stored_bytes(shared, session, most).await? >= most
    {
        return Ok(Some("`max_size`: the data has reached its largest size"));
    }
    Ok(None)
}

//! Limits on the store: the size of its data, and the number of events.

use tokio_postgres::Error;

use crate::store::postgres::measured_size::OVERHEAD;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::{stats, tally};

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

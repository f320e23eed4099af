//! Reading the records of attempts.

use std::collections::HashMap;

use bytes::Bytes;
use tokio_postgres::{Error, Row};

use crate::store::postgres::session::Session;
use crate::store::rows::AttemptRecord;
use crate::store::seal::{ContentSealer, SealedPart};
use crate::store::search::AttemptRow;

/// Reads the attempts of deliveries, each in their order.
pub(super) async fn read(
    session: &Session,
    sealer: &ContentSealer,
    deliveries: &[i64],
) -> Result<HashMap<i64, Vec<AttemptRow>>, Error> {
    // The key of a response is derived from the uid of the event.
    let sql = "SELECT a.delivery, a.number, a.started_ms, a.duration_ms, a.status, a.error, a.detail,
            a.sealing_key, a.answer, event.id, event.uid
        FROM attempt AS a JOIN any_delivery AS d ON d.id = a.delivery JOIN event ON event.id = d.event
        WHERE a.delivery = ANY($1) AND d.id = ANY($1) ORDER BY a.delivery, a.number";
    let mut attempts: HashMap<i64, Vec<AttemptRow>> = HashMap::new();
    for row in session.query(sql, &[&deliveries]).await? {
        let delivery = row.get(0);
        let attempt = attempt_row(&row, sealer, delivery);
        attempts.entry(delivery).or_default().push(attempt);
    }
    Ok(attempts)
}

fn attempt_row(row: &Row, sealer: &ContentSealer, delivery: i64) -> AttemptRow {
    let number = u32::try_from(row.get::<_, i32>(1)).unwrap_or(0);
    let uid: &[u8] = row.get(10);
    let uid = uid.first_chunk::<16>().copied().unwrap_or_default();
    let part = SealedPart::Answer(delivery, number);
    let answer = sealer.open_part((row.get(7), row.get(9)), &uid, part, row.get(8));
    let error: Option<String> = row.get(5);
    let detail: Option<String> = row.get(6);
    let status: Option<i16> = row.get(4);
    AttemptRow {
        number,
        record: AttemptRecord {
            started_ms: row.get(2),
            duration_ms: u32::try_from(row.get::<_, i64>(3)).unwrap_or(u32::MAX),
            status: status.and_then(|status| u16::try_from(status).ok()),
            error: error.map(|word| (word, detail.unwrap_or_default())),
            response_start: answer.map(Bytes::from).unwrap_or_default(),
        },
    }
}

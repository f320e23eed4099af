//! Check of a database: references between rows, impossible states, and counts.
//!
//! The server guards its files itself: it verifies checksums where they are on, and `amcheck` verifies indexes.

use crate::model::database::PostgresSettings;
use crate::store::error::StoreError;
use crate::store::postgres::offline;
use crate::store::postgres::session::Session;

/// Largest number of findings of one kind that are reported.
const MOST: i64 = 100;

/// References: the table and column, and the table that they refer to. Constraints would cost each commit a lookup and a
/// lock.
const REFERENCES: [(&str, &str, &str, &str); 10] = [
    ("content", "event", "event", "id"),
    ("event", "id", "content", "event"),
    ("event", "kind", "kind", "id"),
    ("open_delivery", "event", "event", "id"),
    ("delivery", "event", "event", "id"),
    ("open_delivery", "lane", "lane", "id"),
    ("delivery", "lane", "lane", "id"),
    ("open_delivery", "node", "node", "id"),
    ("attempt", "delivery", "any_delivery", "id"),
    ("claim", "route", "route", "id"),
];

/// Impossible states: the message, and the query that finds them.
const IMPOSSIBLE: [(&str, &str); 12] = [
    (
        "a delivery is open and has ended",
        "SELECT id FROM open_delivery JOIN delivery USING (id)",
    ),
    (
        "a delivery in flight has no attempt",
        "SELECT id FROM open_delivery WHERE state = 1 AND attempts = 0",
    ),
    (
        "an attempt has a number that its delivery has not reached",
        "SELECT a.delivery FROM attempt AS a JOIN any_delivery AS d ON d.id = a.delivery
            WHERE a.number > d.attempts",
    ),
    (
        "an open delivery has no body to deliver",
        "SELECT d.id FROM open_delivery AS d LEFT JOIN content AS c ON c.event = d.event
            WHERE c.body IS NULL",
    ),
    (
        "a delivery waits behind no other delivery",
        "SELECT id FROM open_delivery AS it WHERE is_behind AND NOT EXISTS (
            SELECT 1 FROM open_delivery AS o WHERE o.destination = it.destination
            AND o.order_key = it.order_key AND NOT o.is_behind)",
    ),
    (
        "two deliveries of one order key may be taken",
        "SELECT min(id) FROM open_delivery WHERE order_key IS NOT NULL AND state <> 1
            AND NOT is_behind GROUP BY destination, order_key HAVING count(*) > 1",
    ),
    (
        "a delivery has another destination than its lane",
        "SELECT d.id FROM (SELECT id, lane, destination FROM open_delivery
                UNION ALL SELECT id, lane, destination FROM delivery) AS d
            JOIN lane ON lane.id = d.lane WHERE lane.destination <> d.destination",
    ),
    (
        "a delivery has a lower number than its event",
        "SELECT id FROM any_delivery WHERE id <= event",
    ),
    (
        "the sequence has not reached a stored number",
        "SELECT greatest((SELECT max(id) FROM event), (SELECT max(id) FROM any_delivery)) AS id
            FROM number WHERE last_value < greatest((SELECT max(id) FROM event),
                (SELECT max(id) FROM any_delivery))",
    ),
    (
        "the counter of deliveries in a lane is wrong",
        "SELECT lane FROM (
                SELECT lane, state, count(*) AS count FROM open_delivery GROUP BY lane, state
                UNION ALL SELECT lane, state, count(*) FROM delivery GROUP BY lane, state
                UNION ALL SELECT lane, state, -count FROM tally
                UNION ALL SELECT lane, state, -change FROM tally_change) AS t
            WHERE lane <> 0 GROUP BY lane, state HAVING sum(count) <> 0",
    ),
    (
        "the counter of events is wrong",
        "SELECT sum(count)::bigint FROM (
                SELECT count FROM tally WHERE lane = 0 AND state = 0
                UNION ALL SELECT change FROM tally_change WHERE lane = 0 AND state = 0) AS t
            HAVING coalesce(sum(count), 0) <> (SELECT count(*) FROM event)",
    ),
    (
        "the counter of claims is wrong",
        "SELECT sum(count)::bigint FROM (
                SELECT count FROM tally WHERE lane = 0 AND state = 1
                UNION ALL SELECT change FROM tally_change WHERE lane = 0 AND state = 1) AS t
            HAVING coalesce(sum(count), 0) <> (SELECT count(*) FROM claim)",
    ),
];

/// Checks a database, beside running nodes or without them. Returns one finding per line. Blocks.
pub(in crate::store) fn check_database(
    settings: &PostgresSettings,
) -> Result<Vec<String>, StoreError> {
    offline::on_session(settings, async |session| {
        // One snapshot, in which every transaction of the nodes is complete or absent.
        offline::begin(session).await?;
        let mut found = Vec::new();
        for (table, column, other, key) in REFERENCES {
            let sql = format!(
                "SELECT DISTINCT t.{column}::bigint AS id FROM {table} AS t WHERE t.{column} IS NOT NULL
                AND NOT EXISTS (SELECT 1 FROM {other} AS o WHERE o.{key} = t.{column})"
            );
            let what = format!("a row of `{table}` refers to a missing row of `{other}`");
            find(session, &what, &sql, &mut found).await?;
        }
        for (what, sql) in IMPOSSIBLE {
            find(session, what, sql, &mut found).await?;
        }
        offline::end(session).await?;
        Ok(found)
    })
}

/// Adds the first rows that a query finds.
async fn find(
    session: &Session,
    what: &str,
    sql: &str,
    found: &mut Vec<String>,
) -> Result<(), StoreError> {
    let sql = format!("{sql} LIMIT {MOST}");
    let rows = session.query(&sql, &[]).await;
    for row in rows.map_err(StoreError::Postgres)? {
        // An aggregate over no rows is `NULL`, and such a finding counts even without a number.
        let number = row.get::<_, Option<i64>>(0).unwrap_or(0);
        found.push(format!("{what}: {number}"));
    }
    Ok(())
}

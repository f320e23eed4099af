//! First in, first out over all nodes: only the oldest open delivery of an order key may be taken.
//!
//! A transaction that changes which delivery is first holds the advisory lock of its key until its end: commits,
//! outcomes, changes by operators, takeovers and retention. A take needs no lock, since it only takes what is already
//! first. Every transaction takes its locks in the same order (keys sorted, then rows by number), so that no two wait for
//! each other.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Error;

use crate::store::postgres::session::Session;

/// An order key within its destination.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct OrderedKey {
    pub(super) destination: i64,
    pub(super) key: i64,
}

/// Keys that one transaction may lock. The server has room for some thousand locks in all.
pub(super) const MAX_LOCKED: usize = 64;

/// Returns the number of the advisory lock of a key. The schema is part of it, because locks span the whole database.
pub(super) fn lock_number(schema: &str, key: OrderedKey) -> i64 {
    let mut digest = Sha256::new();
    // A digest, since the number of an advisory lock has 64 bits. After a collision two keys wait for each other, which
    // does no harm.
    digest.update(schema.as_bytes());
    digest.update(key.destination.to_le_bytes());
    digest.update(key.key.to_le_bytes());
    let digest = digest.finalize();
    digest
        .first_chunk::<8>()
        .map_or(0, |bytes| i64::from_le_bytes(*bytes))
}

/// Locks keys until the end of the transaction.
pub(super) async fn lock(
    session: &Session,
    schema: &str,
    keys: &[OrderedKey],
) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut numbers: Vec<i64> = keys.iter().map(|key| lock_number(schema, *key)).collect();
    // Sorted, so that two transactions with the same keys wait in the same order.
    numbers.sort_unstable();
    numbers.dedup();
    let sql = "SELECT pg_advisory_xact_lock(n) FROM unnest($1::bigint[]) AS n";
    session.query(sql, &[&numbers]).await.map(drop)
}

/// Marks the deliveries of the keys so that only the right one of each may be taken. The keys must be locked.
pub(super) async fn settle(session: &Session, keys: &[OrderedKey]) -> Result<(), Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let mut keys = keys.to_vec();
    // Each key once, or the update would meet the same row twice.
    keys.sort_unstable();
    keys.dedup();
    let destinations: Vec<i64> = keys.iter().map(|key| key.destination).collect();
    let numbers: Vec<i64> = keys.iter().map(|key| key.key).collect();
    // Waits for a take that is about to commit. A statement sees the rows as of its own begin, so this one only locks,
    // and the next one reads what the take left.
    let sql = "SELECT o.id FROM open_delivery o
        JOIN unnest($1::bigint[], $2::bigint[]) AS k (destination, order_key)
        ON o.destination = k.destination AND o.order_key = k.order_key
        WHERE NOT o.is_behind ORDER BY o.id FOR UPDATE OF o";
    session.query(sql, &[&destinations, &numbers]).await?;
    // The oldest of all goes first, which a retried dead letter may be, and nothing goes while one is in flight.
    // Two probes find the oldest, because the index `open_delivery_order` has `is_behind` before the number.
    let sql = "WITH k AS MATERIALIZED (
            SELECT destination, order_key,
                EXISTS (SELECT 1 FROM open_delivery o WHERE o.destination = k.destination
                    AND o.order_key = k.order_key AND NOT o.is_behind AND o.node IS NOT NULL) AS is_going,
                least(
                    (SELECT min(id) FROM open_delivery o WHERE o.destination = k.destination
                        AND o.order_key = k.order_key AND NOT o.is_behind),
                    (SELECT min(id) FROM open_delivery o WHERE o.destination = k.destination
                        AND o.order_key = k.order_key AND o.is_behind)) AS oldest
            FROM unnest($1::bigint[], $2::bigint[]) AS k (destination, order_key)
        ), wrong AS MATERIALIZED (
            SELECT o.id, NOT o.is_behind AS is_behind FROM k JOIN open_delivery o
                ON o.destination = k.destination AND o.order_key = k.order_key
                AND NOT o.is_behind AND o.node IS NULL
                WHERE k.is_going OR o.id <> k.oldest
            UNION ALL
            SELECT o.id, false FROM k JOIN open_delivery o ON o.id = k.oldest
                WHERE NOT k.is_going AND o.is_behind
        )
        UPDATE open_delivery o SET is_behind = wrong.is_behind FROM wrong WHERE o.id = wrong.id";
    session
        .execute(sql, &[&destinations, &numbers])
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when the schema, the destination or the key is left out of the number.
    #[test]
    fn different_keys_have_different_locks() {
        let one = OrderedKey {
            destination: 1,
            key: 2,
        };
        let other = OrderedKey {
            destination: 2,
            key: 1,
        };
        let later = OrderedKey {
            destination: 1,
            key: 3,
        };
        let number = lock_number("a", one);
        assert_eq!(number, lock_number("a", one));
        for different in [
            lock_number("b", one),
            lock_number("a", other),
            lock_number("a", later),
        ] {
            assert_ne!(number, different);
        }
    }
}

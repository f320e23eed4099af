//! Claims that hold on all nodes, for events that go to an app and not into the store.
//!
//! A row without a status is a claim in progress: its node is forwarding the event. Another node takes it over when that
//! node has ended, or when the lease is over. Claims of many requests form one statement. Each statement is a transaction
//! of its own, so that no row stays locked over a round trip.
//!
//! Nothing here waits for the disk: what a crash of the server forgets is at most a moment of claims.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::model::clock::millis;
use crate::model::ids::RouteName;
use crate::store::error::StoreError;
use crate::store::postgres::patience::within;
use crate::store::postgres::session::{Session, SqlValue};
use crate::store::postgres::sessions::{SessionSlot, is_collision, no_answer};
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::shared_claim_queue::{ClaimGroup, ClaimRequest};
use crate::store::postgres::store::PostgresStore;
use crate::store::shared_claim::{SharedClaim, SharedClaimEnd, SharedClaimOutcome};

/// Longest duration of one group.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long after the loss of the database claims wait for its return. A node that stood still needs a moment to enter
/// again, and one whose session was cut needs to connect.
const RETURN_PATIENCE: Duration = Duration::from_secs(2);

/// Pause after a group failed.
const PAUSE: Duration = Duration::from_millis(200);

/// Session settings: a claim need not be durable before the app is asked.
const SET_UP: &str = "SET synchronous_commit = off";

/// Route number and key of a claim.
type ClaimKey = (i64, [u8; 16]);

impl PostgresStore {
    pub(in crate::store) async fn claim_shared(
        &self,
        route: &RouteName,
        keys: Vec<[u8; 16]>,
        lease: Duration,
    ) -> Result<SharedClaimOutcome, StoreError> {
        // Without it, each node would let a copy pass, so a claim waits for a database that may be back at once.
        if !self.shared.is_back_soon(RETURN_PATIENCE).await {
            return Err(StoreError::Reopening);
        }
        let lease_ms = millis(lease);
        let claim = SharedClaim {
            route: route.clone(),
            keys,
            // A time of the database's clock, so that all nodes agree when the lease is over.
            lease_ms: self.now().unix_ms.saturating_add(lease_ms),
        };
        let (reply, answer) = oneshot::channel();
        self.shared.claims.request(ClaimRequest { claim, reply })?;
        let outcome = answer.await.map_err(|_| StoreError::Closed)??;
        match outcome {
            // This process was stopped meanwhile, so another node may have taken the claim. The caller asks again.
            SharedClaimOutcome::Claimed(_) if !self.shared.lease.is_valid() => {
                Ok(SharedClaimOutcome::Held)
            }
            outcome => Ok(outcome),
        }
    }

    pub(in crate::store) fn end_shared(&self, claim: SharedClaim, end: SharedClaimEnd) {
        self.shared.claims.end(claim, end);
    }
}

/// Writes groups of claims until the store is closed.
pub(super) async fn write_claims(shared: Arc<NodeShared>) {
    // Connects at the first claim: most gates have no route that needs one.
    let slot = SessionSlot::new(&shared.settings, "claim").with_set_up(SET_UP);
    while let Some(group) = shared.claims.take().await {
        let written = within(PATIENCE, write_group(&shared, &slot, &group)).await;
        let failed = match written {
            Some(Ok(outcomes)) => {
                for (request, outcome) in group.requests.into_iter().zip(outcomes) {
                    // The sender may be gone. Its claim then ends with its lease, or with the next copy on this node.
                    let _ = request.reply.send(Ok(outcome));
                }
                continue;
            }
            Some(Err(err)) => err,
            None => no_answer(),
        };
        // After a collision the request looks as if another node held the claim, so its sender asks again soon.
        let is_again = is_collision(&failed);
        for request in group.requests {
            let _ = request.reply.send(match is_again {
                true => Ok(SharedClaimOutcome::Held),
                false => Err(StoreError::Reopening),
            });
        }
        // Senders repeat their requests, but nothing repeats an end.
        shared.claims.put_back(group.ends);
        // At the end of the process nothing waits for a database that is away.
        if shared.claims.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Writes a group, and returns the outcomes of its requests in their order.
async fn write_group(
    shared: &NodeShared,
    slot: &SessionSlot,
    group: &ClaimGroup,
) -> Result<Vec<SharedClaimOutcome>, StoreError> {
    let guard = slot.open().await?;
    let session = guard.session()?;
    // Ends first: a request of the same group may be the next copy of an event that was released.
    write_ends(shared, session, &group.ends).await?;
    let outcomes = match group.requests.is_empty() {
        true => Vec::new(),
        false => write_requests(shared, session, &group.requests).await?,
    };
    guard.keep();
    Ok(outcomes)
}

async fn write_requests(
    shared: &NodeShared,
    session: &Session,
    requests: &[ClaimRequest],
) -> Result<Vec<SharedClaimOutcome>, StoreError> {
    let mut asked = Vec::with_capacity(requests.len());
    let mut seen: HashSet<ClaimKey> = HashSet::new();
    let mut rows = ClaimRows::default();
    for request in requests {
        let route = shared.route_number(session, &request.claim.route).await;
        let route = route.map_err(StoreError::Postgres)?;
        let keys: Vec<ClaimKey> = request.claim.keys.iter().map(|key| (route, *key)).collect();
        // A statement may write a row once, so of two requests with one key the second asks again.
        let is_first = keys.iter().all(|key| !seen.contains(key));
        if is_first {
            seen.extend(keys.iter().copied());
            for key in &keys {
                rows.push(*key, request.claim.lease_ms);
            }
        }
        asked.push((keys, is_first, request.claim.lease_ms));
    }
    let made = rows.claim(shared, session).await?;
    // Another node holds these keys, or they are spent. Only spent ones have a status to return.
    let lost: Vec<ClaimKey> = seen.into_iter().filter(|key| !made.contains(key)).collect();
    let spent = find_spent(shared, session, &lost).await?;
    let (mut outcomes, mut partial) = (Vec::with_capacity(asked.len()), ClaimRows::default());
    for (request, (keys, is_first, lease_ms)) in requests.iter().zip(&asked) {
        let is_made = *is_first && keys.iter().all(|key| made.contains(key));
        outcomes.push(match is_made {
            true => SharedClaimOutcome::Claimed(request.claim.clone()),
            false => {
                let status = keys.iter().find_map(|key| spent.get(key));
                status.map_or(SharedClaimOutcome::Held, |status| {
                    SharedClaimOutcome::Spent(*status)
                })
            }
        });
        if !is_made && *is_first {
            // One of two keys was free. It must not block the event that has the other one.
            for key in keys.iter().filter(|key| made.contains(*key)) {
                partial.push(*key, *lease_ms);
            }
        }
    }
    partial.release(shared, session).await?;
    Ok(outcomes)
}

/// Returns the statuses of keys whose event was accepted within the window.
async fn find_spent(
    shared: &NodeShared,
    session: &Session,
    keys: &[ClaimKey],
) -> Result<HashMap<ClaimKey, u16>, StoreError> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let (routes, hashes) = columns(keys);
    let now_ms = shared.clock.now().unix_ms;
    // Without a lock: a spent claim keeps a status until it expires.
    let sql = "SELECT c.route, c.key, c.status
        FROM unnest($1::bigint[], $2::bytea[]) AS a (route, key)
        JOIN claim c ON c.route = a.route AND c.key = a.key
        WHERE c.status IS NOT NULL AND c.expires_ms > $3";
    let found = session.query(sql, &[&routes, &hashes, &now_ms]).await;
    let found = found.map_err(StoreError::Postgres)?;
    let read = |row: &tokio_postgres::Row| {
        let key: [u8; 16] = row.get::<_, &[u8]>(1).try_into().ok()?;
        let status: i16 = row.get(2);
        Some(((row.get(0), key), u16::try_from(status).unwrap_or(200)))
    };
    Ok(found.iter().filter_map(read).collect())
}

async fn write_ends(
    shared: &NodeShared,
    session: &Session,
    ends: &[(SharedClaim, SharedClaimEnd)],
) -> Result<(), StoreError> {
    let (mut spent, mut released) = (HashMap::new(), ClaimRows::default());
    for (claim, end) in ends {
        let route = shared.route_number(session, &claim.route).await;
        let route = route.map_err(StoreError::Postgres)?;
        for key in &claim.keys {
            match end {
                SharedClaimEnd::Spent { status, expires_ms } => {
                    spent.insert((route, *key), (*status, *expires_ms));
                }
                SharedClaimEnd::Released => released.push((route, *key), claim.lease_ms),
            }
        }
    }
    // Spent ones first: an event that an app has accepted is the one that must not pass again.
    spend(session, spent, shared.clock.now().unix_ms).await?;
    released.release(shared, session).await
}

/// Spends keys, even if another node holds them by now: the app has the event.
async fn spend(
    session: &Session,
    spent: HashMap<ClaimKey, (u16, i64)>,
    now_ms: i64,
) -> Result<(), StoreError> {
    if spent.is_empty() {
        return Ok(());
    }
    let (mut rows, mut statuses) = (ClaimRows::default(), Vec::with_capacity(spent.len()));
    for (key, (status, expires_ms)) in spent {
        rows.push(key, expires_ms);
        statuses.push(i16::try_from(status).unwrap_or(200));
    }
    // In the order of keys, like every statement that writes claims: two of them never wait for each other.
    // A status that still counts stays, since the first response wins. `xmax = 0` marks rows that were inserted and not
    // overwritten, and only these change the count.
    let sql = "WITH made AS (
            INSERT INTO claim AS c (route, key, expires_ms, status)
            SELECT a.route, a.key, a.expires_ms, a.status
                FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::smallint[])
                    AS a (route, key, expires_ms, status) ORDER BY a.route, a.key
            ON CONFLICT (route, key) DO UPDATE
                SET expires_ms = excluded.expires_ms, status = excluded.status, event = NULL, node = NULL
                WHERE c.status IS NULL OR c.expires_ms <= $5
            RETURNING xmax = 0 AS is_new)
        INSERT INTO tally_change SELECT 0, 1, count(*) FROM made WHERE is_new HAVING count(*) > 0";
    let values: [SqlValue<'_>; 5] = [&rows.routes, &rows.keys, &rows.times, &statuses, &now_ms];
    let written = session.execute(sql, &values);
    written.await.map(drop).map_err(StoreError::Postgres)
}

/// Columns of claims, with the end of their leases or windows.
#[derive(Default)]
struct ClaimRows {
    routes: Vec<i64>,
    keys: Vec<Vec<u8>>,
    times: Vec<i64>,
}

impl ClaimRows {
    fn push(&mut self, (route, key): ClaimKey, time_ms: i64) {
        self.routes.push(route);
        self.keys.push(key.to_vec());
        self.times.push(time_ms);
    }

    /// Claims what is free, expired, held by a node that ended, or left by an earlier request of this node. Returns the
    /// keys that are claimed now.
    async fn claim(
        &self,
        shared: &NodeShared,
        session: &Session,
    ) -> Result<HashSet<ClaimKey>, StoreError> {
        if self.routes.is_empty() {
            return Ok(HashSet::new());
        }
        // This node has one request at a time for a key. So a row of its own in progress is from a request whose answer
        // was lost.
        // The holder of a claim in progress counts as gone without a live row in `node`, so a claim need not wait for
        // its lease after a crash.
        // A node that was declared dead claims nothing until it has entered again: any other node could take the claim.
        let sql = "WITH made AS (
                INSERT INTO claim AS c (route, key, expires_ms, node)
                SELECT a.route, a.key, a.lease_ms, $4
                    FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS a (route, key, lease_ms)
                    WHERE EXISTS (SELECT 1 FROM node n WHERE n.id = $4 AND n.ended_ms IS NULL)
                    ORDER BY a.route, a.key
                ON CONFLICT (route, key) DO UPDATE
                    SET expires_ms = excluded.expires_ms, status = NULL, event = NULL, node = excluded.node
                    WHERE c.expires_ms <= $5 OR (c.status IS NULL AND (c.node = excluded.node
                        OR NOT EXISTS (SELECT 1 FROM node n WHERE n.id = c.node AND n.ended_ms IS NULL)))
                RETURNING route, key, xmax = 0 AS is_new
            ), counted AS (
                INSERT INTO tally_change SELECT 0, 1, count(*) FROM made WHERE is_new HAVING count(*) > 0
            )
            SELECT route, key FROM made";
        let (node, now_ms) = (shared.node(), shared.clock.now().unix_ms);
        let values: [SqlValue<'_>; 5] = [&self.routes, &self.keys, &self.times, &node, &now_ms];
        let made = session.query(sql, &values);
        let made = made.await.map_err(StoreError::Postgres)?;
        let read = |row: &tokio_postgres::Row| {
            let key: [u8; 16] = row.get::<_, &[u8]>(1).try_into().ok()?;
            Some((row.get(0), key))
        };
        Ok(made.iter().filter_map(read).collect())
    }

    /// Releases claims in progress of this node, recognized by the ends of their leases.
    async fn release(&self, shared: &NodeShared, session: &Session) -> Result<(), StoreError> {
        if self.routes.is_empty() {
            return Ok(());
        }
        // Locked in the order of keys before they are deleted, because a plain `DELETE` locks in the order of its plan.
        let sql = "WITH held AS MATERIALIZED (
                SELECT c.route, c.key FROM unnest($1::bigint[], $2::bytea[], $3::bigint[])
                        AS a (route, key, lease_ms)
                    JOIN claim c ON c.route = a.route AND c.key = a.key
                    WHERE c.status IS NULL AND c.node = $4 AND c.expires_ms = a.lease_ms
                    ORDER BY c.route, c.key FOR UPDATE OF c
            ), gone AS (
                DELETE FROM claim c USING held h
                    WHERE c.route = h.route AND c.key = h.key AND c.status IS NULL RETURNING 1
            )
            INSERT INTO tally_change SELECT 0, 1, -count(*) FROM gone HAVING count(*) > 0";
        let node = shared.node();
        let values: [SqlValue<'_>; 4] = [&self.routes, &self.keys, &self.times, &node];
        let released = session.execute(sql, &values);
        released.await.map(drop).map_err(StoreError::Postgres)
    }
}

fn columns(keys: &[ClaimKey]) -> (Vec<i64>, Vec<Vec<u8>>) {
    let routes = keys.iter().map(|(route, _)| *route).collect();
    (routes, keys.iter().map(|(_, key)| key.to_vec()).collect())
}

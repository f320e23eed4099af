//! Observation of the other nodes: whether they are alive, which names changed, and where work is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::clock;
use crate::store::error::StoreError;
use crate::store::postgres::lease::DEAD_AFTER;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;
use crate::store::postgres::{migrate, names};
use crate::store::rows::DestinationId;

/// The beats of all nodes that are alive, and when each last changed on this node's monotonic clock.
#[derive(Default)]
pub(super) struct NodeObserver {
    beats: HashMap<i32, (i64, Instant)>,
}

impl NodeObserver {
    /// Reads the beats, the version of the names and the destinations with due work.
    pub(super) async fn look(
        &mut self,
        shared: &Arc<NodeShared>,
        session: &Session,
        version: &mut i64,
    ) -> Result<(), StoreError> {
        let failed = StoreError::Postgres;
        let sql = "SELECT id, beat FROM node WHERE ended_ms IS NULL";
        let rows = session.query(sql, &[]).await.map_err(failed)?;
        let seen: Vec<(i32, i64)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
        self.note(&seen, clock::instant());
        // Only after this look was noted, so that a node is judged by the beat that was just read.
        for (node, beat) in self.dead(shared.node(), clock::instant()) {
            declare_dead(session, node, beat).await?;
        }
        *shared.quiet.lock() = self.quiet(clock::instant());
        let sql = "SELECT version, readable_from, form FROM name_version, meta";
        let row = session.query_one(sql, &[]).await.map_err(failed)?;
        let found: i64 = row.get(0);
        // A later version contracted the schema while this node ran: what it would read or write is no longer there.
        migrate::check_version(row.get(1), row.get(2), &shared.settings.schema)?;
        if found != *version {
            let (table, loaded) = names::load(session).await.map_err(failed)?;
            shared.set_names(table, loaded);
            *version = loaded;
        }
        announce_due(shared, session).await
    }

    fn note(&mut self, seen: &[(i32, i64)], now: Instant) {
        // The map is built from what is seen now, so that nodes which ended leave it.
        let former = std::mem::take(&mut self.beats);
        for (node, beat) in seen {
            let since = match former.get(node) {
                Some((known, since)) if known == beat => *since,
                _ => now,
            };
            self.beats.insert(*node, (*beat, since));
        }
    }

    /// Returns the nodes whose beat has not changed for too long.
    fn dead(&self, own: i32, now: Instant) -> Vec<(i32, i64)> {
        self.beats
            .iter()
            .filter(|(node, (_, since))| {
                **node != own && now.saturating_duration_since(*since) >= DEAD_AFTER
            })
            .map(|(node, (beat, _))| (*node, *beat))
            .collect()
    }

    fn quiet(&self, now: Instant) -> HashMap<i32, Duration> {
        self.beats
            .iter()
            .map(|(node, (_, since))| (*node, now.saturating_duration_since(*since)))
            .collect()
    }
}

/// Ends the row of a node, unless it beat since: of several observers one wins.
async fn declare_dead(session: &Session, node: i32, beat: i64) -> Result<(), StoreError> {
    let sql = "UPDATE node SET ended_ms = (extract(epoch FROM clock_timestamp()) * 1000)::bigint
        WHERE id = $1 AND beat = $2 AND ended_ms IS NULL RETURNING name";
    let row = session.query_opt(sql, &[&node, &beat]).await;
    if let Some(row) = row.map_err(StoreError::Postgres)? {
        tracing::warn!(
            node = row.get::<_, &str>(0),
            "a node is dead: other nodes take over its deliveries"
        );
    }
    Ok(())
}

/// Wakes the workers of destinations with due work, whichever node made it.
async fn announce_due(shared: &NodeShared, session: &Session) -> Result<(), StoreError> {
    let names = shared.names();
    let mine: Vec<i64> = names
        .destinations
        .keys()
        .copied()
        .filter(|destination| !names.is_held(*destination))
        .collect();
    // One index probe for each destination and priority, however many deliveries wait.
    let sql = "SELECT d FROM unnest($1::bigint[]) AS d WHERE EXISTS (
        SELECT 1 FROM unnest('{1,0,-1}'::smallint[]) AS p WHERE (
            SELECT due_ms FROM open_delivery WHERE destination = d AND priority = p
            AND node IS NULL AND NOT is_behind ORDER BY due_ms LIMIT 1) <= $2)";
    let now_ms = shared.clock.now().unix_ms;
    let rows = session.query(sql, &[&mine, &now_ms]).await;
    for row in rows.map_err(StoreError::Postgres)? {
        shared.announce(DestinationId(row.get(0)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a beat that changed does not restart the wait, or when a node declares itself dead.
    #[test]
    fn a_node_is_dead_when_its_beat_has_not_changed_for_long() {
        let start = clock::instant();
        let mut observer = NodeObserver::default();
        observer.note(&[(1, 5), (2, 9)], start);
        let almost = start + DEAD_AFTER - Duration::from_millis(1);
        assert_eq!(observer.dead(1, almost), []);
        observer.note(&[(1, 5), (2, 10)], almost);
        assert_eq!(observer.dead(1, start + DEAD_AFTER), []);
        assert_eq!(observer.dead(3, start + DEAD_AFTER), [(1, 5)]);
        assert_eq!(observer.dead(1, almost + DEAD_AFTER), [(2, 10)]);
        // A node that is new to this observer gets the whole time.
        observer.note(&[(7, 1)], almost + DEAD_AFTER);
        assert_eq!(observer.dead(1, almost + DEAD_AFTER), []);
    }
}

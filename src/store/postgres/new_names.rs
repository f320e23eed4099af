//! New kinds and lanes of a whole group of events, in one statement for each table.
//!
//! A sender that suddenly uses many types would otherwise cost several commits of the database for each event.

use std::collections::BTreeSet;

use tokio_postgres::Error;

use crate::store::names::{DeliveryLane, EventKind, MAX_KINDS};
use crate::store::postgres::group_event::GroupEvent;
use crate::store::postgres::session::Session;
use crate::store::postgres::shared::NodeShared;

/// Route, provider, type and `is_rest` of a kind, in the order in which they are inserted.
type NewKind = (i64, String, Option<String>, bool);

/// Numbers the kinds of these events that are new. Their routes are known.
pub(super) async fn learn_kinds(
    shared: &NodeShared,
    session: &Session,
    events: &[GroupEvent],
) -> Result<(), Error> {
    let names = shared.names();
    let mut count = names.kinds.len();
    let mut new = BTreeSet::<NewKind>::new();
    for event in events {
        let sealed = &event.task.task;
        let (provider, event_type) = (&sealed.provider, sealed.event_type.as_deref());
        if names.kind(event.route, provider, event_type).is_some() {
            continue;
        }
        // Senders choose types freely, so their number must be bounded. Later types share one kind.
        let is_rest = event_type.is_some() && count >= MAX_KINDS;
        if is_rest && names.rest(event.route, provider).is_some() {
            continue;
        }
        let own_type = event_type.filter(|_| !is_rest).map(ToOwned::to_owned);
        if new.insert((event.route, provider.clone(), own_type, is_rest)) {
            count += 1;
        }
    }
    // One kind costs the same without this batch.
    if new.len() < 2 {
        return Ok(());
    }
    let routes: Vec<i64> = new.iter().map(|kind| kind.0).collect();
    let providers: Vec<&str> = new.iter().map(|kind| &*kind.1).collect();
    let types: Vec<Option<&str>> = new.iter().map(|kind| kind.2.as_deref()).collect();
    let are_rest: Vec<bool> = new.iter().map(|kind| kind.3).collect();
    // Sorted, so that two nodes with the same new kinds wait for each other in the same order. Other nodes read the
    // names again when the version changes.
    let sql = "WITH made AS (
            INSERT INTO kind (route, provider, event_type, is_rest)
            SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[])
            ON CONFLICT DO NOTHING
        ) UPDATE name_version SET version = version + 1";
    session
        .execute(sql, &[&routes, &providers, &types, &are_rest])
        .await?;
    // Another node may have inserted some of them, so their numbers are read in a statement of its own.
    let sql = "SELECT k.id, k.route, k.provider, k.event_type, k.is_rest FROM kind k
        JOIN unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[])
        AS n (route, provider, event_type, is_rest)
        ON k.route = n.route AND k.provider = n.provider AND k.is_rest = n.is_rest
        AND k.event_type IS NOT DISTINCT FROM n.event_type";
    let rows = session
        .query(sql, &[&routes, &providers, &types, &are_rest])
        .await?;
    shared.change_names(|names| {
        for row in &rows {
            let kind = EventKind {
                route: row.get(1),
                provider: row.get(2),
                event_type: row.get::<_, Option<String>>(3).map(Into::into),
                is_rest: row.get(4),
            };
            names.add_kind(row.get(0), kind);
        }
    });
    Ok(())
}

/// Numbers the lanes of these events that are new. Their kinds are known.
pub(super) async fn learn_lanes(
    shared: &NodeShared,
    session: &Session,
    events: &[GroupEvent],
) -> Result<(), Error> {
    let names = shared.names();
    let mut new = BTreeSet::<(i64, i64)>::new();
    for event in events {
        for delivery in &event.task.task.deliveries {
            let lane = DeliveryLane {
                kind: event.kind,
                destination: delivery.destination.0,
                is_replay: false,
            };
            if names.lane(lane).is_none() {
                new.insert((lane.kind, lane.destination));
            }
        }
    }
    // One lane costs the same without this batch, too.
    if new.len() < 2 {
        return Ok(());
    }
    let (kinds, destinations): (Vec<i64>, Vec<i64>) = new.into_iter().unzip();
    // Sorted, too: two nodes with the same new lanes wait for each other in the same order.
    let sql = "WITH made AS (
            INSERT INTO lane (kind, destination, is_replay)
            SELECT kind, destination, false FROM unnest($1::bigint[], $2::bigint[]) AS n (kind, destination)
            ON CONFLICT DO NOTHING
        ) UPDATE name_version SET version = version + 1";
    session.execute(sql, &[&kinds, &destinations]).await?;
    let sql = "SELECT l.id, l.kind, l.destination FROM lane l
        JOIN unnest($1::bigint[], $2::bigint[]) AS n (kind, destination)
        ON l.kind = n.kind AND l.destination = n.destination WHERE NOT l.is_replay";
    let rows = session.query(sql, &[&kinds, &destinations]).await?;
    shared.change_names(|names| {
        for row in &rows {
            let lane = DeliveryLane {
                kind: row.get(1),
                destination: row.get(2),
                is_replay: false,
            };
            names.add_lane(row.get(0), lane);
        }
    });
    Ok(())
}

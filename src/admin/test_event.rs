//! `/destinations/{route}/{name}/test`: an event that says it is a test, to see whether a destination takes one.
//!
//! Nobody sent it, so it passes no check, and what it carries cannot be a sender's: `Hookgate-Provider` is `hookgate`,
//! which no sender can say, and the body is the gate's own. It goes the way of all deliveries, retries included.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::admin::access::Origin;
use crate::admin::input::Named;
use crate::admin::problem::Problem;
use crate::admin::wire::{ProblemDocument, TestEvent};
use crate::admin::{AdminState, Visit, deliveries, destinations};
use crate::model::clock::Now;
use crate::model::ids::{DestinationName, EventId, RequestId, RouteName};
use crate::store::rows::{Committed, DestinationRow, NewDelivery, NewEvent, StoredEvent};

/// What stands in `Hookgate-Provider`.
const PROVIDER: &str = "hookgate";

/// What stands in `Hookgate-Event-Type`.
const TYPE: &str = "hookgate.test";

/// Sends a test event to one destination
///
/// It is stored and delivered as all others, signed where the destination is signed for, and says of itself that it is a
/// test: `Hookgate-Provider: hookgate`, `Hookgate-Event-Type: hookgate.test`, and `"test": true` in its body. Filters of
/// the destination are not asked.
#[utoipa::path(
    post, path = "/api/v1/destinations/{route}/{name}/test", tag = "destinations", operation_id = "test_destination",
    params(("route" = String, Path, description = "Its route"), ("name" = String, Path, description = "Its name")),
    responses(
        (status = 201, body = TestEvent),
        (status = 409, description = "Nothing is attempted there", body = ProblemDocument, content_type = "application/problem+json"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<Visit>,
    Named((route, name)): Named<(String, String)>,
) -> Result<(StatusCode, Json<TestEvent>), Problem> {
    let to = destination(&state, &route, &name).await?;
    let now = Now::read();
    let event = event(&to, target(&state, &route), &visit, now)?;
    let uid = event.uid;
    let store = state.store()?;
    let committed = store.commit(NewEvent {
        event,
        claims: Vec::new(),
        status: StatusCode::OK.as_u16(),
        deliveries: vec![NewDelivery {
            destination: to.id,
            due_ms: store.now().unix_ms,
            priority: 0,
            order_key: None,
            is_in_flight: false,
        }],
    });
    let numbers = match committed.await? {
        Committed::New(numbers) => numbers,
        // It has no claims.
        Committed::Duplicate(_) => Vec::new(),
    };
    let delivery = numbers.first().ok_or_else(deliveries::broken)?.0;
    (state.controls.wake)(to.id);
    visit.remark(format!("event {uid}, delivery {delivery}"));
    let answer = TestEvent {
        event: uid.to_string(),
        delivery,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// The destination, where somebody delivers to it.
async fn destination(
    state: &AdminState,
    route: &str,
    name: &str,
) -> Result<DestinationRow, Problem> {
    let store = state.store()?;
    let (route, name) = (RouteName::new(route), DestinationName::new(name));
    let rows = store.destinations().await?;
    let is_it = |row: &DestinationRow| row.route == route && row.name == name;
    let Some(row) = rows.into_iter().find(is_it) else {
        return Err(destinations::unknown(store, &route, Some(&name)).await?);
    };
    if row.is_paused || row.is_route_paused || row.disabled.is_some() {
        return Err(Problem::conflict(format!(
            "nothing is attempted at `{route}/{name}` now: resume it first"
        )));
    }
    let health = (state.controls.health)();
    if !health.iter().any(|health| health.id == row.id) {
        return Err(Problem::conflict(format!(
            "the config has no destination `{route}/{name}` any more, so nobody would deliver it"
        )));
    }
    Ok(row)
}

/// What the route's senders ask for, so that what stands behind a prefix is nothing here.
fn target(state: &AdminState, route: &str) -> String {
    let facts = state.facts.load();
    let found = facts.route(route);
    found.map_or_else(|_| "/".to_owned(), |route| route.path.clone())
}

fn event(
    to: &DestinationRow,
    target: String,
    visit: &Visit,
    now: Now,
) -> Result<StoredEvent, Problem> {
    let mut random = [0; 10];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| deliveries::broken())?;
    let uid = RequestId::new(now.unix_ms, random);
    let id = format!("test-{uid}");
    let body = json!({
        "test": true,
        "id": id,
        "type": TYPE,
        "route": to.route.as_str(),
        "destination": to.name.as_str(),
        "message": "An operator sent this from hookgate to see whether it arrives.",
    });
    let body = Bytes::from(body.to_string());
    let mut headers = HeaderMap::new();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    Ok(StoredEvent {
        uid,
        route: to.route.clone(),
        provider: PROVIDER.to_owned(),
        event_id: EventId::parse(&id),
        event_type: Some(TYPE.into()),
        webhook_id: id,
        received_ms: now.unix_ms,
        source: match visit.origin {
            Origin::Ip(ip) => ip,
            Origin::User(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        },
        is_tls: visit.tls.is_some(),
        method: Method::POST,
        target,
        host: None,
        headers,
        digest: Sha256::digest(&body).into(),
        body: Some(body),
    })
}

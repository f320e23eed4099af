//! Handler for `/destinations/{route}/{name}/test`: deliver a test event.
//!
//! A test event has no sender, so no check runs on it, and it must never look like a sender's event:
//! `Hookgate-Provider` is `hookgate`, which no provider has as its id, and the gate writes the body. It is delivered
//! like every other event, including retries.

use std::net::{IpAddr, Ipv4Addr};

use axum::{Extension, Json};
use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::admin::access::CallerOrigin;
use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::documents::{ProblemDocument, TestEvent};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;
use crate::admin::{deliveries, destinations};
use crate::model::clock::ClockReading;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::store::rows::{CommitOutcome, DestinationRow, NewDelivery, NewEvent, StoredEvent};

/// Value of the header `Hookgate-Provider`.
const PROVIDER: &str = "hookgate";

/// Value of the header `Hookgate-Event-Type`.
const TYPE: &str = "hookgate.test";

/// Sends a test event to one destination
///
/// The event is stored and delivered like every other event, and signed if the destination has a secret. It is marked
/// as a test: `Hookgate-Provider: hookgate`, `Hookgate-Event-Type: hookgate.test`, and `"test": true` in its body. The
/// filters of the destination do not apply.
#[utoipa::path(
    post, path = "",
    params(("route" = String, Path, description = "Name of the route"), ("name" = String, Path, description = "Name of the destination")),
    responses(
        (status = 201, body = TestEvent),
        (status = 409, description = "The destination is paused, disabled or not in the config", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    PathParameter((route, name)): PathParameter<(String, String)>,
) -> Result<(StatusCode, Json<TestEvent>), AdminProblem> {
    let to = destination(&view, &route, &name).await?;
    let now = ClockReading::read();
    let event = event(&to, target(&view, &route), &visit, now)?;
    let uid = event.uid;
    let store = view.store()?;
    let new = NewEvent {
        event,
        // No claims: a test event has a new id each time and can be no duplicate.
        claims: Vec::new(),
        status: StatusCode::OK.as_u16(),
        deliveries: vec![NewDelivery {
            destination: to.id,
            due_ms: store.now().unix_ms,
            priority: 0,
            order_key: None,
            is_in_flight: false,
        }],
    };
    let numbers = match store.commit_test(&to, new).await? {
        CommitOutcome::New(numbers) => numbers,
        // Impossible: only an event with claims can be a duplicate.
        CommitOutcome::Duplicate(_) => Vec::new(),
    };
    let delivery = numbers.first().ok_or_else(deliveries::broken)?.0;
    view.wake(to.id);
    visit.remark(format!("event {uid}, delivery {delivery}"));
    let answer = TestEvent {
        event: uid.to_string(),
        delivery,
    };
    Ok((StatusCode::CREATED, Json(answer)))
}

/// Finds the destination, and rejects one to which no worker delivers now.
async fn destination(
    view: &CallerView,
    route: &str,
    name: &str,
) -> Result<DestinationRow, AdminProblem> {
    let store = view.store()?;
    let (route, name) = (RouteName::new(route), DestinationName::new(name));
    let rows = store.destinations().await?;
    let is_it = |row: &DestinationRow| row.route == route && row.name == name;
    let Some(row) = rows.into_iter().find(is_it) else {
        return Err(destinations::unknown(&store, &route, Some(&name)).await?);
    };
    if row.is_paused || row.is_route_paused || row.disabled.is_some() {
        return Err(AdminProblem::conflict(format!(
            "`{route}/{name}` is paused or disabled, so no delivery is attempted: resume it first"
        )));
    }
    // Only destinations of the running config have a worker, and each worker reports its health.
    let health = view.health();
    if !health.iter().any(|health| health.id == row.id) {
        return Err(AdminProblem::conflict(format!(
            "the running config has no destination `{route}/{name}`, so no worker would deliver the event: add it first"
        )));
    }
    Ok(row)
}

/// Returns the path of the route, as if the event had come through it. A prefix route adds nothing behind its prefix.
fn target(view: &CallerView, route: &str) -> String {
    let found = view.route(route);
    // The store may have a destination whose route left the config.
    found.map_or_else(|_| "/".to_owned(), |route| route.path)
}

/// Builds the test event. Its id is unique, so that an app with dedup of its own accepts each one.
fn event(
    to: &DestinationRow,
    target: String,
    visit: &ConnectionContext,
    now: ClockReading,
) -> Result<StoredEvent, AdminProblem> {
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
        // An event needs an address. A user of the Unix socket is on this machine.
        source: match visit.origin {
            CallerOrigin::Ip(ip) => ip,
            CallerOrigin::User(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
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

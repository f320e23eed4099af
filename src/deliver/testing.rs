//! Test helpers: plans from config text, and stored events.

use bytes::Bytes;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest as _, Sha256};

use crate::config::load_text;
use crate::deliver::plan::DeliveryPlan;
use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryId;
use crate::model::ids::{RequestId, RouteName};
use crate::net::client::OutgoingClient;
use crate::store::rows::{DestinationId, DueDelivery, StoredEvent};

pub(super) const SECRET: &str = "fake-secret-of-github-0001";

/// Returns a route `shop` of GitHub with one destination `app`. `extra` are lines of its table, `route` of the route's.
pub(super) fn plan_with(
    url: &str,
    extra: &str,
    route: &str,
    client: &OutgoingClient,
) -> DeliveryPlan {
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[store]\nurl = \"sqlite:/tmp/hookgate-none.db\"\n[routes.shop]\npath = \"/shop\"\nmode = \"queue\"\n{route}\n[routes.shop.destinations.app]\nurl = \"{url}\"\n{extra}\n",
    );
    plan_of(&text, client)
}

pub(super) fn plan(url: &str, extra: &str) -> DeliveryPlan {
    let route = format!("provider = \"github\"\nsecret = \"{SECRET}\"");
    plan_with(url, extra, &route, &OutgoingClient::new())
}

pub(super) fn plan_of(text: &str, client: &OutgoingClient) -> DeliveryPlan {
    let loaded = match load_text("/tmp/hookgate-test.toml", text) {
        Ok(loaded) => loaded,
        Err(report) => panic!("{text}\n{report:?}"),
    };
    let route = &loaded.config.routes[0];
    DeliveryPlan::build(route, &route.destinations[0], DestinationId(1), client).unwrap()
}

pub(super) fn event(body: &[u8]) -> StoredEvent {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=00"),
        ("hookgate-route", "forged"),
        ("x-forwarded-for", "203.0.113.9"),
        ("connection", "x-github-event"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    StoredEvent {
        uid: RequestId::new(1_700_000_000_000, [7; 10]),
        route: RouteName::new("shop"),
        provider: "github".to_owned(),
        event_id: EventId::parse("72d3162e-cc78"),
        event_type: Some("push".into()),
        webhook_id: "72d3162e-cc78".to_owned(),
        received_ms: ClockReading::read().unix_ms,
        source: [192, 0, 2, 7].into(),
        is_tls: true,
        method: Method::POST,
        target: "/shop?a=1".to_owned(),
        host: Some("hooks.example".to_owned()),
        headers,
        body: Some(Bytes::copy_from_slice(body)),
        digest: Sha256::digest(body).into(),
    }
}

pub(super) fn due(event: StoredEvent) -> DueDelivery {
    DueDelivery {
        delivery: DeliveryId(1),
        attempt: 1,
        round: 1,
        round_began_ms: ClockReading::read().unix_ms,
        is_replay: false,
        event,
    }
}

//! The search of a replay as stored text.

use serde_json::{Value, json};

use crate::model::delivery::DeliveryState;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::route_scope::RouteScope;
use crate::store::search::{DeliverySearch, EventSearch};

pub(in crate::store) fn write_search(search: &DeliverySearch) -> Value {
    let event = &search.event;
    json!({
        "scope": event.scope.texts(),
        "route": event.route.as_ref().map(RouteName::as_str),
        "provider": event.provider,
        "id": event.id,
        "event_type": event.event_type,
        "since_ms": event.since_ms,
        "before_ms": event.before_ms,
        "uid": search.uid.map(|uid| uid.to_string()),
        "destination": search.destination.as_ref().map(DestinationName::as_str),
        "state": search.state.map(DeliveryState::word),
        "is_replay": search.is_replay,
    })
}

pub(in crate::store) fn read_search(text: &str) -> DeliverySearch {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    let find = |key: &str| value.get(key);
    let text = |key| find(key).and_then(Value::as_str);
    let owned = |key| text(key).map(ToOwned::to_owned);
    let number = |key| find(key).and_then(Value::as_i64);
    DeliverySearch {
        event: EventSearch {
            scope: read_scope(&value),
            route: text("route").map(RouteName::new),
            provider: owned("provider"),
            id: owned("id"),
            event_type: owned("event_type"),
            since_ms: number("since_ms"),
            before_ms: number("before_ms"),
            state: None,
        },
        uid: text("uid").and_then(RequestId::parse),
        destination: text("destination").map(DestinationName::new),
        state: text("state").and_then(DeliveryState::parse),
        is_replay: find("is_replay").and_then(Value::as_bool),
    }
}

/// Returns the routes that a replay covers: its route, or the scope of the caller that began it.
pub(in crate::store) fn replay_scope(text: &str) -> RouteScope {
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    match value.get("route").and_then(Value::as_str) {
        Some(route) => RouteScope::only([route]),
        None => read_scope(&value),
    }
}

fn read_scope(value: &Value) -> RouteScope {
    match value.get("scope").and_then(Value::as_array) {
        None => RouteScope::All,
        Some(texts) => RouteScope::only(texts.iter().filter_map(Value::as_str)),
    }
}

/// Returns whether each matching event goes to the destination, even if it never did before. This is so if the search
/// names a destination and gives no criteria for deliveries.
pub(in crate::store) fn is_by_event(search: &DeliverySearch) -> bool {
    search.destination.is_some() && search.state.is_none() && search.is_replay.is_none()
}

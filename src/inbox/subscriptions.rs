//! The destinations of a route that want an event, and their order keys. Compiled with each config.

use std::time::Duration;

use hookgate_verify::model::glob::PatternList;
use http::HeaderName;
use sha2::{Digest as _, Sha256};

use crate::config::model::{DeliveryOrder, Route};
use crate::criteria::body::JsonBody;
use crate::criteria::json::JsonFault;
use crate::gate::condition::EventCondition;
use crate::gate::event::Event;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::ids::RouteName;
use crate::store::rows::DestinationId;

/// The compiled destinations of one route.
pub(crate) struct RouteSubscriptions {
    route: RouteName,
    provider: String,
    is_local: bool,
    /// The dedup window; `None` if the route has no dedup.
    window: Option<Duration>,
    all: Vec<DestinationSubscription>,
}

struct DestinationSubscription {
    id: DestinationId,
    events: Option<PatternList>,
    condition: EventCondition,
    order: DeliveryOrder,
}

impl RouteSubscriptions {
    /// Compiles the destinations of a route, which have these numbers in the store.
    pub(crate) fn build(route: &Route, ids: &[DestinationId]) -> Self {
        let provider = route.provider.as_ref();
        let each = route.destinations.iter().zip(ids);
        Self {
            route: route.name.clone(),
            provider: provider
                .map_or("custom", |provider| &provider.id)
                .to_owned(),
            is_local: provider.is_some_and(|provider| provider.is_local()),
            window: route.dedup.as_ref().map(|dedup| dedup.window),
            all: each
                .map(|(destination, id)| DestinationSubscription {
                    id: *id,
                    events: destination.events.clone(),
                    condition: EventCondition::new(destination.when.clone()),
                    order: destination.order.clone(),
                })
                .collect(),
        }
    }

    pub(crate) fn route(&self) -> &RouteName {
        &self.route
    }

    /// Returns the id of the provider, or `custom`.
    pub(crate) fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns whether apps of this machine post the events.
    pub(crate) fn is_local(&self) -> bool {
        self.is_local
    }

    /// Returns the dedup window, if the route has dedup.
    pub(crate) fn window(&self) -> Option<Duration> {
        self.window
    }

    /// Returns the numbers of all its destinations.
    pub(super) fn ids(&self) -> impl Iterator<Item = DestinationId> {
        self.all.iter().map(|outlet| outlet.id)
    }

    /// Returns the destinations that want an event, each with its order key.
    pub(super) fn wanted(
        &self,
        event: &Event,
        verdict: &Verdict,
    ) -> Result<Vec<(DestinationId, Option<i64>)>, Reject> {
        let mut wanted = Vec::with_capacity(self.all.len());
        let body = JsonBody::new(event.text());
        for outlet in &self.all {
            // A request may hold several events. It goes to each destination that wants any of their types.
            let single = event.event_type();
            if !verdict
                .types
                .any(single, |event_type| outlet.admits(event_type))
            {
                continue;
            }
            // If one condition cannot be evaluated, reject the event for all: the sender retries, and the log has the
            // reason.
            if outlet.condition.holds_for(event, verdict, &body)? {
                wanted.push((outlet.id, outlet.order_key(event, &body)?));
            }
        }
        Ok(wanted)
    }
}

impl DestinationSubscription {
    /// Returns whether the type filter admits an event. An event without a type matches no filter.
    fn admits(&self, event_type: Option<&str>) -> bool {
        match &self.events {
            None => true,
            Some(patterns) => event_type.is_some_and(|text| patterns.admit(text)),
        }
    }

    /// Returns the order key, which is equal for events that wait for each other.
    fn order_key(&self, event: &Event, body: &JsonBody<'_>) -> Result<Option<i64>, Reject> {
        let value = match &self.order {
            DeliveryOrder::None => return Ok(None),
            // One order for all events of the destination.
            DeliveryOrder::Fifo => return Ok(Some(0)),
            DeliveryOrder::FifoByHeader(name) => header_value(event, name),
            DeliveryOrder::FifoByJson(pointer) => json_value(body, pointer)?,
        };
        Ok(Some(key_of(&value)))
    }
}

/// Returns the values of a header. Events without the header share one order.
fn header_value(event: &Event, name: &HeaderName) -> Vec<u8> {
    let values = event.received().headers.get_all(name).iter();
    let all: Vec<&[u8]> = values.map(|value| value.as_bytes()).collect();
    all.join(&b", "[..])
}

fn json_value(body: &JsonBody<'_>, pointer: &str) -> Result<Vec<u8>, Reject> {
    let value = match body.value() {
        Ok(value) => value,
        // A body that is not JSON has no value, and all such events share one order.
        Err(JsonFault::NotJson) => return Ok(Vec::new()),
        Err(fault) => return Err(Reject::NotJson { fault }),
    };
    let found = value.pointer(pointer);
    Ok(found.map_or_else(Vec::new, |value| value.to_string().into_bytes()))
}

fn key_of(value: &[u8]) -> i64 {
    // A collision of the shortened digest only makes two orders wait for each other.
    let digest = Sha256::digest(value);
    let mut half = [0; 8];
    for (to, from) in half.iter_mut().zip(digest) {
        *to = from;
    }
    i64::from_le_bytes(half)
}

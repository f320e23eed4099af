//! Matching single events and lanes against the criteria of a search.

use std::collections::HashSet;

use hookgate_verify::identity::event_id::EventId;

use crate::model::ids::{RequestId, RouteName};
use crate::store::event::webhook_id;
use crate::store::names::{DeliveryLane, NameTable, TypePattern};
use crate::store::search::{DeliverySearch, EventRow, EventSearch};

/// The columns of an event that lists and searches need.
pub(in crate::store) struct ListedEvent {
    pub(in crate::store) id: i64,
    pub(in crate::store) uid: [u8; 16],
    pub(in crate::store) kind: i64,
    pub(in crate::store) received_ms: i64,
    pub(in crate::store) body_size: i64,
    pub(in crate::store) event_id: Option<String>,
    pub(in crate::store) webhook_id: Option<String>,
    pub(in crate::store) event_type: Option<String>,
}

impl ListedEvent {
    pub(in crate::store) fn event_type<'a>(&'a self, names: &'a NameTable) -> Option<&'a str> {
        let kind = names.kinds.get(&self.kind);
        let of_kind = kind.and_then(|kind| kind.event_type.as_deref());
        self.event_type.as_deref().or(of_kind)
    }

    /// Returns the row of a list, with the numbers of its deliveries by state.
    pub(in crate::store) fn into_row(self, names: &NameTable, deliveries: [u64; 6]) -> EventRow {
        let event_type = self.event_type(names).map(Into::into);
        let kind = names.kinds.get(&self.kind);
        EventRow {
            cursor: self.id,
            uid: RequestId::from_bytes(self.uid),
            route: kind.map_or_else(|| RouteName::new(""), |kind| names.route_name(kind.route)),
            provider: kind.map(|kind| kind.provider.clone()).unwrap_or_default(),
            event_id: self.event_id.as_deref().and_then(EventId::parse),
            event_type,
            webhook_id: webhook_id(self.webhook_id, self.uid),
            received_ms: self.received_ms,
            body_size: u64::try_from(self.body_size).unwrap_or(0),
            deliveries,
        }
    }
}

/// The criteria of a search for events, without the state.
pub(in crate::store) struct SearchFilter<'a> {
    pub(in crate::store) search: &'a EventSearch,
    pub(in crate::store) kinds: Option<HashSet<i64>>,
    pattern: Option<TypePattern>,
    names: &'a NameTable,
}

impl<'a> SearchFilter<'a> {
    pub(in crate::store) fn new(search: &'a EventSearch, names: &'a NameTable) -> Self {
        Self {
            search,
            kinds: names
                .kinds_of(search)
                .map(|kinds| kinds.into_iter().collect()),
            pattern: search.event_type.as_deref().map(TypePattern::new),
            names,
        }
    }

    pub(in crate::store) fn wants_kind(&self, kind: i64) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
    }

    pub(in crate::store) fn wants(&self, line: &ListedEvent) -> bool {
        let search = self.search;
        let is_since = search
            .since_ms
            .is_none_or(|since| line.received_ms >= since);
        let is_before = search
            .before_ms
            .is_none_or(|before| line.received_ms < before);
        let pattern = self.pattern.as_ref();
        let is_type = pattern.is_none_or(|pattern| pattern.matches(line.event_type(self.names)));
        let is_named = search.id.as_ref().is_none_or(|id| {
            line.event_id.as_ref() == Some(id)
                || webhook_id(line.webhook_id.clone(), line.uid) == *id
        });
        self.wants_kind(line.kind) && is_since && is_before && is_type && is_named
    }

    /// Returns whether kind and time alone decide, so that matches can be counted in indexes.
    pub(in crate::store) fn is_countable(&self) -> bool {
        let search = self.search;
        // Events of the shared kind have different types, which only their rows show.
        let has_rest =
            search.event_type.is_some() && self.names.kinds.values().any(|kind| kind.is_rest);
        search.id.is_none() && !has_rest
    }
}

/// Returns whether a lane may contain matching deliveries.
pub(in crate::store) fn wants_lane(
    names: &NameTable,
    search: &DeliverySearch,
    filter: &SearchFilter<'_>,
    lane: &DeliveryLane,
) -> bool {
    let destination = search.destination.as_ref().is_none_or(|name| {
        let found = names.destinations.get(&lane.destination);
        found.is_some_and(|destination| destination.name == *name)
    });
    let is_replay = search
        .is_replay
        .is_none_or(|wanted| wanted == lane.is_replay);
    destination && is_replay && filter.wants_kind(lane.kind)
}

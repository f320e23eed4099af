//! Matching single events against the criteria of a search.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension};

use crate::store::event::webhook_id;
use crate::store::names::{NameTable, TypePattern};
use crate::store::search::EventSearch;

/// The columns of an event that lists and searches need.
pub(super) struct EventColumns {
    pub(super) id: i64,
    pub(super) uid: [u8; 16],
    pub(super) kind: i64,
    pub(super) received_ms: i64,
    pub(super) body_size: i64,
    pub(super) event_id: Option<String>,
    pub(super) webhook_id: Option<String>,
    event_type: Option<String>,
}

impl EventColumns {
    pub(super) const COLUMNS: &str = "event.id, event.uid, event.kind, event.received_ms,
        event.body_size, event.event_id, event.webhook_id, event.event_type";

    pub(super) fn of(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            uid: row.get(1)?,
            kind: row.get(2)?,
            received_ms: row.get(3)?,
            body_size: row.get(4)?,
            event_id: row.get(5)?,
            webhook_id: row.get(6)?,
            event_type: row.get(7)?,
        })
    }

    pub(super) fn read(conn: &Connection, event: i64) -> rusqlite::Result<Option<Self>> {
        let sql = format!("SELECT {} FROM event WHERE id = ?1", Self::COLUMNS);
        let mut stmt = conn.prepare_cached(&sql)?;
        stmt.query_row([event], Self::of).optional()
    }

    pub(super) fn event_type<'a>(&'a self, names: &'a NameTable) -> Option<&'a str> {
        let kind = names.kinds.get(&self.kind);
        let of_kind = kind.and_then(|kind| kind.event_type.as_deref());
        self.event_type.as_deref().or(of_kind)
    }
}

/// The criteria of a search for events, without the state.
pub(super) struct SearchFilter<'a> {
    pub(super) search: &'a EventSearch,
    pub(super) kinds: Option<HashSet<i64>>,
    pattern: Option<TypePattern>,
    names: &'a NameTable,
}

impl<'a> SearchFilter<'a> {
    pub(super) fn new(search: &'a EventSearch, names: &'a NameTable) -> Self {
        Self {
            search,
            kinds: names
                .kinds_of(search)
                .map(|kinds| kinds.into_iter().collect()),
            pattern: search.event_type.as_deref().map(TypePattern::new),
            names,
        }
    }

    pub(super) fn wants_kind(&self, kind: i64) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
    }

    pub(super) fn wants(&self, line: &EventColumns) -> bool {
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
    pub(super) fn is_countable(&self) -> bool {
        let search = self.search;
        // Events of the shared kind have different types, which only their rows show.
        let has_rest =
            search.event_type.is_some() && self.names.kinds.values().any(|kind| kind.is_rest);
        search.id.is_none() && !has_rest
    }
}

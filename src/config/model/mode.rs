//! Modes of a route: forward, store or both.

use std::time::Duration;

use hookgate_verify::document::value::choice_word;

/// Handling of verified requests (`mode`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RouteMode {
    /// Forwards the request while the sender waits.
    Proxy,
    /// Commits the event to the inbox, responds at once and delivers it from there.
    Queue,
    /// Forwards the request, and commits the event if the upstream does not accept it within `answer_within`.
    Hybrid {
        /// Time limit for the upstream's response.
        answer_within: Duration,
        /// Stores the event on a 4xx of the upstream instead of passing that on (`store_on = ["4xx"]`).
        stores_4xx: bool,
    },
}

impl RouteMode {
    /// Returns the mode without its settings.
    #[must_use]
    pub fn name(self) -> ModeName {
        match self {
            Self::Proxy => ModeName::Proxy,
            Self::Queue => ModeName::Queue,
            Self::Hybrid { .. } => ModeName::Hybrid,
        }
    }
}

/// A mode without its settings.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModeName {
    /// See [`RouteMode::Proxy`].
    Proxy,
    /// See [`RouteMode::Queue`].
    Queue,
    /// See [`RouteMode::Hybrid`].
    Hybrid,
}

impl ModeName {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 3] = [
        ("proxy", Self::Proxy),
        ("queue", Self::Queue),
        ("hybrid", Self::Hybrid),
    ];

    /// Returns the word for the value in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

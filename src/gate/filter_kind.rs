//! The kind of filter that excluded an event.

/// The setting of a route that excludes an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FilterKind {
    /// The `events` setting of the route.
    Events,
    /// The `versions` setting of the route.
    Versions,
    /// The `when` setting of the route.
    When,
}

impl FilterKind {
    /// Every setting, in the order of the checks.
    pub(crate) const ALL: [Self; 3] = [Self::Events, Self::Versions, Self::When];

    /// Returns the label in logs and metrics: the config key.
    #[must_use]
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Versions => "versions",
            Self::When => "when",
        }
    }
}

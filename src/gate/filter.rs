//! Which of the verified events the app gets: by event type and by version. A batch is wanted if one of its events is.
//!
//! Runs once the signature and the identity are known, and before the route's rate and dedup: what is filtered uses up
//! nothing and spends no id, so it may come again under another config. It is answered with a 2xx, since the sender did
//! nothing wrong and would only send it again. An event whose type or version is not known for certain is refused
//! instead: nobody can say whether the app was to get it.

use crate::config::model::Route;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::glob::Patterns;

/// What keeps an event from the app.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sieve {
    /// `events` of the route.
    Events,
    /// `versions` of the route.
    Versions,
    /// `when` of the route.
    When,
}

impl Sieve {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Events, Self::Versions, Self::When];

    /// The word for it in logs and metrics: the key of the route.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Versions => "versions",
            Self::When => "when",
        }
    }
}

/// The filter of one route.
pub(super) struct Filter {
    events: Option<Patterns>,
    versions: Option<Patterns>,
}

impl Filter {
    pub(super) fn compile(route: &Route) -> Self {
        Self {
            events: route.events.clone(),
            versions: route.versions.clone(),
        }
    }

    /// What keeps the event from the app, if anything does.
    pub(super) fn find(&self, verdict: &Verdict) -> Result<Option<Sieve>, Reject> {
        if let Some(patterns) = &self.events {
            let single = verdict.event_type.as_deref();
            let is_wanted = |text: Option<&str>| text.is_some_and(|text| patterns.admit(text));
            if !verdict.types.any(single, is_wanted) {
                // The one whose type is not known may be the one that the app wants.
                let mut types = verdict.types.each(single);
                return match types.any(|text| text.is_none()) {
                    true => Err(Reject::MissingType),
                    false => Ok(Some(Sieve::Events)),
                };
            }
        }
        if let Some(patterns) = &self.versions {
            let version = verdict.event_version.as_ref();
            if !patterns.admit(version.ok_or(Reject::MissingVersion)?) {
                return Ok(Some(Sieve::Versions));
            }
        }
        Ok(None)
    }
}

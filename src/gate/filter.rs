//! Filters verified events by event type and version.
//!
//! A batch is wanted if one of its events is. The filter runs when signature and identity are known, and before the
//! route's rate and dedup: an excluded event uses up no rate and spends no id, so it may come again under another
//! config. It gets a 2xx, since the sender did nothing wrong and would otherwise only retry. An event whose type or
//! version is not known for certain is rejected instead: nothing shows whether the app wants it.

use hookgate_verify::model::glob::PatternList;

use crate::config::model::Route;
pub(crate) use crate::gate::filter_kind::FilterKind;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;

/// The filter of one route.
pub(super) struct RouteFilter {
    events: Option<PatternList>,
    versions: Option<PatternList>,
}

impl RouteFilter {
    pub(super) fn compile(route: &Route) -> Self {
        Self {
            events: route.events.clone(),
            versions: route.versions.clone(),
        }
    }

    /// Returns the setting that excludes the event, or `None` if the app wants it.
    pub(super) fn find(&self, verdict: &Verdict) -> Result<Option<FilterKind>, Reject> {
        if let Some(patterns) = &self.events {
            let single = verdict.event_type.as_deref();
            let is_wanted = |text: Option<&str>| text.is_some_and(|text| patterns.admit(text));
            if !verdict.types.any(single, is_wanted) {
                // The event with the unknown type may be the one that the app wants.
                let mut types = verdict.types.each(single);
                return match types.any(|text| text.is_none()) {
                    true => Err(Reject::MissingType),
                    false => Ok(Some(FilterKind::Events)),
                };
            }
        }
        if let Some(patterns) = &self.versions {
            let version = verdict.event_version.as_ref();
            // An unknown version is a reject: a 2xx would lose an event that the app may want.
            if !patterns.admit(version.ok_or(Reject::MissingVersion)?) {
                return Ok(Some(FilterKind::Versions));
            }
        }
        Ok(None)
    }
}

//! Knowledge that is learned about each route, and the problems that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::alerts::findings::RecentTraffic;
use crate::alerts::refusals::RefusalBaseline;
use crate::alerts::rhythm::{QuietVerdict, RouteRhythm};
use crate::alerts::slots::{SlotRing, slot_of};
use crate::alerts::text::span_text;
use crate::config::model::{QuietRule, WatchSection};
use crate::model::clock::millis;
use crate::model::problem::{FoundProblem, ProblemKind};

/// Knowledge about the traffic of one route.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct LearnedRoute {
    rhythm: Option<RouteRhythm>,
    refusals: RefusalBaseline,
}

/// Knowledge about the traffic of all routes of the config.
#[derive(Debug, Default)]
pub(super) struct LearnedRoutes {
    routes: BTreeMap<String, LearnedRoute>,
    /// Slots in which a gate ran and looked.
    watched: SlotRing,
    /// Routes that changed since they were stored.
    changed: BTreeSet<String>,
    is_watched_new: bool,
}

/// Name of the row of the watched slots. No route has such a name.
const WATCHED: &str = "*";

impl LearnedRoutes {
    /// Reads what was stored, by route.
    pub(super) fn load(rows: impl Iterator<Item = (String, String)>) -> Self {
        let mut learned = Self::default();
        for (name, body) in rows {
            // A row that cannot be read is learned again.
            match name == WATCHED {
                true => learned.watched = serde_json::from_str(&body).unwrap_or_default(),
                false => {
                    let route = serde_json::from_str(&body).unwrap_or_default();
                    learned.routes.insert(name, route);
                }
            }
        }
        learned
    }

    /// Adds the recent activity of all routes.
    pub(super) fn add(&mut self, activity: &BTreeMap<String, RecentTraffic>, now_ms: i64) {
        self.is_watched_new |= self.watched.mark(slot_of(now_ms));
        for (name, one) in activity {
            let route = self.routes.entry(name.clone()).or_default();
            let mut is_new = route.refusals.add(now_ms, one.refused);
            if one.last_ms > 0 {
                is_new |= match &mut route.rhythm {
                    Some(rhythm) => rhythm.add(one.last_ms),
                    None => {
                        route.rhythm = Some(RouteRhythm::new(one.last_ms));
                        true
                    }
                };
            }
            if is_new {
                self.changed.insert(name.clone());
            }
        }
    }

    /// Judges the routes of the config.
    pub(super) fn problems(
        &mut self,
        rules: &BTreeMap<String, QuietRule>,
        activity: &BTreeMap<String, RecentTraffic>,
        watch: &WatchSection,
        now_ms: i64,
    ) -> Vec<FoundProblem> {
        let mut problems = Vec::new();
        for (name, rule) in rules {
            let Some(route) = self.routes.get_mut(name) else {
                continue;
            };
            problems.extend(route.quiet(name, *rule, watch, &self.watched, now_ms));
            if let Some(activity) = activity.get(name) {
                problems.extend(route.refused(name, activity, watch));
            }
        }
        problems
    }

    /// Takes the rows that changed since the last call. Routes that left the config lose their rows.
    pub(super) fn take_changed(
        &mut self,
        rules: &BTreeMap<String, QuietRule>,
    ) -> Vec<(String, Option<String>)> {
        let mut rows = Vec::new();
        let gone: Vec<_> = self
            .routes
            .keys()
            .filter(|name| !rules.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            self.routes.remove(&name);
            self.changed.remove(&name);
            rows.push((name, None));
        }
        for name in std::mem::take(&mut self.changed) {
            if let Some(route) = self.routes.get(&name) {
                rows.push((name, serde_json::to_string(route).ok()));
            }
        }
        if std::mem::take(&mut self.is_watched_new) {
            rows.push((
                WATCHED.to_owned(),
                serde_json::to_string(&self.watched).ok(),
            ));
        }
        rows
    }
}

impl LearnedRoute {
    fn quiet(
        &mut self,
        name: &str,
        rule: QuietRule,
        watch: &WatchSection,
        watched: &SlotRing,
        now_ms: i64,
    ) -> Option<FoundProblem> {
        let rhythm = self.rhythm.as_mut()?;
        let silence_ms = now_ms.saturating_sub(rhythm.last_ms());
        let is_quiet = match (rule, watch.quiet) {
            (QuietRule::Off, _) | (QuietRule::Learned, None) => false,
            (QuietRule::After(time), _) => silence_ms > millis(time),
            (QuietRule::Learned, Some(factor)) => {
                rhythm.judge(watched, now_ms, factor) == QuietVerdict::Quiet
            }
        };
        let silence = span_text(silence_ms);
        is_quiet.then(|| {
            let text = format!(
                "the route `{name}` has had no genuine event for {silence}, longer than usual: check at the sender \
                 whether it still sends, since many senders disable an endpoint without a word"
            );
            FoundProblem::new(ProblemKind::Quiet, name, text)
        })
    }

    fn refused(
        &self,
        name: &str,
        activity: &RecentTraffic,
        watch: &WatchSection,
    ) -> Option<FoundProblem> {
        let least = watch.refusals?;
        let refused = activity.refused;
        let (limit, usual) = match self.refusals.limit() {
            Some(limit) => (limit.max(least), "three times as many as usual"),
            // While a route is learned, more rejected requests than events are not normal.
            None => (activity.genuine.max(least), "more than genuine events"),
        };
        // The limit may be zero, and a route without rejected requests has no problem.
        (refused >= limit && refused > 0).then(|| {
            let reason = match activity.reason.is_empty() {
                true => String::new(),
                false => format!(", mostly for `{}`", activity.reason),
            };
            let text = format!(
                "the route `{name}` rejected {refused} requests within an hour{reason}, {usual}: look at the \
                 rejections for the cause"
            );
            // Each doubling is worse.
            let level = (refused / limit.max(1)).checked_ilog2().unwrap_or(0);
            FoundProblem::new(ProblemKind::Refusals, name, text).with_level(level)
        })
    }
}

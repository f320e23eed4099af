//! One refusal under investigation: the request as its route would verify it, and the hypotheses in their order.

use std::borrow::Cow;

use crate::config::model::Route;
use crate::explain::cause::Finding;
use crate::explain::trial::{Hunt, Trial, timeless};
use crate::explain::{Explainer, Seen, body, head, secret, sender, text, time, url};
use crate::gate::reject::Reject;
use crate::model::clock::Now;
use crate::scheme::material::read_query;
use crate::scheme::spec::Place;

/// One refusal under investigation.
pub(super) struct Case<'c> {
    pub(super) explainer: &'c Explainer,
    pub(super) route: &'c Route,
    pub(super) reject: &'c Reject,
    pub(super) seen: &'c Seen,
    /// The request as the route would verify it, whichever of its secrets counted.
    pub(super) base: Trial<'c>,
}

impl<'c> Case<'c> {
    /// Tries one hypothesis after the other; then says what it looks like.
    pub(super) fn investigate(&self, hunt: &mut Hunt) -> Option<Finding> {
        type Find = fn(&Case<'_>, &mut Hunt) -> Option<Finding>;
        type Guess = fn(&Case<'_>) -> Option<Finding>;
        let finds: [Find; 7] = [
            time::find,
            secret::find,
            head::find,
            url::find,
            body::find,
            text::find,
            sender::find,
        ];
        let guesses: [Guess; 4] = [sender::guess, time::guess, head::guess, body::guess];
        let is_whole = !self.seen.is_cut || !self.route.scheme.signs_body();
        let found = is_whole.then(|| finds.iter().find_map(|find| find(self, hunt)));
        found
            .flatten()
            .or_else(|| guesses.iter().find_map(|guess| guess(self)))
    }

    /// Every other route.
    pub(super) fn others(&self) -> impl Iterator<Item = &'c Route> {
        let own = &self.route.name;
        let all = self.explainer.gate.all_rules().iter();
        all.map(|rules| &**rules.route())
            .filter(move |other| other.name != *own)
    }

    /// The one text in a place of the head.
    pub(super) fn value(&self, place: &Place) -> Option<String> {
        match place {
            Place::Header(name) => {
                let value = self.base.headers.get(name)?;
                value.to_str().ok().map(str::to_owned)
            }
            Place::Query(name) => {
                let head = self.base.head();
                let value = read_query(&head, name).ok()?;
                String::from_utf8(value.into_owned()).ok()
            }
            Place::Form(_) | Place::Json(_) => None,
        }
    }

    /// What shows that a proxy stands in front.
    pub(super) fn came_through(&self) -> Option<&'static str> {
        let traces = [
            "via",
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "cf-ray",
            "x-amzn-trace-id",
        ];
        traces
            .into_iter()
            .find(|name| self.base.headers.contains_key(*name))
    }

    /// Other senders whose time was off by about as much.
    pub(super) fn others_off_by(&self, age_seconds: i64, close: i64) -> usize {
        let others = self.seen.others.iter().filter(|other| {
            other.route != self.route.name.as_str()
                && other.age_seconds.saturating_sub(age_seconds).abs() <= close
        });
        others.count()
    }
}

/// A request as a route would verify it at a time.
pub(super) fn trial<'t>(route: &'t Route, seen: &'t Seen, now: Now) -> Trial<'t> {
    let trial = Trial {
        spec: Cow::Borrowed(&route.scheme),
        secrets: timeless(&[]),
        public_url: None,
        tolerance: route.tolerance,
        method: &seen.method,
        uri: Cow::Borrowed(&seen.uri),
        headers: Cow::Borrowed(&seen.headers),
        body: Cow::Borrowed(&seen.body),
        now,
    };
    trial.of_route(route)
}

/// When it came, on both clocks.
pub(super) fn received(seen: &Seen) -> Now {
    let now = Now::read();
    Now {
        unix_ms: seen.received_ms.unwrap_or(now.unix_ms),
        ..now
    }
}

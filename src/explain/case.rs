//! Investigation of one reject: runs all hypotheses in a fixed order.
//!
//! Each subject (`time`, `secret`, `head`, ...) offers `find`, which proves a cause by the real verification, and some
//! offer `guess`, which names a likely cause from the form of the request.

use std::borrow::Cow;

use hookgate_verify::scheme::material::read_query;
use hookgate_verify::scheme::spec::SchemeLocation;

use crate::config::model::Route;
use crate::explain::cause::CauseFinding;
use crate::explain::trial::{TrialBudget, VerificationTrial, timeless};
use crate::explain::{PastRequest, RefusalExplainer, body, head, secret, sender, text, time, url};
use crate::gate::reject::Reject;
use crate::model::clock::ClockReading;

/// A reject under investigation, with its request and route.
pub(super) struct RefusalCase<'c> {
    pub(super) explainer: &'c RefusalExplainer,
    pub(super) route: &'c Route,
    pub(super) reject: &'c Reject,
    pub(super) request: &'c PastRequest,
    /// The request as the route would verify it, with all secrets regardless of their validity period.
    pub(super) base: VerificationTrial<'c>,
}

impl<'c> RefusalCase<'c> {
    /// Tries each hypothesis in turn, and falls back to the first guess if no hypothesis is proven.
    pub(super) fn investigate(&self, hunt: &mut TrialBudget) -> Option<CauseFinding> {
        type CauseSearch = fn(&RefusalCase<'_>, &mut TrialBudget) -> Option<CauseFinding>;
        type CauseGuess = fn(&RefusalCase<'_>) -> Option<CauseFinding>;
        let finds: [CauseSearch; 7] = [
            time::find,
            secret::find,
            head::find,
            url::find,
            body::find,
            text::find,
            sender::find,
        ];
        let guesses: [CauseGuess; 4] = [sender::guess, time::guess, head::guess, body::guess];
        // No try can succeed over the start of a body, if the body is signed.
        let is_whole = !self.request.is_cut || !self.route.scheme.signs_body();
        let found = is_whole.then(|| finds.iter().find_map(|find| find(self, hunt)));
        found
            .flatten()
            .or_else(|| guesses.iter().find_map(|guess| guess(self)))
    }

    /// Returns all routes but the one of this request.
    pub(super) fn others(&self) -> impl Iterator<Item = &'c Route> {
        let own = &self.route.name;
        let all = self.explainer.routes();
        all.filter(move |other| other.name != *own)
    }

    /// Returns the text at a location in the head; a location in the body has no value here.
    pub(super) fn value(&self, place: &SchemeLocation) -> Option<String> {
        match place {
            SchemeLocation::Header(name) => {
                let value = self.base.headers.get(name)?;
                value.to_str().ok().map(str::to_owned)
            }
            SchemeLocation::Query(name) => {
                let head = self.base.head();
                let value = read_query(&head, name).ok()?;
                String::from_utf8(value.into_owned()).ok()
            }
            SchemeLocation::Form(_) | SchemeLocation::Json(_) => None,
        }
    }

    /// Returns a header that shows that the request came through a proxy.
    pub(super) fn proxy_evidence(&self) -> Option<&'static str> {
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

    /// Counts other senders whose signed time was off by about as much, within `close` seconds.
    pub(super) fn others_off_by(&self, age_seconds: i64, close: i64) -> usize {
        let others = self.request.others.iter().filter(|other| {
            other.route != self.route.name.as_str()
                && other.age_seconds.saturating_sub(age_seconds).abs() <= close
        });
        others.count()
    }
}

/// Builds the verification of a request by a route at a given time.
pub(super) fn trial<'t>(
    route: &'t Route,
    seen: &'t PastRequest,
    now: ClockReading,
) -> VerificationTrial<'t> {
    let trial = VerificationTrial {
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

/// Returns the time of arrival; the monotonic part is the present one.
pub(super) fn received(seen: &PastRequest) -> ClockReading {
    let now = ClockReading::read();
    ClockReading {
        unix_ms: seen.received_ms.unwrap_or(now.unix_ms),
        ..now
    }
}

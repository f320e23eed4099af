//! A reject under investigation, as each hypothesis reads it.

use std::borrow::Cow;

use hookgate_verify::scheme::material::read_query;
use hookgate_verify::scheme::spec::SchemeLocation;

use crate::config::model::Route;
use crate::explain::past_request::PastRequest;
use crate::explain::trial::{VerificationTrial, timeless};
use crate::gate::reject::Reject;
use crate::gate::route::RouteTable;
use crate::gate::rules::RouteRules;
use crate::model::clock::ClockReading;

/// A reject under investigation, with its request and route.
pub(super) struct RefusalCase<'c> {
    pub(super) routes: &'c RouteTable<RouteRules>,
    pub(super) route: &'c Route,
    pub(super) reject: &'c Reject,
    pub(super) request: &'c PastRequest,
    /// The request as the route would verify it, with all secrets regardless of their validity period.
    pub(super) base: VerificationTrial<'c>,
}

impl<'c> RefusalCase<'c> {
    /// Returns all routes but the one of this request.
    pub(super) fn others(&self) -> impl Iterator<Item = &'c Route> {
        let own = &self.route.name;
        let all = each_route(self.routes);
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

/// Returns the routes of a table in the order of the config.
pub(super) fn each_route(routes: &RouteTable<RouteRules>) -> impl Iterator<Item = &Route> {
    routes.iter().map(|rules| &**rules.route())
}

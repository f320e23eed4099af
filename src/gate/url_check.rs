//! Admission of a provider's URL checks, beside that of events. The responses are made in `challenge`.
//!
//! A signed check runs through the same checks as an event until its signature has passed. An unsigned check is subject
//! to the source's address and rate, and then gets a response, or is forwarded as unverified if the route says so.

use bytes::Bytes;
use http::Uri;
use http::request::Parts;
use http_body::Body;

use crate::config::model::PathRule;
use crate::gate::challenge::{self, bodied, unsigned};
use crate::gate::event::{EventParts, UnverifiedRequest};
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::{GateCheck, GateDecision, Verdict};
use crate::gate::{
    CheckFailure, Gate, GateAdmission, body_reject, check_source_ip, framing, head, read_request,
};
use crate::model::clock::ClockReading;
use crate::model::error;
use crate::net::fetch::FetchLimits;
use crate::net::read_body::{BodyHead, BodyLimits, read_body};
use crate::net::remote_url::RemoteUrl;
use crate::net::response::{HttpResponse, ResponseBody};
use crate::providers::challenge::{OnChallenge, ProviderChallenge};

/// Limit of the body of an unsigned check, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// An unsigned check that no rule has been applied to yet.
pub(super) struct UnsignedCheck {
    kind: ProviderChallenge,
    on_challenge: OnChallenge,
    response: Result<HttpResponse, Reject>,
}

/// A check whose signature is right.
pub(super) enum SignedCheck {
    /// The response to send right away.
    Answered(HttpResponse),
    /// The response follows once this URL was opened.
    Confirm(RemoteUrl),
}

impl RouteRules {
    /// Returns the provider's check and the route's action on it, or `None` if checks are treated like any request.
    fn url_check(&self) -> Option<(ProviderChallenge, OnChallenge)> {
        let provider = self.route.provider.as_ref()?;
        provider.challenge.zip(self.route.on_challenge)
    }

    /// Recognizes an unsigned URL check by its head.
    pub(super) fn find_in_head(&self, parts: &Parts, now: &ClockReading) -> Option<UnsignedCheck> {
        let (kind, on_challenge) = self.url_check()?;
        let answer = unsigned::answer(kind, &head(parts, &parts.headers), &self.means(now))?;
        Some(UnsignedCheck {
            kind,
            on_challenge,
            response: answer,
        })
    }

    /// Returns whether a request without a signature may be a URL check with its content in the body.
    pub(super) fn may_be_in_body(&self, reject: &Reject) -> bool {
        let lacks_signature = matches!(reject, Reject::MissingMaterial { .. });
        lacks_signature
            && self
                .url_check()
                .is_some_and(|(kind, _)| bodied::is_in_body(kind))
    }

    /// Recognizes a signed URL check among verified requests. Every event passes here, so nothing in it may wait.
    pub(super) fn find_signed(
        &self,
        request: &EventParts,
        label: &str,
    ) -> Option<Result<SignedCheck, Reject>> {
        self.count_verified();
        let kind = self.route.provider.as_ref()?.challenge?;
        // Gate or app signs such text for every client that sends a check, so the signature proves nothing.
        if unsigned::is_signed_for_anyone(kind, &request.body) {
            return Some(Err(Reject::BadSignature));
        }
        let (_, on_challenge) = self.url_check()?;
        match on_challenge {
            OnChallenge::Answer => {
                let secret = self.secret_of(label);
                let answer = challenge::answer(kind, &request.head(), &request.body, secret)?;
                Some(Ok(SignedCheck::Answered(answer)))
            }
            OnChallenge::Confirm => {
                let url = challenge::confirmation(&request.body)?;
                Some(url.map(SignedCheck::Confirm))
            }
            OnChallenge::Forward | OnChallenge::Show => None,
        }
    }
}

impl Gate {
    /// Admits a URL check that its head shows.
    pub(super) async fn find_in_head<B>(
        &self,
        asked: UnsignedCheck,
        rules: &RouteRules,
        (held, body): (&mut Option<Parts>, B),
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, CheckFailure>
    where
        B: Body<Data = Bytes>,
    {
        verdict.begin(GateCheck::Challenge);
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        // A URL check does not reach the framing check of ordinary requests, so its head is checked here.
        framing::check_head(parts)?;
        check_source_ip(rules, verdict)?;
        // The check is not verified, so the source pays for it.
        let _paid = self.charge_source(verdict)?;
        let answer = asked.response?;
        if asked.on_challenge == OnChallenge::Forward {
            let body = self.small_body(parts, body, MAX_BODY).await?;
            if !unsigned::has_own_body(asked.kind, &head(parts, &parts.headers), &body) {
                return Err(foreign_body().into());
            }
            let request = read_request(held, body, verdict)?;
            return left_to_app(asked.kind, rules, request, verdict);
        }
        Ok(answered(answer, verdict))
    }

    /// Admits a request without a signature if its body is a URL check, and rejects it with `reject` if not.
    pub(super) async fn find_in_body<B>(
        &self,
        reject: Reject,
        rules: &RouteRules,
        (held, body): (&mut Option<Parts>, B),
        now: &ClockReading,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, CheckFailure>
    where
        B: Body<Data = Bytes>,
    {
        // Monitor mode may have to forward the request as an event; otherwise only a small body can be a check.
        let max = match rules.is_monitored() {
            true => rules.route.max_body,
            false => MAX_BODY.min(rules.route.max_body),
        };
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        verdict.begin_check(GateCheck::Material);
        let body = self.small_body(parts, body, max).await;
        verdict.begin_check(GateCheck::Body);
        let body = match body {
            // Too large for a check, so it is just an unsigned request.
            Err(Reject::BodyTooLarge { .. }) if !rules.is_monitored() => return Err(reject.into()),
            body => body?,
        };
        verdict.body_bytes = body.len() as u64;
        let found = rules.url_check().and_then(|(kind, on_challenge)| {
            let answer =
                bodied::answer(kind, &head(parts, &parts.headers), &body, &rules.means(now))?;
            // A route with a working secret needs no new one, and least of all from an unverified client.
            let is_late = on_challenge == OnChallenge::Show && rules.has_verified();
            (!is_late).then_some((kind, on_challenge, answer))
        });
        let request = read_request(held, body, verdict)?;
        match found {
            None => Err(CheckFailure {
                reject,
                request: Some(request),
                is_forwarded: rules.is_monitored(),
            }),
            Some((kind, OnChallenge::Forward, answer)) => {
                answer?;
                left_to_app(kind, rules, request, verdict)
            }
            Some((_, on_challenge, answer)) => {
                let answer = answer?;
                if on_challenge == OnChallenge::Show {
                    verdict.shown = bodied::notion_token(&request.body).map(Into::into);
                }
                Ok(answered(answer, verdict))
            }
        }
    }

    /// Responds to a URL check whose signature is right.
    pub(super) async fn answer_signed(
        &self,
        asked: Result<SignedCheck, Reject>,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, CheckFailure> {
        verdict.begin(GateCheck::Challenge);
        let answer = match asked? {
            SignedCheck::Answered(answer) => answer,
            SignedCheck::Confirm(url) => {
                let opened = self.keys.fetcher().get(&url, FetchLimits::default()).await;
                opened.map_err(|err| Reject::Unconfirmed {
                    fault: error::chain(&err).into(),
                })?;
                HttpResponse::new(ResponseBody::empty())
            }
        };
        Ok(answered(answer, verdict))
    }

    async fn small_body<B>(&self, parts: &Parts, body: B, max: usize) -> Result<Bytes, Reject>
    where
        B: Body<Data = Bytes>,
    {
        let head = BodyHead {
            declared: framing::declared_length(&parts.headers, max)?,
            version: parts.version,
        };
        let limits = BodyLimits {
            max,
            timeout: self.body_timeout,
        };
        let read = read_body(body, head, limits, |_| true);
        read.await.map_err(|fault| body_reject(fault, max))
    }
}

fn answered(answer: HttpResponse, verdict: &mut Verdict) -> GateAdmission {
    verdict.begin(GateCheck::Challenge);
    verdict.decision = GateDecision::Challenge;
    GateAdmission::Answered(answer)
}

fn foreign_body() -> Reject {
    Reject::MalformedMaterial {
        name: "the body".into(),
        fault: "is not the body of a URL check",
    }
}

/// Forwards a well-formed check to the app, at the configured path and with the check's own parameters only. Otherwise
/// a path below a prefix, or another parameter, would let the client choose what the app does.
fn left_to_app(
    kind: ProviderChallenge,
    rules: &RouteRules,
    mut request: Box<EventParts>,
    verdict: &mut Verdict,
) -> Result<GateAdmission, CheckFailure> {
    verdict.begin(GateCheck::Challenge);
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = &rules.route.path;
    let target = match unsigned::own_query(kind, &request.head()) {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let mut parts = std::mem::take(&mut request.uri).into_parts();
    // Host and scheme remain as received; only path and query are replaced.
    parts.path_and_query = Some(target.parse().map_err(|_| Reject::Internal)?);
    request.uri = Uri::from_parts(parts).map_err(|_| Reject::Internal)?;
    verdict.decision = GateDecision::Challenge;
    Ok(GateAdmission::Unverified(UnverifiedRequest {
        parts: request,
    }))
}

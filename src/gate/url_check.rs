//! Admission of a provider's URL checks, beside that of events. The responses are made in `challenge`.
//!
//! A signed check runs through the same checks as an event until its signature has passed. An unsigned check is subject
//! to the source's address and rate, and then gets a response, or is forwarded as unverified if the route says so.

use bytes::Bytes;
use hookgate_verify::VerifyError;
use hookgate_verify::net::remote_url::RemoteUrl;
use hookgate_verify::providers::challenge::{OnChallenge, ProviderChallenge};
use http::Uri;
use http::request::Parts;
use http_body::Body;

use crate::config::model::PathRule;
use crate::gate::admission::GateAdmission;
use crate::gate::arrival::{ArrivingRequest, scheme_head};
use crate::gate::challenge::{self, bodied, unsigned};
use crate::gate::check::GateCheck;
use crate::gate::event::{EventParts, UnverifiedRequest};
use crate::gate::framing;
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::shared::Gate;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::model::clock::ClockReading;
use crate::model::error;
use crate::net::fetch::FetchLimits;
use crate::net::read_body::{BodyHead, BodyLimits};
use crate::net::response::{HttpResponse, ResponseBody};

/// Limit of the body of an unsigned check, in bytes.
const MAX_BODY: usize = 16 * 1024;

/// An unsigned check, or what may be one, that no rule has been applied to yet.
pub(super) enum UnsignedCheck {
    /// The head shows the check and decides the response.
    InHead {
        kind: ProviderChallenge,
        on_challenge: OnChallenge,
        response: Result<HttpResponse, Reject>,
    },
    /// The request has no signature, and only the body shows whether it is a check. If it is not, this is its reject.
    InBody {
        kind: ProviderChallenge,
        on_challenge: OnChallenge,
        otherwise: Reject,
    },
}

/// A check whose signature is right.
pub(super) enum SignedCheck {
    /// The response to send right away.
    Answered(HttpResponse),
    /// The response follows once this URL was opened.
    Confirm(RemoteUrl),
}

/// Returns the provider's check and the route's action on it, or `None` if checks are treated like any request.
fn expected(rules: &RouteRules) -> Option<(ProviderChallenge, OnChallenge)> {
    let provider = rules.route.provider.as_ref()?;
    provider.challenge.zip(rules.route.on_challenge)
}

/// Recognizes an unsigned URL check by its head, or a request that may be one by its body.
pub(super) fn find_unsigned(
    rules: &RouteRules,
    head: &Parts,
    now: &ClockReading,
) -> Option<UnsignedCheck> {
    let (kind, on_challenge) = expected(rules)?;
    let read = scheme_head(head, &head.headers);
    if let Some(response) = unsigned::answer(kind, &read, &rules.means(now)) {
        return Some(UnsignedCheck::InHead {
            kind,
            on_challenge,
            response,
        });
    }
    // A request with the scheme's other header names has a signature.
    let has_other_names = || !matches!(rules.keys.own_names(&head.headers), Ok(None));
    if !bodied::is_in_body(kind) || has_other_names() {
        return None;
    }
    match rules.keys.open(read, now.unix_ms) {
        Err(missing @ VerifyError::MissingMaterial { .. }) => Some(UnsignedCheck::InBody {
            kind,
            on_challenge,
            otherwise: missing.into(),
        }),
        _ => None,
    }
}

/// Recognizes a signed URL check among verified requests. Every event passes here, so nothing in it may wait.
pub(super) fn find_signed(
    rules: &RouteRules,
    request: &EventParts,
    label: &str,
) -> Option<Result<SignedCheck, Reject>> {
    rules.count_verified();
    let kind = rules.route.provider.as_ref()?.challenge?;
    // Gate or app signs such text for every client that sends a check, so the signature proves nothing.
    if kind.signs_for_anyone(&request.body) {
        return Some(Err(Reject::BadSignature));
    }
    let (_, on_challenge) = expected(rules)?;
    match on_challenge {
        OnChallenge::Answer => {
            let secret = rules.secret_of(label);
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

/// Admits a request that `find_unsigned` recognized.
pub(super) async fn admit<B>(
    gate: &Gate,
    check: UnsignedCheck,
    rules: &RouteRules,
    request: &mut ArrivingRequest<B>,
    now: &ClockReading,
    verdict: &mut Verdict,
) -> Result<GateAdmission, Reject>
where
    B: Body<Data = Bytes>,
{
    match check {
        UnsignedCheck::InHead {
            kind,
            on_challenge,
            response,
        } => {
            verdict.begin(GateCheck::Challenge);
            // A URL check does not reach the framing check of ordinary requests, so its head is checked here.
            framing::check_head(request.head()?)?;
            rules.check_source(verdict.source.ip)?;
            // The check is not verified, so the source pays for it.
            gate.charge_source(verdict)?;
            rules.check_client(&request.head()?.extensions, *now)?;
            let response = response?;
            match on_challenge {
                OnChallenge::Forward => {
                    read_small(gate, request, MAX_BODY, verdict).await?;
                    let parts = request.assemble(verdict)?;
                    if !unsigned::has_own_body(kind, &parts.head(), &parts.body) {
                        return Err(foreign_body());
                    }
                    leave_to_app(kind, rules, request, verdict)
                }
                _ => Ok(answered(response, verdict)),
            }
        }
        UnsignedCheck::InBody {
            kind,
            on_challenge,
            otherwise,
        } => {
            verdict.begin(GateCheck::Framing);
            framing::check(&rules.route, request.head()?)?;
            verdict.begin(GateCheck::SourceIp);
            rules.check_source(verdict.source.ip)?;
            verdict.begin(GateCheck::SourceRate);
            gate.charge_source(verdict)?;
            verdict.begin(GateCheck::ClientCert);
            rules.check_client(&request.head()?.extensions, *now)?;
            verdict.begin(GateCheck::Material);
            admit_by_body(
                gate,
                (kind, on_challenge),
                otherwise,
                rules,
                request,
                now,
                verdict,
            )
            .await
        }
    }
}

/// Admits a request without a signature if its body is a URL check, and rejects it with `otherwise` if not.
async fn admit_by_body<B>(
    gate: &Gate,
    (kind, on_challenge): (ProviderChallenge, OnChallenge),
    otherwise: Reject,
    rules: &RouteRules,
    request: &mut ArrivingRequest<B>,
    now: &ClockReading,
    verdict: &mut Verdict,
) -> Result<GateAdmission, Reject>
where
    B: Body<Data = Bytes>,
{
    // Monitor mode may have to forward the request as an event; otherwise only a small body can be a check.
    let max = match rules.is_monitored() {
        true => rules.route.max_body,
        false => MAX_BODY.min(rules.route.max_body),
    };
    verdict.begin_check(GateCheck::Material);
    let read = read_small(gate, request, max, verdict).await;
    verdict.begin_check(GateCheck::Body);
    match read {
        // Too large for a check, so it is just an unsigned request.
        Err(Reject::BodyTooLarge { .. }) if !rules.is_monitored() => return Err(otherwise),
        read => read?,
    }
    let parts = request.assemble(verdict)?;
    let found = bodied::answer(kind, &parts.head(), &parts.body, &rules.means(now));
    // A route with a working secret needs no new one, and least of all from an unverified client.
    let is_late = on_challenge == OnChallenge::Show && rules.has_verified();
    let response = match found {
        Some(response) if !is_late => response?,
        _ => return Err(otherwise),
    };
    match on_challenge {
        OnChallenge::Forward => leave_to_app(kind, rules, request, verdict),
        OnChallenge::Show => {
            verdict.shown = bodied::notion_token(&parts.body).map(Into::into);
            Ok(answered(response, verdict))
        }
        OnChallenge::Answer | OnChallenge::Confirm => Ok(answered(response, verdict)),
    }
}

/// Responds to a URL check whose signature is right.
pub(super) async fn answer_signed(
    gate: &Gate,
    check: Result<SignedCheck, Reject>,
    verdict: &mut Verdict,
) -> Result<GateAdmission, Reject> {
    verdict.begin(GateCheck::Challenge);
    let answer = match check? {
        SignedCheck::Answered(answer) => answer,
        SignedCheck::Confirm(url) => {
            let opened = gate.keys.fetcher().get(&url, FetchLimits::default()).await;
            opened.map_err(|err| Reject::Unconfirmed {
                fault: error::chain(&err).into(),
            })?;
            HttpResponse::new(ResponseBody::empty())
        }
    };
    Ok(answered(answer, verdict))
}

async fn read_small<B>(
    gate: &Gate,
    request: &mut ArrivingRequest<B>,
    max: usize,
    verdict: &mut Verdict,
) -> Result<(), Reject>
where
    B: Body<Data = Bytes>,
{
    let head = request.head()?;
    let body_head = BodyHead {
        declared: framing::declared_length(&head.headers, max)?,
        version: head.version,
    };
    let limits = BodyLimits {
        max,
        timeout: gate.body_timeout,
    };
    request.read(body_head, limits, |_| true, verdict).await?;
    Ok(())
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
fn leave_to_app<B>(
    kind: ProviderChallenge,
    rules: &RouteRules,
    request: &mut ArrivingRequest<B>,
    verdict: &mut Verdict,
) -> Result<GateAdmission, Reject> {
    verdict.begin(GateCheck::Challenge);
    let mut parts = request.parts.take().ok_or(Reject::Internal)?;
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = &rules.route.path;
    let target = match unsigned::own_query(kind, &parts.head()) {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    // Host and scheme remain as received; only path and query are replaced.
    uri.path_and_query = Some(target.parse().map_err(|_| Reject::Internal)?);
    parts.uri = Uri::from_parts(uri).map_err(|_| Reject::Internal)?;
    verdict.decision = GateDecision::Challenge;
    Ok(GateAdmission::Unverified(UnverifiedRequest { parts }))
}

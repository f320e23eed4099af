//! The way of a provider's URL check through the gate, beside that of events. What is answered stands in `challenge`.
//!
//! A check that is signed takes the way of events until its signature has passed. One that is not is held against the
//! source's address and rate like any request, and answered, or forwarded as unverified where the route says so.

use bytes::Bytes;
use http::Uri;
use http::request::Parts;
use http_body::Body;

use crate::config::model::PathRule;
use crate::gate::challenge::{self, bodied, unsigned};
use crate::gate::event::{EventParts, Unverified};
use crate::gate::reject::Reject;
use crate::gate::rules::Rules;
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::gate::{
    Admission, Gate, Stop, body_reject, check_source_ip, framing, head, read_request,
};
use crate::model::clock::Now;
use crate::model::error;
use crate::net::answer::{Answer, AnswerBody};
use crate::net::fetch::FetchLimits;
use crate::net::read_body::{BodyHead, BodyLimits, read_body};
use crate::net::remote_url::RemoteUrl;
use crate::providers::challenge::{Challenge, OnChallenge};

/// Bytes of the body of a check that is not signed.
const MAX_BODY: usize = 16 * 1024;

/// An unsigned check, before anything has been held against it.
pub(super) struct Asked {
    kind: Challenge,
    on_challenge: OnChallenge,
    answer: Result<Answer, Reject>,
}

/// A check whose signature is right.
pub(super) enum SignedCheck {
    /// With this answer.
    Answered(Answer),
    /// Answered once this URL could be opened.
    Confirm(RemoteUrl),
}

impl Rules {
    /// The provider's check and what the route does with it; none where it is a request like any other.
    fn url_check(&self) -> Option<(Challenge, OnChallenge)> {
        let provider = self.route.provider.as_ref()?;
        provider.challenge.zip(self.route.on_challenge)
    }

    /// The unsigned URL check that this head is.
    pub(super) fn asked_in_head(&self, parts: &Parts, now: &Now) -> Option<Asked> {
        let (kind, on_challenge) = self.url_check()?;
        let answer = unsigned::answer(kind, &head(parts, &parts.headers), &self.means(now))?;
        Some(Asked {
            kind,
            on_challenge,
            answer,
        })
    }

    /// Whether a request without a signature may be a URL check that stands in its body.
    pub(super) fn may_be_asked_in_body(&self, reject: &Reject) -> bool {
        let lacks_signature = matches!(reject, Reject::MissingMaterial { .. });
        lacks_signature
            && self
                .url_check()
                .is_some_and(|(kind, _)| bodied::is_in_body(kind))
    }

    /// The signed URL check that this verified request is. Events come by here, so nothing of it waits.
    pub(super) fn asked_and_signed(
        &self,
        request: &EventParts,
        label: &str,
    ) -> Option<Result<SignedCheck, Reject>> {
        self.note_verified();
        let kind = self.route.provider.as_ref()?.challenge?;
        // Gate or app, the one that answers the sender's checks signs such text for every client.
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
    /// A URL check that the head shows.
    pub(super) async fn asked_in_head<B>(
        &self,
        asked: Asked,
        rules: &Rules,
        (held, body): (&mut Option<Parts>, B),
        verdict: &mut Verdict,
    ) -> Result<Admission, Stop>
    where
        B: Body<Data = Bytes>,
    {
        verdict.begin(Check::Challenge);
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        framing::check_head(parts)?;
        check_source_ip(rules, verdict)?;
        // Not verified, so the source pays for it.
        let _paid = self.charge_source(verdict)?;
        let answer = asked.answer?;
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

    /// A request without a signature, which may be a URL check that stands in its body. Else it is refused, for `reject`.
    pub(super) async fn asked_in_body<B>(
        &self,
        reject: Reject,
        rules: &Rules,
        (held, body): (&mut Option<Parts>, B),
        now: &Now,
        verdict: &mut Verdict,
    ) -> Result<Admission, Stop>
    where
        B: Body<Data = Bytes>,
    {
        let max = match rules.is_monitored() {
            true => rules.route.max_body,
            false => MAX_BODY.min(rules.route.max_body),
        };
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        verdict.lap(Check::Material);
        let body = self.small_body(parts, body, max).await;
        verdict.lap(Check::Body);
        let body = match body {
            Err(Reject::BodyTooLarge { .. }) if !rules.is_monitored() => return Err(reject.into()),
            body => body?,
        };
        verdict.body_bytes = body.len() as u64;
        let found = rules.url_check().and_then(|(kind, on_challenge)| {
            let answer =
                bodied::answer(kind, &head(parts, &parts.headers), &body, &rules.means(now))?;
            // A secret that verifies needs no successor from a client that nothing vouches for.
            let is_late = on_challenge == OnChallenge::Show && rules.has_verified();
            (!is_late).then_some((kind, on_challenge, answer))
        });
        let request = read_request(held, body, verdict)?;
        match found {
            None => Err(Stop {
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

    /// Answers a URL check whose signature is right.
    pub(super) async fn answer_signed(
        &self,
        asked: Result<SignedCheck, Reject>,
        verdict: &mut Verdict,
    ) -> Result<Admission, Stop> {
        verdict.begin(Check::Challenge);
        let answer = match asked? {
            SignedCheck::Answered(answer) => answer,
            SignedCheck::Confirm(url) => {
                let opened = self.keys.fetcher().get(&url, FetchLimits::default()).await;
                opened.map_err(|err| Reject::Unconfirmed {
                    fault: error::chain(&err).into(),
                })?;
                Answer::new(AnswerBody::empty())
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

fn answered(answer: Answer, verdict: &mut Verdict) -> Admission {
    verdict.begin(Check::Challenge);
    verdict.decision = Decision::Challenge;
    Admission::Answered(answer)
}

fn foreign_body() -> Reject {
    Reject::MalformedMaterial {
        name: "the body".into(),
        fault: "is not the URL check's own",
    }
}

/// Hands a check of the right form to the app: at the path of the config and with the check's own parameters. A path below
/// a prefix, or another parameter, would be the client's choice of what the app does.
fn left_to_app(
    kind: Challenge,
    rules: &Rules,
    mut request: Box<EventParts>,
    verdict: &mut Verdict,
) -> Result<Admission, Stop> {
    verdict.begin(Check::Challenge);
    let (PathRule::Exact(path) | PathRule::Prefix(path)) = &rules.route.path;
    let target = match unsigned::own_query(kind, &request.head()) {
        Some(query) => format!("{path}?{query}"),
        None => path.clone(),
    };
    let mut parts = std::mem::take(&mut request.uri).into_parts();
    parts.path_and_query = Some(target.parse().map_err(|_| Reject::Internal)?);
    request.uri = Uri::from_parts(parts).map_err(|_| Reject::Internal)?;
    verdict.decision = Decision::Challenge;
    Ok(Admission::Unverified(Unverified { parts: request }))
}

//! The order of the checks of one request.
//!
//! Three lists: before the body, reading and verifying, after the signature. Each check takes one line and ends the
//! request with a reject. URL checks of a provider branch off before the lists, and monitor mode wraps around them: it
//! forwards what an enforced route would refuse.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::identity::KeyText;
use hookgate_verify::signature::{PendingVerification, VerifiedSignature};
use http::request::Parts;
use http::{HeaderMap, Request};
use http_body::Body;

use crate::criteria::body::JsonBody;
use crate::gate::admission::GateAdmission;
use crate::gate::arrival::{ArrivingRequest, read_into, scheme_head};
use crate::gate::budget::BudgetShare;
use crate::gate::check::GateCheck;
use crate::gate::dedup::Claim;
use crate::gate::dedup_check::{ClaimDecision, claim};
use crate::gate::event::{Event, EventParts, RefusedRequest, UnverifiedRequest};
use crate::gate::filter_kind::FilterKind;
use crate::gate::framing;
use crate::gate::rate_limit::SourceCharge;
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::shared::Gate;
use crate::gate::url_check;
use crate::gate::verdict::{GateDecision, Verdict};
use crate::gate::verify::verify;
use crate::model::clock::ClockReading;
use crate::net::event_headers::ForwardedClient;
use crate::net::read_body::{BodyHead, BodyLimits};

/// A request that passed the checks before the body.
struct OpenedRequest<'r> {
    body_head: BodyHead,
    /// The charge of the source; `None` if sources have no rate.
    charge: Option<SourceCharge>,
    /// The client of the certificate, if the route forwards it.
    client: Option<Arc<ForwardedClient>>,
    pending: PendingVerification<'r>,
}

impl Gate {
    /// Runs the checks of a route over a request, and charges `share`, the budget of its source, until it is verified.
    /// A request that is checked again has no share.
    ///
    /// Cheap checks come first, and nothing whose size the client controls is allocated before the signature, except
    /// the body itself up to its limits. Fills in `verdict`, which must be fresh.
    pub(crate) async fn admit<B>(
        &self,
        rules: &RouteRules,
        share: Option<&BudgetShare>,
        request: Request<B>,
        now: ClockReading,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        begin_route(rules, verdict);
        let mut request = ArrivingRequest::new(request);
        let checked = self.checks(rules, share, &mut request, &now, verdict).await;
        let checked = match checked {
            Err(reject) if rules.is_monitored() && is_forwarded(verdict.last_check()) => {
                self.monitor(reject, rules, share, &mut request, verdict)
                    .await
            }
            checked => checked,
        };
        finish(checked, rules, request, verdict)
    }

    /// Runs all checks in their order.
    async fn checks<B>(
        &self,
        rules: &RouteRules,
        share: Option<&BudgetShare>,
        request: &mut ArrivingRequest<B>,
        now: &ClockReading,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, Reject>
    where
        B: Body<Data = Bytes>,
    {
        // Boxed, like all rare branches, to keep the future of an ordinary request small.
        if let Some(check) = url_check::find_unsigned(rules, request.head()?, now) {
            return Box::pin(url_check::admit(self, check, rules, request, now, verdict)).await;
        }
        let head = request.head.as_ref().ok_or(Reject::Internal)?;
        let mut own_names = None;
        let mut opened = self.before_body(rules, head, &mut own_names, now, verdict)?;
        let client = opened.client.take();
        let (body, read) = (&mut request.body, &mut request.read);
        let mut signed = self
            .read_and_verify(opened, rules, share, (body, read), verdict)
            .await?;
        let parts = request.assemble(verdict)?;
        parts.plain = signed.plain.take().map(Bytes::from);
        parts.own_names = own_names;
        parts.marks.client = client;
        self.after_signature(rules, &mut request.parts, &signed, verdict)
            .await
    }

    /// Checks the head before any byte of the body is read, so that forged requests cost little.
    fn before_body<'r>(
        &self,
        rules: &'r RouteRules,
        head: &'r Parts,
        own_names: &'r mut Option<Box<HeaderMap>>,
        now: &ClockReading,
        verdict: &mut Verdict,
    ) -> Result<OpenedRequest<'r>, Reject> {
        verdict.begin(GateCheck::Framing);
        let declared = framing::check(&rules.route, head)?;

        verdict.begin(GateCheck::SourceIp);
        rules.check_source(verdict.source.ip)?;

        verdict.begin(GateCheck::SourceRate);
        let charge = self.charge_source(verdict)?;

        verdict.begin(GateCheck::ClientCert);
        let client = rules.check_client(&head.extensions, *now)?;

        verdict.begin(GateCheck::Material);
        *own_names = rules.keys.own_names(&head.headers)?;
        let headers = own_names.as_deref().unwrap_or(&head.headers);
        let pending = rules.keys.open(scheme_head(head, headers), now.unix_ms)?;

        let body_head = BodyHead {
            declared,
            version: head.version,
        };
        Ok(OpenedRequest {
            body_head,
            charge,
            client,
            pending,
        })
    }

    /// Reads the body, and compares the signature. The MAC is computed while the body arrives, so that the body is hashed
    /// while the gate waits for the next bytes.
    async fn read_and_verify<B>(
        &self,
        opened: OpenedRequest<'_>,
        rules: &RouteRules,
        share: Option<&BudgetShare>,
        (body, read): (&mut Option<B>, &mut Option<Bytes>),
        verdict: &mut Verdict,
    ) -> Result<VerifiedSignature, Reject>
    where
        B: Body<Data = Bytes>,
    {
        let OpenedRequest {
            body_head,
            charge,
            mut pending,
            ..
        } = opened;

        verdict.begin(GateCheck::Body);
        let consume = |chunk: &[u8]| {
            pending.update(chunk);
            // Stops reading once the source has too many unverified bytes in memory.
            share.is_none_or(|share| share.hold(chunk.len()))
        };
        let limits = self.body_limits(rules);
        let body = read_into(body, read, body_head, limits, consume, verdict).await?;

        verdict.begin(GateCheck::Signature);
        let signed = verify(&self.keys, pending, body, &rules.route.name, share).await?;

        // Verified: the source gets back what the request was charged, so that genuine bursts cost it nothing.
        if let Some(charge) = charge {
            charge.refund();
        }
        if let Some(share) = share {
            share.give_back();
        }
        verdict.secret = Some(Arc::clone(&signed.label));
        Ok(signed)
    }

    /// Runs the checks that need a verified request. Takes the request out of `held` if it is an event.
    pub(super) async fn after_signature(
        &self,
        rules: &RouteRules,
        held: &mut Option<Box<EventParts>>,
        signed: &VerifiedSignature,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, Reject> {
        let request = held.as_deref().ok_or(Reject::Internal)?;
        // A signed URL check ends here: it has no identity, and dedup must not claim it.
        if let Some(check) = url_check::find_signed(rules, request, &signed.label) {
            return Box::pin(url_check::answer_signed(self, check, verdict)).await;
        }

        verdict.begin(GateCheck::Identity);
        let key = read_identity(rules, request, verdict)?;

        // Before rate and dedup, so that an excluded event uses up no rate and spends no id.
        if let Some(by) = check_content(rules, request, verdict)? {
            let event = take_event(held, signed, verdict)?;
            return Ok(GateAdmission::Filtered(by, event));
        }

        verdict.begin(GateCheck::RouteRate);
        rules.check_rate()?;

        verdict.begin(GateCheck::Dedup);
        match claim(rules, &key, request, &signed.digest, verdict).await? {
            ClaimDecision::New(claim) => {
                verdict.is_replay = claim.as_ref().is_some_and(Claim::is_replay);
                let event = take_event(held, signed, verdict)?;
                Ok(GateAdmission::Event(event, claim))
            }
            ClaimDecision::Duplicate(status) => {
                // The sender acts on the response, so each copy gets the app's own response.
                verdict.is_copy = rules.forwards_duplicates(verdict.event_type.as_deref());
                let event = take_event(held, signed, verdict)?;
                Ok(match verdict.is_copy {
                    true => GateAdmission::Event(event, None),
                    false => GateAdmission::Duplicate(status, event),
                })
            }
        }
    }

    /// Forwards a request that failed a check in monitor mode, after reading its body. Refuses it where the gate has to
    /// protect itself: by the rate of the source, and by the limits of the body.
    async fn monitor<B>(
        &self,
        reject: Reject,
        rules: &RouteRules,
        share: Option<&BudgetShare>,
        request: &mut ArrivingRequest<B>,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, Reject>
    where
        B: Body<Data = Bytes>,
    {
        let failed = verdict.last_check();
        if failed < GateCheck::SourceRate {
            verdict.begin(GateCheck::SourceRate);
            self.charge_source(verdict)?;
        }
        if request.body.is_some() {
            verdict.begin(GateCheck::Body);
            let head = request.head()?;
            let body_head = BodyHead {
                declared: framing::declared_length(&head.headers, rules.route.max_body)?,
                version: head.version,
            };
            let hold = |chunk: &[u8]| share.is_none_or(|share| share.hold(chunk.len()));
            let limits = self.body_limits(rules);
            let (body, read) = (&mut request.body, &mut request.read);
            let body = read_into(body, read, body_head, limits, hold, verdict).await?;
            if let Some(share) = share {
                share.charge(Duration::ZERO, body.len());
            }
            verdict.begin(GateCheck::Signature);
        }
        if request.parts.is_none() {
            request.assemble(verdict)?;
        }
        let parts = request.parts.take().ok_or(Reject::Internal)?;
        // The verdict reports the check that failed first.
        verdict.failed_at(failed);
        verdict.decision = GateDecision::Monitored(reject);
        // The claims of an unverified request about itself must not appear as facts in the log.
        (verdict.event_id, verdict.event_type) = (None, None);
        verdict.event_version = None;
        Ok(GateAdmission::Unverified(UnverifiedRequest { parts }))
    }

    /// Returns the limits of the body on a route.
    pub(super) fn body_limits(&self, rules: &RouteRules) -> BodyLimits {
        BodyLimits {
            max: rules.route.max_body,
            timeout: self.body_timeout,
        }
    }
}

/// Records the route before the checks, so that every reject names it.
pub(super) fn begin_route(rules: &RouteRules, verdict: &mut Verdict) {
    verdict.route = Some(rules.route.name.clone());
    verdict.provider = Some(Arc::clone(&rules.provider));
}

/// Returns whether monitor mode forwards a request that failed this check. The others protect the gate itself.
fn is_forwarded(failed: GateCheck) -> bool {
    !matches!(
        failed,
        GateCheck::Route
            | GateCheck::Framing
            | GateCheck::SourceRate
            | GateCheck::Body
            | GateCheck::Challenge
    )
}

/// Turns the end of the checks into the admission, with its decision in the verdict.
pub(super) fn finish<B>(
    checked: Result<GateAdmission, Reject>,
    rules: &RouteRules,
    request: ArrivingRequest<B>,
    verdict: &mut Verdict,
) -> GateAdmission
where
    B: Body<Data = Bytes>,
{
    verdict.end();
    // Monitor mode changes nothing for the app, which received every copy and every type before hookgate was there.
    match checked {
        Ok(GateAdmission::Duplicate(status, event)) if rules.is_monitored() => {
            verdict.decision = GateDecision::Monitored(Reject::Duplicate { status });
            GateAdmission::Event(event, None)
        }
        Ok(GateAdmission::Filtered(by, event)) if rules.is_monitored() => {
            verdict.decision = GateDecision::Monitored(Reject::Filtered { by });
            GateAdmission::Event(event, None)
        }
        Ok(admission) => {
            match &admission {
                GateAdmission::Duplicate(..) => verdict.decision = GateDecision::Duplicate,
                GateAdmission::Filtered(by, _) => verdict.decision = GateDecision::Filtered(*by),
                _ => {}
            }
            admission
        }
        Err(reject) => {
            verdict.decision = GateDecision::Refused(reject.clone());
            let parts = request.into_parts(verdict);
            GateAdmission::Refused(reject, parts.map(|parts| RefusedRequest { parts }))
        }
    }
}

/// Reads id, type and version of an event into the verdict. Returns the text of its dedup key.
fn read_identity(
    rules: &RouteRules,
    request: &EventParts,
    verdict: &mut Verdict,
) -> Result<KeyText, Reject> {
    // Rejects repeated names first: a repeated header could give the app another identity than the one read here.
    let identity = rules.identity.read(&request.head(), request.text())?;
    // Before id and type are recorded: an event of another customer is not this route's.
    rules.check_tenant(&identity.tenants)?;
    verdict.event_id = identity.event_id;
    verdict.event_type = identity.event_type;
    verdict.event_version = identity.version;
    verdict.types = identity.types;
    Ok(identity.key)
}

/// Runs the checks that read the event. They share its parsed body, which is dropped before the dedup check may wait.
fn check_content(
    rules: &RouteRules,
    request: &EventParts,
    verdict: &mut Verdict,
) -> Result<Option<FilterKind>, Reject> {
    verdict.begin(GateCheck::Filter);
    if let Some(by) = rules.filter.find(verdict)? {
        return Ok(Some(by));
    }
    let body = JsonBody::new(request.text());
    if !rules.condition.holds(request, verdict, &body)? {
        return Ok(Some(FilterKind::When));
    }
    verdict.begin(GateCheck::Schema);
    rules.schemas.check(verdict, &body)?;
    Ok(None)
}

/// Turns a request that passed the checks of its content into an event, with the id and type that were read from it.
fn take_event(
    held: &mut Option<Box<EventParts>>,
    signed: &VerifiedSignature,
    verdict: &Verdict,
) -> Result<Event, Reject> {
    let mut parts = held.take().ok_or(Reject::Internal)?;
    parts.digest = signed.digest;
    parts.marks.is_copy = verdict.is_copy;
    parts.marks.is_replay = verdict.is_replay;
    parts.event_id.clone_from(&verdict.event_id);
    parts.event_type.clone_from(&verdict.event_type);
    Ok(Event { parts })
}

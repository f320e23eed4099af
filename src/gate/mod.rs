//! The gate: head + body -> event or reject. No logging, no counters, no answers written.

pub mod challenge;
pub mod dedup;
pub mod event;
pub mod identity;
mod pick;
pub mod rate_limit;
pub mod reject;
pub mod route;
pub mod signature;
pub mod verdict;

#[cfg(test)]
mod vector_tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use hyper::body::Incoming;

use crate::config::model::{Enforce, MissingId, Route};
use crate::gate::dedup::{Asked, Claim, Claims};
use crate::gate::event::{Event, EventParts, Unverified};
use crate::gate::identity::IdentityRules;
use crate::gate::rate_limit::{Limiter, SourceLimiters};
use crate::gate::reject::Reject;
use crate::gate::route::{RouteIndex, RouteTable};
use crate::gate::signature::Keys;
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::model::clock::{Now, instant};
use crate::model::ids::RequestId;
use crate::model::source::{Source, SourceKey};
use crate::net::answer::Answer;
use crate::net::headers::{Occurrence, single};
use crate::net::read_body::{BodyFault, BodyHead, BodyLimits, read_body};
use crate::scheme::Head;

/// One route, compiled.
pub struct Rules {
    /// As in the config.
    pub route: Route,
    keys: Keys,
    identity: IdentityRules,
    claims: Option<Arc<Claims>>,
    limiter: Option<Arc<Limiter>>,
    provider: Arc<str>,
}

/// The rules of a generation.
pub struct Gate {
    table: RouteTable,
    /// In the order of the config.
    pub rules: Vec<Rules>,
    source_limiters: Option<Arc<SourceLimiters>>,
    body_timeout: Duration,
}

/// All the ways in which the gate can end.
pub enum Admission {
    /// Passed.
    Event(Box<Event>, Option<Claim>),
    /// Monitor mode.
    Unverified(Box<Unverified>),
    /// Answered here.
    Answered(Answer),
    /// A duplicate.
    Duplicate(StatusCode),
    /// Refused.
    Refused,
}

struct Read {
    parts: http::request::Parts,
    body: Bytes,
}

impl Rules {
    /// Compiles one route.
    ///
    /// # Errors
    /// Scheme and secrets that do not go together.
    pub fn compile(
        route: Route,
        claims: Option<Arc<Claims>>,
        limiter: Option<Arc<Limiter>>,
    ) -> Result<Self, crate::scheme::SchemeError> {
        let provider = route
            .provider
            .as_ref()
            .map_or("custom", |provider| &provider.id);
        Ok(Self {
            keys: Keys::compile(&route)?,
            identity: IdentityRules::compile(&route.scheme),
            provider: provider.into(),
            claims,
            limiter,
            route,
        })
    }
}

impl Gate {
    /// Joins the rules.
    #[must_use]
    pub fn new(
        table: RouteTable,
        rules: Vec<Rules>,
        source_limiters: Option<Arc<SourceLimiters>>,
        body_timeout: Duration,
    ) -> Self {
        Self {
            table,
            rules,
            source_limiters,
            body_timeout,
        }
    }

    /// Runs the checks.
    pub async fn admit(
        &self,
        request: Request<Incoming>,
        source: Source,
        now: Now,
        request_id: RequestId,
    ) -> (Verdict, Admission) {
        let mut verdict = Verdict {
            request_id,
            source,
            route: None,
            route_index: None,
            provider: None,
            last_check: Check::Route,
            decision: Decision::Accepted,
            secret: None,
            event_id: None,
            event_type: None,
            body_bytes: 0,
            began: now.mono,
            head_time: Duration::ZERO,
            body_time: Duration::ZERO,
            verify_time: Duration::ZERO,
            wait_time: Duration::ZERO,
        };
        let admission = match self.checks(request, source, now, &mut verdict).await {
            Ok(admission) => admission,
            Err((reject, None)) => {
                verdict.decision = Decision::Refused(reject);
                Admission::Refused
            }
            Err((reject, Some(read))) => {
                verdict.decision = Decision::Monitored(reject);
                let index = verdict.route_index.unwrap_or_default();
                Admission::Unverified(Box::new(Unverified {
                    parts: parts(
                        read,
                        index,
                        source,
                        &Verdict {
                            event_id: None,
                            event_type: None,
                            ..verdict.clone()
                        },
                    ),
                }))
            }
        };
        (verdict, admission)
    }

    async fn checks(
        &self,
        request: Request<Incoming>,
        source: Source,
        now: Now,
        verdict: &mut Verdict,
    ) -> Result<Admission, (Reject, Option<Read>)> {
        let stop = |reject| (reject, None);
        let (parts_of, body) = request.into_parts();
        let host = host(&parts_of);
        let index = self
            .table
            .find(host, parts_of.uri.path())
            .ok_or_else(|| stop(Reject::no_route(host, parts_of.uri.path())))?;
        let rules = self
            .rules
            .get(index)
            .ok_or_else(|| stop(Reject::Internal))?;
        verdict.route = Some(rules.route.name.clone());
        verdict.route_index = Some(index);
        verdict.provider = Some(Arc::clone(&rules.provider));
        verdict.last_check = Check::Framing;
        let declared = framing(&rules.route, &parts_of).map_err(stop)?;
        let is_monitored = rules.route.enforce == Enforce::Monitor;
        verdict.last_check = Check::SourceIp;
        let mut first = None;
        if rules
            .route
            .allow_ips
            .as_ref()
            .is_some_and(|nets| !nets.iter().any(|net| net.contains(&source.ip)))
        {
            let reject = Reject::SourceNotAllowed { ip: source.ip };
            if !is_monitored {
                return Err(stop(reject));
            }
            first = Some(reject);
        }
        verdict.last_check = Check::SourceRate;
        if let Some(limiters) = &self.source_limiters {
            limiters
                .check(SourceKey::of(source.ip))
                .map_err(|retry_after| stop(Reject::SourceRate { retry_after }))?;
        }
        verdict.last_check = Check::Material;
        let limits = BodyLimits {
            max: rules.route.max_body,
            timeout: self.body_timeout,
        };
        let body_head = BodyHead {
            declared,
            version: parts_of.version,
        };
        let pending = rules.keys.open(
            Head {
                method: &parts_of.method,
                uri: &parts_of.uri,
                headers: &parts_of.headers,
            },
            &now,
        );
        verdict.head_time = instant().saturating_duration_since(now.mono);
        let began = instant();
        let mut pending = match pending {
            Ok(pending) => Ok(pending),
            Err(reject) if is_monitored => Err(reject),
            Err(reject) => return Err(stop(reject)),
        };
        let read = read_body(body, body_head, limits, |chunk| {
            if let Ok(pending) = &mut pending {
                pending.update(chunk)
            }
        })
        .await;
        verdict.body_time = instant().saturating_duration_since(began);
        let body = match read {
            Ok(body) => body,
            Err(fault) => {
                verdict.last_check = Check::Body;
                return Err(stop(match fault {
                    BodyFault::TooLarge => Reject::BodyTooLarge {
                        limit: rules.route.max_body,
                    },
                    BodyFault::Timeout | BodyFault::TooSlow => Reject::BodyTimeout,
                    BodyFault::Aborted => Reject::BodyAborted,
                }));
            }
        };
        verdict.body_bytes = body.len() as u64;
        let signed = pending.and_then(|pending| {
            verdict.last_check = Check::Signature;
            pending.finish()
        });
        let read = Read {
            parts: parts_of,
            body,
        };
        let signed = match (signed, first) {
            (Ok(signed), None) => signed,
            (Err(reject), None) | (_, Some(reject)) => {
                return Err((reject, is_monitored.then_some(read)));
            }
        };
        verdict.secret = Some(Arc::clone(&signed.label));
        self.after(rules, index, read, source, &signed.digest, verdict)
            .await
            .map_err(stop)
    }

    async fn after(
        &self,
        rules: &Rules,
        index: RouteIndex,
        read: Read,
        source: Source,
        digest: &[u8; 32],
        verdict: &mut Verdict,
    ) -> Result<Admission, Reject> {
        verdict.last_check = Check::Challenge;
        let challenge = rules
            .route
            .provider
            .as_ref()
            .and_then(|provider| provider.challenge)
            .filter(|_| rules.route.answer_challenge);
        if let Some(answer) = challenge
            .and_then(|challenge| challenge::answer(challenge, &read.parts.method, &read.body))
        {
            verdict.decision = Decision::Challenge;
            return Ok(Admission::Answered(answer));
        }
        verdict.last_check = Check::Identity;
        let needs_id = rules.route.dedup.as_ref().is_some_and(|dedup| dedup.by_id);
        let identity = rules
            .identity
            .read(&read.parts.headers, &read.body, needs_id)?;
        verdict.event_id = identity.event_id;
        verdict.event_type = identity.event_type;
        verdict.last_check = Check::RouteRate;
        if let Some(limiter) = &rules.limiter {
            limiter
                .check()
                .map_err(|retry_after| Reject::RouteRate { retry_after })?;
        }
        verdict.last_check = Check::Dedup;
        let mut claim = None;
        if let (Some(claims), Some(dedup)) = (&rules.claims, &rules.route.dedup) {
            let key = match (&verdict.event_id, dedup.by_body, dedup.missing_id) {
                (_, true, _) | (None, false, MissingId::Body) => Some(*digest),
                (Some(id), false, _) => Some(dedup::key_of_id(id.as_str())),
                (None, false, MissingId::Accept) => None,
                (None, false, MissingId::Reject) => return Err(Reject::MissingId),
            };
            if let Some(key) = key {
                match claims.ask(key) {
                    Asked::Claimed(own) => claim = Some(own),
                    Asked::Spent(status) => {
                        verdict.decision = Decision::Duplicate;
                        return Ok(Admission::Duplicate(status));
                    }
                    Asked::InFlight(mut outcome) => {
                        let began = instant();
                        let waited = tokio::time::timeout(
                            rules.route.upstream.timeout,
                            outcome.wait_for(Option::is_some),
                        )
                        .await;
                        verdict.wait_time = instant().saturating_duration_since(began);
                        let status = waited
                            .map_err(|_| Reject::InFlight)?
                            .map_err(|_| Reject::Internal)?
                            .unwrap_or(500);
                        let status =
                            StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                        if !status.is_success() {
                            return Err(Reject::FirstFailed { status });
                        }
                        verdict.decision = Decision::Duplicate;
                        return Ok(Admission::Duplicate(status));
                    }
                }
            }
        }
        Ok(Admission::Event(
            Box::new(Event {
                parts: parts(read, index, source, verdict),
            }),
            claim,
        ))
    }
}

fn parts(read: Read, route: RouteIndex, source: Source, verdict: &Verdict) -> EventParts {
    EventParts {
        route,
        method: read.parts.method,
        uri: read.parts.uri,
        headers: read.parts.headers,
        body: read.body,
        source,
        event_id: verdict.event_id.clone(),
        event_type: verdict.event_type.clone(),
    }
}

fn host(parts: &http::request::Parts) -> &str {
    let authority = parts.uri.authority().map(http::uri::Authority::as_str);
    let text = authority
        .or_else(|| parts.headers.get(header::HOST)?.to_str().ok())
        .unwrap_or_default();
    match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    }
}

fn framing(route: &Route, parts: &http::request::Parts) -> Result<Option<u64>, Reject> {
    if !route.methods.contains(&parts.method) {
        return Err(Reject::Method {
            method: parts.method.clone(),
        });
    }
    if !route.content_types.is_empty() {
        let found = match single(&parts.headers, &header::CONTENT_TYPE) {
            Occurrence::One(value) => value.to_str().unwrap_or_default(),
            _ => "",
        };
        let media = found
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if !route.content_types.contains(&media) {
            return Err(Reject::content_type(found));
        }
    }
    let declared = parts
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > route.max_body as u64) {
        return Err(Reject::BodyTooLarge {
            limit: route.max_body,
        });
    }
    Ok(declared)
}

//! One request from head to answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::forward::{ForwardError, Forwarded, Target, forward, forward_unverified};
use crate::gate::reject::Reject;
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::gate::{Admission, Gate};
use crate::model::clock::{Now, instant};
use crate::model::error;
use crate::model::ids::RequestId;
use crate::model::source::Source;
use crate::net::answer::{Answer, AnswerBody};
use crate::net::problem;
use crate::record::counters::RouteCounters;
use crate::record::{Exchange, Recorder};

/// What one config makes.
pub struct Generation {
    /// The checks.
    pub gate: Gate,
    /// One per route.
    pub targets: Vec<Arc<Target>>,
    /// One per route.
    pub counters: Vec<Arc<RouteCounters>>,
    /// For load balancers.
    pub health: Option<String>,
    /// `max_in_flight`.
    pub slots: Arc<Semaphore>,
}

/// Serves requests.
pub struct Pipeline {
    /// Where it is told.
    pub recorder: Arc<Recorder>,
    /// Exchanges that outlive their sender.
    pub exchanges: TaskTracker,
    /// Requests under way.
    pub in_flight: Arc<AtomicU64>,
}

struct InFlight(Arc<AtomicU64>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pipeline {
    /// One request.
    pub async fn serve(
        &self,
        generation: Arc<Generation>,
        request: Request<Incoming>,
        source: Source,
    ) -> Answer {
        let now = Now::read();
        let mut random = [0; 10];
        let _ = aws_lc_rs::rand::fill(&mut random);
        let request_id = RequestId::new(now.unix_ms, random);
        if generation.health.as_deref() == Some(request.uri().path()) {
            return Answer::new(AnswerBody::empty());
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let flying = InFlight(Arc::clone(&self.in_flight));
        let Ok(slot) = Arc::clone(&generation.slots).try_acquire_owned() else {
            let verdict = overload(request_id, source, now);
            return self.refuse(&generation, &verdict, &Reject::Overload);
        };
        let (verdict, admission) = generation
            .gate
            .admit(request, source, now, request_id)
            .await;
        match admission {
            Admission::Refused => {
                let Decision::Refused(reject) = verdict.decision.clone() else {
                    return self.refuse(&generation, &verdict, &Reject::Internal);
                };
                self.refuse(&generation, &verdict, &reject)
            }
            Admission::Answered(answer) => {
                self.note(
                    &generation,
                    &verdict,
                    answer.status(),
                    None,
                    Duration::ZERO,
                    None,
                );
                answer
            }
            Admission::Duplicate(status) => {
                self.note(&generation, &verdict, status, None, Duration::ZERO, None);
                let mut answer = Answer::new(AnswerBody::empty());
                *answer.status_mut() = status;
                answer
                    .headers_mut()
                    .insert("hookgate-duplicate", HeaderValue::from_static("true"));
                answer
            }
            Admission::Event(event, claim) => {
                let (recorder, generation) = (Arc::clone(&self.recorder), Arc::clone(&generation));
                let task = self.exchanges.spawn(async move {
                    let _held = (slot, flying);
                    let index = event.parts().route;
                    let Some(target) = generation.targets.get(index) else {
                        return problem::answer(
                            StatusCode::INTERNAL_SERVER_ERROR,
                            request_id,
                            None,
                        );
                    };
                    let result = forward(*event, target, request_id).await;
                    let status = match &result {
                        Ok(forwarded) => forwarded.status,
                        Err(err) => err.status(),
                    };
                    if let Some(claim) = claim {
                        if status.is_success() {
                            claim.spend(status);
                        } else {
                            claim.release(status);
                        }
                    }
                    finish(&recorder, &generation, &verdict, result, request_id)
                });
                task.await.unwrap_or_else(|_| {
                    problem::answer(StatusCode::INTERNAL_SERVER_ERROR, request_id, None)
                })
            }
            Admission::Unverified(request) => {
                let index = verdict.route_index.unwrap_or_default();
                let Some(target) = generation.targets.get(index) else {
                    return problem::answer(StatusCode::INTERNAL_SERVER_ERROR, request_id, None);
                };
                let result = forward_unverified(*request, target, request_id).await;
                finish(&self.recorder, &generation, &verdict, result, request_id)
            }
        }
    }

    fn refuse(&self, generation: &Generation, verdict: &Verdict, reject: &Reject) -> Answer {
        self.note(
            generation,
            verdict,
            reject.status(),
            None,
            Duration::ZERO,
            None,
        );
        problem::answer(reject.status(), verdict.request_id, reject.retry_after())
    }

    fn note(
        &self,
        generation: &Generation,
        verdict: &Verdict,
        answer_status: StatusCode,
        upstream_status: Option<StatusCode>,
        upstream_time: Duration,
        forward_error: Option<(&'static str, String)>,
    ) {
        note(
            &self.recorder,
            generation,
            verdict,
            answer_status,
            upstream_status,
            upstream_time,
            forward_error,
        );
    }
}

fn note(
    recorder: &Recorder,
    generation: &Generation,
    verdict: &Verdict,
    answer_status: StatusCode,
    upstream_status: Option<StatusCode>,
    upstream_time: Duration,
    forward_error: Option<(&'static str, String)>,
) {
    let counters = verdict
        .route_index
        .and_then(|index| generation.counters.get(index));
    let total = instant().saturating_duration_since(verdict.began);
    let exchange = Exchange {
        answer_status,
        upstream_status,
        upstream_time,
        forward_error,
        total,
    };
    recorder.request(counters.map(|counters| &**counters), verdict, &exchange);
}

fn finish(
    recorder: &Recorder,
    generation: &Generation,
    verdict: &Verdict,
    result: Result<Forwarded, ForwardError>,
    request_id: RequestId,
) -> Answer {
    match result {
        Ok(forwarded) => {
            note(
                recorder,
                generation,
                verdict,
                forwarded.answer.status(),
                Some(forwarded.status),
                forwarded.head_time,
                None,
            );
            forwarded.answer
        }
        Err(err) => {
            note(
                recorder,
                generation,
                verdict,
                err.status(),
                None,
                Duration::ZERO,
                Some((err.kind(), error::chain(&err))),
            );
            problem::answer(err.status(), request_id, None)
        }
    }
}

fn overload(request_id: RequestId, source: Source, now: Now) -> Verdict {
    Verdict {
        request_id,
        source,
        route: None,
        route_index: None,
        provider: None,
        last_check: Check::Route,
        decision: Decision::Refused(Reject::Overload),
        secret: None,
        event_id: None,
        event_type: None,
        body_bytes: 0,
        began: now.mono,
        head_time: Duration::ZERO,
        body_time: Duration::ZERO,
        verify_time: Duration::ZERO,
        wait_time: Duration::ZERO,
    }
}

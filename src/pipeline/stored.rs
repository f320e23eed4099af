//! The ways of an event that is stored: at once (queue), or when the app does not take it in time (hybrid).
//!
//! A sender gets its 2xx from here only after the commit. What cannot be stored is refused in queue mode; in hybrid mode the
//! app's own answer is then waited for as if there were no store.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::config::model::Mode;
use crate::deliver::Deliverer;
use crate::forward::forward;
use crate::gate::dedup::{Claim, Keys};
use crate::gate::event::{Event, EventParts};
use crate::gate::reject::Reject;
use crate::gate::route::RouteIndex;
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::inbox::outlets::Outlets;
use crate::inbox::{Accepted, Inbox, Terms};
use crate::model::clock::Now;
use crate::model::delivery::DeliveryId;
use crate::model::error;
use crate::net::answer::{Answer, AnswerBody};
use crate::net::outgoing::DUPLICATE;
use crate::net::outlive::contain;
use crate::pipeline::first::{Exchanged, Exchanging, First, Late};
use crate::pipeline::{Forwarding, Generation, local, marked, tell_trace};
use crate::record::deliveries::AttemptedEvent;
use crate::store::rows::DestinationId;

/// What the sender of a stored event gets.
const QUEUED: StatusCode = StatusCode::OK;

/// What it gets where the app did not take the event in time.
const KEPT: StatusCode = StatusCode::ACCEPTED;

/// Exchanges with apps that go on after their sender was answered. Beyond it they are given up, and come again from the store.
const MAX_LATE: usize = 256;

/// Where events are kept, and who delivers them.
#[derive(Clone)]
pub(super) struct Keeping {
    /// Takes events in.
    pub inbox: Inbox,
    /// Delivers them.
    pub deliverer: Arc<Deliverer>,
    late: Arc<Semaphore>,
    /// The late exchanges, which a drain waits for.
    exchanges: TaskTracker,
}

impl Keeping {
    /// Nothing is late yet.
    #[must_use]
    pub(super) fn new(inbox: Inbox, deliverer: Arc<Deliverer>, exchanges: TaskTracker) -> Self {
        Self {
            inbox,
            deliverer,
            late: Arc::new(Semaphore::new(MAX_LATE)),
            exchanges,
        }
    }

    pub(super) fn wake(&self, deliveries: &[(DestinationId, DeliveryId)]) {
        for (destination, _) in deliveries {
            self.deliverer.wake(*destination);
        }
    }
}

impl Forwarding {
    /// Stores the event and answers.
    pub(super) async fn queue(mut self, event: Event, mut claim: Option<Claim>) -> Answer {
        let generation = Arc::clone(&self.generation);
        let (Some(keeping), Some(outlets)) = (
            self.keeping.clone(),
            outlets_of(&generation, event.parts().route),
        ) else {
            return self.give_up();
        };
        if outlets.is_local() {
            return local::queue(self, &keeping, outlets, event, claim).await;
        }
        self.store(&keeping, outlets, event.parts(), &mut claim, QUEUED)
            .await
    }

    /// Commits, and answers with this status.
    async fn store(
        &mut self,
        keeping: &Keeping,
        outlets: &Outlets,
        parts: &EventParts,
        claim: &mut Option<Claim>,
        status: StatusCode,
    ) -> Answer {
        let terms = Terms::usual(status.as_u16());
        match self.accept(keeping, outlets, parts, claim, terms).await {
            Ok(Accepted::Stored(deliveries)) => {
                keeping.wake(&deliveries);
                self.note_stored(status, None);
                let mut answer = Answer::new(AnswerBody::empty());
                *answer.status_mut() = status;
                answer
            }
            Ok(Accepted::Duplicate(status)) => self.answer_duplicate(status),
            Err(reject) => self.refuse(&reject),
        }
    }

    /// Commits, and ends the claim by what came of it.
    pub(super) async fn accept(
        &mut self,
        keeping: &Keeping,
        outlets: &Outlets,
        parts: &EventParts,
        claim: &mut Option<Claim>,
        terms: Terms,
    ) -> Result<Accepted, Reject> {
        let keys = claim.as_ref().map(Claim::keys);
        if let Some(claim) = claim.as_mut() {
            // From here on the event may be in the store, whatever becomes of this task.
            claim.begin_forwarding();
        }
        let accepted = self.commit(keeping, outlets, parts, keys, terms).await;
        let status = match &accepted {
            Ok(Accepted::Stored(_)) => Ok(terms.status),
            Ok(Accepted::Duplicate(status)) => Ok(*status),
            Err(reject) => Err(reject.status()),
        };
        match (claim.take(), status) {
            (Some(claim), Ok(status)) => claim.spend(status_of(status)),
            (Some(claim), Err(status)) => claim.release(status),
            (None, _) => {}
        }
        accepted
    }

    /// Commits, and notes how long that took.
    async fn commit(
        &mut self,
        keeping: &Keeping,
        outlets: &Outlets,
        parts: &EventParts,
        keys: Option<Keys>,
        terms: Terms,
    ) -> Result<Accepted, Reject> {
        self.verdict.begin_after(Check::Commit);
        let accepting = keeping
            .inbox
            .accept(parts, &self.verdict, keys, outlets, terms);
        let accepted = accepting.await;
        self.verdict.end();
        accepted
    }

    /// Forwards, and stores the event where the app does not take it in time.
    pub(super) async fn hybrid(
        mut self,
        event: Event,
        mut claim: Option<Claim>,
        answer_within: Duration,
        stores_4xx: bool,
    ) -> Answer {
        let generation = Arc::clone(&self.generation);
        let (Some(keeping), Some(outlets)) = (
            self.keeping.clone(),
            outlets_of(&generation, event.parts().route),
        ) else {
            return self.give_up();
        };
        if keeping.inbox.is_held(outlets) {
            // Whoever paused the app's deliveries wants it left alone.
            return self
                .store(&keeping, outlets, event.parts(), &mut claim, KEPT)
                .await;
        }
        if let Some(claim) = &mut claim {
            claim.begin_forwarding();
        }
        let parts = event.parts().to_kept();
        let started = Now::read();
        let mut exchanging = self.exchange(event);
        let in_time = tokio::time::timeout(answer_within, &mut exchanging).await;
        let early = match in_time {
            // It panicked: the claim waits for its end, since the app may have seen the request.
            Ok(None) => return self.give_up(),
            Ok(Some(result)) if is_for_sender(&result, stores_4xx) => {
                self.end_claim(claim, &result);
                return self.finish(result);
            }
            Ok(Some(result)) => Some(result),
            Err(_) => None,
        };
        let terms = Terms {
            is_in_flight: true,
            ..Terms::usual(KEPT.as_u16())
        };
        let keys = claim.as_ref().map(Claim::keys);
        let accepted = self.commit(&keeping, outlets, &parts, keys, terms).await;
        match accepted {
            Ok(Accepted::Stored(deliveries)) => {
                if let Some(claim) = claim {
                    claim.spend(KEPT);
                }
                debug_assert!(
                    !deliveries.is_empty(),
                    "the upstream of hybrid mode has no filter"
                );
                let first = deliveries.first().copied();
                let why = early.as_ref().map(told);
                self.go_on(
                    &keeping,
                    first,
                    started,
                    early.map_or(Late::Running(exchanging), Late::Ended),
                );
                self.note_stored(KEPT, why);
                let mut answer = Answer::new(AnswerBody::empty());
                *answer.status_mut() = KEPT;
                answer
            }
            Ok(Accepted::Duplicate(status)) => {
                if let Some(claim) = claim {
                    claim.spend(status_of(status));
                }
                self.answer_duplicate(status)
            }
            // Without a store the sender gets what the app says, however late.
            Err(reject) => {
                self.tell_not_stored(&reject);
                let result = match early {
                    Some(result) => Some(result),
                    None => exchanging.await,
                };
                match result {
                    Some(result) => {
                        self.end_claim(claim, &result);
                        self.finish(result)
                    }
                    None => self.give_up(),
                }
            }
        }
    }

    /// The exchange with the app, which owns all it needs and contains its panics.
    fn exchange(&self, mut event: Event) -> Exchanging {
        tell_trace(&mut event, &self.verdict);
        let (generation, id) = (Arc::clone(&self.generation), self.verdict.request_id);
        let verdict = self.verdict.clone();
        let takes_turn = self.place.takes_turn();
        Box::pin(async move {
            let mut exchange = Box::pin(async {
                let route = generation.routes.get(event.parts().route)?;
                let targets = route.targets.as_ref()?;
                let target = targets.of_event(&verdict);
                Some(forward(event, target, id, takes_turn).await)
            });
            contain(exchange.as_mut()).await.ok().flatten()
        })
    }

    /// Tells the store what became of the first attempt: now, or when it ends.
    fn go_on(
        &self,
        keeping: &Keeping,
        first: Option<(DestinationId, DeliveryId)>,
        started: Now,
        late: Late,
    ) {
        // Filtered by its destination: nothing to tell of.
        let Some((destination, delivery)) = first else {
            return;
        };
        let first = First {
            destination,
            delivery,
            started,
            event: AttemptedEvent {
                uid: self.verdict.request_id,
                event_id: self.verdict.event_id.clone(),
                event_type: self.verdict.event_type.clone(),
            },
        };
        let deliverer = Arc::clone(&keeping.deliverer);
        match late {
            // The sender does not wait for it: the event is on the disk.
            Late::Ended(result) => {
                keeping.exchanges.spawn(first.tell(deliverer, Some(result)));
            }
            Late::Running(exchanging) => match Arc::clone(&keeping.late).try_acquire_owned() {
                Ok(permit) => {
                    keeping
                        .exchanges
                        .spawn(first.wait(deliverer, exchanging, permit));
                }
                Err(_) => {
                    drop(exchanging);
                    keeping.exchanges.spawn(first.tell(deliverer, None));
                }
            },
        }
    }

    fn end_claim(&self, claim: Option<Claim>, result: &Exchanged) {
        let status = status(result);
        match claim {
            Some(claim) if result.is_ok() && status.is_success() => {
                self.remember(&claim, status);
                claim.spend(status);
            }
            Some(claim) => claim.release(status),
            None => {}
        }
    }

    /// Where there is a store, what the app took is known again after a restart.
    pub(super) fn remember(&self, claim: &Claim, status: StatusCode) {
        let index = self.verdict.route_index.unwrap_or(usize::MAX);
        let outlets = outlets_of(&self.generation, index);
        if let (Some(keeping), Some(outlets)) = (&self.keeping, outlets) {
            keeping
                .inbox
                .remember(claim.keys().iter(), outlets, status.as_u16());
        }
    }

    fn answer_duplicate(&mut self, status: u16) -> Answer {
        self.verdict.decision = Decision::Duplicate;
        let status = status_of(status);
        self.note(|exchange| exchange.answer_status = status);
        marked(status, DUPLICATE)
    }

    fn note_stored(&self, status: StatusCode, why: Option<Told>) {
        self.note(|exchange| {
            exchange.answer_status = status;
            exchange.is_stored = true;
            if let Some(why) = why {
                exchange.upstream_status = why.status;
                exchange.forward_error = why.error;
            }
        });
    }

    fn tell_not_stored(&self, reject: &Reject) {
        if let Reject::NotStored { fault } = reject {
            tracing::warn!(
                request_id = %self.verdict.request_id,
                fault = %fault,
                "event not stored, the app's own answer is waited for"
            );
        }
    }
}

/// What the log says of an exchange that led to the store.
struct Told {
    status: Option<StatusCode>,
    error: Option<(&'static str, String)>,
}

fn told(result: &Exchanged) -> Told {
    match result {
        Ok(forwarded) => Told {
            status: Some(forwarded.status),
            error: None,
        },
        Err(err) => Told {
            status: None,
            error: Some((err.kind(), error::chain(err))),
        },
    }
}

/// Whether the sender gets this answer itself.
fn is_for_sender(result: &Exchanged, stores_4xx: bool) -> bool {
    let Ok(forwarded) = result else {
        return false;
    };
    let status = forwarded.status;
    status.is_success() || (status.is_client_error() && !stores_4xx)
}

fn status(result: &Exchanged) -> StatusCode {
    match result {
        Ok(forwarded) => forwarded.status,
        Err(err) => err.status(),
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::OK)
}

fn outlets_of(generation: &Generation, route: RouteIndex) -> Option<&Outlets> {
    generation.routes.get(route)?.outlets.as_ref()
}

/// Whether a route takes the events of one's own apps, who are told more than strangers.
pub(super) fn takes_local(generation: &Generation, verdict: &Verdict) -> bool {
    let index = verdict.route_index.unwrap_or(usize::MAX);
    let outlets = outlets_of(generation, index);
    mode(generation, verdict) == Mode::Queue && outlets.is_some_and(Outlets::is_local)
}

/// The mode of a route.
pub(super) fn mode(generation: &Generation, verdict: &Verdict) -> Mode {
    let index = verdict.route_index.unwrap_or(usize::MAX);
    let route = generation.routes.get(index);
    route.map_or(Mode::Proxy, |route| route.mode)
}

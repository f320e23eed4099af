//! Attempts of a module outside the gate to make an event of its own, or to forward or store a request that did not
//! pass. `tests/forge/run` compiles this file as a part of the library: each line with `//~` must fail with that error,
//! and no other line may fail.

use crate::dispatch::endpoint::UpstreamTarget;
use crate::dispatch::{forward, forward_unverified};
use crate::gate::GateAdmission;
use crate::gate::event::{Event, RefusedRequest, UnverifiedRequest};
use crate::gate::verdict::Verdict;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::inbox::{AcceptOptions, Inbox};
use crate::model::ids::RequestId;

fn make(unverified: UnverifiedRequest) -> Event {
    Event {
        parts: unverified.parts, //~ E0616
    }
}

fn convert(unverified: UnverifiedRequest) -> Event {
    unverified.into() //~ E0277
}

fn make_for_a_test(event: Event) -> Event {
    Event::for_test(event.into_request()) //~ E0599
}

fn admit(unverified: UnverifiedRequest) -> GateAdmission {
    GateAdmission::Event(unverified, None) //~ E0308
}

fn change_the_body(event: &mut Event) {
    event.parts.body.clear(); //~ E0616
}

async fn forward_what_failed(unverified: UnverifiedRequest, target: &UpstreamTarget, id: RequestId) {
    let _ = forward(unverified, target, id, false).await; //~ E0308
}

async fn forward_what_was_rejected(request: RefusedRequest, target: &UpstreamTarget, id: RequestId) {
    let _ = forward_unverified(request, target, id).await; //~ E0308
}

async fn store_what_failed(
    inbox: &Inbox,
    unverified: &UnverifiedRequest,
    verdict: &Verdict,
    subscriptions: &RouteSubscriptions,
) {
    let options = AcceptOptions::usual(200);
    let _ = inbox
        .accept(unverified, verdict, None, subscriptions, options) //~ E0308
        .await;
}

// What is allowed compiles, so that the errors above have the causes that they seem to have.
async fn forward_and_store_an_event(
    inbox: &Inbox,
    event: Event,
    verdict: &Verdict,
    subscriptions: &RouteSubscriptions,
    target: &UpstreamTarget,
) {
    let options = AcceptOptions::usual(200);
    let _ = inbox
        .accept(&event, verdict, None, subscriptions, options)
        .await;
    let _ = forward(event, target, verdict.request_id, false).await;
}

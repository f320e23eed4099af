//! Events that apps of one's own post, to be delivered to whoever subscribes: `provider = "local"` and `"local_hmac"`.
//!
//! One event is a request: its body is what is delivered, its headers may say `Idempotency-Key`, `Hookgate-Event-Type`,
//! `Hookgate-Delay` and `Hookgate-Priority`. A batch is a body of type `application/x-ndjson`: one object a line with
//! `data` and optionally `id`, `type`, `delay`, `priority`; the text of `data` is delivered as it stands. Unlike strangers,
//! these senders are told what is wrong.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::document::value::parse_duration;
use crate::gate::dedup::{Claim, Key, Keys};
use crate::gate::event::{Event, EventParts};
use crate::gate::reject::Reject;
use crate::gate::rules::Rules;
use crate::gate::verdict::{Decision, Verdict};
use crate::inbox::outlets::Outlets;
use crate::inbox::{Accepted, Terms};
use crate::model::clock::Now;
use crate::model::ids::{EventId, RequestId};
use crate::net::answer::{Answer, AnswerBody};
use crate::pipeline::Forwarding;
use crate::pipeline::stored::Keeping;
use crate::scheme::standard::message_id;

const DELAY: HeaderName = HeaderName::from_static("hookgate-delay");
const PRIORITY: HeaderName = HeaderName::from_static("hookgate-priority");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const OF_THE_BATCH: [&str; 5] = [
    "idempotency-key",
    "hookgate-event-type",
    "content-digest",
    "repr-digest",
    "content-md5",
];
const BATCH: &str = "application/x-ndjson";

/// Events in one batch: some hundred milliseconds of work at most.
const MAX_BATCH: usize = 1000;

/// Longer than any schedule: what is to happen later than that belongs into a calendar.
const MAX_DELAY: Duration = Duration::from_secs(366 * 24 * 3600);

/// One line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    delay: Option<String>,
    priority: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// One event of a batch, ready to be stored.
struct Item {
    parts: EventParts,
    verdict: Verdict,
    keys: Option<Keys>,
    terms: Terms,
}

/// Stores what an app posted, and tells it the ids.
pub(super) async fn queue(
    exchange: Forwarding,
    keeping: &Keeping,
    outlets: &Outlets,
    event: Event,
    claim: Option<Claim>,
) -> Answer {
    if is_batch(&event.parts().headers) {
        return Box::pin(batch(exchange, keeping, outlets, event, claim)).await;
    }
    single(exchange, keeping, outlets, event, claim).await
}

async fn single(
    mut exchange: Forwarding,
    keeping: &Keeping,
    outlets: &Outlets,
    event: Event,
    mut claim: Option<Claim>,
) -> Answer {
    let mut parts = event.into_parts();
    let terms = match terms(
        header_text(&parts.headers, &DELAY),
        header_text(&parts.headers, &PRIORITY),
    ) {
        Ok(terms) => terms,
        Err(fault) => return exchange.malformed(claim, &fault),
    };
    if parts.event_id.is_none() {
        // Two events of an app may have equal bodies.
        parts.digest = Sha256::digest(exchange.verdict.request_id.as_bytes()).into();
    }
    let accepted = exchange
        .accept(keeping, outlets, &parts, &mut claim, terms)
        .await;
    let told = match accepted {
        Ok(accepted) => told(&accepted, &exchange.verdict, &parts),
        Err(reject) => return exchange.refuse(&reject),
    };
    let value = told.value.clone();
    exchange.tell(keeping, &[told]);
    answer(StatusCode::OK, &value)
}

async fn batch(
    mut exchange: Forwarding,
    keeping: &Keeping,
    outlets: &Outlets,
    event: Event,
    claim: Option<Claim>,
) -> Answer {
    let parts = event.into_parts();
    if exchange.has_filters() {
        let fault = "this route filters events, which a batch would go past: post them one by one";
        return exchange.malformed(claim, fault);
    }
    let items = match items(&parts, &exchange.verdict) {
        Ok(items) => items,
        Err(fault) => return exchange.malformed(claim, &fault),
    };
    // All are asked for in their order, and one group of the store takes them: each on its own would wait for the disk.
    let commits = items.iter().map(|item| async move {
        let accepted = keeping
            .inbox
            .accept(&item.parts, &item.verdict, item.keys, outlets, item.terms)
            .await;
        accepted.map(|accepted| told(&accepted, &item.verdict, &item.parts))
    });
    let mut stored = Vec::with_capacity(items.len());
    let mut failed = None;
    for done in in_order(commits.collect()).await {
        match done {
            Ok(told) => stored.push(told),
            Err(reject) => failed = Some(reject),
        }
    }
    match (claim, &failed) {
        (Some(claim), None) => {
            exchange.remember(&claim, StatusCode::OK);
            claim.spend(StatusCode::OK);
        }
        // What was stored is known by its ids when the app sends the batch again.
        (Some(claim), Some(reject)) => claim.release(reject.status()),
        (None, _) => {}
    }
    let values: Vec<&Value> = stored.iter().map(|told| &told.value).collect();
    let Some(reject) = failed else {
        exchange.tell(keeping, &stored);
        return answer(StatusCode::OK, &json!({ "events": values }));
    };
    exchange.wake(keeping, &stored);
    drop(exchange.refuse(&reject));
    let error = "some events were not stored: send the batch again";
    answer(
        reject.status(),
        &json!({ "error": error, "events": values }),
    )
}

/// What the app is told of one event.
struct Told {
    value: Value,
    accepted: Accepted,
}

fn told(accepted: &Accepted, verdict: &Verdict, parts: &EventParts) -> Told {
    let id = parts.event_id.as_ref().map(EventId::as_str);
    let mut value = json!({
        "id": verdict.request_id.to_string(),
        "webhook_id": message_id(id, &parts.digest),
    });
    if let (Accepted::Duplicate(_), Some(fields)) = (accepted, value.as_object_mut()) {
        // The first one's id in the inbox is not known here.
        fields.remove("id");
        fields.insert("duplicate".to_owned(), Value::Bool(true));
    }
    if let (Accepted::Stored(deliveries), Some(fields)) = (accepted, value.as_object_mut()) {
        fields.insert("deliveries".to_owned(), deliveries.len().into());
    }
    Told {
        value,
        accepted: accepted.clone(),
    }
}

impl Forwarding {
    fn has_filters(&self) -> bool {
        let index = self.verdict.route_index.unwrap_or(usize::MAX);
        let rules = self.generation.gate.rules(index);
        rules.is_some_and(Rules::has_filters)
    }

    fn malformed(mut self, claim: Option<Claim>, fault: &str) -> Answer {
        let reject = Reject::MalformedEvent {
            fault: fault.into(),
        };
        if let Some(claim) = claim {
            claim.release(reject.status());
        }
        let status = reject.status();
        drop(self.refuse(&reject));
        answer(status, &json!({ "error": fault }))
    }

    fn tell(&mut self, keeping: &Keeping, stored: &[Told]) {
        let is_new = self.wake(keeping, stored);
        if !is_new {
            self.verdict.decision = Decision::Duplicate;
        }
        self.note(|exchange| exchange.is_stored = is_new);
    }

    /// Whether something was stored.
    fn wake(&self, keeping: &Keeping, stored: &[Told]) -> bool {
        let mut is_new = false;
        for told in stored {
            if let Accepted::Stored(deliveries) = &told.accepted {
                is_new = true;
                keeping.wake(deliveries);
            }
        }
        is_new
    }
}

/// Polls all of them, the first one first, until each has ended.
async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut ended: Vec<Option<F::Output>> = running.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_pending = false;
        for (future, place) in running.iter_mut().zip(&mut ended) {
            if place.is_none() {
                match future.as_mut().poll(context) {
                    Poll::Ready(output) => *place = Some(output),
                    Poll::Pending => is_pending = true,
                }
            }
        }
        match is_pending {
            true => Poll::Pending,
            false => Poll::Ready(()),
        }
    })
    .await;
    ended.into_iter().flatten().collect()
}

fn is_batch(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.is_some_and(|text| {
        let media = text.split(';').next().unwrap_or_default();
        media.trim().eq_ignore_ascii_case(BATCH)
    })
}

fn items(parts: &EventParts, verdict: &Verdict) -> Result<Vec<Item>, String> {
    let text = std::str::from_utf8(&parts.body).map_err(|_| "the batch is not UTF-8".to_owned())?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let mut items = Vec::new();
    for (index, line) in lines {
        let at = |fault: String| format!("line {}: {fault}", index.saturating_add(1));
        if items.len() >= MAX_BATCH {
            return Err(format!("more than {MAX_BATCH} events in one batch"));
        }
        items.push(item(line, parts, verdict).map_err(at)?);
    }
    if items.is_empty() {
        return Err("the batch is empty".to_owned());
    }
    Ok(items)
}

fn item(line: &str, parts: &EventParts, verdict: &Verdict) -> Result<Item, String> {
    let read: Line<'_> = serde_json::from_str(line).map_err(|err| err.to_string())?;
    let event_id = match &read.id {
        Some(text) => {
            Some(EventId::parse(text).ok_or("`id` is not 1 to 255 visible ASCII characters")?)
        }
        None => None,
    };
    let uid = RequestId::new(Now::read().unix_ms, random()?);
    let mut parts = parts.to_kept();
    // A slice of the batch's own bytes: `data` is delivered as it stands.
    parts.body = parts.body.slice_ref(read.data.get().as_bytes());
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    // What the batch says of itself is not so of one of its events.
    for name in OF_THE_BATCH {
        parts.headers.remove(name);
    }
    if let Some(id) = &event_id {
        let id = HeaderValue::from_str(id.as_str());
        parts
            .headers
            .extend(id.ok().map(|id| (IDEMPOTENCY_KEY, id)));
    }
    let is_fit = |text: &String| {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    if !read.event_type.as_ref().is_none_or(is_fit) {
        return Err("`type` is not 1 to 255 printable ASCII characters".to_owned());
    }
    parts.event_type = read.event_type.map(Into::into);
    parts.digest = Sha256::digest(uid.as_bytes()).into();
    let keys = event_id.as_ref().map(|id| Keys {
        id: Some(Key::of_id(id.as_str())),
        body: None,
    });
    parts.event_id = event_id;
    let mut verdict = verdict.clone();
    verdict.request_id = uid;
    verdict.event_id.clone_from(&parts.event_id);
    verdict.event_type.clone_from(&parts.event_type);
    Ok(Item {
        terms: terms(read.delay.as_deref(), read.priority.as_deref())?,
        parts,
        verdict,
        keys,
    })
}

fn terms(delay: Option<&str>, priority: Option<&str>) -> Result<Terms, String> {
    let delay = match delay {
        None => Duration::ZERO,
        Some(text) => parse_duration(text)
            .filter(|delay| *delay <= MAX_DELAY)
            .ok_or_else(|| format!("`{text}` is no delay: for example `10m`, at most 366 days"))?,
    };
    let priority = match priority {
        None | Some("normal") => 0,
        Some("high") => 1,
        Some("low") => -1,
        Some(other) => {
            return Err(format!(
                "`{other}` is no priority: `high`, `normal` or `low`"
            ));
        }
    };
    Ok(Terms {
        delay,
        priority,
        ..Terms::usual(StatusCode::OK.as_u16())
    })
}

fn random() -> Result<[u8; 10], String> {
    let mut bytes = [0; 10];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| "no random numbers".to_owned())?;
    Ok(bytes)
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn answer(status: StatusCode, value: &Value) -> Answer {
    let mut answer = Answer::new(AnswerBody::whole(Bytes::from(value.to_string())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    answer
}

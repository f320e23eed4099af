//! A batch of events from an own app: one JSON object per line, each a separate event.
//!
//! All events of a batch go into one group of the store, so that they share one disk write.

use futures_util::future::join_all;
use hookgate_verify::identity::event_id::EventId;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::gate::dedup::{Claim, DedupKeys};
use crate::gate::event::Event;
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::verdict::Verdict;
use crate::inbox::AcceptOptions;
use crate::inbox::subscriptions::RouteSubscriptions;
use crate::model::clock::ClockReading;
use crate::model::ids::RequestId;
use crate::net::response::HttpResponse;
use crate::pipeline::acceptance::DurableAcceptance;
use crate::pipeline::exchange::{EventEnd, UpstreamExchange};
use crate::pipeline::local_reply::{DELAY, PRIORITY, accept_reply, answer, terms};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const OF_THE_BATCH: [&str; 5] = [
    "idempotency-key",
    "hookgate-event-type",
    "content-digest",
    "repr-digest",
    "content-md5",
];

/// Largest number of events in one batch, which bounds its work to some hundred milliseconds.
const MAX_BATCH: usize = 1000;

/// One line of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchLine<'a> {
    id: Option<String>,
    #[serde(rename = "type")]
    event_type: Option<String>,
    delay: Option<String>,
    priority: Option<String>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// One event of a batch, ready to be stored.
struct BatchItem {
    event: Event,
    verdict: Verdict,
    keys: Option<DedupKeys>,
    terms: AcceptOptions,
}

/// Stores each line of a batch as a separate event.
pub(super) async fn store(
    mut exchange: UpstreamExchange,
    keeping: &DurableAcceptance,
    outlets: &RouteSubscriptions,
    event: Event,
    claim: Option<Claim>,
) -> HttpResponse {
    let items = match read_batch(&exchange, &event) {
        Ok(items) => items,
        Err(fault) => return exchange.malformed(claim, &fault),
    };
    // Poll all commits in order, so that one group of the store takes them. One after the other, each would wait for
    // the disk.
    let commits = items.iter().map(|item| async move {
        let accepted = keeping
            .inbox
            .accept(&item.event, &item.verdict, item.keys, outlets, item.terms)
            .await;
        accepted.map(|accepted| accept_reply(&accepted, &item.verdict, &item.event))
    });
    let mut stored = Vec::with_capacity(items.len());
    let mut failed = None;
    for done in join_all(commits).await {
        match done {
            Ok(one) => stored.push(one),
            Err(reject) => failed = Some(reject),
        }
    }
    let end = match &failed {
        None => EventEnd::Taken(StatusCode::OK),
        // When the app sends the batch again, dedup recognizes the stored events by their ids.
        Some(reject) => EventEnd::Failed(reject.status()),
    };
    exchange.end_claim(claim, end);
    let values: Vec<&Value> = stored.iter().map(|one| &one.value).collect();
    let Some(reject) = failed else {
        exchange.push_reply(keeping, &stored);
        return answer(StatusCode::OK, &json!({ "events": values }));
    };
    // The stored events are delivered, even though the response reports an error.
    exchange.wake(keeping, &stored);
    let refused = exchange.refuse(&reject);
    let why = match reject {
        Reject::NotStored { .. } => "send the batch again",
        ref other => other.explanation().means,
    };
    let error = format!("some events were not stored: {why}");
    let document = json!({ "error": error, "events": values });
    let mut answer = answer(reject.status(), &document);
    // The detailed error keeps the `Retry-After` of the usual rejection.
    let later = refused.headers().get(header::RETRY_AFTER).cloned();
    if let Some(later) = later {
        answer.headers_mut().insert(header::RETRY_AFTER, later);
    }
    answer
}

fn read_batch(exchange: &UpstreamExchange, batch: &Event) -> Result<Vec<BatchItem>, String> {
    let rules = &exchange.route.rules;
    if rules.has_filters() {
        return Err(
            "this route filters events, which a batch would bypass: post the events one by one"
                .to_owned(),
        );
    }
    let mut terms = [DELAY, PRIORITY].into_iter();
    if let Some(name) = terms.find(|name| batch.received().headers.contains_key(name)) {
        return Err(format!(
            "`{name}` does not apply to a batch: set it in each line"
        ));
    }
    items(batch, &exchange.verdict, rules)
}

fn items(batch: &Event, verdict: &Verdict, rules: &RouteRules) -> Result<Vec<BatchItem>, String> {
    let text = std::str::from_utf8(batch.received().body)
        .map_err(|_| "the batch is not valid UTF-8".to_owned())?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let mut items = Vec::new();
    for (index, line) in lines {
        let at = |fault: String| format!("line {}: {fault}", index.saturating_add(1));
        if items.len() >= MAX_BATCH {
            return Err(format!(
                "more than {MAX_BATCH} events in one batch: split it"
            ));
        }
        items.push(item(line, batch, verdict, rules).map_err(at)?);
    }
    if items.is_empty() {
        return Err("the batch is empty: send at least one event".to_owned());
    }
    Ok(items)
}

fn item(
    line: &str,
    batch: &Event,
    verdict: &Verdict,
    rules: &RouteRules,
) -> Result<BatchItem, String> {
    let read: BatchLine<'_> = serde_json::from_str(line).map_err(|err| error_location(&err))?;
    let event_id = match &read.id {
        Some(text) => Some(EventId::parse(text).ok_or("`id` is empty or longer than 1024 bytes")?),
        None => None,
    };
    let is_fit = |text: &String| {
        (1..=255).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    if !read.event_type.as_ref().is_none_or(is_fit) {
        return Err("`type` is not 1 to 255 printable ASCII characters".to_owned());
    }
    let keys = event_id
        .as_ref()
        .and_then(|id| rules.keys_in_batch(id, batch));
    let mut verdict = verdict.clone();
    verdict.request_id = RequestId::new(ClockReading::read().unix_ms, random()?);
    verdict.event_id.clone_from(&event_id);
    verdict.event_type = read.event_type.map(Into::into);
    let data = read.data.get().as_bytes();
    let mut event = batch.to_element(data, event_id, verdict.event_type.clone());
    // Two events of an app may have equal data.
    event.make_unique(&verdict.request_id);
    set_headers(&mut event);
    Ok(BatchItem {
        terms: terms(read.delay.as_deref(), read.priority.as_deref())?,
        event,
        verdict,
        keys,
    })
}

/// Replaces the headers that describe the batch with those of one event.
fn set_headers(event: &mut Event) {
    let id = event.id().map(EventId::as_str);
    let id = id.and_then(|id| HeaderValue::from_str(id).ok());
    let headers = event.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    for name in OF_THE_BATCH {
        headers.remove(name);
    }
    headers.extend(id.map(|id| (IDEMPOTENCY_KEY, id)));
}

/// Formats an error of the JSON parser with its column. The parser sees a single line, so its line number is wrong.
fn error_location(err: &serde_json::Error) -> String {
    let text = err.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what}, at column {}", err.column()),
        None => text,
    }
}

fn random() -> Result<[u8; 10], String> {
    let mut bytes = [0; 10];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| "no random numbers: send the batch again".to_owned())?;
    Ok(bytes)
}

//! Handlers for `/verdicts`: recent verdicts in memory, and a live stream of new ones.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use axum::{Extension, Json};
use bytes::Bytes;
use hookgate_verify::document::suggest;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::admin::caller_view::CallerView;
use crate::admin::connection_context::ConnectionContext;
use crate::admin::documents::{
    ApiTimestamp, CheckOutcome, ReasonExplanation, StageTiming, VerdictDetail, VerdictDocument,
    VerdictList,
};
use crate::admin::parameters::{self, PageParameters, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::admin::tail_stream::{self, TailFormat};
use crate::gate::reject::{Reject, RejectReason};
use crate::gate::verdict::GateDecision;
use crate::record::recent_verdicts::{RecentVerdict, VerdictQuery};

/// Most verdicts in one piece of a tail.
const AT_ONCE: usize = 500;

/// Pause between two pieces of a tail, which bounds its cost under any load.
const PACE: Duration = Duration::from_millis(100);

/// Filter for verdicts. A verdict must match every field that is set.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerdictFilter {
    /// Name of the route.
    route: Option<String>,
    /// Decision: `accepted`, `challenge`, `duplicate`, `filtered`, `refused` or `monitored`.
    verdict: Option<String>,
    /// Reason of the rejection, also in monitor mode: a word of the reference of reasons, such as `bad-signature`.
    reason: Option<String>,
}

impl VerdictFilter {
    /// Parses the filter, and rejects unknown words, which would match nothing.
    fn wanted(self) -> Result<VerdictQuery, AdminProblem> {
        let is_word = |word: &String| GateDecision::WORDS.contains(&word.as_str());
        if let Some(word) = self.verdict.as_ref().filter(|word| !is_word(word)) {
            let words = GateDecision::WORDS.join(", ");
            return Err(AdminProblem::bad(format!(
                "`verdict` is `{word}`, which is unknown: use one of {words}"
            )));
        }
        let reason = self.reason.as_deref().map(reason_named);
        Ok(VerdictQuery {
            route: self.route,
            verdict: self.verdict,
            reason: reason.transpose()?,
            ..VerdictQuery::default()
        })
    }
}

/// Finds the reason with this code, or suggests a similar one.
pub(super) fn reason_named(code: &str) -> Result<RejectReason, AdminProblem> {
    RejectReason::find(code).ok_or_else(|| {
        let codes = RejectReason::ALL
            .iter()
            .map(|reason| reason.explanation().code);
        let near = suggest::nearest(code, codes);
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        AdminProblem::bad(format!("the reason `{code}` does not exist{near}"))
    })
}

/// Explains a rejection in general terms, by its reason.
pub(super) fn meaning(reject: &Reject) -> ReasonExplanation {
    let explanation = reject.explanation();
    ReasonExplanation {
        means: explanation.means.to_owned(),
        usually: explanation.usually.to_owned(),
        look_at: explanation.look_at.to_owned(),
    }
}

/// Lists the last verdicts, newest first
///
/// The gate keeps the last `keep_verdicts` (of `[server]`) in memory since its start. With 0 the list is empty.
#[utoipa::path(
    get, path = "",
    params(VerdictFilter, PageParameters),
    responses(
        (status = 200, body = VerdictList),
    ),
)]
pub(super) async fn list(view: CallerView, uri: Uri) -> Result<Json<VerdictList>, AdminProblem> {
    let (filter, page) = parameters::listing::<VerdictFilter>(&uri)?;
    let wanted = filter.wanted()?;
    // A negative cursor is older than every verdict, so it gives an empty page.
    let before = page.after.map(|after| u64::try_from(after).unwrap_or(0));
    let limit = usize::try_from(parameters::one_more(page).limit).unwrap_or(usize::MAX);
    let kept = view.newest_verdicts(before, &wanted, limit);
    let cursor = |kept: &Arc<RecentVerdict>| i64::try_from(kept.number).unwrap_or(i64::MAX);
    let (kept, next) = parameters::cut(kept, page.limit, cursor);
    Ok(Json(VerdictList {
        node: view.node(),
        verdicts: kept.iter().map(|kept| verdict(kept)).collect(),
        next,
    }))
}

/// Shows a verdict with all its checks
#[utoipa::path(
    get, path = "",
    params(("request_id" = String, Path, description = "Id of the request, as in the header `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = VerdictDetail),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<VerdictDetail>, AdminProblem> {
    let id = parameters::request_id(&id, "a request")?;
    let kept = view.verdict(&id).ok_or_else(|| {
        AdminProblem::missing(format!(
            "the verdict about request `{id}` is not in memory: it is too old (`keep_verdicts` in `[server]`), or from \
             before the start; look for the id in the log{}",
            view.of_node()
        ))
    })?;
    Ok(Json(detail(&kept)))
}

/// Streams verdicts as the gate makes them
///
/// Works like `/events/tail`: each line is one JSON document (a `VerdictDocument`). If `Accept` names `text/event-stream`, the
/// response has server-sent events of the types `verdict` and `missed`, and `Last-Event-ID` continues after that
/// verdict.
#[utoipa::path(
    get, path = "",
    params(VerdictFilter),
    responses(
        (status = 200, description = "Verdicts until the client disconnects", content(
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
    ),
)]
pub(super) async fn tail(
    view: CallerView,
    Extension(visit): Extension<ConnectionContext>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, AdminProblem> {
    let wanted = parameters::filter::<VerdictFilter>(&uri)?.wanted()?;
    let slot = view.tail_slot()?;
    let format = TailFormat::of(&headers);
    let last = view.last_verdict();
    // Numbers restart with each process, so the id also has the start time. With the id of an older process the tail
    // sends all verdicts in memory, and reports that it missed some.
    let (after, is_missed) = match tail_stream::parse_last_event_id(&headers) {
        None => (last, false),
        Some((started, number)) if started == view.started_ms() => {
            // A client may send any number. One above `last` would skip verdicts to come.
            (u64::try_from(number).unwrap_or(0).min(last), false)
        }
        Some(_) => (0, true),
    };
    let (tx, lines) = mpsc::channel(tail_stream::QUEUE);
    let stop = visit.stop.clone();
    tokio::spawn(async move {
        let follow = follow(view, wanted, after, is_missed, format, tx);
        let _ = stop.run_until_cancelled(follow).await;
    });
    Ok(tail_stream::answer(format, lines, visit, slot))
}

/// Sends verdicts until the client disconnects.
async fn follow(
    view: CallerView,
    wanted: VerdictQuery,
    mut after: u64,
    is_missed: bool,
    format: TailFormat,
    tx: mpsc::Sender<Bytes>,
) {
    let mut text = format.start();
    if is_missed {
        format.missed(&mut text);
    }
    loop {
        // `next` also counts verdicts that the filter left out, so that they are not read again.
        let (found, next) = view.verdicts_after(after, &wanted, AT_ONCE);
        after = next;
        for kept in &found {
            let id = format!("{}-{}", view.started_ms(), kept.number);
            format.put(&mut text, "verdict", &id, &verdict(kept));
        }
        if !text.is_empty() && tx.send(text.split().freeze()).await.is_err() {
            return;
        }
        tokio::select! {
            () = tx.closed() => return,
            // The pause comes after the first new verdict, so that one piece collects a whole burst.
            () = async { view.wait_for_verdict(after).await; sleep(PACE).await } => {}
            () = sleep(tail_stream::BEAT) => format.beat(&mut text),
        }
    }
}

/// Converts a verdict to its JSON shape.
pub(super) fn verdict(kept: &RecentVerdict) -> VerdictDocument {
    let (verdict, exchange) = (&kept.verdict, &kept.exchange);
    // A filter is no reject, but users look for its name in the same field.
    let reason = match &verdict.decision {
        GateDecision::Filtered(by) => Some(by.code()),
        decision => decision.reject().map(|reject| reject.code()),
    };
    VerdictDocument {
        number: kept.number,
        request_id: verdict.request_id.to_string(),
        at: ApiTimestamp(kept.unix_ms()),
        source: verdict.source.ip.to_string(),
        route: verdict.route.as_ref().map(ToString::to_string),
        provider: verdict.provider.as_deref().map(str::to_owned),
        verdict: verdict.decision.word().to_owned(),
        reason: reason.map(str::to_owned),
        check: verdict.last_check().name().to_owned(),
        secret: verdict.secret.as_deref().map(str::to_owned),
        event_id: verdict.event_id.as_ref().map(ToString::to_string),
        event_type: verdict.event_type.as_deref().map(str::to_owned),
        status: exchange.response_status.as_u16(),
        upstream_status: exchange.upstream_status.map(|status| status.as_u16()),
        forward_error: exchange
            .forward_error
            .as_ref()
            .map(|(kind, _)| (*kind).to_owned()),
        is_copy: verdict.is_copy,
        is_replayed_body: verdict.is_replay,
        is_stored: exchange.is_stored,
        body_bytes: verdict.body_bytes,
        total_us: micros(exchange.total),
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn detail(kept: &RecentVerdict) -> VerdictDetail {
    let checks = kept
        .verdict
        .outcomes()
        .map(|(check, outcome)| CheckOutcome {
            check: check.name().to_owned(),
            outcome: outcome.word().to_owned(),
            took_ns: u64::try_from(kept.verdict.took(check).as_nanos()).unwrap_or(u64::MAX),
        });
    let (times, exchange) = (&kept.verdict, &kept.exchange);
    let stages = [
        ("head", times.head_time()),
        ("body", times.body_time()),
        ("verify", times.verify_time()),
        ("wait", times.wait_time),
        ("upstream", exchange.upstream_time),
        ("commit", times.commit_time()),
    ];
    // A stage that took no time did not happen, such as the upstream in queue mode.
    let stages = stages.into_iter().filter(|(_, took)| !took.is_zero());
    let stages = stages.map(|(stage, took)| StageTiming {
        stage: stage.to_owned(),
        took_us: micros(took),
    });
    let reject = kept.verdict.decision.reject();
    let explanation = reject.map(meaning);
    let error = kept.exchange.forward_error.as_ref();
    VerdictDetail {
        verdict: verdict(kept),
        checks: checks.collect(),
        stages: stages.collect(),
        explanation,
        error: error.map(|(_, error)| error.clone()),
    }
}

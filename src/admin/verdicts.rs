//! `/verdicts`: what the gate decided lately about each request, refused ones too, and as it decides.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use bytes::Bytes;
use http::{HeaderMap, Uri};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::admin::input::{self, Named, Paging};
use crate::admin::problem::Problem;
use crate::admin::stream::{self, Format};
use crate::admin::wire::{
    CheckOutcome, Explanation, Moment, ProblemDocument, Stage, Verdict, VerdictDetail, Verdicts,
};
use crate::admin::{AdminState, Visit};
use crate::document::suggest;
use crate::gate::reject::{Reason, Reject};
use crate::gate::verdict::Decision;
use crate::record::recent::{KeptVerdict, Wanted};

/// Verdicts of one piece of a tail.
const AT_ONCE: usize = 500;

/// Between two pieces of a tail, however many requests come.
const PACE: Duration = Duration::from_millis(100);

/// Which verdicts. All that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct VerdictFilter {
    /// Of this route.
    route: Option<String>,
    /// `accepted`, `challenge`, `duplicate`, `filtered`, `refused` or `monitored`.
    verdict: Option<String>,
    /// Refused for this reason, or would have been: a word of the reference of reasons, such as `bad-signature`.
    reason: Option<String>,
}

impl VerdictFilter {
    fn wanted(self) -> Result<Wanted, Problem> {
        let is_word = |word: &String| Decision::WORDS.contains(&word.as_str());
        if let Some(word) = self.verdict.as_ref().filter(|word| !is_word(word)) {
            let words = Decision::WORDS.join(", ");
            return Err(Problem::bad(format!(
                "`verdict` is `{word}`, and verdicts are {words}"
            )));
        }
        let reason = self.reason.as_deref().map(reason_named);
        Ok(Wanted {
            route: self.route,
            verdict: self.verdict,
            reason: reason.transpose()?,
        })
    }
}

/// The reason of this code.
pub(super) fn reason_named(code: &str) -> Result<Reason, Problem> {
    Reason::find(code).ok_or_else(|| {
        let codes = Reason::ALL.iter().map(|reason| reason.explanation().code);
        let near = suggest::nearest(code, codes);
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        Problem::bad(format!("no reason is called `{code}`{near}"))
    })
}

/// What a refusal means.
pub(super) fn meaning(reject: &Reject) -> Explanation {
    let told = reject.explanation();
    Explanation {
        means: told.means.to_owned(),
        usually: told.usually.to_owned(),
        look_at: told.look_at.to_owned(),
    }
}

/// The last verdicts, the newest first
///
/// As many as `keep_verdicts` of `[server]` says, since the start; none where that is 0.
#[utoipa::path(
    get, path = "/api/v1/verdicts", tag = "verdicts", operation_id = "list_verdicts",
    params(VerdictFilter, Paging),
    responses(
        (status = 200, body = Verdicts),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Json<Verdicts>, Problem> {
    let (filter, page) = input::listing::<VerdictFilter>(&uri)?;
    let wanted = filter.wanted()?;
    let before = page.after.map(|after| u64::try_from(after).unwrap_or(0));
    let limit = usize::try_from(input::one_more(page).limit).unwrap_or(usize::MAX);
    let kept = state.recorder.recent().newest(before, &wanted, limit);
    let cursor = |kept: &Arc<KeptVerdict>| i64::try_from(kept.number).unwrap_or(i64::MAX);
    let (kept, next) = input::cut(kept, page.limit, cursor);
    Ok(Json(Verdicts {
        verdicts: kept.iter().map(|kept| verdict(kept)).collect(),
        next,
    }))
}

/// One verdict with all its checks
#[utoipa::path(
    get, path = "/api/v1/verdicts/{request_id}", tag = "verdicts", operation_id = "show_verdict",
    params(("request_id" = String, Path, description = "The id of the request, as in `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = VerdictDetail),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Arc<AdminState>>,
    Named(id): Named<String>,
) -> Result<Json<VerdictDetail>, Problem> {
    let id = input::request_id(&id, "a request")?;
    let kept = state.recorder.recent().find(&id).ok_or_else(|| {
        Problem::missing(format!(
            "no verdict about request `{id}` is remembered: it is older than the last ones that `keep_verdicts` of \
             `[server]` keeps, or from before the start"
        ))
    })?;
    Ok(Json(detail(&kept)))
}

/// Verdicts as they are made
///
/// As `/events/tail`: one JSON document (a `Verdict`) a line, or server-sent events of the kinds `verdict` and `missed`
/// where `Accept` names `text/event-stream`; `Last-Event-ID` goes on behind the last one that was seen.
#[utoipa::path(
    get, path = "/api/v1/verdicts/tail", tag = "verdicts", operation_id = "tail_verdicts",
    params(VerdictFilter),
    responses(
        (status = 200, description = "Verdicts until whoever asked hangs up", content(
            (String = "application/x-ndjson"),
            (String = "text/event-stream"),
        )),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn tail(
    State(state): State<Arc<AdminState>>,
    Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let wanted = input::filter::<VerdictFilter>(&uri)?.wanted()?;
    let slot = state.tail_slot()?;
    let format = Format::of(&headers);
    let last = state.recorder.recent().last();
    // Numbers begin anew with each process, so the id names it.
    let (after, is_missed) = match stream::last_seen(&headers) {
        None => (last, false),
        Some((started, number)) if started == state.started_ms => {
            (u64::try_from(number).unwrap_or(0).min(last), false)
        }
        Some(_) => (0, true),
    };
    let (tx, lines) = mpsc::channel(stream::QUEUE);
    let stop = visit.stop.clone();
    tokio::spawn(async move {
        let follow = follow(state, wanted, after, is_missed, format, tx);
        let _ = stop.run_until_cancelled(follow).await;
    });
    Ok(stream::answer(format, lines, visit, slot))
}

/// Sends verdicts until nobody takes them.
async fn follow(
    state: Arc<AdminState>,
    wanted: Wanted,
    mut after: u64,
    is_missed: bool,
    format: Format,
    tx: mpsc::Sender<Bytes>,
) {
    let recent = state.recorder.recent();
    let mut text = format.start();
    if is_missed {
        format.missed(&mut text);
    }
    loop {
        let (found, next) = recent.after(after, &wanted, AT_ONCE);
        after = next;
        for kept in &found {
            let id = format!("{}-{}", state.started_ms, kept.number);
            format.put(&mut text, "verdict", &id, &verdict(kept));
        }
        if !text.is_empty() && tx.send(text.split().freeze()).await.is_err() {
            return;
        }
        tokio::select! {
            () = tx.closed() => return,
            () = async { recent.wait(after).await; sleep(PACE).await } => {}
            () = sleep(stream::BEAT) => format.beat(&mut text),
        }
    }
}

/// As the API shows it.
pub(super) fn verdict(kept: &KeptVerdict) -> Verdict {
    let (verdict, exchange) = (&kept.verdict, &kept.exchange);
    let reason = match &verdict.decision {
        Decision::Filtered(by) => Some(by.code()),
        decision => decision.reject().map(|reject| reject.code()),
    };
    Verdict {
        number: kept.number,
        request_id: verdict.request_id.to_string(),
        at: Moment(kept.unix_ms()),
        source: verdict.source.ip.to_string(),
        route: verdict.route.as_ref().map(ToString::to_string),
        provider: verdict.provider.as_deref().map(str::to_owned),
        verdict: verdict.decision.word().to_owned(),
        reason: reason.map(str::to_owned),
        check: verdict.last_check().name().to_owned(),
        secret: verdict.secret.as_deref().map(str::to_owned),
        event_id: verdict.event_id.as_ref().map(ToString::to_string),
        event_type: verdict.event_type.as_deref().map(str::to_owned),
        status: exchange.answer_status.as_u16(),
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

fn detail(kept: &KeptVerdict) -> VerdictDetail {
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
    let stages = stages.into_iter().filter(|(_, took)| !took.is_zero());
    let stages = stages.map(|(stage, took)| Stage {
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

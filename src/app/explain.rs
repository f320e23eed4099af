//! Explanations of rejected requests for the admin API, under the running config.

use std::sync::Arc;

use arc_swap::ArcSwap;
use hookgate_verify::net::redact::MASK;
use http::{HeaderMap, HeaderValue, Version};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::admin::controls::ExplainSource;
use crate::explain::{
    EarlierRequest, PastRequest, RecordedRefusal, RefusalExplainer, RefusalExplanation, is_repeat,
};
use crate::gate::reject::RejectReason;
use crate::model::ids::RequestId;
use crate::pipeline::Generation;
use crate::record::TelemetryRecorder;
use crate::record::rejected_requests::RejectedRequest;

/// Maximum number of explanations at once: one can occupy a processor for seconds, and requests come first.
const AT_ONCE: usize = 1;

/// Returns the function by which the admin API gets an explanation.
pub(super) fn source(
    generation: &Arc<ArcSwap<Generation>>,
    recorder: &Arc<TelemetryRecorder>,
) -> ExplainSource {
    let (generation, recorder) = (Arc::clone(generation), Arc::clone(recorder));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    Arc::new(move |id| {
        let (generation, recorder) = (generation.load_full(), Arc::clone(&recorder));
        let turns = Arc::clone(&turns);
        Box::pin(async move {
            let _turn = turns.acquire_owned().await.ok()?;
            // On a blocking thread, because hundreds of verifications would hold up the requests on this worker.
            let runtime = Handle::current();
            let explaining = tokio::task::spawn_blocking(move || {
                runtime.block_on(explain(&generation, &recorder, id))
            });
            explaining.await.ok()?
        })
    })
}

async fn explain(
    generation: &Generation,
    recorder: &TelemetryRecorder,
    id: RequestId,
) -> Option<RefusalExplanation> {
    // Built for each explanation: it must follow the running config, and it is rarely needed.
    let rules = generation.routes.iter().map(|route| &route.rules);
    let explainer = RefusalExplainer::new(&generation.gate, rules).ok()?;
    let kept = recorder.rejected().find(&id);
    if let Some(request) = &kept
        && is_of_connection(request)
    {
        return Some(explainer.explain_verdict(&request.verdict));
    }
    if let Some(request) = kept
        && let Some(seen) = past_request(&request)
    {
        let route = request.verdict.route.as_ref();
        let explanation = explainer.explain(route, &seen).await;
        let reason = request.reason().map(|reason| reason.explanation().code);
        // If masked values are needed, the checks may end at another reason; such an explanation would mislead.
        if !is_masked(&request) || explanation.reason.as_deref() == reason {
            return Some(explanation);
        }
    }
    let kept = recorder.recent().find(&id)?;
    // Duplicates and replays passed all checks, so the checks cannot explain them.
    if is_repeat(&kept.verdict) {
        let earlier = recorder
            .recent()
            .earlier(&kept)
            .map(|earlier| EarlierRequest {
                request_id: earlier.verdict.request_id,
                status: earlier.exchange.response_status.as_u16(),
            });
        return Some(RefusalExplainer::explain_repeat(&kept.verdict, earlier));
    }
    Some(explainer.explain_verdict(&kept.verdict))
}

/// Returns true if the check that failed concerned the connection, so that it cannot run again on the request.
fn is_of_connection(request: &RejectedRequest) -> bool {
    matches!(
        request.reason(),
        Some(
            RejectReason::ClientCertMissing
                | RejectReason::ClientCertInvalid
                | RejectReason::ClientCertRevoked
                | RejectReason::ClientCertNotAllowed
                | RejectReason::ClientCertUnchecked
        )
    )
}

/// Converts a kept request for the explainer; returns `None` if it cannot be parsed again.
fn past_request(request: &RejectedRequest) -> Option<PastRequest> {
    let headers = request.headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).ok()?;
        Some((name.clone(), value))
    });
    let has_more = |length: u64| length > request.body.len() as u64;
    Some(PastRequest {
        method: request.method.clone(),
        uri: request.target.parse().ok()?,
        version: Version::HTTP_11,
        headers: headers.collect::<Option<HeaderMap>>()?,
        body: request.body.clone(),
        is_cut: request.is_cut || request.length.is_some_and(has_more),
        received_ms: Some(request.unix_ms()),
        source: Some(request.verdict.source.ip),
        recorded: Some(RecordedRefusal {
            reason: request.reason()?,
            check: request.verdict.last_check(),
        }),
        others: Vec::new(),
    })
}

/// Returns true if a token of the request was masked.
fn is_masked(request: &RejectedRequest) -> bool {
    let mut values = request.headers.iter().map(|(_, value)| value);
    request.target.contains(MASK) || values.any(|value| value == MASK.as_bytes())
}

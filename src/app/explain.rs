//! Explains requests that this gate has refused, for the admin API, under the config that is running.

use std::sync::Arc;

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderValue, Version};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::admin::controls::ExplainSource;
use crate::explain::{EarlierRequest, Explainer, Explanation, Recorded, Seen, is_repeat};
use crate::model::ids::RequestId;
use crate::net::hide::MASK;
use crate::pipeline::Generation;
use crate::record::Recorder;
use crate::record::rejected::RejectedRequest;

/// One keeps a processor busy for seconds at worst, and requests come first.
const AT_ONCE: usize = 1;

/// The function that the admin API asks.
pub(super) fn source(
    generation: &Arc<ArcSwap<Generation>>,
    recorder: &Arc<Recorder>,
) -> ExplainSource {
    let (generation, recorder) = (Arc::clone(generation), Arc::clone(recorder));
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    Arc::new(move |id| {
        let (generation, recorder) = (generation.load_full(), Arc::clone(&recorder));
        let turns = Arc::clone(&turns);
        Box::pin(async move {
            let _turn = turns.acquire_owned().await.ok()?;
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
    recorder: &Recorder,
    id: RequestId,
) -> Option<Explanation> {
    let explainer = Explainer::new(&generation.gate).ok()?;
    if let Some(request) = recorder.rejected().find(&id)
        && let Some(seen) = seen(&request)
    {
        let route = request.verdict.route.as_ref();
        let explanation = explainer.explain(route, &seen).await;
        let reason = request.reason().map(|reason| reason.explanation().code);
        // Where the checks need what was masked, they end elsewhere than they did.
        if !is_masked(&request) || explanation.reason.as_deref() == reason {
            return Some(explanation);
        }
    }
    let kept = recorder.recent().find(&id)?;
    if is_repeat(&kept.verdict) {
        let earlier = recorder
            .recent()
            .earlier(&kept)
            .map(|earlier| EarlierRequest {
                request_id: earlier.verdict.request_id,
                status: earlier.exchange.answer_status.as_u16(),
            });
        return Some(Explainer::explain_repeat(&kept.verdict, earlier));
    }
    Some(explainer.explain_verdict(&kept.verdict))
}

/// The request as it came, for as far as it was kept.
fn seen(request: &RejectedRequest) -> Option<Seen> {
    let headers = request.headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_bytes(value).ok()?;
        Some((name.clone(), value))
    });
    let has_more = |length: u64| length > request.body.len() as u64;
    Some(Seen {
        method: request.method.clone(),
        uri: request.target.parse().ok()?,
        version: Version::HTTP_11,
        headers: headers.collect::<Option<HeaderMap>>()?,
        body: request.body.clone(),
        is_cut: request.is_cut || request.length.is_some_and(has_more),
        received_ms: Some(request.unix_ms()),
        source: Some(request.verdict.source.ip),
        recorded: Some(Recorded {
            reason: request.reason()?,
            check: request.verdict.last_check(),
        }),
        others: Vec::new(),
    })
}

fn is_masked(request: &RejectedRequest) -> bool {
    let mut values = request.headers.iter().map(|(_, value)| value);
    request.target.contains(MASK) || values.any(|value| value == MASK.as_bytes())
}

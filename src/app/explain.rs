//! Explains requests that this gate has refused, for the admin API, under the config that is running.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::admin::controls::ExplainSource;
use crate::explain::{Explainer, Explanation};
use crate::model::ids::RequestId;
use crate::pipeline::Generation;
use crate::record::Recorder;

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
    let kept = recorder.recent().find(&id)?;
    let explainer = Explainer::new(&generation.gate).ok()?;
    Some(explainer.explain_verdict(&kept.verdict))
}

//! Explains duplicates and replays: the key and the earlier request.

use crate::explain::explanation::RefusalExplanation;
use crate::gate::verdict::{GateCheck, GateDecision, Verdict};
use crate::model::ids::RequestId;

/// An earlier request with the same key, as far as it is still in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EarlierRequest {
    /// Id of the earlier request.
    pub request_id: RequestId,
    /// Status of the response that its sender got.
    pub status: u16,
}

/// Returns true if dedup found a duplicate, a copy or a replay.
pub(crate) fn is_repeat(verdict: &Verdict) -> bool {
    verdict.decision == GateDecision::Duplicate || verdict.is_copy || verdict.is_replay
}

/// Explains a duplicate, a copy or a replay.
pub(super) fn explain(verdict: &Verdict, earlier: Option<EarlierRequest>) -> RefusalExplanation {
    let key = match verdict.is_replay {
        true => "the digest of the signed bytes".into(),
        false => verdict.dedup_by.clone().unwrap_or_else(|| "the key".into()),
    };
    let before = match earlier {
        Some(earlier) => format!(
            "{key} is the same as in request `{}` of {}, whose response was {}",
            earlier.request_id,
            time(earlier.request_id.unix_ms()),
            earlier.status
        ),
        None => {
            format!("{key} is the same as in an earlier request, which is no longer in memory")
        }
    };
    // Replays first: of the two they are what an operator must know about.
    let (reason, means, fix) = if verdict.is_replay {
        (
            "replayed-body",
            "The app had already accepted the same signed bytes as another event. The request was forwarded with `Hookgate-Replayed-Body: true`.",
            "Nothing to do if the sender sends identical events; `dedup = { replay = \"block\" }` rejects such requests with 409.",
        )
    } else if verdict.is_copy {
        (
            "duplicate",
            "The app had already accepted this event. The request was forwarded with `Hookgate-Duplicate: true`, since its sender uses the response.",
            "Nothing to do: the app should give the same response again.",
        )
    } else {
        (
            "duplicate",
            "The app had already accepted this event, so the gate repeated the first response without calling the app.",
            "Nothing to do if it was a retry of the sender. If these are two events, the key cannot distinguish them: choose another `dedup.by`, or set `dedup = false`.",
        )
    };
    RefusalExplanation {
        route: verdict.route.as_ref().map(ToString::to_string),
        provider: verdict.provider.as_ref().map(ToString::to_string),
        // Copies and replays that are only flagged were forwarded.
        passes: verdict.is_copy || verdict.is_replay,
        check: GateCheck::Dedup.name().to_owned(),
        reason: Some(reason.to_owned()),
        means: means.to_owned(),
        expected: format!("an event that is new by {key}"),
        found: before,
        cause: None,
        fix: fix.to_owned(),
        tries: 0,
        notes: Vec::new(),
    }
}

fn time(unix_ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(unix_ms);
    time.map_or_else(|_| unix_ms.to_string(), |time| time.to_string())
}

//! Explains why a request counted as a duplicate or a replay: by which key, and after which earlier request.

use crate::explain::Explanation;
use crate::gate::verdict::{Check, Decision, Verdict};
use crate::model::ids::RequestId;

/// An earlier request under the same key, as far as one is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EarlierRequest {
    /// Its id.
    pub request_id: RequestId,
    /// The status that its sender got.
    pub status: u16,
}

/// Returns whether dedup had something to say about a request.
#[must_use]
pub fn is_repeat(verdict: &Verdict) -> bool {
    verdict.decision == Decision::Duplicate || verdict.is_copy || verdict.is_replay
}

/// Explains a repeat.
pub(super) fn explain(verdict: &Verdict, earlier: Option<EarlierRequest>) -> Explanation {
    let key = match verdict.is_replay {
        true => "the digest of the signed bytes".into(),
        false => verdict.dedup_by.clone().unwrap_or_else(|| "the key".into()),
    };
    let before = match earlier {
        Some(earlier) => format!(
            "{key} was the same in request `{}` at {}, which was answered {}",
            earlier.request_id,
            time(earlier.request_id.unix_ms()),
            earlier.status
        ),
        None => {
            format!("{key} was the same in an earlier request, which is not remembered any more")
        }
    };
    let (reason, means, fix) = if verdict.is_replay {
        (
            "replayed-body",
            "The app had taken the same signed bytes as another event. The request was forwarded with `Hookgate-Replayed-Body: true`.",
            "Nothing, where the sender has events that look alike; `dedup = { replay = \"block\" }` refuses such requests with 409.",
        )
    } else if verdict.is_copy {
        (
            "duplicate",
            "The app had taken this event. The request was forwarded with `Hookgate-Duplicate: true`, since its sender uses the response.",
            "Nothing: let the app give the same response again.",
        )
    } else {
        (
            "duplicate",
            "The app had taken this event, so the gate answered as for the first request and the app saw nothing.",
            "Nothing, where it was the sender's retry. If these are two events, the key does not tell them apart: choose another `dedup.by`, or `dedup = false`.",
        )
    };
    Explanation {
        route: verdict.route.as_ref().map(ToString::to_string),
        provider: verdict.provider.as_ref().map(ToString::to_string),
        // It was forwarded all the same.
        passes: verdict.is_copy || verdict.is_replay,
        check: Check::Dedup.name().to_owned(),
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

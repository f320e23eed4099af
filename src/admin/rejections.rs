//! `/rejections`: requests that were refused, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};
use http::Uri;
use serde::Deserialize;

use crate::admin::access::Who;
use crate::admin::input::{self, Named};
use crate::admin::problem::Problem;
use crate::admin::verdicts::{meaning, reason_named};
use crate::admin::wire::{
    Header, Moment, ProblemDocument, Rejection, RejectionDetail, RejectionGroup, Rejections,
};
use crate::admin::{AdminState, api};
use crate::explain::Explanation;
use crate::gate::reject::Reject;
use crate::gate::verdict::Decision;
use crate::model::ids::RouteName;
use crate::net::hide::MASK;
use crate::record::rejected::{RejectedGroup, RejectedRequest};

/// Which refused requests. All that is said has to hold.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RejectionFilter {
    /// Of this route.
    route: Option<String>,
    /// Refused for this reason, or would have been: a word of the reference of reasons, such as `bad-signature`.
    reason: Option<String>,
}

/// The last requests that were refused and kept, the newest first, and how many there were of each kind
///
/// Each is one that reached a route and failed a check of it, the ones that monitor mode let through included. As many as
/// `keep_rejected` of `[server]` says, since the start; none where that is 0.
#[utoipa::path(
    get, path = "/api/v1/rejections", tag = "rejections", operation_id = "list_rejections",
    params(RejectionFilter),
    responses(
        (status = 200, body = Rejections),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn list(
    State(state): State<Arc<AdminState>>,
    uri: Uri,
) -> Result<Json<Rejections>, Problem> {
    let filter = input::filter::<RejectionFilter>(&uri)?;
    let route = filter.route.as_deref();
    let reason = filter.reason.as_deref().map(reason_named).transpose()?;
    let kept = state.recorder.rejected();
    let mut groups = kept.groups();
    groups.retain(|group| {
        route.is_none_or(|route| group.route.as_str() == route)
            && reason.is_none_or(|reason| group.reason == reason)
    });
    let requests = kept.list(route, reason);
    Ok(Json(Rejections {
        groups: groups.iter().map(group).collect(),
        rejections: requests
            .iter()
            .filter_map(|request| Some(rejection(request, request.verdict.decision.reject()?)))
            .collect(),
    }))
}

/// One refused request with its headers, and what the reason means
///
/// `explanation` below it says what is behind it, and `/requests/{request_id}` gives the request as a file.
#[utoipa::path(
    get, path = "/api/v1/rejections/{request_id}", tag = "rejections", operation_id = "show_rejection",
    params(("request_id" = String, Path, description = "The id of the request, as in `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = RejectionDetail),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn show(
    State(state): State<Arc<AdminState>>,
    Named(text): Named<String>,
) -> Result<Json<RejectionDetail>, Problem> {
    let id = input::request_id(&text, "a request")?;
    let request = state.recorder.rejected().find(&id);
    let detail = request.as_ref().and_then(|request| {
        let reject = request.verdict.decision.reject()?;
        Some(RejectionDetail {
            rejection: rejection(request, reject),
            headers: headers(request),
            explanation: meaning(reject),
        })
    });
    detail.map(Json).ok_or_else(|| {
        Problem::missing(format!(
            "no refused request `{id}` is kept: it is older than the last ones that `keep_rejected` of `[server]` keeps, \
             or from before the start"
        ))
    })
}

/// Why a request was refused: which check, and what is behind it
///
/// The gate's own checks run over the request once more, under the config that is running. Where the signature is the
/// matter, what usually goes wrong is tried until the real verification passes. Of a request that was not kept only what
/// the verdict about it says is told. For operators only.
#[utoipa::path(
    get, path = "/api/v1/rejections/{request_id}/explanation", tag = "rejections", operation_id = "explain_rejection",
    params(("request_id" = String, Path, description = "The id of the request, as in `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = Explanation),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn explanation(
    State(state): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Named(text): Named<String>,
) -> Result<Json<Explanation>, Problem> {
    api::need_operator(&who)?;
    let id = input::request_id(&text, "a request")?;
    let explained = (state.controls.explain)(id).await;
    explained.map(Json).ok_or_else(|| {
        Problem::missing(format!(
            "nothing is known of the request `{id}`: it is older than the last ones that `keep_verdicts` of `[server]` \
             keeps, or from before the start"
        ))
    })
}

fn rejection(request: &RejectedRequest, reject: &Reject) -> Rejection {
    let verdict = &request.verdict;
    let route = verdict.route.as_ref().map(RouteName::to_string);
    Rejection {
        request_id: verdict.request_id.to_string(),
        at: Moment(request.unix_ms()),
        route: route.unwrap_or_default(),
        reason: reject.code().to_owned(),
        monitored: !matches!(verdict.decision, Decision::Refused(_)),
        source: verdict.source.ip.to_string(),
        method: request.method.to_string(),
        target: request.target.clone(),
        kept_bytes: request.body.len() as u64,
        body_bytes: request.length,
    }
}

fn group(group: &RejectedGroup) -> RejectionGroup {
    RejectionGroup {
        route: group.route.to_string(),
        reason: group.reason.explanation().code.to_owned(),
        count: group.count,
        first: Moment(group.first_ms),
        last: Moment(group.last_ms),
        example: group.example.map(|id| id.to_string()),
    }
}

/// What was masked when it was kept has no value.
fn headers(request: &RejectedRequest) -> Vec<Header> {
    let each = request.headers.iter().map(|(name, value)| {
        let is_masked = value.as_ref() == MASK.as_bytes();
        Header {
            name: name.to_string(),
            value: (!is_masked).then(|| String::from_utf8_lossy(value).into_owned()),
        }
    });
    each.collect()
}

//! Handlers for `/rejections`: recently rejected requests and their reasons.

use axum::Json;
use hookgate_verify::net::redact::MASK;
use http::Uri;
use serde::Deserialize;

use crate::admin::caller_view::CallerView;
use crate::admin::documents::{
    ApiTimestamp, HeaderDocument, RejectionDetail, RejectionDocument, RejectionGroup, RejectionList,
};
use crate::admin::parameters::{self, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::admin::verdicts::{meaning, reason_named};
use crate::explain::RefusalExplanation;
use crate::gate::reject::Reject;
use crate::gate::verdict::GateDecision;
use crate::model::ids::RouteName;
use crate::record::rejected_requests::{RejectedGroup, RejectedRequest};

/// Filter for rejected requests. A request must match every field that is set.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RejectionFilter {
    /// Name of the route.
    route: Option<String>,
    /// Reason of the rejection, also in monitor mode: a word of the reference of reasons, such as `bad-signature`.
    reason: Option<String>,
}

/// Lists the last rejected requests, newest first, with counts by route and reason
///
/// Each request reached a route and failed one of its checks; requests that monitor mode forwarded are included. The
/// gate keeps the last `keep_rejected` (of `[server]`) in memory since its start. With 0 the list is empty.
#[utoipa::path(
    get, path = "",
    params(RejectionFilter),
    responses(
        (status = 200, body = RejectionList),
    ),
)]
pub(super) async fn list(view: CallerView, uri: Uri) -> Result<Json<RejectionList>, AdminProblem> {
    let filter = parameters::filter::<RejectionFilter>(&uri)?;
    let route = filter.route.as_deref();
    let reason = filter.reason.as_deref().map(reason_named).transpose()?;
    let mut groups = view.rejected_groups();
    groups.retain(|group| {
        route.is_none_or(|route| group.route.as_str() == route)
            && reason.is_none_or(|reason| group.reason == reason)
    });
    let requests = view.rejected(route, reason);
    Ok(Json(RejectionList {
        node: view.node(),
        groups: groups.iter().map(group).collect(),
        rejections: requests
            .iter()
            // Only rejected requests are recorded, so this leaves out no request.
            .filter_map(|request| Some(rejection(request, request.verdict.decision.reject()?)))
            .collect(),
    }))
}

/// Shows a rejected request with its headers and the meaning of its reason
///
/// Read `explanation` below it for the probable cause, and `/requests/{request_id}` for the request as a file.
#[utoipa::path(
    get, path = "",
    params(("request_id" = String, Path, description = "Id of the request, as in the header `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = RejectionDetail),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(text): PathParameter<String>,
) -> Result<Json<RejectionDetail>, AdminProblem> {
    let id = parameters::request_id(&text, "a request")?;
    let request = view.find_rejected(&id);
    let detail = request.as_ref().and_then(|request| {
        let reject = request.verdict.decision.reject()?;
        Some(RejectionDetail {
            rejection: rejection(request, reject),
            headers: headers(request),
            explanation: meaning(reject),
        })
    });
    detail.map(Json).ok_or_else(|| {
        AdminProblem::missing(format!(
            "the rejected request `{id}` is not in memory: it is too old (`keep_rejected` in `[server]`), or from \
             before the start; look for the id in the log{}",
            view.of_node()
        ))
    })
}

/// Explains why a request was rejected: the failed check and its probable cause
///
/// The gate runs its checks on the request again, with the running config. For a wrong signature it tries common
/// mistakes until the verification passes. For a request that is not in memory, the explanation has only what its
/// verdict says. For operators only.
#[utoipa::path(
    get, path = "",
    params(("request_id" = String, Path, description = "Id of the request, as in the header `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = RefusalExplanation),
    ),
)]
pub(super) async fn explanation(
    view: CallerView,
    PathParameter(text): PathParameter<String>,
) -> Result<Json<RefusalExplanation>, AdminProblem> {
    let id = parameters::request_id(&text, "a request")?;
    let explained = view.explain(id).await;
    explained.map(Json).ok_or_else(|| {
        AdminProblem::missing(format!(
            "the request `{id}` is not in memory: it is too old (`keep_verdicts` in `[server]`), or from before the \
             start; look for the id in the log{}",
            view.of_node()
        ))
    })
}

fn rejection(request: &RejectedRequest, reject: &Reject) -> RejectionDocument {
    let verdict = &request.verdict;
    let route = verdict.route.as_ref().map(RouteName::to_string);
    RejectionDocument {
        request_id: verdict.request_id.to_string(),
        at: ApiTimestamp(request.unix_ms()),
        route: route.unwrap_or_default(),
        reason: reject.code().to_owned(),
        // A recorded request failed a check. If it was not refused, monitor mode forwarded it.
        monitored: !matches!(verdict.decision, GateDecision::Refused(_)),
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
        first: ApiTimestamp(group.first_ms),
        last: ApiTimestamp(group.last_ms),
        example: group.example.map(|id| id.to_string()),
    }
}

/// Converts headers to their JSON shape; a masked value becomes `None`.
fn headers(request: &RejectedRequest) -> Vec<HeaderDocument> {
    // Values were masked when the request was recorded, so the mask itself is what marks them.
    let each = request.headers.iter().map(|(name, value)| {
        let is_masked = value.as_ref() == MASK.as_bytes();
        HeaderDocument {
            name: name.to_string(),
            value: (!is_masked).then(|| String::from_utf8_lossy(value).into_owned()),
        }
    });
    each.collect()
}

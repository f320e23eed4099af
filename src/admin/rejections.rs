//! `/rejections`: requests that were refused, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::{Extension, Json};

use crate::admin::access::Who;
use crate::admin::input::Named;
use crate::admin::problem::Problem;
use crate::admin::wire::ProblemDocument;
use crate::admin::{AdminState, api};
use crate::explain::Explanation;
use crate::model::ids::RequestId;

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
    let id = RequestId::parse(&text).ok_or_else(|| {
        Problem::bad(format!(
            "`{text}` is not the id of a request, which looks like 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 and stands in \
             `Hookgate-Request-Id` and in the log"
        ))
    })?;
    let explained = (state.controls.explain)(id).await;
    explained.map(Json).ok_or_else(|| {
        Problem::missing(format!(
            "nothing is known of the request `{id}`: it is older than the last ones that `keep_verdicts` of `[server]` \
             keeps, or from before the start"
        ))
    })
}

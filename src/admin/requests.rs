//! `/requests`: a request as a file, which `explain` reads and `replay-file` sends again.

use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;

use crate::admin::access::Who;
use crate::admin::facts::Facts;
use crate::admin::input::{self, Named};
use crate::admin::problem::Problem;
use crate::admin::wire::ProblemDocument;
use crate::admin::{AdminState, api, events, hide};
use crate::model::ids::RequestId;
use crate::net::hide::MASK;
use crate::net::request_file::{RECEIVED, REQUEST_ID, ROUTE, RequestFile, SOURCE};
use crate::store::rows::StoredEvent;

/// A request as a file: an event of the inbox, or one that was refused and kept
///
/// An HTTP/1.1 message as it is on the wire, behind lines that begin with `#` and say where it came from. The body stands
/// there byte for byte; of a refused request the start of it, which is said. What may be a token is masked, and the file
/// says where. For operators only.
#[utoipa::path(
    get, path = "/api/v1/requests/{request_id}", tag = "requests", operation_id = "capture_request",
    params(("request_id" = String, Path, description = "The id of the event, or of the request, as in `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = inline(crate::admin::wire::Raw), content_type = "application/octet-stream"),
        (status = "default", body = ProblemDocument, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn capture(
    State(state): State<Arc<AdminState>>,
    Extension(who): Extension<Who>,
    Named(text): Named<String>,
) -> Result<Response, Problem> {
    api::need_operator(&who)?;
    let id = input::request_id(&text, "an event or a request")?;
    let bytes = find(&state, id).await?.to_bytes().map_err(|error| {
        let detail = format!("the request `{id}` cannot be written as a file: {error}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    Ok(events::download(bytes, &format!("{id}.http")))
}

/// From the inbox, which has all of the body, else from the refused requests.
async fn find(state: &AdminState, id: RequestId) -> Result<RequestFile, Problem> {
    let stored = match state.store() {
        Ok(store) => store.event(id).await?,
        Err(_) => None,
    };
    if let Some(event) = stored {
        let body = event.body.clone().ok_or_else(|| {
            Problem::missing(format!(
                "the body of event `{id}` was not kept after its deliveries (`keep_body = false` in `[store]`)"
            ))
        })?;
        return Ok(file_of(&event, body, &state.facts.load()));
    }
    let refused = state.recorder.rejected().find(&id);
    refused.map(|request| request.to_file()).ok_or_else(|| {
        Problem::missing(format!(
            "no request `{id}` is kept: neither the inbox has it, nor is it one of the last refused ones that \
             `keep_rejected` of `[server]` keeps"
        ))
    })
}

/// An event as the request that brought it.
fn file_of(event: &StoredEvent, body: Bytes, facts: &Facts) -> RequestFile {
    let mut file = RequestFile::new(event.method.clone(), hide::target(event, facts), body);
    if let Ok(time) = jiff::Timestamp::from_millisecond(event.received_ms) {
        file.note(RECEIVED, &time.to_string());
    }
    file.note(SOURCE, &event.source.to_string());
    file.note(REQUEST_ID, &event.uid.to_string());
    file.note(ROUTE, event.route.as_str());
    if let Some(host) = &event.host {
        file.set_header("host", host);
    }
    for (name, value) in &event.headers {
        let value = match hide::is_hidden(event, name, facts) {
            true => MASK.as_bytes(),
            // White space at the ends says nothing, and no file can keep it.
            false => value.as_bytes().trim_ascii(),
        };
        let value = Bytes::copy_from_slice(value);
        file.headers.push((name.as_str().to_owned(), value));
    }
    file.note_masked();
    file
}

//! Handler for `/requests`: a request as a file for `explain` and `replay-file`.

use axum::response::Response;
use bytes::Bytes;
use hookgate_verify::net::redact::MASK;
use http::StatusCode;

use crate::admin::caller_view::CallerView;
use crate::admin::events;
use crate::admin::parameters::{self, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::model::ids::RequestId;
use crate::net::request_file::{RECEIVED, REQUEST_ID, ROUTE, RequestFile, SOURCE};
use crate::store::rows::StoredEvent;

/// Returns a request as a file: an event of the inbox, or a rejected request in memory
///
/// The file is an HTTP/1.1 message as on the wire, behind lines that begin with `#` and say where the request came
/// from. It has the body byte for byte, or only its start for a rejected request, which the file then says. Values that
/// may be tokens are masked, and the file lists them. For operators only.
#[utoipa::path(
    get, path = "",
    params(("request_id" = String, Path, description = "Id of the event or of the request, as in the header `Hookgate-Request-Id`")),
    responses(
        (status = 200, body = inline(crate::admin::documents::RawBytes), content_type = "application/octet-stream"),
    ),
)]
pub(super) async fn capture(
    view: CallerView,
    PathParameter(text): PathParameter<String>,
) -> Result<Response, AdminProblem> {
    view.need_payload()?;
    let id = parameters::request_id(&text, "an event or a request")?;
    let bytes = find(&view, id).await?.to_bytes().map_err(|error| {
        let detail = format!("cannot write the request `{id}` as a file: {error}");
        AdminProblem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    })?;
    Ok(events::download(bytes, &format!("{id}.http")))
}

/// Finds a request in the inbox or among the rejected requests in memory.
async fn find(view: &CallerView, id: RequestId) -> Result<RequestFile, AdminProblem> {
    // The inbox first: it has the whole body. A gate without a store has only rejected requests.
    let stored = match view.store() {
        Ok(store) => store.event(id).await?,
        Err(_) => None,
    };
    if let Some(event) = stored.map(|visible| visible.event) {
        let body = event.body.clone().ok_or_else(|| {
            AdminProblem::missing(format!(
                "the store removed the body of event `{id}` when its deliveries ended (`keep_body = false` in \
                 `[store]`)"
            ))
        })?;
        return Ok(file_of(&event, body, view));
    }
    let refused = view.find_rejected(&id);
    refused.map(|request| request.to_file()).ok_or_else(|| {
        AdminProblem::missing(format!(
            "the request `{id}` is neither in the inbox nor among the last rejected requests in memory \
             (`keep_rejected` in `[server]`): check the id{}",
            view.of_node()
        ))
    })
}

/// Rebuilds the request of an event, with its secrets masked.
fn file_of(event: &StoredEvent, body: Bytes, view: &CallerView) -> RequestFile {
    let mut file = RequestFile::new(event.method.clone(), view.target(event), body);
    if let Ok(time) = jiff::Timestamp::from_millisecond(event.received_ms) {
        file.add_comment(RECEIVED, &time.to_string());
    }
    file.add_comment(SOURCE, &event.source.to_string());
    file.add_comment(REQUEST_ID, &event.uid.to_string());
    file.add_comment(ROUTE, event.route.as_str());
    if let Some(host) = &event.host {
        file.set_header("host", host);
    }
    for (name, value) in &event.headers {
        let value = match view.is_redacted(event, name) {
            true => MASK.as_bytes(),
            // White space around a header value has no meaning in HTTP, and a file cannot preserve it.
            false => value.as_bytes().trim_ascii(),
        };
        let value = Bytes::copy_from_slice(value);
        file.headers.push((name.as_str().to_owned(), value));
    }
    // Last, because it lists the headers that are masked.
    file.mark_masked();
    file
}

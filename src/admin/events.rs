//! Handlers for `/events`: accepted events and their bodies.

use axum::Json;
use axum::response::{IntoResponse, Response};
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderName, HeaderValue, Uri, header};

use crate::admin::caller_store::VisibleEvent;
use crate::admin::caller_view::CallerView;
use crate::admin::deliveries;
use crate::admin::documents::{
    ApiTimestamp, BodySummary, EventDetail, EventDocument, EventList, StateCounts,
};
use crate::admin::parameters::{self, EventFilter, MAX_ROWS, PageParameters, PathParameter};
use crate::admin::problem::AdminProblem;
use crate::model::ids::RequestId;
use crate::store::content_match::ContentCriterion;
use crate::store::search::{DeliverySearch, EventRow, ListPage};

/// Lists events, newest first
#[utoipa::path(
    get, path = "",
    params(EventFilter, PageParameters),
    responses(
        (status = 200, body = EventList),
    ),
)]
pub(super) async fn list(view: CallerView, uri: Uri) -> Result<Json<EventList>, AdminProblem> {
    let (filter, page) = parameters::listing::<EventFilter>(&uri)?;
    let search = filter.search()?;
    // A text search stops after a time, not after a number of rows, so the store returns its own cursor.
    if let Some(text) = filter.text.filter(|text| !text.is_empty()) {
        let store = view.store()?;
        let (rows, next) = store
            .events_with_content(search, ContentCriterion::Text(text), page)
            .await?;
        return Ok(Json(EventList {
            events: rows.into_iter().map(event).collect(),
            next: next.map(|next| next.to_string()),
        }));
    }
    let rows = view
        .store()?
        .events(search, parameters::one_more(page))
        .await?;
    let (rows, next) = parameters::cut(rows, page.limit, |row| row.cursor);
    Ok(Json(EventList {
        events: rows.into_iter().map(event).collect(),
        next,
    }))
}

/// Shows an event without its body
#[utoipa::path(
    get, path = "",
    params(("uid" = String, Path, description = "Id of the event in the inbox")),
    responses(
        (status = 200, body = EventDetail),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(uid): PathParameter<String>,
) -> Result<Json<EventDetail>, AdminProblem> {
    let uid = parameters::request_id(&uid, "an event")?;
    let event = find(&view, uid).await?;
    let search = DeliverySearch {
        uid: Some(uid),
        ..DeliverySearch::default()
    };
    // One page is enough for people. Programs can list more with `/deliveries?event=UID`.
    let page = ListPage {
        after: None,
        limit: MAX_ROWS,
    };
    let rows = view.store()?.deliveries(search, page).await?;
    // Mask with the scheme of the running config, which may name credentials that an older one did not know.
    let mut detail = detail(&event, &view);
    detail.deliveries = rows.into_iter().map(deliveries::delivery).collect();
    Ok(Json(detail))
}

/// Returns the body of an event, byte for byte
#[utoipa::path(
    get, path = "",
    params(("uid" = String, Path, description = "Id of the event in the inbox")),
    responses(
        (status = 200, body = inline(crate::admin::documents::RawBytes), content_type = "application/octet-stream"),
    ),
)]
pub(super) async fn body(
    view: CallerView,
    PathParameter(uid): PathParameter<String>,
) -> Result<Response, AdminProblem> {
    view.need_payload()?;
    let uid = parameters::request_id(&uid, "an event")?;
    let event = find(&view, uid).await?;
    let event = event.event;
    let Some(body) = event.body else {
        return Err(AdminProblem::missing(format!(
            "the store removed the body of event `{uid}` when its deliveries ended (`keep_body = false` in `[store]`)"
        )));
    };
    let mut answer = download(body, &format!("{uid}.bin"));
    // `Repr-Digest` of RFC 9530, with the digest from acceptance, so that a client can check the stored bytes.
    let digest = format!("sha-256=:{}:", BASE64.encode(&event.digest));
    if let Ok(digest) = HeaderValue::try_from(digest) {
        let name = HeaderName::from_static("repr-digest");
        answer.headers_mut().insert(name, digest);
    }
    Ok(answer)
}

/// Returns bytes as a file to download, so that no browser renders text of a sender as a page of the gate.
pub(super) fn download(bytes: impl IntoResponse, name: &str) -> Response {
    let kind = HeaderValue::from_static("application/octet-stream");
    let mut answer = bytes.into_response();
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    let disposition = format!("attachment; filename=\"{name}\"");
    if let Ok(disposition) = HeaderValue::try_from(disposition) {
        let name = header::CONTENT_DISPOSITION;
        answer.headers_mut().insert(name, disposition);
    }
    answer
}

async fn find(view: &CallerView, uid: RequestId) -> Result<VisibleEvent, AdminProblem> {
    view.store()?.event(uid).await?.ok_or_else(|| {
        AdminProblem::missing(format!(
            "event `{uid}` does not exist: check the id; retention may have removed it"
        ))
    })
}

/// Converts an event of a list to its JSON shape.
pub(super) fn event(row: EventRow) -> EventDocument {
    EventDocument {
        uid: row.uid.to_string(),
        route: row.route.to_string(),
        provider: row.provider,
        event_id: row.event_id.map(|id| id.to_string()),
        event_type: row.event_type.map(Into::into),
        webhook_id: row.webhook_id,
        received: ApiTimestamp(row.received_ms),
        body_size: row.body_size,
        deliveries: StateCounts::new(row.deliveries),
    }
}

/// Converts an event to its JSON shape with masked secrets. The caller adds the deliveries.
fn detail(visible: &VisibleEvent, view: &CallerView) -> EventDetail {
    let event = &visible.event;
    EventDetail {
        uid: event.uid.to_string(),
        route: event.route.to_string(),
        provider: event.provider.clone(),
        event_id: event.event_id.as_ref().map(ToString::to_string),
        event_type: event.event_type.as_deref().map(str::to_owned),
        webhook_id: event.webhook_id.clone(),
        received: ApiTimestamp(event.received_ms),
        source: event.source.to_string(),
        tls: event.is_tls,
        method: event.method.to_string(),
        target: view.target(event),
        host: event.host.clone(),
        headers: view.headers(event),
        body: BodySummary {
            is_kept: visible.body_size.is_some(),
            size: visible.body_size,
            sha256: match visible.has_payload {
                true => HEXLOWER.encode(&event.digest),
                false => String::new(),
            },
        },
        // `show` fills it in, because only that handler reads the deliveries.
        deliveries: Vec::new(),
    }
}

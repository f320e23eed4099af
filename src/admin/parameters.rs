//! Parsing of admin API requests: filters, pages, times and ids.
//!
//! Every error names the invalid value and a valid form.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use bytes::Bytes;
use hookgate_verify::document::value;
use http::request::Parts;
use http::{StatusCode, Uri, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use url::form_urlencoded;
use utoipa::{IntoParams, ToSchema};

use crate::admin::documents::DeliveryStateName;
use crate::admin::problem::AdminProblem;
use crate::model::clock;
use crate::model::ids::{DestinationName, RequestId, RouteName};
use crate::model::route_scope::RouteScope;
use crate::store::search::{DeliverySearch, EventSearch, ListPage};

/// Rows in a response if the request sets no `limit`.
const DEFAULT_ROWS: u32 = 50;

/// Most rows in a response. One more row shows whether there are others; both stay below the 1,000 of the store.
pub(super) const MAX_ROWS: u32 = 500;

/// Smallest number that is read as milliseconds: the year 1973. In seconds it would be the year 5138.
const FIRST_MILLIS: u64 = 100_000_000_000;

/// The forms of a time that [`parse_time`] accepts, for messages.
pub(crate) const TIMES: &str = "2026-11-25T08:30:00Z, 2026-11-25, seconds or milliseconds since the epoch, or how long ago (2h, 7d, 1h30m)";

/// Filter for events. An event must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventFilter {
    /// Name of the route.
    pub route: Option<String>,
    /// Id of the provider, such as `stripe`.
    pub provider: Option<String>,
    /// The provider's id of the event, or its `webhook-id`.
    pub id: Option<String>,
    /// Type of the event; `*` matches any run of characters.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// State of at least one delivery of the event.
    pub state: Option<DeliveryStateName>,
    /// Earliest time of receipt: RFC 3339, seconds or milliseconds since the epoch, a day, or an age (`2h`).
    pub since: Option<String>,
    /// Events received before this time, in the same forms as `since`.
    pub before: Option<String>,
    /// Text in the body, type, ids or target; only for lists. A response covers the events that a search of a tenth of
    /// a second reads, so it may have few rows or no rows: continue with `next`.
    pub text: Option<String>,
}

/// Filter for deliveries. A delivery must match every field that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams, ToSchema)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeliveryFilter {
    /// Name of the route.
    pub route: Option<String>,
    /// Name of the destination in its route.
    pub destination: Option<String>,
    /// Id of the event's provider, such as `stripe`.
    pub provider: Option<String>,
    /// Id of the event in the inbox.
    pub event: Option<String>,
    /// The provider's id of the event, or its `webhook-id`.
    pub id: Option<String>,
    /// Type of the event; `*` matches any run of characters.
    #[serde(rename = "type")]
    pub event_type: Option<String>,
    /// Current state of the delivery.
    pub state: Option<DeliveryStateName>,
    /// `true` for replays only, `false` to leave them out.
    pub replay: Option<bool>,
    /// Earliest time at which the event was received: RFC 3339, seconds or milliseconds since the epoch, a day, or an
    /// age (`2h`).
    pub since: Option<String>,
    /// Events received before this time, in the same forms as `since`.
    pub before: Option<String>,
}

/// Path parameters, as in axum's `Path`, but with a problem document if they are not UTF-8.
pub(super) struct PathParameter<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for PathParameter<T> {
    type Rejection = AdminProblem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AdminProblem> {
        let named = Path::<T>::from_request_parts(parts, state).await;
        let wrong =
            |_| AdminProblem::bad("the path is not valid UTF-8: percent-encode each part of it");
        named.map(|Path(named)| Self(named)).map_err(wrong)
    }
}

/// The JSON document of a request body.
pub(super) struct JsonParameters<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for JsonParameters<T> {
    type Rejection = AdminProblem;

    async fn from_request(request: Request, state: &S) -> Result<Self, AdminProblem> {
        let kind = request.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
        let media = kind.split(';').next().unwrap_or("").trim();
        // A page of another site can make a browser send other types without a CORS preflight, but not this one.
        if !media.eq_ignore_ascii_case("application/json") {
            return Err(AdminProblem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the request needs a JSON document: send it with `Content-Type: application/json`",
            ));
        }
        // The router limits the size of a body, so a larger one is rejected here with 413.
        let body = Bytes::from_request(request, state).await;
        let body =
            body.map_err(|rejection| AdminProblem::new(rejection.status(), rejection.body_text()))?;
        let document = serde_json::from_slice(&body);
        document
            .map(Self)
            .map_err(|err| AdminProblem::bad(format!("invalid JSON document: {err}")))
    }
}

/// Selects a page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageParameters {
    /// Most rows in the response, from 1 to 500; 50 by default.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `next` of the previous response.
    cursor: Option<String>,
}

/// A selection of deliveries to change or to replay.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[schema(as = Many)]
#[serde(deny_unknown_fields)]
pub(crate) struct BulkSelection {
    /// Filter that selects the deliveries.
    #[serde(default)]
    pub search: DeliveryFilter,
    /// Must be `true` if `search` is empty, so that an empty request does not change everything.
    #[serde(default)]
    pub all: bool,
    /// Counts the deliveries and changes nothing.
    #[serde(default)]
    pub dry_run: bool,
}

impl EventFilter {
    /// Parses the filter for the store. `text` is not part of it, because the store searches text in another call.
    pub(super) fn search(&self) -> Result<EventSearch, AdminProblem> {
        Ok(EventSearch {
            // The store of the caller adds its scope.
            scope: RouteScope::All,
            route: self.route.as_deref().map(RouteName::new),
            provider: self.provider.clone(),
            id: self.id.clone(),
            event_type: self.event_type.clone(),
            since_ms: time("since", self.since.as_deref())?,
            before_ms: time("before", self.before.as_deref())?,
            state: self.state.map(Into::into),
        })
    }
}

impl DeliveryFilter {
    /// Parses the filter for the store.
    pub(super) fn search(&self) -> Result<DeliverySearch, AdminProblem> {
        let event = EventSearch {
            scope: RouteScope::All,
            route: self.route.as_deref().map(RouteName::new),
            provider: self.provider.clone(),
            id: self.id.clone(),
            event_type: self.event_type.clone(),
            since_ms: time("since", self.since.as_deref())?,
            before_ms: time("before", self.before.as_deref())?,
            // The state of a delivery, below, not that of its event.
            state: None,
        };
        let event_id = self.event.as_deref();
        let event_id = event_id.map(|text| request_id(text, "an event"));
        Ok(DeliverySearch {
            event,
            uid: event_id.transpose()?,
            destination: self.destination.as_deref().map(DestinationName::new),
            state: self.state.map(Into::into),
            is_replay: self.replay,
        })
    }
}

impl BulkSelection {
    /// Formats the filter for the audit log, without fields that are not set.
    pub(super) fn describe(&self) -> String {
        let mut search = serde_json::to_value(&self.search).unwrap_or_default();
        if let Some(fields) = search.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        search.to_string()
    }

    /// Parses the search, and rejects an empty one without `all`.
    pub(super) fn search(&self) -> Result<DeliverySearch, AdminProblem> {
        if self.search == DeliveryFilter::default() && !self.all {
            return Err(AdminProblem::bad(
                "`search` is empty and would select all deliveries: add a filter, or set `\"all\": true`",
            ));
        }
        self.search.search()
    }
}

/// Parses the filter and the page of a query.
pub(super) fn listing<F: DeserializeOwned>(uri: &Uri) -> Result<(F, ListPage), AdminProblem> {
    let pairs = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
    // Split the query in two: serde cannot combine `flatten` with `deny_unknown_fields`, which rejects unknown names.
    let mut paging = form_urlencoded::Serializer::new(String::new());
    let mut filter = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        let is_paging = matches!(&*name, "limit" | "cursor");
        let part = if is_paging { &mut paging } else { &mut filter };
        part.append_pair(&name, &value);
    }
    let paging: PageParameters = query(&paging.finish())?;
    Ok((query(&filter.finish())?, page(&paging)?))
}

/// Parses the filter of a query that has no pages.
pub(super) fn filter<F: DeserializeOwned>(uri: &Uri) -> Result<F, AdminProblem> {
    query(uri.query().unwrap_or_default())
}

fn query<T: DeserializeOwned>(text: &str) -> Result<T, AdminProblem> {
    // axum parses queries only as a part of a URI.
    let uri: Uri = format!("/?{text}").parse().map_err(|_| {
        AdminProblem::bad("the query of the URL is invalid: percent-encode its values")
    })?;
    match Query::<T>::try_from_uri(&uri) {
        Ok(Query(value)) => Ok(value),
        Err(rejection) => Err(AdminProblem::bad(format!(
            "invalid query: {}",
            rejection.body_text()
        ))),
    }
}

fn page(paging: &PageParameters) -> Result<ListPage, AdminProblem> {
    let limit = paging.limit.unwrap_or(DEFAULT_ROWS);
    if !(1..=MAX_ROWS).contains(&limit) {
        return Err(AdminProblem::bad(format!(
            "`limit` is {limit}: use a number from 1 to {MAX_ROWS}"
        )));
    }
    let after = match paging.cursor.as_deref().map(str::parse) {
        None => None,
        Some(Ok(after)) => Some(after),
        Some(Err(_)) => {
            return Err(AdminProblem::bad(
                "`cursor` is invalid: use `next` of the previous response",
            ));
        }
    };
    Ok(ListPage { after, limit })
}

/// Cuts a list that was read with one extra row; returns the rows and the cursor of the next page.
pub(super) fn cut<T>(
    mut rows: Vec<T>,
    limit: u32,
    cursor: impl Fn(&T) -> i64,
) -> (Vec<T>, Option<String>) {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_more);
    let next = last.map(|row| cursor(row).to_string());
    (rows, next)
}

/// Returns the same page with one extra row, for [`cut`].
pub(super) fn one_more(page: ListPage) -> ListPage {
    ListPage {
        after: page.after,
        limit: page.limit.saturating_add(1),
    }
}

/// Parses the id of an event or a request; `kind` names it in the error, such as "an event".
pub(super) fn request_id(text: &str, kind: &str) -> Result<RequestId, AdminProblem> {
    const LOOKS: &str = "looks like 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12 and appears in the header \
                         `Hookgate-Request-Id` and in the log; to find an event by the provider's id, use the \
                         filter `id`";
    RequestId::parse(text).ok_or_else(|| no_id(text, kind, LOOKS))
}

/// Parses the number of a delivery or a replay; `kind` names it in the error.
pub(super) fn number(text: &str, kind: &str) -> Result<i64, AdminProblem> {
    text.parse().map_err(|_| no_id(text, kind, "is a number"))
}

fn no_id(text: &str, kind: &str, looks: &str) -> AdminProblem {
    AdminProblem::bad(format!("`{text}` is not the id of {kind}, which {looks}"))
}

/// Parses the time in the parameter `name`, in milliseconds since the epoch.
pub(super) fn time(name: &str, text: Option<&str>) -> Result<Option<i64>, AdminProblem> {
    let Some(text) = text else { return Ok(None) };
    match parse_time(text, clock::ClockReading::read().unix_ms) {
        Some(time) => Ok(Some(time)),
        None => Err(AdminProblem::bad(format!(
            "`{name}` is `{text}`, which is not a valid time: use {TIMES}"
        ))),
    }
}

/// Parses a time in any form that filters accept. Returns milliseconds since the epoch.
pub(crate) fn parse_time(text: &str, now_ms: i64) -> Option<i64> {
    // Numbers first: a duration needs a unit, so `1763999000` cannot be one.
    if let Ok(number) = text.parse::<i64>() {
        let is_millis = number.unsigned_abs() >= FIRST_MILLIS;
        return Some(if is_millis {
            number
        } else {
            number.saturating_mul(1000)
        });
    }
    if let Some(ago) = value::parse_duration(text) {
        let ago = clock::millis(ago);
        return Some(now_ms.saturating_sub(ago));
    }
    // Ten characters are a day alone. A longer text must be a whole timestamp, or its time would be ignored.
    if let Some(second) = clock::day_start(text).filter(|_| text.len() == 10) {
        return Some(second.saturating_mul(1000));
    }
    let time: Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_764_000_000_000;

    #[test]
    fn times_in_every_form() {
        for (text, expected) in [
            ("2h", Some(NOW - 7_200_000)),
            ("1d12h", Some(NOW - 129_600_000)),
            ("1763999000", Some(1_763_999_000_000)),
            ("1763999000123", Some(1_763_999_000_123)),
            ("0", Some(0)),
            ("2025-11-24", Some(1_763_942_400_000)),
            ("2025-11-24T16:00:00Z", Some(1_764_000_000_000)),
            ("2025-11-24T17:00:00+01:00", Some(1_764_000_000_000)),
            ("2025-11-24T16:00:00", None),
            ("yesterday", None),
            ("", None),
            ("2 h", None),
        ] {
            assert_eq!(parse_time(text, NOW), expected, "{text}");
        }
    }

    fn listed(query: &str) -> Result<(DeliveryFilter, ListPage), String> {
        let uri: Uri = format!("/api/v1/deliveries?{query}").parse().unwrap();
        listing(&uri).map_err(|problem| problem.detail().to_owned())
    }

    #[test]
    fn a_query_is_read_whole_or_refused() {
        let (filter, page) =
            listed("type=push.%2A&replay=true&state=dead&limit=7&cursor=9").unwrap();
        assert_eq!(filter.event_type.as_deref(), Some("push.*"));
        assert_eq!(
            (filter.replay, filter.state),
            (Some(true), Some(DeliveryStateName::Dead))
        );
        assert_eq!((page.limit, page.after), (7, Some(9)));
        for (query, part) in [
            ("statr=dead", "unknown field `statr`"),
            ("state=ded", "unknown variant `ded`"),
            ("state=dead&state=dead", "duplicate field `state`"),
            ("limit=0", "from 1 to 500"),
            ("limit=x", "limit"),
            ("cursor=x", "use `next`"),
        ] {
            let fault = listed(query).unwrap_err();
            assert!(fault.contains(part), "{query}: {fault}");
        }
        let filter = listed("event=evt_1").unwrap().0;
        let fault = filter.search().unwrap_err();
        assert!(
            fault
                .detail()
                .starts_with("`evt_1` is not the id of an event, which looks like 0")
        );
        let filter = listed("since=soon").unwrap().0;
        assert!(
            filter
                .search()
                .unwrap_err()
                .detail()
                .contains("`since` is `soon`")
        );
    }

    #[test]
    fn a_search_for_everything_has_to_be_meant() {
        let mut many = BulkSelection::default();
        assert!(many.search().is_err());
        many.all = true;
        assert!(many.search().is_ok());
        let some: BulkSelection =
            serde_json::from_str("{\"search\":{\"state\":\"dead\"}}").unwrap();
        assert!(some.search().is_ok());
    }
}

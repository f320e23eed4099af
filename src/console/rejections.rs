//! Pages about rejected requests and their reasons.
//!
//! One fault rejects many requests, so the list groups them by route and reason.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::documents::{RouteList, VerdictDetail, VerdictDocument, VerdictList};
use crate::admin::path::segment;
use crate::admin::resources::{EXPLAIN_REJECTION, LIST_ROUTES, LIST_VERDICTS, SHOW_VERDICT};
use crate::console::chart::is_refused;
use crate::console::client::{ApiClient, ApiRefusal};
use crate::console::display;
use crate::console::events::SelectOption;
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::ConsoleUser;
use crate::explain::RefusalExplanation;

/// Pages of verdicts that the list reads for each kind, and the verdicts in one page.
const PARTS: usize = 4;
const PART: &str = "500";

/// Groups on a page, and requests shown in each group.
const MAX_GROUPS: usize = 50;
const MAX_REQUESTS: usize = 5;

#[derive(Template)]
#[template(path = "rejections.html", config = "src/console/askama.toml")]
struct RejectionsPage {
    layout: PageLayout,
    routes: Vec<SelectOption>,
    groups: Vec<ReasonGroup>,
    looked_at: usize,
    request: String,
    is_unknown: bool,
    is_filtered: bool,
}

/// Requests of one route that were rejected for one reason.
struct ReasonGroup {
    route: Option<String>,
    reason: String,
    is_monitored: bool,
    count: u64,
    newest: Vec<VerdictDocument>,
    detail: Option<VerdictDetail>,
}

#[derive(Template)]
#[template(path = "request.html", config = "src/console/askama.toml")]
struct RequestPage {
    layout: PageLayout,
    detail: VerdictDetail,
    /// Explanation of the rejection, if the request was rejected and the visitor is an operator.
    found: Option<RefusalExplanation>,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let request = asked.text("request").to_owned();
    let path = SHOW_VERDICT.at(&[&request]);
    // A known request id opens its page. An unknown one falls through to the list, which says so.
    if !request.is_empty() && visitor.client.get::<VerdictDetail>(&path).await.is_ok() {
        let page = format!("/console/requests/{}", segment(&request));
        return Ok(Redirect::to(&page).into_response());
    }
    let route = asked.text("route");
    let mut found = Vec::new();
    // The API filters by one verdict at a time.
    for word in ["refused", "monitored"] {
        let query = asked.only(&["route"]).with("verdict", word);
        found.extend(verdicts(&visitor.client, &query).await?);
    }
    let looked_at = found.len();
    let mut groups = group(found);
    for group in &mut groups {
        // All requests of a group have one reason, so the newest gives the explanation for all.
        let newest = group.newest.first().map(|verdict| &verdict.request_id);
        let path = SHOW_VERDICT.at(&[newest.map_or("", String::as_str)]);
        group.detail = visitor.client.get(&path).await.ok();
    }
    let RouteList { routes } = visitor.client.get(LIST_ROUTES.path).await?;
    let routes = routes
        .iter()
        .map(|one| SelectOption::new(&one.name, &one.name, route));
    Ok(layout::page(&RejectionsPage {
        layout: visitor.layout("rejections", "Rejections"),
        routes: routes.collect(),
        groups,
        looked_at,
        is_unknown: !request.is_empty(),
        is_filtered: !route.is_empty(),
        request,
    }))
}

/// Reads the last matching verdicts, newest first, up to `PARTS` pages.
async fn verdicts(
    client: &ApiClient,
    query: &QueryPairs,
) -> Result<Vec<VerdictDocument>, ApiRefusal> {
    let mut query = query.with("limit", PART);
    let mut all = Vec::new();
    for _ in 0..PARTS {
        let part: VerdictList = client.get(&query.after(LIST_VERDICTS.path)).await?;
        all.extend(part.verdicts);
        let Some(next) = part.next else { break };
        query = query.with("cursor", &next);
    }
    Ok(all)
}

/// Groups verdicts by route, reason and mode; the group with the newest request comes first.
fn group(mut verdicts: Vec<VerdictDocument>) -> Vec<ReasonGroup> {
    // The two kinds of verdict were read one after the other, so order all of them by time first.
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.at));
    let mut groups: Vec<ReasonGroup> = Vec::new();
    for verdict in verdicts {
        let reason = verdict
            .reason
            .clone()
            .unwrap_or_else(|| verdict.check.clone());
        let is_monitored = verdict.verdict == "monitored";
        let is_room = groups.len() < MAX_GROUPS;
        let same = groups.iter_mut().find(|group| {
            group.route == verdict.route
                && group.reason == reason
                && group.is_monitored == is_monitored
        });
        match same {
            Some(group) => {
                group.count += 1;
                if group.newest.len() < MAX_REQUESTS {
                    group.newest.push(verdict);
                }
            }
            None if is_room => groups.push(ReasonGroup {
                route: verdict.route.clone(),
                reason,
                is_monitored,
                count: 1,
                newest: vec![verdict],
                detail: None,
            }),
            // The groups with the newest requests have taken all places.
            None => {}
        }
    }
    groups
}

/// Returns whether an explanation adds more than the outcomes of the checks.
fn is_explained(verdict: &VerdictDocument) -> bool {
    let is_repeat = verdict.verdict == "duplicate" || verdict.is_copy || verdict.is_replayed_body;
    is_refused(verdict) || is_repeat
}

/// Shows one request with every check and its outcome.
pub(super) async fn show(
    visitor: ConsoleUser,
    Path(id): Path<String>,
) -> Result<Response, ApiRefusal> {
    let path = SHOW_VERDICT.at(&[&id]);
    let detail = visitor.client.get::<VerdictDetail>(&path).await;
    let detail = detail.map_err(|refused| match refused.status {
        StatusCode::NOT_FOUND => ApiRefusal::new(
            StatusCode::NOT_FOUND,
            "This request is not in memory: it is too old, or it never reached this gate. The log has all requests; \
             `keep_verdicts` in `[server]` sets how many verdicts stay in memory.",
        ),
        _ => refused,
    })?;
    // The API gives explanations to operators only, so the page of a viewer does not ask for one.
    let found = match visitor.is_operator && visitor.status.payload && is_explained(&detail.verdict)
    {
        true => {
            let path = EXPLAIN_REJECTION.at(&[&id]);
            visitor.client.get(&path).await.ok()
        }
        false => None,
    };
    Ok(layout::page(&RequestPage {
        layout: visitor.layout("rejections", "Request"),
        detail,
        found,
    }))
}

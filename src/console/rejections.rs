//! What was refused, and why: grouped, since a fault comes many times.

use askama::Template;
use axum::extract::Path;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::path::segment;
use crate::admin::wire::{Routes, Verdict, VerdictDetail, Verdicts};
use crate::console::chart::is_refused;
use crate::console::client::{Client, Refused};
use crate::console::events::Choice;
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show;
use crate::console::visitor::Visitor;
use crate::explain::Explanation;

/// Parts of the refused verdicts, and of those that monitor mode let through.
const PARTS: usize = 4;
const PART: &str = "500";

/// Groups on a page, and requests of each.
const MAX_GROUPS: usize = 50;
const MAX_REQUESTS: usize = 5;

#[derive(Template)]
#[template(path = "rejections.html", config = "src/console/askama.toml")]
struct RejectionsPage {
    layout: Layout,
    routes: Vec<Choice>,
    groups: Vec<Group>,
    looked_at: usize,
    request: String,
    is_unknown: bool,
    is_filtered: bool,
}

/// Requests of one route that were refused for one reason.
struct Group {
    route: Option<String>,
    reason: String,
    is_monitored: bool,
    count: u64,
    newest: Vec<Verdict>,
    detail: Option<VerdictDetail>,
}

#[derive(Template)]
#[template(path = "request.html", config = "src/console/askama.toml")]
struct RequestPage {
    layout: Layout,
    detail: VerdictDetail,
    /// What is behind it, where the request was refused and the visitor may know.
    found: Option<Explanation>,
}

pub(super) async fn list(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    let asked = Query::parse(uri.query());
    let request = asked.text("request").to_owned();
    let path = format!("/verdicts/{}", segment(&request));
    if !request.is_empty() && visitor.client.get::<VerdictDetail>(&path).await.is_ok() {
        let page = format!("/console/requests/{}", segment(&request));
        return Ok(Redirect::to(&page).into_response());
    }
    let route = asked.text("route");
    let mut found = Vec::new();
    for word in ["refused", "monitored"] {
        let query = asked.only(&["route"]).with("verdict", word);
        found.extend(verdicts(&visitor.client, &query).await?);
    }
    let looked_at = found.len();
    let mut groups = group(found);
    for group in &mut groups {
        let newest = group.newest.first().map(|verdict| &verdict.request_id);
        let path = format!("/verdicts/{}", newest.map_or("", String::as_str));
        group.detail = visitor.client.get(&path).await.ok();
    }
    let Routes { routes } = visitor.client.get("/routes").await?;
    let routes = routes
        .iter()
        .map(|one| Choice::new(&one.name, &one.name, route));
    Ok(layout::page(&RejectionsPage {
        layout: Layout::new(&visitor, "rejections", "Rejections"),
        routes: routes.collect(),
        groups,
        looked_at,
        is_unknown: !request.is_empty(),
        is_filtered: !route.is_empty(),
        request,
    }))
}

/// The last verdicts that match, the newest first.
async fn verdicts(client: &Client, query: &Query) -> Result<Vec<Verdict>, Refused> {
    let mut query = query.with("limit", PART);
    let mut all = Vec::new();
    for _ in 0..PARTS {
        let part: Verdicts = client.get(&query.after("/verdicts")).await?;
        all.extend(part.verdicts);
        let Some(next) = part.next else { break };
        query = query.with("cursor", &next);
    }
    Ok(all)
}

/// The newest group first.
fn group(mut verdicts: Vec<Verdict>) -> Vec<Group> {
    verdicts.sort_by_key(|verdict| std::cmp::Reverse(verdict.at));
    let mut groups: Vec<Group> = Vec::new();
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
            None if is_room => groups.push(Group {
                route: verdict.route.clone(),
                reason,
                is_monitored,
                count: 1,
                newest: vec![verdict],
                detail: None,
            }),
            None => {}
        }
    }
    groups
}

/// Returns whether there is more to say than what each check found.
fn is_explained(verdict: &Verdict) -> bool {
    let is_repeat = verdict.verdict == "duplicate" || verdict.is_copy || verdict.is_replayed_body;
    is_refused(verdict) || is_repeat
}

/// One request: every check, and what came of it.
pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Response, Refused> {
    let path = format!("/verdicts/{}", segment(&id));
    let detail = visitor.client.get::<VerdictDetail>(&path).await;
    let detail = detail.map_err(|refused| match refused.status {
        StatusCode::NOT_FOUND => Refused::new(
            StatusCode::NOT_FOUND,
            "This request is not remembered any more, or never came here. `keep_verdicts` in `[server]` says how many are; the \
             log has all.",
        ),
        _ => refused,
    })?;
    let found = match visitor.is_operator && is_explained(&detail.verdict) {
        true => {
            let path = format!("/rejections/{}/explanation", segment(&id));
            visitor.client.get(&path).await.ok()
        }
        false => None,
    };
    Ok(layout::page(&RequestPage {
        layout: Layout::new(&visitor, "rejections", "Request"),
        detail,
        found,
    }))
}

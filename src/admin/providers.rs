//! Handlers for `/providers`: the catalogue of providers.

use axum::Json;
use hookgate_verify::document::suggest;
use hookgate_verify::providers::{self, ProviderEvidence};

use crate::admin::caller_view::CallerView;
use crate::admin::deliveries;
use crate::admin::documents::{ProviderDetail, ProviderDocument, ProviderList};
use crate::admin::parameters::PathParameter;
use crate::admin::problem::AdminProblem;

/// Lists the providers of the catalogue, sorted by id
#[utoipa::path(
    get, path = "",
    responses(
        (status = 200, body = ProviderList),
    ),
)]
pub(super) async fn list() -> Result<Json<ProviderList>, AdminProblem> {
    // The first request parses all provider files, which would block a thread that serves requests.
    let all = tokio::task::spawn_blocking(providers::all).await;
    let all = all.map_err(|_| deliveries::broken())?;
    Ok(Json(ProviderList {
        providers: all.iter().map(|one| provider(one)).collect(),
    }))
}

/// Shows a provider in full
#[utoipa::path(
    get, path = "",
    params(("id" = String, Path, description = "As in `provider = \"...\"`", example = "stripe")),
    responses(
        (status = 200, body = ProviderDetail),
    ),
)]
pub(super) async fn show(
    view: CallerView,
    PathParameter(id): PathParameter<String>,
) -> Result<Json<ProviderDetail>, AdminProblem> {
    let found = providers::find(&id).ok_or_else(|| {
        let near = suggest::nearest(&id, providers::ids());
        let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        AdminProblem::missing(format!("the provider `{id}` does not exist{near}"))
    })?;
    let used = view.routes();
    // Shows an operator where the provider is in use already.
    let routes = used.iter().filter(|route| route.provider == id);
    let ranges = found.ip_ranges.as_ref().map(|ranges| &ranges.cidrs);
    Ok(Json(ProviderDetail {
        provider: provider(&found),
        about: found.about.clone(),
        setup: found.setup.clone(),
        tolerance_seconds: found.tolerance.as_secs(),
        retry_horizon_seconds: found.retry_horizon.map(|horizon| horizon.as_secs()),
        stricter: found.stricter.clone(),
        unsigned: found.unsigned.clone(),
        ranges: ranges
            .into_iter()
            .flatten()
            .map(ToString::to_string)
            .collect(),
        routes: routes.map(|route| route.name.clone()).collect(),
    }))
}

/// Converts a provider to its JSON shape in lists.
fn provider(provider: &providers::Provider) -> ProviderDocument {
    ProviderDocument {
        id: provider.id.clone(),
        name: provider.name.clone(),
        docs: provider.docs.clone(),
        has_challenge: provider.challenge.is_some(),
        proof: match provider.proof {
            ProviderEvidence::Vectors => "vectors",
            ProviderEvidence::DocumentationOnly => "documentation_only",
        }
        .to_owned(),
    }
}

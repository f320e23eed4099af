//! Pages about the providers of the catalogue, with an example route for each.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Uri;

use crate::admin::path::segment;
use crate::admin::wire::{Provider, ProviderDetail, Providers};
use crate::console::client::Refused;
use crate::console::layout::{self, Layout};
use crate::console::query::Query;
use crate::console::show;
use crate::console::visitor::Visitor;

#[derive(Template)]
#[template(path = "providers.html", config = "src/console/askama.toml")]
struct ProvidersPage {
    layout: Layout,
    search: String,
    all: usize,
    providers: Vec<Provider>,
}

#[derive(Template)]
#[template(path = "provider.html", config = "src/console/askama.toml")]
struct ProviderPage {
    layout: Layout,
    provider: ProviderDetail,
    route: String,
}

pub(super) async fn list(visitor: Visitor, uri: Uri) -> Result<Response, Refused> {
    let asked = Query::parse(uri.query());
    let search = asked.text("q").to_owned();
    let Providers { mut providers } = visitor.client.get("/providers").await?;
    let all = providers.len();
    // Ids are in lower case already; names are not.
    let wanted = search.to_lowercase();
    providers.retain(|one| one.id.contains(&wanted) || one.name.to_lowercase().contains(&wanted));
    Ok(layout::page(&ProvidersPage {
        layout: Layout::new(&visitor, "providers", "Providers"),
        search,
        all,
        providers,
    }))
}

pub(super) async fn show(visitor: Visitor, Path(id): Path<String>) -> Result<Response, Refused> {
    let path = format!("/providers/{}", segment(&id));
    let provider: ProviderDetail = visitor.client.get(&path).await?;
    Ok(layout::page(&ProviderPage {
        layout: Layout::new(&visitor, "providers", provider.provider.name.clone()),
        route: route(&provider.provider.id),
        provider,
    }))
}

/// Returns the shortest route that works for a provider, as TOML to copy.
fn route(id: &str) -> String {
    let variable = id.to_ascii_uppercase();
    format!(
        "[routes.{id}]\npath = \"/{id}\"\nprovider = \"{id}\"\nsecret = {{ env = \"{variable}_SECRET\" }}\n\
         upstream = \"http://127.0.0.1:8080/webhooks/{id}\"\n"
    )
}

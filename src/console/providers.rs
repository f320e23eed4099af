//! Pages about the providers of the catalogue, with an example route for each.

use askama::Template;
use axum::extract::Path;
use axum::response::Response;
use http::Uri;

use crate::admin::documents::{ProviderDetail, ProviderDocument, ProviderList};
use crate::admin::resources::{LIST_PROVIDERS, SHOW_PROVIDER};
use crate::console::client::ApiRefusal;
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::ConsoleUser;

#[derive(Template)]
#[template(path = "providers.html", config = "src/console/askama.toml")]
struct ProvidersPage {
    layout: PageLayout,
    search: String,
    all: usize,
    providers: Vec<ProviderDocument>,
}

#[derive(Template)]
#[template(path = "provider.html", config = "src/console/askama.toml")]
struct ProviderPage {
    layout: PageLayout,
    provider: ProviderDetail,
    route: String,
}

pub(super) async fn list(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let search = asked.text("q").to_owned();
    let ProviderList { mut providers } = visitor.client.get(LIST_PROVIDERS.path).await?;
    let all = providers.len();
    // Ids are in lower case already; names are not.
    let wanted = search.to_lowercase();
    providers.retain(|one| one.id.contains(&wanted) || one.name.to_lowercase().contains(&wanted));
    Ok(layout::page(&ProvidersPage {
        layout: visitor.layout("providers", "Providers"),
        search,
        all,
        providers,
    }))
}

pub(super) async fn show(
    visitor: ConsoleUser,
    Path(id): Path<String>,
) -> Result<Response, ApiRefusal> {
    let path = SHOW_PROVIDER.at(&[&id]);
    let provider: ProviderDetail = visitor.client.get(&path).await?;
    Ok(layout::page(&ProviderPage {
        layout: visitor.layout("providers", provider.provider.name.clone()),
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

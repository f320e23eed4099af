//! Page about the nodes that share the store.

use askama::Template;
use axum::response::Response;

use crate::admin::documents::{NodeDocument, NodeList};
use crate::admin::resources::LIST_NODES;
use crate::console::client::ApiRefusal;
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::user::ConsoleUser;

#[derive(Template)]
#[template(path = "nodes.html", config = "src/console/askama.toml")]
struct NodesPage {
    layout: PageLayout,
    is_shared: bool,
    nodes: Vec<NodeDocument>,
}

pub(super) async fn list(visitor: ConsoleUser) -> Result<Response, ApiRefusal> {
    let found: NodeList = visitor.client.get(LIST_NODES.path).await?;
    Ok(layout::page(&NodesPage {
        layout: visitor.layout("nodes", "Nodes"),
        is_shared: found.shared,
        nodes: found.nodes,
    }))
}

//! Pages about the running config and the audit log.
//!
//! The API gives the config without its secrets, so no page can show one.

use askama::Template;
use axum::response::{IntoResponse, Redirect, Response};
use http::{StatusCode, Uri};

use crate::admin::documents::{AuditEntries, AuditEntry, ReloadResult};
use crate::admin::resources::{LIST_ACTIONS, RELOAD_CONFIG, SHOW_CONFIG};
use crate::config::effective::EffectiveValue;
use crate::console::client::ApiRefusal;
use crate::console::display;
use crate::console::layout::{self, PageLayout};
use crate::console::query::QueryPairs;
use crate::console::user::{ConsoleUser, PostedForm};

const FILTERS: [&str; 5] = ["who", "action", "target", "since", "before"];

#[derive(Template)]
#[template(path = "config.html", config = "src/console/askama.toml")]
struct ConfigPage {
    layout: PageLayout,
    notice: &'static str,
    config: String,
}

#[derive(Template)]
#[template(path = "audit.html", config = "src/console/askama.toml")]
struct AuditPage {
    layout: PageLayout,
    query: QueryPairs,
    actions: Vec<AuditEntry>,
    newer: Option<String>,
    older: Option<String>,
}

pub(super) async fn config(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    let asked = QueryPairs::parse(uri.query());
    let config: EffectiveValue = visitor.client.get(SHOW_CONFIG.path).await?;
    Ok(layout::page(&ConfigPage {
        layout: visitor.layout("config", "Config"),
        notice: display::notice(asked.text("notice")),
        config: toml_of(config),
    }))
}

/// Formats the config as a TOML file and leaves out keys that are not set.
fn toml_of(mut config: EffectiveValue) -> String {
    drop_nulls(&mut config);
    let text = toml::to_string_pretty(&config).ok();
    // JSON is better than an empty page if a value does not fit TOML.
    text.or_else(|| serde_json::to_string_pretty(&config).ok())
        .unwrap_or_default()
}

/// Removes every null, for which TOML has no form.
fn drop_nulls(value: &mut EffectiveValue) {
    match value {
        EffectiveValue::Table(table) => {
            table.entries.retain(|(_, value)| !value.is_null());
            let values = table.entries.iter_mut();
            values.for_each(|(_, value)| drop_nulls(value));
        }
        EffectiveValue::List(values) => values.iter_mut().for_each(drop_nulls),
        EffectiveValue::Plain(_) => {}
    }
}

pub(super) async fn reload(posted: PostedForm) -> Result<Response, ApiRefusal> {
    let client = posted.user.client;
    client.post::<ReloadResult>(RELOAD_CONFIG.path).await?;
    let back = layout::with_notice("/console/config", "reloaded");
    Ok(Redirect::to(&back).into_response())
}

pub(super) async fn audit(visitor: ConsoleUser, uri: Uri) -> Result<Response, ApiRefusal> {
    // The API rejects viewers too; this page says why in words for people.
    if !visitor.is_operator {
        return Err(ApiRefusal::new(
            StatusCode::FORBIDDEN,
            "Your token has the role `viewer`. Log in with an operator's token to see the audit log.",
        ));
    }
    let asked = QueryPairs::parse(uri.query());
    let query = asked.only(&FILTERS);
    let cursor = asked.text("cursor");
    let listed = query.with("cursor", cursor).after(LIST_ACTIONS.path);
    let found: AuditEntries = visitor.client.get(&listed).await?;
    let here = "/console/audit";
    Ok(layout::page(&AuditPage {
        layout: visitor.layout("audit", "Audit"),
        newer: (!cursor.is_empty()).then(|| query.after(here)),
        older: found
            .next
            .map(|next| query.with("cursor", &next).after(here)),
        actions: found.actions,
        query,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when the page loses the order of the keys, or writes a key behind a table that it is not in.
    #[test]
    fn a_config_reads_as_a_file() {
        let config = r#"{
            "store": { "url": "sqlite:a.db", "max_size": null, "min_free": 5 },
            "routes": { "a": { "path": "/a", "secret": [{ "name": "1", "env": null }], "enforce": "block" } }
        }"#;
        let text = toml_of(serde_json::from_str(config).unwrap());
        assert_eq!(
            text,
            "[store]\nurl = \"sqlite:a.db\"\nmin_free = 5\n\n[routes.a]\npath = \"/a\"\nenforce = \"block\"\n\n\
             [[routes.a.secret]]\nname = \"1\"\n"
        );
    }
}

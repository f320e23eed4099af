//! `[routes.NAME.destinations.NAME.oauth2]`: client credentials with which a destination gets access tokens.

use std::net::IpAddr;
use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::net::host;

use crate::config::load_context::LoadContext;
use crate::config::model::{ClientAuthentication, ClientCredentials};
use crate::config::{app_url, secrets};
use crate::net::app_url::AppUrl;

/// Longest client id, scope or audience.
const MAX_TEXT: usize = 1024;

/// Credentials with the span that later checks point at.
pub(super) struct SpannedCredentials {
    pub(super) credentials: ClientCredentials,
    pub(super) url_span: TextSpan,
}

/// Reads the table. Returns `None` if a part of it is missing or wrong.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> Option<SpannedCredentials> {
    let token_url = table.require(&TOKEN_URL, |value| {
        value::destination_url(value).and_then(|uri| app_url::of_uri(&uri))
    });
    let client_id = table.require(&CLIENT_ID, text);
    let secret = table.value(&CLIENT_SECRET);
    if secret.is_none() {
        table.missing(&CLIENT_SECRET);
    }
    let secret = secret.and_then(|value| secrets::read_client_secret(&value, context));
    let scope = table.read(&SCOPE, text);
    let audience = table.read(&AUDIENCE, text);
    let authentication = table.read(&AUTH, |value| {
        value::choice(value, &ClientAuthentication::ALL)
    });
    table.deny_unknown();
    let token_url = token_url?;
    if !token_url.value.is_tls() && !is_own_machine(&token_url.value) {
        let fault = ValueFault::new(
            "the client secret and the tokens would be readable on the network",
            "use an `https://` URL",
        );
        table.error(token_url.span, fault);
    }
    Some(SpannedCredentials {
        url_span: token_url.span,
        credentials: ClientCredentials {
            token_url: token_url.value,
            client_id: client_id?.value,
            client_secret: Arc::new(secret?),
            scope,
            audience,
            authentication: authentication.unwrap_or(ClientAuthentication::Basic),
            // The destination decides it.
            egress_proxy: None,
        },
    })
}

fn text(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    if text.is_empty() || text.len() > MAX_TEXT {
        return Err(ValueFault::new(
            format!("this is empty or longer than {MAX_TEXT} characters"),
            "use the value that the operator of the token server gave you",
        ));
    }
    Ok(text)
}

/// Returns true if a URL names this machine, whose loopback no other machine can read.
fn is_own_machine(url: &AppUrl) -> bool {
    let host = url.host().unwrap_or_default();
    let address = host::bare(host).parse::<IpAddr>();
    address.map_or(host == "localhost", |ip| ip.is_loopback())
}

/// Keys of the `[routes.NAME.destinations.NAME.oauth2]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.destinations.NAME.oauth2",
    doc: "Client credentials of OAuth 2.0: hookgate fetches an access token and sends it with each attempt as `Authorization: Bearer TOKEN`. It fetches the next one before the token expires, and after the destination responded with 401. Tokens live in memory only. If there is no token, the attempt fails and is retried.",
    keys: &[
        &TOKEN_URL,
        &CLIENT_ID,
        &CLIENT_SECRET,
        &SCOPE,
        &AUDIENCE,
        &AUTH,
    ],
    required: &["token_url", "client_id", "client_secret"],
    one_of: &[],
};

pub(super) static TOKEN_URL: KeyDefinition = KeyDefinition {
    name: "token_url",
    kind: ValueKind::Url,
    default: None,
    example: "\"https://login.example.com/oauth2/token\"",
    doc: "URL of the token server. Requires `https`, except on this machine. `tls` (without `server_name`), `external` and `egress_proxy` of the destination apply to it too.",
};

pub(super) static CLIENT_ID: KeyDefinition = KeyDefinition {
    name: "client_id",
    kind: ValueKind::Text,
    default: None,
    example: "\"hookgate\"",
    doc: "Id of hookgate at the token server.",
};

pub(super) static CLIENT_SECRET: KeyDefinition = KeyDefinition {
    name: "client_secret",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"partner-oauth\" }",
    doc: "Secret of hookgate at the token server.",
};

pub(super) static SCOPE: KeyDefinition = KeyDefinition {
    name: "scope",
    kind: ValueKind::Text,
    default: Some("not sent"),
    example: "\"events.write\"",
    doc: "Scopes of the token, separated by spaces.",
};

pub(super) static AUDIENCE: KeyDefinition = KeyDefinition {
    name: "audience",
    kind: ValueKind::Text,
    default: Some("not sent"),
    example: "\"https://api.partner.example\"",
    doc: "Parameter `audience`, which some token servers require.",
};

pub(super) static AUTH: KeyDefinition = KeyDefinition {
    name: "auth",
    kind: ValueKind::Choice(&value::choice_words(&ClientAuthentication::ALL)),
    default: Some("\"basic\""),
    example: "\"post\"",
    doc: "How the client credentials are sent: `\"basic\"` in the header `Authorization`, `\"post\"` in the form of the request.",
};

//! `[server.http]`: a listener for plain HTTP that redirects or refuses, and answers the challenge `http-01`.

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::TomlTable;
use hookgate_verify::document::value;

use crate::config::model::HttpListener;

/// Words of `otherwise`, with the value of [`HttpListener::redirects`].
pub(super) const OTHERWISE_WORDS: [(&str, bool); 2] = [("redirect", true), ("refuse", false)];

/// Reads the section, with the spans of its addresses.
pub(super) fn read(mut table: TomlTable<'_>) -> Option<(HttpListener, Vec<TextSpan>)> {
    let listen = table.list(&LISTEN, value::socket_address);
    let otherwise = table.read(&OTHERWISE, |value| value::choice(value, &OTHERWISE_WORDS));
    let is_empty = listen.as_ref().is_some_and(Vec::is_empty);
    if !table.has(&LISTEN) || is_empty {
        table.missing(&LISTEN);
    }
    table.deny_unknown();
    let listen = listen?;
    Some((
        HttpListener {
            listen: listen.iter().map(|placed| placed.value).collect(),
            redirects: otherwise.unwrap_or(true),
        },
        listen.iter().map(|placed| placed.span).collect(),
    ))
}

/// Keys of the `[server.http]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "server.http",
    doc: "Listener for plain HTTP that serves no route: it redirects or refuses, and answers the challenge `http-01`.",
    keys: &[&LISTEN, &OTHERWISE],
    required: &["listen"],
    one_of: &[],
};

pub(super) static LISTEN: KeyDefinition = KeyDefinition {
    name: "listen",
    kind: ValueKind::List(&ValueKind::Address),
    default: None,
    example: "[\"0.0.0.0:80\", \"[::]:80\"]",
    doc: "Addresses to listen on. A socket that systemd passes with the port of one of them replaces it. A change requires a restart.",
};

pub(super) static OTHERWISE: KeyDefinition = KeyDefinition {
    name: "otherwise",
    kind: ValueKind::Choice(&value::choice_words(&OTHERWISE_WORDS)),
    default: Some("\"redirect\""),
    example: "\"refuse\"",
    doc: "Response to every request that is no challenge: `redirect` sends 308 to https on the same host, if a route or a certificate has that host, and `refuse` sends 403. Senders do not follow redirects of events, so a wrong URL at the sender still fails.",
};

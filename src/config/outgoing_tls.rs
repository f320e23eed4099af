//! `tls` of an upstream or a destination: trusted CAs, a client certificate and the name to verify.

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use rustls::pki_types::ServerName;

use crate::config::load_context::LoadContext;
use crate::net::app_url::AppUrl;
use crate::net::client::TlsFiles;

/// Reads the table. Relative paths start at the folder of the config.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> TlsFiles {
    let mut path = |key: &KeyDefinition| {
        let read = table.read_placed(key, value::path);
        read.map(|placed| (context.folder.join(placed.value), placed.span))
    };
    let (ca, cert, key) = (path(&CA), path(&CERT), path(&KEY));
    let server_name = table.read(&SERVER_NAME, server_name);
    table.deny_unknown();
    let client = match (cert, key) {
        (Some((cert, _)), Some((key, _))) => Some((cert, key)),
        // One without the other would have no effect, and the app would reject the connection with an unclear alert.
        (Some((_, span)), None) | (None, Some((_, span))) => {
            let fault = ValueFault::new(
                "a client certificate needs both its chain and its key",
                "set both `cert` and `key`",
            );
            table.error(span, fault);
            None
        }
        (None, None) => None,
    };
    TlsFiles {
        ca: ca.map(|(path, _)| path),
        client,
        server_name,
    }
}

/// Rejects TLS settings of an app that is reached without TLS: the operator believes that they protect the connection.
pub(super) fn check(table: &TomlTable<'_>, span: Option<TextSpan>, url: &AppUrl) {
    let Some(span) = span.filter(|_| !url.is_tls()) else {
        return;
    };
    let (what, help) = match url.socket() {
        Some(_) => ("a Unix socket", "remove `tls`: no network is involved"),
        None => ("`http://`", "use `https://`, or remove `tls`"),
    };
    let fault = ValueFault::new(format!("`tls` has no effect: {what} is without TLS"), help);
    table.error(span, fault);
}

fn server_name(value: &TomlValue<'_>) -> Result<ServerName<'static>, ValueFault> {
    let text = value::text(value)?;
    ServerName::try_from(text.clone()).map_err(|_| {
        ValueFault::new(
            format!("`{text}` is neither a host name nor an address"),
            "write the name in the certificate of the app, without scheme and port",
        )
    })
}

/// Keys of the table, which is the same wherever it is.
const KEYS: &[&KeyDefinition] = &[&CA, &CERT, &KEY, &SERVER_NAME];

/// Keys of the `[routes.NAME.upstream.tls]` section.
pub(super) static UPSTREAM_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.upstream.tls",
    doc: "Outgoing TLS to an upstream: trusted CAs and client certificate.",
    keys: KEYS,
    required: &[],
    one_of: &[],
};

/// Keys of the `[routes.NAME.destinations.NAME.tls]` section.
pub(super) static DESTINATION_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.destinations.NAME.tls",
    doc: "Outgoing TLS to one destination: trusted CAs and client certificate.",
    keys: KEYS,
    required: &[],
    one_of: &[],
};

pub(super) static UPSTREAM_TLS: KeyDefinition = KeyDefinition {
    name: "tls",
    kind: ValueKind::Table(&UPSTREAM_SECTION),
    default: None,
    example: "{ ca = \"internal-ca.pem\" }",
    doc: "Custom CAs and client certificate for this app. An entry of `upstreams` without it uses those of `upstream`, but not its `server_name`.",
};

pub(super) static DESTINATION_TLS: KeyDefinition = KeyDefinition {
    name: "tls",
    kind: ValueKind::Table(&DESTINATION_SECTION),
    default: None,
    example: "{ ca = \"partner-ca.pem\" }",
    doc: "Custom CAs and client certificate for this destination.",
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: Some("the system's CAs"),
    example: "\"partner-ca.pem\"",
    doc: "PEM file with the CAs that the certificate of the other side must chain to. The files of this table are read again every 10 seconds.",
};

pub(super) static CERT: KeyDefinition = KeyDefinition {
    name: "cert",
    kind: ValueKind::Path,
    default: None,
    example: "\"client.pem\"",
    doc: "PEM file with the client certificate chain to present.",
};

pub(super) static KEY: KeyDefinition = KeyDefinition {
    name: "key",
    kind: ValueKind::Path,
    default: None,
    example: "\"client.key\"",
    doc: "PEM file with the private key of `cert`.",
};

pub(super) static SERVER_NAME: KeyDefinition = KeyDefinition {
    name: "server_name",
    kind: ValueKind::Text,
    default: Some("the host of the URL"),
    example: "\"app.internal\"",
    doc: "Name to send in the TLS handshake (SNI) and to verify in the certificate, for an app whose certificate does not have the host of the URL. `Host` is not affected.",
};

//! `[routes.NAME.destinations.NAME.tls]`: CAs and a client certificate for one destination.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, ValueFault};
use hookgate_verify::document::value;

use crate::config::load_context::LoadContext;
use crate::config::model::DestinationTls;

/// Reads the table. Relative paths start at the folder of the config.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> DestinationTls {
    let mut path = |key: &KeyDefinition| {
        let read = table.read_placed(key, value::path);
        read.map(|placed| (context.folder.join(placed.value), placed.span))
    };
    let (ca, cert, key) = (path(&CA), path(&CERT), path(&KEY));
    table.deny_unknown();
    let client = match (cert, key) {
        (Some((cert, _)), Some((key, _))) => Some((cert, key)),
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
    DestinationTls {
        ca: ca.map(|(path, _)| path),
        client,
    }
}

/// Keys of the `[routes.NAME.destinations.NAME.tls]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.destinations.NAME.tls",
    doc: "Outgoing TLS to one destination: trusted CAs and client certificate.",
    keys: &[&CA, &CERT, &KEY],
    required: &[],
    one_of: &[],
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: Some("the system's CAs"),
    example: "\"partner-ca.pem\"",
    doc: "PEM file with the CAs that the destination's certificate must chain to.",
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

//! `[routes.NAME.destinations.NAME.tls]`: CAs and a client certificate for one destination.

use crate::config::Context;
use crate::config::model::DestinationTls;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table};
use crate::document::value;

/// Reads the table. Relative paths start at the folder of the config.
pub(super) fn read(mut table: Table<'_>, context: &Context) -> DestinationTls {
    let mut path = |key: &Key| {
        let read = table.read_placed(key, value::path);
        read.map(|placed| (context.folder.join(placed.value), placed.span))
    };
    let (ca, cert, key) = (path(&CA), path(&CERT), path(&KEY));
    table.deny_unknown();
    let client = match (cert, key) {
        (Some((cert, _)), Some((key, _))) => Some((cert, key)),
        (Some((_, span)), None) | (None, Some((_, span))) => {
            let fault = Fault::new(
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
pub(super) static SECTION: Section = Section {
    path: "routes.NAME.destinations.NAME.tls",
    doc: "Outgoing TLS to one destination: trusted CAs and client certificate.",
    keys: &[&CA, &CERT, &KEY],
    required: &[],
    one_of: &[],
};

static CA: Key = Key {
    name: "ca",
    kind: Kind::Path,
    default: Some("the system's CAs"),
    example: "\"partner-ca.pem\"",
    doc: "PEM file with the CAs that the destination's certificate must chain to.",
};

static CERT: Key = Key {
    name: "cert",
    kind: Kind::Path,
    default: None,
    example: "\"client.pem\"",
    doc: "PEM file with the client certificate chain to present.",
};

static KEY: Key = Key {
    name: "key",
    kind: Kind::Path,
    default: None,
    example: "\"client.key\"",
    doc: "PEM file with the private key of `cert`.",
};

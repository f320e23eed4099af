//! `[admin]`: metrics and health for operators, apart from the listeners for strangers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::config::Context;
use crate::config::model::{Admin, AdminListen};
use crate::config::secrets;
use crate::document::Span;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;

/// `[admin]` with the place that later checks point at.
pub(super) struct ReadAdmin {
    pub(super) admin: Admin,
    pub(super) listen_span: Span,
}

/// Reads the section; none where it is wrong.
pub(super) fn read(mut table: Table<'_>, context: &Context) -> Option<ReadAdmin> {
    let listen = table.require(&LISTEN, |value| listen(value, context));
    let token = table
        .value(&TOKEN)
        .and_then(|value| secrets::read_token(&value, context));
    table.refuse("tls", |_| {
        Fault::new(
            "`[admin.tls]` is not supported by this version",
            "remove it: the admin listener listens on loopback or a Unix socket",
        )
    });
    table.deny_unknown();
    let listen = listen?;
    Some(ReadAdmin {
        admin: Admin {
            listen: listen.value,
            token: token.map(Arc::new),
        },
        listen_span: listen.span,
    })
}

fn listen(value: &Value<'_>, context: &Context) -> Result<AdminListen, Fault> {
    let path = value.text().and_then(|text| text.strip_prefix("unix:"));
    if let Some(path) = path {
        return if path.is_empty() || path.contains('\0') {
            Err(Fault::new(
                "`unix:` needs a path",
                "for example `\"unix:/run/hookgate/admin.sock\"`",
            ))
        } else {
            Ok(AdminListen::Unix(context.folder.join(PathBuf::from(path))))
        };
    }
    let address = value::socket_address(value)?;
    if address.ip().to_canonical().is_loopback() {
        return Ok(AdminListen::Tcp(address));
    }
    Err(Fault::new(
        format!("the admin listener on `{address}` could be reached from other machines"),
        "listen on loopback, `\"127.0.0.1:9180\"`, or on `\"unix:/run/hookgate/admin.sock\"`, and put a tunnel or proxy before it",
    )
    .label("not loopback"))
}

/// `[admin]`.
pub(super) static SECTION: Section = Section {
    path: "admin",
    doc: "Metrics, health, and the API of the inbox, for operators. Without this section there is no admin listener, but for a Unix socket in the service's runtime folder where there is a `[store]`.",
    keys: &[&LISTEN, &TOKEN],
    required: &["listen"],
    one_of: &[],
};

static LISTEN: Key = Key {
    name: "listen",
    kind: Kind::Text,
    default: None,
    example: "\"127.0.0.1:9180\"",
    doc: "A loopback address and port, or `unix:/path`.",
};

static TOKEN: Key = Key {
    name: "token",
    kind: Kind::Either(&Kind::Text, &Kind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"admin-token\" }",
    doc: "Where set, `/metrics` and the API want it as `Authorization: Bearer TOKEN`. Over TCP the API answers nobody without it, since every user of the machine can connect.",
};

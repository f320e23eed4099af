//! `socket` of a route: a Unix socket for events from local apps.
//!
//! The kernel identifies the user of the app, so these requests need no secret.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;

use crate::config::load_context::LoadContext;
use crate::config::model::{LocalSocket, RouteMode};
use crate::config::scheme_origin::SchemeOrigin;

/// Reads the table; returns `None` if the route has no usable socket.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    mode: RouteMode,
    origin: Option<&SchemeOrigin>,
    context: &LoadContext,
) -> Option<LocalSocket> {
    let mut own = table.table(&SOCKET)?;
    let path = own.require(&PATH, value::path);
    if !own.has(&USERS) {
        own.missing(&USERS);
    }
    let users = own.list(&USERS, user);
    own.deny_unknown();
    let is_local = |origin: &SchemeOrigin| {
        let provider = origin.provider.as_ref();
        provider.is_some_and(|provider| provider.is_local())
    };
    if mode != RouteMode::Queue || origin.is_some_and(|origin| !is_local(origin)) {
        let fault = ValueFault::new(
            "`socket` requires a route for local apps that stores its events",
            "set `provider = \"local\"` and `mode = \"queue\"`",
        );
        table.error(own.span(), fault);
    }
    let users: Vec<u32> = users?.into_iter().map(|placed| placed.value).collect();
    if users.is_empty() {
        let fault = ValueFault::new(
            "`users` is empty, so no app may post on this socket",
            USERS.example,
        );
        table.error(own.span(), fault);
    }
    Some(LocalSocket {
        path: context.folder.join(path?.value),
        users,
    })
}

/// User id that the kernel reports for all users outside the user namespace (`overflowuid`).
const UNMAPPED_USER: u32 = 65534;

fn user(value: &TomlValue<'_>) -> Result<u32, ValueFault> {
    match number(value)? {
        UNMAPPED_USER => Err(ValueFault::new(
            format!(
                "the user id {UNMAPPED_USER} means any unmapped user and does not identify an app"
            ),
            "run the app under a user of its own",
        )),
        number => Ok(number),
    }
}

/// Reads a user id, or the name of a user in `/etc/passwd`.
fn number(value: &TomlValue<'_>) -> Result<u32, ValueFault> {
    let Some(name) = value.text() else {
        let number = value::number(value, 0.0, f64::from(u32::MAX))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within its bounds"
        )]
        return Ok(number as u32);
    };
    // Not `getpwnam`, which needs unsafe code. Users of a directory service are set by their id.
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = known.lines().map(|line| line.split(':'));
    let found = lines.find_map(|mut fields| {
        // The format is `name:password:uid:...`, so the id is the second field after the name.
        let is_it = fields.next() == Some(name);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        ValueFault::new(
            format!("this machine has no user `{name}`"),
            "use a name from `/etc/passwd`, or the user id without quotes",
        )
    })
}

/// The key that gives a route its Unix socket.
pub(super) static SOCKET: KeyDefinition = KeyDefinition {
    name: "socket",
    kind: ValueKind::Table(&SECTION),
    default: None,
    example: "{ path = \"/run/hookgate/orders.sock\", users = [\"shop\"] }",
    doc: "Unix socket on which local apps post events without a secret.",
};

/// Keys of the `[routes.NAME.socket]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.socket",
    doc: "For `provider = \"local\"`: apps on this machine post events to a Unix socket. They are identified by their user, as reported by the kernel, and need no secret. They need access to the folder of the socket. Any request path posts to this route.",
    keys: &[&PATH, &USERS],
    required: &["path", "users"],
    one_of: &[],
};

pub(super) static PATH: KeyDefinition = KeyDefinition {
    name: "path",
    kind: ValueKind::Path,
    default: None,
    example: "\"/run/hookgate/orders.sock\"",
    doc: "Path of the socket, which hookgate creates at start.",
};

pub(super) static USERS: KeyDefinition = KeyDefinition {
    name: "users",
    kind: ValueKind::List(&ValueKind::Either(&ValueKind::Text, &ValueKind::Count)),
    default: None,
    example: "[\"www-data\", 1000]",
    doc: "Users who may post events, by name or user id. Under systemd, set `PrivateUsers=no` so that the service can see them.",
};

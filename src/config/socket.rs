//! `socket` of a route: a Unix socket on which apps of this machine post events, known by their user instead of a secret.

use crate::config::Context;
use crate::config::model::{LocalSocket, Mode};
use crate::config::verification::Origin;
use crate::document::key::{Key, Kind, Section};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;

/// Reads the table; none where there is none.
pub(super) fn read(
    table: &mut Table<'_>,
    mode: Mode,
    origin: Option<&Origin>,
    context: &Context,
) -> Option<LocalSocket> {
    let mut own = table.table(&SOCKET)?;
    let path = own.require(&PATH, value::path);
    if !own.has(&USERS) {
        own.missing(&USERS);
    }
    let users = own.list(&USERS, user);
    own.deny_unknown();
    let is_local = |origin: &Origin| {
        let provider = origin.provider.as_ref();
        provider.is_some_and(|provider| provider.is_local())
    };
    if mode != Mode::Queue || origin.is_some_and(|origin| !is_local(origin)) {
        let fault = Fault::new(
            "a socket is for events of one's own apps, which are stored",
            "`provider = \"local\"` and `mode = \"queue\"`",
        );
        table.error(own.span(), fault);
    }
    let users: Vec<u32> = users?.into_iter().map(|placed| placed.value).collect();
    if users.is_empty() {
        let fault = Fault::new("nobody may post on this socket", USERS.example);
        table.error(own.span(), fault);
    }
    Some(LocalSocket {
        path: context.folder.join(path?.value),
        users,
    })
}

/// What the kernel says of every user whom a user namespace does not map.
const NOBODY: u32 = 65534;

fn user(value: &Value<'_>) -> Result<u32, Fault> {
    match number(value)? {
        NOBODY => Err(Fault::new(
            format!("under the number {NOBODY} stand all users whom the gate cannot tell apart"),
            "let the app run under a user of its own",
        )),
        number => Ok(number),
    }
}

/// A number, or a name of this machine's `/etc/passwd`.
fn number(value: &Value<'_>) -> Result<u32, Fault> {
    let Some(name) = value.text() else {
        let number = value::number(value, 0.0, f64::from(u32::MAX))?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "within its bounds"
        )]
        return Ok(number as u32);
    };
    let known = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut lines = known.lines().map(|line| line.split(':'));
    let found = lines.find_map(|mut fields| {
        let is_it = fields.next() == Some(name);
        is_it.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    found.ok_or_else(|| {
        Fault::new(
            format!("this machine has no user `{name}`"),
            "a name of `/etc/passwd`, or the user's number without quotes",
        )
    })
}

/// Where an app finds the socket of a route.
pub(super) static SOCKET: Key = Key {
    name: "socket",
    kind: Kind::Table(&SECTION),
    default: None,
    example: "{ path = \"/run/hookgate/orders.sock\", users = [\"shop\"] }",
    doc: "A Unix socket on which apps of this machine post events without a secret.",
};

/// `[routes.NAME.socket]`.
pub(super) static SECTION: Section = Section {
    path: "routes.NAME.socket",
    doc: "For `provider = \"local\"`: apps of this machine post to a Unix socket and are known by their user, which the kernel vouches for. The folder of the socket has to be one that they may enter. Any path posts to this route.",
    keys: &[&PATH, &USERS],
    required: &["path", "users"],
    one_of: &[],
};

static PATH: Key = Key {
    name: "path",
    kind: Kind::Path,
    default: None,
    example: "\"/run/hookgate/orders.sock\"",
    doc: "The socket, which is made at the start.",
};

static USERS: Key = Key {
    name: "users",
    kind: Kind::List(&Kind::Either(&Kind::Text, &Kind::Count)),
    default: None,
    example: "[\"www-data\", 1000]",
    doc: "Who may post: names, or numbers. Under systemd only users whom the service sees: `PrivateUsers=no`.",
};

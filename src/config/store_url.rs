//! URL of the store: `sqlite:PATH`, or `postgres://USER@HOST,HOST/DATABASE?PARAMETERS`.
//!
//! It is parsed here and not by the client library, which knows no verified TLS and would accept a password, which every
//! list of settings and every error would then show. No message repeats a part of a URL that may hold a password.

use std::path::PathBuf;

use hookgate_verify::document::suggest;
use hookgate_verify::document::table::ValueFault;

use crate::model::database::PostgresHost;

/// Port of a server whose URL names no other.
const DEFAULT_PORT: u16 = 5432;

/// Most servers that a URL may list. Each of them may cost the deadline of a connect.
const MAX_HOSTS: usize = 8;

/// Parameters that a URL may have.
const PARAMETERS: [&str; 4] = ["sslmode", "target_session_attrs", "host", "port"];

const POSTGRES_EXAMPLE: &str = "`postgres://hookgate@db1,db2/hookgate`";

/// The location that a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StoreUrl {
    /// Path of a database file.
    Sqlite(PathBuf),
    /// Database of a PostgreSQL server.
    Postgres(PostgresUrl),
}

/// Parts of a `postgres://` URL.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PostgresUrl {
    /// Servers in the order of the URL; at least one.
    pub(crate) hosts: Vec<PostgresHost>,
    pub(crate) database: String,
    pub(crate) user: String,
    /// True if `sslmode=disable` asks for connections without TLS.
    pub(crate) is_plain: bool,
}

impl PostgresUrl {
    /// Returns whether no connection leaves this machine.
    pub(crate) fn is_local(&self) -> bool {
        self.hosts.iter().all(PostgresHost::is_local)
    }

    /// Returns whether all servers are Unix sockets, over which there is no TLS.
    pub(crate) fn has_sockets_only(&self) -> bool {
        let mut hosts = self.hosts.iter();
        hosts.all(|host| matches!(host, PostgresHost::Unix(..)))
    }
}

/// Parses the URL of a store. A relative path of a file stays relative.
pub(crate) fn parse(text: &str) -> Result<StoreUrl, ValueFault> {
    let rest = text
        .strip_prefix("postgres://")
        .or_else(|| text.strip_prefix("postgresql://"));
    if let Some(rest) = rest {
        return parse_postgres(rest).map(StoreUrl::Postgres);
    }
    if text.starts_with("postgres:") || text.starts_with("postgresql:") {
        return Err(fault(
            "a PostgreSQL URL starts with `postgres://`",
            &format!("for example {POSTGRES_EXAMPLE}"),
        ));
    }
    // No file can have a NUL byte in its path, so it is an error here and not when the store is opened.
    match text.strip_prefix("sqlite:") {
        Some(path) if !path.is_empty() && !path.contains('\0') => {
            Ok(StoreUrl::Sqlite(PathBuf::from(path)))
        }
        // The text of an unknown URL is repeated only without an `@`, before which a password may be.
        _ => Err(ValueFault::new(
            match text.contains('@') {
                true => "this is not a valid store URL".to_owned(),
                false => format!("`{text}` is not a valid store URL"),
            },
            format!(
                "write `sqlite:` and a path, as in `\"sqlite:/var/lib/hookgate/hookgate.db\"`, or a PostgreSQL URL, as \
                in {POSTGRES_EXAMPLE}"
            ),
        )),
    }
}

fn parse_postgres(text: &str) -> Result<PostgresUrl, ValueFault> {
    let (address, query) = match text.split_once('?') {
        Some((address, query)) => (address, query),
        None => (text, ""),
    };
    // The last `@`: an unescaped one in a password must not make a part of the password a host that messages show.
    let (user, rest) = match address.rsplit_once('@') {
        Some((user, rest)) => (user, rest),
        None => ("", address),
    };
    // Before the escapes are decoded: an escaped colon is part of the name of the user.
    if user.contains(':') {
        return Err(fault(
            "the URL has a password, which settings and errors would show",
            "remove `:` and the password, and add `password = { credential = \"store-password\" }`",
        ));
    }
    let user = decode(user, "user")?;
    if user.is_empty() {
        return Err(fault(
            "the URL names no user",
            &format!("write the role that owns the tables before an `@`, as in {POSTGRES_EXAMPLE}"),
        ));
    }
    let (hosts, database) = match rest.split_once('/') {
        Some((hosts, database)) => (hosts, decode(database, "database")?),
        None => (rest, String::new()),
    };
    if database.is_empty() {
        return Err(fault(
            "the URL names no database",
            &format!("write it behind the hosts and a `/`, as in {POSTGRES_EXAMPLE}"),
        ));
    }
    let parameters = parse_parameters(query)?;
    let hosts = match (hosts, parameters.socket) {
        ("", Some(socket)) => vec![PostgresHost::Unix(socket, parameters.port)],
        ("", None) => {
            return Err(fault(
                "the URL names no server",
                &format!(
                    "write its host, as in {POSTGRES_EXAMPLE}, or the folder of its Unix socket, as in \
                    `postgres://hookgate@/hookgate?host=/run/postgresql`"
                ),
            ));
        }
        (_, Some(_)) => {
            return Err(fault(
                "the URL names servers twice: before the database and by `host`",
                "keep one of them; a list may hold sockets as `%2Frun%2Fpostgresql`",
            ));
        }
        (hosts, None) => parse_hosts(hosts, parameters.port)?,
    };
    Ok(PostgresUrl {
        hosts,
        database,
        user,
        is_plain: parameters.is_plain,
    })
}

/// Parameters behind the `?`.
struct UrlParameters {
    is_plain: bool,
    socket: Option<PathBuf>,
    port: u16,
}

fn parse_parameters(query: &str) -> Result<UrlParameters, ValueFault> {
    let mut parameters = UrlParameters {
        is_plain: false,
        socket: None,
        port: DEFAULT_PORT,
    };
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decode(value, name)?;
        match name {
            "sslmode" => parameters.is_plain = is_plain(&value)?,
            // Only a primary can store events, so there is nothing else to choose.
            "target_session_attrs" if value == "read-write" || value == "primary" => {}
            "target_session_attrs" => {
                return Err(fault(
                    "`target_session_attrs` of a store can only be `read-write`",
                    "write `target_session_attrs=read-write` or remove it: it is the default",
                ));
            }
            "host" if value.starts_with('/') => parameters.socket = Some(value.into()),
            "host" => {
                return Err(fault(
                    "`host` is for the folder of a Unix socket, which starts with `/`",
                    &format!(
                        "write names of servers before the database, as in {POSTGRES_EXAMPLE}"
                    ),
                ));
            }
            "port" => parameters.port = parse_port(&value)?,
            name => return Err(unknown_parameter(name)),
        }
    }
    Ok(parameters)
}

fn unknown_parameter(name: &str) -> ValueFault {
    let known = format!("the parameters here are `{}`", PARAMETERS.join("`, `"));
    match name {
        "application_name" => fault(
            "`application_name` is set by hookgate: `hookgate/`, the node and the duty of the connection",
            "remove it; the key `node` names this node",
        ),
        // The value is not repeated, and neither is the rest of the URL.
        "password" | "passfile" => fault(
            &format!("the URL cannot have `{name}`: settings and errors show the URL"),
            "add `password = { credential = \"store-password\" }` instead",
        ),
        "sslrootcert" => fault(
            "the URL cannot have `sslrootcert`",
            "add `ca = \"/etc/hookgate/db-ca.pem\"` instead",
        ),
        "sslcert" | "sslkey" => fault(
            &format!("the URL cannot have `{name}`"),
            "add `cert` and `key` to `[store]` instead",
        ),
        "options" | "search_path" | "currentSchema" => fault(
            &format!("the URL cannot have `{name}`"),
            "add `schema = \"hookgate\"` to `[store]` instead, if the tables are in another schema",
        ),
        name => match suggest::nearest(name, PARAMETERS) {
            Some(near) => fault(
                &format!("unknown parameter `{name}` in the URL"),
                &format!("did you mean `{near}`? {known}"),
            ),
            None => fault(&format!("unknown parameter `{name}` in the URL"), &known),
        },
    }
}

fn is_plain(mode: &str) -> Result<bool, ValueFault> {
    match mode {
        "verify-full" => Ok(false),
        "disable" => Ok(true),
        "require" | "prefer" | "allow" | "verify-ca" => Err(fault(
            &format!(
                "`sslmode={mode}` does not prove which server answers, so hookgate does not offer it"
            ),
            "write `sslmode=verify-full`, which is the default, and `ca` if the server's certificate is from an \
            authority of your own",
        )),
        mode => Err(fault(
            &format!("`{mode}` is not a value of `sslmode`"),
            "the values are `verify-full`, which is the default, and `disable`",
        )),
    }
}

fn parse_hosts(list: &str, port: u16) -> Result<Vec<PostgresHost>, ValueFault> {
    let hosts: Vec<_> = list
        .split(',')
        .map(|host| parse_host(host, port))
        .collect::<Result<_, _>>()?;
    match hosts.len() {
        0..=MAX_HOSTS => Ok(hosts),
        count => Err(fault(
            &format!("the URL names {count} servers"),
            &format!("name at most {MAX_HOSTS}: each is tried for up to 5 seconds"),
        )),
    }
}

fn parse_host(text: &str, default_port: u16) -> Result<PostgresHost, ValueFault> {
    // The colons of an IPv6 address are not those before a port, so it is in brackets.
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, ""))) => (address, None),
        Some(Some((address, rest))) => (address, rest.strip_prefix(':').or(Some(rest))),
        Some(None) => return Err(wrong_host(text)),
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = port.map_or(Ok(default_port), parse_port)?;
    let host = decode(host, "host")?;
    if host.starts_with('/') {
        return Ok(PostgresHost::Unix(host.into(), port));
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let is_bracketed = text.starts_with('[');
    let is_valid = match is_bracketed {
        true => host.parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.bytes().all(is_name),
    };
    match is_valid {
        true => Ok(PostgresHost::Tcp(host, port)),
        false => Err(wrong_host(text)),
    }
}

fn wrong_host(text: &str) -> ValueFault {
    let message = match text {
        "" => "a host of the URL is empty".to_owned(),
        text => format!("`{text}` is not a valid host"),
    };
    fault(
        &message,
        "write a name or an address, with `:` and a port if it is not 5432: `db1`, `10.0.0.5:5433`, `[2001:db8::5]`, \
        or `%2Frun%2Fpostgresql` for the folder of a Unix socket",
    )
}

fn parse_port(text: &str) -> Result<u16, ValueFault> {
    match text.parse() {
        Ok(0) | Err(_) => Err(fault(
            &format!("`{text}` is not a port"),
            "write a number from 1 to 65535; PostgreSQL uses 5432 by default",
        )),
        Ok(port) => Ok(port),
    }
}

/// Decodes `%` escapes. `part` names the part of the URL in the error.
fn decode(text: &str, part: &str) -> Result<String, ValueFault> {
    let wrong = || {
        fault(
            &format!("the {part} in the URL has a wrong `%` escape"),
            "write `%` and two hexadecimal digits, or `%25` for the character `%`",
        )
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let pair = digit().zip(digit()).ok_or_else(wrong)?;
        // Two hexadecimal digits always fit.
        bytes.push(u8::try_from(pair.0 * 16 + pair.1).unwrap_or_default());
    }
    // A NUL byte would end the text in the protocol.
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => Ok(text),
        _ => Err(wrong()),
    }
}

fn fault(message: &str, help: &str) -> ValueFault {
    ValueFault::new(message, help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(text: &str) -> PostgresUrl {
        match parse(text) {
            Ok(StoreUrl::Postgres(url)) => url,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn tcp(name: &str, port: u16) -> PostgresHost {
        PostgresHost::Tcp(name.to_owned(), port)
    }

    fn unix(folder: &str, port: u16) -> PostgresHost {
        PostgresHost::Unix(folder.into(), port)
    }

    /// Fails when a host loses its port, or an escape stays as it is.
    #[test]
    fn all_forms_of_hosts_are_read() {
        for (text, hosts) in [
            ("postgres://u@db1/d", vec![tcp("db1", 5432)]),
            (
                "postgresql://u@db1,db2:6000,[2001:db8::5]:7000,[::1]/d?target_session_attrs=read-write",
                vec![
                    tcp("db1", 5432),
                    tcp("db2", 6000),
                    tcp("2001:db8::5", 7000),
                    tcp("::1", 5432),
                ],
            ),
            (
                "postgres://u@/d?host=/run/pg&port=5433",
                vec![unix("/run/pg", 5433)],
            ),
            (
                "postgres://u@%2Frun%2Fpg,%2Ftmp:1/d",
                vec![unix("/run/pg", 5432), unix("/tmp", 1)],
            ),
        ] {
            assert_eq!(postgres(text).hosts, hosts, "{text}");
        }
        let url = postgres("postgres://hook%40gate@10.0.0.5/my%20db?sslmode=disable");
        assert_eq!((&*url.user, &*url.database), ("hook@gate", "my db"));
        assert!(url.is_plain && !url.is_local());
        assert!(postgres("postgres://u@localhost,127.0.0.9,[::1]/d").is_local());
        assert!(postgres("postgres://u@/d?host=/run/pg").has_sockets_only());
    }

    /// Fails when a message repeats a password, or a wrong URL is accepted.
    #[test]
    fn wrong_urls_are_rejected_without_their_password() {
        for text in [
            "postgres://u:hunter2@db/d",
            "postgres://u:hunter2@x@db/d",
            "postgres://u:hunter2/3@db/d",
            "postgres://u@db/d?password=hunter2",
            "mysql://u:hunter2@db/d",
            "postgres:hunter2@x",
        ] {
            let fault = parse(text).unwrap_err();
            let shown = format!("{} {:?}", fault.message, fault.help);
            assert!(!shown.contains("hunter2"), "{text}: {shown}");
        }
        for text in [
            "postgres://",
            "postgres://db/d",
            "postgres://u@/d",
            "postgres://u@db",
            "postgres://u@db/",
            "postgres://u@db,/d",
            "postgres://u@db:0/d",
            "postgres://u@db:x/d",
            "postgres://u@[::1/d",
            "postgres://u@[db]/d",
            "postgres://u@[::1]x/d",
            "postgres://u@::1/d",
            "postgres://u@a b/d",
            "postgres://u@db/d%0",
            "postgres://u@db/d%00",
            "postgres://u@db/d%zz",
            "postgres://u@db/d?sslmode=require",
            "postgres://u@db/d?host=/run",
            "postgres://u@/d?host=db",
            "postgres://u@db/d?target_session_attrs=any",
            "postgres://u@db/d?application_name=x",
            "postgres://u@db/d?connect_timeout=5",
            "postgres://u@a,b,c,d,e,f,g,h,i/d",
            "sqlite:",
            "",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}

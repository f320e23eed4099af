//! The address of an admin listener, as written on the command line.
//!
//! It never accepts plain HTTP to another machine: the admin token would cross the network in clear text.

use std::path::PathBuf;

use hookgate_verify::net::host;
use http::uri::Authority;

use crate::cli::failure::CommandFailure;

/// Address of an admin listener: a Unix socket, loopback TCP, or TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum AdminAddress {
    Unix(PathBuf),
    Tcp(Authority),
    /// Host and port, and the name that its certificate must carry.
    Tls(Authority, String),
}

impl AdminAddress {
    /// Parses `unix:/path`, `https://gate.example.com:9180`, `http://127.0.0.1:9180` or `127.0.0.1:9180`.
    pub(super) fn parse(text: &str) -> Result<Self, CommandFailure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let (is_tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let wrong = || {
            CommandFailure::usage(format!("`{text}` is not an address of an admin listener"))
                .help("use `unix:/run/hookgate/admin.sock`, `http://127.0.0.1:9180` or `https://gate.example.com:9180`")
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority = authority.parse().map_err(|_| wrong())?;
        // A default port would be a guess, since the admin listener has no port of its own. A name before `@` looks
        // like credentials, which this client never sends.
        if authority.port_u16().is_none() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = host::bare(authority.host()).to_owned();
        if is_tls {
            return Ok(Self::Tls(authority, host));
        }
        // `localhost` counts by its name: resolving it here would say nothing about the connection that is opened
        // later.
        let is_loopback = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        };
        if !is_loopback {
            return Err(CommandFailure::usage(format!(
                "`{text}` is another machine, and plain HTTP would send the token there in clear text"
            ))
            .help(format!(
                "use `https://` if its `[admin.tls]` has a certificate; or open a tunnel with `ssh -L \
                9180:127.0.0.1:9180 {host}`, then use `--admin http://127.0.0.1:9180`"
            )));
        }
        Ok(Self::Tcp(authority))
    }
}

impl std::fmt::Display for AdminAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Tls(authority, _) => write!(f, "https://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_on_this_machine() {
        for (text, expected) in [
            (
                "unix:/run/hookgate/admin.sock",
                "unix:/run/hookgate/admin.sock",
            ),
            ("http://127.0.0.1:9180", "http://127.0.0.1:9180"),
            ("http://localhost:9180/", "http://localhost:9180"),
            ("[::1]:9180", "http://[::1]:9180"),
            (
                "https://gate.example.com:9180/",
                "https://gate.example.com:9180",
            ),
            ("https://[2001:db8::1]:9180", "https://[2001:db8::1]:9180"),
        ] {
            assert_eq!(AdminAddress::parse(text).unwrap().to_string(), expected);
        }
        for (text, part) in [
            ("unix:", "not an address of an admin listener"),
            ("http://127.0.0.1", "not an address of an admin listener"),
            ("https://127.0.0.1", "not an address of an admin listener"),
            (
                "http://a@127.0.0.1:1",
                "not an address of an admin listener",
            ),
            (
                "http://10.0.0.1:9180",
                "ssh -L 9180:127.0.0.1:9180 10.0.0.1",
            ),
            ("http://gate.example:9180", "is another machine"),
        ] {
            let failure = AdminAddress::parse(text).unwrap_err().plain();
            assert!(failure.contains(part), "{text}: {failure}");
        }
    }
}

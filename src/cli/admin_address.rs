//! Where an admin listener is, as it is written on the command line.

use std::path::PathBuf;

use http::uri::Authority;

use crate::cli::failure::Failure;
use crate::net::host;

/// Where the admin listener is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp(Authority),
    /// Where it is, and the name that its certificate has to be for.
    Tls(Authority, String),
}

impl Address {
    /// Reads `unix:/path`, `https://gate.example.com:9180`, `http://127.0.0.1:9180` or `127.0.0.1:9180`.
    pub(super) fn parse(text: &str) -> Result<Self, Failure> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let (is_tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("http://").unwrap_or(text)),
        };
        let wrong = || {
            Failure::usage(format!("`{text}` is not where an admin listener can be"))
                .help("for example `unix:/run/hookgate/admin.sock`, `http://127.0.0.1:9180` or `https://gate.example.com:9180`")
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let authority: Authority = authority.parse().map_err(|_| wrong())?;
        if authority.port_u16().is_none() || authority.as_str().contains('@') {
            return Err(wrong());
        }
        let host = host::bare(authority.host()).to_owned();
        if is_tls {
            return Ok(Self::Tls(authority, host));
        }
        let is_loopback = match host.parse::<std::net::IpAddr>() {
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => host.eq_ignore_ascii_case("localhost"),
        };
        if !is_loopback {
            return Err(Failure::usage(format!(
                "`{text}` is another machine, and the token would go there in clear"
            ))
            .help(format!(
                "`https://`, where its `[admin.tls]` has a certificate; or through a tunnel: `ssh -L 9180:127.0.0.1:9180 {host}`, then `--admin http://127.0.0.1:9180`"
            )));
        }
        Ok(Self::Tcp(authority))
    }
}

impl std::fmt::Display for Address {
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
            assert_eq!(Address::parse(text).unwrap().to_string(), expected);
        }
        for (text, part) in [
            ("unix:", "not where an admin listener can be"),
            ("http://127.0.0.1", "not where an admin listener can be"),
            ("https://127.0.0.1", "not where an admin listener can be"),
            ("http://a@127.0.0.1:1", "not where an admin listener can be"),
            (
                "http://10.0.0.1:9180",
                "ssh -L 9180:127.0.0.1:9180 10.0.0.1",
            ),
            ("http://gate.example:9180", "is another machine"),
        ] {
            let failure = Address::parse(text).unwrap_err().plain();
            assert!(failure.contains(part), "{text}: {failure}");
        }
    }
}

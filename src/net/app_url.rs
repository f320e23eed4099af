//! URLs of apps: `http://`, `https://`, or a Unix socket of this machine.
//!
//! A socket is written `unix:/run/app.sock`, with an optional path behind a colon: `unix:/run/app.sock:/webhooks`.
//! `unix:@name` is a socket in Linux's abstract namespace, which has no file.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use hookgate_verify::net::redact;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

/// Scheme of a Unix socket.
pub(crate) const UNIX: &str = "unix:";

/// Maximum length of a socket's path in bytes: the kernel's `sun_path` has 108 with the final zero.
const MAX_SOCKET: usize = 107;

/// The address of an app, with the path and query to request.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AppUrl {
    origin: AppOrigin,
    target: PathAndQuery,
}

/// The part of an app's address that decides to which socket the gate connects.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AppOrigin {
    /// A host that is reached by TCP.
    Host {
        /// True for `https`, false for `http`.
        is_tls: bool,
        /// Host and port, as in the config.
        authority: Authority,
    },
    /// A Unix socket of this machine.
    Socket(SocketName),
}

/// The name of a Unix socket: an absolute path, or `@` and an abstract name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SocketName(Box<str>);

/// The reason why a text names no Unix socket. The messages complete "the URL".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SocketUrlFault {
    /// The path of the socket does not begin with `/` or `@`, or begins with `//`.
    #[error("names no absolute path of a socket")]
    NotAbsolute,
    /// The path of the socket is too long for the kernel.
    #[error("names a socket with more than 107 bytes, the kernel's limit")]
    TooLong,
    /// The socket's path has a character that would make the URL ambiguous.
    #[error("has a character that the path of a socket cannot contain here")]
    Character,
    /// The part behind the socket is not a path.
    #[error("has no valid path behind the socket")]
    Path,
}

impl AppUrl {
    /// Parses the text behind `unix:`: the socket, and optionally a colon with path and query.
    ///
    /// # Errors
    /// See [`SocketUrlFault`].
    pub fn parse_socket(rest: &str) -> Result<Self, SocketUrlFault> {
        // A relative path would depend on the folder in which the gate was started. `//` may be meant as a host, as in
        // `unix://host`.
        let is_absolute =
            rest.starts_with('@') || (rest.starts_with('/') && !rest.starts_with("//"));
        if !is_absolute {
            return Err(SocketUrlFault::NotAbsolute);
        }
        // The first colon ends the socket, so that neither of the parts has to be escaped.
        let (socket, target) = rest.split_once(':').unwrap_or((rest, "/"));
        if socket.len() > MAX_SOCKET {
            return Err(SocketUrlFault::TooLong);
        }
        let is_odd = |char: char| char.is_control() || "?#".contains(char);
        // A lone `/` or `@` names no socket, and `?` or `#` would make the rest look like a query or a fragment.
        if socket.len() < 2 || socket.contains(is_odd) {
            return Err(SocketUrlFault::Character);
        }
        // A fragment is never sent to a server (RFC 9110, section 4.2.5), so one in the config is a mistake.
        let target = Some(target).filter(|target| target.starts_with('/') && !target.contains('#'));
        let target = target.and_then(|target| target.parse().ok());
        Ok(Self {
            origin: AppOrigin::Socket(SocketName(socket.into())),
            target: target.ok_or(SocketUrlFault::Path)?,
        })
    }

    /// Converts an absolute `http` or `https` URL. Returns `None` for any other.
    pub fn of_uri(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let is_tls = *scheme == Scheme::HTTPS;
        // A URL of another scheme must not become plain HTTP by accident.
        if !is_tls && *scheme != Scheme::HTTP {
            return None;
        }
        let root = || PathAndQuery::from_static("/");
        Some(Self {
            origin: AppOrigin::Host {
                is_tls,
                authority: uri.authority()?.clone(),
            },
            target: uri.path_and_query().cloned().unwrap_or_else(root),
        })
    }

    /// Returns the part that decides where the gate connects.
    pub fn origin(&self) -> &AppOrigin {
        &self.origin
    }

    /// Returns the path without the query.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// Returns path and query.
    pub fn target(&self) -> &PathAndQuery {
        &self.target
    }

    /// Returns the query, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.target.query()
    }

    /// Returns the host without the port; `None` for a socket.
    pub fn host(&self) -> Option<&str> {
        match &self.origin {
            AppOrigin::Host { authority, .. } => Some(authority.host()),
            AppOrigin::Socket(_) => None,
        }
    }

    /// Returns the socket; `None` for a host.
    pub fn socket(&self) -> Option<&SocketName> {
        match &self.origin {
            AppOrigin::Host { .. } => None,
            AppOrigin::Socket(name) => Some(name),
        }
    }

    /// Formats the URL, and masks values of its query that may be secrets.
    pub(crate) fn redacted(&self) -> String {
        redact::target(&self.to_string())
    }

    /// Returns true for `https`.
    pub fn is_tls(&self) -> bool {
        matches!(self.origin, AppOrigin::Host { is_tls: true, .. })
    }
}

impl AppOrigin {
    /// Returns the value of `Host`. A socket has no name, and HTTP/1.1 requires one, so it is `localhost`, as nginx and
    /// curl send it.
    pub fn host_header(&self) -> &str {
        match self {
            Self::Host { authority, .. } => authority.as_str(),
            Self::Socket(_) => "localhost",
        }
    }
}

impl SocketName {
    /// Returns the file of the socket; `None` for an abstract name.
    pub fn file(&self) -> Option<&Path> {
        (!self.0.starts_with('@')).then(|| Path::new(&*self.0))
    }

    /// Returns the address for the kernel, where an abstract name begins with a zero.
    pub(crate) fn address(&self) -> PathBuf {
        match self.0.strip_prefix('@') {
            None => PathBuf::from(&*self.0),
            Some(name) => {
                let bytes = [b"\0", name.as_bytes()].concat();
                PathBuf::from(OsString::from_vec(bytes))
            }
        }
    }
}

impl fmt::Display for SocketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AppUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            AppOrigin::Host { is_tls, authority } => {
                let scheme = if *is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{authority}{}", self.target)
            }
            // The default path is left out, so that the URL reads as operators write it.
            AppOrigin::Socket(name) if self.target == "/" => write!(f, "{UNIX}{name}"),
            AppOrigin::Socket(name) => write!(f, "{UNIX}{name}:{}", self.target),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AppUrl, SocketUrlFault> {
        AppUrl::parse_socket(text.strip_prefix(UNIX).unwrap())
    }

    // Fails when a part of the URL ends up in another part, or when the shown text is not the one that was written.
    #[test]
    fn a_socket_has_a_path_and_a_target() {
        for (text, socket, target) in [
            ("unix:/run/app.sock", "/run/app.sock", "/"),
            ("unix:/run/app.sock:/in?a=b:c", "/run/app.sock", "/in?a=b:c"),
            ("unix:/run/a b.sock:/", "/run/a b.sock", "/"),
            ("unix:@app", "@app", "/"),
            ("unix:@app:/in", "@app", "/in"),
        ] {
            let url = parse(text).unwrap();
            assert_eq!(url.socket().unwrap().to_string(), socket);
            assert_eq!(url.target().as_str(), target);
            assert_eq!(url.origin().host_header(), "localhost");
            assert_eq!(url.to_string(), text.strip_suffix(":/").unwrap_or(text));
        }
        assert_eq!(parse("unix:@app").unwrap().socket().unwrap().file(), None);
        let address = parse("unix:@app").unwrap().socket().unwrap().address();
        assert_eq!(address.as_os_str(), "\0app");
    }

    #[test]
    fn other_texts_are_no_sockets() {
        let long = format!("unix:/{}", "a".repeat(MAX_SOCKET));
        for (text, fault) in [
            ("unix:", SocketUrlFault::NotAbsolute),
            ("unix:run/app.sock", SocketUrlFault::NotAbsolute),
            ("unix:///run/app.sock", SocketUrlFault::NotAbsolute),
            ("unix:/", SocketUrlFault::Character),
            ("unix:@", SocketUrlFault::Character),
            ("unix:/run/app.sock?a=b", SocketUrlFault::Character),
            ("unix:/run/app\n.sock", SocketUrlFault::Character),
            ("unix:/run/app.sock:", SocketUrlFault::Path),
            ("unix:/run/app.sock:in", SocketUrlFault::Path),
            ("unix:/run/app.sock:/in#a", SocketUrlFault::Path),
            (long.as_str(), SocketUrlFault::TooLong),
        ] {
            assert_eq!(parse(text), Err(fault), "{text}");
        }
    }

    #[test]
    fn urls_keep_their_parts() {
        let url = AppUrl::of_uri(&"https://app.test:8443/in?a=b".parse().unwrap()).unwrap();
        assert!(url.is_tls());
        assert_eq!((url.host(), url.path()), (Some("app.test"), "/in"));
        assert_eq!(url.origin().host_header(), "app.test:8443");
        assert_eq!(url.to_string(), "https://app.test:8443/in?a=b");
        assert_eq!(AppUrl::of_uri(&"ftp://app.test/".parse().unwrap()), None);
    }
}

//! URLs that the gate itself may fetch.
//!
//! They are always `https`. A URL from an untrusted client must also be on a host that the provider or the operator
//! named. `fetch` takes no other type, so an unchecked URL cannot be fetched.

use std::fmt;

use url::Url;

/// Maximum length of a URL, in bytes.
const MAX_LENGTH: usize = 2048;

/// An `https` URL without user, password and fragment, in its normal form.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RemoteUrl {
    whole: Box<str>,
    host: Box<str>,
    port: u16,
    /// Offset at which path and query begin.
    path: usize,
}

/// A host that URLs may name. A leading `*` matches exactly one label, and a port is written where it is not 443.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostPattern {
    host: Box<str>,
    is_wildcard: bool,
    port: u16,
}

/// The reason why a URL is rejected. The messages complete "the URL".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UrlFault {
    /// Not a URL, or longer than the maximum.
    #[error("is malformed")]
    Unreadable,
    /// The scheme is `http` or another one.
    #[error("does not begin with `https://`")]
    NotHttps,
    /// The URL has a user or a password.
    #[error("has a user or password")]
    Userinfo,
    /// The URL has a fragment, which is never sent.
    #[error("has a fragment")]
    Fragment,
    /// The text differs from the URL it means: it has `\`, `..`, capitals in the host or a default port.
    #[error("is not in its normal form")]
    NotNormal,
}

impl RemoteUrl {
    /// Parses a URL from the operator or from a provider file.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse(text: &str) -> Result<Self, UrlFault> {
        if text.len() > MAX_LENGTH {
            return Err(UrlFault::Unreadable);
        }
        let url = Url::parse(text).map_err(|_| UrlFault::Unreadable)?;
        if url.scheme() != "https" {
            return Err(UrlFault::NotHttps);
        }
        // An empty user leaves no trace in the parsed URL, so the `@` has to be found in the text.
        let authority = text.split(['/', '\\', '?', '#']).nth(2).unwrap_or_default();
        if !url.username().is_empty() || url.password().is_some() || authority.contains('@') {
            return Err(UrlFault::Userinfo);
        }
        if url.fragment().is_some() {
            return Err(UrlFault::Fragment);
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(UrlFault::Unreadable);
        };
        // An offset instead of a second copy of the text.
        let path = url[..url::Position::BeforePath].len();
        Ok(Self {
            host: host.to_string().into(),
            port,
            path,
            whole: String::from(url).into(),
        })
    }

    /// Parses a URL from an untrusted client. It must be in its normal form, so that no other software reads it
    /// differently.
    ///
    /// # Errors
    /// See [`UrlFault`].
    pub fn parse_strange(text: &str) -> Result<Self, UrlFault> {
        let url = Self::parse(text)?;
        // Parsers differ in how they repair a URL. Equal text means that there was nothing to repair.
        if *url.whole != *text {
            return Err(UrlFault::NotNormal);
        }
        Ok(url)
    }

    /// Returns the whole URL in its normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// Returns the host in lowercase; an IPv6 address is in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port, or 443 where the URL has no port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        let path = self.path_query();
        path.split_once('?').map_or(path, |(path, _)| path)
    }

    /// Returns path and query, for the request line.
    #[must_use]
    pub fn path_query(&self) -> &str {
        self.whole.get(self.path..).unwrap_or("/")
    }

    /// Returns true where one of the patterns matches the host and port of the URL.
    #[must_use]
    pub fn is_on(&self, hosts: &[HostPattern]) -> bool {
        hosts.iter().any(|pattern| pattern.fits(self))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.whole)
    }
}

impl HostPattern {
    /// Parses `api.example.com`, `*.example.com` or either with a port. Returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, is_wildcard) = match text.strip_prefix("*.") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        // The text must be the host's normal form, or it would never equal the host of a parsed URL.
        let url = RemoteUrl::parse(&format!("https://{rest}/")).ok()?;
        let written = match url.port {
            443 => url.host.to_string(),
            port => format!("{}:{port}", url.host),
        };
        // A wildcard below a top-level domain or an address would match hosts of other owners.
        let is_name = url.host.contains('.') && url.host.parse::<std::net::Ipv4Addr>().is_err();
        if written != rest || rest.contains('*') || (is_wildcard && !is_name) {
            return None;
        }
        Some(Self {
            host: url.host,
            is_wildcard,
            port: url.port,
        })
    }

    fn fits(&self, url: &RemoteUrl) -> bool {
        if url.port != self.port {
            return false;
        }
        if !self.is_wildcard {
            return url.host == self.host;
        }
        // The dot before the suffix keeps `evilexample.com` from matching `*.example.com`.
        let label = url.host.strip_suffix(&*self.host);
        let label = label.and_then(|label| label.strip_suffix('.'));
        label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_wildcard {
            f.write_str("*.")?;
        }
        f.write_str(&self.host)?;
        match self.port {
            443 => Ok(()),
            port => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_https_urls_are_taken() {
        let cases = [
            ("http://example.com/keys", UrlFault::NotHttps),
            ("file:///etc/passwd", UrlFault::NotHttps),
            ("//example.com/keys", UrlFault::Unreadable),
            ("https://", UrlFault::Unreadable),
            ("https://user@example.com/", UrlFault::Userinfo),
            ("https://:secret@example.com/", UrlFault::Userinfo),
            ("https://@example.com/", UrlFault::Userinfo),
            ("https://example.com/#part", UrlFault::Fragment),
        ];
        for (text, fault) in cases {
            assert_eq!(RemoteUrl::parse(text), Err(fault), "{text}");
        }
        let url = RemoteUrl::parse("https://Example.com:8443/a/keys?x=1").unwrap();
        assert_eq!((url.host(), url.port()), ("example.com", 8443));
        assert_eq!((url.path(), url.path_query()), ("/a/keys", "/a/keys?x=1"));
        assert!(RemoteUrl::parse(&format!("https://example.com/{}", "a".repeat(2048))).is_err());
    }

    // Mutation: remove the comparison in `parse_strange`.
    #[test]
    fn a_url_of_an_untrusted_client_must_be_in_its_normal_form() {
        for text in [
            "https://example.com\\@evil.example/x.pem",
            "https:\\\\example.com/x.pem",
            "https:example.com/x.pem",
            "https://example.com/a/../x.pem",
            "https://example.com/%2e%2e/x.pem",
            "https://EXAMPLE.com/x.pem",
            "https://example.com:443/x.pem",
            " https://example.com/x.pem",
            "https://example.com/x.\npem",
            "https://ex\u{e4}mple.com/x.pem",
        ] {
            assert!(RemoteUrl::parse_strange(text).is_err(), "{text:?}");
        }
        assert!(RemoteUrl::parse_strange("https://example.com/a/x.pem").is_ok());
    }

    // Mutation: `ends_with` instead of the test of the label in `fits`.
    #[test]
    fn a_pattern_names_one_host_or_one_label_before_it() {
        let hosts: Vec<_> = ["api.example.com", "*.keys.example.com", "localhost:8443"]
            .into_iter()
            .map(|text| HostPattern::parse(text).unwrap())
            .collect();
        let is_on = |text: &str| RemoteUrl::parse(text).unwrap().is_on(&hosts);
        for good in [
            "https://api.example.com/",
            "https://a.keys.example.com/x",
            "https://localhost:8443/",
        ] {
            assert!(is_on(good), "{good}");
        }
        for bad in [
            "https://example.com/",
            "https://api.example.com.evil.example/",
            "https://evilapi.example.com/",
            "https://api.example.com:444/",
            "https://keys.example.com/",
            "https://a.b.keys.example.com/",
            "https://evilkeys.example.com/",
            "https://api.example.com./",
            "https://localhost/",
        ] {
            assert!(!is_on(bad), "{bad}");
        }
    }

    #[test]
    fn a_pattern_is_a_host_and_nothing_else() {
        for bad in [
            "",
            "*",
            "*.",
            "*.com",
            "a.*.com",
            "https://a.com",
            "a.com/x",
            "A.com",
            "a.com:443",
            "u@a.com",
            "*.1.2.3.4",
        ] {
            assert_eq!(HostPattern::parse(bad), None, "{bad}");
        }
        for good in ["a.com", "*.a.com", "localhost:8443", "127.0.0.1:8443"] {
            assert_eq!(HostPattern::parse(good).unwrap().to_string(), good);
        }
    }
}

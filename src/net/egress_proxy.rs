//! The proxy through which a network lets requests out (HTTP `CONNECT`).
//!
//! Only destinations on the internet and fetches from providers use it. Environment variables never select a proxy.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::BASE64;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::host;
use http::uri::Authority;
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The machine that resolves names of external destinations behind a proxy.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProxyResolve {
    /// The gate resolves the name, checks each address, and asks the proxy for one of these addresses.
    Local,
    /// The proxy gets the name. Its own rules decide which addresses it connects to.
    Proxy,
}

impl ProxyResolve {
    /// All values with their words in a config.
    pub const ALL: [(&'static str, Self); 2] = [("local", Self::Local), ("proxy", Self::Proxy)];
}

/// A proxy with its credentials, and the hosts that are reached without it.
#[derive(Clone)]
pub struct EgressProxy {
    /// Host and port of the proxy.
    pub authority: Authority,
    /// Machine that resolves names of external destinations.
    pub resolve: ProxyResolve,
    /// Hosts that are reached directly.
    pub exceptions: Vec<ProxyException>,
    /// User of the proxy, for display.
    pub user: Option<String>,
    /// Value of `Proxy-Authorization`.
    authorization: Option<Arc<Secret>>,
    /// Digest of the credentials, by which two proxies are compared.
    digest: [u8; 32],
}

/// A host, or some hosts, that are reached without the proxy.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ProxyException {
    /// Hosts that are written as an address of this range.
    Range(IpNet),
    /// The host with this name.
    Name(Box<str>),
    /// All hosts below this name, at any depth (`*.example.com`).
    Below(Box<str>),
}

impl EgressProxy {
    /// Creates a proxy without exceptions. `credentials` are user and password.
    pub fn new(
        authority: Authority,
        credentials: Option<(&str, &Secret)>,
        resolve: ProxyResolve,
    ) -> Self {
        let authorization = credentials.map(|(user, password)| {
            // Wiped after encoding, since it holds the password in clear text.
            let both = Zeroizing::new([user.as_bytes(), b":", password.expose()].concat());
            Secret::new([b"Basic ", BASE64.encode(&both).as_bytes()].concat())
        });
        // A digest, so that comparing and hashing proxies never reads the credentials.
        let digest = match &authorization {
            None => [0; 32],
            Some(value) => Sha256::digest(value.expose()).into(),
        };
        Self {
            authority,
            resolve,
            exceptions: Vec::new(),
            user: credentials.map(|(user, _)| user.to_owned()),
            authorization: authorization.map(Arc::new),
            digest,
        }
    }

    /// Returns true where a host is reached without the proxy. `host` is a name or an address, as in a URL.
    pub fn spares(&self, host: &str) -> bool {
        // `Example.COM.` and `example.com` are the same host, and a URL may have either.
        let host = host::without_root(host::bare(host)).to_ascii_lowercase();
        let address = host.parse::<IpAddr>().ok();
        let mut exceptions = self.exceptions.iter();
        exceptions.any(|exception| match exception {
            ProxyException::Range(range) => {
                // `::ffff:10.0.0.1` is an address of `10.0.0.0/8`, too.
                address.is_some_and(|address| range.contains(&address.to_canonical()))
            }
            ProxyException::Name(name) => **name == *host,
            ProxyException::Below(suffix) => {
                // The dot before the name must be there: `*.example.com` covers neither `example.com` nor
                // `badexample.com`.
                let label = host.strip_suffix(&**suffix);
                label.is_some_and(|label| label.len() > 1 && label.ends_with('.'))
            }
        })
    }

    /// Returns the value of `Proxy-Authorization`.
    pub(crate) fn authorization(&self) -> Option<&Secret> {
        self.authorization.as_deref()
    }
}

impl ProxyException {
    /// Parses an address, a range, a name, or `*.` and a name. Returns `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Range(address.into()));
        }
        if let Ok(range) = text.parse::<IpNet>() {
            // Bits beyond the prefix are more probably a typing mistake than the whole range.
            return (range.trunc() == range).then_some(Self::Range(range));
        }
        // `.example.com` is the form of `NO_PROXY`, from which operators copy.
        let (name, is_below) = match text.strip_prefix("*.").or(text.strip_prefix('.')) {
            Some(name) => (name, true),
            None => (text, false),
        };
        let is_label = |label: &str| {
            // RFC 1123 allows no underscore in a host name, but names of internal networks have them.
            let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            !label.is_empty() && label.bytes().all(is_fit)
        };
        if !name.split('.').all(is_label) {
            return None;
        }
        let name = name.to_ascii_lowercase().into();
        Some(match is_below {
            true => Self::Below(name),
            false => Self::Name(name),
        })
    }
}

impl std::fmt::Display for ProxyException {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Range(range) if range.prefix_len() == range.max_prefix_len() => {
                write!(f, "{}", range.addr())
            }
            Self::Range(range) => write!(f, "{range}"),
            Self::Name(name) => f.write_str(name),
            Self::Below(name) => write!(f, "*.{name}"),
        }
    }
}

impl PartialEq for EgressProxy {
    fn eq(&self, other: &Self) -> bool {
        self.authority == other.authority
            && self.resolve == other.resolve
            && self.exceptions == other.exceptions
            && self.digest == other.digest
    }
}

impl Eq for EgressProxy {}

impl Hash for EgressProxy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Fewer fields than `eq` compares, which is allowed: equal proxies still have equal hashes.
        self.authority.hash(state);
        self.digest.hash(state);
    }
}

impl std::fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Neither user nor password, since debug output may end up in a log.
        write!(f, "EgressProxy({})", self.authority)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(exceptions: &[&str]) -> EgressProxy {
        let authority = Authority::from_static("proxy.test:3128");
        let mut proxy = EgressProxy::new(authority, None, ProxyResolve::Local);
        let parsed = exceptions
            .iter()
            .map(|text| ProxyException::parse(text).unwrap());
        proxy.exceptions = parsed.collect();
        proxy
    }

    // Fails when a name that only ends with the same letters is spared, or a host in other letters is not.
    #[test]
    fn exceptions_spare_exactly_their_hosts() {
        let proxy = proxy(&[
            "10.0.0.0/8",
            "192.0.2.7",
            "partner.test",
            "*.corp.test",
            "fd00::/8",
        ]);
        for host in [
            "10.1.2.3",
            "[::ffff:10.1.2.3]",
            "192.0.2.7",
            "Partner.test",
            "partner.test.",
            "a.corp.test",
            "a.b.corp.test",
            "[fd00::1]",
        ] {
            assert!(proxy.spares(host), "{host}");
        }
        for host in [
            "11.1.2.3",
            "192.0.2.8",
            "a.partner.test",
            "corp.test",
            ".corp.test",
            "evilcorp.test",
            "10.0.0.0.test",
            "[fe00::1]",
        ] {
            assert!(!proxy.spares(host), "{host}");
        }
    }

    #[test]
    fn exceptions_are_hosts_or_ranges() {
        for text in [
            "",
            "*",
            "*.",
            "10.0.0.1/8",
            "a b",
            "http://a",
            "a.test:80",
            "a..b",
        ] {
            assert_eq!(ProxyException::parse(text), None, "{text}");
        }
        for text in ["10.0.0.0/8", "10.0.0.1", "a.test", "*.a.test", "localhost"] {
            assert_eq!(ProxyException::parse(text).unwrap().to_string(), text);
        }
    }

    // Fails when the credentials do not count for equality, or appear in `Debug`.
    #[test]
    fn credentials_count_and_are_not_shown() {
        let authority = Authority::from_static("proxy.test:3128");
        let with = |password: &str| {
            let password = Secret::new(password.as_bytes().to_vec());
            let credentials = Some(("user", &password));
            EgressProxy::new(authority.clone(), credentials, ProxyResolve::Local)
        };
        assert_eq!(with("a"), with("a"));
        assert_ne!(with("a"), with("b"));
        assert_eq!(
            with("pass").authorization().unwrap().expose(),
            b"Basic dXNlcjpwYXNz"
        );
        assert_eq!(
            format!("{:?}", with("pass")),
            "EgressProxy(proxy.test:3128)"
        );
    }
}

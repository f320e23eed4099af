//! The URL that senders call, for `@authority`, `@scheme` and `@target-uri`.
//!
//! It comes from the config, never from `Host`. Otherwise a client could reuse a request that was signed for another
//! host by sending it with that host's name.

/// A `public_url`, split into its parts.
#[derive(Debug)]
pub(super) struct PublicOrigin {
    pub(super) scheme: String,
    /// Host in lower case, with the port unless it is the scheme's default.
    pub(super) authority: String,
    /// Path in front of the request's own path, without a slash at its end.
    pub(super) path: String,
}

impl PublicOrigin {
    /// Splits a URL that the config has already validated.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at)?;
        let authority = authority.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "https" => ":443",
            _ => ":80",
            // RFC 9421 section 2.2.3: the default port is not part of `@authority`.
        };
        let authority = authority.strip_suffix(port).unwrap_or(&authority);
        Some(Self {
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            scheme,
        })
    }
}

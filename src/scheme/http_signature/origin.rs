//! The URL under which a sender calls the route, as `@authority`, `@scheme` and `@target-uri` need it.
//!
//! It comes from the config, never from `Host`: a request that was signed for another host would only have to be sent
//! with that host's name.

/// A `public_url` in its parts.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) scheme: String,
    /// The host in lower case, with a port where that is not the scheme's own.
    pub(super) authority: String,
    /// The path before the request's own; without a slash at its end.
    pub(super) path: String,
}

impl Origin {
    /// Splits a URL that the config has already checked.
    pub(super) fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let at = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(at)?;
        let authority = authority.to_ascii_lowercase();
        let port = match scheme.as_str() {
            "https" => ":443",
            _ => ":80",
        };
        let authority = authority.strip_suffix(port).unwrap_or(&authority);
        Some(Self {
            authority: authority.to_owned(),
            path: path.trim_end_matches('/').to_owned(),
            scheme,
        })
    }
}

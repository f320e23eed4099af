//! Request targets for upstreams: the configured path, joined with the received one.

use bytes::{BufMut, BytesMut};
use http::Uri;
use http::uri::PathAndQuery;

/// The rule by which an upstream's path is built.
pub(crate) struct TargetPath(TargetPathKind);

enum TargetPathKind {
    /// Path and query of the config, independent of the request.
    Fixed(PathAndQuery),
    /// The upstream's path with the query of the request.
    Exact(PathAndQuery),
    /// The upstream's path, followed by the part of the request's path after the route's prefix.
    Prefix { cut: usize, base: String },
}

impl TargetPath {
    /// Creates a rule that always gives this path and query.
    pub(crate) fn fixed(path: PathAndQuery) -> Self {
        Self(TargetPathKind::Fixed(path))
    }

    /// Creates a rule that joins the upstream's path with the query of the request and, for a route with a prefix, with
    /// the rest of the path. Returns `None` where `base` is not a path.
    pub(crate) fn joined(prefix: Option<&str>, base: &str) -> Option<Self> {
        Some(Self(match prefix {
            None => TargetPathKind::Exact(base.parse().ok()?),
            Some(prefix) => TargetPathKind::Prefix {
                // The prefix `/` matches every path, and its slash belongs to the rest.
                cut: if prefix == "/" { 0 } else { prefix.len() },
                base: base.to_owned(),
            },
        }))
    }

    /// Builds the target of a request without changing a byte of it. Returns `None` only where it would exceed the
    /// maximum length of a URI.
    pub(crate) fn join(&self, path: &str, query: Option<&str>) -> Option<Uri> {
        let (base, rest) = match &self.0 {
            TargetPathKind::Fixed(fixed) => return Some(Uri::from(fixed.clone())),
            TargetPathKind::Exact(fixed) if query.is_none() => {
                return Some(Uri::from(fixed.clone()));
            }
            TargetPathKind::Exact(fixed) => (fixed.path(), ""),
            TargetPathKind::Prefix { cut, base } => match path.get(*cut..)? {
                "" => (base.as_str(), ""),
                // Exactly one slash separates the two parts.
                rest => (base.strip_suffix('/').unwrap_or(base), rest),
            },
        };
        let query_length = query.map_or(0, |query| query.len().saturating_add(1));
        let mut target = BytesMut::with_capacity(base.len() + rest.len() + query_length);
        target.put_slice(base.as_bytes());
        target.put_slice(rest.as_bytes());
        if let Some(query) = query {
            target.put_u8(b'?');
            target.put_slice(query.as_bytes());
        }
        let target = PathAndQuery::from_maybe_shared(target.freeze()).ok()?;
        Some(Uri::from(target))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn join(prefix: Option<&str>, upstream: &str, sent: &str) -> String {
        let sent: Uri = sent.parse().unwrap();
        let path = TargetPath::joined(prefix, upstream).unwrap();
        path.join(sent.path(), sent.query()).unwrap().to_string()
    }

    #[test]
    fn an_exact_path_becomes_the_upstreams_path_with_the_query_as_sent() {
        let cases = [
            ("/webhooks/stripe", "/stripe", "/webhooks/stripe"),
            (
                "/webhooks/stripe",
                "/stripe?a=1&b=%2e%2E",
                "/webhooks/stripe?a=1&b=%2e%2E",
            ),
            ("/webhooks/stripe", "/stripe?", "/webhooks/stripe?"),
            ("/", "/stripe?x", "/?x"),
            ("/in/", "/stripe", "/in/"),
        ];
        for (upstream, sent, expected) in cases {
            assert_eq!(join(None, upstream, sent), expected);
        }
    }

    #[test]
    fn the_rest_behind_a_prefix_is_appended_with_one_slash() {
        let prefix = Some("/hooks");
        let root = Some("/");
        let cases = [
            (prefix, "/in", "/hooks", "/in"),
            (prefix, "/in", "/hooks/", "/in/"),
            (prefix, "/in", "/hooks/a/b?c=d", "/in/a/b?c=d"),
            (prefix, "/in/", "/hooks", "/in/"),
            (prefix, "/in/", "/hooks/a", "/in/a"),
            (prefix, "/", "/hooks", "/"),
            (prefix, "/", "/hooks/a", "/a"),
            (prefix, "/in", "/hooks//a", "/in//a"),
            (prefix, "/in", "/hooks/%2F%61;x=1", "/in/%2F%61;x=1"),
            (root, "/", "/", "/"),
            (root, "/", "/a", "/a"),
            (root, "/in", "/", "/in/"),
            (root, "/in", "/a/", "/in/a/"),
        ];
        for (rule, upstream, sent, expected) in cases {
            assert_eq!(join(rule, upstream, sent), expected, "{upstream} {sent}");
        }
    }

    #[test]
    fn a_fixed_target_is_what_the_config_says() {
        let fixed = TargetPath::fixed("/in?key=1".parse().unwrap());
        assert_eq!(fixed.join("/hooks/a", Some("b=2")).unwrap(), "/in?key=1");
    }

    proptest! {
        // Mutation: decode or normalize anything in `join`.
        #[test]
        fn joined_paths_keep_every_byte(
            base in "(/[a-z]{1,4}){0,3}/?",
            rest in "(/[a-zA-Z0-9%;=.~_-]{0,4}){0,4}",
            query in proptest::option::of("[a-zA-Z0-9%&=./?-]{0,12}"),
        ) {
            let base = if base.is_empty() { "/".to_owned() } else { base };
            let rule = Some("/hooks");
            let suffix = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            let joined = join(rule, &base, &format!("/hooks{rest}{suffix}"));
            let trimmed = base.trim_end_matches('/');
            let expected = if rest.is_empty() {
                format!("{base}{suffix}")
            } else {
                format!("{trimmed}{rest}{suffix}")
            };
            prop_assert_eq!(joined, expected);
        }
    }
}

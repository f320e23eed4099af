//! What the admin API leaves out of a stored request: senders with a shared token show it in a header or in the query, and
//! whoever may look at events need not be able to send some.

use http::{HeaderMap, HeaderName};

use crate::admin::wire::Header;

/// What a name has in it where its value may be a secret.
const WORDS: [&str; 10] = [
    "verif",
    "credential",
    "authorization",
    "token",
    "secret",
    "cookie",
    "password",
    "passwd",
    "api-key",
    "apikey",
];

/// What a name may end with, too.
const ENDS: [&str; 4] = ["key", "-auth", "_auth", "-jwt"];

/// Whole names under which senders show a token.
const NAMES: [&str; 4] = ["code", "sig", "auth", "k"];

/// Those that look like it and are none.
const HARMLESS: [&str; 2] = ["idempotency-key", "hookgate-order-key"];

/// All headers, without the values that may be secrets.
pub(super) fn headers(headers: &HeaderMap) -> Vec<Header> {
    let shown = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Header {
            name: name.as_str().to_owned(),
            value: Some(value).filter(|_| !is_secret_header(name)),
        }
    });
    shown.collect()
}

/// Path and query, without the values that may be secrets.
pub(super) fn target(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(&name.to_ascii_lowercase()) => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    let shown: Vec<_> = shown.collect();
    format!("{path}?{}", shown.join("&"))
}

fn is_secret_header(name: &HeaderName) -> bool {
    is_secret(name.as_str())
}

fn is_secret(name: &str) -> bool {
    !HARMLESS.contains(&name)
        && (WORDS.iter().any(|word| name.contains(word))
            || NAMES.contains(&name)
            || ENDS.iter().any(|end| name.ends_with(end))
            // An escaped name is one that somebody wants not to be read.
            || name.contains('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when the token by which a sender is known can be read by whoever may look at events.
    #[test]
    fn what_a_sender_shows_is_hidden() {
        for (name, is_hidden) in [
            ("authorization", true),
            ("x-gitlab-token", true),
            ("x-api-key", true),
            ("x-shop-key", true),
            ("cookie", true),
            ("x-webhook-secret", true),
            ("verif-hash", true),
            ("idempotency-key", false),
            ("x-hub-signature-256", false),
            ("stripe-signature", false),
            ("x-github-event", false),
            ("content-type", false),
        ] {
            let mut map = HeaderMap::new();
            map.insert(name, "value".parse().unwrap());
            let shown = headers(&map);
            assert_eq!(shown[0].value.is_none(), is_hidden, "{name}");
        }
        assert_eq!(target("/in"), "/in");
        assert_eq!(
            target("/in?a=1&Token=abc&api_key=x=y&b"),
            "/in?a=1&Token=***&api_key=***&b"
        );
        assert_eq!(target("/in?code=abc&c%6fde=abc"), "/in?code=***&c%6fde=***");
    }
}

//! Redaction of stored requests: masks values that may be credentials.
//!
//! Some senders put a shared token in a header or in the query. A user who may read stored requests must not become
//! able to send events.

use http::Uri;

/// The text that replaces a redacted value.
pub const MASK: &str = "***";

/// Parts of names whose values may be secrets.
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

/// Endings of names whose values may be secrets.
const ENDS: [&str; 4] = ["key", "-auth", "_auth", "-jwt"];

/// Whole names under which senders put tokens.
const NAMES: [&str; 4] = ["code", "sig", "auth", "k"];

/// Names that match one of the lists, but whose values are not secrets.
const HARMLESS: [&str; 2] = ["idempotency-key", "hookgate-order-key"];

/// Formats a URL and masks values of its query that may be secrets.
pub fn url(url: &Uri) -> String {
    // `target` masks behind the first `?`. Scheme, host and path cannot contain one.
    target(&url.to_string())
}

/// Redacts path and query of a request: values in the query that may be secrets are masked.
pub fn target(target: &str) -> String {
    // The path stays: routes and their logs show it anyway, and senders put tokens in the query.
    let Some((path, query)) = target.split_once('?') else {
        return target.to_owned();
    };
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(&name.to_ascii_lowercase()) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    });
    let shown: Vec<_> = shown.collect();
    format!("{path}?{}", shown.join("&"))
}

/// Returns true where a header or query parameter of this lowercase name may hold a secret.
pub fn is_secret(name: &str) -> bool {
    !HARMLESS.contains(&name)
        && (WORDS.iter().any(|word| name.contains(word))
            || NAMES.contains(&name)
            || ENDS.iter().any(|end| name.ends_with(end))
            // A sender has no honest reason to escape a name, so an escaped name is treated as a secret.
            || name.contains('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a value is shown whose name has one of the words, each of which some sender or proxy uses. Mutation:
    // leave out one entry of any of the lists.
    #[test]
    fn every_word_masks_the_value_of_its_name() {
        for name in [
            "authorization",
            "x-api-key",
            "x-webhook-secret",
            "cookie",
            "verif-hash",
            "x-amz-credential-scope",
            "proxy-authorization",
            "x-gitlab-token",
            "client_secret_id",
            "set-cookie",
            "password-hint",
            "passwd2",
            "x-api-key-id",
            "apikeys",
            "x-shop-key",
            "x-shop-auth",
            "shop_auth",
            "x-shop-jwt",
            "code",
            "sig",
            "auth",
            "k",
            "%6b",
        ] {
            assert!(is_secret(name), "{name}");
            assert_eq!(
                target(&format!("/in?{name}=abc")),
                format!("/in?{name}=***")
            );
        }
        for name in [
            "idempotency-key",
            "hookgate-order-key",
            "stripe-signature",
            "x-hub-signature-256",
            "x-github-event",
            "content-type",
            "kind",
            "author",
        ] {
            assert!(!is_secret(name), "{name}");
        }
    }

    // Fails when the token that authenticates a sender can be read in the target of a request.
    #[test]
    fn tokens_in_a_query_are_masked() {
        assert_eq!(target("/in"), "/in");
        assert_eq!(
            target("/in?a=1&Token=abc&api_key=x=y&b"),
            "/in?a=1&Token=***&api_key=***&b"
        );
        assert_eq!(target("/in?code=abc&c%6fde=abc"), "/in?code=***&c%6fde=***");
    }
}

//! What nobody is shown of a kept request: senders with a shared token show it in a header or in the query, and whoever may
//! look at requests need not be able to send some.

/// Stands where a secret stood.
pub const MASK: &str = "***";

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

/// Path and query, without the values that may be secrets.
#[must_use]
pub fn target(target: &str) -> String {
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

/// Whether what stands under this name, in small letters, may be a secret.
#[must_use]
pub fn is_secret(name: &str) -> bool {
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

    // Fails when a value is shown whose name has one of the words, each of which some sender or proxy uses.
    // Mutation: leave out one entry of any of the lists.
    #[test]
    fn every_word_hides_what_stands_under_it() {
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

    // Fails when the token by which a sender is known can be read in the target of a request.
    #[test]
    fn tokens_in_a_query_are_hidden() {
        assert_eq!(target("/in"), "/in");
        assert_eq!(
            target("/in?a=1&Token=abc&api_key=x=y&b"),
            "/in?a=1&Token=***&api_key=***&b"
        );
        assert_eq!(target("/in?code=abc&c%6fde=abc"), "/in?code=***&c%6fde=***");
    }
}

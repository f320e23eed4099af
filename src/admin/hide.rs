//! How the admin API shows the headers of a stored request: without what may be a secret.

use http::HeaderMap;

use crate::admin::wire::Header;
use crate::net::hide::is_secret;

/// All headers, without the values that may be secrets.
pub(super) fn headers(headers: &HeaderMap) -> Vec<Header> {
    let shown = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        Header {
            name: name.as_str().to_owned(),
            value: Some(value).filter(|_| !is_secret(name.as_str())),
        }
    });
    shown.collect()
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
    }
}

//! Whether a key can be guessed: too short, a run of characters, or what everybody tries first.

use zeroize::Zeroizing;

use crate::document::table::Fault;

/// Shorter than this a key can be found by trying.
const MIN_BYTES: usize = 8;

/// Shorter than this it is below what the digests are made for (RFC 2104 asks for their length).
const GOOD_BYTES: usize = 16;

/// What people write to try things out, and what documentation shows.
const PLACEHOLDERS: [&str; 28] = [
    "1234567890",
    "change-me",
    "change_me",
    "changeit",
    "changeme",
    "dummy",
    "example",
    "foobar",
    "hookgate",
    "hunter2",
    "letmein",
    "mysecret",
    "my-secret",
    "my_secret",
    "password",
    "placeholder",
    "replace-me",
    "replaceme",
    "secret",
    "secretsecret",
    "supersecret",
    "test-secret",
    "testsecret",
    "webhook-secret",
    "webhook_secret",
    "webhooksecret",
    "your-secret",
    "your_secret",
];

/// What is weak about a key, and whether that is an error.
pub(super) fn weakness(key: &[u8]) -> Option<(bool, Fault)> {
    const HELP: &str =
        "for example the output of `openssl rand -base64 32`, set at the provider too";
    let lower = Zeroizing::new(key.to_ascii_lowercase());
    let is_known = PLACEHOLDERS
        .iter()
        .any(|word| word.as_bytes() == lower.as_slice());
    let is_run = lower.windows(2).all(|pair| {
        pair.first()
            .zip(pair.last())
            .is_some_and(|(left, right)| left == right || left.wrapping_add(1) == *right)
    });
    let fault = |message: &str| Fault::new(message, HELP);
    if key.is_empty() {
        return Some((true, fault("the secret is empty")));
    }
    if is_known || is_run {
        return Some((
            true,
            fault("the secret is a placeholder that anybody would try first"),
        ));
    }
    if key.len() < MIN_BYTES {
        return Some((true, fault("the secret is shorter than 8 bytes")));
    }
    (key.len() < GOOD_BYTES).then(|| (false, fault("the secret is shorter than 16 bytes")))
}

//! Strength check for secrets: too short, sequential, or a well-known placeholder.

use hookgate_verify::document::table::ValueFault;
use zeroize::Zeroizing;

/// Shortest accepted key, in bytes. A shorter one can be found by brute force.
const MIN_BYTES: usize = 8;

/// Shortest good key, in bytes. Below this it is weaker than the digest (RFC 2104 recommends the digest's length).
const GOOD_BYTES: usize = 16;

/// Placeholders from documentation and first experiments, in lower case.
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

/// Returns the weakness of a key, and whether it is an error instead of a warning.
pub(super) fn weakness(key: &[u8]) -> Option<(bool, ValueFault)> {
    const HELP: &str = "use a random value such as the output of `openssl rand -base64 32`, and set it at the provider too";
    // Wiped on drop, because the secret in lower case is still most of the secret.
    let lower = Zeroizing::new(key.to_ascii_lowercase());
    let is_known = PLACEHOLDERS
        .iter()
        .any(|word| word.as_bytes() == lower.as_slice());
    // A run is a key of equal or consecutive characters, such as `aaaaaaaa` or `12345678`.
    let is_run = lower.windows(2).all(|pair| {
        pair.first()
            .zip(pair.last())
            .is_some_and(|(left, right)| left == right || left.wrapping_add(1) == *right)
    });
    let fault = |message: &str| ValueFault::new(message, HELP);
    // Before the run: `all` is true for a key without pairs, so an empty one would be reported as a placeholder.
    if key.is_empty() {
        return Some((true, fault("the secret is empty")));
    }
    if is_known || is_run {
        return Some((
            true,
            fault("the secret is a placeholder that attackers try first"),
        ));
    }
    if key.len() < MIN_BYTES {
        return Some((true, fault("the secret is shorter than 8 bytes")));
    }
    (key.len() < GOOD_BYTES).then(|| (false, fault("the secret is shorter than 16 bytes")))
}

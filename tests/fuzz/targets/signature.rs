//! Fuzzes the reading of signatures, timestamps and ids of every provider: no header value makes it panic or passes.
#![no_main]

use std::time::Duration;

use hookgate::internals::{ClockReading, RequestHead, SignatureVerifier, Secret, SecretEntry, all_providers};
use http::{HeaderMap, HeaderValue, Method, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<(u8, Vec<u8>)>, &[u8])| {
    let (which, values, body) = input;
    let providers = all_providers();
    let provider = &providers[usize::from(which) % providers.len()];
    let secret = Secret::new(b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_vec());
    let entry = SecretEntry::new("1", secret);
    let Ok(keys) = SignatureVerifier::new(&provider.scheme, &[entry], None, Duration::from_secs(300))
    else {
        return;
    };
    let names = keys.scheme().headers().to_vec();
    if names.is_empty() {
        return;
    }
    let mut headers = HeaderMap::new();
    for (name, value) in values.into_iter().take(16) {
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            headers.append(names[usize::from(name) % names.len()].clone(), value);
        }
    }
    let uri = Uri::from_static("/hook?a=b");
    let head = RequestHead {
        method: &Method::POST,
        uri: &uri,
        headers: &headers,
    };
    if let Ok(mut pending) = keys.open(head, 1_700_000_000_000) {
        pending.update(body);
        assert!(pending.finish(body, None).is_err(), "nobody signed this");
    }
});

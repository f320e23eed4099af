//! No body makes the reading of event ids and types panic.
#![no_main]

use hookgate::gate::identity::IdentityRules;
use hookgate::providers;
use hookgate::scheme::Head;
use http::{HeaderMap, Method, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let (uri, headers) = (Uri::from_static("/hook?a=b"), HeaderMap::new());
    let head = Head {
        method: &Method::POST,
        uri: &uri,
        headers: &headers,
    };
    for provider in providers::all() {
        let rules = IdentityRules::compile(&provider.scheme);
        let strict = rules.read(&head, body, true);
        let relaxed = rules.read(&head, body, false);
        if let (Ok(strict), Ok(relaxed)) = (strict, relaxed) {
            assert_eq!(strict, relaxed);
        }
    }
});

//! Fuzzes the reading of event ids and types: no body makes it panic.
#![no_main]

use hookgate::internals::{IdentityFacts, IdentityRules, RequestHead, all_providers};
use http::{HeaderMap, Method, Uri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let (uri, headers) = (Uri::from_static("/hook?a=b"), HeaderMap::new());
    let head = RequestHead {
        method: &Method::POST,
        uri: &uri,
        headers: &headers,
    };
    for provider in all_providers() {
        let identity = &provider.identity;
        let rules = IdentityRules::compile(IdentityFacts {
            key: Some(&identity.key.value),
            batch: identity.batch.as_ref().map(|fact| &fact.value),
            ..IdentityFacts::of(&provider.scheme)
        });
        let first = rules.read(&head, body);
        assert_eq!(first, rules.read(&head, body), "{}", provider.id);
    }
});

//! No body makes the reading of event ids and types panic.
#![no_main]

use hookgate::gate::identity::IdentityRules;
use hookgate::providers;
use http::HeaderMap;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    for provider in providers::all() {
        let rules = IdentityRules::compile(&provider.scheme);
        let strict = rules.read(&HeaderMap::new(), body, true);
        let relaxed = rules.read(&HeaderMap::new(), body, false);
        if let (Ok(strict), Ok(relaxed)) = (strict, relaxed) {
            assert_eq!(strict, relaxed);
        }
    }
});

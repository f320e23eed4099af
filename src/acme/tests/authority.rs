//! Tests of what CAs ask for: external accounts, and pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::acme::tests::rig::{AcmeRig, HOUR, RigOptions};
use crate::test_rig::acme_proxy::{AcmeProxy, AcmeResponse, AcmeRule};

const KEY: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

/// Fails when the account is not bound to the external account, or a wrong binding is not reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_bound_to_an_external_one() {
    for (key, is_known) in [(KEY, true), (&KEY[4..], false)] {
        let options = RigOptions::new(&["a.example.com"])
            .pebble(|settings| settings.external_account = Some(("kid-1", KEY)))
            .more(&format!(
                "email = \"ops@example.com\"\nexternal_account = {{ key_id = \"kid-1\", hmac_key = \"{key}\" }}"
            ));
        let Some(rig) = AcmeRig::start(options).await else {
            return;
        };
        rig.settle().await;
        let failure = rig.health("a.example.com").failure;
        assert_eq!(failure.is_none(), is_known, "{failure:?}");
        assert_eq!(rig.issued(), usize::from(is_known));
    }
}

/// Fails when a rate limit of the CA is not respected, or its `Retry-After` is ignored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rate_limit_is_respected() {
    let Some(rig) = AcmeRig::start(RigOptions::new(&["a.example.com"])).await else {
        return;
    };
    let is_limited = Arc::new(AtomicBool::new(true));
    let limited = Arc::clone(&is_limited);
    let rule: AcmeRule = Arc::new(move |request, response| {
        let is_order = request.path.contains("order-plz") && response.is_none();
        (is_order && limited.load(Ordering::SeqCst)).then(|| AcmeResponse {
            status: 429,
            headers: vec![
                (
                    "content-type".to_owned(),
                    "application/problem+json".to_owned(),
                ),
                ("retry-after".to_owned(), "18000".to_owned()),
                ("replay-nonce".to_owned(), "bm90IGEgbm9uY2U".to_owned()),
            ],
            body:
                r#"{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many orders"}"#
                    .to_owned(),
        })
    });
    let proxy = AcmeProxy::start(&rig.pebble, rule).await;
    rig.follow_at(&proxy.directory(), &["a.example.com"]);
    let asked = rig.seconds();
    rig.settle().await;
    let health = rig.health("a.example.com");
    let failure = health.failure.unwrap();
    assert!(failure.text.contains("too many orders"), "{}", failure.text);
    let next = health.next_renewal_ms.unwrap() / 1000;
    assert!(next >= asked + 5 * HOUR, "{next} after {asked}");
    is_limited.store(false, Ordering::SeqCst);
    let requests = proxy.requests();
    rig.set_seconds(next - 60);
    rig.settle().await;
    assert_eq!(proxy.requests(), requests);
    rig.set_seconds(next + 1);
    rig.settle().await;
    assert_eq!(rig.issued(), 1);
}

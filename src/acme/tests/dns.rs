//! Tests of `dns-persist-01`, which Pebble 2.4 lacks: a proxy gives its challenge `dns-01` the name and the fields of the
//! draft, and Pebble accepts every proof.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::acme::persist::known_record;
use crate::acme::tests::rig::{AcmeRig, RigOptions};
use crate::test_rig::acme_proxy::{AcmeProxy, AcmeRequest, AcmeResponse, AcmeRule};

fn rule() -> AcmeRule {
    Arc::new(|_: &AcmeRequest, response: Option<&mut AcmeResponse>| {
        let response = response?;
        let mut body: Value = serde_json::from_str(&response.body).ok()?;
        for challenge in body.get_mut("challenges")?.as_array_mut()? {
            if challenge["type"] == "dns-01" {
                challenge["type"] = "dns-persist-01".into();
                challenge["issuer-domain-names"] = json!(["ca.example", "other.example"]);
            }
        }
        response.body = body.to_string();
        None
    })
}

/// Fails when a wildcard is not proven by the static record, or the record that the operator must set is wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_is_proven_by_a_static_record() {
    let options = RigOptions::new(&["*.example.com"])
        .pebble(|settings| {
            let always = ("PEBBLE_VA_ALWAYS_VALID", "1".to_owned());
            settings.environment.push(always);
        })
        .more("challenges = [\"dns-persist-01\"]");
    let Some(rig) = AcmeRig::start(options).await else {
        return;
    };
    // A CA without the challenge says so.
    rig.settle().await;
    let failure = rig.health("*.example.com").failure.unwrap();
    assert!(failure.text.contains("does not offer"), "{}", failure.text);
    let proxy = AcmeProxy::start(&rig.pebble, rule()).await;
    let directory = proxy.directory();
    rig.follow_at(&directory, &["*.example.com"]);
    let next = rig.health("*.example.com").next_renewal_ms.unwrap();
    rig.set_seconds(next / 1000 + 1);
    rig.settle().await;
    assert_eq!(rig.issued(), 1);
    assert!(rig.handshake("any.example.com").await.is_ok());
    let record = known_record(rig.folder(), &directory, "*.example.com").unwrap();
    assert_eq!(record.name, "_validation-persist.example.com");
    let base = directory.strip_suffix("/dir").unwrap();
    let begin = format!("ca.example; accounturi={base}/my-account/");
    assert!(record.text.starts_with(&begin), "{}", record.text);
    assert!(
        record.text.ends_with("; policy=wildcard"),
        "{}",
        record.text
    );
}

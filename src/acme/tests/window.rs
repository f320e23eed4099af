//! Tests of renewal information (ARI), which Pebble 2.4 lacks: a proxy in front of it adds the resource.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::acme::tests::rig::{AcmeRig, HOUR, RigOptions};
use crate::test_rig::acme_proxy::{AcmeProxy, AcmeRequest, AcmeResponse, AcmeRule};

/// State of the resource: the window in seconds since the epoch, and which certificate each order replaces.
#[derive(Default)]
struct Resource {
    window: (i64, i64),
    asked: usize,
    replaced: Vec<Value>,
}

fn rule(resource: &Arc<Mutex<Resource>>) -> AcmeRule {
    let resource = Arc::clone(resource);
    Arc::new(
        move |request: &AcmeRequest, response: Option<&mut AcmeResponse>| {
            let mut resource = resource.lock();
            let time = |seconds| jiff::Timestamp::from_second(seconds).unwrap().to_string();
            match response {
                None if request.path.starts_with("/ari/") => {
                    resource.asked += 1;
                    let (start, end) = resource.window;
                    let window = json!({
                        "suggestedWindow": { "start": time(start), "end": time(end) },
                        "explanationURL": "https://ca.example/why",
                    });
                    Some(AcmeResponse {
                        status: 200,
                        headers: vec![
                            ("content-type".to_owned(), "application/json".to_owned()),
                            ("retry-after".to_owned(), "21600".to_owned()),
                        ],
                        body: window.to_string(),
                    })
                }
                None => None,
                Some(response) => {
                    let Ok(mut body) = serde_json::from_str::<Value>(&response.body) else {
                        return None;
                    };
                    if request.path == "/dir" {
                        let base = body["newOrder"].as_str().unwrap();
                        let base = base.rsplit_once('/').unwrap().0.to_owned();
                        body["renewalInfo"] = format!("{base}/ari").into();
                    }
                    if request.path.contains("order-plz") {
                        let payload: Value = serde_json::from_str(&request.payload).unwrap();
                        resource.replaced.push(payload["replaces"].clone());
                        // Pebble ignores the field, but a CA with the resource repeats it.
                        if response.status == 201 && payload["replaces"].is_string() {
                            body["replaces"] = payload["replaces"].clone();
                        }
                    }
                    response.body = body.to_string();
                    None
                }
            }
        },
    )
}

/// Fails when a certificate is not renewed in the window that the CA suggests, when the window is not asked for again, or
/// when the order does not say which certificate it replaces.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_renewed_in_the_suggested_window() {
    let Some(rig) = AcmeRig::start(RigOptions::new(&["a.example.com"])).await else {
        return;
    };
    let resource = Arc::<Mutex<Resource>>::default();
    let began = rig.seconds();
    resource.lock().window = (began + 50 * 24 * HOUR, began + 52 * 24 * HOUR);
    let proxy = AcmeProxy::start(&rig.pebble, rule(&resource)).await;
    rig.follow_at(&proxy.directory(), &["a.example.com"]);
    rig.settle().await;
    assert_eq!((rig.issued(), resource.lock().asked), (1, 1));
    let next = rig.health("a.example.com").next_renewal_ms.unwrap() / 1000;
    let window = resource.lock().window;
    assert!((window.0..window.1).contains(&next), "{next} {window:?}");
    // An incident: the CA wants the certificate renewed within the next hours.
    let now = rig.seconds() + 7 * HOUR;
    resource.lock().window = (now - 2 * HOUR, now - HOUR);
    rig.set_seconds(now);
    rig.settle().await;
    assert_eq!(rig.issued(), 2);
    let resource = resource.lock();
    assert!(resource.asked >= 2);
    assert_eq!(resource.replaced.len(), 2);
    assert_eq!(resource.replaced[0], Value::Null);
    assert!(resource.replaced[1].is_string(), "{:?}", resource.replaced);
}

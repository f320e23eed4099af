//! Tests of promise 1 for signatures: only requests exactly as signed reach the app.
//!
//! Each provider's genuine event passes, and every damaged one is refused. An untrusted client cannot distinguish the
//! causes.

use serde_json::Value;

use crate::harness::app::{App, ok};
use crate::harness::client::Reply;
use crate::harness::gate::{Gate, field};
use crate::harness::sender::{Hook, PROVIDERS, Provider, Sender};

/// Starts a gate with a route `/ID` for every provider.
async fn gate_for_all(app: &App) -> Gate {
    let mut config = "[server]\nper_source_rate_limit = false\n\n".to_owned();
    for provider in PROVIDERS {
        config.push_str(&provider.route(provider.id(), &app.url("/in"), ""));
    }
    Gate::start(&config).await
}

fn path(provider: Provider) -> String {
    format!("/{}", provider.id())
}

fn genuine(provider: Provider) -> Hook {
    Sender::new(provider).event(&path(provider))
}

/// Damage to a genuine request, and the reason that the operator sees.
struct Difference {
    name: &'static str,
    /// Damages a request. `None` if the damage makes no sense for this provider.
    make: fn(Provider) -> Option<Hook>,
    reasons: &'static [&'static str],
}

const BAD: &[&str] = &["bad-signature"];
const MALFORMED: &[&str] = &["malformed-signature"];
/// Reasons for a list: without an entry that could be a signature, it counts as missing.
const MALFORMED_OR_MISSING: &[&str] = &["malformed-signature", "missing-signature"];
const MISSING: &[&str] = &["missing-signature"];
const STALE: &[&str] = &["stale-timestamp"];

/// Returns whether the provider signs the body. GitLab's token does not cover it.
fn is_mac(provider: Provider) -> bool {
    provider != Provider::Gitlab
}

fn resigned(provider: Provider, change: impl Fn(&str) -> String) -> Option<Hook> {
    let hook = genuine(provider);
    let header = provider.signature_header();
    let value = change(hook.header(header));
    is_mac(provider).then(|| hook.set(header, &value))
}

const DIFFERENCES: &[Difference] = &[
    // Fails when `Scheme::finish` answers `Ok` without comparing.
    Difference {
        name: "one bit of the body",
        make: |provider| is_mac(provider).then(|| genuine(provider).flip_body_byte()),
        reasons: BAD,
    },
    // Fails when the MAC is fed with `Bytes::slice(..len - 1)`, or only with the first chunk.
    Difference {
        name: "one byte more in the body",
        make: |provider| {
            let mut hook = genuine(provider);
            hook.body.push(b' ');
            is_mac(provider).then_some(hook)
        },
        reasons: BAD,
    },
    Difference {
        name: "no body",
        make: |provider| {
            let mut hook = genuine(provider);
            hook.body.clear();
            is_mac(provider).then_some(hook)
        },
        reasons: BAD,
    },
    // Fails when the key is not taken from the route's own secrets.
    Difference {
        name: "another secret",
        make: |provider| {
            let sender = Sender::new(provider).with_secret(provider.other_secret());
            Some(sender.event(&path(provider)))
        },
        reasons: BAD,
    },
    // Fails when a missing header is taken as "nothing to check".
    Difference {
        name: "no signature",
        make: |provider| Some(genuine(provider).without(provider.signature_header())),
        reasons: MISSING,
    },
    Difference {
        name: "an empty signature",
        make: |provider| resigned(provider, |_| String::new()),
        reasons: MALFORMED_OR_MISSING,
    },
    Difference {
        name: "something else for a signature",
        make: |provider| resigned(provider, |_| "let me in".to_owned()),
        reasons: MALFORMED_OR_MISSING,
    },
    // Fails when only as many bytes are compared as the sender sent.
    Difference {
        name: "half of the signature",
        make: |provider| resigned(provider, |value| value[..value.len() - 32].to_owned()),
        reasons: MALFORMED,
    },
    Difference {
        name: "a longer signature",
        make: |provider| resigned(provider, |value| format!("{value}00")),
        reasons: MALFORMED,
    },
    // Fails when `HeaderMap::get` is used where exactly one value may occur.
    Difference {
        name: "the signature twice",
        make: |provider| {
            let hook = genuine(provider);
            let value = hook.header(provider.signature_header()).to_owned();
            Some(hook.with(provider.signature_header(), &value))
        },
        reasons: MALFORMED,
    },
    // Fails when the tolerance bounds `now - t` only from above, or not at all.
    Difference {
        name: "a timestamp of six minutes ago",
        make: |provider| shifted(provider, -360),
        reasons: STALE,
    },
    // Fails when the window has one side: `now - t <= tolerance` without the absolute value.
    Difference {
        name: "a timestamp in six minutes",
        make: |provider| shifted(provider, 360),
        reasons: STALE,
    },
];

fn shifted(provider: Provider, seconds: i64) -> Option<Hook> {
    let sender = Sender::new(provider).shifted(seconds);
    provider
        .has_timestamp()
        .then(|| sender.event(&path(provider)))
}

#[tokio::test]
async fn every_provider_is_taken_over_http1_and_http2() {
    let app = App::start(ok());
    let gate = gate_for_all(&app).await;
    for provider in PROVIDERS {
        for client in [gate.client(), gate.client_h2()] {
            let (hook, before) = (genuine(provider), app.count());
            let reply = client.send(&hook).await;
            assert_eq!(
                (reply.status, reply.text().as_str()),
                (200, "taken"),
                "{provider:?}"
            );
            let requests = app.requests();
            assert_eq!(requests.len(), before + 1, "{provider:?}");
            let taken = &requests[before];
            assert_eq!(taken.body, hook.body, "{provider:?}");
            assert_eq!(taken.target(), "/in");
            assert_eq!(
                taken.header("hookgate-route").as_deref(),
                Some(provider.id())
            );
            for (name, value) in &hook.headers {
                assert_eq!(
                    taken.header(name).as_ref(),
                    Some(value),
                    "{provider:?} {name}"
                );
            }
        }
    }
}

#[tokio::test]
async fn whatever_differs_from_what_was_signed_is_refused_and_the_operator_learns_why() {
    let app = App::start(ok());
    let gate = gate_for_all(&app).await;
    let mut cases = Vec::new();
    for provider in PROVIDERS {
        for difference in DIFFERENCES {
            if let Some(hook) = (difference.make)(provider) {
                cases.push((provider, difference, hook));
            }
        }
    }
    for (number, (provider, difference, hook)) in cases.iter().enumerate() {
        // A separate source, so that no log line about it is suppressed.
        let source = format!("127.7.{}.{}", number / 200, number % 200 + 1);
        let reply = gate.client().from_ip(&source).send(hook).await;
        let case = format!("{provider:?}: {}", difference.name);
        assert_eq!(reply.status, 401, "{case}");
        let line = gate
            .wait_for_line(&[&format!("\"{source}\""), "\"refused\""])
            .await;
        let line: Value = serde_json::from_str(&line).unwrap();
        let reason = field(&line, "reason").and_then(Value::as_str).unwrap();
        assert!(difference.reasons.contains(&reason), "{case}: {reason}");
    }
    assert_eq!(app.started(), 0, "nothing may reach the app");
}

/// Returns everything that a sender sees, without the parts that differ in every response.
fn shape(reply: &Reply) -> (u16, Vec<String>, Value) {
    let mut names: Vec<_> = reply.headers.keys().map(ToString::to_string).collect();
    names.sort();
    let mut body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert!(body["request_id"].is_string(), "{body}");
    body["request_id"] = Value::Null;
    (reply.status, names, body)
}

/// Fails when a reason gets a status or a title of its own, such as 400 for a stale timestamp.
#[tokio::test]
async fn every_refusal_of_authentication_looks_alike() {
    let app = App::start(ok());
    let gate = gate_for_all(&app).await;
    let provider = Provider::Stripe;
    let mut shapes = Vec::new();
    for difference in DIFFERENCES {
        let hook = (difference.make)(provider).unwrap();
        shapes.push((difference.name, shape(&gate.send(&hook).await)));
    }
    for (name, other) in &shapes {
        assert_eq!(*other, shapes[0].1, "{name}");
    }
    assert_eq!(shapes[0].1.2["status"], 401);
}

/// Fails when the secrets of one route are tried for another, or the provider is taken from the request.
#[tokio::test]
async fn a_signature_for_one_route_does_not_open_another() {
    let app = App::start(ok());
    let mut config = Provider::Github.route("one", &app.url("/"), "");
    let secret = Provider::Github.other_secret();
    config.push_str(&Provider::Github.route_with(
        "two",
        &app.url("/"),
        &format!("secret = \"{secret}\""),
    ));
    config.push_str(&Provider::XWebhook.route("three", &app.url("/"), ""));
    let gate = Gate::start(&config).await;
    let hook = Sender::new(Provider::Github).event("/one");
    assert_eq!(gate.send(&hook.clone().to("/two")).await.status, 401);
    // Same secret and same bytes, but the scheme of another provider.
    assert_eq!(gate.send(&hook.clone().to("/three")).await.status, 401);
    assert_eq!(app.count(), 0);
    assert_eq!(gate.send(&hook).await.status, 200);
}

/// Fails when GitHub's provider file lists `X-Hub-Signature` as an alternative.
#[tokio::test]
async fn the_weaker_signature_alone_is_not_enough() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Github.route("hook", &app.url("/"), "")).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let key = Provider::Github.secret().as_bytes();
    let mut mac = <hmac::Hmac<sha1::Sha1> as hmac::KeyInit>::new_from_slice(key).unwrap();
    hmac::Mac::update(&mut mac, &hook.body);
    let hex = data_encoding::HEXLOWER.encode(&hmac::Mac::finalize(mac).into_bytes());
    let weak = hook
        .without("X-Hub-Signature-256")
        .with("X-Hub-Signature", &format!("sha1={hex}"));
    assert_eq!(gate.send(&weak).await.status, 401);
    assert_eq!(app.count(), 0);
}

mod stripe {
    use super::*;

    async fn status_of(change: impl Fn(&str, &str) -> String) -> u16 {
        let app = App::start(ok());
        let gate = Gate::start(&Provider::Stripe.route("hook", &app.url("/"), "")).await;
        let hook = Sender::new(Provider::Stripe).event("/hook");
        let value = hook.header("Stripe-Signature").to_owned();
        let (time, signature) = value.split_once(',').unwrap();
        let reply = gate
            .send(&hook.set("Stripe-Signature", &change(time, signature)))
            .await;
        assert_eq!(app.count() > 0, reply.status == 200);
        reply.status
    }

    fn foreign() -> String {
        format!("v1={}", "ab".repeat(32))
    }

    /// Fails when only the first or only the last `v1` is checked.
    #[tokio::test]
    async fn any_of_several_signatures_may_match() {
        assert_eq!(
            status_of(|time, good| format!("{time},{good},{}", foreign())).await,
            200
        );
        assert_eq!(
            status_of(|time, good| format!("{time},{},{good}", foreign())).await,
            200
        );
    }

    /// Fails when the key of an entry is not compared.
    #[tokio::test]
    async fn a_test_signature_does_not_count() {
        let status = status_of(|time, good| format!("{time},{}", good.replacen("v1", "v0", 1)));
        assert_eq!(status.await, 401);
    }

    /// Fails when the first or last of two `t` is used.
    #[tokio::test]
    async fn the_time_occurs_exactly_once() {
        assert_eq!(
            status_of(|time, good| format!("{time},t=1,{good}")).await,
            401
        );
        assert_eq!(
            status_of(|time, good| format!("t=1,{time},{good}")).await,
            401
        );
        assert_eq!(status_of(|_, good| good.to_owned()).await, 401);
        assert_eq!(
            status_of(|time, good| format!("{time}.5,{good}")).await,
            401
        );
        assert_eq!(
            status_of(|time, good| format!("t=+{},{good}", &time[2..])).await,
            401
        );
    }
}

mod rotation {
    use super::*;

    const NEW: &str = "the-new-secret-0123456789abcdef";
    const OLD: &str = "the-old-secret-0123456789abcdef";

    async fn gate(secrets: &str, app: &App) -> Gate {
        let lines = format!("secret = {secrets}");
        let route = Provider::Github.route_with("hook", &app.url("/"), &lines);
        Gate::options(&route)
            .env("NEW", NEW)
            .env("OLD", OLD)
            .start()
            .await
    }

    fn signed_with(secret: &str) -> Hook {
        Sender::new(Provider::Github)
            .with_secret(secret)
            .event("/hook")
    }

    /// Fails when only the first secret is tried.
    #[tokio::test]
    async fn both_secrets_count_and_the_log_says_which_one_matched() {
        let app = App::start(ok());
        let secrets = "[{ env = \"NEW\", name = \"new\" }, { env = \"OLD\", until = 2100-01-01 }]";
        let gate = gate(secrets, &app).await;
        assert_eq!(gate.send(&signed_with(NEW)).await.status, 200);
        gate.wait_for_line(&["\"secret\":\"new\""]).await;
        assert_eq!(gate.send(&signed_with(OLD)).await.status, 200);
        gate.wait_for_line(&["\"secret\":\"2\""]).await;
        assert_eq!(
            gate.send(&signed_with("neither-of-the-two-secrets"))
                .await
                .status,
            401
        );
        assert_eq!(app.count(), 2);
    }

    /// Fails when `until` is read and not compared with the clock.
    #[tokio::test]
    async fn a_secret_past_its_time_no_longer_counts() {
        let app = App::start(ok());
        let secrets = "[{ env = \"NEW\" }, { env = \"OLD\", until = 2020-01-01 }]";
        let gate = gate(secrets, &app).await;
        assert_eq!(gate.send(&signed_with(OLD)).await.status, 401);
        assert_eq!(gate.send(&signed_with(NEW)).await.status, 200);
        assert_eq!(app.count(), 1);
    }

    /// Fails when a secret without a current one falls back to the first.
    #[tokio::test]
    async fn without_a_current_secret_nothing_passes() {
        let app = App::start(ok());
        let gate = gate("[{ env = \"NEW\", not_before = 2100-01-01 }]", &app).await;
        assert_eq!(gate.send(&signed_with(NEW)).await.status, 401);
        gate.wait_for_line(&["no-current-secret"]).await;
        assert_eq!(app.count(), 0);
    }
}

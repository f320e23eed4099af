//! Tests of attempts over real sockets: the request that is sent, and the outcome of each end of an exchange.

use hmac::{Hmac, KeyInit, Mac};

use super::*;
use crate::deliver::plan::DeliveryPlan;
use crate::deliver::testing::{SECRET, due, event, plan, plan_of, plan_with};
use crate::deliver::verdict::DeliveryVerdict;
use crate::net::client::OutgoingClient;
use crate::net::egress::EgressResolver;
use crate::net::testing::NameServer;
use crate::test_rig::app::{
    App, Behavior, Recorded, Refusing, ok, raw, raw_then_close, raw_then_hang, respond,
    respond_with, sequence,
};
use crate::test_rig::tls::Authority;
use crate::test_rig::{LIMIT, wait_for};

const BODY: &[u8] = b"{\"zen\":\"\xe4\xbd\xa0 \\u00eb\"}\r\n ";

async fn attempted(plan: &DeliveryPlan) -> CompletedAttempt {
    attempt(&plan.target, due(event(BODY))).await
}

fn fault(ended: &CompletedAttempt) -> Option<&str> {
    ended.record.error.as_ref().map(|(word, _)| word.as_str())
}

#[tokio::test]
async fn the_request_says_what_proxy_mode_says_and_which_attempt_it_is() {
    let host = App::start(respond_with(200, "", "thanks"));
    let plan = plan(&host.url("/in"), "headers = { X-Own = \"yes\" }");
    let ended = attempt(
        &plan.target,
        DueDelivery {
            attempt: 3,
            is_replay: true,
            ..due(event(BODY))
        },
    )
    .await;
    assert_eq!(ended.outcome.verdict(), DeliveryVerdict::Delivered);
    assert_eq!(ended.record.status, Some(200));
    assert_eq!(ended.record.error, None);
    assert_eq!(&ended.record.response_start[..], b"thanks");
    let request = &host.requests()[0];
    assert_eq!(request.line(), "POST /in HTTP/1.1");
    let digest = format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(BODY)));
    for (name, value) in [
        ("host", &*host.address().to_string()),
        ("content-type", "application/json"),
        ("x-github-event", "push"),
        ("x-hub-signature-256", "sha256=00"),
        ("x-own", "yes"),
        ("hookgate-route", "shop"),
        ("hookgate-provider", "github"),
        ("hookgate-event-id", "72d3162e-cc78"),
        ("hookgate-event-type", "push"),
        ("hookgate-attempt", "3"),
        ("hookgate-replay", "true"),
        ("hookgate-body-digest", &digest),
        ("webhook-id", "72d3162e-cc78"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "hooks.example"),
        ("content-length", &BODY.len().to_string()),
    ] {
        assert_eq!(request.header(name).as_deref(), Some(value), "{name}");
    }
    let uid = event(BODY).uid.to_string();
    assert_eq!(
        request.header("hookgate-request-id").as_deref(),
        Some(&*uid)
    );
    for absent in [
        "connection",
        "webhook-signature",
        "webhook-timestamp",
        "repr-digest",
    ] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
    assert_eq!(request.body, BODY);
}

#[tokio::test]
async fn the_digest_stands_under_its_standard_name_where_it_is_asked_for() {
    let host = App::start(respond(200, ""));
    let plan = plan(&host.url("/in"), "repr_digest = true");
    attempt(&plan.target, due(event(BODY))).await;
    let request = &host.requests()[0];
    let digest = format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(BODY)));
    assert_eq!(request.header("repr-digest").as_deref(), Some(&*digest));
    assert_eq!(
        request.header("hookgate-body-digest").as_deref(),
        Some(&*digest)
    );
}

#[tokio::test]
async fn a_destination_has_its_own_path_and_an_upstream_the_rest_of_the_routes() {
    let host = App::start(respond(204, ""));
    let fixed = plan(&format!("{}?key=1", host.url("/in")), "");
    attempted(&fixed).await;
    let text = format!(
        "[server]\nlisten = [\"127.0.0.1:0\"]\n[store]\nurl = \"sqlite:/tmp/hookgate-none.db\"\n[routes.shop]\nprefix = \"/shop\"\nmode = \"queue\"\nprovider = \"github\"\nsecret = \"{SECRET}\"\nupstream = \"http://{}/base\"\n",
        host.address()
    );
    let joined = plan_of(&text, &OutgoingClient::new());
    let mut sent = event(BODY);
    sent.target = "/shop/a%2Fb?c=%20".to_owned();
    attempt(&joined.target, due(sent)).await;
    let lines: Vec<_> = host.requests().iter().map(Recorded::line).collect();
    assert_eq!(
        lines,
        ["POST /in?key=1 HTTP/1.1", "POST /base/a%2Fb?c=%20 HTTP/1.1"]
    );
}

// Fails when `build` does not compare with `event.digest`.
#[tokio::test]
async fn a_body_that_is_not_the_accepted_one_is_not_sent() {
    let host = App::start(respond(200, ""));
    let plan = plan(&host.url("/in"), "");
    let mut changed = event(BODY);
    changed.body = Some(Bytes::from_static(b"{}"));
    let mut lost = event(BODY);
    lost.body = None;
    for event in [changed, lost] {
        let ended = attempt(&plan.target, due(event)).await;
        assert_eq!(fault(&ended), Some("damaged"));
        assert_eq!(ended.outcome.verdict(), DeliveryVerdict::Hopeless);
    }
    assert_eq!(host.connections(), 0);
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn seconds_from_now(request: &Recorded, name: &str) -> i64 {
    let written: i64 = request.header(name).unwrap().parse().unwrap();
    (ClockReading::read().unix_seconds() - written).abs()
}

// Fails when the signature covers `event.received_ms` instead of the current time.
#[tokio::test]
async fn each_attempt_is_signed_now_with_every_key_under_one_id() {
    let host = App::start(respond(200, ""));
    let keys = [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    ];
    let extra = format!("secret = [\"whsec_{}\", \"whsec_{}\"]", keys[0], keys[1]);
    let plan = plan(&host.url("/in"), &extra);
    for attempt_number in 1..=2 {
        let mut sent = event(BODY);
        sent.received_ms = 0;
        sent.headers
            .insert("webhook-signature", HeaderValue::from_static("v1,forged"));
        let due = DueDelivery {
            attempt: attempt_number,
            ..due(sent)
        };
        attempt(&plan.target, due).await;
    }
    let requests = host.requests();
    assert_eq!(requests.len(), 2);
    for request in &requests {
        assert_eq!(
            request.header("webhook-id").as_deref(),
            Some("72d3162e-cc78")
        );
        assert!(seconds_from_now(request, "webhook-timestamp") <= 5);
        let timestamp = request.header("webhook-timestamp").unwrap();
        let text = [b"72d3162e-cc78.", timestamp.as_bytes(), b".", BODY].concat();
        let expected: Vec<_> = keys
            .iter()
            .map(|key| {
                let key = BASE64.decode(key.as_bytes()).unwrap();
                format!("v1,{}", BASE64.encode(&hmac(&key, &text)))
            })
            .collect();
        assert_eq!(
            request.header("webhook-signature").as_deref(),
            Some(&*expected.join(" "))
        );
    }
}

// Fails when `Signing::resign` uses `headers.append` instead of `insert`.
#[tokio::test]
async fn the_senders_own_scheme_signs_anew() {
    let host = App::start(respond(200, ""));
    let route = "provider = \"slack\"\nsecret = [\"fake-slack-secret-0002\", \"fake-slack-secret-0001\"]\nresign = \"provider\"";
    let plan = plan_with(&host.url("/in"), "", route, &OutgoingClient::new());
    let mut sent = event(BODY);
    for (name, value) in [
        ("x-slack-signature", "v0=00"),
        ("x-slack-request-timestamp", "1531420618"),
    ] {
        sent.headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    attempt(&plan.target, due(sent)).await;
    let request = &host.requests()[0];
    assert!(seconds_from_now(request, "x-slack-request-timestamp") <= 5);
    let timestamp = request.header("x-slack-request-timestamp").unwrap();
    let text = [b"v0:", timestamp.as_bytes(), b":", BODY].concat();
    let mac = hmac(b"fake-slack-secret-0002", &text);
    let expected = format!("v0={}", data_encoding::HEXLOWER.encode(&mac));
    assert_eq!(
        request.header("x-slack-signature").as_deref(),
        Some(&*expected)
    );
}

#[tokio::test]
async fn each_end_of_an_exchange_has_its_word() {
    let cases: Vec<(Behavior, &str, Option<u16>)> = vec![
        (Behavior::Reset, "closed", None),
        (Behavior::Close, "closed", None),
        (raw_then_close("SSH-2.0-x\r\n"), "garbage", None),
        (raw_then_close("HTTP/1.1 200"), "closed", None),
        (Behavior::Hang, "deadline", None),
        (raw_then_hang("HTTP/1.1 200 O"), "deadline", None),
        (
            raw_then_hang("HTTP/1.1 101 X\r\nupgrade: x\r\n\r\n"),
            "invalid",
            None,
        ),
        (
            raw("HTTP/1.1 600 X\r\ncontent-length: 0\r\n\r\n"),
            "invalid",
            None,
        ),
        (
            raw("HTTP/1.1 200 X\r\ncontent-length: 0\r\ntransfer-encoding: gzip, chunked\r\n\r\n"),
            "invalid",
            None,
        ),
        (respond(500, ""), "status", Some(500)),
        (
            raw_then_close("HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\nab"),
            "cut",
            Some(500),
        ),
        (
            raw_then_hang("HTTP/1.1 500 X\r\ncontent-length: 9\r\n\r\nab"),
            "deadline",
            Some(500),
        ),
    ];
    for (number, (reply, word, status)) in cases.into_iter().enumerate() {
        let shown = format!("case {number}");
        let host = App::start(reply);
        let plan = plan(&host.url("/in"), "timeout = \"300ms\"");
        let ended = attempted(&plan).await;
        assert_eq!(fault(&ended), Some(word), "{shown}");
        assert_eq!(ended.record.status, status, "{shown}");
        assert!(
            matches!(ended.outcome.verdict(), DeliveryVerdict::Retry { .. }),
            "{shown}"
        );
        assert!(ended.took < Duration::from_secs(3), "{shown}");
    }
}

#[tokio::test]
async fn a_closed_port_and_a_forbidden_address_have_their_words() {
    let closed = Refusing::new();
    let refused = attempted(&plan(&closed.url("/"), "")).await;
    assert_eq!(fault(&refused), Some("connect"));
    let inside = attempted(&plan("https://127.0.0.1:1/", "external = true")).await;
    assert_eq!(fault(&inside), Some("forbidden"));
}

#[tokio::test]
async fn a_2xx_counts_though_the_rest_of_the_answer_does_not_come() {
    for (reply, word) in [
        (
            raw_then_close("HTTP/1.1 200 X\r\ncontent-length: 9\r\n\r\nab"),
            "cut",
        ),
        (
            raw_then_hang("HTTP/1.1 202 X\r\ncontent-length: 9\r\n\r\nab"),
            "deadline",
        ),
    ] {
        let host = App::start(reply);
        let ended = attempted(&plan(&host.url("/in"), "timeout = \"300ms\"")).await;
        assert_eq!(ended.outcome.verdict(), DeliveryVerdict::Delivered);
        assert_eq!(fault(&ended), Some(word));
        assert_eq!(&ended.record.response_start[..], b"ab");
    }
}

// Fails when `Draining::poll` does not compare with `bounds.read`.
#[tokio::test]
async fn of_a_long_answer_the_start_is_kept_and_the_connection_closed() {
    let body = "x".repeat(164 * 1024);
    let host = App::start(sequence([
        respond_with(200, "", &body),
        respond_with(200, "", &body[..READ_ANSWER / 2]),
    ]));
    let plan = plan(&host.url("/in"), "");
    for connections in [1, 2, 2] {
        let ended = attempted(&plan).await;
        assert_eq!(ended.record.response_start.len(), KEPT_ANSWER);
        assert_eq!(ended.record.error, None);
        assert_eq!(host.connections(), connections);
    }
}

// Fails when the client follows `Location`.
#[tokio::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let elsewhere = App::start(respond(200, ""));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: {}\r\n", elsewhere.url("/in"));
        let host = App::start(respond_with(status, &location, ""));
        let ended = attempted(&plan(&host.url("/in"), "")).await;
        assert_eq!(
            ended.outcome.verdict(),
            DeliveryVerdict::Retry { after: None }
        );
        let (word, text) = ended.record.error.unwrap();
        assert_eq!(word, "status");
        assert!(text.contains("redirects are not followed"), "{text}");
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn retry_after_is_read_in_both_forms_where_it_counts() {
    let soon = ClockReading::read().unix_seconds() + 100;
    let date = std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(soon).unwrap());
    let date = httpdate::fmt_http_date(date);
    for (status, header, least, most) in [
        (429, "retry-after: 17\r\n".to_owned(), 17, 17),
        (503, format!("retry-after: {date}\r\n"), 95, 100),
        (500, "retry-after: 17\r\n".to_owned(), 0, 0),
        (429, "retry-after: 1\r\nretry-after: 2\r\n".to_owned(), 0, 0),
    ] {
        let host = App::start(respond_with(status, &header, ""));
        let ended = attempted(&plan(&host.url("/in"), "")).await;
        let DeliveryVerdict::Retry { after } = ended.outcome.verdict() else {
            panic!("{status} is retried");
        };
        let seconds = after.unwrap_or_default().as_secs();
        assert!(
            (least..=most).contains(&seconds),
            "{status} {header}: {seconds}"
        );
    }
}

#[tokio::test]
async fn a_connection_is_used_again_and_a_dying_one_costs_no_attempt() {
    let host = App::start(sequence([
        respond_with(200, "", "a"),
        respond_with(200, "", "b"),
        raw_then_close("HTTP/1.1 200 X\r\ncontent-length: 1\r\n\r\nc"),
        respond(200, ""),
    ]));
    let plan = plan(&host.url("/in"), "");
    for _ in 0..3 {
        assert_eq!(attempted(&plan).await.record.status, Some(200));
    }
    assert_eq!(host.connections(), 1);
    wait_for("the end of the connection", LIMIT, || {
        host.open_connections() == 0
    })
    .await;
    assert_eq!(attempted(&plan).await.record.status, Some(200));
    assert_eq!(host.connections(), 2);
}

// Fails when `OwnTls::eq` returns true and `hash` hashes nothing.
#[tokio::test]
async fn own_authorities_and_a_client_certificate_count() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    authority.issue(folder.path(), "client", &["client.test"]);
    let host = App::start_tls(authority.server_config_for_clients(), ok());
    let url = format!("https://localhost:{}/", host.address().port());
    let path = |name: &str| folder.path().join(name).display().to_string();
    let client = OutgoingClient::with_roots(rustls::RootCertStore::empty());
    let route = format!("provider = \"github\"\nsecret = \"{SECRET}\"");
    let (ca, cert, key) = (path("ca.pem"), path("client.pem"), path("client.key"));
    let both = format!("tls = {{ ca = \"{ca}\", cert = \"{cert}\", key = \"{key}\" }}");
    // The plan stays alive, so that a wrong key could share its pool.
    let known = plan_with(&url, &both, &route, &client);
    let ended = attempted(&known).await;
    assert_eq!(ended.record.status, Some(200), "{:?}", ended.record.error);
    for extra in ["", &format!("tls = {{ ca = \"{ca}\" }}")] {
        let ended = attempted(&plan_with(&url, extra, &route, &client)).await;
        let word = fault(&ended).unwrap();
        // The server rejects a missing certificate after the client's side of a TLS 1.3 handshake.
        assert!(
            ["tls", "closed", "unwritten"].contains(&word),
            "{extra}: {word}"
        );
    }
    assert_eq!(host.count(), 1);
    drop(known);
}

fn is_loopback(ip: std::net::IpAddr) -> bool {
    ip.is_loopback()
}

// Fails when `withheld` returns an empty list.
#[tokio::test]
async fn what_a_local_app_shows_to_the_gate_stays_here() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    std::fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
    let host = App::start_tls(authority.server_config(), ok());
    let names = NameServer::start(|_| vec![[127, 0, 0, 1].into()]).await;
    let resolver = EgressResolver::lenient(names.address, is_loopback);
    let client = OutgoingClient::with_resolver(Some(rustls::RootCertStore::empty()), resolver);
    let ca = folder.path().join("ca.pem").display().to_string();
    let extra = format!("external = true\ntls = {{ ca = \"{ca}\" }}");
    let url = format!("https://localhost:{}/in", host.address().port());
    let route = "provider = \"local\"\nsecret = \"fake-local-token-0001\"";
    let plan = plan_with(&url, &extra, route, &client);
    let mut sent = event(BODY);
    sent.headers.insert(
        "authorization",
        HeaderValue::from_static("Bearer fake-local-token-0001"),
    );
    sent.headers
        .insert("idempotency-key", HeaderValue::from_static("order-17"));
    let ended = attempt(&plan.target, due(sent)).await;
    assert_eq!(ended.record.status, Some(200), "{:?}", ended.record.error);
    let request = &host.requests()[0];
    let text = request.text();
    assert!(!text.contains("fake-local-token"), "{text}");
    for absent in ["authorization", "x-forwarded-for", "x-forwarded-host"] {
        assert_eq!(request.header(absent), None, "{absent}");
    }
    assert_eq!(
        request.header("idempotency-key").as_deref(),
        Some("order-17")
    );
}

// Fails when an external destination uses `Reach::Near`.
#[tokio::test]
async fn an_external_destination_is_never_inside() {
    let names = NameServer::start(|_| vec![[127, 0, 0, 1].into()]).await;
    let client = OutgoingClient::with_resolver(
        Some(rustls::RootCertStore::empty()),
        EgressResolver::at(names.address),
    );
    let route = format!("provider = \"github\"\nsecret = \"{SECRET}\"");
    let host = App::start(respond(200, ""));
    for name in ["hooks.example", "127.0.0.1", "[::1]", "[::ffff:10.0.0.1]"] {
        let url = format!("https://{name}:{}/", host.address().port());
        let ended = attempted(&plan_with(&url, "external = true", &route, &client)).await;
        assert_eq!(fault(&ended), Some("forbidden"), "{name}");
    }
    assert_eq!(host.connections(), 0);
}

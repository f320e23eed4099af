//! Tests of promise 4, nothing acknowledged is lost: queue and hybrid mode with a store on disk, and SIGKILL.

use std::time::{Duration, Instant};

use data_encoding::BASE64;

use crate::harness::app::{
    App, Behavior, Latch, Recorded, Refusing, by, garbage, held, ok, respond, sequence, slow,
};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};
use crate::harness::{LIMIT, let_time_pass, wait_for};

pub(crate) const STORE: &str = "[store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n";

/// Retry schedule that is short enough for a test.
pub(crate) const QUICK: &str =
    "retry = { schedule = [\"50ms\"], max_attempts = 200, jitter = 0 }\nbreaker = false\n";

/// Returns a route that stores its events, for the app at this URL under the name `upstream`.
pub(crate) fn kept(provider: Provider, mode: &str, url: &str, more: &str) -> String {
    let route = provider.route("hook", url, &format!("mode = \"{mode}\"\n{more}"));
    format!("{STORE}{route}[routes.hook.destinations.upstream]\n{QUICK}")
}

pub(crate) fn is_duplicate(reply: &Reply) -> bool {
    reply.header("hookgate-duplicate") == Some("true")
}

pub(crate) fn bodies(app: &App) -> Vec<Vec<u8>> {
    app.requests()
        .into_iter()
        .map(|request| request.body)
        .collect()
}

/// Fails when the body changes in the store, or a header of the sender is lost.
#[tokio::test]
async fn an_event_is_answered_at_once_and_delivered_as_it_came() {
    for provider in [
        Provider::Stripe,
        Provider::Github,
        Provider::StandardWebhooks,
    ] {
        let latch = Latch::default();
        let app = App::start(held(&latch, 200));
        let gate = Gate::start(&kept(provider, "queue", &app.url("/in"), "")).await;
        let hook = Sender::new(provider).event("/hook").with("X-Own", "kept");
        let reply = gate.send(&hook).await;
        assert_eq!(
            (reply.status, is_duplicate(&reply)),
            (200, false),
            "{provider:?}"
        );
        let uid = reply.header("hookgate-request-id").unwrap().to_owned();
        // The app has not responded: the sender's response did not wait for it.
        latch.open();
        app.wait_for_requests(1).await;
        let got = app.only_request();
        assert_eq!(got.body, hook.body, "{provider:?}");
        assert_eq!(got.line(), "POST /in HTTP/1.1");
        assert_eq!(got.header("x-own").as_deref(), Some("kept"));
        let signature = provider.signature_header();
        assert_eq!(
            got.header(signature).as_deref(),
            Some(hook.header(signature))
        );
        assert_eq!(got.header("hookgate-request-id"), Some(uid));
        assert_eq!(got.header("hookgate-route").as_deref(), Some("hook"));
        assert_eq!(
            got.header("hookgate-provider").as_deref(),
            Some(provider.id())
        );
        assert_eq!(got.header("hookgate-attempt").as_deref(), Some("1"));
        assert!(got.header("webhook-id").is_some());
        assert!(got.header("hookgate-body-digest").is_some());
        assert_eq!(got.header("hookgate-replay"), None);
        assert_eq!(got.header("x-forwarded-for").as_deref(), Some("127.0.0.1"));
    }
}

/// Fails when a large body is cut or changed in the store.
#[tokio::test]
async fn a_large_event_is_kept_whole() {
    let app = App::start(ok());
    let more = "max_body = \"10MiB\"\n";
    let gate = Gate::start(&kept(Provider::Github, "queue", &app.url("/in"), more)).await;
    let sender = Sender::new(Provider::Github);
    let body: Vec<u8> = (0..9_500_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let reply = gate.send(&sender.sign("/hook", "large", &body)).await;
    assert_eq!(reply.status, 200);
    app.wait_for_requests(1).await;
    assert!(app.only_request().body == body);
}

/// Fails when a failed attempt is the last one, or when attempts of one event carry different ids.
#[tokio::test]
async fn a_failing_app_gets_the_event_until_it_takes_it() {
    let app = App::start(sequence([
        respond(500, "oops"),
        Behavior::Close,
        garbage(),
        respond(302, "elsewhere"),
        ok(),
    ]));
    let gate = Gate::start(&kept(Provider::Github, "queue", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(5).await;
    // An event behind it shows that nothing more is sent of it.
    let last = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&last).await.status, 200);
    let mut got = app.wait_for_requests(6).await;
    assert_eq!(got.pop().unwrap().body, last.body, "it goes on after a 2xx");
    let attempts: Vec<_> = got
        .iter()
        .map(|each| each.header("hookgate-attempt").unwrap())
        .collect();
    assert_eq!(attempts, ["1", "2", "3", "4", "5"]);
    let ids: std::collections::BTreeSet<_> =
        got.iter().map(|each| each.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1);
    assert!(got.iter().all(|each| each.body == hook.body));
}

/// Fails when the response is sent before the commit is durable, or when a start does not resume open deliveries.
#[tokio::test]
async fn what_was_answered_survives_a_kill() {
    let down = Refusing::new();
    let mut gate = Gate::start(&kept(Provider::Github, "queue", &down.url("/in"), "")).await;
    let hooks: Vec<Hook> = (0..20)
        .map(|_| Sender::new(Provider::Github).event("/hook"))
        .collect();
    for hook in &hooks {
        assert_eq!(gate.send(hook).await.status, 200);
    }
    gate.restart("KILL").await;
    // The copy of a stored event is still recognized after the kill.
    assert!(is_duplicate(&gate.send(&hooks[0]).await));
    let app = App::start(ok());
    let text = kept(Provider::Github, "queue", &app.url("/in"), "");
    assert!(gate.reload(&text).await);
    app.wait_for_requests(hooks.len()).await;
    let mut got = bodies(&app);
    let mut sent: Vec<_> = hooks.into_iter().map(|hook| hook.body).collect();
    got.sort();
    sent.sort();
    assert_eq!(got, sent);
}

/// Fails when the memory of proxy routes is not read back from the store.
#[tokio::test]
async fn with_a_store_a_proxy_route_knows_its_events_after_a_restart() {
    let app = App::start(respond(202, "taken"));
    let route = Provider::Stripe.route("hook", &app.url("/in"), "");
    let mut gate = Gate::start(&format!("{STORE}{route}")).await;
    let hook = Sender::new(Provider::Stripe).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 202);
    gate.restart("TERM").await;
    let reply = gate.send(&hook).await;
    assert_eq!((reply.status, is_duplicate(&reply)), (202, true));
    app.only_request();
}

/// Fails when one failing destination delays another, or when `events` of a destination are ignored.
#[tokio::test]
async fn each_destination_goes_at_its_own_pace() {
    let (hangs, slow, fine, other) = (
        App::start(Behavior::Hang),
        App::start(slow(Duration::from_millis(700), 200)),
        App::start(ok()),
        App::start(ok()),
    );
    let refuses = Refusing::new();
    let secret = Provider::Stripe.secret();
    let mut text = format!(
        "{STORE}[routes.hook]\npath = \"/hook\"\nprovider = \"stripe\"\nsecret = \"{secret}\"\nmode = \"queue\"\n"
    );
    for (name, url, more) in [
        ("hangs", hangs.url("/"), "timeout = \"20s\"\n"),
        ("slow", slow.url("/"), ""),
        ("fine", fine.url("/"), ""),
        ("refuses", refuses.url("/"), ""),
        ("other", other.url("/"), "events = [\"payout.*\"]\n"),
    ] {
        text.push_str(&format!(
            "[routes.hook.destinations.{name}]\nurl = \"{url}\"\nconcurrency = 2\n{more}{QUICK}"
        ));
    }
    let gate = Gate::start(&text).await;
    let began = Instant::now();
    for _ in 0..20 {
        let hook = Sender::new(Provider::Stripe).event("/hook");
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    fine.wait_for_requests(20).await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(slow.count() < 20, "two at a time, 0.7 s each");
    assert_eq!(other.count(), 0);
}

/// Fails when an event is sent before the app took the one before it.
#[tokio::test]
async fn in_order_means_one_after_the_other() {
    let failures = std::sync::atomic::AtomicUsize::new(0);
    let app = App::start(by(move |_: &Recorded| {
        let count = failures.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        respond(if count.is_multiple_of(3) { 503 } else { 200 }, "")
    }));
    let route = Provider::Github.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    let text =
        format!("{STORE}{route}[routes.hook.destinations.upstream]\norder = \"fifo\"\n{QUICK}");
    let gate = Gate::start(&text).await;
    let mut sent = Vec::new();
    for _ in 0..8 {
        let hook = Sender::new(Provider::Github).event("/hook");
        assert_eq!(gate.send(&hook).await.status, 200);
        sent.push(hook.body);
    }
    let taken = |app: &App| -> Vec<Vec<u8>> {
        let requests = app.requests().into_iter().enumerate();
        let good = requests.filter(|(index, _)| index % 3 != 0);
        good.map(|(_, request)| request.body).collect()
    };
    wait_for("all in order", LIMIT, || taken(&app).len() == sent.len()).await;
    assert_eq!(taken(&app), sent);
}

/// Fails when the signature covers the wrong text or is made once for all attempts, or when the sender's own is lost.
#[tokio::test]
async fn attempts_are_signed_as_standard_webhooks_have_it() {
    let key = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    let app = App::start(sequence([respond(500, ""), ok()]));
    let route = Provider::Github.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    let text = format!(
        "{STORE}{route}[routes.hook.destinations.upstream]\nsecret = \"{key}\"\nretry = [\"1100ms\"]\n"
    );
    let gate = Gate::start(&text).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(2).await;
    let mut times = Vec::new();
    for got in app.requests() {
        let (id, time) = (
            got.header("webhook-id").unwrap(),
            got.header("webhook-timestamp").unwrap(),
        );
        let secret = BASE64
            .decode(key.trim_start_matches("whsec_").as_bytes())
            .unwrap();
        let expected = mac(
            &secret,
            &[id.as_bytes(), b".", time.as_bytes(), b".", &got.body],
        );
        let expected = format!("v1,{}", BASE64.encode(&expected));
        assert_eq!(got.header("webhook-signature"), Some(expected));
        assert!(got.header("x-hub-signature-256").is_some());
        times.push(time);
    }
    assert_ne!(times[0], times[1]);
}

/// Fails when a delivery carries the sender's first signature, whose time an app that verifies would refuse.
#[tokio::test]
async fn deliveries_can_be_signed_again_as_the_sender_does() {
    let app = App::start(sequence([respond(500, ""), ok()]));
    let route = Provider::Stripe.route(
        "hook",
        &app.url("/in"),
        "mode = \"queue\"\nresign = \"provider\"\n",
    );
    let text = format!("{STORE}{route}[routes.hook.destinations.upstream]\nretry = [\"1100ms\"]\n");
    let gate = Gate::start(&text).await;
    let hook = Sender::new(Provider::Stripe).shifted(-200).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    app.wait_for_requests(2).await;
    for got in app.requests() {
        let signature = got.header("stripe-signature").unwrap();
        assert_ne!(signature, hook.header("stripe-signature"));
        let (time, v1) = signature.split_once(",v1=").unwrap();
        let time = time.strip_prefix("t=").unwrap();
        let age = crate::harness::unix_now() - time.parse::<i64>().unwrap();
        assert!((0..30).contains(&age), "{age}");
        let secret = Provider::Stripe.secret().as_bytes();
        let expected = mac(secret, &[time.as_bytes(), b".", &got.body]);
        assert_eq!(v1, data_encoding::HEXLOWER.encode(&expected));
    }
}

/// Fails when more events are acknowledged than the store may hold, or when a full store stops proxy routes.
#[tokio::test]
async fn a_full_store_refuses_senders_and_stops_nothing_else() {
    let (down, app) = (Refusing::new(), App::start(ok()));
    let queue = kept(Provider::Github, "queue", &down.url("/in"), "");
    let queue = queue.replace("min_free", "max_events = 3\nmin_free");
    let proxy = Provider::Stripe.route("proxy", &app.url("/in"), "");
    let gate = Gate::start(&format!("{queue}{proxy}")).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        let hook = Sender::new(Provider::Github).event("/hook");
        let reply = gate.send(&hook).await;
        if reply.status == 503 {
            assert!(reply.header("retry-after").is_some());
        }
        statuses.push(reply.status);
    }
    assert_eq!(statuses, [200, 200, 200, 503, 503]);
    gate.wait_for_line(&["not-stored", "the store is full"])
        .await;
    let hook = Sender::new(Provider::Stripe).event("/proxy");
    assert_eq!(gate.send(&hook).await.status, 200);
}

/// Fails when another process's lock on the file stops proxy routes, or when its begin and end are not logged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_store_is_reported_and_reopened() {
    let app = App::start(ok());
    let queue = kept(Provider::Github, "queue", &app.url("/in"), "");
    let proxy = Provider::Stripe.route("proxy", &app.url("/proxy"), "");
    let gate = Gate::start(&format!("{queue}{proxy}")).await;
    let event = || Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&event()).await.status, 200);
    app.wait_for_requests(1).await;
    let other = rusqlite::Connection::open(gate.folder().join("hookgate.db")).unwrap();
    other
        .busy_timeout(Duration::from_secs(5))
        .and_then(|()| other.execute_batch("BEGIN IMMEDIATE"))
        .unwrap();
    let refused = event();
    let reply = gate.send(&refused).await;
    assert!(reply.status == 503 && reply.header("retry-after").is_some());
    let hook = Sender::new(Provider::Stripe).event("/proxy");
    assert_eq!(gate.send(&hook).await.status, 200);
    gate.wait_for_line(&["the store failed", "locked"]).await;
    other.execute_batch("ROLLBACK").unwrap();
    gate.wait_for_line(&["the store accepts events"]).await;
    let reply = gate.send(&refused).await;
    assert_eq!((reply.status, is_duplicate(&reply)), (200, false));
    app.wait_for_requests(3).await;
}

/// Fails when a restart of the app that is shorter than the grace costs the sender its event.
#[tokio::test]
async fn a_refused_connection_is_tried_again_within_the_grace() {
    const GRACE: Duration = Duration::from_secs(5);
    let down = Refusing::new();
    let address = down.address();
    let route = Provider::Github.route(
        "hook",
        &format!("http://{address}/in"),
        &format!("upstream_grace = \"{GRACE:?}\"\n"),
    );
    let gate = Gate::start(&route).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    let sending = {
        let (client, hook) = (gate.client(), hook.clone());
        tokio::spawn(async move { client.send(&hook).await })
    };
    let_time_pass("a part of the grace", GRACE / 10).await;
    let app = App::start_on(down, ok());
    assert_eq!(sending.await.unwrap().status, 200);
    assert_eq!(app.only_request().body, hook.body);

    let down = Refusing::new();
    let route = Provider::Github.route("hook", &down.url("/in"), "upstream_grace = \"300ms\"\n");
    let gate = Gate::start(&route).await;
    let began = Instant::now();
    assert_eq!(gate.send(&hook).await.status, 502);
    assert!(
        began.elapsed() >= Duration::from_millis(280),
        "{:?}",
        began.elapsed()
    );
}

/// Runs a command against the gate's admin listener; returns exit code and both outputs.
pub(crate) fn command(gate: &Gate, arguments: &[&str]) -> (i32, String) {
    let output = gate.command(ADMIN_TOKEN, arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(text).unwrap(),
    )
}

pub(crate) const ADMIN_TOKEN: &str = "admin-token-of-a-test-0123456789";

/// Fails when a command does not act on the running gate, or when its change does not take effect at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_finds_a_dead_letter_sends_it_again_pauses_and_replays() {
    let down = Refusing::new();
    let address = down.address();
    let route = Provider::Github.route(
        "hook",
        &format!("http://{address}/in"),
        "mode = \"queue\"\n",
    );
    let text = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{ADMIN_TOKEN}\"\n{STORE}{route}[routes.hook.destinations.upstream]\nretry = \"none\"\nbreaker = false\n"
    );
    let gate = Gate::start(&text).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&hook).await.status, 200);
    let dead = || command(&gate, &["deliveries", "list", "--state", "dead", "--json"]).1;
    wait_for("the dead letter", LIMIT, || dead().contains("\"dead\"")).await;

    let app = App::start_on(down, ok());
    let (code, told) = command(&gate, &["deliveries", "retry", "1"]);
    assert_eq!(code, 0, "{told}");
    app.wait_for_requests(1).await;
    assert_eq!(
        app.requests()[0].header("hookgate-attempt").as_deref(),
        Some("2")
    );

    let (code, told) = command(&gate, &["destinations", "pause", "hook/upstream"]);
    assert_eq!(code, 0, "{told}");
    let other = Sender::new(Provider::Github).event("/hook");
    assert_eq!(gate.send(&other).await.status, 200);
    let pending = ["deliveries", "list", "--state", "pending", "--json"];
    let is_pending = || command(&gate, &pending).1.contains("\"pending\"");
    wait_for("the pending delivery", LIMIT, is_pending).await;
    let resumed = Instant::now();
    let (code, told) = command(&gate, &["destinations", "resume", "hook/upstream"]);
    assert_eq!(code, 0, "{told}");
    let requests = app.wait_for_requests(2).await;
    assert!(requests[1].at >= resumed, "it is paused until then");

    let replay = ["replay", "--destination", "hook/upstream", "--yes"];
    let (code, told) = command(&gate, &replay);
    assert_eq!(code, 0, "{told}");
    app.wait_for_requests(4).await;
    let replayed = app.requests().split_off(2);
    assert!(
        replayed
            .iter()
            .all(|each| each.header("hookgate-replay").as_deref() == Some("true"))
    );

    let (code, told) = command(&gate, &["deliveries", "retry", "1"]);
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("replay"), "{told}");
}

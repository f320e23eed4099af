//! Tests of `hookgate::testing` through its public names only, as other Rust programs use it.

use std::time::Duration;

use hookgate::testing::{
    EventSender, RequestFile, ResponseBehavior, SendTarget, ServerTrust, TestGate, TestingError,
    WebhookReceiver, set,
};

const SECRET: &str = "whsec_of_a_test_0123456789";

/// Returns a route for Stripe's events to this app.
fn route(app: &WebhookReceiver, more: &str) -> String {
    format!(
        "[routes.stripe]\npath = \"/stripe\"\nprovider = \"stripe\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n{more}",
        app.url("/webhooks")
    )
}

#[tokio::test]
async fn an_app_gets_what_is_genuine_and_the_log_says_why_the_rest_was_refused() {
    let app = WebhookReceiver::start().await.unwrap();
    let gate = TestGate::start(&route(&app, "")).await.unwrap();
    let stripe = EventSender::new("stripe", SECRET, &gate.url("/stripe?shop=1")).unwrap();
    let mut paid = stripe.draft(Some("invoice.paid"), now()).unwrap();
    set(&mut paid, "data.object.amount_paid", "500").unwrap();
    stripe.sign(&mut paid, now()).unwrap();
    let answer = gate.send(&paid).await.unwrap();
    assert_eq!(answer.status, 200);
    let got = app.next().await;
    assert_eq!(got.request.body, paid.body);
    assert_eq!(got.request.target, "/webhooks?shop=1");
    let type_of = got.request.header("hookgate-event-type");
    assert_eq!(type_of, Some("invoice.paid"));
    let told = gate.log_line_of(&answer).await.unwrap();
    assert_eq!(
        (&told["verdict"], &told["route"]),
        (&"accepted".into(), &"stripe".into())
    );

    // Saved as a file, read back and sent again, it is recognized.
    let file = RequestFile::parse(&paid.to_bytes().unwrap()).unwrap();
    let again = gate.send(&file).await.unwrap();
    assert_eq!(again.header("hookgate-duplicate"), Some("true"));
    for (forged, reason) in [
        (
            changed(&paid, |event| event.body = "{}".into()),
            "bad-signature",
        ),
        (
            changed(&paid, |event| event.remove_header("stripe-signature")),
            "missing-signature",
        ),
        (
            stripe.with_wrong_secret().unwrap().event(None).unwrap(),
            "bad-signature",
        ),
        (
            changed(&paid, |event| {
                stripe.sign(event, now() - 3_600_000).unwrap()
            }),
            "stale-timestamp",
        ),
    ] {
        let answer = gate.send(&forged).await.unwrap();
        let told = gate.log_line_of(&answer).await.unwrap();
        assert!((400..500).contains(&answer.status), "{told}");
        assert_eq!(told["reason"], reason, "{told}");
    }
    assert_eq!(app.received().len(), 1);
    app.clear();
    assert!(app.received().is_empty());
    gate.stop().await;
}

/// Fails when another client cannot trust the gate's certificate, or when the simulated failures of the app have no
/// effect.
#[tokio::test]
async fn an_app_that_fails_first_gets_a_kept_event_again() {
    let app = WebhookReceiver::start().await.unwrap();
    app.respond(ResponseBehavior::Sequence(vec![
        ResponseBehavior::Status(503),
        ResponseBehavior::Reset,
        ResponseBehavior::Status(204),
    ]));
    let folder = tempfile::tempdir().unwrap();
    let more = format!(
        "mode = \"queue\"\n[routes.stripe.destinations.upstream]\n\
         retry = {{ schedule = [\"20ms\"], max_attempts = 9, jitter = 0 }}\nbreaker = false\n\
         [store]\nurl = \"sqlite:{}\"\nmin_free = \"1MiB\"\n",
        folder.path().join("hookgate.db").display()
    );
    let gate = TestGate::start(&route(&app, &more)).await.unwrap();
    let url = gate.url("/stripe");
    let event = EventSender::new("stripe", SECRET, &url)
        .unwrap()
        .event(None)
        .unwrap();
    let client = SendTarget::new(
        &url,
        ServerTrust::File(gate.authority()),
        Duration::from_secs(20),
    )
    .unwrap();
    assert_eq!(client.send(&event).await.unwrap().status, 200);
    for answer in ["503", "reset", "204"] {
        let got = app.next().await;
        assert_eq!((&*got.answer, &got.request.body), (answer, &event.body));
    }
    let stranger = SendTarget::new(&url, ServerTrust::System, Duration::from_secs(20)).unwrap();
    assert!(
        stranger
            .send(&event)
            .await
            .unwrap_err()
            .contains("certificate")
    );
    gate.stop().await;
    // The port is closed, so requests fail to connect.
    assert!(client.send(&event).await.is_err());
    assert_eq!(app.received().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_tested_is_an_error_that_says_why() {
    let url = "http://127.0.0.1:1/";
    let error = |tried: Result<EventSender, TestingError>| tried.err().unwrap().to_string();
    let unknown = error(EventSender::new("no_such", SECRET, url));
    assert_eq!(unknown, "no provider has the id `no_such`");
    let foreign = error(EventSender::new("google_pubsub", SECRET, url));
    assert!(
        foreign.contains("can verify events of `google_pubsub`, but not sign them"),
        "{foreign}"
    );
    let wrong = error(EventSender::new("stripe", SECRET, "127.0.0.1"));
    assert!(
        wrong.contains("is not a valid http or https URL"),
        "{wrong}"
    );
    let stripe = EventSender::new("stripe", SECRET, url).unwrap();
    let no_type = stripe.event(Some("no.such")).unwrap_err();
    assert!(
        matches!(&no_type, TestingError::NoPayload { known, .. } if known.contains("invoice.paid"))
    );
    let refused = TestGate::start("[routes.a]\npath = \"/a\"\nprovidr = \"stripe\"\n").await;
    let Err(TestingError::Config(report)) = refused else {
        panic!("a config with an unknown key is taken");
    };
    assert!(report.contains("providr"), "{report}");
    let taken = WebhookReceiver::start().await.unwrap();
    let second = WebhookReceiver::with(taken.address(), ResponseBehavior::Status(200)).await;
    assert!(matches!(second, Err(TestingError::Io("cannot listen", _))));
}

/// Returns a changed copy of an event.
fn changed(event: &RequestFile, change: impl Fn(&mut RequestFile)) -> RequestFile {
    let mut event = event.clone();
    change(&mut event);
    event
}

/// Returns the milliseconds since the epoch.
fn now() -> i64 {
    crate::harness::unix_now() * 1000
}

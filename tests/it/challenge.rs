//! Tests of URL checks: the gate responds only to signed checks, or as safely as the protocol allows.

use data_encoding::HEXLOWER;

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender, mac};
use crate::harness::unix_now;

const SECRET: &str = "fakeSecret-0123456789abcdef";
const OLD_SECRET: &str = "fakeSecret-fedcba9876543210";

const BODY: &[u8] = br#"{"token":"Jhj5dZrVaK7ZwHHjRyZWjbDl","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P","type":"url_verification"}"#;
const CHALLENGE: &str = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";

#[tokio::test]
async fn slack_gets_its_challenge_back() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    for client in [gate.client(), gate.client_h2()] {
        let reply = client.send(&hook).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, CHALLENGE));
    }
    assert_eq!(app.count(), 0);
    gate.wait_for_line(&["\"challenge\""]).await;
    assert_eq!(
        gate.send(&Sender::new(Provider::Slack).event("/slack"))
            .await
            .status,
        200
    );
    app.only_request();
}

/// Fails when a challenge is answered before its signature is checked: the gate would echo text of any client.
#[tokio::test]
async fn an_unsigned_challenge_is_refused() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), "")).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    let unsigned = hook.clone().without("X-Slack-Signature");
    let forged = Sender::new(Provider::Slack).with_secret(Provider::Slack.other_secret());
    for bad in [
        unsigned,
        forged.sign("/slack", "", BODY),
        hook.flip_body_byte(),
    ] {
        let reply = gate.send(&bad).await;
        assert_eq!(reply.status, 401);
        assert!(!reply.text().contains(CHALLENGE));
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn a_route_may_leave_the_challenge_to_its_app() {
    let app = App::start(ok());
    let more = "on_challenge = \"forward\"";
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), more)).await;
    let hook = Sender::new(Provider::Slack).sign("/slack", "", BODY);
    assert_eq!(gate.send(&hook).await.text(), "taken");
    assert_eq!(app.only_request().body, BODY);
}

fn meta(app: &App) -> String {
    format!(
        "[routes.meta]\npath = \"/meta\"\nprovider = \"meta\"\nsecret = \"0123456789abcdef0123456789abcdef\"\nverify_token = \"a8f1c3e59b7d2046\"\nupstream = \"{}\"\n",
        app.url("/in")
    )
}

/// Fails when the token is not compared: the gate would echo text of any client.
#[tokio::test]
async fn metas_challenge_goes_back_for_the_routes_token_only() {
    let app = App::start(ok());
    let gate = Gate::start(&meta(&app)).await;
    let ask = |token: &str| {
        let path =
            format!("/meta?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={token}");
        Hook::bare("GET", &path, b"")
    };
    for client in [gate.client(), gate.client_h2()] {
        let reply = client.send(&ask("a8f1c3e59b7d2046")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "1158201444"));
        for wrong in [
            "",
            "a8f1c3e59b7d2047",
            "a8f1c3e59b7d2046&hub.verify_token=x",
        ] {
            let reply = client.send(&ask(wrong)).await;
            assert_eq!(reply.status, 401, "{wrong}");
            assert!(!reply.text().contains("1158201444"));
        }
        let page = "/meta?hub.challenge=%3Cscript%3E%0d%0aX:%20y&hub.verify_token=a8f1c3e59b7d2046";
        assert_eq!(client.send(&Hook::bare("GET", page, b"")).await.status, 401);
        assert_eq!(
            client.send(&Hook::bare("GET", "/meta", b"")).await.status,
            405
        );
    }
    assert_eq!(app.count(), 0);
}

/// Fails when any text is signed (`if false {` in `crc`): the response could be the signature of an event.
#[tokio::test]
async fn xs_check_signs_no_event_for_untrusted_clients() {
    let app = App::start(ok());
    let gate = Gate::start(&format!(
        "[routes.x]\npath = \"/x\"\nprovider = \"twitter\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n",
        app.url("/in")
    ))
    .await;
    let asked = "/x?crc_token=MTcwMDAwMDAwMC1mYWtl&nonce=MTcwMDAwMDAwMA";
    let reply = gate.send(&Hook::bare("GET", asked, b"")).await;
    assert_eq!(reply.status, 200);
    let mac = mac(SECRET.as_bytes(), &[b"MTcwMDAwMDAwMC1mYWtl"]);
    let mac = data_encoding::BASE64.encode(&mac);
    let expected = format!(r#"{{"response_token":"sha256={mac}"}}"#);
    assert_eq!(reply.text(), expected);
    for event in ["%7B%22for_user_id%22%3A%221%22%7D", "%5B%5D", "12345"] {
        let asked = format!("/x?crc_token={event}");
        let reply = gate.send(&Hook::bare("GET", &asked, b"")).await;
        assert_eq!(reply.status, 401, "{event}");
        assert!(!reply.text().contains("sha256="), "{event}");
    }
    assert_eq!(app.count(), 0);
}

/// Fails when the response uses the first current secret instead of the one that signed (`rules.secret_of("1")`).
#[tokio::test]
async fn zooms_check_is_answered_with_the_secret_that_signed_it() {
    let app = App::start(ok());
    let gate = Gate::start(&format!(
        "[routes.z]\npath = \"/z\"\nprovider = \"zoom\"\nsecret = [\"{OLD_SECRET}\", \"{SECRET}\"]\nupstream = \"{}\"\n",
        app.url("/in")
    ))
    .await;
    let body = br#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
    for secret in [OLD_SECRET, SECRET] {
        let time = unix_now().to_string();
        let signed = mac(secret.as_bytes(), &[b"v0:", time.as_bytes(), b":", body]);
        let hook = Hook::bare("POST", "/z", body)
            .with("x-zm-request-timestamp", &time)
            .with(
                "x-zm-signature",
                &format!("v0={}", HEXLOWER.encode(&signed)),
            );
        let reply = gate.send(&hook).await;
        let proof = HEXLOWER.encode(&mac(secret.as_bytes(), &[b"qgg8vlvZRS6UYooatFL8Aw"]));
        let expected =
            format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{proof}"}}"#);
        assert_eq!((reply.status, reply.text()), (200, expected));
        let strange = hook.without("x-zm-signature");
        assert_eq!(gate.send(&strange).await.status, 401);
    }
    assert_eq!(app.count(), 0);
}

/// Fails when a check without a secret is answered with a page, or with text that a browser could run.
#[tokio::test]
async fn unsigned_checks_go_back_as_plain_text_only() {
    let app = App::start(ok());
    let route = |id: &str| {
        format!(
            "[routes.{id}]\npath = \"/{id}\"\nprovider = \"{id}\"\nsecret = \"{SECRET}\"\nupstream = \"{}\"\n",
            app.url("/in")
        )
    };
    let gate = Gate::start(&["dropbox", "microsoft_graph", "okta"].map(route).concat()).await;
    let token = "Validation%3a+Testing+client+application+reachability+Request-Id%3a+4b1c";
    let graph = format!("/microsoft_graph?validationToken={token}");
    let okta = Hook::bare("GET", "/okta", b"").with("X-Okta-Verification-Challenge", "aB3_x");
    for (hook, text) in [
        (Hook::bare("GET", "/dropbox?challenge=aB3_x", b""), "aB3_x"),
        (
            Hook::bare("POST", &graph, b""),
            "Validation: Testing client application reachability Request-Id: 4b1c",
        ),
        (okta.clone(), r#"{"verification":"aB3_x"}"#),
    ] {
        for client in [gate.client(), gate.client_h2()] {
            let reply = client.send(&hook).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, text));
            assert_eq!(reply.headers["x-content-type-options"], "nosniff");
            assert_eq!(reply.headers["cache-control"], "no-store");
            assert_eq!(
                reply.headers["content-security-policy"],
                "default-src 'none'"
            );
            let kind = reply.headers["content-type"].to_str().unwrap();
            assert!(!kind.contains("html"), "{kind}");
        }
    }
    let long = format!("/dropbox?challenge={}", "x".repeat(5000));
    for bad in [
        "/dropbox?challenge=a%0d%0aSet-Cookie:%20a=b",
        "/dropbox?challenge=a&challenge=b",
        "/dropbox?challenge=a&%63hallenge=b",
        "/dropbox?challenge=%zz",
        "/dropbox?challenge=",
        &long,
    ] {
        let reply = gate.send(&Hook::bare("GET", bad, b"")).await;
        assert_eq!(reply.status, 401, "{bad}");
    }
    let twice = okta.with("X-Okta-Verification-Challenge", "other");
    assert_eq!(gate.send(&twice).await.status, 401);
    assert_eq!(app.count(), 0);
}

fn route(id: &str, more: &str, app: &App) -> String {
    format!(
        "[routes.{id}]\npath = \"/{id}\"\nprovider = \"{id}\"\nsecret = \"{SECRET}\"\n{more}\nupstream = \"{}\"\n",
        app.url("/in")
    )
}

/// Fails when an unsigned body that could be an event is answered, or when every unsigned body is read whole.
#[tokio::test]
async fn checks_in_bodies_are_answered_and_events_need_a_signature() {
    let app = App::start(ok());
    let monday = route("monday", "public_url = \"https://hooks.example.com\"", &app);
    let gate = Gate::start(&[monday, route("woocommerce", "", &app)].concat()).await;
    let check = Hook::bare("POST", "/monday", br#"{"challenge":"3eZbrw1a"}"#);
    for client in [gate.client(), gate.client_h2()] {
        let reply = client.send(&check).await;
        assert_eq!(
            (reply.status, reply.text().as_str()),
            (200, r#"{"challenge":"3eZbrw1a"}"#)
        );
        assert_eq!(reply.headers["content-type"], "application/json");
        let ping = Hook::bare("POST", "/woocommerce", b"webhook_id=17");
        assert_eq!(client.send(&ping).await.status, 200);
    }
    let forged = check.clone().with("Authorization", "x.y.z");
    assert_eq!(gate.send(&forged).await.status, 401);
    let long = format!("{{\"challenge\":\"{}\"}}", "x".repeat(20_000));
    for body in [
        r#"{"challenge":"a","event":{"type":"x"}}"#,
        r#"{"event":{}}"#,
        "",
        &long,
    ] {
        let reply = gate
            .send(&Hook::bare("POST", "/monday", body.as_bytes()))
            .await;
        assert_eq!(reply.status, 401);
    }
    assert_eq!(app.count(), 0);
}

/// Fails when `forward` lets other requests through, or marks a check as verified.
#[tokio::test]
async fn an_unsigned_check_may_be_the_apps() {
    let app = App::start(ok());
    let more = "on_challenge = \"forward\"";
    let gate =
        Gate::start(&[route("dropbox", more, &app), route("notion", more, &app)].concat()).await;
    let asked = Hook::bare("GET", "/dropbox?challenge=abc", b"");
    assert_eq!(gate.send(&asked).await.text(), "taken");
    let seen = app.only_request();
    assert_eq!(
        seen.header("hookgate-verdict").as_deref(),
        Some("monitored")
    );
    let token = Hook::bare("POST", "/notion", br#"{"verification_token":"secret_x"}"#);
    assert_eq!(gate.send(&token).await.text(), "taken");
    assert_eq!(app.count(), 2);
    for other in [
        Hook::bare("GET", "/dropbox", b""),
        Hook::bare("POST", "/dropbox?challenge=abc", b"{}"),
        Hook::bare(
            "POST",
            "/notion",
            br#"{"verification_token":"secret_x","type":"page.created"}"#,
        ),
        Hook::bare("POST", "/notion", b"{}"),
    ] {
        assert!([401, 405].contains(&gate.send(&other).await.status));
    }
    assert_eq!(app.count(), 2);
}

/// Fails when the secret is not echoed, or when an event without a signature passes as a check.
#[tokio::test]
async fn asanas_secret_goes_back() {
    let app = App::start(ok());
    let gate = Gate::start(&route("asana", "", &app)).await;
    let check =
        Hook::bare("POST", "/asana", b"").with("X-Hook-Secret", "b537207f20cbfa02357cf448134da559");
    let reply = gate.send(&check).await;
    assert_eq!(reply.status, 200);
    assert_eq!(
        reply.headers["x-hook-secret"],
        "b537207f20cbfa02357cf448134da559"
    );
    let event = Hook::bare("POST", "/asana", br#"{"events":[]}"#);
    assert_eq!(gate.send(&event).await.status, 401);
    assert_eq!(app.count(), 0);
}

/// Fails when the token is shown without `on_challenge = "show"`, or not at all.
#[tokio::test]
async fn notions_token_is_shown_where_the_route_says_so() {
    let app = App::start(ok());
    let show = "on_challenge = \"show\"";
    let gate = Gate::start(&route("notion", show, &app)).await;
    let token = Hook::bare(
        "POST",
        "/notion",
        br#"{"verification_token":"secret_fake0001"}"#,
    );
    assert_eq!(gate.send(&token).await.status, 200);
    gate.wait_for_line(&["\"token\"", "secret_fake0001"]).await;
    let quiet = Gate::start(&route("notion", "", &app)).await;
    assert_eq!(quiet.send(&token).await.status, 401);
    assert_eq!(app.count(), 0);
}

/// Fails when a token is shown although a secret of the route has verified a request (`is_late` never true), or when a
/// reload forgets that (`inherit`): the operator could mistake a client's token for the sender's.
#[tokio::test]
async fn no_token_is_shown_once_a_secret_has_verified() {
    let app = App::start(ok());
    let config = route("notion", "on_challenge = \"show\"", &app);
    let gate = Gate::start(&config).await;
    let token = |text: &str| {
        let body = format!("{{\"verification_token\":\"{text}\"}}");
        Hook::bare("POST", "/notion", body.as_bytes())
    };
    assert_eq!(gate.send(&token("secret_first")).await.status, 200);
    let line = gate.wait_for_line(&["secret_first"]).await;
    assert!(line.contains("\"source\":\"127.0.0.1\""), "{line}");
    let body = br#"{"id":"1","type":"page.created"}"#;
    let signature = HEXLOWER.encode(&mac(SECRET.as_bytes(), &[body]));
    let event = Hook::bare("POST", "/notion", body)
        .with("X-Notion-Signature", &format!("sha256={signature}"));
    assert_eq!(gate.send(&event).await.status, 200);
    assert_eq!(app.count(), 1);
    assert_eq!(gate.send(&token("secret_late")).await.status, 401);
    assert!(gate.reload(&config).await);
    assert_eq!(gate.send(&token("secret_late")).await.status, 401);
    assert!(!gate.log_lines().concat().contains("secret_late"));
    // The new secret has not verified a request yet.
    assert!(gate.reload(&config.replace(SECRET, OLD_SECRET)).await);
    assert_eq!(gate.send(&token("secret_new")).await.status, 200);
    gate.wait_for_line(&["secret_new"]).await;
}

/// Fails when an event is accepted whose signature any client gets from the gate (`is_signed_for_anyone` always
/// false).
#[tokio::test]
async fn what_is_signed_for_anyone_is_no_event() {
    let app = App::start(ok());
    let token = "verify_token = \"fakePublicKey\"";
    let config = [route("twitter", "", &app), route("braintree", token, &app)];
    let gate = Gate::start(&config.concat()).await;
    let text = "MTcwMDAwMDAwMC1mYWtl";
    let reply = gate
        .send(&Hook::bare(
            "GET",
            &format!("/twitter?crc_token={text}"),
            b"",
        ))
        .await;
    assert_eq!(reply.status, 200);
    let answer = reply.text();
    let signature = answer.split('"').nth(3).unwrap();
    let event = |body: &[u8], signature: &str| {
        Hook::bare("POST", "/twitter", body).with("x-twitter-webhooks-signature", signature)
    };
    let reply = gate.send(&event(text.as_bytes(), signature)).await;
    assert_eq!(reply.status, 401);
    // Every event of X is an object, so nothing else passes, even with a valid signature.
    for (body, status) in [
        (&b"[1]"[..], 401),
        (b"\"a\"", 401),
        (b"", 401),
        (b"{\"a\":1}", 200),
    ] {
        let mac = data_encoding::BASE64.encode(&mac(SECRET.as_bytes(), &[body]));
        let reply = gate.send(&event(body, &format!("sha256={mac}"))).await;
        assert_eq!(reply.status, status, "{body:?}");
    }
    let text = "20f9f8ed05f77439fe955c977e4c8a53";
    let reply = gate
        .send(&Hook::bare(
            "GET",
            &format!("/braintree?bt_challenge={text}"),
            b"",
        ))
        .await;
    assert_eq!(reply.status, 200);
    let signature = reply.text().replace('|', "%7C");
    let body = format!("bt_signature={signature}&bt_payload={text}");
    let form = "application/x-www-form-urlencoded";
    let event = Hook::bare("POST", "/braintree", body.as_bytes()).with("Content-Type", form);
    assert_eq!(gate.send(&event).await.status, 401);
    assert_eq!(app.count(), 1);
}

/// Fails when a check is forwarded with a path, parameters or a body that the client chose.
#[tokio::test]
async fn only_a_checks_own_form_is_forwarded() {
    let app = App::start(ok());
    let under = |id: &str| {
        route(id, "on_challenge = \"forward\"", &app)
            .replace("path =", "prefix =")
            .replace("/in\"", "/in/hook\"")
    };
    let config = ["microsoft_graph", "asana", "smartsheet", "meta", "dropbox"].map(under);
    let gate = Gate::start(&config.concat()).await;
    let event = br#"{"value":[{"changeType":"deleted"}]}"#;
    for (path, body) in [
        ("/microsoft_graph/..;/admin?validationToken=x", &event[..]),
        ("/microsoft_graph?validationToken=x", event),
        ("/microsoft_graph?validationToken=x", b"{}"),
        ("/microsoft_graph?validationToken=%0d%0a", b""),
    ] {
        let reply = gate.send(&Hook::bare("POST", path, body)).await;
        assert!(
            (400..=404).contains(&reply.status),
            "{path}: {}",
            reply.status
        );
    }
    let secret = ("X-Hook-Secret", "b537207f20cbfa02357cf448134da559");
    let forged = Hook::bare("POST", "/asana", event).with(secret.0, secret.1);
    assert_eq!(gate.send(&forged).await.status, 401);
    let asked = ("Smartsheet-Hook-Challenge", "abc");
    let forged = Hook::bare("POST", "/smartsheet", event).with(asked.0, asked.1);
    assert_eq!(gate.send(&forged).await.status, 401);
    assert_eq!(app.count(), 0);

    let hub = "hub.mode=subscribe&hub.challenge=115&hub.verify_token=meatyhamhock";
    for (hook, target) in [
        (
            Hook::bare(
                "POST",
                "/microsoft_graph/admin?a=1&validationToken=x&b=2",
                b"",
            ),
            "/in/hook?validationToken=x".to_owned(),
        ),
        (
            Hook::bare("POST", "/asana/x/y?z=1", b"{}").with(secret.0, secret.1),
            "/in/hook".to_owned(),
        ),
        (
            Hook::bare(
                "POST",
                "/smartsheet",
                br#"{"challenge":"abc","webhookId":4}"#,
            )
            .with(asked.0, asked.1),
            "/in/hook".to_owned(),
        ),
        (
            Hook::bare("GET", &format!("/meta?{hub}&x=1"), b""),
            format!("/in/hook?{hub}"),
        ),
        (
            Hook::bare("GET", "/dropbox/a/b?challenge=abc", b""),
            "/in/hook?challenge=abc".to_owned(),
        ),
    ] {
        let before = app.count();
        assert_eq!(gate.send(&hook).await.text(), "taken", "{target}");
        let seen = app.requests().remove(before);
        assert_eq!(seen.target(), target);
        let verdict = seen.header("hookgate-verdict");
        assert_eq!(verdict.as_deref(), Some("monitored"), "{target}");
    }
}

/// Fails when Slack's certificate check is refused, or when it lets anything else pass without a signature.
#[tokio::test]
async fn slacks_certificate_check_needs_no_signature() {
    let app = App::start(ok());
    let gate = Gate::start(&Provider::Slack.route("slack", &app.url("/in"), "")).await;
    let form = |body: &str| {
        Hook::bare("POST", "/slack", body.as_bytes())
            .with("Content-Type", "application/x-www-form-urlencoded")
    };
    for good in [
        form("ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl"),
        form("token=Jhj5dZrVaK7ZwHHjRyZWjbDl&ssl_check=1"),
        form("ssl_check=1"),
        Hook::bare(
            "GET",
            "/slack?ssl_check=1&token=Jhj5dZrVaK7ZwHHjRyZWjbDl",
            b"",
        ),
    ] {
        for client in [gate.client(), gate.client_h2()] {
            let reply = client.send(&good).await;
            assert_eq!((reply.status, reply.text().as_str()), (200, ""));
        }
    }
    for bad in [
        form("ssl_check=0"),
        form("ssl_check=1&ssl_check=1"),
        form("ssl_check=1&command=%2fdeploy"),
        form("ssl_check=1&payload=%7b%7d"),
        form("command=%2fdeploy&token=a"),
        form("ssl_check=1&token=%7b%7d"),
        Hook::bare("POST", "/slack", b"ssl_check=1"),
        Hook::bare("POST", "/slack?ssl_check=1", b"{}"),
        Hook::bare("GET", "/slack?ssl_check=2", b""),
        Hook::bare("GET", "/slack", b""),
    ] {
        let reply = gate.send(&bad).await;
        assert!([401, 405].contains(&reply.status), "{}", reply.status);
    }
    assert_eq!(app.count(), 0);
}

/// Fails when the connection test is refused, reaches the app, or lets another body or event pass.
#[tokio::test]
async fn bitbuckets_connection_test_needs_no_signature() {
    let app = App::start(ok());
    let gate = Gate::start(&route("bitbucket_server", "", &app)).await;
    let ask = |body: &[u8], kind: &str| {
        Hook::bare("POST", "/bitbucket_server", body).with("X-Event-Key", kind)
    };
    for body in [&b"{\"test\": true}"[..], b"{\"test\":true}"] {
        let reply = gate.send(&ask(body, "diagnostics:ping")).await;
        assert_eq!(reply.status, 200);
    }
    let ping = || ask(b"{\"test\": true}", "diagnostics:ping");
    for bad in [
        ask(b"{\"test\": true}", "repo:refs_changed"),
        ask(b"{\"test\": false}", "diagnostics:ping"),
        ask(b"{\"test\": true, \"actor\": {}}", "diagnostics:ping"),
        ask(b"", "diagnostics:ping"),
        ping().with("X-Event-Key", "repo:refs_changed"),
        ping().with("X-Hub-Signature", "sha256=00"),
        Hook::bare("POST", "/bitbucket_server", b"{\"test\": true}"),
    ] {
        assert_eq!(gate.send(&bad).await.status, 401);
    }
    assert_eq!(app.count(), 0);
}

/// Fails when each unsigned check writes a line: any client could fill the disk.
#[tokio::test]
async fn unsigned_checks_do_not_flood_the_log() {
    let app = App::start(ok());
    let config = [
        route("dropbox", "", &app),
        route("monday", "public_url = \"https://hooks.example.com\"", &app),
    ];
    let gate = Gate::start(&config.concat()).await;
    for number in 0..45 {
        let asked = format!("/dropbox?challenge=abc{number}");
        assert_eq!(gate.send(&Hook::bare("GET", &asked, b"")).await.status, 200);
        let body = format!("{{\"challenge\":\"abc{number}\"}}");
        let check = Hook::bare("POST", "/monday", body.as_bytes());
        assert_eq!(gate.send(&check).await.status, 200);
    }
    // A marker line, after the lines that must not appear.
    let refused = Hook::bare("POST", "/elsewhere", b"");
    assert_eq!(gate.send(&refused).await.status, 404);
    gate.wait_for_line(&["elsewhere"]).await;
    let lines = gate.log_lines();
    let told = lines
        .iter()
        .filter(|line| line.contains("\"challenge\""))
        .count();
    assert!((1..=10).contains(&told), "{told}");
}

/// Fails when Xero's intent to receive reaches the app, or when a bad signature gets 200.
#[tokio::test]
async fn xero_learns_that_good_signatures_are_taken() {
    let app = App::start(ok());
    let gate = Gate::start(&route("xero", "", &app)).await;
    let body =
        br#"{"events":[],"firstEventSequence":0,"lastEventSequence":0,"entropy":"S0m3r4Nd0mt3xt"}"#;
    let signed = |secret: &str| {
        let mac = data_encoding::BASE64.encode(&mac(secret.as_bytes(), &[body]));
        Hook::bare("POST", "/xero", body).with("x-xero-signature", &mac)
    };
    let reply = gate.send(&signed(SECRET)).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
    let unsigned = Hook::bare("POST", "/xero", body);
    for wrong in [
        signed(OLD_SECRET),
        signed(SECRET).flip_body_byte(),
        unsigned,
    ] {
        for client in [gate.client(), gate.client_h2()] {
            let reply = client.send(&wrong).await;
            // Xero's test requires an empty body.
            assert_eq!((reply.status, reply.text().as_str()), (401, ""));
            assert!(!reply.headers.contains_key("content-type"));
        }
    }
    assert_eq!(app.count(), 0);
}

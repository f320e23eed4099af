//! Tests of the web console: login, security headers, and attacks from pages of other origins.

use crate::harness::app::{App, ok};
use crate::harness::client::{Client, Reply};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

const TOKEN: &str = "zQ4v9Jm2Lr7Xw1Bt";
const BOARD: &str = "m3Gx6Pq1Wz5Ju0Ra";
const EVIL: &str = "<script>alert(1)</script>";

/// Starts a gate with an operator's and a viewer's token, a store, and a queue route for the app.
async fn start(app: &App) -> Gate {
    let route = Provider::Github.route("hook", &app.url("/in"), "mode = \"queue\"\n");
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
         [[admin.tokens]]\nname = \"board\"\nrole = \"viewer\"\ntoken = \"{BOARD}\"\n\
         [store]\nurl = \"sqlite:hookgate.db\"\nmin_free = \"1MiB\"\n{route}"
    );
    Gate::start(&config).await
}

async fn send(gate: &Gate, hook: &Hook) -> Reply {
    Client::new(gate.admin_address(), None).send(hook).await
}

async fn get(gate: &Gate, cookie: &str, path: &str) -> Reply {
    send(gate, &Hook::bare("GET", path, b"").with("Cookie", cookie)).await
}

fn form(path: &str, cookie: &str, body: &str) -> Hook {
    let hook = Hook::bare("POST", path, body.as_bytes());
    let hook = hook.with("Content-Type", "application/x-www-form-urlencoded");
    hook.with("Cookie", cookie)
}

/// Logs in, and returns the cookie as a browser sends it back.
async fn log_in(gate: &Gate, token: &str) -> String {
    let reply = send(
        gate,
        &form("/console/login", "a=b", &format!("token={token}")),
    )
    .await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    let cookie = reply.header("set-cookie").unwrap();
    for attribute in ["HttpOnly", "SameSite=Strict", "Path=/console", "Max-Age="] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    cookie.split(';').next().unwrap().to_owned()
}

/// Returns the form token of a page.
async fn form_token(gate: &Gate, cookie: &str) -> String {
    let page = get(gate, cookie, "/console/destinations").await.text();
    let (_, rest) = page.split_once("name=\"form_token\" value=\"").unwrap();
    rest[..64].to_owned()
}

/// Fails when a page is shown without a token, or when a response lets a browser run or load foreign content.
#[tokio::test]
async fn pages_are_for_those_who_log_in() {
    let app = App::start(ok());
    let gate = start(&app).await;
    let paths = [
        "",
        "events",
        "deliveries",
        "destinations",
        "rejections",
        "replays",
        "providers",
        "config",
        "alerts",
        "nodes",
        "audit",
        "events/live",
        "bulk/replay",
        "erase",
    ];
    for path in paths {
        let reply = get(&gate, "hookgate_0=0", &format!("/console/{path}")).await;
        assert_eq!(reply.status, 303, "{path}");
        let place = reply.header("location").unwrap();
        assert!(place.starts_with("/console/login?next="), "{place}");
    }
    assert_eq!(
        send(&gate, &form("/console/login", "a=b", "token=wrong"))
            .await
            .status,
        401
    );
    let cookie = log_in(&gate, TOKEN).await;
    for path in [
        "/console/",
        "/console/events",
        "/console/nothing",
        "/console/login",
    ] {
        let reply = get(&gate, &cookie, path).await;
        assert_eq!(reply.status == 200, path != "/console/nothing", "{path}");
        assert_eq!(
            reply.header("content-security-policy").unwrap(),
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
             form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
        );
        assert_eq!(reply.header("cache-control").unwrap(), "no-store");
        assert_eq!(reply.header("x-content-type-options").unwrap(), "nosniff");
        assert_eq!(reply.header("x-frame-options").unwrap(), "DENY");
        let page = reply.text();
        assert!(
            !page.contains("style=") && !page.contains("<style"),
            "{path}"
        );
        assert!(
            page.matches("<script").count()
                == page.matches("<script src=\"/console/assets/").count()
        );
    }
    // The API accepts no cookie.
    assert_eq!(get(&gate, &cookie, "/api/v1/events").await.status, 401);
    // A foreign host name, rebound to this address.
    let rebound = Hook::bare("GET", "/console/login", b"").at_host("evil.example");
    assert_eq!(send(&gate, &rebound).await.status, 421);
}

/// Fails when a page of another origin can make a visitor's browser change something, or when a viewer can.
#[tokio::test]
async fn forms_of_others_are_refused() {
    let app = App::start(ok());
    let gate = start(&app).await;
    let cookie = log_in(&gate, TOKEN).await;
    let token = form_token(&gate, &cookie).await;
    let pause = "/console/destinations/hook/default/pause";
    let path = destination(&gate, &cookie)
        .await
        .unwrap_or_else(|| pause.to_owned());
    let good = format!("form_token={token}");
    let post = |body: &str| form(&path, &cookie, body);
    for (hook, what) in [
        (post(""), "no token"),
        (
            post(&format!("form_token={}", "0".repeat(64))),
            "another token",
        ),
        (
            post(&good).with("Sec-Fetch-Site", "cross-site"),
            "another site",
        ),
        (
            post(&good).with("Sec-Fetch-Site", "same-site"),
            "another port",
        ),
        (
            post(&good).with("Origin", "https://evil.example"),
            "another origin",
        ),
        (
            post(&good).set("Content-Type", "text/plain"),
            "another type",
        ),
    ] {
        assert_eq!(send(&gate, &hook).await.status, 403, "{what}");
    }
    let login = form("/console/login", "a=b", &format!("token={TOKEN}"));
    let login = login.with("Sec-Fetch-Site", "cross-site");
    assert_eq!(
        send(&gate, &login).await.status,
        403,
        "a login by another site"
    );
    let board = log_in(&gate, BOARD).await;
    let page = get(&gate, &board, "/console/destinations").await.text();
    assert!(
        !page.contains("<main")
            || !page
                .split("<main")
                .nth(1)
                .unwrap()
                .contains("method=\"post\"")
    );
    let own = form_token(&gate, &board).await;
    let by_viewer = form(&path, &board, &format!("form_token={own}"));
    assert_eq!(send(&gate, &by_viewer).await.status, 403);
    assert!(
        get(&gate, &cookie, "/console/destinations")
            .await
            .text()
            .contains(">Pause<")
    );
    assert_eq!(send(&gate, &post(&good)).await.status, 303);
    let page = get(&gate, &cookie, "/console/destinations").await.text();
    assert!(page.contains(">Resume<"), "{page}");
    // After a logout the session is gone, even if the browser still sends the cookie.
    assert_eq!(
        send(&gate, &form("/console/logout", &cookie, &good))
            .await
            .status,
        303
    );
    assert_eq!(get(&gate, &cookie, "/console/events").await.status, 303);
}

/// Fails when a gate without a store shows an error instead of explaining that, and how to change it.
#[tokio::test]
async fn without_a_store_pages_say_how_to_have_one() {
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let config = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n{route}");
    let gate = Gate::start(&config).await;
    let cookie = log_in(&gate, TOKEN).await;
    for path in ["events", "deliveries?state=dead", "destinations", "replays"] {
        let reply = get(&gate, &cookie, &format!("/console/{path}")).await;
        let page = reply.text();
        assert_eq!(reply.status, 200, "{path}: {page}");
        assert!(
            page.contains("This gate stores no events"),
            "{path}: {page}"
        );
    }
    for path in ["", "alerts", "rejections", "config", "nodes", "audit"] {
        let reply = get(&gate, &cookie, &format!("/console/{path}")).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    }
    // The page has the sections in the order of the reference, without keys that are not set.
    let page = get(&gate, &cookie, "/console/config").await.text();
    let sections = [
        "[server]",
        "keep_rejected = 100",
        "[admin]",
        "[log]",
        "[routes.",
    ];
    let positions: Vec<_> = sections.iter().map(|text| page.find(text)).collect();
    assert!(
        positions.iter().all(Option::is_some) && positions.is_sorted(),
        "{positions:?} {page}"
    );
    assert!(!page.contains("refresh_ranges"), "{page}");
}

/// Returns the target of the first button of the destinations.
async fn destination(gate: &Gate, cookie: &str) -> Option<String> {
    let page = get(gate, cookie, "/console/destinations").await.text();
    let (_, rest) = page.split_once("action=\"/console/destinations/")?;
    Some(format!("/console/destinations/{}", rest.split('"').next()?))
}

/// Fails when text of a sender appears in a page without escaping.
#[tokio::test]
async fn what_a_sender_wrote_is_escaped() {
    let app = App::start(ok());
    let gate = start(&app).await;
    let body = format!("{{\"evil\":\"{EVIL}\"}}");
    let hook = Sender::new(Provider::Github).sign("/hook", EVIL, body.as_bytes());
    let hook = hook.set("X-GitHub-Event", EVIL).with("X-Evil", EVIL);
    let reply = gate.client().send(&hook).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let uid = reply.header("hookgate-request-id").unwrap().to_owned();
    let cookie = log_in(&gate, TOKEN).await;
    let (event, search) = (
        format!("events/{uid}"),
        "events?type=%3Cscript%3Ealert%281%29%3C%2Fscript%3E",
    );
    for path in [
        "events",
        &event,
        &format!("{event}?body=raw"),
        "deliveries",
        search,
    ] {
        let page = get(&gate, &cookie, &format!("/console/{path}"))
            .await
            .text();
        assert!(!page.contains(EVIL), "{path}");
        assert!(page.contains("&#60;script&#62;alert"), "{path}: {page}");
    }
    let file = get(&gate, &cookie, &format!("/console/{event}/body")).await;
    assert_eq!(
        file.header("content-type").unwrap(),
        "application/octet-stream"
    );
    assert!(
        file.header("content-disposition")
            .unwrap()
            .starts_with("attachment")
    );
    assert_eq!(file.text(), body);
}

/// Fails when the session cookie is also sent over plain HTTP, or when console or `capture` fail over TLS.
#[tokio::test]
async fn over_tls_the_cookie_stays_there_and_a_request_is_captured() {
    let app = App::start(ok());
    let route = Provider::Github.route("hook", &app.url("/in"), "");
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{TOKEN}\"\n\
         [admin.tls]\ncert = \"cert.pem\"\nkey = \"cert.key\"\n{route}"
    );
    let gate = Gate::start(&config).await;
    let trusted = gate.authority().client_config(&["http/1.1"]);
    let client = Client::new(gate.admin_address(), Some(trusted));
    let entry = form("/console/login", "a=b", &format!("token={TOKEN}"));
    // As a browser sends it.
    let entry = entry.with("Origin", "https://localhost");
    let reply = client.send(&entry.at_host("localhost")).await;
    assert_eq!(reply.status, 303, "{}", reply.text());
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.contains("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let page = Hook::bare("GET", "/console/rejections", b"").with("Cookie", cookie);
    let page = client.send(&page.at_host("localhost")).await;
    assert_eq!(page.status, 200);

    let bad = Sender::new(Provider::Github).event("/hook");
    let refused = gate.send(&bad.clone().flip_body_byte()).await;
    assert_eq!(refused.status, 401);
    let id = refused.header("hookgate-request-id").unwrap().to_owned();
    let authority = gate.folder().join("authority.pem");
    std::fs::write(&authority, gate.authority().pem()).unwrap();
    let (file, port) = (gate.folder().join("kept.http"), gate.admin_address().port());
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hookgate"));
    command.args(["capture", &id, "--admin-ca"]).arg(&authority);
    command.args(["--admin", &format!("https://localhost:{port}"), "--out"]);
    command.arg(&file).env("HOOKGATE_ADMIN_TOKEN", TOKEN);
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = run.await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let kept = std::fs::read(&file).unwrap();
    let body = bad.flip_body_byte().body;
    assert!(kept.ends_with(&body), "{}", String::from_utf8_lossy(&kept));
}

/// Fails when the page erases without a question, selects all events with an empty form, or has a searched value in an
/// address.
#[tokio::test]
async fn events_of_a_person_are_erased_after_a_question() {
    let app = App::start(ok());
    let gate = start(&app).await;
    let cookie = log_in(&gate, TOKEN).await;
    for (id, mail) in [("1", "ann@example.com"), ("2", "bob@example.com")] {
        let body = format!("{{\"mail\":\"{mail}\"}}");
        let hook = Sender::new(Provider::Github).sign("/hook", id, body.as_bytes());
        assert_eq!(gate.send(&hook).await.status, 200);
    }
    let token = form_token(&gate, &cookie).await;
    let act = async |fields: &str| {
        let body = format!("form_token={token}&{fields}");
        send(&gate, &form("/console/erase", &cookie, &body)).await
    };
    assert_eq!(act("step=erase").await.status, 400);
    let person = "pointer=%2Fmail&value=ann%40example.com";
    let question = act(&format!("step=count&{person}")).await;
    assert_eq!(question.status, 200, "{}", question.text());
    let page = question.text();
    assert!(page.contains("Erase 1 event?"), "{page}");
    assert!(!page.contains("?value="), "{page}");
    assert!(page.contains("value=\"ann@example.com\""), "{page}");
    let done = act(&format!("step=erase&{person}")).await.text();
    assert!(done.contains("1 event erased"), "{done}");
    let left = act(&format!("step=count&{person}")).await.text();
    assert!(left.contains("Erase 0 events?"), "{left}");
    let other = act("step=count&route=hook").await.text();
    assert!(other.contains("Erase 1 event?"), "{other}");
    let board = log_in(&gate, BOARD).await;
    let token = form_token(&gate, &board).await;
    let body = format!("form_token={token}&step=erase&route=hook");
    let refused = send(&gate, &form("/console/erase", &board, &body)).await;
    assert_eq!(refused.status, 403);
}

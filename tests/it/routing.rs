//! Tests of routing: host and path byte by byte, method, content type, size. The app gets exactly the checked path.

use std::time::Duration;

use crate::harness::app::{App, ok};
use crate::harness::gate::Gate;
use crate::harness::sender::{Provider, Sender};

async fn gate(config: &str) -> Gate {
    Gate::start(&format!(
        "[server]\nper_source_rate_limit = false\n\n{config}"
    ))
    .await
}

fn github(table: &str, app: &App, lines: &str) -> String {
    let secret = Provider::Github.secret();
    let url = app.url("/app");
    format!(
        "[routes.{table}]\nprovider = \"github\"\nsecret = \"{secret}\"\nupstream = \"{url}\"\ndedup = false\n{lines}\n\n"
    )
}

#[tokio::test]
async fn an_exact_path_matches_byte_for_byte() {
    let app = App::start(ok());
    let gate = gate(&github("one", &app, "path = \"/hooks/github\"")).await;
    let hook = Sender::new(Provider::Github).event("/hooks/github");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(app.only_request().target(), "/app");
    // Fails when the router decodes, folds case, merges slashes or cuts at `;` before it compares.
    let others = [
        "/",
        "/hooks",
        "/hooks/",
        "/hooks/github/",
        "//hooks/github",
        "/hooks//github",
        "/Hooks/github",
        "/hooks/GitHub",
        "/hooks/%67ithub",
        "/hooks%2fgithub",
        "/hooks%2Fgithub",
        "/hooks/./github",
        "/hooks/../hooks/github",
        "/x/../hooks/github",
        "/hooks/%2e/github",
        "/hooks/github;a=b",
        "/hooks;/github",
        "/hooks/github%20",
        "/hooks/github%00",
        "/hooks/github%3f",
        "/hooks\\github",
        "/hooks/github/extra",
        "/hooks/githu",
        "/hooks/githubb",
        "/%68ooks/github",
    ];
    for target in others {
        for client in [gate.client(), gate.client_h2()] {
            let Ok(reply) = client.try_send(&hook.clone().to(target)).await else {
                continue;
            };
            assert!(
                [400, 404].contains(&reply.status),
                "{target}: {}",
                reply.status
            );
        }
    }
    assert_eq!(app.count(), 1);
}

#[tokio::test]
async fn a_query_does_not_change_the_route_and_reaches_the_app() {
    let app = App::start(ok());
    let gate = gate(&github("one", &app, "path = \"/hook\"")).await;
    let hook = Sender::new(Provider::Github).event("/hook?a=1&b=%2F&a=2");
    assert_eq!(gate.send(&hook).await.status, 200);
    assert_eq!(app.only_request().target(), "/app?a=1&b=%2F&a=2");
}

#[tokio::test]
async fn a_prefix_passes_the_rest_on_as_it_was_sent() {
    let app = App::start(ok());
    let config = [
        github("wide", &app, "prefix = \"/hooks\""),
        github("deep", &app, "prefix = \"/hooks/deep\"").replace("/app\"", "/deep\""),
        github("exact", &app, "path = \"/hooks/deep/one\"").replace("/app\"", "/exact\""),
    ];
    let gate = gate(&config.concat()).await;
    let cases = [
        ("/hooks", "/app"),
        ("/hooks/", "/app/"),
        ("/hooks/a/b?c=d", "/app/a/b?c=d"),
        ("/hooks/a%20b", "/app/a%20b"),
        ("/hooks/Gr%C3%B6%C3%9Fe/x%40y", "/app/Gr%C3%B6%C3%9Fe/x%40y"),
        ("/hooks/a;v=1/..b/c..", "/app/a;v=1/..b/c.."),
        ("/hooks/deepest", "/app/deepest"),
        ("/hooks/deep/x", "/deep/x"),
        ("/hooks/deep/one", "/exact"),
    ];
    for (sent, seen) in cases {
        let before = app.count();
        let hook = Sender::new(Provider::Github).event(sent);
        assert_eq!(gate.send(&hook).await.status, 200, "{sent}");
        assert_eq!(app.requests()[before].target(), seen);
    }
    let before = app.count();
    // Fails when a prefix is compared without its `/`, or the rest may leave the app's path.
    for target in [
        "/hooksx",
        "/hook",
        "/hooks/../admin",
        "/hooks/%2e%2e/admin",
        "/hooks/a/..",
        "/hooks//x",
        "/hooks/a\\..\\b",
        "/hooks/..;/admin",
        "/hooks/..;a=b/admin",
        "/hooks/.;/..;/admin",
        "/hooks/;/admin",
        "/hooks/.%2e/admin",
        "/hooks/%2E./admin",
        "/hooks/..%2fadmin",
        "/hooks/..%5Cadmin",
        "/hooks/..%3b/admin",
        "/hooks/..%00/admin",
        "/hooks/..%20/admin",
        "/hooks/..%09/admin",
        "/hooks/%252e%252e/admin",
        "/hooks/a%25b",
        "/hooks/%c0%ae%c0%ae/admin",
        "/hooks/%e0%80%ae%e0%80%ae/admin",
        "/hooks/%ef%bc%8e%ef%bc%8e/admin",
        "/hooks/%u002e%u002e/admin",
        "/hooks/a%3fb",
        "/hooks/a%23b",
        "/hooks/a%0d%0ab",
        "/hooks/a%7f",
        "/hooks/a%zz",
    ] {
        for client in [gate.client(), gate.client_h2()] {
            let hook = Sender::new(Provider::Github).event(target);
            if let Ok(reply) = client.try_send(&hook).await {
                assert!(
                    [400, 404].contains(&reply.status),
                    "{target}: {}",
                    reply.status
                );
            }
        }
    }
    assert_eq!(app.count(), before);
}

#[tokio::test]
async fn hosts_choose_between_routes() {
    let app = App::start(ok());
    let config = [
        github("one", &app, "host = \"one.example\"\npath = \"/hook\"").replace("/app\"", "/one\""),
        github("two", &app, "host = \"two.example.\"\npath = \"/hook\"")
            .replace("/app\"", "/two\""),
    ];
    let gate = gate(&config.concat()).await;
    for client in [gate.client(), gate.client_h2()] {
        for (host, seen) in [
            ("one.example", Some("/one")),
            ("two.example", Some("/two")),
            ("ONE.example", Some("/one")),
            ("one.example.", Some("/one")),
            ("one.example.:8443", Some("/one")),
            ("Two.Example.", Some("/two")),
            ("one.example..", None),
            ("one.example:8443", Some("/one")),
            ("three.example", None),
            ("one.example.evil.example", None),
            ("xone.example", None),
        ] {
            let before = app.count();
            let hook = Sender::new(Provider::Github).event("/hook").at_host(host);
            let reply = client.send(&hook).await;
            assert_eq!(
                reply.status,
                if seen.is_some() { 200 } else { 404 },
                "{host}"
            );
            let target = app.requests().get(before).map(|request| request.target());
            assert_eq!(target.as_deref(), seen, "{host}");
        }
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let app = App::start(ok());
    let gate = gate(&github("one", &app, "path = \"/hook\"")).await;
    // Fails when `methods` is not checked; without a body rule GET would be forwarded.
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let hook = Sender::new(Provider::Github)
            .event("/hook")
            .by_method(method);
        assert_eq!(gate.send(&hook).await.status, 405, "{method}");
    }
    assert_eq!(app.count(), 0);
}

#[tokio::test]
async fn other_content_types_are_refused() {
    let app = App::start(ok());
    let lines = "path = \"/hook\"\ncontent_types = [\"application/json\"]";
    let gate = gate(&github("one", &app, lines)).await;
    let hook = Sender::new(Provider::Github).event("/hook");
    for (value, status) in [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("text/plain", 415),
        ("application/jsonx", 415),
        ("", 415),
    ] {
        let reply = gate.send(&hook.clone().set("content-type", value)).await;
        assert_eq!(reply.status, status, "{value:?}");
    }
    assert_eq!(gate.send(&hook.without("content-type")).await.status, 415);
    assert_eq!(app.count(), 2);
}

mod size {
    use super::*;

    async fn small(app: &App) -> Gate {
        gate(&github("one", app, "path = \"/hook\"\nmax_body = \"1KiB\"")).await
    }

    #[tokio::test]
    async fn the_limit_itself_passes() {
        let app = App::start(ok());
        let gate = small(&app).await;
        let hook = Sender::new(Provider::Github).sign("/hook", "id", &[b'x'; 1024]);
        assert_eq!(gate.send(&hook).await.status, 200);
        assert_eq!(app.only_request().body.len(), 1024);
    }

    /// Fails when only bytes that arrive are counted: a declared length is refused before any body is read.
    #[tokio::test]
    async fn a_declared_length_over_the_limit_is_refused_at_once() {
        let app = App::start(ok());
        let gate = small(&app).await;
        for length in ["1025", "1000000000000"] {
            let hook = Sender::new(Provider::Github).sign("/hook", "id", b"");
            let mut raw = gate.raw().await;
            raw.send(&hook.head_http1(&format!("content-length: {length}\r\n")))
                .await;
            let received = raw.read_until_close(Duration::from_secs(10)).await;
            assert_eq!(received.statuses(), [413], "{length}");
            assert!(received.is_closed);
        }
        assert_eq!(app.started(), 0);
    }

    /// Fails when only Content-Length is looked at: a chunked body would be cut silently, or read without end.
    #[tokio::test]
    async fn a_chunked_body_over_the_limit_is_refused() {
        let app = App::start(ok());
        let gate = small(&app).await;
        let hook = Sender::new(Provider::Github).sign("/hook", "id", &[b'x'; 1025]);
        let mut bytes = hook.head_http1("transfer-encoding: chunked\r\n");
        for piece in hook.body.chunks(100) {
            bytes.extend(format!("{:x}\r\n", piece.len()).into_bytes());
            bytes.extend(piece);
            bytes.extend(b"\r\n");
        }
        bytes.extend(b"0\r\n\r\n");
        let mut raw = gate.raw().await;
        raw.send(&bytes).await;
        let received = raw.read_until_close(Duration::from_secs(10)).await;
        assert_eq!(received.statuses(), [413]);
        assert_eq!(app.started(), 0);
        let reply = gate.client_h2().try_send(&hook).await;
        assert!(reply.is_ok_and(|reply| reply.status == 413));
        assert_eq!(app.started(), 0);
    }
}

#[tokio::test]
async fn the_health_path_answers_on_every_host() {
    let app = App::start(ok());
    let route = github("one", &app, "path = \"/hook\"");
    let gate = Gate::start(&format!("[server]\nhealth = \"/healthz\"\n\n{route}")).await;
    let probe = crate::harness::sender::Hook::bare("GET", "/healthz", b"").at_host("10.0.0.9");
    assert_eq!(gate.send(&probe).await.status, 200);
    assert_eq!(gate.send(&probe.clone().to("/healthz/")).await.status, 404);
    assert_eq!(app.count(), 0);
}

/// Fails when a refusal by the head does not wait for a small body: a response that overtakes the body ends in
/// RST_STREAM(NO_ERROR), which curl 7.88 reports as a broken stream.
#[test]
fn an_early_refusal_reaches_curl_over_http2() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let app = App::start(ok());
    let gate = runtime.block_on(gate(&github("one", &app, "path = \"/hook\"")));
    for (path, method, status) in [
        ("/none", "POST", "404"),
        ("/hook", "PUT", "405"),
        ("/hook", "POST", "401"),
    ] {
        for _ in 0..10 {
            let output = std::process::Command::new("curl")
                .args([
                    "--silent",
                    "--http2",
                    "--cacert",
                    "ca.pem",
                    "--output",
                    "/dev/null",
                ])
                .args([
                    "--write-out",
                    "%{http_version} %{http_code}",
                    "--request",
                    method,
                    "--data",
                    "{}",
                ])
                .arg(format!("https://localhost:{}{path}", gate.address().port()))
                .current_dir(gate.folder())
                .output();
            let output = output.unwrap();
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(
                (output.status.code(), told),
                (Some(0), format!("2 {status}")),
                "{path}"
            );
        }
    }
    assert_eq!(app.count(), 0);
}

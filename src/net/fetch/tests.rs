//! Fetches over real TLS sockets: the success, and every reason that ends a fetch.

use super::*;
use crate::test_rig::app::{App, Behavior, raw_then_close, raw_then_hang, respond, slow};
use crate::test_rig::tls::Authority;

/// A TLS server and the authority of its certificate.
struct Server {
    app: App,
    authority: Authority,
}

impl Server {
    fn start(behavior: Behavior) -> Self {
        let authority = Authority::new();
        Self {
            app: App::start_tls(authority.server_config(), behavior),
            authority,
        }
    }

    fn fetcher(&self) -> HttpsFetcher {
        HttpsFetcher::new(OutgoingClient::with_roots(self.authority.roots()))
    }

    fn url(&self, host: &str) -> RemoteUrl {
        RemoteUrl::parse(&format!(
            "https://{host}:{}/keys?a=b",
            self.app.address().port()
        ))
        .unwrap()
    }
}

const LIMITS: FetchLimits = FetchLimits {
    deadline: Duration::from_millis(500),
    max_bytes: 16,
};

async fn get(behavior: Behavior) -> Result<Bytes, FetchError> {
    let server = Server::start(behavior);
    server.fetcher().get(&server.url("localhost"), LIMITS).await
}

#[tokio::test]
async fn the_body_is_fetched_whole_however_it_is_framed() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nke\r\n2\r\nys\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\nconnection: close\r\n\r\nkeys",
    ] {
        assert_eq!(get(raw_then_close(answer)).await.unwrap(), "keys");
    }
}

#[tokio::test]
async fn the_request_names_host_and_target_and_carries_the_document() {
    let server = Server::start(respond(200, ""));
    let (fetcher, url) = (server.fetcher(), server.url("localhost"));
    fetcher.get(&url, LIMITS).await.unwrap();
    let request = server.app.requests()[0].text();
    assert!(
        request.starts_with("GET /keys?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let host = format!("host: localhost:{}\r\n", server.app.address().port());
    assert!(request.contains(&host), "{request}");
    let document = Bytes::from_static(b"{\"a\":1}");
    fetcher.post_json(&url, document, LIMITS).await.unwrap();
    let request = server.app.requests()[1].text();
    assert!(
        request.starts_with("POST /keys?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("content-type: application/json\r\n"));
    assert!(request.contains("content-length: 7\r\n"), "{request}");
}

// Mutation: follow `location` in `check`, or accept every status.
#[tokio::test]
async fn a_redirect_and_every_status_but_200_are_errors() {
    let redirect =
        b"HTTP/1.1 302 Found\r\nlocation: https://localhost/\r\ncontent-length: 0\r\n\r\n";
    let refused = get(raw_then_close(redirect)).await;
    assert!(matches!(refused, Err(FetchError::Redirect { .. })));
    for answer in [
        &b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nkeys"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 4\r\n\r\nkeys",
    ] {
        let refused = get(raw_then_close(answer)).await;
        assert!(matches!(refused, Err(FetchError::Status { .. })));
    }
}

// Mutation: remove the comparison with `limit` from `read`.
#[tokio::test]
async fn a_body_over_the_limit_is_an_error_whether_declared_or_not() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n12345678901234567"[..],
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n12345678901234567",
    ] {
        let refused = get(raw_then_close(answer)).await;
        assert!(matches!(
            refused,
            Err(FetchError::TooLarge { limit: 16, .. })
        ));
    }
    let full = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n1234567890123456";
    assert_eq!(get(raw_then_close(full)).await.unwrap().len(), 16);
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_compressed_is_an_error() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nkeys";
    let refused = get(raw_then_close(short)).await;
    assert!(matches!(refused, Err(FetchError::Broken { .. })));
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nkeys";
    let refused = get(raw_then_close(gzip)).await;
    assert!(matches!(refused, Err(FetchError::Compressed { .. })));
}

// Mutation: remove `timeout` from `fetch`.
#[tokio::test]
async fn one_deadline_holds_over_head_and_body() {
    for said in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nkeys",
    ] {
        let fetched = timeout(Duration::from_secs(5), get(raw_then_hang(said))).await;
        let error = fetched.unwrap().unwrap_err();
        let is_late = matches!(
            error,
            FetchError::Deadline { .. }
                | FetchError::Exchange {
                    source: ExchangeError::Deadline,
                    ..
                }
        );
        assert!(is_late, "{error:?}");
    }
}

#[tokio::test]
async fn a_host_that_the_roots_do_not_vouch_for_is_not_asked() {
    let server = Server::start(respond(200, ""));
    let other = HttpsFetcher::new(OutgoingClient::with_roots(Authority::new().roots()));
    for (fetcher, host) in [(server.fetcher(), "127.0.0.1"), (other, "localhost")] {
        let refused = fetcher.get(&server.url(host), LIMITS).await;
        assert!(matches!(refused, Err(FetchError::Connect { .. })), "{host}");
    }
    assert_eq!((server.app.connections(), server.app.count()), (2, 0));
}

// Mutation: remove `_place`.
#[tokio::test]
async fn no_more_than_the_maximum_run_at_once() {
    // Long enough for the fetches to overlap.
    let server = Server::start(slow(Duration::from_millis(50), 200));
    let (fetcher, url) = (server.fetcher(), server.url("localhost"));
    let limits = FetchLimits {
        deadline: Duration::from_secs(10),
        ..LIMITS
    };
    let mut fetches = tokio::task::JoinSet::new();
    for _ in 0..3 * MAX_CONCURRENT {
        let (fetcher, url) = (fetcher.clone(), url.clone());
        fetches.spawn(async move { fetcher.get(&url, limits).await.unwrap() });
    }
    while let Some(fetched) = fetches.join_next().await {
        fetched.unwrap();
    }
    let most = server.app.most_at_once();
    assert!((1..=MAX_CONCURRENT).contains(&most), "{most}");
}

//! Fetches over real TLS sockets: the success, and every reason that ends a fetch.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::net::testing;

/// The server's behavior once it has read a request.
#[derive(Clone)]
enum Conduct {
    Says(&'static [u8]),
    /// Sends these bytes and then nothing more.
    Stalls(&'static [u8]),
    /// Waits, then responds with the number of requests that wait at the same time.
    Counts(Arc<AtomicUsize>),
}

struct Server {
    port: u16,
    roots: rustls::RootCertStore,
    connections: Arc<AtomicUsize>,
    requests: tokio::sync::mpsc::UnboundedReceiver<String>,
}

async fn serve(conduct: Conduct) -> Server {
    let (acceptor, roots) = testing::tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let (sender, requests) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let (acceptor, conduct, sender) = (acceptor.clone(), conduct.clone(), sender.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = vec![0; 4096];
                let Ok(count) = stream.read(&mut request).await else {
                    return;
                };
                request.truncate(count);
                let _ = sender.send(String::from_utf8(request).unwrap());
                answer(&mut stream, conduct).await;
            });
        }
    });
    Server {
        port,
        roots,
        connections,
        requests,
    }
}

async fn answer(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), conduct: Conduct) {
    match conduct {
        Conduct::Says(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
        }
        Conduct::Stalls(bytes) => {
            let _ = stream.write_all(bytes).await;
            let _ = stream.flush().await;
            std::future::pending::<()>().await;
        }
        Conduct::Counts(waiting) => {
            let together = waiting.fetch_add(1, Ordering::SeqCst) + 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
            waiting.fetch_sub(1, Ordering::SeqCst);
            let body = format!("{together:04}");
            let head = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n";
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}

impl Server {
    fn fetcher(&self) -> HttpsFetcher {
        HttpsFetcher::new(OutgoingClient::with_roots(self.roots.clone()))
    }

    fn url(&self, host: &str) -> RemoteUrl {
        RemoteUrl::parse(&format!("https://{host}:{}/keys?a=b", self.port)).unwrap()
    }
}

const LIMITS: FetchLimits = FetchLimits {
    deadline: Duration::from_millis(500),
    max_bytes: 16,
};

async fn get(conduct: Conduct) -> Result<Bytes, FetchError> {
    let server = serve(conduct).await;
    server.fetcher().get(&server.url("localhost"), LIMITS).await
}

#[tokio::test]
async fn the_body_is_fetched_whole_however_it_is_framed() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nkeys"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nke\r\n2\r\nys\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\nconnection: close\r\n\r\nkeys",
    ] {
        assert_eq!(get(Conduct::Says(answer)).await.unwrap(), "keys");
    }
}

#[tokio::test]
async fn the_request_names_host_and_target_and_carries_the_document() {
    let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut server = serve(Conduct::Says(ok)).await;
    let (fetcher, url) = (server.fetcher(), server.url("localhost"));
    fetcher.get(&url, LIMITS).await.unwrap();
    let request = server.requests.recv().await.unwrap();
    assert!(
        request.starts_with("GET /keys?a=b HTTP/1.1\r\n"),
        "{request}"
    );
    let host = format!("host: localhost:{}\r\n", server.port);
    assert!(request.contains(&host), "{request}");
    let document = Bytes::from_static(b"{\"a\":1}");
    fetcher.post_json(&url, document, LIMITS).await.unwrap();
    let request = server.requests.recv().await.unwrap();
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
    let refused = get(Conduct::Says(redirect)).await;
    assert!(matches!(refused, Err(FetchError::Redirect { .. })));
    for answer in [
        &b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nkeys"[..],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\ncontent-length: 4\r\n\r\nkeys",
    ] {
        let refused = get(Conduct::Says(answer)).await;
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
        let refused = get(Conduct::Says(answer)).await;
        assert!(matches!(
            refused,
            Err(FetchError::TooLarge { limit: 16, .. })
        ));
    }
    let full = b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n1234567890123456";
    assert_eq!(get(Conduct::Says(full)).await.unwrap().len(), 16);
}

#[tokio::test]
async fn a_body_that_breaks_off_or_is_compressed_is_an_error() {
    let short = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nkeys";
    let refused = get(Conduct::Says(short)).await;
    assert!(matches!(refused, Err(FetchError::Broken { .. })));
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nkeys";
    let refused = get(Conduct::Says(gzip)).await;
    assert!(matches!(refused, Err(FetchError::Compressed { .. })));
}

// Mutation: remove `timeout` from `fetch`.
#[tokio::test]
async fn one_deadline_holds_over_head_and_body() {
    for said in [
        &b""[..],
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nkeys",
    ] {
        let fetched = timeout(Duration::from_secs(5), get(Conduct::Stalls(said))).await;
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
    let mut server = serve(Conduct::Says(b"")).await;
    let other = HttpsFetcher::new(OutgoingClient::with_roots(
        serve(Conduct::Says(b"")).await.roots,
    ));
    for (fetcher, host) in [(server.fetcher(), "127.0.0.1"), (other, "localhost")] {
        let refused = fetcher.get(&server.url(host), LIMITS).await;
        assert!(matches!(refused, Err(FetchError::Connect { .. })), "{host}");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    assert!(server.requests.try_recv().is_err());
}

// Mutation: remove `_place`.
#[tokio::test]
async fn no_more_than_the_maximum_run_at_once() {
    let server = serve(Conduct::Counts(Arc::default())).await;
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
    let mut most = 0;
    while let Some(fetched) = fetches.join_next().await {
        let together = String::from_utf8(fetched.unwrap().to_vec()).unwrap();
        most = most.max(together.parse::<usize>().unwrap());
    }
    assert!((1..=MAX_CONCURRENT).contains(&most), "{most}");
}

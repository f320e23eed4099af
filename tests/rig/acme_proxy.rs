//! Proxy in front of a test CA that changes its responses: for features that the CA lacks, and for its failures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::pebble::Pebble;

/// A request to the CA.
pub struct AcmeRequest {
    pub method: String,
    pub path: String,
    /// The payload of the JWS, decoded; empty if there is none.
    pub payload: String,
}

/// A response of the CA, which a rule may change.
pub struct AcmeResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Changes a response, or makes one before the CA is asked (`None`).
pub type AcmeRule =
    Arc<dyn Fn(&AcmeRequest, Option<&mut AcmeResponse>) -> Option<AcmeResponse> + Send + Sync>;

/// Running proxy. It ends with the runtime of the test.
pub struct AcmeProxy {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl AcmeProxy {
    /// Starts a proxy with a certificate of the CA's own authority.
    pub async fn start(pebble: &Pebble, rule: AcmeRule) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(pebble.authority().server_config());
        let connector = TlsConnector::from(pebble.authority().client_config(&["http/1.1"]));
        let (upstream, requests) = (pebble.address(), Arc::<AtomicUsize>::default());
        let count = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, connector) = (acceptor.clone(), connector.clone());
                let (rule, count) = (Arc::clone(&rule), Arc::clone(&count));
                tokio::spawn(async move {
                    // A client that gives up, or a CA that is away, ends the exchange.
                    let Ok(client) = acceptor.accept(stream).await else {
                        return;
                    };
                    count.fetch_add(1, Ordering::SeqCst);
                    let _ = exchange(client, upstream, connector, &rule).await;
                });
            }
        });
        Self { address, requests }
    }

    /// URL of the directory through the proxy.
    pub fn directory(&self) -> String {
        format!("https://localhost:{}/dir", self.address.port())
    }

    /// Number of requests so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn exchange(
    mut client: impl AsyncRead + AsyncWrite + Unpin,
    upstream: SocketAddr,
    connector: TlsConnector,
    rule: &AcmeRule,
) -> std::io::Result<()> {
    let whole = read_message(&mut client).await?;
    let text = String::from_utf8_lossy(&whole).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut words = head.split(' ');
    let request = AcmeRequest {
        method: words.next().unwrap_or_default().to_owned(),
        path: words.next().unwrap_or_default().to_owned(),
        payload: payload(body),
    };
    let response = match rule(&request, None) {
        Some(made) => made,
        None => {
            let tcp = TcpStream::connect(upstream).await?;
            let name = ServerName::try_from("localhost").unwrap();
            let mut server = connector.connect(name, tcp).await?;
            server.write_all(&whole).await?;
            let answer = read_message(&mut server).await?;
            let mut response = parse(&String::from_utf8_lossy(&answer), &request.method);
            match rule(&request, Some(&mut response)) {
                Some(made) => made,
                None => response,
            }
        }
    };
    let mut text = format!("HTTP/1.1 {} OK\r\n", response.status);
    for (name, value) in &response.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    let length = response.body.len();
    text.push_str(&format!(
        "content-length: {length}\r\nconnection: close\r\n\r\n"
    ));
    if request.method != "HEAD" {
        text.push_str(&response.body);
    }
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await
}

/// Reads head and body of one message. A message without a length ends with the connection.
async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let mut whole = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = whole.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&whole[..end]).to_ascii_lowercase();
            let length = header(&head, "content-length").and_then(|value| value.parse().ok());
            let is_request = !head.starts_with("http/");
            let is_chunked = header(&head, "transfer-encoding").is_some();
            let length: Option<usize> = length.or((is_request && !is_chunked).then_some(0));
            if length.is_some_and(|length| whole.len() >= end + 4 + length) {
                return Ok(whole);
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) if whole.is_empty() => {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            // The end of the connection is the end of the message.
            Ok(0) | Err(_) => return Ok(whole),
            Ok(count) => whole.extend_from_slice(&buffer[..count]),
        }
    }
}

fn header(head: &str, name: &str) -> Option<String> {
    let mut lines = head.lines();
    let line = lines.find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn parse(text: &str, method: &str) -> AcmeResponse {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        // These describe the connection to the CA, and the body may change its length.
        let is_own = ["content-length", "connection", "transfer-encoding"]
            .contains(&name.to_ascii_lowercase().as_str());
        (!is_own).then(|| (name.to_owned(), value.trim().to_owned()))
    });
    let is_chunked = header(head, "transfer-encoding").is_some();
    AcmeResponse {
        status: status.unwrap_or(502),
        headers: headers.collect(),
        body: match (method, is_chunked) {
            ("HEAD", _) => String::new(),
            (_, true) => dechunk(body),
            (_, false) => body.to_owned(),
        },
    }
}

fn dechunk(body: &str) -> String {
    let (mut rest, mut whole) = (body, String::new());
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
        if size == 0 {
            break;
        }
        whole.push_str(&after[..size]);
        rest = after[size..].trim_start_matches("\r\n");
    }
    whole
}

/// Returns the payload of a JWS in its flattened JSON form.
fn payload(body: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let text = parsed.and_then(|jws| Some(jws.get("payload")?.as_str()?.to_owned()));
    let decoded = text.and_then(|text| data_encoding::BASE64URL_NOPAD.decode(text.as_bytes()).ok());
    String::from_utf8(decoded.unwrap_or_default()).unwrap_or_default()
}

//! Recording app. It uses plain sockets and threads, to keep raw bytes, to misbehave in every way, and to go on while the
//! runtime of a test is blocked.

use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::{LIMIT, wait_for};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Raw bytes of the head, including the empty line.
    pub head: Vec<u8>,
    /// Body without chunked framing.
    pub body: Vec<u8>,
    /// Number of its connection, from 0.
    pub connection: usize,
    /// Number of the request, from 0.
    pub number: usize,
    /// Number of the request on its connection, from 0.
    pub nth: usize,
    /// Time at which it was complete.
    pub at: Instant,
}

impl Recorded {
    /// Returns the request line.
    pub fn line(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        head.lines().next().unwrap_or_default().to_owned()
    }

    /// Returns head and body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&[&self.head[..], &self.body].concat()).into_owned()
    }

    /// Returns the body as text.
    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Returns the request target.
    pub fn target(&self) -> String {
        self.line().split(' ').nth(1).unwrap_or_default().to_owned()
    }

    /// Returns the values of a header, in their order.
    pub fn headers(&self, name: &str) -> Vec<String> {
        let head = String::from_utf8_lossy(&self.head);
        let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let fitting = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        fitting.map(|(_, value)| value.trim().to_owned()).collect()
    }

    /// Returns the value of a header that occurs once.
    pub fn header(&self, name: &str) -> Option<String> {
        let values = self.headers(name);
        assert!(values.len() < 2, "{name} occurs {} times", values.len());
        values.into_iter().next()
    }
}

/// Behavior of the app for a request.
#[derive(Clone)]
pub enum Behavior {
    /// Responds with this status and body.
    Respond(u16, Vec<u8>),
    /// Writes these bytes and continues.
    Raw(Vec<u8>),
    /// Continues after this time, as a slow app does.
    Wait(Duration),
    /// Continues once the latch is open.
    Hold(Latch),
    /// Opens the latch, so that a test sees how far the app is, and continues.
    Open(Latch),
    /// Sends nothing more; the connection stays open until the other side ends it.
    Hang,
    /// Closes the connection.
    Close,
    /// Closes a new connection at once, without reading.
    CloseBeforeReading,
    /// Resets the connection.
    Reset,
    /// Does one after the other for the same request.
    Steps(Vec<Behavior>),
    /// The first request gets the first one, ..., all further ones the last one.
    Sequence(Vec<Behavior>),
    /// Behaves as the function decides for the request.
    By(Arc<dyn Fn(&Recorded) -> Behavior + Send + Sync>),
}

/// 200 with a short text.
pub fn ok() -> Behavior {
    respond(200, "taken")
}

/// A status and a text.
pub fn respond(status: u16, body: &str) -> Behavior {
    Behavior::Respond(status, body.as_bytes().to_vec())
}

/// A status with these header lines, each with its line end, and a text.
pub fn respond_with(status: u16, headers: &str, body: &str) -> Behavior {
    let length = body.len();
    raw(format!(
        "HTTP/1.1 {status} Status\r\n{headers}content-length: {length}\r\n\r\n{body}"
    ))
}

/// Writes these bytes and continues.
pub fn raw(bytes: impl Into<Vec<u8>>) -> Behavior {
    Behavior::Raw(bytes.into())
}

/// Writes these bytes and closes.
pub fn raw_then_close(bytes: impl Into<Vec<u8>>) -> Behavior {
    steps([raw(bytes), Behavior::Close])
}

/// Writes these bytes and then nothing more, without closing.
pub fn raw_then_hang(bytes: impl Into<Vec<u8>>) -> Behavior {
    steps([raw(bytes), Behavior::Hang])
}

/// Writes what is not HTTP and closes.
pub fn garbage() -> Behavior {
    raw_then_close(b"220 mail.example.com ESMTP\r\n\r\n\0\x01\x02")
}

/// Responds after this time.
pub fn slow(delay: Duration, status: u16) -> Behavior {
    steps([Behavior::Wait(delay), respond(status, "late")])
}

/// Responds with this status once the latch is open.
pub fn held(latch: &Latch, status: u16) -> Behavior {
    steps([Behavior::Hold(latch.clone()), respond(status, "held")])
}

/// Does one after the other for the same request.
pub fn steps(steps: impl IntoIterator<Item = Behavior>) -> Behavior {
    Behavior::Steps(steps.into_iter().collect())
}

/// The first request gets the first one, ..., all further ones the last one.
pub fn sequence(behaviors: impl IntoIterator<Item = Behavior>) -> Behavior {
    Behavior::Sequence(behaviors.into_iter().collect())
}

/// Behaves as the function decides.
pub fn by(decide: impl Fn(&Recorded) -> Behavior + Send + Sync + 'static) -> Behavior {
    Behavior::By(Arc::new(decide))
}

/// One list for each connection in the order of arrival, with one behavior for each of its requests. A request without
/// one closes its connection.
pub fn by_connection<const N: usize>(lists: [Vec<Behavior>; N]) -> Behavior {
    by(move |request| {
        let list = lists.get(request.connection);
        let behavior = list.and_then(|list| list.get(request.nth));
        behavior.cloned().unwrap_or(Behavior::Close)
    })
}

/// Latch that holds responses back until it is opened.
#[derive(Clone, Default)]
pub struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    pub fn is_open(&self) -> bool {
        *self.0.0.lock()
    }

    fn pass(&self) {
        let mut is_open = self.0.0.lock();
        let closed = |is_open: &mut bool| !*is_open;
        self.0.1.wait_while_for(&mut is_open, closed, LIMIT);
    }
}

/// Recording app on a free port of 127.0.0.1 or on a Unix socket; stops accepting when dropped.
pub struct App {
    address: SocketAddr,
    socket: Option<PathBuf>,
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<Arc<ServerConfig>>,
    behavior: Mutex<Behavior>,
    requests: Mutex<Vec<Recorded>>,
    started: AtomicUsize,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
    connections: AtomicUsize,
    is_stopped: AtomicBool,
}

impl Shared {
    fn new(tls: Option<Arc<ServerConfig>>, behavior: Behavior) -> Arc<Self> {
        Arc::new(Self {
            tls,
            behavior: Mutex::new(behavior),
            requests: Mutex::default(),
            started: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            most_waiting: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        })
    }

    fn wait(&self, wait: impl FnOnce()) {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_waiting.fetch_max(waiting, Ordering::SeqCst);
        wait();
        self.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl App {
    pub fn start(behavior: Behavior) -> Self {
        Self::on(Refusing::new(), None, behavior)
    }

    /// Starts an app that speaks TLS.
    pub fn start_tls(tls: Arc<ServerConfig>, behavior: Behavior) -> Self {
        Self::on(Refusing::new(), Some(tls), behavior)
    }

    /// Starts to listen on a port that refused connections until now.
    pub fn start_on(address: Refusing, behavior: Behavior) -> Self {
        Self::on(address, None, behavior)
    }

    /// Starts an app on a Unix socket, whose file it creates. A path that begins with `@` is an abstract name.
    pub fn start_socket(path: &Path, behavior: Behavior) -> Self {
        let shared = Shared::new(None, behavior);
        let listener = match path.to_str().and_then(|path| path.strip_prefix('@')) {
            None => UnixListener::bind(path).unwrap(),
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
                UnixListener::bind_addr(&address).unwrap()
            }
        };
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(listener.incoming().map(Wire::unix), &accepting));
        Self {
            address: "0.0.0.0:0".parse().unwrap(),
            socket: Some(path.to_owned()),
            shared,
        }
    }

    fn on(socket: Refusing, tls: Option<Arc<ServerConfig>>, behavior: Behavior) -> Self {
        let address = socket.address();
        // More connections than any test opens while the thread that accepts them waits for the processor.
        socket.0.listen(1024).unwrap();
        let listener: TcpListener = socket.0.into();
        let shared = Shared::new(tls, behavior);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            let tls = accepting.tls.clone();
            accept(
                listener
                    .incoming()
                    .map(|stream| Wire::tcp(stream, tls.as_ref())),
                &accepting,
            );
        });
        Self {
            address,
            socket: None,
            shared,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT` with the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the behavior from the next request on.
    pub fn behave(&self, behavior: Behavior) {
        *self.shared.behavior.lock() = behavior;
    }

    /// Returns every complete request so far.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.lock().clone()
    }

    pub fn count(&self) -> usize {
        self.shared.requests.lock().len()
    }

    /// Returns the only request so far; panics if there are more or fewer.
    pub fn only_request(&self) -> Recorded {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "requests at the app");
        requests[0].clone()
    }

    /// Counts the requests of which at least one byte arrived.
    pub fn started(&self) -> usize {
        self.shared.started.load(Ordering::SeqCst)
    }

    /// Returns the highest number of requests that were in `Wait` or `Hold` at the same time.
    pub fn most_at_once(&self) -> usize {
        self.shared.most_waiting.load(Ordering::SeqCst)
    }

    /// Counts the connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Counts the connections whose client has not been notified of an end. On a busy machine even the loopback delivers
    /// late, so only the kernel knows what has arrived.
    pub fn open_connections(&self) -> usize {
        let sockets = self.client_sockets().into_iter();
        sockets.filter(|socket| socket.is_established).count()
    }

    /// Returns true if bytes have arrived at a client that it has not read.
    pub fn has_unread_bytes(&self) -> bool {
        let mut sockets = self.client_sockets().into_iter();
        sockets.any(|socket| socket.has_unread)
    }

    fn client_sockets(&self) -> Vec<ClientSocket> {
        let own = format!(":{:04X}", self.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let sockets = table.lines().filter_map(|line| {
            // Number, local and remote address, state, and the lengths of the queues for sending and receiving.
            let words: Vec<_> = line.split_whitespace().take(5).collect();
            let [_, _, remote, state, queues] = words[..] else {
                return None;
            };
            remote.ends_with(&own).then(|| ClientSocket {
                is_established: state == "01",
                has_unread: !queues.ends_with(":00000000"),
            })
        });
        sockets.collect()
    }

    /// Waits until this many requests are complete, and returns all.
    pub async fn wait_for_requests(&self, count: usize) -> Vec<Recorded> {
        let what = format!("{count} requests at the app");
        wait_for(&what, LIMIT, || self.count() >= count).await;
        self.requests()
    }
}

/// A client's end of a connection, as the kernel sees it.
struct ClientSocket {
    is_established: bool,
    has_unread: bool,
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        match &self.socket {
            None => drop(TcpStream::connect(self.address)),
            Some(path) => drop(UnixStream::connect(path)),
        }
    }
}

/// Address that refuses connections as long as the value lives: the socket is bound, but does not listen.
pub struct Refusing(socket2::Socket);

impl Refusing {
    pub fn new() -> Self {
        let socket =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        socket.bind(&any.into()).unwrap();
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap().as_socket().unwrap()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }
}

fn accept(incoming: impl Iterator<Item = io::Result<Wire>>, shared: &Arc<Shared>) {
    for stream in incoming {
        if shared.is_stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, connection, &shared));
    }
}

/// A connection: TCP with TLS or without, or a Unix socket.
enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
    Unix(UnixStream),
}

impl Wire {
    fn tcp(stream: io::Result<TcpStream>, tls: Option<&Arc<ServerConfig>>) -> io::Result<Self> {
        let stream = stream?;
        let _ = stream.set_nodelay(true);
        let Some(config) = tls else {
            return Ok(Self::Plain(stream));
        };
        let session = ServerConnection::new(Arc::clone(config)).unwrap();
        Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    fn unix(stream: io::Result<UnixStream>) -> io::Result<Self> {
        stream.map(Self::Unix)
    }

    fn reset(&self) {
        let socket = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.sock,
            // A Unix socket has no reset: closing it is all there is.
            Self::Unix(_) => return,
        };
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }

    fn close(&mut self) {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
}

impl Read for Wire {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
            Self::Unix(stream) => stream.read(bytes),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

fn serve(mut wire: Wire, connection: usize, shared: &Shared) {
    let mut buffer = Vec::new();
    for nth in 0.. {
        let upcoming = pick(&shared.behavior.lock(), shared.requests.lock().len());
        if matches!(upcoming, Behavior::CloseBeforeReading) {
            return;
        }
        let Some((head, body)) = read_request(&mut wire, &mut buffer, shared) else {
            return;
        };
        // The behavior may have changed while the connection was idle.
        let behavior = shared.behavior.lock().clone();
        let recorded = {
            let mut requests = shared.requests.lock();
            let number = requests.len();
            requests.push(Recorded {
                head,
                body,
                connection,
                number,
                nth,
                at: Instant::now(),
            });
            requests[number].clone()
        };
        if !act(&mut wire, &behavior, &recorded, shared) {
            return;
        }
    }
}

/// Returns the behavior for the request of this number.
fn pick(behavior: &Behavior, number: usize) -> Behavior {
    match behavior {
        Behavior::Sequence(all) => pick(&all[number.min(all.len() - 1)], number),
        other => other.clone(),
    }
}

/// Returns false if the connection must be closed.
fn act(wire: &mut Wire, behavior: &Behavior, recorded: &Recorded, shared: &Shared) -> bool {
    match pick(behavior, recorded.number) {
        Behavior::Respond(status, body) => wire.write_all(&answer(status, &body)).is_ok(),
        Behavior::Raw(bytes) => wire.write_all(&bytes).is_ok(),
        Behavior::Wait(delay) => {
            shared.wait(|| std::thread::sleep(delay));
            true
        }
        Behavior::Hold(latch) => {
            shared.wait(|| latch.pass());
            true
        }
        Behavior::Open(latch) => {
            latch.open();
            true
        }
        Behavior::Hang => {
            let _ = io::copy(wire, &mut io::sink());
            false
        }
        Behavior::Close | Behavior::CloseBeforeReading => {
            wire.close();
            false
        }
        Behavior::Reset => {
            wire.reset();
            false
        }
        Behavior::Steps(steps) => steps.iter().all(|step| act(wire, step, recorded, shared)),
        Behavior::By(decide) => act(wire, &decide(recorded), recorded, shared),
        Behavior::Sequence(_) => unreachable!("pick never gives a sequence"),
    }
}

/// Returns a complete response with its length.
pub fn answer(status: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: text/plain\r\nx-from-app: yes\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Reads one request, head and body. Returns `None` if the connection ends first.
fn read_request(
    stream: &mut Wire,
    buffer: &mut Vec<u8>,
    shared: &Shared,
) -> Option<(Vec<u8>, Vec<u8>)> {
    let mut is_started = false;
    let mut fill = |buffer: &mut Vec<u8>| -> Option<()> {
        let mut piece = [0; 16384];
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        buffer.extend_from_slice(&piece[..count]);
        Some(())
    };
    let end = loop {
        if !buffer.is_empty() && !is_started {
            is_started = true;
            shared.started.fetch_add(1, Ordering::SeqCst);
        }
        let found = buffer.windows(4).position(|window| window == b"\r\n\r\n");
        match found {
            Some(position) => break position + 4,
            None => fill(buffer)?,
        }
    };
    let head: Vec<u8> = buffer.drain(..end).collect();
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let value = |name: &str| {
        let mut fields = text.lines().filter_map(|line| line.split_once(':'));
        fields
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    if let Some(length) = value("content-length") {
        let length: usize = length.parse().ok()?;
        while buffer.len() < length {
            fill(buffer)?;
        }
        return Some((head, buffer.drain(..length).collect()));
    }
    if value("transfer-encoding").is_none() {
        return Some((head, Vec::new()));
    }
    let mut body = Vec::new();
    loop {
        let end = loop {
            match buffer.windows(2).position(|window| window == b"\r\n") {
                Some(position) => break position,
                None => fill(buffer)?,
            }
        };
        let line: Vec<u8> = buffer.drain(..end + 2).collect();
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).ok()?;
        while buffer.len() < size + 2 {
            fill(buffer)?;
        }
        body.extend(buffer.drain(..size));
        buffer.drain(..2);
        if size == 0 {
            return Some((head, body));
        }
    }
}

//! Recording app behind the gate. It uses plain sockets and threads, to keep raw bytes and to misbehave in every way.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

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
}

impl Recorded {
    /// Returns the request line.
    pub fn line(&self) -> String {
        let head = String::from_utf8_lossy(&self.head);
        head.lines().next().unwrap_or_default().to_owned()
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
pub enum Behaviour {
    /// Responds with this status and body.
    Respond(u16, Vec<u8>),
    /// Writes these bytes and continues.
    Raw(Vec<u8>),
    /// Writes these bytes and closes.
    RawThenClose(Vec<u8>),
    /// Never responds; the connection stays open until the other side ends it.
    Hang,
    /// Responds after this time.
    Slow(Duration, u16),
    /// Responds with this status once the latch is open.
    Held(Latch, u16),
    /// Closes a new connection at once, without reading.
    CloseBeforeReading,
    /// Reads the whole request, then closes.
    CloseAfterReading,
    /// Reads the whole request, then resets the connection.
    Reset,
    /// Reads the whole request, then writes what is not HTTP and closes.
    Garbage,
    /// The first request gets the first one, ..., all further ones the last one.
    Sequence(Vec<Behaviour>),
    /// Behaves as the function decides for the request.
    By(Arc<dyn Fn(&Recorded) -> Behaviour + Send + Sync>),
}

/// 200 with a short text.
pub fn ok() -> Behaviour {
    respond(200, "taken")
}

/// A status and a text.
pub fn respond(status: u16, body: &str) -> Behaviour {
    Behaviour::Respond(status, body.as_bytes().to_vec())
}

/// The first request gets the first one, ..., all further ones the last one.
pub fn sequence(behaviours: impl IntoIterator<Item = Behaviour>) -> Behaviour {
    Behaviour::Sequence(behaviours.into_iter().collect())
}

/// Behaves as the function decides.
pub fn by(decide: impl Fn(&Recorded) -> Behaviour + Send + Sync + 'static) -> Behaviour {
    Behaviour::By(Arc::new(decide))
}

/// Latch that holds responses back until it is opened.
#[derive(Clone, Default)]
pub struct Latch(Arc<(Mutex<bool>, Condvar)>);

impl Latch {
    pub fn open(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut is_open = self.0.0.lock();
        let closed = |is_open: &mut bool| !*is_open;
        self.0.1.wait_while_for(&mut is_open, closed, LIMIT);
    }
}

/// Recording app on a free port of 127.0.0.1; stops accepting when dropped.
pub struct App {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    requests: Mutex<Vec<Recorded>>,
    started: AtomicUsize,
    connections: AtomicUsize,
    is_stopped: AtomicBool,
}

impl App {
    pub fn start(behaviour: Behaviour) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap(), behaviour)
    }

    /// Starts to listen on a port that refused connections until now.
    pub fn start_on(address: Refusing, behaviour: Behaviour) -> Self {
        address.0.listen(64).unwrap();
        Self::on(address.0.into(), behaviour)
    }

    fn on(listener: TcpListener, behaviour: Behaviour) -> Self {
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(behaviour),
            requests: Mutex::default(),
            started: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns `http://127.0.0.1:PORT` with the path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Changes the behavior from the next request on.
    pub fn behave(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock() = behaviour;
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

    /// Counts the connections so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub async fn wait_for_requests(&self, count: usize) {
        let what = format!("{count} requests at the app");
        wait_for(&what, LIMIT, || self.count() >= count).await;
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.is_stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, connection, &shared));
    }
}

fn serve(mut stream: TcpStream, connection: usize, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut buffer = Vec::new();
    loop {
        let upcoming = pick(&shared.behaviour.lock(), shared.requests.lock().len());
        if matches!(upcoming, Behaviour::CloseBeforeReading) {
            return;
        }
        let Some((head, body)) = read_request(&mut stream, &mut buffer, shared) else {
            return;
        };
        // The behavior may have changed while the connection was idle.
        let behaviour = shared.behaviour.lock().clone();
        let recorded = {
            let mut requests = shared.requests.lock();
            let number = requests.len();
            requests.push(Recorded {
                head,
                body,
                connection,
                number,
            });
            requests[number].clone()
        };
        if !act(&mut stream, &behaviour, &recorded) {
            return;
        }
    }
}

/// Returns the behavior for the request of this number.
fn pick(behaviour: &Behaviour, number: usize) -> Behaviour {
    match behaviour {
        Behaviour::Sequence(all) => pick(&all[number.min(all.len() - 1)], number),
        other => other.clone(),
    }
}

/// Returns false if the connection must be closed.
fn act(stream: &mut TcpStream, behaviour: &Behaviour, recorded: &Recorded) -> bool {
    match pick(behaviour, recorded.number) {
        Behaviour::Respond(status, body) => stream.write_all(&answer(status, &body)).is_ok(),
        Behaviour::Raw(bytes) => stream.write_all(&bytes).is_ok(),
        Behaviour::RawThenClose(bytes) => {
            let _ = stream.write_all(&bytes);
            false
        }
        Behaviour::Hang => {
            let _ = stream.read(&mut [0; 1]);
            false
        }
        Behaviour::Slow(delay, status) => {
            std::thread::sleep(delay);
            stream.write_all(&answer(status, b"late")).is_ok()
        }
        Behaviour::Held(latch, status) => {
            latch.pass();
            stream.write_all(&answer(status, b"held")).is_ok()
        }
        Behaviour::CloseBeforeReading | Behaviour::CloseAfterReading => false,
        Behaviour::Reset => {
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            false
        }
        Behaviour::Garbage => {
            let _ = stream.write_all(b"220 mail.example.com ESMTP\r\n\r\n\0\x01\x02");
            false
        }
        Behaviour::By(decide) => {
            let decided = decide(recorded);
            act(stream, &decided, recorded)
        }
        Behaviour::Sequence(_) => unreachable!("pick never gives a sequence"),
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
    stream: &mut TcpStream,
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

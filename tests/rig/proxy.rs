//! HTTP proxy that opens tunnels (`CONNECT`), records what it was asked, and can refuse.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

/// A proxy on a free port of 127.0.0.1; stops accepting when dropped.
pub struct ConnectProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Address of each host and port that the proxy knows, which takes the place of DNS.
    hosts: Mutex<HashMap<String, SocketAddr>>,
    /// Response in place of a tunnel.
    refusal: Mutex<Option<Vec<u8>>>,
    asked: Mutex<Vec<String>>,
    is_stopped: AtomicBool,
}

impl ConnectProxy {
    /// Starts a proxy that knows these hosts, each as `host:port`. It answers 502 for any other.
    pub fn start(hosts: &[(&str, SocketAddr)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let known = hosts.iter().map(|(host, at)| ((*host).to_owned(), *at));
        shared.hosts.lock().extend(known);
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || drop(serve(stream, &shared)));
            }
        });
        Self { address, shared }
    }

    /// Returns `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends these bytes in place of each tunnel from now on; `None`: opens tunnels again.
    pub fn refuse(&self, response: Option<&str>) {
        *self.shared.refusal.lock() = response.map(|text| text.as_bytes().to_vec());
    }

    /// Returns the heads of all requests so far.
    pub fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    // Byte by byte, so that nothing of the tunnel is taken.
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.asked.lock().push(head);
    if let Some(refusal) = shared.refusal.lock().clone() {
        return client.write_all(&refusal);
    }
    let Some(address) = shared.hosts.lock().get(&target).copied() else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    };
    let mut host = TcpStream::connect(address)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from_host, mut to_client) = (host.try_clone()?, client.try_clone()?);
    let back = std::thread::spawn(move || {
        let _ = io::copy(&mut from_host, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut client, &mut host);
    let _ = host.shutdown(Shutdown::Write);
    let _ = back.join();
    Ok(())
}

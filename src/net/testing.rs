//! Test helper: a name server on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A name server on loopback. A function of the number of the query gives the addresses for any name, with a TTL of 0.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl NameServer {
    /// Starts the server. Only queries for IPv4 addresses are counted, from 0; others get an empty response.
    pub(crate) async fn start(
        answers: impl Fn(usize) -> Vec<Ipv4Addr> + Send + Sync + 'static,
    ) -> Self {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            let mut packet = [0; 1500];
            while let Ok((size, peer)) = socket.recv_from(&mut packet).await {
                // A name ends with an empty label; type and class follow (RFC 1035, section 4.1.2).
                let name_end = 12 + packet[12..size].iter().position(|byte| *byte == 0).unwrap();
                let question = &packet[12..name_end + 5];
                let is_v4 = packet[name_end + 1..name_end + 3] == [0, 1];
                let found = match is_v4 {
                    true => answers(count.fetch_add(1, Ordering::Relaxed)),
                    false => Vec::new(),
                };
                // The query's id, flags of a response, one question, and the number of addresses.
                let mut answer = packet[..2].to_vec();
                answer.extend([
                    0x81,
                    0x80,
                    0,
                    1,
                    0,
                    u8::try_from(found.len()).unwrap(),
                    0,
                    0,
                    0,
                    0,
                ]);
                answer.extend(question);
                for ip in found {
                    // A pointer to the name of the question, A, IN, TTL 0, four bytes.
                    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
                    answer.extend(ip.octets());
                }
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { address, asked }
    }

    /// Returns the number of queries for IPv4 addresses so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

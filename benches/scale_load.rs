//! Load for `benches/scale.py`: senders that need little processor time beside the nodes, and an app that takes everything.
//!
//! `scale_load send FILE SENDERS SECONDS RATE PORT...` sends the request in FILE over kept connections, one for each sender,
//! with `{id}` replaced by a new id of 32 characters each time. RATE 0 sends as fast as responses come. It prints one line of
//! JSON. `scale_load app` prints its port, answers 204, and prints the number of requests when standard input ends.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a benchmark of something broken has to stop"
)]

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hookgate::internals::instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Reads one message with its body. Returns its first line, or nothing where the connection ended.
async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(end) = find(buffer, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |text| text.trim().parse().expect("a length"));
            while buffer.len() < end + 4 + length {
                if stream.read_buf(buffer).await.ok()? == 0 {
                    return None;
                }
            }
            buffer.drain(..end + 4 + length);
            return head.lines().next().map(str::to_owned);
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

/// Results of one sender.
#[derive(Default)]
struct SenderRun {
    took: Vec<Duration>,
    /// Responses other than 2xx.
    refused: u64,
}

struct LoadPlan {
    head: Vec<u8>,
    tail: Vec<u8>,
    span: Duration,
    /// Between two requests of one sender.
    pause: Duration,
    next: AtomicU64,
    /// Ids of two runs differ, since the nodes remember them.
    run: u128,
}

async fn send(plan: Arc<LoadPlan>, port: u16, offset: f64) -> SenderRun {
    let mut stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    let (mut run, mut buffer, began) = (SenderRun::default(), Vec::new(), instant());
    // Senders are spread over the pause, so that they do not send in step.
    let mut due = began + plan.pause.mul_f64(offset);
    while began.elapsed() < plan.span {
        tokio::time::sleep_until(due.into()).await;
        due += plan.pause;
        let number = u128::from(plan.next.fetch_add(1, Ordering::Relaxed));
        let mut request = plan.head.clone();
        request.extend_from_slice(format!("{:032x}", plan.run + number).as_bytes());
        request.extend_from_slice(&plan.tail);
        let asked = instant();
        stream.write_all(&request).await.expect("it is sent");
        let status = read_message(&mut stream, &mut buffer)
            .await
            .expect("a response");
        match status
            .split(' ')
            .nth(1)
            .is_some_and(|code| code.starts_with('2'))
        {
            true => run.took.push(asked.elapsed()),
            false => run.refused += 1,
        }
    }
    run
}

async fn send_all(arguments: Vec<String>) {
    let request = std::fs::read(&arguments[0]).expect("the request");
    let number = |at: usize| arguments[at].parse::<f64>().expect("a number");
    let (senders, seconds, rate) = (number(1), number(2), number(3));
    let at = find(&request, b"{id}").expect("a place for the id");
    let nanos = std::time::UNIX_EPOCH.elapsed().expect("a clock").as_nanos();
    let plan = Arc::new(LoadPlan {
        head: request[..at].to_vec(),
        tail: request[at + 4..].to_vec(),
        span: Duration::from_secs_f64(seconds),
        pause: Duration::from_secs_f64(if rate > 0.0 { senders / rate } else { 0.0 }),
        next: AtomicU64::new(0),
        run: nanos << 32,
    });
    let ports: Vec<u16> = arguments[4..]
        .iter()
        .map(|port| port.parse().expect("a port"))
        .collect();
    let began = instant();
    let tasks: Vec<_> = (0..senders as usize)
        .map(|sender| {
            let offset = sender as f64 / senders;
            tokio::spawn(send(Arc::clone(&plan), ports[sender % ports.len()], offset))
        })
        .collect();
    let (mut took, mut refused) = (Vec::new(), 0);
    for task in tasks {
        let run = task.await.expect("no panic");
        took.extend(run.took);
        refused += run.refused;
    }
    let elapsed = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| {
        took.get(took.len() * share / 100)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    };
    println!(
        "{{\"rate\": {:.1}, \"p50_ms\": {:.3}, \"p99_ms\": {:.3}, \"refused\": {refused}, \"accepted\": {}}}",
        took.len() as f64 / elapsed,
        at(50),
        at(99),
        took.len(),
    );
}

async fn serve_app() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let counted = Arc::clone(&counted);
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                while read_message(&mut stream, &mut buffer).await.is_some() {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
                    if stream.write_all(answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    ended.await.expect("no panic").expect("standard input");
    println!("{}", count.load(Ordering::Relaxed));
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|each| each != "--bench");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match arguments.next().as_deref() {
        Some("send") => runtime.block_on(send_all(arguments.collect())),
        Some("app") => runtime.block_on(serve_app()),
        _ => println!("benches/scale.py runs this program"),
    }
}

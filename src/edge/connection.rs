//! The path of one connection: PROXY header, limit per source, TLS, then HTTP/1 or HTTP/2.
//!
//! ALPN selects the protocol. Every phase has a deadline that counts from its begin, and not from the last read.
//!
//! The future of an idle connection must stay small. Phases that need much memory are boxed, and their memory is freed
//! when they end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use rustls::server::Acceptor;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, TlsAcceptor};
use tokio_util::task::TaskTracker;

use crate::config::model::ProxyProtocol;
use crate::edge::connection_shared::ConnectionShared;
use crate::edge::connection_watch::StallKind;
use crate::edge::event::{ConnectionRefusal, EdgeEvent};
use crate::edge::handler::RequestHandler;
use crate::edge::head_guard::IdleCarryover;
use crate::edge::limits::SourceSlot;
use crate::edge::server_state::EdgeServer;
use crate::edge::settings::{EdgeSettings, TlsSettings};
use crate::edge::source::{PeerAddress, is_trusted};
use crate::edge::stop_signal::StopSignal;
use crate::edge::transport::ConnectionTransport;
use crate::edge::{challenge, http1, http2, proxy_protocol};
use crate::model::source::{SourceKey, canonical};
use crate::net::problem;

/// Bounds for closing a connection: the time, and the bytes that the peer may still send before it reads the last
/// response.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 4 * 1024 * 1024;

/// Time for the first request of a connection that was accepted before a drain began, since its client does not know of
/// the drain. It covers three round trips of a slow network, with a reserve.
pub(super) const NEWCOMER_GRACE: Duration = Duration::from_secs(2);

/// A connection that is ready for HTTP.
struct OpenConnection {
    transport: ConnectionTransport,
    announced: ClientAddress,
    slot: Option<SourceSlot>,
}

/// The client's address of a connection, and whether it is a proxy.
#[derive(Clone, Copy)]
struct ClientAddress {
    ip: IpAddr,
    /// True where the address is a trusted proxy, so that its `X-Forwarded-For` is used.
    is_proxy: bool,
}

/// The reason why the wait for the next request ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WakeReason {
    Bytes,
    PeerGone,
    /// The deadline passed before any byte.
    Late,
    Stop,
}

/// Serves one connection. `Drop` returns its slots and counts, however this function ends.
pub(super) async fn serve<H: RequestHandler>(
    edge: Arc<EdgeServer>,
    stream: TcpStream,
    socket: SocketAddr,
    handler: H,
    stop: Arc<StopSignal>,
    tracker: TaskTracker,
) {
    let settings = edge.settings();
    let opened = Box::pin(open(&edge, &settings, stream, socket, &stop)).await;
    let Some(OpenConnection {
        transport,
        announced: ClientAddress { ip, is_proxy },
        slot: _slot,
    }) = opened
    else {
        return;
    };
    // The settings stay the same until the connection ends, also across a reload.
    let shared = Arc::new(ConnectionShared {
        is_tls: matches!(transport, ConnectionTransport::Tls(_)),
        certificates: transport.peer_certificates(),
        is_proxy,
        peer: PeerAddress { socket, ip },
        edge,
        settings,
        handler,
    });
    if transport.is_h2() {
        shared.edge.counters().connections_h2.add();
        serve_h2(transport, &shared, &stop, tracker).await;
    } else {
        shared.edge.counters().connections_h1.add();
        serve_h1(transport, &shared, &stop).await;
    }
}

/// Runs everything before HTTP, within `handshake_timeout`. Returns `None` where the connection was closed.
async fn open(
    edge: &Arc<EdgeServer>,
    settings: &EdgeSettings,
    mut stream: TcpStream,
    socket: SocketAddr,
    stop: &StopSignal,
) -> Option<OpenConnection> {
    let deadline = Instant::now() + settings.handshake_timeout;
    let peer = canonical(socket.ip());
    let (drain, abort) = stop.waits();
    let (drain, abort) = (pin!(drain), pin!(abort));
    let mut signals = stop.signals(drain, abort);
    let mut opening = pin!(async {
        let announced = announced(edge, settings, &mut stream, peer).await?;
        let slot = source_slot(edge, settings, announced)?;
        let transport = handshake(edge, settings, stream, announced.ip).await?;
        Some(OpenConnection {
            transport,
            announced,
            slot,
        })
    });
    let mut timer = pin!(tokio::time::sleep_until(deadline));
    let mut is_draining = false;
    std::future::poll_fn(|context| {
        let level = signals.poll_level(context);
        if level.is_abort() {
            return Poll::Ready(None);
        }
        // A drain shortens the deadline once, and never extends it.
        if level.is_drain() && !is_draining {
            is_draining = true;
            let soon = Instant::now() + NEWCOMER_GRACE;
            timer.as_mut().reset(deadline.min(soon));
        }
        if let Poll::Ready(opened) = opening.as_mut().poll(context) {
            return Poll::Ready(opened);
        }
        timer.as_mut().poll(context).map(|()| {
            // A handshake cut short by a drain is not the client's fault, so it is not counted.
            if !is_draining {
                edge.counters().handshakes_timed_out.add();
                edge.notify(EdgeEvent::HandshakeTimeout { ip: peer });
            }
            None
        })
    })
    .await
}

/// Returns the client's address from the PROXY protocol where it is required, and otherwise the peer.
///
/// A balancer that names no address (`UNKNOWN`, `UNSPEC`, `LOCAL`) acts for itself. Its own address is then the source,
/// with the limits of any source, and forwarding headers are ignored: it may have passed on a connection whose client
/// wrote `X-Forwarded-For` itself.
async fn announced(
    edge: &EdgeServer,
    settings: &EdgeSettings,
    stream: &mut TcpStream,
    peer: IpAddr,
) -> Option<ClientAddress> {
    let forwards_of = |ip| ClientAddress {
        ip,
        is_proxy: is_trusted(ip, &settings.trusted_proxies),
    };
    // Without the PROXY protocol the socket's peer is the client, or a proxy that uses `X-Forwarded-For`.
    if settings.proxy_protocol == ProxyProtocol::Off {
        return Some(forwards_of(peer));
    }
    let refuse = |reason| {
        edge.counters().refused_proxy_header.add();
        edge.notify(EdgeEvent::ProxyHeaderRefused { ip: peer, reason });
        None
    };
    // Checked before a byte is read: an untrusted client could claim any address.
    if !is_trusted(peer, &settings.trusted_proxies) {
        return refuse("the peer is not in `trusted_proxies`");
    }
    match proxy_protocol::read(stream).await {
        Ok(Some(ip)) => Some(forwards_of(ip)),
        Ok(None) => Some(ClientAddress {
            ip: peer,
            is_proxy: false,
        }),
        Err(error) => refuse(error.reason()),
    }
}

/// Takes a slot of the source, or returns `None` where it has too many. Trusted proxies carry many clients, so they
/// need no slot.
fn source_slot(
    edge: &EdgeServer,
    settings: &EdgeSettings,
    ClientAddress { ip, is_proxy }: ClientAddress,
) -> Option<Option<SourceSlot>> {
    if is_proxy {
        return Some(None);
    }
    let limit = settings.max_connections_per_source;
    let slot = edge.limits.enter_source(SourceKey::of(ip), limit);
    if slot.is_none() {
        edge.counters().refused_source.add();
        edge.notify(EdgeEvent::ConnectionRefused {
            ip,
            reason: ConnectionRefusal::TooManyFromSource,
        });
        return None;
    }
    Some(slot)
}

async fn handshake(
    edge: &EdgeServer,
    settings: &EdgeSettings,
    stream: TcpStream,
    ip: IpAddr,
) -> Option<ConnectionTransport> {
    let Some(tls) = &settings.tls else {
        return Some(ConnectionTransport::plain(stream));
    };
    let accepted = match (&tls.challenges, &tls.asking) {
        (None, None) => {
            TlsAcceptor::from(Arc::clone(&tls.config))
                .accept(stream)
                .await
        }
        // Boxed, so that handshakes without this step stay as small as they were.
        (None, Some(_)) => Box::pin(accept_by_name(tls, stream)).await,
        // The ClientHello is read first, because a CA must get a configuration of its own.
        (Some(managed), _) => match Box::pin(challenge::begin(stream, managed)).await {
            Ok(Some(start)) => {
                let config = tls.config_for(start.client_hello().server_name());
                start.into_stream(config).await
            }
            Ok(None) => return None,
            Err(error) => Err(error),
        },
    };
    match accepted {
        Ok(stream) => {
            edge.counters().handshakes_ok.add();
            Some(ConnectionTransport::Tls(Box::new(stream)))
        }
        Err(error) => {
            edge.counters().handshakes_failed.add();
            let error = error.to_string();
            edge.notify(EdgeEvent::HandshakeFailed { ip, error });
            None
        }
    }
}

/// Accepts a handshake, and asks the client for a certificate if the server name that it requests needs one.
async fn accept_by_name(tls: &TlsSettings, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let config = tls.config_for(start.client_hello().server_name());
    start.into_stream(config).await
}

async fn serve_h2<H: RequestHandler>(
    mut transport: ConnectionTransport,
    shared: &Arc<ConnectionShared<H>>,
    stop: &StopSignal,
    tracker: TaskTracker,
) {
    let ip = shared.peer.ip;
    let first_head_by = Instant::now() + shared.settings.header_timeout;
    match wait(&mut transport, first_head_by, NEWCOMER_GRACE, stop).await {
        WakeReason::Bytes => {}
        WakeReason::Late => {
            shared.count_stall(StallKind::Head);
            return close(transport).await;
        }
        WakeReason::PeerGone | WakeReason::Stop => return close(transport).await,
    }
    let drive = http2::drive(transport, shared, stop, tracker, first_head_by);
    let end = Box::pin(drive).await;
    let counters = shared.edge.counters();
    match end {
        http2::Http2Outcome::Over | http2::Http2Outcome::Aborted => {}
        http2::Http2Outcome::Idle => counters.idle_closed.add(),
        http2::Http2Outcome::Stalled(stall) => shared.count_stall(stall),
        http2::Http2Outcome::Flood => {
            counters.floods_cut.add();
            shared.edge.notify(EdgeEvent::Flood { ip });
        }
    }
}

async fn serve_h1<H: RequestHandler>(
    mut transport: ConnectionTransport,
    shared: &Arc<ConnectionShared<H>>,
    stop: &StopSignal,
) {
    // A client connects in order to send a request, so the first head has the deadline of a head, from the handshake
    // on.
    let mut deadline = Instant::now() + shared.settings.header_timeout;
    let mut waited = IdleCarryover {
        first_head_by: Some(deadline),
        empty_lines: 0,
    };
    let mut grace = NEWCOMER_GRACE;
    loop {
        match wait(&mut transport, deadline, grace, stop).await {
            WakeReason::Bytes => {}
            WakeReason::Late => {
                match waited.first_head_by {
                    Some(_) => shared.count_stall(StallKind::Head),
                    None => shared.edge.counters().idle_closed.add(),
                }
                return close(transport).await;
            }
            WakeReason::PeerGone | WakeReason::Stop => return close(transport).await,
        }
        // Boxed, so that hyper's state exists only while there are requests on the connection.
        match Box::pin(http1::drive(transport, shared, stop, waited)).await {
            http1::Http1Outcome::Aborted => return,
            http1::Http1Outcome::Parked {
                transport: rest,
                has_served,
                empty_lines,
            } => {
                transport = rest;
                waited.empty_lines = empty_lines;
                // Empty lines alone must not move the deadline, or they would keep a connection open forever.
                if has_served {
                    deadline = Instant::now() + shared.settings.idle_timeout;
                    waited.first_head_by = None;
                    // A client that has received a response must expect an idle connection to end at any time (RFC
                    // 9112, section 9.5).
                    grace = Duration::ZERO;
                }
            }
            http1::Http1Outcome::Stalled(rest, stall) => {
                shared.count_stall(stall);
                // A client that was slow to send its head may still read, and learns the reason; one that does not read
                // its response cannot.
                if stall == StallKind::Head {
                    last_answer(rest, StatusCode::REQUEST_TIMEOUT).await;
                }
                return;
            }
            http1::Http1Outcome::Over {
                transport,
                fault,
                is_peer_gone,
            } => {
                return match fault {
                    // hyper has not seen the bad head, so the response is written here.
                    Some(fault) => {
                        shared.count_fault(fault);
                        last_answer(transport, fault.status()).await;
                    }
                    None if is_peer_gone => close(transport).await,
                    None => Box::pin(linger(transport)).await,
                };
            }
        }
    }
}

/// Waits for the first byte of the next request, with almost no memory. During a drain, waits for `grace` at most.
async fn wait(
    transport: &mut ConnectionTransport,
    deadline: Instant,
    grace: Duration,
    stop: &StopSignal,
) -> WakeReason {
    // An idle connection needs no read buffer.
    transport.release();
    let (drain, abort) = stop.waits();
    let (drain, abort) = (pin!(drain), pin!(abort));
    let mut signals = stop.signals(drain, abort);
    let mut timer = pin!(tokio::time::sleep_until(deadline));
    let mut is_draining = false;
    std::future::poll_fn(|context| {
        let level = signals.poll_level(context);
        // Bytes are checked before the stop, so that a request that has already arrived still gets its response.
        match transport.poll_fill(context) {
            Poll::Ready(Ok(bytes)) if !bytes.is_empty() => return Poll::Ready(WakeReason::Bytes),
            Poll::Ready(_) => return Poll::Ready(WakeReason::PeerGone),
            Poll::Pending => {}
        }
        let grace = grace.max(stop.idle_grace());
        if level.is_abort() || (level.is_drain() && grace.is_zero()) {
            return Poll::Ready(WakeReason::Stop);
        }
        if level.is_drain() && !is_draining {
            is_draining = true;
            let end = timer.deadline().min(Instant::now() + grace);
            timer.as_mut().reset(end);
        }
        let end = if is_draining {
            WakeReason::Stop
        } else {
            WakeReason::Late
        };
        timer.as_mut().poll(context).map(|()| end)
    })
    .await
}

/// Shuts down the connection without waiting for the peer.
async fn close(mut transport: ConnectionTransport) {
    let goodbye = std::future::poll_fn(|context| transport.poll_shutdown(context));
    let _ = timeout(LINGER, goodbye).await;
}

/// Shuts down the connection and reads the peer's remaining bytes. Otherwise, unread bytes make the kernel send a
/// reset, which can discard the last response before the peer has read it.
async fn linger(mut transport: ConnectionTransport) {
    let _ = timeout(LINGER, async {
        std::future::poll_fn(|context| transport.poll_shutdown(context)).await?;
        let mut rest = transport.socket().take(LINGER_BYTES);
        let mut sink = [0; 16 * 1024];
        while rest.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// Writes an error response without hyper, and closes the connection.
async fn last_answer(mut transport: ConnectionTransport, status: StatusCode) {
    // There is no request id: the request never reached the pipeline.
    let body = problem::document(status, None);
    let reason = status.canonical_reason().unwrap_or_default();
    let (code, length) = (status.as_u16(), body.len());
    let text = format!(
        "HTTP/1.1 {code} {reason}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    let mut left = text.as_bytes();
    let write = std::future::poll_fn(|context| {
        while !left.is_empty() {
            let count = std::task::ready!(transport.poll_write(context, left))?;
            // `max(1)` ends the loop even where a write reports 0 bytes.
            left = left.get(count.max(1)..).unwrap_or_default();
        }
        transport.poll_flush(context)
    });
    if let Ok(Ok(())) = timeout(LINGER, write).await {
        Box::pin(linger(transport)).await;
    }
}

//! Unix sockets on which apps of this machine post events (`[routes.NAME.socket]`).
//!
//! Sockets are bound at the start. The kernel names the user of each connection before a byte is read.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminListener, SocketFile};
use crate::app::error::StartError;
use crate::app::succession::socket_book::SocketBook;
use crate::app::succession::sockets::{InheritedSockets, SocketPurpose};
use crate::config::model::{AdminListen, GateConfig};
use crate::model::ids::RouteName;
use crate::model::source::RequestSource;
use crate::pipeline::{Generation, Pipeline};

/// Maximum number of connections of allowed users to one socket.
const MAX_CONNECTIONS: usize = 256;

/// Maximum number of connections of other users, which only get an error response.
const MAX_UNLISTED_USERS: usize = 16;

/// Time within which the head of a request must arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of a request head in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// Pause after a failed accept, for example when file descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Bound socket of a route; the file is removed when it is dropped.
pub(super) struct LocalListener {
    route: RouteName,
    listener: UnixListener,
    _file: SocketFile,
}

/// Returns the paths of all sockets of a config.
pub(super) fn paths(config: &GateConfig) -> Vec<PathBuf> {
    let sockets = config
        .routes
        .iter()
        .filter_map(|route| route.socket.as_ref());
    sockets.map(|socket| socket.path.clone()).collect()
}

/// Binds the socket of each route that has one. All users can connect; `users` decides who can post.
pub(super) fn bind(
    config: &GateConfig,
    inherited: &mut InheritedSockets,
    book: &SocketBook,
) -> Result<Vec<LocalListener>, StartError> {
    let mut listeners = Vec::new();
    for route in &config.routes {
        let Some(socket) = &route.socket else {
            continue;
        };
        let bound = match inherited.take_path(&socket.path) {
            Some(listener) => AdminListener::adopt_path(listener, &socket.path),
            None => AdminListener::bind(&AdminListen::Unix(socket.path.clone())),
        };
        let bound = bound.map_err(StartError::Admin)?;
        let name = socket.path.display().to_string();
        book.add(SocketPurpose::Path, name, bound.descriptor());
        let (listener, file) = bound.into_unix().ok_or(StartError::NoListener)?;
        let unknown = unmapped(&uid_map(), &socket.users);
        if !unknown.is_empty() {
            tracing::warn!(
                route = %route.name,
                users = ?unknown,
                "users of a socket are not mapped in this user namespace and cannot post: set `PrivateUsers=no` in the unit"
            );
        }
        // Connecting to a Unix socket needs write permission.
        let open = std::fs::Permissions::from_mode(0o666);
        let widened = std::fs::set_permissions(&socket.path, open);
        widened.map_err(StartError::Adopt)?;
        listeners.push(LocalListener {
            route: route.name.clone(),
            listener,
            _file: file,
        });
    }
    Ok(listeners)
}

/// Reads the user mapping of this process, with lines of `inside outside count`.
fn uid_map() -> String {
    std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default()
}

/// Returns the users that the map leaves out; empty if there is no map.
fn unmapped(map: &str, users: &[u32]) -> Vec<u32> {
    let rows = map.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::parse::<u64>);
        let (inside, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        let inside = inside.ok()?;
        Some(inside..inside.saturating_add(count.ok()?))
    });
    let rows: Vec<_> = rows.collect();
    let is_mapped = |user: u32| rows.iter().any(|row| row.contains(&u64::from(user)));
    let unmapped = users.iter().copied().filter(|user| !is_mapped(*user));
    match rows.is_empty() {
        true => Vec::new(),
        false => unmapped.collect(),
    }
}

/// Accepts connections until the drain begins; requests that have begun are finished.
pub(super) async fn serve(
    local: LocalListener,
    generation: Arc<ArcSwap<Generation>>,
    pipeline: Arc<Pipeline>,
    tracker: TaskTracker,
    drain: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    // Users who cannot post get an error response, and must not use up the connections of those who can.
    let others = Arc::new(Semaphore::new(MAX_UNLISTED_USERS));
    loop {
        let accepted = tokio::select! {
            () = drain.cancelled() => return,
            accepted = local.listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A connection without a user cannot be authenticated, so it is closed.
        let Some(user) = stream.peer_cred().ok().map(|peer| peer.uid()) else {
            continue;
        };
        // If all slots are taken the connection is closed at once.
        // The current config decides, so that a reload can change `users` without a restart.
        let current = generation.load_full();
        let route = current.routes.named(&local.route);
        let places = match route.is_some_and(|route| route.rules.admits_user(user)) {
            true => &slots,
            false => &others,
        };
        let Ok(slot) = Arc::clone(places).try_acquire_owned() else {
            continue;
        };
        let route = local.route.clone();
        let (generation, pipeline) = (Arc::clone(&generation), Arc::clone(&pipeline));
        let drain = drain.clone();
        tracker.spawn(async move {
            converse(stream, user, route, generation, pipeline, drain).await;
            drop(slot);
        });
    }
}

async fn converse(
    stream: UnixStream,
    user: u32,
    route: RouteName,
    generation: Arc<ArcSwap<Generation>>,
    pipeline: Arc<Pipeline>,
    drain: CancellationToken,
) {
    // A Unix socket has no address; loopback is the closest one.
    let source = RequestSource {
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
        is_tls: false,
    };
    let service = service_fn(move |request| {
        let (generation, pipeline) = (generation.load_full(), Arc::clone(&pipeline));
        let route = route.clone();
        async move {
            let answer = pipeline
                .serve_user(generation, (&route, user), request, source)
                .await;
            Ok::<_, Infallible>(answer)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = drain.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // An error means that the client broke the connection, which has no effect on others.
    drop(ended);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_that_a_namespace_leaves_out_are_found() {
        let whole = "         0          0 4294967295\n";
        let private = "         0          0          1\n     61184      61184          1\n";
        assert!(unmapped(whole, &[0, 1000, 61184]).is_empty());
        assert_eq!(unmapped(private, &[0, 1000, 61184, 61185]), [1000, 61185]);
        assert!(unmapped("", &[1000]).is_empty());
    }
}

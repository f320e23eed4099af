//! A proxy before the server's Unix socket that loses answers, so that commits are in doubt.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with a socket, whose connections go to the real server.
pub(super) struct FaultProxy {
    folder: tempfile::TempDir,
    port: u16,
    holes: Arc<AtomicU32>,
    resets: Arc<AtomicU32>,
}

/// What happens to a connection.
#[derive(Clone)]
struct Faults {
    /// Commits that are passed on, whose answers are lost while the connection stays open.
    holes: Arc<AtomicU32>,
    /// Commits that are passed on, after which the connection is cut.
    resets: Arc<AtomicU32>,
}

impl FaultProxy {
    pub(super) fn start(server: &Path, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!(".s.PGSQL.{port}");
        let listener = UnixListener::bind(folder.path().join(&name)).unwrap();
        let server = server.join(&name);
        let faults = Faults {
            holes: Arc::default(),
            resets: Arc::default(),
        };
        let (holes, resets) = (Arc::clone(&faults.holes), Arc::clone(&faults.resets));
        std::thread::spawn(move || {
            // Ends with the process: the listener has no other owner.
            for client in listener.incoming().flatten() {
                connect(client, &server, &faults);
            }
        });
        Self {
            folder,
            port,
            holes,
            resets,
        }
    }

    pub(super) fn place(&self) -> (PathBuf, u16) {
        (self.folder.path().to_owned(), self.port)
    }

    /// Loses the answers to the next commits, without closing their connections.
    pub(super) fn lose_answers(&self, commits: u32) {
        self.holes.store(commits, Ordering::SeqCst);
    }

    /// Cuts the connections of the next commits after the server got them.
    pub(super) fn cut(&self, commits: u32) {
        self.resets.store(commits, Ordering::SeqCst);
    }
}

fn connect(client: UnixStream, server: &Path, faults: &Faults) {
    let Ok(upstream) = UnixStream::connect(server) else {
        return;
    };
    let is_lost = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (from_client, to_client) = (client.try_clone().unwrap(), client);
    let (from_server, to_server) = (upstream.try_clone().unwrap(), upstream);
    let (lost, faults) = (Arc::clone(&is_lost), faults.clone());
    std::thread::spawn(move || {
        copy(from_client, to_server, |bytes, from| {
            // A commit is a message of its own: `Q`, its length, and the text.
            if find(bytes, b"COMMIT\0") {
                if take_one(&faults.holes) {
                    lost.store(true, Ordering::SeqCst);
                }
                if take_one(&faults.resets) {
                    lost.store(true, Ordering::SeqCst);
                    // The server gets the commit first, and its answer goes nowhere.
                    let _ = from.shutdown(Shutdown::Write);
                }
            }
            true
        });
    });
    std::thread::spawn(move || {
        copy(from_server, to_client, |_, _| {
            !is_lost.load(Ordering::SeqCst)
        });
    });
}

/// Takes one of the planned faults.
fn take_one(faults: &AtomicU32) -> bool {
    let taken = faults.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
        left.checked_sub(1)
    });
    taken.is_ok()
}

fn find(bytes: &[u8], wanted: &[u8]) -> bool {
    memchr::memmem::find(bytes, wanted).is_some()
}

/// Copies until one side closes. `pass` decides about each piece, and may close its sender.
fn copy(
    mut from: UnixStream,
    mut to: UnixStream,
    mut pass: impl FnMut(&[u8], &UnixStream) -> bool,
) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if pass(&buffer[..count], &from) && to.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

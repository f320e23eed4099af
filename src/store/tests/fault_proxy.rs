//! A proxy before the server's Unix socket that loses answers, so that commits are in doubt.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::Mutex;

/// A folder with a socket, whose connections go to the real server.
pub(super) struct FaultProxy {
    folder: tempfile::TempDir,
    port: u16,
    faults: ProxyFaults,
}

/// What happens to a connection.
#[derive(Clone, Default)]
struct ProxyFaults {
    /// Commits that are passed on, whose answers are lost while the connection stays open.
    holes: Arc<PlannedFault>,
    /// Commits that are passed on, after which the connection is cut.
    resets: Arc<PlannedFault>,
    /// Commits whose answers follow a warning that no standby has them.
    warnings: Arc<PlannedFault>,
    /// Commits that were passed on.
    commits: Arc<AtomicU32>,
}

/// A fault of the next commits of one duty. The other sessions of a store commit too, whenever they like.
#[derive(Default)]
struct PlannedFault {
    duty: Mutex<&'static str>,
    left: AtomicU32,
}

impl PlannedFault {
    fn plan(&self, duty: &'static str, commits: u32) {
        *self.duty.lock() = duty;
        self.left.store(commits, Ordering::SeqCst);
    }

    /// Takes one of the faults, if it is planned for a connection that began like this.
    fn take(&self, application: &[u8]) -> bool {
        // As `application_name` of the start message, which ends with a null byte.
        let duty = format!(" {}\0", self.duty.lock());
        let taken = || {
            let less = |left: u32| left.checked_sub(1);
            let left = &self.left;
            left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
        };
        find(application, duty.as_bytes()) && taken().is_ok()
    }
}

impl FaultProxy {
    pub(super) fn start(server: &Path, port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let name = format!(".s.PGSQL.{port}");
        let listener = UnixListener::bind(folder.path().join(&name)).unwrap();
        let server = server.join(&name);
        let faults = ProxyFaults::default();
        let planned = faults.clone();
        std::thread::spawn(move || {
            // Ends with the process: the listener has no other owner.
            for client in listener.incoming().flatten() {
                connect(client, &server, &planned);
            }
        });
        Self {
            folder,
            port,
            faults,
        }
    }

    pub(super) fn place(&self) -> (PathBuf, u16) {
        (self.folder.path().to_owned(), self.port)
    }

    /// Loses the answers to the next commits of a duty, without closing their connections.
    pub(super) fn lose_answers(&self, duty: &'static str, commits: u32) {
        self.faults.holes.plan(duty, commits);
    }

    /// Warns before the answers to the next commits of a duty that no standby has them.
    pub(super) fn warn(&self, duty: &'static str, commits: u32) {
        self.faults.warnings.plan(duty, commits);
    }

    /// Returns the number of commits so far.
    pub(super) fn commits(&self) -> u32 {
        self.faults.commits.load(Ordering::SeqCst)
    }

    /// Cuts the connections of the next commits of a duty after the server got them.
    pub(super) fn cut(&self, duty: &'static str, commits: u32) {
        self.faults.resets.plan(duty, commits);
    }
}

/// `NoticeResponse` of a server whose wait for a standby was canceled, with the fields that clients require.
const WARNING: &[u8] = b"N\0\0\0\x31SWARNING\0VWARNING\0C01000\0Mno standby has it\0\0";

fn connect(client: UnixStream, server: &Path, faults: &ProxyFaults) {
    let Ok(upstream) = UnixStream::connect(server) else {
        return;
    };
    let is_lost = Arc::new(AtomicBool::new(false));
    let will_warn = Arc::new(AtomicBool::new(false));
    let (from_client, to_client) = (client.try_clone().unwrap(), client);
    let (from_server, to_server) = (upstream.try_clone().unwrap(), upstream);
    let (lost, faults) = (Arc::clone(&is_lost), faults.clone());
    let warned = Arc::clone(&will_warn);
    std::thread::spawn(move || {
        let mut application = Vec::new();
        copy(from_client, to_server, |bytes, from| {
            if application.is_empty() {
                application = bytes.to_vec();
            }
            // A commit is a message of its own: `Q`, its length, and the text.
            if find(bytes, b"COMMIT\0") {
                faults.commits.fetch_add(1, Ordering::SeqCst);
                if faults.warnings.take(&application) {
                    warned.store(true, Ordering::SeqCst);
                }
                if faults.holes.take(&application) {
                    lost.store(true, Ordering::SeqCst);
                }
                if faults.resets.take(&application) {
                    lost.store(true, Ordering::SeqCst);
                    // The server gets the commit first, and its answer goes nowhere.
                    let _ = from.shutdown(Shutdown::Write);
                }
            }
            true
        });
    });
    std::thread::spawn(move || {
        let mut warnings = to_client.try_clone().unwrap();
        copy(from_server, to_client, |_, _| {
            // Until now the server was idle, so its next bytes begin a message, and a notice may go before any message.
            if will_warn.swap(false, Ordering::SeqCst) {
                let _ = warnings.write_all(WARNING);
            }
            !is_lost.load(Ordering::SeqCst)
        });
    });
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

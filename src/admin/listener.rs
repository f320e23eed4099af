//! Socket of the admin listener: TCP, or a Unix socket for its owner only.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::admin::access::CallerOrigin;
use crate::admin::tls::AdminTls;
use crate::config::model::AdminListen;
use crate::edge::certificates::CertificateError;
use crate::model::source::canonical;

const BACKLOG: i32 = 64;

/// The reason why the admin listener cannot start.
#[derive(Debug, Error)]
pub(crate) enum AdminError {
    /// The TCP address cannot be bound.
    #[error("cannot bind the admin listener to `{address}`")]
    Tcp {
        /// The address from the config.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot use the certificate of the admin listener")]
    Tls(#[from] CertificateError),
    /// The Unix socket cannot be bound.
    #[error("cannot bind the admin listener to `unix:{}`", path.display())]
    Unix {
        /// The path from the config.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

/// A bound admin listener. Dropping it removes the file of its Unix socket.
#[derive(Debug)]
pub(crate) struct AdminListener {
    socket: AdminSocket,
    file: Option<SocketFile>,
    tls: Option<Arc<AdminTls>>,
}

#[derive(Debug)]
enum AdminSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// True once another process has the sockets of this one, with their files.
static ARE_FILES_KEPT: AtomicBool = AtomicBool::new(false);

/// Leaves the files of all Unix sockets to the process that has the sockets now.
pub(crate) fn leave_socket_files() {
    ARE_FILES_KEPT.store(true, Ordering::Relaxed);
}

/// The file of a Unix socket, removed on drop if it is still the same file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

/// Returns the default address of the admin listener: `admin.sock` in the `RUNTIME_DIRECTORY` of systemd.
///
/// Without that folder there is no default, because no other folder is known to be safe from other users.
pub(crate) fn default_listen(runtime_directory: Option<&OsStr>) -> Option<AdminListen> {
    // systemd separates several folders with colons.
    let named = runtime_directory?.to_str()?;
    let first = named.split(':').next().filter(|first| !first.is_empty())?;
    Some(AdminListen::Unix(Path::new(first).join("admin.sock")))
}

/// A byte stream of either kind of socket.
pub(super) trait AdminStream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> AdminStream for T {}

impl AdminListener {
    /// Binds the listener. Needs a tokio runtime.
    ///
    /// # Errors
    /// The error of the operating system. A Unix socket on which a process accepts connections is in use.
    pub(crate) fn bind(listen: &AdminListen) -> Result<Self, AdminError> {
        match listen {
            AdminListen::Tcp(address) => Self::bind_tcp(*address).map_err(|source| {
                let address = *address;
                AdminError::Tcp { address, source }
            }),
            AdminListen::Unix(path) => Self::bind_unix(path).map_err(|source| {
                let path = path.clone();
                AdminError::Unix { path, source }
            }),
        }
    }

    /// Takes over a listening Unix socket of a former process. Needs a tokio runtime.
    ///
    /// # Errors
    /// The file of the socket is gone.
    pub(crate) fn adopt_path(
        listener: std::os::unix::net::UnixListener,
        path: &Path,
    ) -> Result<Self, AdminError> {
        let adopt = || {
            listener.set_nonblocking(true)?;
            let metadata = std::fs::symlink_metadata(path)?;
            let file = SocketFile {
                path: path.to_owned(),
                id: (metadata.dev(), metadata.ino()),
            };
            let socket = AdminSocket::Unix(UnixListener::from_std(listener)?);
            io::Result::Ok((socket, file))
        };
        let (socket, file) = adopt().map_err(|source| AdminError::Unix {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            socket,
            file: Some(file),
            tls: None,
        })
    }

    /// Takes over a listening TCP socket of a former process. Needs a tokio runtime.
    ///
    /// # Errors
    /// The error of the operating system.
    pub(crate) fn adopt_tcp(
        listener: std::net::TcpListener,
        address: SocketAddr,
    ) -> Result<Self, AdminError> {
        let adopt = || {
            listener.set_nonblocking(true)?;
            TcpListener::from_std(listener)
        };
        let listener = adopt().map_err(|source| AdminError::Tcp { address, source })?;
        Ok(Self {
            socket: AdminSocket::Tcp(listener),
            file: None,
            tls: None,
        })
    }

    /// Sets TLS for all connections; `None` means plain HTTP.
    pub(crate) fn with_tls(mut self, tls: Option<Arc<AdminTls>>) -> Self {
        self.tls = tls;
        self
    }

    pub(super) fn tls(&self) -> Option<&Arc<AdminTls>> {
        self.tls.as_ref()
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            AdminSocket::Tcp(listener) => listener.local_addr().ok(),
            AdminSocket::Unix(_) => None,
        }
    }

    /// Returns the address in the form of the config, with the actual port where the config has port 0.
    pub(crate) fn local_address(&self) -> String {
        match (&self.socket, &self.file) {
            (AdminSocket::Tcp(listener), _) => listener
                .local_addr()
                .map_or_else(|_| "unknown".to_owned(), |address| address.to_string()),
            (AdminSocket::Unix(_), Some(file)) => format!("unix:{}", file.path.display()),
            (AdminSocket::Unix(_), None) => "unix".to_owned(),
        }
    }

    /// Returns the descriptor of the socket.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        match &self.socket {
            AdminSocket::Tcp(listener) => listener.as_fd(),
            AdminSocket::Unix(listener) => listener.as_fd(),
        }
    }

    pub(crate) fn into_unix(self) -> Option<(UnixListener, SocketFile)> {
        match self.socket {
            AdminSocket::Unix(listener) => Some((listener, self.file?)),
            AdminSocket::Tcp(_) => None,
        }
    }

    /// Accepts the next connection and identifies its other end.
    pub(super) async fn accept(&self) -> io::Result<(Pin<Box<dyn AdminStream>>, CallerOrigin)> {
        match &self.socket {
            AdminSocket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Box::pin(stream), CallerOrigin::Ip(canonical(peer.ip()))))
            }
            AdminSocket::Unix(listener) => {
                let stream = listener.accept().await?.0;
                // The kernel vouches for the user, so the audit log can name it.
                let user = stream.peer_cred()?.uid();
                Ok((Box::pin(stream), CallerOrigin::User(user)))
            }
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // A restart must not wait until connections of the previous process leave TIME_WAIT.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: AdminSocket::Tcp(TcpListener::from_std(socket.into())?),
            file: None,
            tls: None,
        })
    }

    fn bind_unix(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // A client can connect only after `listen`, so the socket is never open under a wider mode.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let metadata = std::fs::symlink_metadata(path)?;
        let file = SocketFile {
            path: path.to_owned(),
            id: (metadata.dev(), metadata.ino()),
        };
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: AdminSocket::Unix(UnixListener::from_std(socket.into())?),
            file: Some(file),
            tls: None,
        })
    }
}

/// Removes a socket that a dead process left behind. It never removes any other kind of file.
fn remove_stale(path: &Path) -> io::Result<()> {
    // Without following links: a link must not lead to the removal of another file.
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    // Only a refused connection proves that no process listens. Any other error may have another cause.
    let is_dead = is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    if is_dead {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if ARE_FILES_KEPT.load(Ordering::Relaxed) {
            return;
        }
        // A new process may have bound its own socket to this path by now. Its file has another inode.
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.id);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

//! Where the admin door listens: TCP, or a Unix socket that only its owner may open.

use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use socket2::{Domain, SockAddr, Socket, Type};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

use crate::admin::access::Origin;
use crate::admin::tls::AdminTls;
use crate::config::model::AdminListen;
use crate::edge::certificates::CertificateError;
use crate::model::source::canonical;

const BACKLOG: i32 = 64;

/// Why the door cannot be opened.
#[derive(Debug, Error)]
pub enum AdminError {
    /// A TCP address.
    #[error("cannot listen on `{address}` for the admin door")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate.
    #[error("cannot use the certificate of the admin door")]
    Tls(#[from] CertificateError),
    /// A Unix socket.
    #[error("cannot listen on `unix:{}` for the admin door", path.display())]
    Unix {
        /// The path.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
}

/// A bound listener; the file of a Unix socket goes with it.
#[derive(Debug)]
pub struct AdminListener {
    socket: Listening,
    file: Option<SocketFile>,
    tls: Option<Arc<AdminTls>>,
}

#[derive(Debug)]
enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The socket's file, removed at the end if it is still ours.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

/// Where the door is when the config does not say and there is a store to reach: `admin.sock` in the folder that systemd
/// made for the service (`RUNTIME_DIRECTORY`). None without one: nobody else may make it up.
#[must_use]
pub fn default_listen(runtime_directory: Option<&OsStr>) -> Option<AdminListen> {
    // Several would be separated by colons.
    let named = runtime_directory?.to_str()?;
    let first = named.split(':').next().filter(|first| !first.is_empty())?;
    Some(AdminListen::Unix(Path::new(first).join("admin.sock")))
}

/// Either kind of connection.
pub(super) trait Wire: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Wire for T {}

impl AdminListener {
    /// Opens the door. Needs a tokio runtime.
    ///
    /// # Errors
    /// What the system says; a Unix socket on which somebody answers is in use.
    pub fn bind(listen: &AdminListen) -> Result<Self, AdminError> {
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

    /// Speaks TLS from now on.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Arc<AdminTls>>) -> Self {
        self.tls = tls;
        self
    }

    pub(super) fn tls(&self) -> Option<&Arc<AdminTls>> {
        self.tls.as_ref()
    }

    #[cfg(test)]
    pub(super) fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Listening::Tcp(listener) => listener.local_addr().ok(),
            Listening::Unix(_) => None,
        }
    }

    /// Where it listens, as the config writes it: port 0 there is any free one.
    #[must_use]
    pub fn place(&self) -> String {
        match (&self.socket, &self.file) {
            (Listening::Tcp(listener), _) => listener
                .local_addr()
                .map_or_else(|_| "unknown".to_owned(), |address| address.to_string()),
            (Listening::Unix(_), Some(file)) => format!("unix:{}", file.path.display()),
            (Listening::Unix(_), None) => "unix".to_owned(),
        }
    }

    /// The socket itself, where it is a Unix socket, and its file.
    #[must_use]
    pub fn into_unix(self) -> Option<(UnixListener, SocketFile)> {
        match self.socket {
            Listening::Unix(listener) => Some((listener, self.file?)),
            Listening::Tcp(_) => None,
        }
    }

    /// The next connection, and who is at its other end.
    pub(super) async fn accept(&self) -> io::Result<(Pin<Box<dyn Wire>>, Origin)> {
        match &self.socket {
            Listening::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Box::pin(stream), Origin::Ip(canonical(peer.ip()))))
            }
            Listening::Unix(listener) => {
                let stream = listener.accept().await?.0;
                let user = stream.peer_cred()?.uid();
                Ok((Box::pin(stream), Origin::User(user)))
            }
        }
    }

    fn bind_tcp(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: Listening::Tcp(TcpListener::from_std(socket.into())?),
            file: None,
            tls: None,
        })
    }

    fn bind_unix(path: &Path) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SockAddr::unix(path)?)?;
        // Nobody can connect before `listen`, so there is no moment in which the mode is a wider one.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let metadata = std::fs::symlink_metadata(path)?;
        let file = SocketFile {
            path: path.to_owned(),
            id: (metadata.dev(), metadata.ino()),
        };
        socket.listen(BACKLOG)?;
        Ok(Self {
            socket: Listening::Unix(UnixListener::from_std(socket.into())?),
            file: Some(file),
            tls: None,
        })
    }
}

/// Removes a socket that a process left behind which is gone. Nothing but a socket is ever removed.
fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type().is_socket(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
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
        let is_ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.id);
        if is_ours {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

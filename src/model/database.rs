//! The location of a store: an SQLite file, or a PostgreSQL database with its servers, TLS and durability.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use hookgate_verify::model::secret::Secret;

/// A database file, or a PostgreSQL server that several nodes share.
#[derive(Clone)]
pub enum DatabaseLocation {
    /// An SQLite file of this process alone.
    Sqlite(SqliteFile),
    /// A schema of a PostgreSQL database.
    Postgres(Box<PostgresSettings>),
}

impl DatabaseLocation {
    /// Returns the bytes that must stay free on the disk of a file.
    #[must_use]
    pub fn min_free(&self) -> Option<u64> {
        match self {
            Self::Sqlite(file) => Some(file.min_free),
            Self::Postgres(_) => None,
        }
    }
}

/// An SQLite file, and the room that its disk must keep.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SqliteFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Bytes that must stay free on the disk.
    pub min_free: u64,
}

/// Where the database is, and how to connect to it.
#[derive(Clone)]
pub struct PostgresSettings {
    /// Servers in the order in which they are tried. The first one that accepts writes is used.
    pub hosts: Vec<PostgresHost>,
    /// Name of the database.
    pub database: String,
    /// Role that connects.
    pub user: String,
    /// Password of the role, if the server asks for one.
    pub password: Option<Arc<Secret>>,
    /// How connections are encrypted.
    pub tls: PostgresTls,
    /// Schema that holds the tables.
    pub schema: String,
    /// Name of this node, which operators see.
    pub node: String,
    /// When a commit counts as durable.
    pub durability: CommitDurability,
    /// Folder of this node's state. A process that restarts there takes back its deliveries at once.
    pub state_folder: Option<PathBuf>,
}

impl PostgresSettings {
    /// Returns whether connections to other machines are not encrypted.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        self.tls == PostgresTls::Disabled && !self.hosts.iter().all(PostgresHost::is_local)
    }
}

/// A server of the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PostgresHost {
    /// A host name or an address, and a port.
    Tcp(String, u16),
    /// The folder of a Unix socket, and the port that its name ends with.
    Unix(PathBuf, u16),
}

impl PostgresHost {
    /// Returns whether connections to this server stay on this machine.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Unix(..) => true,
            Self::Tcp(name, _) => {
                let address = name.parse::<std::net::IpAddr>();
                address.map_or(name == "localhost", |address| {
                    address.to_canonical().is_loopback()
                })
            }
        }
    }
}

impl fmt::Display for PostgresHost {
    /// Writes the host as in a URL, with its port.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Self::Tcp(name, port) => write!(f, "{name}:{port}"),
            Self::Unix(folder, port) => write!(f, "{}:{port}", folder.display()),
        }
    }
}

/// Encryption of the connections to the database.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PostgresTls {
    /// Without TLS, which the config allows for loopback addresses and Unix sockets only, unless it says `insecure`.
    Disabled,
    /// TLS with a verified certificate for the host name.
    Verified {
        /// File with certificates of trusted authorities; `None`: those of the system.
        ca: Option<PathBuf>,
        /// Files with the certificate and the key of this client.
        client: Option<(PathBuf, PathBuf)>,
    },
}

/// The moment from which a commit counts as durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CommitDurability {
    /// On the disk of the primary.
    Local,
    /// On the disk of the primary, and of the synchronous standbys that the server names.
    #[default]
    Replica,
    /// Also visible to queries on the synchronous standbys.
    Applied,
}

impl CommitDurability {
    /// Values of `durability`.
    pub(crate) const ALL: [(&str, Self); 3] = [
        ("local", Self::Local),
        ("replica", Self::Replica),
        ("applied", Self::Applied),
    ];

    /// Returns the value of `synchronous_commit`.
    pub(crate) fn synchronous_commit(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Replica => "on",
            Self::Applied => "remote_apply",
        }
    }
}

impl fmt::Display for DatabaseLocation {
    /// Writes the URL of the location, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.path.display()),
            Self::Postgres(settings) => settings.fmt(f),
        }
    }
}

impl fmt::Display for PostgresSettings {
    /// Writes the URL of the database, without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://{}@", self.user)?;
        for (place, host) in self.hosts.iter().enumerate() {
            let separator = if place == 0 { "" } else { "," };
            write!(f, "{separator}{host}")?;
        }
        write!(f, "/{}", self.database)
    }
}

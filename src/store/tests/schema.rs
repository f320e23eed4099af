//! A schema of its own for each test, on the server that `HOOKGATE_TEST_POSTGRES` names.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::model::database::{
    CommitDurability, DatabaseLocation, PostgresHost, PostgresSettings, PostgresTls,
};
use crate::store::error::StoreError;

/// The folder of the server's Unix socket, and its port: `/run/postgresql:5432`. Without it, the tests run on SQLite.
const VARIABLE: &str = "HOOKGATE_TEST_POSTGRES";

pub(crate) struct TestSchema {
    name: String,
    folder: String,
    port: u16,
}

impl TestSchema {
    /// Names a schema that no other test uses, or returns `None` for a run on SQLite.
    pub(crate) fn create() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var(VARIABLE).ok()?;
        let (folder, port) = server.rsplit_once(':').expect("FOLDER:PORT");
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        Some(Self {
            name: format!("test_{}_{number}", std::process::id()),
            folder: folder.to_owned(),
            port: port.parse().expect("a port"),
        })
    }

    /// Returns the folder of the server's socket, and its port.
    pub(super) fn server(&self) -> (PathBuf, u16) {
        (self.folder.clone().into(), self.port)
    }

    pub(super) fn settings(&self, state_folder: Option<&Path>) -> PostgresSettings {
        let (folder, port) = self.server();
        PostgresSettings {
            hosts: vec![PostgresHost::Unix(folder, port)],
            database: "postgres".to_owned(),
            user: "postgres".to_owned(),
            password: None,
            tls: PostgresTls::Disabled,
            schema: self.name.clone(),
            node: "test".to_owned(),
            durability: CommitDurability::Local,
            state_folder: state_folder.map(Into::into),
        }
    }

    pub(super) fn location(&self, state_folder: &Path) -> DatabaseLocation {
        DatabaseLocation::Postgres(Box::new(self.settings(Some(state_folder))))
    }

    /// Returns the location without a state folder, as for a node of another module's tests.
    pub(crate) fn shared_location(&self) -> DatabaseLocation {
        DatabaseLocation::Postgres(Box::new(self.settings(None)))
    }

    pub(super) fn check(&self) -> Result<Vec<String>, StoreError> {
        let settings = self.settings(None);
        crate::store::check(&DatabaseLocation::Postgres(Box::new(settings)))
    }
}

//! Throw-away PostgreSQL server with TLS, for tests of connections, rights and commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::silent_listener;
use super::tls::Authority;

/// Role with the password [`PASSWORD`] that owns the database `hookgate`.
pub const OWNER: &str = "hookgate";

/// Role with the same password that may create nothing.
pub const GUEST: &str = "guest";

/// Role that pg_hba.conf rejects.
pub const OUTSIDER: &str = "outsider";

pub const PASSWORD: &str = "0b7f1c9e5a2d4836";

/// Server that ends with its value. It listens on a Unix socket, where everyone is trusted, and on 127.0.0.1 with
/// passwords and an optional TLS.
pub struct TestCluster {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    pub port: u16,
    pub authority: Authority,
}

impl TestCluster {
    /// Starts a server, or returns `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        // A free port may be taken by another test before the server has it, but that is rare.
        let port = silent_listener().1.port();
        let cluster = Self {
            owner: owner(),
            folder,
            programs,
            port,
            authority,
        };
        cluster.own(cluster.path());
        let data = cluster.path().join("data");
        let mut initdb = cluster.command("initdb");
        initdb.args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        cluster.run(initdb.arg("-D").arg(&data));
        let (cert, key) = cluster
            .authority
            .issue(cluster.path(), "server", &["localhost"]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        cluster.own(&cert);
        cluster.own(&key);
        let rules = format!(
            "local all all trust\nhost all {OUTSIDER} 127.0.0.1/32 reject\nhost all all 127.0.0.1/32 scram-sha-256\n"
        );
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        let options = format!(
            "-k {0} -p {port} -c listen_addresses=127.0.0.1 -c fsync=off -c max_connections=50",
            cluster.path().display(),
        );
        // In the file, where a test can change it.
        let mut settings = fs::read_to_string(data.join("postgresql.conf")).unwrap();
        settings.push_str(&format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\n",
            cert.display(),
            key.display()
        ));
        fs::write(data.join("postgresql.conf"), settings).unwrap();
        let mut start = cluster.pg_ctl();
        start.args(["-w", "-o", &options, "start"]);
        cluster.run(start.arg("-l").arg(cluster.path().join("log")));
        cluster.sql(
            "postgres",
            &format!(
                "CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}'; CREATE ROLE {GUEST} LOGIN PASSWORD '{PASSWORD}';
                CREATE ROLE {OUTSIDER} LOGIN PASSWORD '{PASSWORD}'"
            ),
        );
        cluster.sql(
            "postgres",
            &format!("CREATE DATABASE hookgate OWNER {OWNER}"),
        );
        Some(cluster)
    }

    /// Folder of the socket, the certificates and the log.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// URL for TCP on the name of the certificate.
    pub fn url(&self, user: &str) -> String {
        format!("postgres://{user}@localhost:{}/hookgate", self.port)
    }

    /// URL for the Unix socket, where no password is needed.
    pub fn socket_url(&self, user: &str) -> String {
        let (folder, port) = (self.path().display(), self.port);
        format!("postgres://{user}@/hookgate?host={folder}&port={port}")
    }

    /// Writes the certificate of the server's authority and returns its path.
    pub fn ca(&self) -> PathBuf {
        let path = self.path().join("ca.pem");
        fs::write(&path, self.authority.pem()).unwrap();
        path
    }

    /// Runs statements as the superuser, and returns what they print.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.command("psql");
        psql.args([
            "-U",
            "postgres",
            "-d",
            database,
            "-v",
            "ON_ERROR_STOP=1",
            "-XAtqc",
            sql,
        ]);
        psql.arg("-h")
            .arg(self.path())
            .args(["-p", &self.port.to_string()]);
        self.run(&mut psql)
    }

    /// Starts PgBouncer in front of the server, or returns `None` where it is not installed. It listens on the Unix socket
    /// of this port in the folder of the cluster.
    pub fn pooler(&self, mode: &str) -> Option<TestPooler> {
        let program = Path::new("/usr/sbin/pgbouncer");
        if !program.exists() {
            return None;
        }
        let port = silent_listener().1.port();
        let folder = self.path();
        let config = format!(
            "[databases]\nhookgate = host={folder} port={server} user={OWNER}\n[pgbouncer]\nunix_socket_dir = {folder}\n\
            listen_port = {port}\npool_mode = {mode}\nauth_type = any\nlogfile = {folder}/pooler.log\n\
            server_reset_query =\n",
            folder = folder.display(),
            server = self.port,
        );
        let path = folder.join("pooler.ini");
        fs::write(&path, config).unwrap();
        self.own(&path);
        let mut command = Command::new(program);
        command.arg(&path).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        let child = command.spawn().unwrap();
        let socket = folder.join(format!(".s.PGSQL.{port}"));
        super::block_until("the pooler listens", super::LIMIT, || socket.exists());
        Some(TestPooler { child, port })
    }

    /// Restarts the server with more options.
    pub fn restart(&self, options: &str) {
        let mut restart = self.pg_ctl();
        // `pg_ctl restart` repeats the options of the start before the new ones.
        fs::write(
            self.path().join("data/postgresql.auto.conf"),
            options.replace(';', "\n"),
        )
        .unwrap();
        restart.args(["-w", "-m", "immediate", "restart"]);
        self.run(restart.arg("-l").arg(self.path().join("log")));
    }

    fn pg_ctl(&self) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg("-D").arg(self.path().join("data"));
        command
    }

    /// A program of the server, as a user that the server accepts: it refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.current_dir(self.path()).stdin(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn run(&self, command: &mut Command) -> String {
        // Into files: the server inherits them, and a pipe would stay open as long as it runs.
        let out = self.path().join("out");
        let file = fs::File::create(&out).unwrap();
        command.stderr(file.try_clone().unwrap()).stdout(file);
        let status = command.status().unwrap();
        let text = fs::read_to_string(&out).unwrap();
        assert!(status.success(), "{command:?}: {text}");
        text.trim_end().to_owned()
    }

    fn own(&self, path: &Path) {
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
        }
    }
}

/// PgBouncer that ends with its value.
pub struct TestPooler {
    child: std::process::Child,
    pub port: u16,
}

impl Drop for TestPooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for TestCluster {
    fn drop(&mut self) {
        let mut stop = self.pg_ctl();
        let _ = stop
            .args(["-m", "immediate", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

/// Returns the folder of the newest installed version's programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let bins = versions.filter_map(|version| Some(version.ok()?.path().join("bin")));
    let mut bins: Vec<_> = bins.filter(|bin| bin.join("initdb").exists()).collect();
    bins.sort();
    bins.pop()
}

/// Returns user and group of the server if this process is root.
fn owner() -> Option<(u32, u32)> {
    if fs::metadata("/proc/self")
        .map(|own| std::os::unix::fs::MetadataExt::uid(&own))
        .unwrap()
        != 0
    {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"));
    let mut fields = line.expect("the user postgres").split(':').skip(2);
    let mut number = || fields.next().unwrap().parse().unwrap();
    Some((number(), number()))
}

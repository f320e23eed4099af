//! Tests of `hookgate check` and `hookgate store migrate` on a PostgreSQL server of their own.

use std::fs;

use tempfile::TempDir;

use crate::harness::command::{command, outcome};
use crate::harness::postgres::{GUEST, OUTSIDER, OWNER, PASSWORD, TestCluster};
use crate::harness::tls::Authority;
use crate::harness::{LIMIT, poll_for, silent_listener};
use crate::inbox_cli::Inbox;

/// A folder with a config whose `[store]` has these lines.
struct StoreConfig {
    folder: TempDir,
}

impl StoreConfig {
    fn new(store: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("password"), PASSWORD).unwrap();
        fs::write(folder.path().join("wrong"), "not the password").unwrap();
        fs::write(folder.path().join("secret"), "f3b8c1d09e7a4b52f3b8").unwrap();
        let text = format!(
            "[store]\n{store}\n[routes.a]\npath = \"/a\"\nprovider = \"github\"\nmode = \"queue\"\n\
            secret = {{ file = \"secret\" }}\n[routes.a.destinations]\napp = {{ url = \"http://127.0.0.1:1/\" }}\n"
        );
        fs::write(folder.path().join("hookgate.toml"), text).unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        let path = self.folder.path().join("hookgate.toml");
        path.to_str().unwrap().to_owned()
    }

    /// Returns the exit code and all output of a command on this config.
    fn run(&self, arguments: &[&str]) -> (i32, String) {
        let mut arguments = arguments.to_vec();
        let path = self.path();
        arguments.extend(["--config", &path]);
        let (code, out, err) = outcome(command(&arguments).output().unwrap());
        (code, format!("{out}{err}"))
    }
}

#[track_caller]
fn assert_says(store: &str, wanted: &[&str]) {
    let (code, text) = StoreConfig::new(store).run(&["check"]);
    for part in wanted {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
    let is_good = wanted == ["0 errors"];
    assert_eq!(code, if is_good { 0 } else { 2 }, "{text}");
    assert!(
        !text.contains(PASSWORD) && !text.contains("not the password"),
        "{text}"
    );
}

/// Fails when a fault of the database, of TLS or of rights is not found, or is named without what it concerns.
#[test]
fn check_names_what_is_wrong_with_the_database() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let base = cluster.url("USER");
    let url = |user: &str| format!("url = \"{}\"\n", base.replace("USER", user));
    let password = "password = { file = \"password\" }\n";
    // The certificate outlives the server, which ends before the last cases.
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::copy(cluster.ca(), &ca).unwrap();
    let ca = format!("ca = \"{}\"\n", ca.display());
    let server = format!("localhost:{}", cluster.port);

    assert_says(&(url(OWNER) + password + &ca), &["0 errors"]);
    let (_, text) = StoreConfig::new(&(url(OWNER) + password + &ca)).run(&["check"]);
    assert!(
        text.contains("warning") && text.contains("`fsync = on`"),
        "{text}"
    );
    let socket = format!("url = \"{}\"\n", cluster.socket_url(OWNER));
    assert_says(&socket, &["0 errors"]);

    // TLS: the system's authorities and another one do not know the server, and its certificate names `localhost`.
    let untrusted = ["cannot be trusted", &server, "check that `ca`"];
    assert_says(&(url(OWNER) + password), &untrusted);
    let other = folder.path().join("other.pem");
    fs::write(&other, Authority::new().pem()).unwrap();
    let other = format!("ca = \"{}\"\n", other.display());
    assert_says(&(url(OWNER) + password + &other), &untrusted);
    let address = url(OWNER).replace("localhost", "127.0.0.1");
    assert_says(
        &(address + password + &ca),
        &["cannot be trusted", "127.0.0.1"],
    );
    let missing = url(OWNER) + password + "ca = \"none.pem\"\n";
    assert_says(&missing, &["none.pem", "check `ca`, `cert` and `key`"]);

    // Passwords and roles.
    assert_says(
        &(url(OWNER) + &ca),
        &["asks for the password of the user `hookgate`", &server],
    );
    let wrong = url(OWNER) + "password = { file = \"wrong\" }\n" + &ca;
    assert_says(
        &wrong,
        &["rejects the password of the user `hookgate`", &server],
    );
    let rejected = url(OUTSIDER) + password + &ca;
    assert_says(
        &rejected,
        &["does not let the user `outsider` into", "pg_hba.conf"],
    );
    let absent = url(OWNER).replace("/hookgate\"", "/nothing\"") + password + &ca;
    assert_says(
        &absent,
        &[
            "no database `nothing`",
            "CREATE DATABASE nothing OWNER hookgate",
        ],
    );

    // Rights: to create the schema, to use it, and to use the tables in it.
    let guest = url(GUEST) + password + &ca;
    let create = "`CREATE SCHEMA hookgate AUTHORIZATION guest`";
    assert_says(
        &guest,
        &["may not create the tables of the schema `hookgate`", create],
    );
    cluster.sql("hookgate", "CREATE SCHEMA hookgate AUTHORIZATION hookgate");
    assert_says(
        &guest,
        &[
            "`guest` may not use the schema",
            "GRANT USAGE, CREATE ON SCHEMA",
        ],
    );
    let owner = StoreConfig::new(&(url(OWNER) + password + &ca));
    assert_eq!(owner.run(&["store", "migrate", "--check"]).0, 1);
    let (code, text) = owner.run(&["store", "migrate"]);
    assert!(
        code == 0 && text.contains("migrated the schema `hookgate` from version 0"),
        "{text}"
    );
    assert_eq!(owner.run(&["store", "migrate", "--check"]).0, 0);
    cluster.sql("hookgate", "GRANT USAGE ON SCHEMA hookgate TO guest");
    assert_says(
        &guest,
        &[
            "lacks rights on tables",
            "GRANT SELECT, INSERT, UPDATE, DELETE",
        ],
    );
    cluster.sql(
        "hookgate",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA hookgate TO guest;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA hookgate TO guest",
    );
    assert_says(&guest, &["0 errors"]);

    // A schema that only a later version can use.
    let form = cluster.sql("hookgate", "SELECT form FROM hookgate.meta");
    cluster.sql(
        "hookgate",
        "UPDATE hookgate.meta SET form = 99, readable_from = 99",
    );
    assert_says(
        &(url(OWNER) + password + &ca),
        &["has version 99", "run a later hookgate"],
    );
    cluster.sql(
        "hookgate",
        &format!("UPDATE hookgate.meta SET form = {form}, readable_from = 1"),
    );

    // A standby, a server that is away, and one that never answers.
    cluster.restart("default_transaction_read_only = on");
    assert_says(&(url(OWNER) + password + &ca), &["is read-only", &server]);
    cluster.restart("ssl = off");
    let no_tls = ["does not support TLS", "`ssl = on`"];
    assert_says(&(url(OWNER) + password + &ca), &no_tls);
    let (_silent, silent) = silent_listener();
    drop(cluster);
    let away = ["cannot connect to the server", &server, "--offline"];
    assert_says(&(url(OWNER) + password + &ca), &away);
    let silent = format!("url = \"postgres://hookgate@{silent}/hookgate\"");
    assert_says(&silent, &["did not answer within 5 seconds"]);
}

/// Fails when a gate would run behind a pooler that shares sessions between clients, or one that does not is rejected.
#[test]
fn check_rejects_a_pooler_in_transaction_mode() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    for (mode, wanted) in [
        (
            "transaction",
            &["a connection pooler in transaction mode"][..],
        ),
        ("session", &["0 errors"]),
    ] {
        let Some(pooler) = cluster.pooler(mode) else {
            return;
        };
        let url = cluster.socket_url(OWNER);
        let url = url.replace(&cluster.port.to_string(), &pooler.port.to_string());
        assert_says(&format!("url = \"{url}\""), wanted);
    }
}

/// Fails when a running gate's file is copied, the copy differs from its source, or a password is needed on the way back.
#[tokio::test]
async fn a_file_is_copied_to_postgres_and_back() {
    let Some(cluster) = TestCluster::start() else {
        return;
    };
    let inbox = Inbox::open().await;
    for number in 0..3 {
        inbox.accept(number, "push").await;
    }
    let folder = inbox.folder().to_owned();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (file, back, password) = (path("hookgate.db"), path("back.db"), path("password"));
    fs::write(&password, PASSWORD).unwrap();
    let (url, ca) = (cluster.url(OWNER), cluster.ca());
    let ca = ca.to_str().unwrap();
    let run = |arguments: &[&str]| outcome(command(arguments).output().unwrap());
    let there = [
        "store",
        "copy",
        &file,
        &url,
        "--password-file",
        &password,
        "--ca",
        ca,
    ];
    let (code, _, err) = run(&there);
    assert_eq!(code, 1, "{err}");
    assert!(err.contains("is in use by another process"), "{err}");
    let _folder = inbox.end();
    let (code, out, err) = poll_for("the file is free", LIMIT, async || {
        let done = run(&there);
        (!done.2.contains("is in use")).then_some(done)
    })
    .await;
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("found them equal on both sides"), "{out}");
    let socket = cluster.socket_url(OWNER);
    let (code, _, err) = run(&["store", "copy", &socket, &back]);
    assert_eq!(code, 0, "{err}");
    let export = |path: &str| run(&["store", "export", path]).1;
    assert_eq!(export(&file), export(&back));
    assert_eq!(export(&back).lines().count(), 3);
}

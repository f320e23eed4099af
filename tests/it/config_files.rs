//! Tests of several config files: their order, their errors, reloads, and the commands that read them.

use std::path::Path;

use serde_json::Value;

use crate::harness::app::{App, ok, respond};
use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};

/// Returns a route with this name and the path `/NAME`.
fn route(name: &str, app: &App) -> String {
    let text = Provider::Github.route(name, &app.url(&format!("/{name}")), "");
    text.replace("path = \"/hook\"", &format!("path = \"/{name}\""))
}

fn event(path: &str) -> Hook {
    Sender::new(Provider::Github).event(path)
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Fails when an included file is not read, or a reload misses a new, changed or removed one.
#[tokio::test]
async fn files_come_and_go_with_a_reload() {
    let app = App::start(ok());
    let options = Gate::options(&route("main", &app))
        .file("conf.d/20-shop.toml", route("shop", &app).as_bytes())
        .file("conf.d/10-ci.toml", route("ci", &app).as_bytes())
        .file("conf.d/.hidden.toml", b"this is not TOML")
        .file("conf.d/20-shop.toml~", b"this is not TOML");
    let gate = options.start().await;
    let statuses = async |paths: [&str; 4]| {
        let mut statuses = Vec::new();
        for path in paths {
            statuses.push(gate.send(&event(path)).await.status);
        }
        statuses
    };
    let paths = ["/main", "/shop", "/ci", "/late"];
    assert_eq!(statuses(paths).await, [200, 200, 200, 404]);
    write(gate.folder(), "conf.d/30-late.toml", &route("late", &app));
    std::fs::remove_file(gate.folder().join("conf.d/10-ci.toml")).unwrap();
    // Nothing is read before the reload.
    assert_eq!(statuses(paths).await, [200, 200, 200, 404]);
    assert!(gate.reload_as_it_is().await);
    assert_eq!(statuses(paths).await, [200, 200, 404, 200]);
    // An error in one file rejects the whole, and is logged with the place in that file. Warnings of other files do not
    // push it out of the log line.
    write(
        gate.folder(),
        "conf.d/40-bad.toml",
        "\n[routes.bad]\npaht = \"/\"\n",
    );
    assert!(!gate.reload_as_it_is().await);
    gate.wait_for_line(&[
        "\"error\":\"error: `[routes.bad]` needs `path`",
        "conf.d/40-bad.toml:2:9",
    ])
    .await;
    assert_eq!(statuses(paths).await, [200, 200, 404, 200]);
}

/// Fails when the admin API does not say from which file a route comes.
#[tokio::test]
async fn the_running_config_names_its_files() {
    let app = App::start(ok());
    let secret = "correct-horse-battery-staple";
    let admin = format!("[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"{secret}\"\n");
    let options = Gate::options(&format!("{admin}{}", route("main", &app))).file(
        "conf.d/shop.toml",
        format!("\n{}", route("shop", &app)).as_bytes(),
    );
    let gate = options.start().await;
    let get = async |path: &str| -> Value {
        let hook = Hook::bare("GET", path, b"");
        let hook = hook.with("Authorization", &format!("Bearer {secret}"));
        let client = crate::harness::client::Client::new(gate.admin_address(), None);
        let reply = client.send(&hook).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        serde_json::from_slice(&reply.body).unwrap()
    };
    let shop = get("/api/v1/routes/shop").await;
    let place = shop["place"].as_str().unwrap();
    assert!(place.ends_with("conf.d/shop.toml:2:9"), "{place}");
    let main = get("/api/v1/routes/main").await;
    assert!(
        main["place"].as_str().unwrap().contains("hookgate.toml:"),
        "{main}"
    );
    let config = get("/api/v1/config").await;
    let included = config["include"].as_array().unwrap();
    assert_eq!(included.len(), 1);
    assert!(included[0].as_str().unwrap().ends_with("/conf.d/shop.toml"));
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            write(folder.path(), name, text);
        }
        Self(folder)
    }

    async fn check(&self, more: &[&str]) -> (i32, String) {
        let arguments = [&["check", "--config", "hookgate.toml"][..], more].concat();
        let mut checking = command(&arguments);
        checking.current_dir(self.0.path());
        let (code, out, err) = outcome(end(checking).await);
        (code, out + &err)
    }
}

const SERVER: &str = "[server]\nlisten = [\"127.0.0.1:0\"]\n";

/// Returns a route that `check` accepts without a warning about its secret.
fn quiet(name: &str) -> String {
    format!(
        "[routes.{name}]\npath = \"/{name}\"\nprovider = \"github\"\nsecret = {{ file = \"secret\" }}\nupstream = \"http://127.0.0.1:9/\"\n"
    )
}

/// Fails when a key may be set in two files, or the error names only one of the places.
#[tokio::test]
async fn what_is_in_two_files_is_an_error_with_both_places() {
    let folder = Folder::new(&[
        ("secret", "0b7f1c9e5a2d4836b1f0c7e9"),
        ("hookgate.toml", &format!("{SERVER}{}", quiet("a"))),
        ("conf.d/b.toml", &format!("{SERVER}{}", quiet("b"))),
        (
            "conf.d/c.toml",
            &format!("include = [\"x.toml\"]\n{}", quiet("a")),
        ),
    ]);
    let (code, out) = folder.check(&[]).await;
    assert_eq!(code, 2, "{out}");
    for part in [
        "error: `server.listen` is defined in two files\n --> conf.d/b.toml:2:1",
        "the other place is hookgate.toml:2:1; remove one of them",
        "error: `routes.a` is defined in two files\n --> conf.d/c.toml:2:9",
        "the other place is hookgate.toml:3:9",
        "error: `include` has no effect in an included file\n --> conf.d/c.toml:1:1",
        "3 errors, 0 warnings",
    ] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let (_, json) = folder.check(&["--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["file"], "hookgate.toml");
    assert_eq!(
        json["files"],
        serde_json::json!(["hookgate.toml", "conf.d/b.toml", "conf.d/c.toml"])
    );
    assert_eq!(json["diagnostics"][0]["file"], "conf.d/b.toml");
    assert_eq!(json["diagnostics"][0]["line"], 2);
}

/// Fails when keys of one section cannot be in two files, arrays of tables are not joined, or `check` does not list files.
#[tokio::test]
async fn sections_may_be_divided_over_files() {
    let certificate = |folder: &Path, name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let names = [format!("{name}.example")];
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        crate::harness::tls::write_self_signed(folder, name, &names, 90, &key);
    };
    let site = |name: &str| {
        format!(
            "[[tls.certificates]]\ncert = \"{name}.pem\"\nkey = \"{name}.key\"\n{}",
            quiet(name)
        )
    };
    let folder = Folder::new(&[
        ("secret", "0b7f1c9e5a2d4836b1f0c7e9"),
        ("hookgate.toml", SERVER),
        (
            "conf.d/10-server.toml",
            "[server]\nmax_connections = 100\n[tls]\nmin_version = \"1.3\"\n",
        ),
        ("conf.d/20-a.toml", &site("a")),
        ("conf.d/30-b.toml", &site("b")),
    ]);
    for name in ["a", "b"] {
        certificate(folder.0.path(), name);
    }
    let (code, out) = folder.check(&[]).await;
    assert_eq!(code, 0, "{out}");
    assert!(
        out.contains(
            "files: hookgate.toml, conf.d/10-server.toml, conf.d/20-a.toml, conf.d/30-b.toml\n"
        ),
        "{out}"
    );
    // A syntax error of one file has its own line, and hides no finding in the others.
    write(
        folder.0.path(),
        "conf.d/20-a.toml",
        &site("a").replace("path = ", "path "),
    );
    write(
        folder.0.path(),
        "conf.d/30-b.toml",
        &site("b").replace("provider", "provder"),
    );
    let (code, out) = folder.check(&[]).await;
    assert_eq!(code, 2, "{out}");
    assert!(out.contains(" --> conf.d/20-a.toml:5:"), "{out}");
    assert!(out.contains("unknown key `provder`"), "{out}");
}

/// Fails when a pattern that cannot be read is ignored.
#[tokio::test]
async fn patterns_are_checked() {
    for (include, part) in [
        ("[\"absent.toml\"]", "cannot read `absent.toml`"),
        ("[\"conf.d/*\"]", "does not end with `.toml`"),
        ("[\"*/a.toml\"]", "is not a pattern"),
        ("\"conf.d/*.toml\"", "expected a list"),
    ] {
        let folder = Folder::new(&[
            ("secret", "0b7f1c9e5a2d4836b1f0c7e9"),
            (
                "hookgate.toml",
                &format!("include = {include}\n{}", quiet("a")),
            ),
        ]);
        let (code, out) = folder.check(&[]).await;
        assert!(code == 2 && out.contains(part), "{include}: {out}");
    }
}

/// Fails when a command that reads single keys of the config does not look into included files.
#[tokio::test]
async fn commands_find_their_keys_in_every_file() {
    let app = App::start(respond(200, ""));
    let gate = Gate::options(&route("main", &app)).start().await;
    let address = gate.admin_address();
    let folder = Folder::new(&[
        ("hookgate.toml", ""),
        (
            "conf.d/admin.toml",
            &format!("[admin]\nlisten = \"{address}\"\ntoken = \"x\"\n"),
        ),
        ("conf.d/store.toml", "[store]\nurl = \"sqlite:events.db\"\n"),
    ]);
    let run = async |arguments: &[&str]| {
        let mut running = command(arguments);
        running.current_dir(folder.0.path());
        outcome(end(running).await)
    };
    let (_, _, err) = run(&["status", "--config", "hookgate.toml"]).await;
    // It has connected to the gate of that address, which has no token.
    assert!(err.contains("token"), "{err}");
    let (code, out, err) = run(&["store", "stats", "--config", "hookgate.toml"]).await;
    assert!(code != 0 && err.contains("events.db"), "{out}{err}");
}

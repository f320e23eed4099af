//! Tests of the places where commands look for a config without `--config`.

use std::path::Path;

use crate::harness::app::{App, ok};
use crate::harness::command::{command, end, outcome};
use crate::harness::gate::Gate;
use crate::harness::sender::Provider;

fn write(folder: &Path, name: &str, marker: &str) {
    let text = format!("[routes.{marker}]\nnonsense = 1\n");
    std::fs::write(folder.join(name), text).unwrap();
}

async fn run(folder: &Path, arguments: &[&str], variable: Option<&str>) -> (i32, String) {
    let mut running = command(arguments);
    running.current_dir(folder);
    if let Some(value) = variable {
        running.env("HOOKGATE_CONFIG", value);
    }
    let (code, out, err) = outcome(end(running).await);
    (code, out + &err)
}

/// Fails when one of the places is not looked at, or in another order.
#[tokio::test]
async fn the_option_comes_first_then_the_variable_then_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write(folder, "hookgate.toml", "here");
    write(folder, "variable.toml", "variable");
    write(folder, "option.toml", "option");
    for (arguments, variable, expected) in [
        (&["check"][..], None, "routes.here"),
        (&["check"], Some(""), "routes.here"),
        (&["check"], Some("variable.toml"), "routes.variable"),
        (
            &["check", "--config", "option.toml"],
            Some("variable.toml"),
            "routes.option",
        ),
        (&["run"], None, "routes.here"),
        (&["run"], Some("variable.toml"), "routes.variable"),
        (&["send", "--route", "here"], None, "routes.here"),
        (
            &["listen", "--route", "variable"],
            Some("variable.toml"),
            "routes.variable",
        ),
    ] {
        let (code, text) = run(folder, arguments, variable).await;
        assert!(
            code == 2 && text.contains(expected),
            "{arguments:?} {variable:?}: {text}"
        );
    }
    // A file that is named but absent is never replaced by another one.
    let (code, text) = run(folder, &["check"], Some("absent.toml")).await;
    assert!(
        code == 2 && text.contains("cannot read `absent.toml`"),
        "{text}"
    );
}

/// Fails when a command without any config file does not say where it looked.
#[tokio::test]
async fn an_absent_config_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    if Path::new("/etc/hookgate/hookgate.toml").exists() {
        return;
    }
    std::fs::write(folder.path().join("request.http"), "GET / HTTP/1.1\n\n").unwrap();
    for arguments in [
        &["check"][..],
        &["run"],
        &["explain", "request.http"],
        &["send", "--route", "a"],
        &["store", "stats"],
        &["store", "migrate"],
        &["store", "copy", "copy.db"],
    ] {
        let (code, text) = run(folder.path(), arguments, None).await;
        assert_eq!(code, 2, "{arguments:?}: {text}");
        for place in [
            "no config file found",
            "`$HOOKGATE_CONFIG`",
            "`./hookgate.toml`",
            "`/etc/hookgate/hookgate.toml`",
        ] {
            assert!(text.contains(place), "{arguments:?}: {text}");
        }
    }
}

/// Fails when commands for a running gate do not find its address and token, or send a token of the folder to a gate that
/// is named otherwise.
#[tokio::test]
async fn a_running_gate_is_found_by_the_config_of_the_folder() {
    let app = App::start(ok());
    let admin = "[admin]\nlisten = \"127.0.0.1:0\"\ntoken = \"correct-horse-battery-staple\"\n";
    let text = format!(
        "{admin}{}",
        Provider::Github.route("hook", &app.url("/in"), "")
    );
    let gate = Gate::start(&text).await;
    let address = gate.admin_address();
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let found = admin.replace("127.0.0.1:0", &address.to_string());
    std::fs::write(folder.join("hookgate.toml"), &found).unwrap();
    let (code, text) = run(folder, &["status"], None).await;
    assert!(code < 2 && text.contains("hook"), "{text}");
    let named = format!("http://{address}");
    let (code, text) = run(folder, &["status", "--admin", &named], None).await;
    assert!(code == 1 && text.contains("token"), "{text}");
    // A file of the current folder may be another user's, so it cannot lead to another machine.
    let remote = "[admin]\nlisten = \"192.0.2.7:9180\"\n[admin.tls]\ncert = \"a\"\nkey = \"b\"\n";
    std::fs::write(folder.join("hookgate.toml"), remote).unwrap();
    let (code, text) = run(folder, &["status"], None).await;
    assert!(
        code == 2 && text.contains("may be on another machine"),
        "{text}"
    );
}

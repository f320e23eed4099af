//! Tests of the command line: help, exit codes, completions, the demo.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::harness::command::{command, outcome};
use crate::harness::signal;
use crate::harness::transcript::Transcript;

fn hookgate(arguments: &[&str]) -> Output {
    let mut command = command(arguments);
    command.env("COLUMNS", "100").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn check(arguments: &[&str], code: i32) -> (String, String) {
    let (found, out, err) = outcome(hookgate(arguments));
    assert_eq!(found, code, "{arguments:?}\n{out}\n{err}");
    (out, err)
}

#[test]
fn every_command_teaches_by_example() {
    for command in [
        "run",
        "check",
        "demo",
        "explain",
        "capture",
        "status",
        "providers",
        "replay",
        "completions",
        "man",
    ] {
        let (out, _) = check(&[command, "--help"], 0);
        assert!(
            out.contains("Examples:") && out.contains(&format!("hookgate {command}")),
            "{out}"
        );
    }
    for (command, below) in [
        ("events", &["list", "show", "tail"][..]),
        (
            "deliveries",
            &["list", "show", "retry", "cancel", "discard"],
        ),
        ("replay", &["list", "pause", "resume"]),
        ("destinations", &["list", "pause", "resume"]),
        ("store", &["check", "stats", "copy", "export"]),
    ] {
        for name in below {
            let (out, _) = check(&[command, name, "--help"], 0);
            assert!(
                out.contains("Examples:")
                    && out.contains("Exit codes:")
                    && out.contains(&format!("hookgate {command} {name}")),
                "{out}"
            );
        }
    }
    let (out, _) = check(&["config", "schema", "--help"], 0);
    assert!(out.contains("hookgate config schema"), "{out}");
}

#[test]
fn providers_are_listed_and_shown() {
    let (out, _) = check(&["providers"], 0);
    assert!(out.starts_with("ID"), "{out}");
    assert!(!out.contains('\u{1b}'), "colour for nobody: {out}");
    let (listed, _) = check(&["providers", "--json"], 0);
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    for row in listed.as_array().unwrap() {
        let id = row["id"].as_str().unwrap();
        assert!(out.lines().any(|line| line.starts_with(id)), "{out}");
    }
    let (json, _) = check(&["providers", "show", "stripe", "--json"], 0);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tolerance_seconds"], 300);
}

#[test]
fn a_provider_is_shown_in_words() {
    let mut transcript = Transcript::new("providers.txt");
    for arguments in [
        &["providers", "show", "stripe"][..],
        &["providers", "show", "strpe"],
        &["providers", "refresh-ranges", "githbu"],
        &["providers", "refresh-ranges", "plaid"],
        &["providers", "refresh-ranges", "slack"],
    ] {
        transcript.add(arguments, &outcome(hookgate(arguments)));
    }
    transcript.compare();
}

#[test]
fn version_is_the_crates() {
    let (out, _) = check(&["--version"], 0);
    assert_eq!(out, format!("hookgate {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_ends_with_2() {
    let mut transcript = Transcript::new("usage.txt");
    for arguments in [
        &["serve"][..],
        &["run"],
        &["check"],
        &["demo", "--twice"],
        &["completions", "cmd"],
        &["events", "list", "--state", "ded"],
        &["events", "list", "--limit", "0"],
        &["destinations", "pause"],
        &["destinations", "pause", "a/b", "--route", "a"],
        &["deliveries", "show", "one"],
    ] {
        let ended = outcome(hookgate(arguments));
        assert_eq!(ended.0, 2, "{arguments:?}");
        transcript.add(arguments, &ended);
    }
    transcript.compare();
}

#[test]
fn a_config_that_cannot_be_used_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hookgate.toml");
    let name = path.to_str().unwrap();
    for command in ["run", "check"] {
        let (out, err) = check(&[command, "--config", name], 2);
        assert!(
            format!("{out}{err}").contains("hookgate.toml"),
            "{out}{err}"
        );
    }
    std::fs::write(&path, "[routes.one]\npaht = \"/\"\n").unwrap();
    for command in ["run", "check"] {
        let (out, err) = check(&[command, "--config", name], 2);
        assert!(format!("{out}{err}").contains("paht"), "{out}{err}");
    }
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (out, _) = check(&["completions", shell], 0);
        assert!(
            out.contains("hookgate") && out.contains("completions"),
            "{shell}"
        );
    }
}

/// Fails when a command panics or complains because its reader has read enough, as `head` does.
#[test]
fn a_closed_pipe_is_no_failure() {
    let commands = [
        &["completions", "bash"][..],
        &["completions", "zsh"],
        &["completions", "fish"],
        &["config", "schema"],
        &["providers"],
        &["providers", "--json"],
        &["providers", "show", "github"],
        &["man"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        // Closed before the command starts, so that its first write fails.
        drop(reader);
        let child = command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let output = child.unwrap().wait_with_output().unwrap();
        let err = text(&output.stderr);
        assert_eq!(
            (output.status.code(), &*err),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}

#[test]
fn the_schema_is_json() {
    let (out, _) = check(&["config", "schema"], 0);
    let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert!(schema["properties"]["routes"].is_object());
}

/// Fails when a line of the demo's table shows another decision.
#[test]
fn the_demo_shows_what_it_promises() {
    let arguments = ["demo", "--once"];
    let ended = outcome(hookgate(&arguments));
    assert_eq!(ended.0, 0, "{}", ended.1);
    let mut transcript = Transcript::new("demo.txt");
    transcript.add(&arguments, &ended);
    transcript.compare();
}

/// Child process that is killed at the end of its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fails when a printed command does not sign as the provider does, or names a file that is gone.
#[test]
fn the_commands_that_the_demo_prints_work() {
    let demo = Command::new(env!("CARGO_BIN_EXE_hookgate"))
        .arg("demo")
        .stdout(Stdio::piped())
        .spawn();
    let mut demo = Killed(demo.unwrap());
    let mut lines = BufReader::new(demo.0.stdout.take().unwrap()).lines();
    let mut printed = String::new();
    for line in lines.by_ref() {
        let line = line.unwrap();
        if line.contains("Ctrl-C") {
            break;
        }
        printed.push_str(&line);
        printed.push('\n');
    }
    let commands: Vec<&str> = printed
        .split("\n# ")
        .skip(1)
        .map(|part| part.split_once('\n').unwrap().1)
        .collect();
    let expected = [
        ("200", "accepted"),
        ("401", "refused"),
        ("200", "accepted"),
        ("404", "refused"),
    ];
    assert_eq!(commands.len(), expected.len(), "{printed}");
    for (command, (status, verdict)) in commands.iter().zip(expected) {
        let output = Command::new("bash").args(["-c", command]).output().unwrap();
        let answer = text(&output.stdout);
        assert!(
            answer.contains(&format!(" {status}")),
            "{command}\n{answer}\n{}",
            text(&output.stderr)
        );
        let told = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with("gate: "));
        assert!(told.is_some_and(|told| told.contains(verdict) && told.contains(status)));
    }
    signal(demo.0.id(), "INT");
    assert_eq!(demo.0.wait().unwrap().code(), Some(0));
}

//! Compares the output of `hookgate check` for each file of `tests/config` with the `.expected` file next to it.
//!
//! `tests/renew` writes the expected files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::harness::golden::compare;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config")
}

fn check(file: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hookgate"))
        .args(["check", "--config", file])
        .args(arguments)
        .current_dir(folder())
        .env_clear()
        .env("GOOD_SECRET", "0b7f1c9e5a2d4836b1f0c7e9")
        .env("QUOTED_SECRET", "\"0b7f1c9e5a2d4836b1f0c7e9\"")
        .env("EMPTY_SECRET", "")
        .env("CREDENTIALS_DIRECTORY", folder().join("credentials"))
        .output()
        .unwrap()
}

fn cases() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

#[test]
fn each_file_gets_its_diagnostics() {
    let names = cases();
    assert!(names.len() >= 25);
    for name in names {
        // No test needs a server that is not there.
        let arguments: &[&str] = match name.starts_with("store_") {
            true => &["--offline"],
            false => &[],
        };
        let output = check(&format!("{name}.toml"), arguments);
        let found = format!(
            "{}{}exit {}\n",
            String::from_utf8(output.stdout).unwrap(),
            String::from_utf8(output.stderr).unwrap(),
            output.status.code().unwrap_or(-1),
        )
        .replace(folder().to_str().unwrap(), "tests/config");
        compare(&format!("tests/config/{name}.expected"), &found);
    }
}

#[test]
fn no_output_holds_a_literal_secret() {
    for name in cases() {
        for arguments in [&["--offline"][..], &["--offline", "--json"][..]] {
            let output = check(&format!("{name}.toml"), arguments);
            let text = String::from_utf8(output.stdout).unwrap();
            for secret in ["abcd1234", "f3b8c1d0", "0b7f1c9e", "k3yk3y", "not*base64"] {
                assert!(!text.contains(secret), "{name}: {text}");
            }
        }
    }
}

#[test]
fn json_says_the_same_as_the_text() {
    let output = check("unknown_key.toml", &["--json"]);
    assert_eq!(output.status.code(), Some(2));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["errors"], 3);
    let row = &report["diagnostics"][0];
    assert_eq!(row["severity"], "error");
    assert_eq!(row["file"], "unknown_key.toml");
    assert_eq!((&row["line"], &row["column"]), (&2.into(), &1.into()));
    assert_eq!(row["end"]["column"], 6);
    assert_eq!(row["help"], "did you mean `listen`?");
}

#[test]
fn a_file_that_is_not_there() {
    let output = check("none.toml", &[]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("error: cannot read `none.toml`"), "{text}");
}

#[test]
fn the_schema_is_printed() {
    let output = Command::new(env!("CARGO_BIN_EXE_hookgate"))
        .args(["config", "schema"])
        .output()
        .unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$defs"]["routes.NAME"].is_object());
}

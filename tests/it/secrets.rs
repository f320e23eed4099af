//! Tests of promise 5: no secret appears in logs, responses, metrics, errors or the process list, in any encoding.

use std::process::Command;

use data_encoding::{BASE64, HEXLOWER};

use crate::harness::app::{App, Behavior, ok, sequence};
use crate::harness::gate::Gate;
use crate::harness::sender::{PROVIDERS, Provider, Sender};

/// Returns the secret and its usual encodings.
fn spellings(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let mut all = vec![
        secret.to_owned(),
        HEXLOWER.encode(bytes),
        BASE64.encode(bytes),
        format!("{bytes:?}"),
    ];
    if let Some(encoded) = secret.strip_prefix("whsec_") {
        all.push(encoded.to_owned());
        all.push(HEXLOWER.encode(&BASE64.decode(encoded.as_bytes()).unwrap()));
    }
    all
}

fn assert_free(place: &str, text: &str, secrets: &[&str]) {
    for secret in secrets {
        for spelling in spellings(secret) {
            assert!(!text.contains(&spelling), "{place} holds a secret");
        }
    }
}

/// Fails when `Debug` of a route, a config or a scheme prints what `Secret` holds, or a token is quoted as evidence.
#[tokio::test]
async fn nothing_that_can_be_seen_holds_a_secret() {
    let app = App::start(sequence([ok(), Behavior::Reset, ok()]));
    let mut config = "[log]\nlevel = \"trace\"\n\n".to_owned();
    for provider in PROVIDERS {
        config.push_str(&provider.route(provider.id(), &app.url("/in"), ""));
    }
    let environment = "from-the-environment-0123456789";
    config.push_str(&Provider::Github.route_with(
        "extra",
        &app.url("/in"),
        "secret = { env = \"EXTRA\" }",
    ));
    let gate = Gate::options(&config)
        .env("EXTRA", environment)
        .start()
        .await;
    let mut seen = String::new();
    for provider in PROVIDERS {
        let path = format!("/{}", provider.id());
        let hook = Sender::new(provider).event(&path);
        let header = provider.signature_header();
        let doubled = hook.clone().with(header, hook.header(header));
        let hooks = [
            hook.clone(),
            hook.clone(),
            hook.clone().flip_body_byte(),
            doubled,
            hook.without(header),
            Sender::new(provider)
                .with_secret(provider.other_secret())
                .event(&path),
        ];
        for hook in hooks {
            let reply = gate.send(&hook).await;
            seen.push_str(&format!("{:?}{}", reply.headers, reply.text()));
        }
    }
    // Reloads print configs and their faults.
    assert!(!gate.reload(&config.replace("path = ", "paht = ")).await);
    assert!(gate.reload(&config).await);
    let mut secrets = vec![environment];
    for provider in PROVIDERS {
        // Wrong secrets are secret too: a mistyped one is often the right one of another endpoint.
        secrets.extend([provider.secret(), provider.other_secret()]);
    }
    assert_free("an answer", &seen, &secrets);
    assert_free("the log", &gate.log_lines().join("\n"), &secrets);
    assert_free("the metrics", &gate.admin("/metrics").await.1, &secrets);
    let command = std::fs::read(format!("/proc/{}/cmdline", gate.pid())).unwrap();
    assert_free(
        "the process list",
        &String::from_utf8_lossy(&command),
        &secrets,
    );
}

/// Fails when a diagnostic of `secret` shows the line of the file.
#[test]
fn check_does_not_print_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let secret = "hush-0123456789abcdefghij";
    std::fs::write(folder.path().join("with-newline"), format!("{secret}\n")).unwrap();
    let file = folder.path().join("with-newline");
    let lines = [
        format!("secret = \"{secret}\"\nunknown = 1"),
        format!("secret = {{ file = {file:?} }}"),
        format!("secret = [\"{secret}\", {{ nonsense = \"{secret}\" }}]"),
        format!("secret = {{ value = \"{secret}\" }}"),
        format!("secert = \"{secret}\""),
        format!("secret = \"{secret}"),
        "secret = \"hu5h\"".to_owned(),
    ];
    for lines in lines {
        let config = folder.path().join("hookgate.toml");
        let text = Provider::Github.route_with("hook", "http://127.0.0.1:9/", &lines);
        std::fs::write(&config, text).unwrap();
        for more in [&["--json"][..], &[]] {
            let output = Command::new(env!("CARGO_BIN_EXE_hookgate"))
                .args(["check", "--config"])
                .arg(&config)
                .args(more)
                .output()
                .unwrap();
            let printed = [output.stdout, output.stderr].concat();
            let printed = String::from_utf8_lossy(&printed);
            assert!(!printed.is_empty());
            assert_free(&format!("{lines}\n{printed}"), &printed, &[secret]);
            assert!(!printed.contains("hu5h"), "{printed}");
        }
    }
}

//! Runs commands of the real binary.

use std::process::{Command, Output, Stdio};

/// Creates a command that knows a gate only from its arguments, and prints no colors.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookgate"));
    command
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("HOOKGATE_ADMIN")
        .env_remove("HOOKGATE_ADMIN_TOKEN")
        .env_remove("HOOKGATE_CONFIG")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end without blocking the runtime.
pub async fn end(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.unwrap().unwrap()
}

/// Returns the exit code, standard output and standard error.
pub fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

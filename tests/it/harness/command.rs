//! Commands of the real binary.

use std::process::{Command, Output, Stdio};

/// A command that knows of no gate but what its arguments say, and prints no colours.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookgate"));
    command
        .args(arguments)
        .env("NO_COLOR", "1")
        .env_remove("HOOKGATE_ADMIN")
        .env_remove("HOOKGATE_ADMIN_TOKEN")
        .stdin(Stdio::null());
    command
}

/// Runs a command to its end, and leaves the runtime to others meanwhile.
pub async fn end(mut command: Command) -> Output {
    let output = tokio::task::spawn_blocking(move || command.output());
    output.await.unwrap().unwrap()
}

/// The exit code and what was printed: standard output, standard error.
pub fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

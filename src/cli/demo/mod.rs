//! `hookgate demo`: sends signed events and attacks through a real gate, and prints the verdicts.
//!
//! It needs no file, no other program and no network except loopback. It is made of the test tools of the library
//! (`testing`), which use the gate only from outside: the config as text, the gate as `hookgate run` starts it, and TLS
//! sockets. So the demo shows what a user would see.

mod curl_commands;
mod events;
mod logged_verdict;
mod report;
mod secrets;
mod setup;

use std::process::ExitCode;

use anyhow::Context;

use crate::cli::output::{BAD, GOOD, STRONG, styled};
use crate::model::error;

/// Runs the demo. With `is_once` it ends after the table. Exits with 1 if a line of the table is not as it should be.
pub(crate) fn run(is_once: bool) -> ExitCode {
    match play(is_once) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            let err: &(dyn std::error::Error + 'static) = err.as_ref();
            anstream::eprintln!("{}: {}", styled(BAD, "error"), error::chain(err));
            ExitCode::FAILURE
        }
    }
}

fn play(is_once: bool) -> anyhow::Result<bool> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let is_good = runtime.block_on(perform(is_once))?;
    // Connections of curl may still be open; the demo does not wait for them.
    runtime.shutdown_background();
    Ok(is_good)
}

async fn perform(is_once: bool) -> anyhow::Result<bool> {
    let stage = setup::DemoSetup::set().await?;
    anstream::println!(
        "{} on https://{} with a temporary certificate, in front of a small app on http://{}.\n",
        styled(STRONG, "The gate listens"),
        stage.gate.address(),
        stage.app.address()
    );
    // The table appears at once at the end: its columns depend on all rows.
    let outcomes = stage.play(&events::all(&stage.secrets)).await?;
    anstream::println!("{}", report::table(&outcomes));
    let failed = outcomes.iter().filter(|outcome| !outcome.is_good()).count();
    if failed == 0 {
        let all = format!("All {} lines are as they should be.", outcomes.len());
        anstream::println!("{}", styled(GOOD, &all));
    } else {
        let some = format!(
            "{failed} of {} lines are not as they should be.",
            outcomes.len()
        );
        anstream::println!("{}", styled(BAD, &some));
    }
    if !is_once {
        curl_commands::stay(&stage).await?;
    }
    // After Ctrl-C too, so that the temporary folder is removed.
    stage.end().await;
    Ok(failed == 0)
}

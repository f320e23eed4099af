//! Confirmation before bulk changes, Ctrl-C, and the runtime for requests to a gate.

use std::io::{IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::CommandFailure;

/// Runs a command's async work on a runtime with one thread.
pub(super) fn block_on<T>(
    work: impl Future<Output = Result<T, CommandFailure>>,
) -> Result<T, CommandFailure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(err) => Err(CommandFailure::new(format!(
            "cannot set up the runtime: {err}"
        ))),
    }
}

/// Returns a future that completes at the first Ctrl-C from now on, even one that arrives before the future is polled.
pub(super) fn interrupted() -> Result<impl Future<Output = ()>, CommandFailure> {
    // The handler is installed here, not at the first poll, so that no signal in between ends the process.
    let signals = signal(SignalKind::interrupt());
    let mut signals =
        signals.map_err(|err| CommandFailure::new(format!("cannot wait for Ctrl-C: {err}")))?;
    Ok(async move {
        let _ = signals.recv().await;
    })
}

/// Asks for confirmation on the terminal. Returns true at once with `--yes`, and fails where there is no terminal.
pub(super) fn confirm(question: &str, is_agreed: bool) -> Result<bool, CommandFailure> {
    if is_agreed {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(CommandFailure::usage(format!(
            "{question}: cannot ask for confirmation without a terminal"
        ))
        .help("check with `--dry-run`, then add `--yes`"));
    }
    // On standard error: standard output may be redirected into a file.
    let mut err = anstream::stderr();
    let _ = write!(err, "{question}? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    // Everything else, the end of input included, counts as no.
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes" | "Yes");
    Ok(read.is_ok() && is_yes)
}

/// Formats a count with its noun: `1 delivery`, `2 deliveries`.
pub(super) fn deliveries(count: u64) -> String {
    match count {
        1 => "1 delivery".to_owned(),
        _ => format!("{count} deliveries"),
    }
}

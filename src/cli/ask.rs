//! Asking before much is changed, and running what waits for a gate.

use std::io::{IsTerminal, Write};

use tokio::signal::unix::{SignalKind, signal};

use crate::cli::failure::Failure;

/// Runs a command that waits for a gate.
pub(super) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(err) => Err(Failure::new(format!("cannot set up the runtime: {err}"))),
    }
}

/// Ends with the first Ctrl-C from now on: one that comes before anybody waits for it counts as well.
pub(super) fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let signals = signal(SignalKind::interrupt());
    let mut signals =
        signals.map_err(|err| Failure::new(format!("cannot wait for Ctrl-C: {err}")))?;
    Ok(async move {
        let _ = signals.recv().await;
    })
}

/// Whether the person at the terminal agrees; `--yes` has agreed already.
pub(super) fn confirm(question: &str, is_agreed: bool) -> Result<bool, Failure> {
    if is_agreed {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("{question}: nobody can be asked here"))
                .help("look with `--dry-run`, then say `--yes`"),
        );
    }
    let mut err = anstream::stderr();
    let _ = write!(err, "{question}? [y/N] ");
    let _ = err.flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    let is_yes = matches!(answer.trim(), "y" | "Y" | "yes" | "Yes");
    Ok(read.is_ok() && is_yes)
}

/// `1 delivery`, `2 deliveries`.
pub(super) fn deliveries(count: u64) -> String {
    match count {
        1 => "1 delivery".to_owned(),
        _ => format!("{count} deliveries"),
    }
}

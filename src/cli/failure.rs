//! The error of a command, and its one form: activity, error, help.

use std::process::ExitCode;

use crate::cli::output::{BAD, STRONG, styled};

/// Exit code for wrong usage or a config that cannot be used; clap exits with the same code.
pub(super) const EXIT_USAGE: u8 = 2;

/// Error of a command, with the next step for the operator and the exit code.
#[derive(Debug)]
pub(super) struct CommandFailure {
    error: String,
    help: Option<String>,
    is_usage: bool,
}

impl CommandFailure {
    /// Creates a failure with exit code 1: the command was valid but did not succeed.
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            help: None,
            is_usage: false,
        }
    }

    /// Creates a failure with exit code 2: the command line or the config must change.
    pub(super) fn usage(error: impl Into<String>) -> Self {
        Self {
            is_usage: true,
            ..Self::new(error)
        }
    }

    /// Sets the next step for the operator, shown as `help:`.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// Puts the activity in front of the error, as in `listing events: the gate requires a token`.
    pub(super) fn doing(self, doing: &str) -> Self {
        Self {
            error: format!("{doing}: {}", self.error),
            ..self
        }
    }

    /// Formats the lines for people, with colors.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}: {}\n", styled(BAD, "error"), self.error);
        if let Some(help) = &self.help {
            text.push_str(&format!("{}: {help}\n", styled(STRONG, "help")));
        }
        text
    }

    /// Formats the lines for people, without colors.
    #[cfg(test)]
    pub(super) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text()).to_string()
    }

    /// Prints the failure to standard error.
    pub(super) fn print(&self) {
        anstream::eprint!("{}", self.text());
    }

    pub(super) fn code(&self) -> ExitCode {
        match self.is_usage {
            true => ExitCode::from(EXIT_USAGE),
            false => ExitCode::FAILURE,
        }
    }
}

/// Converts the result of a command into its exit code. Prints a failure first.
pub(super) fn end(outcome: Result<(), CommandFailure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print();
            failure.code()
        }
    }
}

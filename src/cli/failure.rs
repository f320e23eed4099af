//! Why a command failed, told in one form: what was being done, what is wrong, what to do next.

use std::process::ExitCode;

use crate::cli::EXIT_USAGE;
use crate::cli::output::{BAD, STRONG, styled};

/// Why a command failed.
#[derive(Debug)]
pub(super) struct Failure {
    error: String,
    help: Option<String>,
    is_usage: bool,
}

impl Failure {
    /// What was asked for could not be done.
    pub(super) fn new(error: impl Into<String>) -> Self {
        Self {
            error: error.into(),
            help: None,
            is_usage: false,
        }
    }

    /// The command line, or the config, asks for something that cannot be.
    pub(super) fn usage(error: impl Into<String>) -> Self {
        Self {
            is_usage: true,
            ..Self::new(error)
        }
    }

    /// What to do next.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// What was being done.
    pub(super) fn doing(self, doing: &str) -> Self {
        Self {
            error: format!("{doing}: {}", self.error),
            ..self
        }
    }

    /// The lines for people, coloured.
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}: {}\n", styled(BAD, "error"), self.error);
        if let Some(help) = &self.help {
            text.push_str(&format!("{}: {help}\n", styled(STRONG, "help")));
        }
        text
    }

    /// The lines for people.
    #[cfg(test)]
    pub(super) fn plain(&self) -> String {
        anstream::adapter::strip_str(&self.text()).to_string()
    }

    /// Tells it on standard error.
    pub(super) fn tell(&self) {
        anstream::eprint!("{}", self.text());
    }

    /// The code to end with.
    pub(super) fn code(&self) -> ExitCode {
        match self.is_usage {
            true => ExitCode::from(EXIT_USAGE),
            false => ExitCode::FAILURE,
        }
    }
}

/// The exit code of a command; a failure is told first.
pub(super) fn end(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.tell();
            failure.code()
        }
    }
}

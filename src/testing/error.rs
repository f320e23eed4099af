//! The error of the test tools.

use hookgate_verify::document::report::{DiagnosticReport, ReportStyle};
use hookgate_verify::scheme::{SchemeError, SignError};

use crate::config;
use crate::net::request_file::RequestFileError;

/// Error of a test tool.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TestingError {
    /// No provider has this id. `hookgate providers` lists all ids.
    #[error("no provider has the id `{0}`")]
    NoProvider(String),
    /// hookgate cannot sign for this provider: only the provider has the key, or the signature is inside the body.
    #[error("hookgate can verify events of `{0}`, but not sign them: {1}")]
    NotSignable(String, &'static str),
    /// The provider has payloads, but no payload of this event type.
    #[error("`{provider}` has no payload of the type `{requested}`; its types: {known}")]
    NoPayload {
        /// Id of the provider.
        provider: String,
        /// Event type that was requested.
        requested: String,
        /// Event types of the provider, separated by commas.
        known: String,
    },
    /// The secret does not have the form that the scheme requires.
    #[error("{0}")]
    Scheme(#[from] SchemeError),
    /// The event lacks a value that the scheme signs.
    #[error("{0}")]
    Sign(#[from] SignError),
    /// A part of the request is not valid HTTP.
    #[error("{0}")]
    Request(#[from] RequestFileError),
    /// A value cannot be set in the body of an event.
    #[error("{0}")]
    Set(String),
    /// The text is not a valid http or https URL with a host.
    #[error("`{0}` is not a valid http or https URL")]
    Url(String),
    /// The config has errors; the text shows each with its location.
    #[error("the config has errors:\n{0}")]
    Config(String),
    /// The gate or the receiver cannot start, or sent no response. The first text names the operation.
    #[error("{0}: {1}")]
    Io(&'static str, String),
}

impl TestingError {
    fn config(report: &DiagnosticReport) -> Self {
        Self::Config(report.render(ReportStyle::Plain).to_string())
    }
}

/// Loads a config as `hookgate run` does.
pub(crate) fn load(text: &str) -> Result<config::LoadedConfig, TestingError> {
    config::load_text("testing.toml", text).map_err(|report| TestingError::config(&report))
}

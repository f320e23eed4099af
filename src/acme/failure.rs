//! Failures of an order or a request to the CA, and the kind that decides about the pause before the next attempt.

use std::time::Duration;

use instant_acme::{Error, Problem};

use crate::acme::http::AuthorityHttpError;
use crate::model::error::chain;

/// Prefix of the problem types of ACME (RFC 8555, section 6.7).
const TYPES: &str = "urn:ietf:params:acme:error:";

/// Longest text of a failure, since a CA may send any length of detail.
const MAX_TEXT: usize = 1000;

/// A failed attempt to get a certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct OrderFailure {
    /// The reason, for operators.
    pub(super) text: String,
    pub(super) kind: FailureKind,
    /// Shortest pause that the CA asks for.
    pub(super) retry_after: Option<Duration>,
}

/// Kind of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FailureKind {
    /// The CA cannot be reached, or fails itself.
    Away,
    /// A rate limit of the CA.
    RateLimited,
    /// The CA refused, for example because it could not verify the name.
    Refused,
    /// The account is unknown to the CA, so the next attempt needs a new one.
    NoAccount,
    /// The certificate that the order names as replaced was replaced before.
    AlreadyReplaced,
    /// The CA rejected several nonces in a row, which says nothing about the order.
    BadNonce,
    /// This machine cannot store or create something.
    Local,
}

impl OrderFailure {
    /// Creates a failure without a pause that the CA asks for.
    pub(super) fn new(kind: FailureKind, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if let Some((end, _)) = text.char_indices().nth(MAX_TEXT) {
            text.truncate(end);
        }
        Self {
            text,
            kind,
            retry_after: None,
        }
    }

    /// Converts a problem that the CA reports.
    pub(super) fn of_problem(problem: &Problem) -> Self {
        let word = problem.r#type.as_deref().unwrap_or_default();
        let word = word.strip_prefix(TYPES).unwrap_or(word);
        let kind = match (word, problem.status) {
            ("rateLimited", _) | (_, Some(429)) => FailureKind::RateLimited,
            ("accountDoesNotExist", _) => FailureKind::NoAccount,
            ("badNonce", _) => FailureKind::BadNonce,
            ("alreadyReplaced", _) => FailureKind::AlreadyReplaced,
            ("serverInternal", _) | (_, Some(500..)) => FailureKind::Away,
            _ => FailureKind::Refused,
        };
        let detail = problem.detail.as_deref().unwrap_or("without a reason");
        let mut text = format!("the CA refused: {detail} ({word})");
        for part in &problem.subproblems {
            text.push_str(&format!("; {part}"));
        }
        Self::new(kind, text)
    }
}

impl From<Error> for OrderFailure {
    fn from(error: Error) -> Self {
        match &error {
            Error::Api(problem) => Self::of_problem(problem),
            Error::Unsupported(_) => Self::new(FailureKind::Refused, error.to_string()),
            Error::Timeout(_) => {
                Self::new(FailureKind::Away, "the CA did not finish the order in time")
            }
            Error::Json(_) => Self::new(
                FailureKind::Away,
                format!("the CA sent a response that is not ACME: {error}"),
            ),
            Error::Other(source) => match source.downcast_ref::<AuthorityHttpError>() {
                Some(http) => Self {
                    retry_after: http.retry_after(),
                    ..Self::new(FailureKind::Away, chain(http))
                },
                None => Self::new(FailureKind::Away, chain(&**source)),
            },
            _ => Self::new(FailureKind::Refused, error.to_string()),
        }
    }
}

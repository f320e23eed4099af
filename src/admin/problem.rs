//! Errors of the admin API as problem documents (RFC 9457) with instructions for the operator.
//!
//! Unlike the responses to untrusted clients, they may reveal details of the gate.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::admin::access::AccessRefusal;
use crate::admin::documents::ProblemDocument;
use crate::model::error::chain;
use crate::net::problem;
use crate::store::StoreError;

/// The reason why a request to the admin API fails.
#[derive(Debug)]
pub(super) struct AdminProblem {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
    diagnostics: Option<serde_json::Value>,
}

impl AdminProblem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            detail,
            retry_after: None,
            diagnostics: None,
        }
    }

    /// Creates a 400: the request is invalid.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Creates a 404: the named thing does not exist.
    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// Creates a 409: the state of the named thing does not allow the change.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// Adds the errors of a config with their locations.
    pub(super) fn with_diagnostics(self, diagnostics: Option<serde_json::Value>) -> Self {
        Self {
            diagnostics,
            ..self
        }
    }

    #[cfg(test)]
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

impl From<StoreError> for AdminProblem {
    fn from(err: StoreError) -> Self {
        let status = match err {
            // These pass by themselves or when an operator frees space, so a client may retry.
            StoreError::Full { .. }
            | StoreError::Busy
            | StoreError::Reopening
            | StoreError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&err))
    }
}

impl From<AccessRefusal> for AdminProblem {
    fn from(refused: AccessRefusal) -> Self {
        match refused {
            AccessRefusal::Open => Self::new(
                StatusCode::FORBIDDEN,
                "the admin API needs a token, because every user of this machine can connect to this address: set \
                 `token` in `[admin]`, or set `listen` to a Unix socket, which only its owner can open",
            ),
            AccessRefusal::Missing | AccessRefusal::Unknown => Self::new(
                StatusCode::UNAUTHORIZED,
                "the token is missing or wrong: send a token of `[admin]` as `Authorization: Bearer TOKEN`",
            ),
            AccessRefusal::TooMany(wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong tokens from this address: wait as long as `Retry-After` says, then try again",
                )
            },
        }
    }
}

impl IntoResponse for AdminProblem {
    fn into_response(self) -> Response {
        let document = ProblemDocument {
            title: problem::title(self.status).to_owned(),
            status: self.status.as_u16(),
            detail: Some(self.detail),
            diagnostics: self.diagnostics,
        };
        let mut answer = (self.status, axum::Json(document)).into_response();
        let headers = answer.headers_mut();
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, kind);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(wait) = self.retry_after {
            // Rounded up: a client that returned a moment too early would have to wait again.
            let seconds = wait.as_secs().saturating_add(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

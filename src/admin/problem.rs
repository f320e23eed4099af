//! Refusals of the admin API: problem documents with a `detail` that tells the operator what to do. Unlike those that a
//! stranger gets they may speak about the inside.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use crate::admin::access::Refused;
use crate::admin::wire::ProblemDocument;
use crate::model::error::chain;
use crate::net::problem;
use crate::store::StoreError;

/// Why a request of an operator is not done.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    retry_after: Option<Duration>,
    diagnostics: Option<serde_json::Value>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self {
            status,
            detail,
            retry_after: None,
            diagnostics: None,
        }
    }

    /// The request cannot be understood.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub(super) fn missing(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, detail)
    }

    /// The state of the thing does not allow it.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// With what is wrong about a config, place by place.
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

impl From<StoreError> for Problem {
    fn from(err: StoreError) -> Self {
        let status = match err {
            StoreError::Full { .. }
            | StoreError::Busy
            | StoreError::Reopening
            | StoreError::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self::new(status, chain(&err))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Open => Self::new(
                StatusCode::FORBIDDEN,
                "every user of this machine can connect to this address, so the API needs a token: set `token` in \
                 `[admin]`, or let `[admin]` listen on a Unix socket, which is for its owner only",
            ),
            Refused::Missing | Refused::Unknown => Self::new(
                StatusCode::UNAUTHORIZED,
                "send a token of `[admin]` as `Authorization: Bearer TOKEN`",
            ),
            Refused::TooMany(wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "wrong tokens came from this address again and again: wait before the next one",
                )
            },
        }
    }
}

impl IntoResponse for Problem {
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
            // Rounded up: whoever comes a moment early waits once more.
            let seconds = wait.as_secs().saturating_add(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

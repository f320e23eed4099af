//! Spec of `type = "token"`: a shared token.

/// Spec of `type = "token"`: a shared token.
#[derive(Clone, Debug)]
pub struct TokenSpec {
    /// Location of the token in a request.
    pub location: TokenLocation,
}

/// Location of a shared token.
#[derive(Clone, Debug)]
pub enum TokenLocation {
    /// `{ header = "X-Gitlab-Token" }`, with an optional prefix such as `"Bearer "`.
    Header {
        /// Name of the header with the token.
        name: http::HeaderName,
        /// Text in front of the token.
        prefix: String,
    },
    /// A query parameter: `{ query = "token" }`.
    Query(String),
    /// HTTP Basic (RFC 7617): `{ basic = true }`; the secret is `user:password`.
    Basic,
    /// A field of a form body: `{ form = "token" }`.
    Form(String),
    /// A value of a JSON body: `{ json = "/token" }`.
    Json(Vec<String>),
    /// A value of the JSON in a form field: `{ form = "data", json = "/token" }`.
    FormJson(String, Vec<String>),
}

impl TokenLocation {
    /// Returns whether the token is available before the body.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header { .. } | Self::Query(_) | Self::Basic)
    }
}

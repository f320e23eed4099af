//! Locations of values in a request.

/// Location of a value in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemeLocation {
    /// A header, by its lower-case name.
    Header(http::HeaderName),
    /// A query parameter, by its name.
    Query(String),
    /// A field of a form body.
    Form(String),
    /// An RFC 6901 pointer into a JSON body.
    Json(Vec<String>),
}

impl SchemeLocation {
    /// Returns whether the value is available before the body.
    #[must_use]
    pub fn is_in_head(&self) -> bool {
        matches!(self, Self::Header(_) | Self::Query(_))
    }
}

/// Location of an id or a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldLocation {
    /// A header: `{ header = "X-GitHub-Delivery" }`.
    Header(http::HeaderName),
    /// An RFC 6901 pointer into the body: `{ json = "/id" }`.
    Json(Vec<String>),
    /// A field of a form body: `{ form = "id" }`.
    Form(String),
    /// A value of the JSON in a form field: `{ form = "payload", json = "/id" }`.
    FormJson(String, Vec<String>),
    /// A query parameter: `{ query = "id" }`.
    Query(String),
    /// A claim of the signed token: `{ claim = "jti" }`.
    Claim(String),
}

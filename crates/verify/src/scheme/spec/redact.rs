//! Request parts that are credentials and must be masked.
//!
//! With them anyone could send events. They are found by their usual names, and by the location of this scheme's token.

use http::HeaderName;

use crate::net::redact::{self, MASK};
use crate::scheme::spec::family::{SchemeFamily, SchemeSpec};
use crate::scheme::spec::token::TokenLocation;

impl SchemeSpec {
    /// Returns whether the header may contain a secret.
    #[must_use]
    pub fn redacts_header(&self, name: &HeaderName) -> bool {
        let own = match self.token_location() {
            Some(TokenLocation::Header { name, .. }) => Some(name),
            _ => None,
        };
        own == Some(name) || redact::is_secret(name.as_str())
    }

    /// Returns path and query with possible secrets masked. If the query contains the token, all of it is masked,
    /// because a parameter name can be written in many forms.
    #[must_use]
    pub fn shown_target(&self, target: &str) -> String {
        match (self.token_location(), target.split_once('?')) {
            (Some(TokenLocation::Query(_)), Some((path, _))) => format!("{path}?{MASK}"),
            _ => redact::target(target),
        }
    }

    /// Returns whether the token is part of the body.
    #[must_use]
    pub fn has_token_in_body(&self) -> bool {
        self.token_location()
            .is_some_and(|place| !place.is_in_head())
    }

    fn token_location(&self) -> Option<&TokenLocation> {
        match &self.family {
            SchemeFamily::Token(token) => Some(&token.location),
            _ => None,
        }
    }
}

//! Request parts that are credentials and must be masked.
//!
//! With them anyone could send events. They are found by their usual names, and by the location of this scheme's token.

use http::HeaderName;

use crate::net::hide::{self, MASK};
use crate::scheme::spec::{Family, Spec, TokenPlace};

impl Spec {
    /// Returns whether the header may contain a secret.
    #[must_use]
    pub fn hides_header(&self, name: &HeaderName) -> bool {
        let own = match self.token_place() {
            Some(TokenPlace::Header { name, .. }) => Some(name),
            _ => None,
        };
        own == Some(name) || hide::is_secret(name.as_str())
    }

    /// Returns path and query with possible secrets masked. If the query contains the token, all of it is masked,
    /// because a parameter name can be written in many forms.
    #[must_use]
    pub fn shown_target(&self, target: &str) -> String {
        match (self.token_place(), target.split_once('?')) {
            (Some(TokenPlace::Query(_)), Some((path, _))) => format!("{path}?{MASK}"),
            _ => hide::target(target),
        }
    }

    /// Returns whether the token is part of the body.
    #[must_use]
    pub fn has_token_in_body(&self) -> bool {
        self.token_place().is_some_and(|place| !place.is_in_head())
    }

    fn token_place(&self) -> Option<&TokenPlace> {
        match &self.family {
            Family::Token(token) => Some(&token.place),
            _ => None,
        }
    }
}

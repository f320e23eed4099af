//! What of a request nobody is shown, since who has it can send events: what names say, and the place of this scheme's token.

use http::HeaderName;

use crate::net::hide::{self, MASK};
use crate::scheme::spec::{Family, Spec, TokenPlace};

impl Spec {
    /// Whether the header may hold a secret.
    #[must_use]
    pub fn hides_header(&self, name: &HeaderName) -> bool {
        let own = match self.token_place() {
            Some(TokenPlace::Header { name, .. }) => Some(name),
            _ => None,
        };
        own == Some(name) || hide::is_secret(name.as_str())
    }

    /// Path and query without what may be a secret. Where the query holds the token, none of it is shown: a name can be
    /// written in many ways.
    #[must_use]
    pub fn shown_target(&self, target: &str) -> String {
        match (self.token_place(), target.split_once('?')) {
            (Some(TokenPlace::Query(_)), Some((path, _))) => format!("{path}?{MASK}"),
            _ => hide::target(target),
        }
    }

    /// Whether the token is a part of the body.
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

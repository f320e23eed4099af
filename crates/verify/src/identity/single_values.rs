//! Rejects requests that repeat a header, parameter or form field that identifies the event.
//!
//! The gate reads an event's identity from it, and the app may read the other occurrence. Then the gate would filter,
//! deduplicate and count one event while the app works on another. Equal values are rejected too: no sender repeats
//! them.

use crate::scheme::form::{self, FormField};
use crate::scheme::material::read_query;
use crate::scheme::spec::FieldLocation;
use crate::scheme::{MaterialFault, RequestHead};
use http::HeaderName;

use crate::error::VerifyError;

/// The fields of a form, or why it cannot be read.
pub(super) type FormFields<'b> = Result<Vec<FormField<'b>>, &'static str>;

/// The names that may occur only once in a request of one route.
#[derive(Default)]
pub(super) struct OnceNames {
    headers: Vec<HeaderName>,
    queries: Vec<Box<str>>,
    forms: Vec<Box<str>>,
}

impl OnceNames {
    /// Collects the names in these locations, and these headers.
    pub(super) fn collect<'f>(
        fields: impl IntoIterator<Item = &'f FieldLocation>,
        headers: &[HeaderName],
    ) -> Self {
        let mut names = Self::default();
        fields.into_iter().for_each(|field| names.add(field));
        for name in headers {
            insert(&mut names.headers, name.clone());
        }
        names
    }

    fn add(&mut self, field: &FieldLocation) {
        match field {
            FieldLocation::Header(name) => insert(&mut self.headers, name.clone()),
            FieldLocation::Query(name) => insert(&mut self.queries, name.as_str().into()),
            FieldLocation::Form(name) | FieldLocation::FormJson(name, _) => {
                insert(&mut self.forms, name.as_str().into());
            }
            FieldLocation::Json(_) | FieldLocation::Claim(_) => {}
        }
    }

    /// Rejects a request in which one of the names occurs more than once. Returns the fields of its form, if the route
    /// reads any, so that the form is parsed once.
    pub(super) fn check<'b>(
        &self,
        head: &RequestHead<'_>,
        body: &'b [u8],
    ) -> Result<Option<FormFields<'b>>, VerifyError> {
        let is_repeated = |name: &HeaderName| head.headers.get_all(name).iter().nth(1).is_some();
        if self.headers.iter().any(is_repeated) {
            return refused("a header that identifies the event occurs more than once");
        }
        // `read_query` reports a repeated parameter as malformed.
        let is_repeated = |name: &str| {
            let found = read_query(head, name);
            matches!(found, Err(MaterialFault::Malformed { .. }))
        };
        if self.queries.iter().any(|name| is_repeated(name)) {
            return refused("a parameter that identifies the event occurs more than once");
        }
        // JSON is never read as a form, whatever the content type says.
        if self.forms.is_empty() || form::is_like_json(body) {
            return Ok(None);
        }
        // A body that is not a form has no repeated form fields.
        let fields = form::read(head.headers, body);
        let is_repeated = |name: &str| {
            let fields = fields.iter().flatten();
            fields.filter(|(key, _)| key == name).nth(1).is_some()
        };
        if self.forms.iter().any(|name| is_repeated(name)) {
            return refused("a form field that identifies the event occurs more than once");
        }
        Ok(Some(fields))
    }
}

/// Adds `name` unless it is present: the event id is often also the dedup key.
fn insert<T: PartialEq>(names: &mut Vec<T>, name: T) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn refused<T>(fault: &'static str) -> Result<T, VerifyError> {
    Err(VerifyError::Identity { fault })
}

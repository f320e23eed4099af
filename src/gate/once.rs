//! Rejects requests that repeat a header, parameter or form field that identifies the event.
//!
//! The gate reads an event's identity from it, and the app may read the other occurrence. Then the gate would filter,
//! deduplicate and count one event while the app works on another. Equal values are rejected too: no sender repeats
//! them.

use http::HeaderName;

use crate::config::model::Route;
use crate::gate::reject::Reject;
use crate::scheme::form;
use crate::scheme::material::read_query;
use crate::scheme::spec::Field;
use crate::scheme::{Head, MaterialFault};

/// The names that may occur only once in a request of one route.
#[derive(Default)]
pub(super) struct OnceNames {
    headers: Vec<HeaderName>,
    queries: Vec<Box<str>>,
    forms: Vec<Box<str>>,
}

impl OnceNames {
    /// Collects the locations of ids, types and versions, and the headers that conditions read.
    pub(super) fn compile(route: &Route) -> Self {
        let mut names = Self::default();
        let spec = &route.scheme;
        for fields in [&spec.event_id, &spec.event_type, &spec.version] {
            fields.iter().for_each(|field| names.add(field));
        }
        let of_key = route.dedup.iter().flat_map(|dedup| dedup.key.fields());
        let of_tenant = route.tenant.iter().flat_map(|tenant| &tenant.place);
        of_key.chain(of_tenant).for_each(|field| names.add(field));
        let destinations = route.destinations.iter();
        let conditions = destinations.filter_map(|destination| destination.when.as_ref());
        for when in route.when.iter().chain(conditions) {
            when.headers()
                .for_each(|name| insert(&mut names.headers, name.clone()));
        }
        names
    }

    fn add(&mut self, field: &Field) {
        match field {
            Field::Header(name) => insert(&mut self.headers, name.clone()),
            Field::Query(name) => insert(&mut self.queries, name.as_str().into()),
            Field::Form(name) | Field::FormJson(name, _) => {
                insert(&mut self.forms, name.as_str().into());
            }
            Field::Json(_) | Field::Claim(_) => {}
        }
    }

    /// Rejects a request in which one of the names occurs more than once.
    ///
    /// # Errors
    /// [`Reject::Identity`].
    pub(super) fn check(&self, head: &Head<'_>, body: &[u8]) -> Result<(), Reject> {
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
            return Ok(());
        }
        // A body that is not a form has no repeated form fields.
        let Ok(fields) = form::read(head.headers, body) else {
            return Ok(());
        };
        let is_repeated = |name: &str| {
            fields
                .iter()
                .filter(|(key, _)| key == name)
                .nth(1)
                .is_some()
        };
        if self.forms.iter().any(|name| is_repeated(name)) {
            return refused("a form field that identifies the event occurs more than once");
        }
        Ok(())
    }
}

/// Adds `name` unless it is present: the event id is often also the dedup key.
fn insert<T: PartialEq>(names: &mut Vec<T>, name: T) {
    if !names.contains(&name) {
        names.push(name);
    }
}

fn refused(fault: &'static str) -> Result<(), Reject> {
    Err(Reject::Identity { fault })
}

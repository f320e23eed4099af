//! The customers that a request names, where the sender signs for all of them with one key.
//!
//! An event can name several: HighLevel sends the location, the company, or a list of locations. Each of them has to be
//! one of the route's own, since the event is about all of them.

use crate::scheme::spec::FieldLocation;

use crate::identity::walk::{WalkedValue, walk_values};

/// Tenants that are read from one request. An event that names more is refused.
const MAX_TENANTS: usize = 10_000;

/// The step of a path that is each element of a list.
const EACH: &str = "*";

/// The customers that one request names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TenantNames {
    names: Vec<Box<str>>,
    /// A location holds something that cannot be read.
    is_unclear: bool,
}

/// A location that holds a list of tenants.
pub(super) struct TenantList {
    steps: Box<[Box<str>]>,
    /// The steps from the list on. What is there and is not a list of texts is unclear.
    inner: usize,
}

impl TenantNames {
    /// Returns whether the request names a tenant, and only tenants among `allowed`.
    #[must_use]
    pub fn are_among(&self, allowed: &[String]) -> bool {
        let is_allowed = |name: &str| allowed.iter().any(|one| one == name);
        !self.is_unclear && !self.names.is_empty() && self.names.iter().all(|name| is_allowed(name))
    }

    /// Adds a tenant. An empty text names nothing.
    pub(super) fn add(&mut self, name: &str) {
        if name.is_empty() || self.names.last().is_some_and(|last| **last == *name) {
            return;
        }
        // Past the bound the request is rejected: an unread name could be another customer's.
        match self.names.len() < MAX_TENANTS {
            true => self.names.push(name.into()),
            false => self.is_unclear = true,
        }
    }

    pub(super) fn set_unclear(&mut self) {
        self.is_unclear = true;
    }
}

impl TenantList {
    /// Returns the list at a location; `None` if the location has a single value.
    pub(super) fn of(field: &FieldLocation) -> Option<Self> {
        let FieldLocation::Json(steps) = field else {
            return None;
        };
        let at = steps.iter().position(|step| step == EACH)?;
        Some(Self {
            steps: steps.iter().map(|step| step.as_str().into()).collect(),
            inner: steps.len().saturating_sub(at),
        })
    }

    /// Adds the tenants of the list in this body.
    pub(super) fn read(&self, body: &[u8], names: &mut TenantNames) {
        let is_whole = walk_values(body, &self.steps, self.inner, &mut |value| match value {
            WalkedValue::Text(text) => names.add(text),
            // A null names no account, so it neither allows nor forbids.
            WalkedValue::Null => {}
            WalkedValue::Odd => names.set_unclear(),
        });
        // A truncated body may have named more customers.
        if !is_whole {
            names.set_unclear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(body: &str) -> TenantNames {
        let steps = ["locations", "*"].map(str::to_owned).to_vec();
        let list = TenantList::of(&FieldLocation::Json(steps)).unwrap();
        let mut names = TenantNames::default();
        list.read(body.as_bytes(), &mut names);
        names
    }

    /// Fails when one element of a list is left out, or something that is not a list of texts counts as no tenant.
    #[test]
    fn each_tenant_of_a_list_has_to_be_allowed() {
        let allowed = ["a", "b"].map(str::to_owned);
        for (body, expected) in [
            (r#"{"locations":["a"]}"#, true),
            (r#"{"locations":["a","b","a",null]}"#, true),
            (r#"{"locations":["a","x"]}"#, false),
            (r#"{"locations":["x","a"]}"#, false),
            (r#"{"locations":[]}"#, false),
            (r#"{"locations":null}"#, false),
            ("{}", false),
            (r#"{"locations":["a",{"id":"b"}]}"#, false),
            (r#"{"locations":"a"}"#, false),
            (r#"{"locations":["a"],"locations":["x"]}"#, false),
            (r#"{"locations":["a"],"b":"#, false),
        ] {
            assert_eq!(names(body).are_among(&allowed), expected, "{body}");
        }
        let many: Vec<String> = (0..=MAX_TENANTS).map(|n| n.to_string()).collect();
        let body = serde_json::json!({ "locations": many }).to_string();
        assert!(!names(&body).are_among(&many));
    }
}

//! Names and values of a query or a form, in their order.
//!
//! Filters are part of the address, so that an operator can bookmark a view, share it and go back to it.

use std::borrow::Cow;

use url::form_urlencoded;

use crate::admin::path::with_query;

/// A list of names with values. An empty value means no filter and is left out.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub(super) struct QueryPairs {
    pairs: Vec<(String, String)>,
}

impl QueryPairs {
    pub(super) fn parse(text: Option<&str>) -> Self {
        Self::from_pairs(form_urlencoded::parse(text.unwrap_or_default().as_bytes()))
    }

    pub(super) fn from_pairs<'a>(
        pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    ) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            // Pasted ids often have white space around them.
            query.push(&name, value.trim());
        }
        query
    }

    pub(super) fn push(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.pairs.push((name.to_owned(), value.to_owned()));
        }
    }

    pub(super) fn first(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.iter();
        let pair = pairs.find(|(found, _)| found == name)?;
        Some(&pair.1)
    }

    /// Returns the first value of a name, or an empty text.
    pub(super) fn text(&self, name: &str) -> &str {
        self.first(name).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Returns a query with these names only, each at most once.
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let mut query = Self::default();
        for name in names {
            query.push(name, self.text(name));
        }
        query
    }

    /// Returns a query in which the name has this value only; an empty value removes the name.
    pub(super) fn with(&self, name: &str, value: &str) -> Self {
        let mut query = self.clone();
        query.pairs.retain(|(found, _)| found != name);
        query.push(name, value);
        query
    }

    /// Appends this query to a path.
    pub(super) fn after(&self, path: &str) -> String {
        with_query(path, &self.pairs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_says_nothing() {
        let query = QueryPairs::parse(Some("route=&type=push.%2A&id=a%26b&cursor=7"));
        assert_eq!(query.first("route"), None);
        assert_eq!(query.text("type"), "push.*");
        let first = query.with("cursor", "");
        assert_eq!(first.after("/e"), "/e?type=push.*&id=a%26b");
        assert_eq!(query.only(&["id"]).after("/e"), "/e?id=a%26b");
        assert_eq!(QueryPairs::default().after("/e"), "/e");
    }
}

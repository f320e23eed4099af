//! The signed text: what it is made of.

use crate::scheme::spec::{Algorithm, Encoding};

/// The signed text as parts: `"{timestamp}.{body}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// In order.
    pub parts: Vec<Part>,
}

impl Template {
    /// Whether the text changes with every byte of the body.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        self.any(&|part| {
            matches!(
                part,
                Part::Body
                    | Part::BodyDigest(..)
                    | Part::BodyJsonString
                    | Part::BodyOrForm(_)
                    | Part::FormSorted
                    | Part::UrlFormSorted
                    | Part::FormOrDigest(_)
            )
        })
    }

    /// Whether a part stands in it, in a group or not.
    #[must_use]
    pub fn holds(&self, wanted: &Part) -> bool {
        self.any(&|part| part == wanted)
    }

    /// Whether it can be fed as the request arrives: nothing out of the body but the body itself, once.
    #[must_use]
    pub fn is_streamable(&self) -> bool {
        let bodies = self.parts.iter().filter(|part| **part == Part::Body);
        bodies.count() == 1 && self.parts.iter().all(Part::is_streamable)
    }

    /// Whether any part, those in groups included, is such a part.
    #[must_use]
    pub fn any(&self, is_such: &impl Fn(&Part) -> bool) -> bool {
        let mut found = false;
        self.visit(&mut |part| found |= is_such(part));
        found
    }

    /// Shows every part, those in groups included.
    pub fn visit(&self, visit: &mut impl FnMut(&Part)) {
        for part in &self.parts {
            match part {
                Part::Group(parts) => parts.iter().for_each(&mut *visit),
                part => visit(part),
            }
        }
    }
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Literal(String),
    /// `{body}`: the raw body.
    Body,
    /// `{timestamp}`: the text of the timestamp as it was sent.
    Timestamp,
    /// `{id}`: the text of the event id, which must then stand in the head.
    Id,
    /// `{method}`: the method in capitals.
    Method,
    /// `{lower:method}`: the same in lower case.
    LowerMethod,
    /// `{path}`: the path without the query, as it was sent.
    Path,
    /// `{path_query}`: the path and, where there is one, `?` and the query, as they were sent.
    PathQuery,
    /// `{url}`: the route's `public_url` origin with path and query as they were sent.
    Url,
    /// `{host}`: the host of `public_url`, without a port.
    Host,
    /// `{header:NAME}`: the value of a header, which must be there exactly once.
    Header(http::HeaderName),
    /// `{lower:header:NAME}`: the same in lower case.
    LowerHeader(http::HeaderName),
    /// `{url_no_query}`: the origin of `public_url` and the path as it was sent.
    UrlNoQuery,
    /// `{url_decoded}`: the URL with the characters unescaped that HubSpot's v3 signatures unescape.
    UrlDecoded,
    /// `{entry:NAME}`: another entry of the list that the signature stands in.
    Entry(String),
    /// `{query:NAME}`: a query parameter, unescaped.
    Query(String),
    /// `{lower:query:NAME}`: the same in lower case.
    LowerQuery(String),
    /// `{form:NAME}`: a field of a form body, unescaped.
    Form(String),
    /// `{json:/pointer}`: a text, an integer or a boolean of a JSON body.
    Json(Vec<String>),
    /// `{secret}`: the key; in plain digests only.
    Secret,
    /// `{body:sha256:hex}`: a digest of the body.
    BodyDigest(Algorithm, Encoding),
    /// `{body_or_form:NAME}`: the body, or, of a form, the one field that it has.
    BodyOrForm(String),
    /// `{body:json_string}`: the body as one JSON string.
    BodyJsonString,
    /// `{form_sorted}`: name and value of each field of a form body, sorted, equal ones once.
    FormSorted,
    /// `{url_form_sorted}`: the URL with the parameters of its query sorted, and the sorted fields of a form, as Plivo
    /// joins them.
    UrlFormSorted,
    /// `{form_or_digest:NAME}`: the same for a form body; any other body adds nothing, and its hexadecimal SHA-256 must
    /// be the query parameter NAME.
    FormOrDigest(String),
    /// `{listed_headers:NAME}`: the headers that the header NAME lists, as `name:value` with `;` between them.
    ListedHeaders(http::HeaderName),
    /// `[...]`: parts that vanish together where a value among them is not there.
    Group(Vec<Self>),
}

impl Part {
    /// Whether it can be fed before or after the body without looking into it.
    fn is_streamable(&self) -> bool {
        matches!(
            self,
            Self::Literal(_)
                | Self::Body
                | Self::Timestamp
                | Self::Id
                | Self::Method
                | Self::Path
                | Self::PathQuery
                | Self::Url
                | Self::Header(_)
        )
    }
}

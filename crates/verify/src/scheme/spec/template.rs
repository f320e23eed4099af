//! Template of the signed text, as a list of parts.

use crate::scheme::spec::algorithm::{DigestAlgorithm, SignatureEncoding};

/// Signed text as parts: `"{timestamp}.{body}"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTemplate {
    /// Parts in the order of the text.
    pub parts: Vec<TemplatePart>,
}

impl SignedTemplate {
    /// Returns whether every byte of the body affects the text.
    #[must_use]
    pub fn signs_body(&self) -> bool {
        self.any(&|part| {
            matches!(
                part,
                TemplatePart::Body
                    | TemplatePart::BodyDigest(..)
                    | TemplatePart::BodyJsonString
                    | TemplatePart::BodyOrForm(_)
                    | TemplatePart::FormSorted
                    | TemplatePart::UrlFormSorted
                    | TemplatePart::FormOrDigest(_)
            )
        })
    }

    /// Returns whether the template contains a part, inside a group or not.
    #[must_use]
    pub fn holds(&self, wanted: &TemplatePart) -> bool {
        self.any(&|part| part == wanted)
    }

    /// Returns whether the text can be fed while the body arrives: it contains the body once, and no other value from
    /// it.
    #[must_use]
    pub fn is_streamable(&self) -> bool {
        // Pieces of the body are not stored, so they can be fed only once.
        let bodies = self
            .parts
            .iter()
            .filter(|part| **part == TemplatePart::Body);
        bodies.count() == 1 && self.parts.iter().all(TemplatePart::is_streamable)
    }

    /// Returns whether any part fulfills a condition, including parts inside groups.
    #[must_use]
    pub fn any(&self, is_such: &impl Fn(&TemplatePart) -> bool) -> bool {
        let mut found = false;
        self.visit(&mut |part| found |= is_such(part));
        found
    }

    /// Visits every part, including parts inside groups.
    pub fn visit(&self, visit: &mut impl FnMut(&TemplatePart)) {
        for part in &self.parts {
            match part {
                TemplatePart::Group(parts) => parts.iter().for_each(&mut *visit),
                part => visit(part),
            }
        }
    }
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Literal text of the template.
    Literal(String),
    /// `{body}`: the raw bytes of the body.
    Body,
    /// `{timestamp}`: the text of the timestamp as it was sent.
    Timestamp,
    /// `{id}`: the text of the event id, which must then be in the head.
    Id,
    /// `{method}`: the method in capitals.
    Method,
    /// `{lower:method}`: the method in lower case.
    LowerMethod,
    /// `{path}`: the path without the query, as it was sent.
    Path,
    /// `{path_query}`: the path as it was sent, with `?` and the query if there is one.
    PathQuery,
    /// `{url}`: the route's `public_url`, followed by path and query as they were sent.
    Url,
    /// `{host}`: the host of `public_url`, without a port.
    Host,
    /// `{header:NAME}`: the value of a header, which must occur exactly once.
    Header(http::HeaderName),
    /// `{lower:header:NAME}`: the value of a header in lower case.
    LowerHeader(http::HeaderName),
    /// `{url_no_query}`: the route's `public_url`, followed by the path as it was sent.
    UrlNoQuery,
    /// `{url_decoded}`: the URL, with the escapes decoded that HubSpot's v3 signatures decode.
    UrlDecoded,
    /// `{entry:NAME}`: another entry of the list that contains the signature.
    Entry(String),
    /// `{query:NAME}`: a query parameter, unescaped.
    Query(String),
    /// `{lower:query:NAME}`: a query parameter in lower case.
    LowerQuery(String),
    /// `{form:NAME}`: a field of a form body, unescaped.
    Form(String),
    /// `{json:/pointer}`: a string, an integer or a boolean of a JSON body.
    Json(Vec<String>),
    /// `{secret}`: the key; only in plain digests.
    Secret,
    /// `{body:sha256:hex}`: a digest of the body.
    BodyDigest(DigestAlgorithm, SignatureEncoding),
    /// `{body_or_form:NAME}`: the body, or the only field of a form.
    BodyOrForm(String),
    /// `{body:json_string}`: the body, encoded as one JSON string.
    BodyJsonString,
    /// `{form_sorted}`: names and values of a form's fields, sorted, without duplicates.
    FormSorted,
    /// `{url_form_sorted}`: the URL with sorted query parameters, and the sorted fields of a form, joined as Plivo
    /// does.
    UrlFormSorted,
    /// `{form_or_digest:NAME}`: `{form_sorted}` for a form body. Any other body adds nothing, and its hexadecimal
    /// SHA-256 must be the query parameter NAME.
    FormOrDigest(String),
    /// `{listed_headers:NAME}`: the headers that the header NAME lists, as `name:value` with `;` between them.
    ListedHeaders(http::HeaderName),
    /// `[...]`: parts that are left out together if a value in them is missing.
    Group(Vec<Self>),
}

impl TemplatePart {
    /// Returns whether the part can be fed before or after the body without reading the body.
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

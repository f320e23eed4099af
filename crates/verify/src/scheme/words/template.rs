//! The signed text of a scheme in words.

use crate::scheme::spec::{SchemeLocation, TemplatePart};

/// Formats the template as a list: `timestamp, ".", body`.
pub(super) fn signed_text(parts: &[TemplatePart]) -> String {
    let parts: Vec<String> = parts.iter().map(part).collect();
    parts.join(", ")
}

fn part(part: &TemplatePart) -> String {
    match part {
        TemplatePart::Literal(text) => literal(text),
        TemplatePart::Body => "the raw body".to_owned(),
        TemplatePart::Timestamp => "the time as sent".to_owned(),
        TemplatePart::Id => "the event id".to_owned(),
        TemplatePart::Method => "the method".to_owned(),
        TemplatePart::LowerMethod => "the method in lower case".to_owned(),
        TemplatePart::Host => "the host of `public_url`".to_owned(),
        TemplatePart::Entry(name) => format!("the entry `{name}` beside the signature"),
        TemplatePart::Path => "the path".to_owned(),
        TemplatePart::PathQuery => "path and query".to_owned(),
        TemplatePart::Url => "the URL (`public_url`, then path and query as sent)".to_owned(),
        TemplatePart::UrlNoQuery => {
            "the URL without its query (`public_url`, then the path)".to_owned()
        }
        TemplatePart::UrlDecoded => "the URL with some characters unescaped".to_owned(),
        TemplatePart::Header(name) => SchemeLocation::Header(name.clone()).to_string(),
        TemplatePart::LowerHeader(name) => {
            format!("{} in lower case", SchemeLocation::Header(name.clone()))
        }
        TemplatePart::Query(name) => SchemeLocation::Query(name.clone()).to_string(),
        TemplatePart::LowerQuery(name) => {
            format!("{} in lower case", SchemeLocation::Query(name.clone()))
        }
        TemplatePart::Form(name) => SchemeLocation::Form(name.clone()).to_string(),
        TemplatePart::Json(pointer) => SchemeLocation::Json(pointer.clone()).to_string(),
        TemplatePart::Secret => "the secret".to_owned(),
        TemplatePart::BodyDigest(algorithm, form) => {
            format!("the {} of the body in {}", algorithm.name(), form.name())
        }
        TemplatePart::BodyOrForm(name) => {
            format!("the raw body (of a form, its only field `{name}`)")
        }
        TemplatePart::BodyJsonString => "the body as a JSON string".to_owned(),
        TemplatePart::FormSorted => "the fields of the form, sorted by name".to_owned(),
        TemplatePart::UrlFormSorted => {
            "the URL with its query sorted by name, and the fields of the form sorted by name"
                .to_owned()
        }
        TemplatePart::FormOrDigest(name) => format!(
            "the fields of a form, sorted by name (for other bodies, `{name}` in the query is the SHA-256)"
        ),
        TemplatePart::ListedHeaders(name) => format!("the headers that `{name}` lists"),
        TemplatePart::Group(parts) => format!("if present: {}", signed_text(parts)),
    }
}

/// Quotes a literal text with the kind of quotes that it does not contain.
fn literal(text: &str) -> String {
    if text.contains('"') && !text.contains('\'') && !text.contains(char::is_control) {
        format!("'{text}'")
    } else {
        format!("{text:?}")
    }
}

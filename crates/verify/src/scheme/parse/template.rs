//! Parser from the text of a template to its parts.

use crate::document::table::{TomlValue, ValueFault};
use crate::document::value;
use crate::scheme::parse::locations::parse_pointer;
use crate::scheme::spec::{DigestAlgorithm, SignatureEncoding, SignedTemplate, TemplatePart};

const PART_NAMES: &str = "`{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}`, `{path_query}`, `{url}`, `{header:NAME}`, `{query:NAME}`, `{form:NAME}`, `{json:/POINTER}`, `{body:sha256:hex}` and a few more";

/// Reads a template. `Scheme::check` decides whether its parts fit the scheme.
pub(super) fn template(value: &TomlValue<'_>) -> Result<SignedTemplate, ValueFault> {
    parse_template(&value::text(value)?)
}

/// Parses a template such as `"{timestamp}.{body}"`; `{{` and `}}` mean literal braces, `[[` and `]]` literal brackets.
pub(super) fn parse_template(text: &str) -> Result<SignedTemplate, ValueFault> {
    let mut reader = TemplateReader::default();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}', '[', ']']) {
        let (before, from) = rest.split_at_checked(at).unwrap_or((rest, ""));
        reader.literal.push_str(before);
        let doubled = [("{{", '{'), ("}}", '}'), ("[[", '['), ("]]", ']')].into_iter();
        let mut doubled =
            // A doubled brace or bracket must be recognized before a single one opens a part.
            doubled.filter_map(|(pair, plain)| Some((plain, from.strip_prefix(pair)?)));
        rest = if let Some((plain, after)) = doubled.next() {
            reader.literal.push(plain);
            after
        } else {
            reader.take(from)?
        };
    }
    reader.literal.push_str(rest);
    reader.end_literal();
    match reader.group {
        Some(_) => Err(no_partner("bracket")),
        None => Ok(SignedTemplate {
            parts: reader.parts,
        }),
    }
}

#[derive(Default)]
struct TemplateReader {
    parts: Vec<TemplatePart>,
    /// Parts of the group that is open; `None` outside of a group.
    group: Option<Vec<TemplatePart>>,
    literal: String,
}

impl TemplateReader {
    /// Reads the part or group that begins with a single brace or bracket. Returns the text after it.
    fn take<'t>(&mut self, from: &'t str) -> Result<&'t str, ValueFault> {
        if let Some(inner) = from.strip_prefix('{') {
            let (name, after) = inner.split_once('}').ok_or_else(|| no_partner("brace"))?;
            self.end_literal();
            let part = part(name)?;
            // A group may be left out, and then the digest would not prove the secret.
            if part == TemplatePart::Secret && self.group.is_some() {
                return Err(ValueFault::new(
                    "`{secret}` is inside a group in brackets",
                    "move it out of the brackets",
                ));
            }
            self.push(part);
            return Ok(after);
        }
        if let Some(after) = from.strip_prefix('[') {
            self.end_literal();
            if self.group.replace(Vec::new()).is_some() {
                return Err(ValueFault::new(
                    "a group in brackets is inside another group",
                    "write groups one after the other; `[[` and `]]` mean literal brackets",
                ));
            }
            return Ok(after);
        }
        if let Some(after) = from.strip_prefix(']') {
            self.end_literal();
            let group = self.group.take().ok_or_else(|| no_partner("bracket"))?;
            self.parts.push(TemplatePart::Group(group));
            return Ok(after);
        }
        Err(no_partner("brace"))
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let literal = std::mem::take(&mut self.literal);
            self.push(TemplatePart::Literal(literal));
        }
    }

    fn push(&mut self, part: TemplatePart) {
        match &mut self.group {
            Some(group) => group.push(part),
            None => self.parts.push(part),
        }
    }
}

fn no_partner(what: &str) -> ValueFault {
    ValueFault::new(
        format!("the signed text has a {what} without its counterpart"),
        format!("the parts are {PART_NAMES}; double a brace or bracket to use it literally"),
    )
}

fn part(name: &str) -> Result<TemplatePart, ValueFault> {
    Ok(match name {
        "body" => TemplatePart::Body,
        "timestamp" => TemplatePart::Timestamp,
        "id" => TemplatePart::Id,
        "method" => TemplatePart::Method,
        "path" => TemplatePart::Path,
        "path_query" => TemplatePart::PathQuery,
        "url" => TemplatePart::Url,
        "url_no_query" => TemplatePart::UrlNoQuery,
        "lower:method" => TemplatePart::LowerMethod,
        "host" => TemplatePart::Host,
        "url_form_sorted" => TemplatePart::UrlFormSorted,
        "url_decoded" => TemplatePart::UrlDecoded,
        "secret" => TemplatePart::Secret,
        "form_sorted" => TemplatePart::FormSorted,
        "body:json_string" => TemplatePart::BodyJsonString,
        // All other parts have a name or an argument after a colon.
        _ => named_part(name).ok_or_else(|| {
            ValueFault::new(
                format!("`{{{name}}}` is not a part of signed texts"),
                format!("the parts are {PART_NAMES}"),
            )
        })?,
    })
}

/// Parses a part that contains a name, such as `header:NAME`.
fn named_part(text: &str) -> Option<TemplatePart> {
    let (kind, name) = text.split_once(':')?;
    if name.is_empty() {
        return None;
    }
    Some(match kind {
        "header" => TemplatePart::Header(name.parse().ok()?),
        "lower" => match name.split_once(':')? {
            ("header", name) => TemplatePart::LowerHeader(name.parse().ok()?),
            ("query", name) if !name.is_empty() => TemplatePart::LowerQuery(name.to_owned()),
            _ => return None,
        },
        "listed_headers" => TemplatePart::ListedHeaders(name.parse().ok()?),
        "entry" => TemplatePart::Entry(name.to_owned()),
        "query" => TemplatePart::Query(name.to_owned()),
        "form" => TemplatePart::Form(name.to_owned()),
        "body_or_form" => TemplatePart::BodyOrForm(name.to_owned()),
        "form_or_digest" => TemplatePart::FormOrDigest(name.to_owned()),
        "json" => TemplatePart::Json(parse_pointer(name)?),
        "body" => body_digest(name)?,
        _ => return None,
    })
}

/// Parses the digest of a body part, such as `sha256:hex`.
fn body_digest(text: &str) -> Option<TemplatePart> {
    let (algorithm, encoding) = text.split_once(':')?;
    let algorithm = match algorithm {
        "sha1" => DigestAlgorithm::Sha1,
        "sha256" => DigestAlgorithm::Sha256,
        "sha384" => DigestAlgorithm::Sha384,
        "sha512" => DigestAlgorithm::Sha512,
        _ => return None,
    };
    let encoding = match encoding {
        "hex" => SignatureEncoding::Hex,
        "base64" => SignatureEncoding::Base64,
        "base64url" => SignatureEncoding::Base64Url,
        "base64url_unpadded" => SignatureEncoding::Base64UrlUnpadded,
        _ => return None,
    };
    Some(TemplatePart::BodyDigest(algorithm, encoding))
}

//! The signature base (RFC 9421 section 2.5): one line per covered component, then the signature's parameters.
//!
//! All of it is in the head, and the work is linear in the head: at most [`MAX_COMPONENTS`] components, at most
//! [`MAX_BASE`] bytes of values in total, and at most [`MAX_PARSED`] bytes for each value that is parsed.

use std::borrow::Cow;
use std::cell::OnceCell;

use data_encoding::BASE64;
use http::HeaderName;
use sfv::{Dictionary, FieldType as _, InnerList, Item, List, ListEntry, Parser};

use crate::scheme::escape::escape_query;
use crate::scheme::head::RequestHead;
use crate::scheme::http_signature::component;
use crate::scheme::http_signature::field_type::FieldType;
use crate::scheme::http_signature::origin::PublicOrigin;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::read_head;
use crate::scheme::spec::{ComponentSource, FieldForm, SignatureComponent};

/// Limit of components in one signature.
pub(super) const MAX_COMPONENTS: usize = 32;

/// Largest signed text of one signature, in bytes.
const MAX_BASE: usize = 64 * 1024;

/// Largest field that is parsed for one component, in bytes.
const MAX_PARSED: usize = 8 * 1024;

/// Limit of query parameters, if one of them is signed.
const MAX_QUERY_PARAMS: usize = 512;

/// Component values of one request, each computed on first use.
pub(super) struct ComponentValues<'r> {
    head: &'r RequestHead<'r>,
    origin: Option<&'r PublicOrigin>,
    query: OnceCell<Option<Vec<(String, String)>>>,
}

impl<'r> ComponentValues<'r> {
    /// Wraps the head; computes nothing yet.
    pub(super) fn new(head: &'r RequestHead<'r>, origin: Option<&'r PublicOrigin>) -> Self {
        Self {
            head,
            origin,
            query: OnceCell::new(),
        }
    }

    /// Composes the signed text of one signature, and parses its components.
    pub(super) fn base(
        &self,
        list: &InnerList,
    ) -> Result<(Vec<u8>, Vec<SignatureComponent>), MaterialFault> {
        let input = |fault| MaterialFault::malformed("signature-input", fault);
        if list.items.len() > MAX_COMPONENTS {
            return Err(input("covers too many components"));
        }
        let mut components: Vec<SignatureComponent> = Vec::with_capacity(list.items.len());
        let mut base = Vec::new();
        for item in &list.items {
            let component = component::read(item);
            let component = component
                .map_err(|fault| MaterialFault::malformed(&named(&item.serialize()), fault))?;
            // RFC 9421 section 2.5: a component that is in the signature base already is an error.
            let is_known = |one: &SignatureComponent| one.identifier == component.identifier;
            if components.iter().any(is_known) {
                return Err(input("lists a component twice"));
            }
            base.extend_from_slice(component.identifier.as_bytes());
            base.extend_from_slice(b": ");
            base.extend_from_slice(&self.value(&component)?);
            base.push(b'\n');
            // Inside the loop: one long header may be covered in several forms, and each adds all of its bytes.
            if base.len() > MAX_BASE {
                return Err(input("covers too many bytes"));
            }
            components.push(component);
        }
        base.extend_from_slice(b"\"@signature-params\": ");
        // RFC 9421 section 2.5: the parameters are the last line, without a line break.
        let parameters = vec![ListEntry::InnerList(list.clone())].serialize();
        base.extend_from_slice(parameters.unwrap_or_default().as_bytes());
        Ok((base, components))
    }

    /// Returns the value of a component: visible ASCII, spaces and tabs.
    fn value(&self, component: &SignatureComponent) -> Result<Cow<'_, [u8]>, MaterialFault> {
        let malformed = |fault| MaterialFault::malformed(&named(&component.identifier), fault);
        let value = match &component.source {
            ComponentSource::Header(name, form) => self.field(name, form),
            ComponentSource::Method => Ok(self.head.method.as_str().as_bytes().into()),
            ComponentSource::TargetUri => self.origin().map(|origin| {
                let target = read_head::path_query(self.head);
                format!(
                    "{}://{}{}{target}",
                    origin.scheme, origin.authority, origin.path
                )
                .into_bytes()
                .into()
            }),
            ComponentSource::Authority => self.origin().map(|one| one.authority.as_bytes().into()),
            ComponentSource::Scheme => self.origin().map(|one| one.scheme.as_bytes().into()),
            ComponentSource::RequestTarget => {
                Ok(self.below_origin(&read_head::path_query(self.head)).into())
            }
            ComponentSource::Path => Ok(self.below_origin(self.head.uri.path()).into()),
            ComponentSource::Query => {
                let query = self.head.uri.query().unwrap_or_default();
                // RFC 9421 section 2.2.7: without a query, the value is the question mark alone.
                Ok(format!("?{query}").into_bytes().into())
            }
            ComponentSource::QueryParam(name) => self.query_param(name),
        };
        let value = value.map_err(malformed)?;
        // RFC 9421 section 2.5: a signature base is ASCII without line breaks.
        if !value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
            return Err(malformed(
                "has a value with characters other than plain ASCII",
            ));
        }
        Ok(value)
    }

    fn origin(&self) -> Result<&'r PublicOrigin, &'static str> {
        self.origin
            .ok_or("needs the called URL, but the route has no `public_url`")
    }

    fn below_origin(&self, target: &str) -> Vec<u8> {
        let base = self.origin.map_or("", |origin| &origin.path);
        format!("{base}{target}").into_bytes()
    }

    fn field(&self, name: &HeaderName, form: &FieldForm) -> Result<Cow<'r, [u8]>, &'static str> {
        let mut lines = self.head.headers.get_all(name).iter();
        let first = lines
            .next()
            .ok_or("is covered, but the request has no such header")?;
        let rest: Vec<&[u8]> = lines.map(|line| line.as_bytes().trim_ascii()).collect();
        let first = first.as_bytes().trim_ascii();
        // RFC 9421 section 2.1.3: each line becomes one byte sequence, so that commas in values stay clear.
        if *form == FieldForm::Bytes {
            let lines = std::iter::once(first).chain(rest);
            let lines: Vec<String> = lines
                .map(|line| format!(":{}:", BASE64.encode(line)))
                .collect();
            return Ok(lines.join(", ").into_bytes().into());
        }
        let joined = match rest.is_empty() {
            true => Cow::Borrowed(first),
            false => {
                let lines: Vec<&[u8]> = std::iter::once(first).chain(rest).collect();
                Cow::Owned(lines.join(&b", "[..]))
            }
        };
        match form {
            FieldForm::Plain | FieldForm::Bytes => Ok(joined),
            FieldForm::Structured => structured(name, &joined).map(Cow::Owned),
            FieldForm::Member(key) => member(&joined, key).map(Cow::Owned),
        }
    }

    fn query_param(&self, name: &str) -> Result<Cow<'_, [u8]>, &'static str> {
        let parse = || {
            let query = self.head.uri.query().unwrap_or_default();
            // The query is parsed before anything is verified, so its length is bounded.
            if memchr::memchr_iter(b'&', query.as_bytes()).count() >= MAX_QUERY_PARAMS {
                return None;
            }
            let pairs = url::form_urlencoded::parse(query.as_bytes());
            let pairs = pairs.map(|(name, value)| (escape_query(&name), escape_query(&value)));
            Some(pairs.collect())
        };
        let pairs = self.query.get_or_init(parse).as_ref();
        let pairs = pairs.ok_or("is in a query with too many parameters")?;
        let mut found = pairs.iter().filter(|(known, _)| known == name);
        let (_, value) = found.next().ok_or("is not in the query")?;
        // Of two equal parameters the app may use the other one.
        if found.next().is_some() {
            return Err("occurs twice in the query");
        }
        Ok(value.as_bytes().into())
    }
}

/// Serializes a field of a known type again, in its canonical form.
fn structured(name: &HeaderName, value: &[u8]) -> Result<Vec<u8>, &'static str> {
    if value.len() > MAX_PARSED {
        return Err("is too long for a structured field");
    }
    let parser = Parser::new(value);
    let text = match FieldType::of(name) {
        Some(FieldType::Dictionary) => parser.parse::<Dictionary>().map(|one| one.serialize()),
        Some(FieldType::List) => parser.parse::<List>().map(|one| one.serialize()),
        Some(FieldType::Item) => parser.parse::<Item>().map(|one| Some(one.serialize())),
        None => return Err("is a structured field of a type that hookgate does not support"),
    };
    let text = text.map_err(|_| "is not a valid structured field of its type")?;
    Ok(text.unwrap_or_default().into_bytes())
}

/// Serializes one member of a dictionary field.
fn member(value: &[u8], key: &str) -> Result<Vec<u8>, &'static str> {
    if value.len() > MAX_PARSED {
        return Err("is too long for a structured field");
    }
    let dictionary = Parser::new(value).parse::<Dictionary>();
    let mut dictionary = dictionary.map_err(|_| "is not a dictionary")?;
    let found = dictionary
        .swap_remove(key)
        .ok_or("is not in the dictionary")?;
    Ok(vec![found].serialize().unwrap_or_default().into_bytes())
}

/// Formats a component for a message.
fn named(identifier: &str) -> String {
    format!("the component {identifier}")
}

//! Component identifiers (RFC 9421 section 2), from a signature or from a config.
//!
//! A component that this verifier cannot compute is rejected, never skipped. Otherwise the signature would cover
//! something else than the operator expects.

use sfv::{BareItem, FieldType as _, Item, Parser};

use crate::scheme::http_signature::field_type::FieldType;
use crate::scheme::spec::{ComponentSource, FieldForm, SignatureComponent};

/// Parses an identifier as a config writes it: `@path`, `@query-param;name="id"`, or in the RFC's own form with the
/// name in quotes.
pub(in crate::scheme) fn parse(text: &str) -> Result<SignatureComponent, &'static str> {
    let quoted;
    let text = if text.starts_with('"') {
        text
    } else {
        let at = text.find(';').unwrap_or(text.len());
        let (name, parameters) = text.split_at_checked(at).unwrap_or((text, ""));
        quoted = format!("\"{name}\"{parameters}");
        &quoted
    };
    let item = Parser::new(text).parse::<Item>();
    read(&item.map_err(|_| "is not a valid component identifier")?)
}

/// Parses an identifier from a signature's list of covered components.
pub(super) fn read(item: &Item) -> Result<SignatureComponent, &'static str> {
    let BareItem::String(name) = &item.bare_item else {
        return Err("is not a string in quotes");
    };
    let parameters = ComponentParameters::read(item)?;
    let source = match name.as_str().strip_prefix('@') {
        Some(name) => derived(name, parameters)?,
        None => header(name.as_str(), parameters)?,
    };
    Ok(SignatureComponent {
        identifier: item.serialize(),
        source,
    })
}

/// Component parameters that requests may have.
#[derive(Default)]
struct ComponentParameters {
    is_structured: bool,
    is_bytes: bool,
    key: Option<String>,
    name: Option<String>,
}

impl ComponentParameters {
    fn read(item: &Item) -> Result<Self, &'static str> {
        let mut found = Self::default();
        for (key, value) in &item.params {
            match (key.as_str(), value) {
                ("sf", BareItem::Boolean(true)) => found.is_structured = true,
                ("bs", BareItem::Boolean(true)) => found.is_bytes = true,
                ("key", BareItem::String(key)) => found.key = Some(key.as_str().to_owned()),
                ("name", BareItem::String(name)) => found.name = Some(name.as_str().to_owned()),
                ("req", _) => return Err("has `req`, which is only for signatures of responses"),
                ("tr", _) => return Err("names a trailer, which hookgate does not read"),
                _ => return Err("has a parameter that hookgate does not support"),
            }
        }
        Ok(found)
    }

    fn is_empty(&self) -> bool {
        !self.is_structured && !self.is_bytes && self.key.is_none() && self.name.is_none()
    }
}

fn derived(name: &str, parameters: ComponentParameters) -> Result<ComponentSource, &'static str> {
    if name == "query-param" {
        // `@query-param` allows only its own parameter.
        let is_alone = !parameters.is_structured && !parameters.is_bytes;
        return match parameters {
            ComponentParameters {
                name: Some(name),
                key: None,
                ..
            } if is_alone => Ok(ComponentSource::QueryParam(name)),
            _ => Err("needs the parameter `name` and no other"),
        };
    }
    let source = match name {
        "method" => ComponentSource::Method,
        "target-uri" => ComponentSource::TargetUri,
        "authority" => ComponentSource::Authority,
        "scheme" => ComponentSource::Scheme,
        "request-target" => ComponentSource::RequestTarget,
        "path" => ComponentSource::Path,
        "query" => ComponentSource::Query,
        "status" => return Err("is a component of responses, not of requests"),
        "signature-params" => return Err("is always covered and must not be listed"),
        _ => return Err("is not a derived component that hookgate supports"),
    };
    match parameters.is_empty() {
        true => Ok(source),
        false => Err("has a parameter that does not fit this component"),
    }
}

fn header(name: &str, parameters: ComponentParameters) -> Result<ComponentSource, &'static str> {
    // RFC 9421 section 2.1: only the lower-case form is allowed.
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err("has capital letters in a header name");
    }
    let name = name.parse().map_err(|_| "is not a valid header name")?;
    let form = match parameters {
        ComponentParameters { name: Some(_), .. } => {
            return Err("has a parameter that does not fit this component");
        }
        ComponentParameters {
            is_bytes: true,
            is_structured: false,
            key: None,
            ..
        } => FieldForm::Bytes,
        ComponentParameters { is_bytes: true, .. } => {
            return Err("has `bs` together with `sf` or `key`");
        }
        // A member is serialized strictly, with or without `sf`.
        ComponentParameters { key: Some(key), .. } => FieldForm::Member(key),
        ComponentParameters {
            is_structured: true,
            ..
        } => FieldForm::Structured,
        _ => FieldForm::Plain,
    };
    if form == FieldForm::Structured && FieldType::of(&name).is_none() {
        return Err("has `sf`, but hookgate does not know the type of this structured field");
    }
    Ok(ComponentSource::Header(name, form))
}

//! Genuine events out of the provider files, without their signatures, and the values in them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use hookgate::internals::{
    FieldLocation, JwtLocation, KeyPart, Provider, RequirementRule, SchemeFamily, SchemeLocation,
    SigningTenant, TemplatePart,
};
use hookgate::testing::RequestFile;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

/// Named by events whose file leaves the customer out.
const CUSTOMER: &str = "customer-1";

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    vectors: Vec<Request>,
    #[serde(default)]
    samples: Vec<Request>,
}

/// A vector or a sample, as far as an event is made of it.
#[derive(Deserialize)]
struct Request {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    body: Option<String>,
    body_base64: Option<String>,
    challenge: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    claims: BTreeMap<String, String>,
}

/// The events of one provider, and what its route has to say about its customer.
pub struct Events {
    pub provider: Arc<Provider>,
    /// At least two, each an event of its own.
    pub drafts: Vec<RequestFile>,
    pub audience: Vec<String>,
    pub claims: BTreeMap<String, String>,
}

impl Events {
    /// Reads the samples of a provider file. Where it has fewer than two, changes each part of the key in turn; where
    /// nothing names an event, two requests with equal bytes are two events.
    pub fn read(provider: &Arc<Provider>) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
        let text = std::fs::read_to_string(folder.join(format!("{}.toml", provider.id)));
        let file: File = toml::from_str(&text.unwrap()).unwrap();
        let vectors = || file.vectors.iter().filter(|one| one.challenge.is_none());
        let is_post = |one: &&Request| one.method.is_none() && one.body.is_some();
        let has_json = |one: &&Request| {
            is_post(one) && serde_json::from_str::<Value>(one.body.as_deref().unwrap()).is_ok()
        };
        let vector = vectors().find(has_json).or_else(|| vectors().find(is_post));
        let vector = vector.or_else(|| vectors().next());
        let vector = vector.unwrap_or_else(|| panic!("{} has no vector of an event", provider.id));
        let mut drafts: Vec<_> = file.samples.iter().collect();
        if drafts.is_empty() {
            drafts.push(vector);
        }
        let mut drafts: Vec<_> = drafts.iter().map(|one| draft(provider, one)).collect();
        let whole = draft(provider, vector);
        drafts
            .iter_mut()
            .for_each(|draft| add_signed_headers(provider, draft, &whole));
        if let [only] = drafts.as_mut_slice() {
            // A vector may leave out what only the identity reads.
            for part in &provider.identity.key.value.parts {
                if let KeyPart::Fields(fields) = part {
                    fill(only, fields, "k-1");
                }
            }
        }
        if let [only] = drafts.as_slice() {
            let parts = provider.identity.key.value.parts.iter();
            let mut others: Vec<_> = parts.map(|part| changed(provider, only, part)).collect();
            if others.is_empty() {
                others.push(only.clone());
            }
            drafts.extend(others);
        }
        let mut audience = vector.audience.clone();
        let tenant = tenant_fields(provider);
        for draft in drafts.iter_mut().filter(|_| !tenant.is_empty()) {
            fill(draft, tenant, CUSTOMER);
            let named = tenant.iter().find_map(|field| read(draft, field)).unwrap();
            audience.retain(|known| *known != named);
            audience.push(named);
        }
        Self {
            provider: Arc::clone(provider),
            drafts,
            audience,
            claims: vector.claims.clone(),
        }
    }

    /// Returns whether the request holds every part of the key.
    pub fn has_key(&self, draft: &RequestFile) -> bool {
        let parts = &self.provider.identity.key.value.parts;
        let is_there = |part: &KeyPart| match part {
            KeyPart::SignedBytes => true,
            KeyPart::Fields(fields) => fields.iter().any(|field| read(draft, field).is_some()),
        };
        !parts.is_empty() && parts.iter().all(is_there)
    }

    /// The type of the event.
    pub fn type_of(&self, draft: &RequestFile) -> Option<String> {
        let mut fields = self.provider.scheme.event_type.iter();
        fields.find_map(|field| read(draft, field))
    }
}

/// The locations that name the customer, where the sender signs for all of them with one key.
fn tenant_fields(provider: &Provider) -> &[FieldLocation] {
    match &provider.identity.tenant.value {
        SigningTenant::Shared { location: place } => place,
        SigningTenant::Customer => &[],
    }
}

/// Puts a text into the first field, unless one of them holds a value.
fn fill(draft: &mut RequestFile, fields: &[FieldLocation], text: &str) {
    if !fields.iter().any(|field| read(draft, field).is_some()) {
        write(draft, &fields[0], text);
    }
}

fn draft(provider: &Provider, request: &Request) -> RequestFile {
    let spec = &provider.scheme;
    let body = match (&request.body, &request.body_base64) {
        (Some(text), _) => text.clone().into_bytes(),
        (None, Some(text)) => BASE64.decode(text.as_bytes()).unwrap(),
        (None, None) => Vec::new(),
    };
    let body = match &spec.family {
        // The draft of a body that is a token is what the token says.
        SchemeFamily::Jwt(family) if family.location == JwtLocation::Body => {
            let text = String::from_utf8(body).unwrap();
            let payload = text.split('.').nth(1).unwrap();
            BASE64URL_NOPAD.decode(payload.as_bytes()).unwrap()
        }
        _ => body,
    };
    let method = request.method.as_deref().unwrap_or("POST");
    let target = request.path.as_deref().unwrap_or("/");
    let mut draft = RequestFile::new(method.parse().unwrap(), target, body.into());
    for (name, value) in &request.headers {
        // Under the names of the scheme, where its headers have two families of names.
        let name = name.to_ascii_lowercase();
        let own_name = spec.variants.prefixes.as_ref().and_then(|(own, other)| {
            let rest = name.strip_prefix(other.as_str())?;
            Some(format!("{own}{rest}"))
        });
        draft.set_header(&own_name.unwrap_or(name), value);
    }
    if !draft.body.is_empty() && draft.header("content-type").is_none() {
        let is_json = serde_json::from_slice::<Value>(&draft.body).is_ok();
        let kind = match is_json {
            true => "application/json",
            false => "application/x-www-form-urlencoded",
        };
        draft.set_header("content-type", kind);
    }
    if let SchemeFamily::Text(family) = &spec.family {
        for one in &family.require {
            if let RequirementRule::Is(text) = &one.rule {
                write(&mut draft, &field_of(&one.location), text);
            }
        }
    }
    draft
}

/// Adds headers that are signed and that samples leave out: nonces, and the list of signed headers with all that it lists.
fn add_signed_headers(provider: &Provider, draft: &mut RequestFile, whole: &RequestFile) {
    let mut names = Vec::new();
    if let Some(template) = provider.scheme.template() {
        template.visit(&mut |part| match part {
            TemplatePart::Header(name) | TemplatePart::LowerHeader(name) => {
                names.push(name.to_string())
            }
            TemplatePart::ListedHeaders(name) => {
                names.push(name.to_string());
                let listed = whole.header(name.as_str()).unwrap_or_default().split(',');
                names.extend(listed.map(|name| name.trim().to_owned()));
            }
            _ => {}
        });
    }
    for name in names {
        if let (None, Some(value)) = (draft.header(&name), whole.header(&name)) {
            draft.set_header(&name, value);
        }
    }
}

/// The same request as another event, by one part of the key.
fn changed(provider: &Provider, draft: &RequestFile, part: &KeyPart) -> RequestFile {
    let mut other = draft.clone();
    let signed_field = || {
        let mut found = None;
        provider.scheme.template().unwrap().visit(&mut |part| {
            if let TemplatePart::Form(name) = part {
                found = Some(FieldLocation::Form(name.clone()));
            }
        });
        found.unwrap_or_else(|| panic!("{} has no samples with other bytes", provider.id))
    };
    let field = match part {
        KeyPart::SignedBytes => signed_field(),
        KeyPart::Fields(fields) => {
            let found = fields.iter().find(|field| read(draft, field).is_some());
            let found = found.unwrap_or_else(|| panic!("{}: the vector has no key", provider.id));
            found.clone()
        }
    };
    let value = read(draft, &field).unwrap();
    write(&mut other, &field, &format!("{value}0"));
    other
}

/// The field of a place.
pub fn field_of(place: &SchemeLocation) -> FieldLocation {
    match place {
        SchemeLocation::Header(name) => FieldLocation::Header(name.clone()),
        SchemeLocation::Query(name) => FieldLocation::Query(name.clone()),
        SchemeLocation::Form(name) => FieldLocation::Form(name.clone()),
        SchemeLocation::Json(pointer) => FieldLocation::Json(pointer.clone()),
    }
}

/// Returns the text of a value, or `None` where there is no value.
pub fn read(request: &RequestFile, field: &FieldLocation) -> Option<String> {
    let text = match field {
        FieldLocation::Header(name) => request.header(name.as_str())?.to_owned(),
        FieldLocation::Query(name) => pair(request.target.split_once('?')?.1.as_bytes(), name)?,
        FieldLocation::Form(name) => pair(&request.body, name)?,
        FieldLocation::Json(pointer) => json(&request.body, pointer)?,
        FieldLocation::FormJson(name, pointer) => {
            json(pair(&request.body, name)?.as_bytes(), pointer)?
        }
        FieldLocation::Claim(name) => json(&request.body, std::slice::from_ref(name))?,
    };
    (!text.is_empty()).then_some(text)
}

/// Puts a text into a field; a form and a query must have it already.
pub fn write(request: &mut RequestFile, field: &FieldLocation, text: &str) {
    match field {
        FieldLocation::Header(name) => request.set_header(name.as_str(), text),
        FieldLocation::Query(name) => {
            let (path, query) = request.target.split_once('?').unwrap();
            request.target = format!("{path}?{}", with_pair(query.as_bytes(), name, text));
        }
        FieldLocation::Form(name) => request.body = with_pair(&request.body, name, text).into(),
        FieldLocation::Json(pointer) => request.body = with_json(&request.body, pointer, text),
        FieldLocation::FormJson(name, pointer) => {
            let inner = pair(&request.body, name).unwrap();
            let inner = with_json(inner.as_bytes(), pointer, text);
            let inner = String::from_utf8(inner.to_vec()).unwrap();
            request.body = with_pair(&request.body, name, &inner).into();
        }
        FieldLocation::Claim(name) => {
            request.body = with_json(&request.body, std::slice::from_ref(name), text);
        }
    }
}

fn pair(text: &[u8], name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(text);
    let found = pairs.find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

fn with_pair(text: &[u8], name: &str, value: &str) -> String {
    let pairs = form_urlencoded::parse(text).map(|(key, old)| match key == name {
        true => (key, value.to_owned().into()),
        false => (key, old),
    });
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(pairs);
    form.finish()
}

fn joined(pointer: &[String]) -> String {
    let steps = pointer
        .iter()
        .map(|step| step.replace('~', "~0").replace('/', "~1"));
    steps.map(|step| format!("/{step}")).collect()
}

fn json(text: &[u8], pointer: &[String]) -> Option<String> {
    let document: Value = serde_json::from_slice(text).ok()?;
    match document.pointer(&joined(pointer))? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A number stays one.
fn with_json(text: &[u8], pointer: &[String], value: &str) -> Bytes {
    let document = serde_json::from_slice(text);
    let mut document: Value =
        document.unwrap_or_else(|_| panic!("not JSON: {}", String::from_utf8_lossy(text)));
    let mut place = &mut document;
    for step in pointer {
        place = match step.parse::<usize>() {
            Ok(index) if place.is_array() => &mut place[index],
            // Makes what is not there.
            _ => &mut place[step.as_str()],
        };
    }
    *place = match serde_json::from_str(value) {
        Ok(number @ Value::Number(_)) if place.is_number() => number,
        _ => Value::String(value.to_owned()),
    };
    document.to_string().into()
}

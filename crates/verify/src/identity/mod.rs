//! Reads the identity of an event: id, type, version, dedup key and tenant.
//!
//! Runs after the signature, so the values are the sender's. Whether the signature covers a header is for dedup to
//! consider. Rejects repeated names first (`single_values`), so that each name has one value below. The body is
//! parsed at most once, only if no header has the value, and only for the values wanted.

pub mod batch;
pub mod dedup_key;
pub mod event_id;
mod single_values;
pub mod tenant;
mod walk;

use std::borrow::Cow;

use crate::scheme::json_values::{PickError, PickedValue, ValuePicker};
use crate::scheme::jwt::claim_text;
use crate::scheme::material::read_query;
use crate::scheme::spec::{BatchSpec, FieldLocation, IdentityKey, KeyPart, SchemeSpec};
use crate::scheme::{MaterialFault, RequestHead};
use http::HeaderName;

use crate::error::VerifyError;
use crate::identity::batch::{BatchReader, BatchTypes};
use crate::identity::dedup_key::DedupKey;
use crate::identity::event_id::EventId;
use crate::identity::single_values::{FormFields, OnceNames};
use crate::identity::tenant::{TenantList, TenantNames};

/// The locations of the ids, types and dedup keys of one route's events.
pub struct IdentityRules {
    once: OnceNames,
    ids: Box<[CompiledLocation]>,
    types: Box<[CompiledLocation]>,
    versions: Box<[CompiledLocation]>,
    /// The parts of the dedup key; a key needs all of them.
    key: Box<[CompiledKeyPart]>,
    /// True where the key is the event id alone, so that one reading serves both.
    is_key_id: bool,
    /// The locations of the tenants, where the sender signs for all customers with one key.
    tenants: Box<[CompiledLocation]>,
    /// Those that name a list of them.
    tenant_lists: Box<[TenantList]>,
    batch: Option<BatchReader>,
    picker: ValuePicker,
    /// The scheme, where claims of its tokens are read.
    claims_of: Option<Box<SchemeSpec>>,
}

/// The sources that [`IdentityRules`] are compiled from.
#[derive(Clone, Copy)]
pub struct IdentityFacts<'s> {
    /// The scheme, with the locations of id, type and version.
    pub spec: &'s SchemeSpec,
    /// The dedup key of the route.
    pub key: Option<&'s IdentityKey>,
    /// The locations of the tenant.
    pub tenant: &'s [FieldLocation],
    /// The location of the events of a batch.
    pub batch: Option<&'s BatchSpec>,
    /// The headers that conditions name.
    pub headers: &'s [HeaderName],
}

/// The identity of one event.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventIdentity {
    /// The event id that the provider assigned.
    pub event_id: Option<EventId>,
    /// The event type: 1 to 255 characters of printable ASCII, without a space at either end.
    pub event_type: Option<Box<str>>,
    /// The version of the payload, in the same form.
    pub version: Option<Box<str>>,
    /// The types of all events of a batch.
    pub types: BatchTypes,
    /// The dedup key, as far as the request itself holds it.
    pub key: KeyText,
    /// The tenants that the event names.
    pub tenants: TenantNames,
}

/// The dedup key as read from a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum KeyText {
    /// A part of the key is missing, or the route has no key.
    #[default]
    Absent,
    /// The key is one text, already hashed.
    One(DedupKey),
    /// The texts of several parts; `None` is the place of the signed bytes.
    Parts(Vec<Option<Box<str>>>),
}

enum CompiledKeyPart {
    SignedBytes,
    Fields(Box<[CompiledLocation]>),
}

enum CompiledLocation {
    Header(HeaderName),
    /// The index among the picked values.
    Json(usize),
    /// A field of a form.
    Form(Box<str>),
    /// A value in the JSON that a form field holds.
    FormJson(Box<str>, ValuePicker),
    Query(Box<str>),
    /// A claim of the signed token.
    Claim(Box<str>),
}

/// A request with its body's values, which are parsed on first use.
struct IdentityReader<'a> {
    rules: &'a IdentityRules,
    head: &'a RequestHead<'a>,
    bytes: &'a [u8],
    picked: Option<Result<Vec<PickedValue<'a>>, PickError>>,
    /// Parsed where a field is read.
    form: Option<FormFields<'a>>,
}

/// The value found at one location.
enum FieldValue<'a> {
    Nothing,
    Text(Cow<'a, str>),
    /// A value that cannot be an id: an object, a fraction, or bytes that are not text.
    Odd,
    /// The value occurs more than once, so gate and app could read different ones.
    Ambiguous(&'static str),
}

impl<'s> IdentityFacts<'s> {
    /// Takes the locations of a scheme, without a dedup key.
    #[must_use]
    pub fn of(spec: &'s SchemeSpec) -> Self {
        Self {
            spec,
            key: None,
            tenant: &[],
            batch: None,
            headers: &[],
        }
    }

    /// Returns every location that is read.
    fn fields(&self) -> impl Iterator<Item = &'s FieldLocation> {
        let spec = self.spec;
        let named = spec.event_id.iter().chain(&spec.event_type);
        let of_key = self.key.into_iter().flat_map(IdentityKey::fields);
        named.chain(&spec.version).chain(of_key).chain(self.tenant)
    }
}

impl IdentityRules {
    /// Compiles the locations of a scheme and of the sender's identity.
    #[must_use]
    pub fn compile(facts: IdentityFacts<'_>) -> Self {
        let spec = facts.spec;
        let mut pointers: Vec<&[String]> = Vec::new();
        let ids = compile_locations(&spec.event_id, &mut pointers);
        let types = compile_locations(&spec.event_type, &mut pointers);
        let versions = compile_locations(&spec.version, &mut pointers);
        let parts = facts.key.map_or(&[][..], |key| &key.parts);
        let key: Box<[CompiledKeyPart]> = parts
            .iter()
            .map(|part| match part {
                KeyPart::SignedBytes => CompiledKeyPart::SignedBytes,
                KeyPart::Fields(fields) => {
                    CompiledKeyPart::Fields(compile_locations(fields, &mut pointers))
                }
            })
            .collect();
        let is_list = |field: &&FieldLocation| TenantList::of(field).is_some();
        let single = facts.tenant.iter().filter(|field| !is_list(field));
        let tenants: Box<[CompiledLocation]> = single
            .map(|field| compile_location(field, &mut pointers))
            .collect();
        let of_key = key.iter().filter_map(|part| match part {
            CompiledKeyPart::SignedBytes => None,
            CompiledKeyPart::Fields(places) => Some(places),
        });
        // The scheme is kept only if a location is a claim, which needs it to find the token.
        let has_claims = [&ids, &types, &versions, &tenants]
            .into_iter()
            .chain(of_key)
            .flat_map(|places| places.iter())
            .any(|place| matches!(place, CompiledLocation::Claim(_)));
        Self {
            once: OnceNames::collect(facts.fields(), facts.headers),
            picker: ValuePicker::new(pointers),
            claims_of: has_claims.then(|| Box::new(spec.clone())),
            batch: facts.batch.and_then(BatchReader::new),
            is_key_id: matches!(parts, [KeyPart::Fields(fields)] if *fields == spec.event_id),
            ids,
            types,
            versions,
            key,
            tenants,
            tenant_lists: facts.tenant.iter().filter_map(TenantList::of).collect(),
        }
    }

    /// Reads the identity of one request. An invalid type or version counts as absent, and so does an invalid id or
    /// key; the route's `missing_id` decides about that.
    ///
    /// # Errors
    /// [`VerifyError::Identity`] where a name that identifies the event occurs more than once: gate and app could read
    /// different values.
    pub fn read(&self, head: &RequestHead<'_>, bytes: &[u8]) -> Result<EventIdentity, VerifyError> {
        let mut request = IdentityReader {
            rules: self,
            head,
            bytes,
            picked: None,
            form: self.once.check(head, bytes)?,
        };
        let reject = |fault| VerifyError::Identity { fault };
        let id = read_text(&self.ids, &mut request).map_err(reject)?;
        let key = match self.is_key_id {
            true => key_of(id.as_deref()),
            false => self.read_key(&mut request).map_err(reject)?,
        };
        Ok(EventIdentity {
            event_id: id.and_then(|text| EventId::parse(&text)),
            event_type: read_word(&self.types, &mut request),
            version: read_word(&self.versions, &mut request),
            key,
            tenants: self.read_tenants(&mut request).map_err(reject)?,
            types: match &self.batch {
                Some(batch) => batch.types(bytes),
                None => BatchTypes::default(),
            },
        })
    }

    fn read_tenants(&self, request: &mut IdentityReader<'_>) -> Result<TenantNames, &'static str> {
        let mut tenants = TenantNames::default();
        for place in &self.tenants {
            match request.find(place) {
                FieldValue::Nothing => {}
                FieldValue::Text(text) => tenants.add(&text),
                FieldValue::Odd => tenants.set_unclear(),
                FieldValue::Ambiguous(fault) => return Err(fault),
            }
        }
        for list in &self.tenant_lists {
            list.read(request.bytes, &mut tenants);
        }
        Ok(tenants)
    }

    fn read_key(&self, request: &mut IdentityReader<'_>) -> Result<KeyText, &'static str> {
        // The common case, one text, is hashed here, which saves a copy of it.
        if let [CompiledKeyPart::Fields(places)] = &*self.key {
            return Ok(key_of(read_text(places, request)?.as_deref()));
        }
        let mut texts = Vec::with_capacity(self.key.len());
        for part in &self.key {
            let CompiledKeyPart::Fields(places) = part else {
                // The place of the signed bytes, which `KeyRule` fills in.
                texts.push(None);
                continue;
            };
            let Some(text) = read_text(places, request)? else {
                return Ok(KeyText::Absent);
            };
            texts.push(Some((*text).into()));
        }
        Ok(match texts.is_empty() {
            true => KeyText::Absent,
            false => KeyText::Parts(texts),
        })
    }
}

fn compile_locations<'s>(
    fields: &'s [FieldLocation],
    pointers: &mut Vec<&'s [String]>,
) -> Box<[CompiledLocation]> {
    fields
        .iter()
        .map(|field| compile_location(field, pointers))
        .collect()
}

impl<'a> IdentityReader<'a> {
    fn find(&mut self, place: &CompiledLocation) -> FieldValue<'a> {
        match place {
            CompiledLocation::Header(name) => self.header(name),
            CompiledLocation::Json(position) => self.json(*position),
            CompiledLocation::Form(name) => self.form(name),
            CompiledLocation::FormJson(name, picker) => self.form_json(name, picker),
            CompiledLocation::Claim(name) => {
                let spec = self.rules.claims_of.as_ref();
                let text = spec.and_then(|spec| claim_text(spec, self.head, self.bytes, name));
                text.map_or(FieldValue::Nothing, |text| FieldValue::Text(text.into()))
            }
            CompiledLocation::Query(name) => match read_query(self.head, name) {
                Ok(value) => match String::from_utf8(value.into_owned()) {
                    Ok(text) => FieldValue::Text(text.into()),
                    Err(_) => FieldValue::Odd,
                },
                Err(MaterialFault::Missing { .. }) => FieldValue::Nothing,
                // A parameter that is repeated or unreadable was rejected above.
                Err(MaterialFault::Malformed { .. }) => FieldValue::Odd,
            },
        }
    }

    fn header(&self, name: &HeaderName) -> FieldValue<'a> {
        let Some(value) = self.head.headers.get(name) else {
            return FieldValue::Nothing;
        };
        match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => FieldValue::Text(text.into()),
            Err(_) => FieldValue::Odd,
        }
    }

    fn json(&mut self, position: usize) -> FieldValue<'a> {
        let (rules, bytes) = (self.rules, self.bytes);
        let picked = self.picked.get_or_insert_with(|| rules.picker.pick(bytes));
        found_json(picked, position)
    }

    fn form_json(&self, name: &str, picker: &ValuePicker) -> FieldValue<'a> {
        match self.form(name) {
            FieldValue::Text(text) => match found_json(&picker.pick(text.as_bytes()), 0) {
                FieldValue::Text(text) => FieldValue::Text(text.into_owned().into()),
                FieldValue::Nothing => FieldValue::Nothing,
                FieldValue::Odd => FieldValue::Odd,
                FieldValue::Ambiguous(fault) => FieldValue::Ambiguous(fault),
            },
            other => other,
        }
    }

    fn form(&self, name: &str) -> FieldValue<'a> {
        match &self.form {
            None => FieldValue::Nothing,
            Some(Err(_)) => FieldValue::Odd,
            Some(Ok(fields)) => {
                let mut fields = fields.iter();
                match fields.find(|(key, _)| key == name) {
                    Some((_, text)) => FieldValue::Text(text.clone()),
                    None => FieldValue::Nothing,
                }
            }
        }
    }
}

/// Returns the value that the pointer at an index found.
fn found_json<'a>(
    picked: &Result<Vec<PickedValue<'a>>, PickError>,
    position: usize,
) -> FieldValue<'a> {
    let values = match picked {
        Ok(values) => values,
        Err(PickError::NotJson) => return FieldValue::Nothing,
        Err(PickError::Broken) => return FieldValue::Odd,
    };
    match values.get(position) {
        None | Some(PickedValue::Absent) => FieldValue::Nothing,
        Some(PickedValue::Text(text)) => FieldValue::Text(text.clone()),
        Some(PickedValue::Odd | PickedValue::Bool(_)) => FieldValue::Odd,
        Some(PickedValue::Duplicate) => {
            FieldValue::Ambiguous("a JSON key on the path to the event id occurs twice")
        }
    }
}

fn compile_location<'s>(
    field: &'s FieldLocation,
    pointers: &mut Vec<&'s [String]>,
) -> CompiledLocation {
    match field {
        FieldLocation::Header(name) => CompiledLocation::Header(name.clone()),
        FieldLocation::Json(pointer) => {
            pointers.push(pointer);
            CompiledLocation::Json(pointers.len() - 1)
        }
        FieldLocation::Form(name) => CompiledLocation::Form(name.as_str().into()),
        FieldLocation::FormJson(name, pointer) => {
            CompiledLocation::FormJson(name.as_str().into(), ValuePicker::new([pointer.as_slice()]))
        }
        FieldLocation::Query(name) => CompiledLocation::Query(name.as_str().into()),
        FieldLocation::Claim(name) => CompiledLocation::Claim(name.as_str().into()),
    }
}

/// Reads the first location that holds a value. A later location must not replace an unreadable one: the sender would
/// not mean it. Empty text counts as absent.
fn read_text<'a>(
    places: &[CompiledLocation],
    request: &mut IdentityReader<'a>,
) -> Result<Option<Cow<'a, str>>, &'static str> {
    for place in places {
        match request.find(place) {
            FieldValue::Nothing => {}
            FieldValue::Text(text) => return Ok((!text.is_empty()).then_some(text)),
            FieldValue::Odd => return Ok(None),
            FieldValue::Ambiguous(fault) => return Err(fault),
        }
    }
    Ok(None)
}

/// Returns the key that consists of one text.
fn key_of(text: Option<&str>) -> KeyText {
    text.map_or(KeyText::Absent, |text| KeyText::One(DedupKey::of_id(text)))
}

/// Returns the first text that is a valid type or version.
fn read_word(places: &[CompiledLocation], request: &mut IdentityReader<'_>) -> Option<Box<str>> {
    // GitLab's types have spaces inside: `Push Hook`.
    let is_fit = |text: &str| {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (1..=255).contains(&text.len()) && is_printable && text.trim() == text
    };
    places.iter().find_map(|place| match request.find(place) {
        FieldValue::Text(text) if is_fit(&text) => Some((*text).into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use crate::scheme::spec::{SchemeFamily, SchemeVariants, TokenLocation, TokenSpec};
    use http::{HeaderMap, HeaderValue, Method, Uri};

    use super::*;

    fn json(pointer: &[&str]) -> FieldLocation {
        FieldLocation::Json(pointer.iter().map(|key| (*key).to_owned()).collect())
    }

    fn rules() -> IdentityRules {
        let place = TokenLocation::Basic;
        let spec = SchemeSpec {
            family: SchemeFamily::Token(TokenSpec { location: place }),
            event_id: vec![
                FieldLocation::Header(HeaderName::from_static("x-id")),
                json(&["id"]),
                json(&["event", "id"]),
            ],
            event_type: vec![
                json(&["event", "type"]),
                FieldLocation::Header(HeaderName::from_static("x-type")),
                json(&["type"]),
            ],
            version: vec![],
            variants: SchemeVariants::default(),
        };
        let key = IdentityKey::of_fields(&spec.event_id);
        IdentityRules::compile(IdentityFacts {
            spec: &spec,
            key: Some(&key),
            tenant: &[],
            batch: None,
            headers: &[],
        })
    }

    fn read(headers: &[(&'static str, &[u8])], body: &str) -> Result<String, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let uri = Uri::from_static("/");
        let head = RequestHead {
            method: &Method::POST,
            uri: &uri,
            headers: &map,
        };
        let identity = match rules().read(&head, body.as_bytes()) {
            Ok(identity) => identity,
            Err(VerifyError::Identity { fault }) => return Err(fault),
            Err(other) => panic!("{other:?}"),
        };
        let has_key = identity.key != KeyText::Absent;
        assert_eq!(has_key, identity.event_id.is_some());
        let id = identity.event_id.as_ref().map_or("-", EventId::as_str);
        Ok(format!(
            "{id} {}",
            identity.event_type.as_deref().unwrap_or("-")
        ))
    }

    fn ok(text: &str) -> Result<String, &'static str> {
        Ok(text.to_owned())
    }

    #[test]
    fn the_first_place_that_holds_something_decides() {
        let body = r#"{"id":"a","type":"t","event":{"id":"b","type":"u"}}"#;
        assert_eq!(read(&[], body), ok("a u"));
        assert_eq!(read(&[("x-id", b"h"), ("x-type", b"v")], body), ok("h u"));
        assert_eq!(
            read(&[("x-type", b"v")], r#"{"event":{"id":7}}"#),
            ok("7 v")
        );
        assert_eq!(read(&[], r#"{"id":null,"type":"t"}"#), ok("- t"));
        assert_eq!(read(&[("x-id", b"h")], "a=b&c=d"), ok("h -"));
        assert_eq!(read(&[], "a=b&c=d"), ok("- -"));
        assert_eq!(read(&[], ""), ok("- -"));
    }

    /// Fails when gate and app could read different ids or types out of one request: when `read` leaves out the check of
    /// repeated names.
    #[test]
    fn an_id_or_type_that_is_there_twice_is_a_fault() {
        for name in ["x-id", "x-type"] {
            let twice = [(name, b"a".as_slice()), (name, b"a")];
            assert!(read(&twice, "{}").is_err(), "{name}");
        }
        assert!(read(&[], r#"{"id":"a","id":"b"}"#).is_err());
    }

    /// Fails when a genuine event is refused for what its id looks like.
    #[test]
    fn any_text_is_an_id() {
        let long = "x".repeat(EventId::MAX_BYTES);
        for text in ["2026-11-29 21:00:00", "Größe-1", "a b", "a	b", &long] {
            let body = serde_json::json!({ "id": text }).to_string();
            assert_eq!(read(&[], &body), Ok(format!("{text} -")));
        }
        assert_eq!(read(&[("x-id", "Größe-1".as_bytes())], ""), ok("Größe-1 -"));
    }

    /// Fails when what names nothing is refused, or when a later place is taken instead.
    #[test]
    fn what_is_no_id_is_none() {
        for (headers, body) in [
            (vec![("x-id", b"".as_slice())], r#"{"id":"a"}"#),
            (vec![("x-id", b"\xff".as_slice())], r#"{"id":"a"}"#),
            (vec![], r#"{"id":""}"#),
            (vec![], r#"{"id":1.5}"#),
            (vec![], r#"{"id":{"id":1},"event":{"id":"b"}}"#),
            (vec![], r#"{"id":"a""#),
            (vec![], r#"{"id":"a"}}"#),
        ] {
            assert_eq!(read(&headers, body), ok("- -"), "{headers:?} {body}");
        }
    }

    /// An id that is too long to be shown is still a key.
    #[test]
    fn a_longer_id_is_a_key_that_is_not_shown() {
        let body = format!(r#"{{"id":"{}"}}"#, "x".repeat(EventId::MAX_BYTES + 1));
        let uri = Uri::from_static("/");
        let head = RequestHead {
            method: &Method::POST,
            uri: &uri,
            headers: &HeaderMap::new(),
        };
        let identity = rules().read(&head, body.as_bytes()).unwrap();
        assert_eq!(identity.event_id, None);
        assert_ne!(identity.key, KeyText::Absent);
    }

    #[test]
    fn an_odd_type_is_none() {
        for body in [
            r#"{"id":"a","type":""}"#,
            r#"{"id":"a","type":{}}"#,
            r#"{"id":"a","type":"t\tt"}"#,
            r#"{"id":"a","type":" t"}"#,
            r#"{"id":"a","type":"t","type":"u"}"#,
        ] {
            assert_eq!(read(&[], body), ok("a -"), "{body}");
        }
        let headers = [
            ("x-id", b"a".as_slice()),
            ("x-type", b"t"),
            ("x-type", b"t"),
        ];
        assert!(read(&headers, "{}").is_err());
        assert_eq!(read(&[("x-id", b"a")], "{"), ok("a -"));
    }
}

//! Which event this is: its id and type, from the headers or from the body.
//!
//! Runs after the signature, so what it reads is the sender's word; whether the signature covers a header is for dedup to
//! weigh. The body is parsed only where a header does not answer, once, and only for the values wanted.

use std::borrow::Cow;

use http::HeaderName;

use crate::gate::reject::Reject;
use crate::model::ids::EventId;
use crate::scheme::form::{self, FormField};
use crate::scheme::jwt::claim_text;
use crate::scheme::material::read_query;
use crate::scheme::pick::{PickError, Picked, Picker};
use crate::scheme::spec::{Field, Spec};
use crate::scheme::{Head, MaterialFault};

/// Where the ids and types of one route stand.
pub struct IdentityRules {
    ids: Box<[Place]>,
    types: Box<[Place]>,
    versions: Box<[Place]>,
    picker: Picker,
    /// The scheme, where claims of its tokens are read.
    claims_of: Option<Box<Spec>>,
}

/// Which event this is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The provider's id of the event.
    pub event_id: Option<EventId>,
    /// Its type: 1 to 255 characters of printable ASCII, with visible ones at both ends.
    pub event_type: Option<Box<str>>,
    /// The version of its payload, in the same form.
    pub version: Option<Box<str>>,
}

enum Place {
    Header(HeaderName),
    /// The position among the picked values.
    Json(usize),
    /// A field of a form.
    Form(Box<str>),
    /// A query parameter.
    Query(Box<str>),
    /// A claim of the signed token.
    Claim(Box<str>),
}

/// The body's values, parsed when the first one is asked for.
struct Request<'a> {
    rules: &'a IdentityRules,
    head: &'a Head<'a>,
    bytes: &'a [u8],
    picked: Option<Result<Vec<Picked<'a>>, PickError>>,
    form: Option<Result<Vec<FormField<'a>>, &'static str>>,
}

/// What stands in one place.
enum Found<'a> {
    Nothing,
    Text(Cow<'a, str>),
    /// Something is there, and it is not certain what.
    Odd(&'static str),
}

impl IdentityRules {
    /// Takes over the fields of a spec.
    #[must_use]
    pub fn compile<'s>(spec: &'s Spec) -> Self {
        let mut pointers: Vec<&'s [String]> = Vec::new();
        let mut places = |fields: &'s [Field]| -> Box<[Place]> {
            fields
                .iter()
                .map(|field| place(field, &mut pointers))
                .collect()
        };
        let (ids, types) = (places(&spec.event_id), places(&spec.event_type));
        let versions = places(&spec.version);
        let has_claims = [&ids, &types, &versions]
            .into_iter()
            .flat_map(|places| places.iter())
            .any(|place| matches!(place, Place::Claim(_)));
        Self {
            ids,
            types,
            versions,
            picker: Picker::new(pointers),
            claims_of: has_claims.then(|| Box::new(spec.clone())),
        }
    }

    /// Reads all three. A type or version that is odd is none.
    ///
    /// # Errors
    /// [`Reject::Identity`] where `needs_id` and the body or header cannot be read for certain. An id that is simply not
    /// there is no fault: what follows from it is the route's `missing_id`.
    pub fn read(&self, head: &Head<'_>, bytes: &[u8], needs_id: bool) -> Result<Identity, Reject> {
        let mut request = Request {
            rules: self,
            head,
            bytes,
            picked: None,
            form: None,
        };
        let event_id = match read_id(&self.ids, &mut request) {
            Ok(event_id) => event_id,
            Err(fault) if needs_id => return Err(Reject::Identity { fault }),
            Err(_) => None,
        };
        Ok(Identity {
            event_id,
            event_type: read_word(&self.types, &mut request),
            version: read_word(&self.versions, &mut request),
        })
    }
}

impl<'a> Request<'a> {
    fn find(&mut self, place: &Place) -> Found<'a> {
        match place {
            Place::Header(name) => self.header(name),
            Place::Json(position) => self.json(*position),
            Place::Form(name) => self.form(name),
            Place::Claim(name) => {
                let spec = self.rules.claims_of.as_ref();
                let text = spec.and_then(|spec| claim_text(spec, self.head, self.bytes, name));
                text.map_or(Found::Nothing, |text| Found::Text(text.into()))
            }
            Place::Query(name) => match read_query(self.head, name) {
                Ok(value) => match String::from_utf8(value.into_owned()) {
                    Ok(text) => Found::Text(text.into()),
                    Err(_) => Found::Odd("the id in the query is not text"),
                },
                Err(MaterialFault::Missing { .. }) => Found::Nothing,
                Err(MaterialFault::Malformed { .. }) => {
                    Found::Odd("the id's parameter stands twice")
                }
            },
        }
    }

    fn header(&self, name: &HeaderName) -> Found<'a> {
        let mut values = self.head.headers.get_all(name).iter();
        let Some(value) = values.next() else {
            return Found::Nothing;
        };
        if values.next().is_some() {
            return Found::Odd("the id's header stands twice");
        }
        match value.to_str() {
            Ok(text) => Found::Text(text.into()),
            Err(_) => Found::Odd("the id's header holds no id"),
        }
    }

    fn json(&mut self, position: usize) -> Found<'a> {
        let (rules, bytes) = (self.rules, self.bytes);
        let picked = self.picked.get_or_insert_with(|| rules.picker.pick(bytes));
        let values = match picked {
            Ok(values) => values,
            Err(PickError::NotJson) => return Found::Nothing,
            Err(PickError::Broken) => return Found::Odd("the body is broken JSON"),
        };
        match values.get(position) {
            None | Some(Picked::Absent) => Found::Nothing,
            Some(Picked::Text(text)) => Found::Text(text.clone()),
            Some(Picked::Odd | Picked::Bool(_)) => {
                Found::Odd("the id in the body is neither text nor integer")
            }
            Some(Picked::Duplicate) => {
                Found::Odd("a key on the way to the id in the body stands twice")
            }
        }
    }

    fn form(&mut self, name: &str) -> Found<'a> {
        let bytes = self.bytes;
        let fields = self.form.get_or_insert_with(|| form::fields(bytes));
        match fields.as_deref().map(|fields| form::one(fields, name)) {
            Ok(Ok(Some(text))) => Found::Text(text.to_owned().into()),
            Ok(Ok(None)) => Found::Nothing,
            Ok(Err(_)) => Found::Odd("the id's field stands twice in the form"),
            Err(fault) => Found::Odd(fault),
        }
    }
}

fn place<'s>(field: &'s Field, pointers: &mut Vec<&'s [String]>) -> Place {
    match field {
        Field::Header(name) => Place::Header(name.clone()),
        Field::Json(pointer) => {
            pointers.push(pointer);
            Place::Json(pointers.len() - 1)
        }
        Field::Form(name) => Place::Form(name.as_str().into()),
        Field::Query(name) => Place::Query(name.as_str().into()),
        Field::Claim(name) => Place::Claim(name.as_str().into()),
    }
}

/// The first place that holds anything decides: a later one must not stand in for one that is unreadable.
fn read_id(places: &[Place], request: &mut Request<'_>) -> Result<Option<EventId>, &'static str> {
    for place in places {
        match request.find(place) {
            Found::Nothing => {}
            Found::Text(text) => return EventId::parse(&text).map(Some).ok_or("the id is no id"),
            Found::Odd(fault) => return Err(fault),
        }
    }
    Ok(None)
}

/// The first fit text.
fn read_word(places: &[Place], request: &mut Request<'_>) -> Option<Box<str>> {
    // GitLab's types have spaces inside: `Push Hook`.
    let is_fit = |text: &str| {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (1..=255).contains(&text.len()) && is_printable && text.trim() == text
    };
    places.iter().find_map(|place| match request.find(place) {
        Found::Text(text) if is_fit(&text) => Some((*text).into()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Uri};

    use super::*;
    use crate::scheme::spec::{Family, TokenPlace, TokenSpec};

    fn json(pointer: &[&str]) -> Field {
        Field::Json(pointer.iter().map(|key| (*key).to_owned()).collect())
    }

    fn rules() -> IdentityRules {
        let place = TokenPlace::Basic;
        IdentityRules::compile(&Spec {
            family: Family::Token(TokenSpec { place }),
            event_id: vec![
                Field::Header(HeaderName::from_static("x-id")),
                json(&["id"]),
                json(&["event", "id"]),
            ],
            event_type: vec![
                json(&["event", "type"]),
                Field::Header(HeaderName::from_static("x-type")),
                json(&["type"]),
            ],
            version: vec![],
        })
    }

    fn read(headers: &[(&'static str, &[u8])], body: &str) -> Result<String, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let uri = Uri::from_static("/");
        let head = Head {
            method: &Method::POST,
            uri: &uri,
            headers: &map,
        };
        let relaxed = rules().read(&head, body.as_bytes(), false).unwrap();
        let strict = match rules().read(&head, body.as_bytes(), true) {
            Ok(identity) => identity,
            Err(Reject::Identity { fault }) => {
                assert_eq!(relaxed.event_id, None);
                return Err(fault);
            }
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(strict, relaxed);
        let id = strict.event_id.as_ref().map_or("-", EventId::as_str);
        Ok(format!(
            "{id} {}",
            strict.event_type.as_deref().unwrap_or("-")
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

    #[test]
    fn an_id_that_cannot_be_read_for_certain_is_a_fault() {
        let long = "x".repeat(256);
        for (headers, body) in [
            (vec![("x-id", b"a".as_slice()), ("x-id", b"a")], "{}"),
            (vec![("x-id", b"".as_slice())], r#"{"id":"a"}"#),
            (vec![("x-id", b"a b".as_slice())], r#"{"id":"a"}"#),
            (vec![("x-id", b"\xff".as_slice())], r#"{"id":"a"}"#),
            (vec![("x-id", long.as_bytes())], r#"{"id":"a"}"#),
            (vec![], r#"{"id":"a","id":"b"}"#),
            (vec![], r#"{"id":""}"#),
            (vec![], r#"{"id":"a\nb"}"#),
            (vec![], r#"{"id":"ä"}"#),
            (vec![], r#"{"id":1.5}"#),
            (vec![], r#"{"id":{"id":1},"event":{"id":"b"}}"#),
            (vec![], r#"{"id":"a""#),
            (vec![], r#"{"id":"a"}}"#),
        ] {
            assert!(read(&headers, body).is_err(), "{headers:?} {body}");
        }
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
        assert_eq!(read(&headers, "{}"), ok("a -"));
        assert_eq!(read(&[("x-id", b"a")], "{"), ok("a -"));
    }
}

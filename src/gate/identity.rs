//! Which event this is: its id and type, from the headers or from the body.
//!
//! Runs after the signature, so what it reads is the sender's word; whether the signature covers a header is for dedup to
//! weigh. The body is parsed only where a header does not answer, once, and only for the values wanted.

use http::{HeaderMap, HeaderName};

use crate::gate::pick::{PickError, Picked, Picker};
use crate::gate::reject::Reject;
use crate::model::ids::EventId;
use crate::scheme::spec::{Field, Spec};

/// Where the ids and types of one route stand.
pub struct IdentityRules {
    ids: Box<[Place]>,
    types: Box<[Place]>,
    picker: Picker,
}

/// Which event this is.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The provider's id of the event.
    pub event_id: Option<EventId>,
    /// Its type: 1 to 255 characters of printable ASCII, with visible ones at both ends.
    pub event_type: Option<Box<str>>,
}

enum Place {
    Header(HeaderName),
    /// The position among the picked values.
    Json(usize),
}

/// The body's values, parsed when the first one is asked for.
struct Body<'a> {
    rules: &'a IdentityRules,
    bytes: &'a [u8],
    picked: Option<Result<Vec<Picked<'a>>, PickError>>,
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
        Self {
            ids,
            types,
            picker: Picker::new(pointers),
        }
    }

    /// Reads both. A type that is odd is none.
    ///
    /// # Errors
    /// [`Reject::Identity`] where `needs_id` and the body or header cannot be read for certain. An id that is simply not
    /// there is no fault: what follows from it is the route's `missing_id`.
    pub fn read(
        &self,
        headers: &HeaderMap,
        bytes: &[u8],
        needs_id: bool,
    ) -> Result<Identity, Reject> {
        let mut body = Body {
            rules: self,
            bytes,
            picked: None,
        };
        let event_id = match read_id(&self.ids, headers, &mut body) {
            Ok(event_id) => event_id,
            Err(fault) if needs_id => return Err(Reject::Identity { fault }),
            Err(_) => None,
        };
        Ok(Identity {
            event_id,
            event_type: read_type(&self.types, headers, &mut body),
        })
    }
}

impl<'a> Body<'a> {
    fn pick(&mut self, position: usize) -> Result<&Picked<'a>, PickError> {
        let (rules, bytes) = (self.rules, self.bytes);
        let picked = self.picked.get_or_insert_with(|| rules.picker.pick(bytes));
        let values = picked.as_ref().map_err(|err| *err)?;
        Ok(values.get(position).unwrap_or(&Picked::Absent))
    }
}

fn place<'s>(field: &'s Field, pointers: &mut Vec<&'s [String]>) -> Place {
    match field {
        Field::Header(name) => Place::Header(name.clone()),
        Field::Json(pointer) => {
            pointers.push(pointer);
            Place::Json(pointers.len() - 1)
        }
    }
}

/// The first place that holds anything decides: a later one must not stand in for one that is unreadable.
fn read_id(
    places: &[Place],
    headers: &HeaderMap,
    body: &mut Body<'_>,
) -> Result<Option<EventId>, &'static str> {
    for place in places {
        match place {
            Place::Header(name) => {
                let mut values = headers.get_all(name).iter();
                let Some(value) = values.next() else {
                    continue;
                };
                if values.next().is_some() {
                    return Err("the id's header stands twice");
                }
                let id = value.to_str().ok().and_then(EventId::parse);
                return id.map(Some).ok_or("the id's header holds no id");
            }
            Place::Json(position) => match body.pick(*position) {
                Ok(Picked::Absent) | Err(PickError::NotJson) => {}
                Ok(Picked::Text(text)) => {
                    let id = EventId::parse(text);
                    return id.map(Some).ok_or("the id in the body is no id");
                }
                Ok(Picked::Odd) => return Err("the id in the body is neither text nor integer"),
                Ok(Picked::Duplicate) => {
                    return Err("a key on the way to the id in the body stands twice");
                }
                Err(PickError::Broken) => return Err("the body is broken JSON"),
            },
        }
    }
    Ok(None)
}

fn read_type(places: &[Place], headers: &HeaderMap, body: &mut Body<'_>) -> Option<Box<str>> {
    // GitLab's have spaces inside: `Push Hook`.
    let is_fit = |text: &&str| {
        let is_printable = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        (1..=255).contains(&text.len()) && is_printable && text.trim() == *text
    };
    places.iter().find_map(|place| match place {
        Place::Header(name) => {
            let mut values = headers.get_all(name).iter();
            let value = values.next()?.to_str().ok().filter(is_fit)?;
            values.next().is_none().then(|| value.into())
        }
        Place::Json(position) => match body.pick(*position) {
            Ok(Picked::Text(text)) => Some(&**text).filter(is_fit).map(Into::into),
            _ => None,
        },
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
        })
    }

    fn read(headers: &[(&'static str, &[u8])], body: &str) -> Result<String, &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        let relaxed = rules().read(&map, body.as_bytes(), false).unwrap();
        let strict = match rules().read(&map, body.as_bytes(), true) {
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

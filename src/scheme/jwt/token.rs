//! The compact form of a signed token (RFC 7515 7.1), read strictly and not yet verified.
//!
//! Stricter than most libraries, since two readers of one token must not disagree: base64url without padding and without
//! stray bits, no name twice in header or claims, no `crit`. The algorithm is read only to be compared with those that
//! the scheme names; nothing in a token chooses how it is verified.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::scheme::spec::JwtAlgorithm;

/// The longest token in a header or a query; one that is the body is bounded like a body.
pub(in crate::scheme) const MAX_TOKEN: usize = 16 * 1024;

/// A token in its parts.
pub(in crate::scheme) struct Token {
    /// What the header says of itself.
    pub(super) algorithm: JwtAlgorithm,
    /// The name of the key, where the header has one.
    pub(super) kid: Option<Box<str>>,
    /// What the token says.
    pub(super) claims: Object,
    text: Vec<u8>,
    /// How much of the text is signed.
    signed: usize,
    signature: Vec<u8>,
}

/// Names in one object. SNS messages and the claims of known senders have some twenty.
///
/// Objects are read before anything is verified, so the bound is what keeps a body of 100,000 names cheap: it is refused
/// at the name after the last allowed one, and the rest is not looked at.
const MAX_NAMES: usize = 512;

/// A JSON object whose names are each there once, of at most [`MAX_NAMES`] names.
///
/// Parsing takes time linear in the text. Arrays and objects inside are skipped and become values only when they are
/// asked for, which is after verification for all but a few.
#[derive(Default)]
pub(in crate::scheme) struct Object(HashMap<String, Member>);

/// One value: scalars are parsed at once, so that a broken one makes the whole object broken.
enum Member {
    Scalar(Value),
    Nested(Box<RawValue>, OnceLock<Value>),
}

impl Member {
    fn parse(raw: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(match raw.get().as_bytes().first() {
            Some(b'{' | b'[') => Self::Nested(raw.to_owned(), OnceLock::new()),
            _ => Self::Scalar(serde_json::from_str(raw.get())?),
        })
    }

    /// The value. One that is nested too deep, or holds a broken text, is an empty list, which serves for nothing.
    fn value(&self) -> &Value {
        match self {
            Self::Scalar(value) => value,
            Self::Nested(raw, value) => value.get_or_init(|| {
                let parsed = serde_json::from_str(raw.get());
                parsed.unwrap_or_else(|_| Value::Array(Vec::new()))
            }),
        }
    }
}

impl Object {
    /// The value under a name.
    pub(in crate::scheme) fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(Member::value)
    }

    /// Whether the name is there, whatever its value is.
    fn holds(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The value under a name, for what is read before verification: an array or object is not parsed, and something
    /// stands in for it that is neither text, number nor `null`.
    pub(in crate::scheme) fn scalar(&self, name: &str) -> Option<&Value> {
        static NESTED: Value = Value::Bool(true);
        match self.0.get(name)? {
            Member::Scalar(value) => Some(value),
            Member::Nested(..) => Some(&NESTED),
        }
    }

    /// Reads the whole text.
    pub(in crate::scheme) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(text).ok()?).ok()
    }
}

impl Token {
    /// Reads the text; the error says what is wrong with it.
    pub(super) fn parse(text: Vec<u8>) -> Result<Self, &'static str> {
        Self::parse_parts(text, false)
    }

    /// Reads `header..signature`, which leaves out its payload; the error says what is wrong with it.
    pub(super) fn parse_detached(text: Vec<u8>) -> Result<Self, &'static str> {
        Self::parse_parts(text, true)
    }

    fn parse_parts(text: Vec<u8>, is_detached: bool) -> Result<Self, &'static str> {
        let mut dots = memchr::memchr_iter(b'.', &text);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err("is not a token of three parts");
        };
        let part = |range: std::ops::Range<usize>| {
            let part = text.get(range).unwrap_or_default();
            BASE64URL_NOPAD
                .decode(part)
                .map_err(|_| "has a part that is not base64url without padding")
        };
        let header = Object::parse(&part(0..first)?).ok_or("has a header that is not JSON")?;
        let claims = match is_detached {
            true if second == first + 1 => Object::default(),
            true => return Err("holds a payload, and this scheme's tokens leave it out"),
            false => {
                let claims = part(first + 1..second)?;
                Object::parse(&claims).ok_or("has claims that are not a JSON object")?
            }
        };
        if header.holds("crit") || header.holds("b64") {
            return Err("needs extensions that are not known here");
        }
        let algorithm = match header.scalar("alg") {
            Some(Value::String(name)) => JwtAlgorithm::parse(name),
            _ => None,
        };
        let kid = match header.scalar("kid") {
            None => None,
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.as_str().into()),
            Some(_) => return Err("names its key with something that is no name"),
        };
        Ok(Self {
            algorithm: algorithm.ok_or("is signed with an algorithm that is not taken")?,
            kid,
            claims,
            signed: second,
            signature: part(second + 1..text.len())?,
            text,
        })
    }

    /// Puts the payload of a detached token where it was left out, in base64url as it is signed (RFC 7515 section 5.1).
    pub(super) fn attach(&mut self, payload: &[u8]) {
        // Of a detached token the header and its dot, up to the second dot.
        let header = self.signed().to_vec();
        let payload = BASE64URL_NOPAD.encode(payload).into_bytes();
        self.text = [header, payload].concat();
        self.signed = self.text.len();
    }

    /// The text that is signed; of a detached token only once its payload is attached.
    pub(super) fn signed(&self) -> &[u8] {
        self.text.get(..self.signed).unwrap_or_default()
    }

    /// The signature over it.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Any text that a key set could hold, within bounds.
fn is_kid(kid: &str) -> bool {
    (1..=256).contains(&kid.len()) && !kid.chars().any(char::is_control)
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut object = Object::default();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            if object.0.len() >= MAX_NAMES {
                return Err(A::Error::custom("too many names"));
            }
            let member = Member::parse(raw).map_err(A::Error::custom)?;
            if object.0.insert(name, member).is_some() {
                return Err(A::Error::custom("a name occurs twice"));
            }
        }
        Ok(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(header: &str, claims: &str, signature: &str) -> String {
        let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!(
            "{}.{}.{}",
            encode(header),
            encode(claims),
            encode(signature)
        )
    }

    fn parse(text: &str) -> Result<(JwtAlgorithm, Option<Box<str>>), &'static str> {
        Token::parse(text.as_bytes().to_vec()).map(|token| (token.algorithm, token.kid))
    }

    #[test]
    fn a_token_is_read_in_its_parts() {
        let text = encode(
            r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#,
            r#"{"iat":1}"#,
            "sig",
        );
        let token = Token::parse(text.as_bytes().to_vec()).unwrap();
        assert_eq!(token.algorithm, JwtAlgorithm::Es256);
        assert_eq!(token.kid.as_deref(), Some("a"));
        assert_eq!(token.signature(), b"sig");
        assert_eq!(token.claims.find("iat"), Some(&Value::from(1)));
        let signed = text.rsplit_once('.').unwrap().0;
        assert_eq!(token.signed(), signed.as_bytes());
    }

    // Fails when the payload is attached with padding, or a token with a payload counts as detached.
    #[test]
    fn a_detached_token_takes_the_body_as_its_payload() {
        let detached = |text: &str| Token::parse_detached(text.as_bytes().to_vec());
        let whole = encode(r#"{"alg":"RS512","kid":"a"}"#, r#"{"n":10.0}"#, "sig");
        let [head, payload, signature] = whole.split('.').collect::<Vec<_>>()[..] else {
            panic!("three parts");
        };
        let mut token = detached(&format!("{head}..{signature}")).unwrap();
        token.attach(br#"{"n":10.0}"#);
        assert_eq!(token.signed(), format!("{head}.{payload}").as_bytes());
        assert_eq!(token.signature(), b"sig");
        assert_eq!(token.kid.as_deref(), Some("a"));
        let unencoded = encode(r#"{"alg":"RS512","b64":false,"crit":["b64"]}"#, "", "sig");
        for bad in [
            whole.clone(),
            format!("{head}.{signature}"),
            format!("{head}...{signature}"),
            format!("..{signature}"),
            format!("{head}..{signature}="),
            unencoded,
        ] {
            assert!(detached(&bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("{head}..{signature}")).is_err());
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        let good = encode(r#"{"alg":"HS256"}"#, "{}", "sig");
        assert!(parse(&good).is_ok());
        let (head, rest) = good.split_once('.').unwrap();
        for bad in [
            String::new(),
            "..".to_owned(),
            head.to_owned(),
            format!("{good}.x"),
            format!("{good}="),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{head}=.{rest}"),
            // `e1` and `e0` would decode to the same byte.
            format!("{head}.e30.e1"),
            encode(r#"{"alg":"HS256","alg":"HS256"}"#, "{}", "s"),
            encode(r#"{"alg":"HS256","kid":"a","kid":"b"}"#, "{}", "s"),
            encode(r#"{"alg":"HS256"}"#, r#"{"exp":1,"\u0065xp":9}"#, "s"),
            encode(r#"{"alg":"HS256"}"#, "[]", "s"),
            encode(r#"{"alg":"HS256"} x"#, "{}", "s"),
            encode(r#"{"alg":"HS256","crit":["exp"]}"#, "{}", "s"),
            encode(r#"{"alg":"HS256","b64":false}"#, "{}", "s"),
            encode(r#"{"alg":"HS256","kid":1}"#, "{}", "s"),
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
    }

    // Fails when nested values are parsed although nothing asks for them: make `Member::parse` take everything as a scalar.
    #[test]
    fn nested_values_are_read_when_asked_for() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let text = format!(r#"{{"a":["x",{{"b":1}}],"deep":{deep},"n":-1.5}}"#);
        let object = Object::parse(text.as_bytes()).unwrap();
        assert_eq!(
            object.find("a"),
            Some(&serde_json::json!(["x", { "b": 1 }]))
        );
        assert_eq!(object.find("deep"), Some(&serde_json::json!([])));
        assert_eq!(object.find("n"), Some(&Value::from(-1.5)));
        assert_eq!(object.scalar("n"), object.find("n"));
        assert_eq!(object.scalar("a"), Some(&Value::Bool(true)));
        assert_eq!(object.find("b"), None);
        for broken in [r#"{"a":[}"#, r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#, "{}x"] {
            assert!(Object::parse(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    // Fails without `MAX_NAMES`.
    #[test]
    fn the_number_of_names_is_bounded() {
        let object = |count: usize| {
            let names: Vec<String> = (0..count).map(|one| format!(r#""n{one}":{one}"#)).collect();
            Object::parse(format!("{{{}}}", names.join(",")).as_bytes())
        };
        assert!(object(MAX_NAMES).is_some());
        assert!(object(MAX_NAMES + 1).is_none());
    }

    // Mutation: let `JwtAlgorithm::parse` ignore the case, or give a default.
    #[test]
    fn no_algorithm_and_unknown_ones_are_refused() {
        for name in ["none", "None", "NONE", "hs256", "HS1", "RS1", "PS256", ""] {
            let text = encode(&format!(r#"{{"alg":"{name}"}}"#), "{}", "");
            assert!(parse(&text).is_err(), "{name}");
        }
        assert!(parse(&encode("{}", "{}", "s")).is_err());
        assert!(parse(&encode(r#"{"alg":["HS256"]}"#, "{}", "s")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9._=-]{0,80}") {
            let _ = parse(&text);
        }
    }
}

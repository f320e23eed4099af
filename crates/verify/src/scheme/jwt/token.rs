//! Strict parser for the compact form of signed tokens (RFC 7515 section 7.1).
//!
//! Stricter than most libraries, because two readers of one token must agree: base64url without padding and without
//! stray bits, unique names in header and claims, no `crit`. The algorithm is read only to compare it with those of the
//! scheme. Nothing in a token chooses how it is verified.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use data_encoding::BASE64URL_NOPAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::scheme::spec::algorithm::JwtAlgorithm;

/// Largest token in a header or query, in bytes; a token in the body is bounded like any body.
pub(in crate::scheme) const MAX_TOKEN: usize = 16 * 1024;

/// An unverified token, split into its parts.
pub(in crate::scheme) struct ParsedJwt {
    /// Algorithm that the header states.
    pub(super) algorithm: JwtAlgorithm,
    /// Name of the key, if the header has one.
    pub(super) kid: Option<Box<str>>,
    /// Claims of the token, not yet checked.
    pub(super) claims: StrictObject,
    text: Vec<u8>,
    /// Length of the signed part of the text, in bytes.
    signed: usize,
    signature: Vec<u8>,
}

/// Limit of names in one object. SNS messages and the claims of known senders have some twenty.
///
/// Objects are parsed before anything is verified. The limit keeps a body of 100,000 names cheap: it is rejected at the
/// first name beyond the limit, and the rest is not parsed.
const MAX_NAMES: usize = 512;

/// A JSON object with unique names, at most [`MAX_NAMES`] of them.
///
/// Parsing takes time linear in the text. Nested arrays and objects are skipped; they are parsed on first use, which
/// for all but a few is after verification.
#[derive(Default)]
pub(in crate::scheme) struct StrictObject(HashMap<String, JsonMember>);

/// One value. Scalars are parsed at once, so that an invalid one makes the whole object invalid.
enum JsonMember {
    Scalar(Value),
    Nested(Box<RawValue>, OnceLock<Value>),
}

impl JsonMember {
    fn parse(raw: &RawValue) -> Result<Self, serde_json::Error> {
        Ok(match raw.get().as_bytes().first() {
            Some(b'{' | b'[') => Self::Nested(raw.to_owned(), OnceLock::new()),
            _ => Self::Scalar(serde_json::from_str(raw.get())?),
        })
    }

    /// Returns the value. A value that is nested too deep, or contains invalid text, becomes an empty list, which fits
    /// no claim.
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

impl StrictObject {
    /// Returns the value under a name.
    pub(in crate::scheme) fn find(&self, name: &str) -> Option<&Value> {
        self.0.get(name).map(JsonMember::value)
    }

    /// Returns whether the name is present, whatever its value is.
    fn holds(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Returns the value under a name, for use before verification. An array or object is not parsed: the
    /// result is then a boolean, which callers do not accept as text, number or `null`.
    pub(in crate::scheme) fn scalar(&self, name: &str) -> Option<&Value> {
        static NESTED: Value = Value::Bool(true);
        match self.0.get(name)? {
            JsonMember::Scalar(value) => Some(value),
            JsonMember::Nested(..) => Some(&NESTED),
        }
    }

    /// Parses the whole text; returns `None` if it is not a valid object.
    pub(in crate::scheme) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_str(std::str::from_utf8(text).ok()?).ok()
    }
}

impl ParsedJwt {
    /// Parses the text; the error says what is wrong with it.
    pub(super) fn parse(text: Vec<u8>) -> Result<Self, &'static str> {
        Self::parse_parts(text, false)
    }

    /// Reads `header..signature`, which leaves out its payload; the error says what is wrong.
    pub(super) fn parse_detached(text: Vec<u8>) -> Result<Self, &'static str> {
        Self::parse_parts(text, true)
    }

    fn parse_parts(text: Vec<u8>, is_detached: bool) -> Result<Self, &'static str> {
        // Exactly two dots: a token with five parts is encrypted (RFC 7516), not signed.
        let mut dots = memchr::memchr_iter(b'.', &text);
        let (Some(first), Some(second), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err("is not a token with three parts");
        };
        let part = |range: std::ops::Range<usize>| {
            let part = text.get(range).unwrap_or_default();
            BASE64URL_NOPAD
                .decode(part)
                .map_err(|_| "has a part that is not base64url without padding")
        };
        let header =
            StrictObject::parse(&part(0..first)?).ok_or("has a header that is not valid JSON")?;
        let claims = match is_detached {
            true if second == first + 1 => StrictObject::default(),
            true => return Err("contains a payload, which this scheme's tokens leave out"),
            false => {
                let claims = part(first + 1..second)?;
                StrictObject::parse(&claims).ok_or("has claims that are not a JSON object")?
            }
        };
        // RFC 7515 section 4.1.11: a verifier must reject extensions that it does not implement.
        // `b64` changes the signed text. RFC 7797 section 6 requires `crit` beside it, so alone it is malformed.
        if header.holds("crit") || header.holds("b64") {
            return Err("needs extensions that hookgate does not support");
        }
        let algorithm = match header.scalar("alg") {
            Some(Value::String(name)) => JwtAlgorithm::parse(name),
            _ => None,
        };
        let kid = match header.scalar("kid") {
            None => None,
            Some(Value::String(kid)) if is_kid(kid) => Some(kid.as_str().into()),
            Some(_) => return Err("has a `kid` that is not a valid name"),
        };
        Ok(Self {
            algorithm: algorithm
                .ok_or("is signed with an algorithm that this scheme does not accept")?,
            kid,
            claims,
            signed: second,
            signature: part(second + 1..text.len())?,
            text,
        })
    }

    /// Inserts the payload of a detached token, in base64url as it is signed (RFC 7515 section 5.1).
    pub(super) fn attach(&mut self, payload: &[u8]) {
        // Of a detached token the header and its dot, up to the second dot.
        let header = self.signed().to_vec();
        let payload = BASE64URL_NOPAD.encode(payload).into_bytes();
        self.text = [header, payload].concat();
        self.signed = self.text.len();
    }

    /// Returns the signed part of the text; for a detached token only after its payload is attached.
    pub(super) fn signed(&self) -> &[u8] {
        self.text.get(..self.signed).unwrap_or_default()
    }

    /// Returns the decoded signature bytes.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

/// Returns whether a text can be the name of a key: any text within bounds.
fn is_kid(kid: &str) -> bool {
    (1..=256).contains(&kid.len()) && !kid.chars().any(char::is_control)
}

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = StrictObject;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<StrictObject, A::Error> {
        let mut object = StrictObject::default();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            if object.0.len() >= MAX_NAMES {
                return Err(A::Error::custom("too many names"));
            }
            let member = JsonMember::parse(raw).map_err(A::Error::custom)?;
            // Two readers could use different values of a repeated name.
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
        ParsedJwt::parse(text.as_bytes().to_vec()).map(|token| (token.algorithm, token.kid))
    }

    #[test]
    fn a_token_is_read_in_its_parts() {
        let text = encode(
            r#"{"alg":"ES256","kid":"a","typ":"JWT"}"#,
            r#"{"iat":1}"#,
            "sig",
        );
        let token = ParsedJwt::parse(text.as_bytes().to_vec()).unwrap();
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
        let detached = |text: &str| ParsedJwt::parse_detached(text.as_bytes().to_vec());
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

    // Fails if nested values are parsed before they are needed: make `JsonMember::parse` treat everything as a scalar.
    #[test]
    fn nested_values_are_read_when_asked_for() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        let text = format!(r#"{{"a":["x",{{"b":1}}],"deep":{deep},"n":-1.5}}"#);
        let object = StrictObject::parse(text.as_bytes()).unwrap();
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
            assert!(StrictObject::parse(broken.as_bytes()).is_none(), "{broken}");
        }
    }

    // Fails without `MAX_NAMES`.
    #[test]
    fn the_number_of_names_is_bounded() {
        let object = |count: usize| {
            let names: Vec<String> = (0..count).map(|one| format!(r#""n{one}":{one}"#)).collect();
            StrictObject::parse(format!("{{{}}}", names.join(",")).as_bytes())
        };
        assert!(object(MAX_NAMES).is_some());
        assert!(object(MAX_NAMES + 1).is_none());
    }

    // Fails if `JwtAlgorithm::parse` ignores the case, or returns a default.
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

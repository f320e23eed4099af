//! Verifies the signature of one request: head first, then the arriving body, then the comparison.
//!
//! Joins the scheme, which has no clock, with the time: which secrets are current, and whether the signed timestamp is
//! within the tolerance. The body of a request with a wrong head is not read.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::model::secret::Secret;
use hookgate_verify::scheme::boundary::BoundaryRules;
use hookgate_verify::scheme::gzip::{self, GzipFault};
use hookgate_verify::scheme::remote_keys::{KeyNeed, RemoteKeys};
use hookgate_verify::scheme::spec::{GzipText, HeaderFamilies, SchemeSpec};
use hookgate_verify::scheme::{
    MaterialFault, RequestHead, Scheme, SchemeError, SchemeVerifier, SecretSet, SignedTime,
    ValidityWindow,
};
use http::HeaderMap;

use crate::config::model::{Route, SecretEntry};
use crate::gate::reject::Reject;
use crate::model::clock::ClockReading;

/// Limit of a decompressed body if no route sets one.
const DEFAULT_MAX_PLAIN: usize = 25 * 1024 * 1024;

/// The scheme and secrets of one route.
pub struct RouteVerifier {
    scheme: Scheme,
    /// `None` if no request of the scheme has a second reading.
    boundaries: Option<Box<BoundaryRules>>,
    entries: Box<[SecretWindow]>,
    tolerance: Duration,
    families: Option<HeaderFamilies>,
    gzip: Option<GzipText>,
    /// Limit of a body, compressed or not: a small request must not unpack to a large one.
    max_body: usize,
}

/// The validity period of a secret. The secret itself is in the scheme.
struct SecretWindow {
    label: Arc<str>,
    not_before_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// A request whose head is right and whose body is arriving.
pub struct PendingVerification<'a> {
    keys: &'a RouteVerifier,
    head: RequestHead<'a>,
    /// The signed event id of the head; empty if the scheme reads no id there.
    id: &'a [u8],
    verifier: SchemeVerifier<'a>,
    now: ClockReading,
}

/// A request whose signature is right.
#[derive(Clone, Debug)]
pub struct VerifiedSignature {
    /// The label of the secret that matched.
    pub label: Arc<str>,
    /// The digest of the signed bytes, for dedup.
    pub digest: [u8; 32],
    /// The decompressed body, if the request was compressed.
    pub plain: Option<Box<[u8]>>,
}

impl RouteVerifier {
    /// Compiles a route's scheme and secrets.
    ///
    /// # Errors
    /// Returns an error if a secret does not fit the scheme.
    pub fn compile(route: &Route) -> Result<Self, SchemeError> {
        let public_url = route.public_url.as_deref();
        let keys = Self::new(&route.scheme, &route.secrets, public_url, route.tolerance)?;
        Ok(Self {
            max_body: route.max_body,
            ..keys
        })
    }

    /// Compiles a scheme and secrets without a route, with the default limit for decompressed bodies.
    ///
    /// # Errors
    /// Returns an error if a secret does not fit the scheme.
    pub fn new(
        spec: &SchemeSpec,
        secrets: &[SecretEntry],
        public_url: Option<&str>,
        tolerance: Duration,
    ) -> Result<Self, SchemeError> {
        let boundaries = BoundaryRules::compile(spec);
        let texts: Vec<&Secret> = secrets.iter().map(|entry| &entry.secret).collect();
        let entries = secrets.iter().map(|entry| SecretWindow {
            label: Arc::clone(&entry.label),
            not_before_ms: entry.not_before_ms,
            until_ms: entry.until_ms,
        });
        Ok(Self {
            scheme: Scheme::compile(spec, &texts, public_url)?,
            boundaries: (!boundaries.is_empty()).then(|| Box::new(boundaries)),
            entries: entries.collect(),
            tolerance,
            families: HeaderFamilies::new(spec),
            gzip: spec.variants.gzip,
            max_body: DEFAULT_MAX_PLAIN,
        })
    }

    /// Returns the headers renamed to the names that the scheme reads, or `None` if they have those names. All later
    /// code reads the renamed headers.
    ///
    /// # Errors
    /// [`Reject::MalformedMaterial`] if the request mixes both sets of names.
    pub fn own_names(&self, headers: &HeaderMap) -> Result<Option<Box<HeaderMap>>, Reject> {
        match &self.families {
            None => Ok(None),
            Some(families) => families.own_names(headers).map_err(reject),
        }
    }

    /// Returns the decompressed body, or `None` if it is not compressed.
    fn plain(&self, body: &[u8]) -> Result<Option<Box<[u8]>>, Reject> {
        let malformed = |fault| Reject::MalformedMaterial {
            name: "the body".into(),
            fault,
        };
        gzip::plain(body, self.max_body).map_err(|fault| match fault {
            GzipFault::Broken => malformed("is not one gzip stream"),
            GzipFault::Ratio => malformed("exceeds the allowed compression ratio"),
            GzipFault::TooLarge => Reject::BodyTooLarge {
                limit: self.max_body,
            },
        })
    }

    /// Returns the scheme, for its rules about headers.
    #[must_use]
    pub fn scheme(&self) -> &Scheme {
        &self.scheme
    }

    /// Checks the head: secrets, signature material and timestamp.
    ///
    /// # Errors
    /// [`Reject::NoCurrentSecret`], [`Reject::MissingMaterial`], [`Reject::MalformedMaterial`],
    /// [`Reject::StaleTimestamp`], or [`Reject::BadSignature`] where the head alone says so.
    pub fn open<'a>(
        &'a self,
        head: RequestHead<'a>,
        now: &ClockReading,
    ) -> Result<PendingVerification<'a>, Reject> {
        // Without a current secret, no signature can match.
        let current = self.current(now);
        if current.is_empty() {
            return Err(Reject::NoCurrentSecret);
        }
        let material = self.scheme.material(&head).map_err(reject)?;
        if let Some(time) = material.signed_time() {
            self.check_time(time, now)?;
        }
        let id = material.id();
        let verifier = self.scheme.begin(material, head, current);
        // A wrong token, for example, is known before the body is read.
        if verifier.is_hopeless() {
            return Err(Reject::BadSignature);
        }
        Ok(PendingVerification {
            keys: self,
            head,
            id,
            verifier,
            now: *now,
        })
    }

    fn current(&self, now: &ClockReading) -> SecretSet {
        let is_current = |entry: &SecretWindow| {
            entry.not_before_ms.is_none_or(|from| from <= now.unix_ms)
                && entry.until_ms.is_none_or(|until| now.unix_ms < until)
        };
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| is_current(entry))
            .fold(SecretSet::empty(), |set, (index, _)| set.with(index))
    }

    /// Checks a signed time. A time in whole seconds is compared with whole seconds, as the senders' own libraries do.
    fn check_time(&self, time: SignedTime, now: &ClockReading) -> Result<(), Reject> {
        let now_ms = if time.is_in_seconds {
            now.unix_seconds().saturating_mul(1000)
        } else {
            now.unix_ms
        };
        self.check_age(now_ms.saturating_sub(time.unix_ms))
    }

    /// Checks an age in both directions: a signature from the future would stay valid for as long as its sender likes.
    fn check_age(&self, age_ms: i64) -> Result<(), Reject> {
        if u128::from(age_ms.unsigned_abs()) <= self.tolerance.as_millis() {
            return Ok(());
        }
        Err(Reject::StaleTimestamp {
            age_seconds: age_ms / 1000,
            tolerance: self.tolerance,
        })
    }
}

impl PendingVerification<'_> {
    /// Feeds the next chunk of the body.
    pub fn update(&mut self, chunk: &[u8]) {
        // The signature covers the decompressed body, which is known only at the end.
        if self.keys.gzip != Some(GzipText::Plain) {
            self.verifier.update(chunk);
        }
    }

    /// Returns the key to fetch before `finish`, if any; `body` is the whole body.
    ///
    /// # Errors
    /// As for [`RouteVerifier::open`].
    pub fn need(&mut self, body: &[u8]) -> Result<Option<KeyNeed>, Reject> {
        self.verifier.need(body).map_err(reject)
    }

    /// Compares the signature; `body` is the whole body, and `keys` holds what `need` asked for.
    ///
    /// # Errors
    /// [`Reject::BadSignature`]; for schemes that read the body, also those of [`RouteVerifier::open`].
    pub fn finish(
        mut self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<VerifiedSignature, Reject> {
        let mut plain = None;
        let mut signed = body;
        if self.keys.gzip == Some(GzipText::Plain) {
            plain = self.keys.plain(body)?;
            signed = plain.as_deref().unwrap_or(body);
            self.verifier.update(signed);
        }
        let found = self.verifier.finish(signed, keys).map_err(reject)?;
        let found = found.ok_or(Reject::BadSignature)?;
        // A signature that is right for the joined text may still be split into other values: see `BoundaryRules`.
        if let Some(boundaries) = &self.keys.boundaries {
            boundaries
                .check(&self.head, self.id, signed)
                .map_err(reject)?;
        }
        // After the signature: bytes that are signed as sent are decompressed only once they are verified.
        if self.keys.gzip == Some(GzipText::Sent) {
            plain = self.keys.plain(body)?;
        }
        // Some schemes sign the time in the body or a token, so it is known only now.
        if let Some(time) = found.signed_time {
            self.keys.check_time(time, &self.now)?;
        }
        if let Some(validity) = found.validity {
            check_validity(validity, &self.now)?;
        }
        let entry = self.keys.entries.get(found.secret_index);
        Ok(VerifiedSignature {
            label: Arc::clone(&entry.ok_or(Reject::BadSignature)?.label),
            digest: found.digest,
            plain,
        })
    }
}

/// Checks that the token or certificate is valid now.
fn check_validity(validity: ValidityWindow, now: &ClockReading) -> Result<(), Reject> {
    let malformed = |fault| Reject::MalformedMaterial {
        name: validity.name.into(),
        fault,
    };
    if validity.from_ms.is_some_and(|from| now.unix_ms < from) {
        return Err(malformed("is not valid yet"));
    }
    if validity.until_ms.is_some_and(|until| until <= now.unix_ms) {
        return Err(malformed("has expired"));
    }
    Ok(())
}

fn reject(fault: MaterialFault) -> Reject {
    match fault {
        MaterialFault::Missing { name } => Reject::MissingMaterial { name },
        MaterialFault::Malformed { name, fault } => Reject::MalformedMaterial { name, fault },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use hookgate_verify::scheme::ToSign;
    use hookgate_verify::scheme::spec::{
        DigestAlgorithm, HmacSpec, SchemeFamily, SchemeLocation, SchemeVariants, SecretForm,
        SignatureEncoding, SignatureSpec, SignedTemplate, TemplatePart, TimeUnit, TimestampSpec,
        TokenLocation, TokenSpec,
    };
    use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

    use super::*;

    fn spec(unit: TimeUnit) -> SchemeSpec {
        let place = |name| SchemeLocation::Header(HeaderName::from_static(name));
        SchemeSpec {
            family: SchemeFamily::Hmac(HmacSpec {
                algorithm: DigestAlgorithm::Sha256,
                encoding: SignatureEncoding::Hex,
                signature: SignatureSpec {
                    base64_json: None,
                    location: place("x-signature"),
                    prefix: String::new(),
                    list: None,
                },
                signed: SignedTemplate {
                    parts: vec![TemplatePart::Timestamp, TemplatePart::Body],
                },
                timestamp: Some(TimestampSpec {
                    location: place("x-time"),
                    key: None,
                    unit,
                }),
                secret: SecretForm::default(),
            }),
            event_id: vec![],
            event_type: vec![],
            version: vec![],
            variants: SchemeVariants::default(),
        }
    }

    fn entry(label: &str, not_before_ms: Option<i64>, until_ms: Option<i64>) -> SecretEntry {
        let secret = Secret::new(format!("secret {label}").into_bytes());
        SecretEntry {
            not_before_ms,
            until_ms,
            ..SecretEntry::new(label, secret)
        }
    }

    fn keys(unit: TimeUnit, entries: &[SecretEntry]) -> RouteVerifier {
        RouteVerifier::new(&spec(unit), entries, None, Duration::from_mins(5)).unwrap()
    }

    fn at(unix_ms: i64) -> ClockReading {
        let now = ClockReading::at_unix_seconds(0);
        ClockReading { unix_ms, ..now }
    }

    /// Returns the head of a POST to `/`.
    fn head(headers: &HeaderMap) -> RequestHead<'_> {
        static LINE: LazyLock<(Method, Uri)> =
            LazyLock::new(|| (Method::POST, Uri::from_static("/")));
        let (method, uri) = &*LINE;
        RequestHead {
            method,
            uri,
            headers,
        }
    }

    /// Signs at one time with one of the secrets, and verifies at another time.
    fn check(
        keys: &RouteVerifier,
        index: usize,
        signed_ms: i64,
        now_ms: i64,
    ) -> Result<String, Reject> {
        let body = b"the body";
        let unsigned = HeaderMap::new();
        let to_sign = ToSign {
            head: head(&unsigned),
            unix_ms: signed_ms,
            id: None,
            body,
        };
        let mut headers = HeaderMap::new();
        for (name, value) in keys.scheme().sign(index, &to_sign).unwrap().headers {
            headers.insert(name, HeaderValue::from_str(&value).unwrap());
        }
        let mut pending = keys.open(head(&headers), &at(now_ms))?;
        for chunk in body.chunks(3) {
            pending.update(chunk);
        }
        Ok(pending.finish(body, None)?.label.to_string())
    }

    #[test]
    fn a_timestamp_is_good_within_the_tolerance_in_both_directions() {
        let keys = keys(TimeUnit::Seconds, &[entry("1", None, None)]);
        let t = 1_700_000_000_000;
        for off in [-300_000, -1, 0, 1, 300_000, 300_999] {
            assert_eq!(check(&keys, 0, t, t + off).unwrap(), "1", "{off}");
        }
        for (off, age_seconds) in [
            (301_000, 301),
            (-300_001, -301),
            (i64::MAX - t, (i64::MAX - t) / 1000),
        ] {
            let stale = Reject::StaleTimestamp {
                age_seconds,
                tolerance: Duration::from_mins(5),
            };
            assert_eq!(check(&keys, 0, t, t + off), Err(stale), "{off}");
        }
        assert!(check(&keys, 0, t, i64::MIN).is_err());
    }

    #[test]
    fn milliseconds_are_held_against_milliseconds() {
        let keys = keys(TimeUnit::Millis, &[entry("1", None, None)]);
        let t = 1_700_000_000_123;
        assert!(check(&keys, 0, t, t + 300_000).is_ok());
        assert!(check(&keys, 0, t, t + 300_001).is_err());
        assert!(check(&keys, 0, t, t - 300_000).is_ok());
        assert!(check(&keys, 0, t, t - 300_001).is_err());
    }

    #[test]
    fn a_secret_counts_from_not_before_up_to_until() {
        let t = 1_700_000_000_000;
        let entries = [
            entry("old", None, Some(t)),
            entry("new", Some(t), Some(t + 5000)),
        ];
        let keys = keys(TimeUnit::Seconds, &entries);
        assert_eq!(check(&keys, 0, t, t - 1), Ok("old".to_owned()));
        assert_eq!(check(&keys, 1, t, t - 1), Err(Reject::BadSignature));
        assert_eq!(check(&keys, 0, t, t), Err(Reject::BadSignature));
        assert_eq!(check(&keys, 1, t, t), Ok("new".to_owned()));
        assert_eq!(check(&keys, 1, t, t + 4999), Ok("new".to_owned()));
        assert_eq!(check(&keys, 1, t, t + 5000), Err(Reject::NoCurrentSecret));
    }

    #[test]
    fn a_validity_has_its_first_moment_and_not_its_end() {
        let validity = ValidityWindow {
            name: "the token",
            from_ms: Some(10),
            until_ms: Some(20),
        };
        for (now_ms, is_good) in [(9, false), (10, true), (19, true), (20, false)] {
            let checked = check_validity(validity, &at(now_ms));
            assert_eq!(checked.is_ok(), is_good, "{now_ms}");
        }
    }

    /// Fails when a body is read although the head shows that no body can make the request right.
    #[test]
    fn a_wrong_token_is_refused_by_the_head() {
        let spec = SchemeSpec {
            family: SchemeFamily::Token(TokenSpec {
                location: TokenLocation::Header {
                    name: HeaderName::from_static("x-token"),
                    prefix: String::new(),
                },
            }),
            ..spec(TimeUnit::Seconds)
        };
        let keys =
            RouteVerifier::new(&spec, &[entry("1", None, None)], None, Duration::MAX).unwrap();
        let mut headers = HeaderMap::new();
        for (token, expected) in [("secret 1", None), ("secret 2", Some(Reject::BadSignature))] {
            headers.insert("x-token", HeaderValue::from_static(token));
            let opened = keys.open(head(&headers), &at(0));
            assert_eq!(opened.err(), expected, "{token}");
        }
    }

    #[test]
    fn missing_material_is_named() {
        let keys = keys(TimeUnit::Seconds, &[entry("1", None, None)]);
        let mut headers = HeaderMap::new();
        headers.insert(
            "x-signature",
            HeaderValue::from_str(&"0".repeat(64)).unwrap(),
        );
        let missing = Reject::MissingMaterial {
            name: "x-time".into(),
        };
        assert_eq!(keys.open(head(&headers), &at(0)).err(), Some(missing));
    }
}

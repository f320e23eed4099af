//! Verifies the signature of one request: head first, then the arriving body, then the comparison.
//!
//! Joins the scheme, which has no clock, with the time: which secrets are current, and whether the signed timestamp is
//! within the tolerance. The body of a request with a wrong head is not read.

use std::sync::Arc;
use std::time::Duration;

use crate::model::secret::Secret;
use crate::scheme::boundary::BoundaryRules;
use crate::scheme::gzip::{self, GzipFault};
use crate::scheme::remote_keys::{KeyNeed, RemoteKeys};
use crate::scheme::spec::{GzipText, HeaderFamilies, SchemeSpec};
use crate::scheme::{
    RequestHead, Scheme, SchemeError, SchemeVerifier, SecretSet, SignedTime, ValidityWindow,
};
use http::HeaderMap;

use crate::error::VerifyError;

/// Limit of a decompressed body if no route sets one.
const DEFAULT_MAX_PLAIN: usize = 25 * 1024 * 1024;

/// A scheme with its secrets.
pub struct SignatureVerifier {
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

/// A secret with its name and the time in which it is valid.
pub struct DatedSecret<'s> {
    /// Name that [`VerifiedSignature`] reports.
    pub label: Arc<str>,
    /// The secret as the sender shows it.
    pub secret: &'s Secret,
    /// Start of its validity, in milliseconds since the Unix epoch.
    pub not_before_ms: Option<i64>,
    /// End of its validity (exclusive), in milliseconds since the Unix epoch.
    pub until_ms: Option<i64>,
}

/// The validity period of a secret. The secret itself is in the scheme.
struct SecretWindow {
    label: Arc<str>,
    not_before_ms: Option<i64>,
    until_ms: Option<i64>,
}

/// A request whose head is right and whose body is arriving.
pub struct PendingVerification<'a> {
    keys: &'a SignatureVerifier,
    head: RequestHead<'a>,
    /// The signed event id of the head; empty if the scheme reads no id there.
    id: &'a [u8],
    verifier: SchemeVerifier<'a>,
    unix_ms: i64,
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

impl SignatureVerifier {
    /// Compiles a scheme and its secrets, with the default limit for decompressed bodies.
    ///
    /// # Errors
    /// Returns an error if a secret does not fit the scheme.
    pub fn new<'s>(
        spec: &SchemeSpec,
        secrets: impl IntoIterator<Item: Into<DatedSecret<'s>>>,
        public_url: Option<&str>,
        tolerance: Duration,
    ) -> Result<Self, SchemeError> {
        let boundaries = BoundaryRules::compile(spec);
        let secrets: Vec<DatedSecret<'_>> = secrets.into_iter().map(Into::into).collect();
        let texts: Vec<&Secret> = secrets.iter().map(|entry| entry.secret).collect();
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

    /// Sets the limit for decompressed bodies, in bytes.
    #[must_use]
    pub fn with_max_body(self, max_body: usize) -> Self {
        Self { max_body, ..self }
    }

    /// Returns the headers renamed to the names that the scheme reads, or `None` if they have those names. All later
    /// code reads the renamed headers.
    ///
    /// # Errors
    /// [`VerifyError::MalformedMaterial`] if the request mixes both sets of names.
    pub fn own_names(&self, headers: &HeaderMap) -> Result<Option<Box<HeaderMap>>, VerifyError> {
        match &self.families {
            None => Ok(None),
            Some(families) => families.own_names(headers).map_err(VerifyError::from),
        }
    }

    /// Returns the decompressed body, or `None` if it is not compressed.
    fn plain(&self, body: &[u8]) -> Result<Option<Box<[u8]>>, VerifyError> {
        let malformed = |fault| VerifyError::MalformedMaterial {
            name: "the body".into(),
            fault,
        };
        gzip::plain(body, self.max_body).map_err(|fault| match fault {
            GzipFault::Broken => malformed("is not one gzip stream"),
            GzipFault::Ratio => malformed("exceeds the allowed compression ratio"),
            GzipFault::TooLarge => VerifyError::BodyTooLarge {
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
    /// [`VerifyError::NoCurrentSecret`], [`VerifyError::MissingMaterial`], [`VerifyError::MalformedMaterial`],
    /// [`VerifyError::StaleTimestamp`], or [`VerifyError::BadSignature`] where the head alone says so.
    pub fn open<'a>(
        &'a self,
        head: RequestHead<'a>,
        unix_ms: i64,
    ) -> Result<PendingVerification<'a>, VerifyError> {
        // Without a current secret, no signature can match.
        let current = self.current(unix_ms);
        if current.is_empty() {
            return Err(VerifyError::NoCurrentSecret);
        }
        let material = self.scheme.material(&head).map_err(VerifyError::from)?;
        if let Some(time) = material.signed_time() {
            self.check_time(time, unix_ms)?;
        }
        let id = material.id();
        let verifier = self.scheme.begin(material, head, current);
        // A wrong token, for example, is known before the body is read.
        if verifier.is_hopeless() {
            return Err(VerifyError::BadSignature);
        }
        Ok(PendingVerification {
            keys: self,
            head,
            id,
            verifier,
            unix_ms,
        })
    }

    fn current(&self, unix_ms: i64) -> SecretSet {
        let is_current = |entry: &SecretWindow| {
            entry.not_before_ms.is_none_or(|from| from <= unix_ms)
                && entry.until_ms.is_none_or(|until| unix_ms < until)
        };
        let entries = self.entries.iter().enumerate();
        entries
            .filter(|(_, entry)| is_current(entry))
            .fold(SecretSet::empty(), |set, (index, _)| set.with(index))
    }

    /// Checks a signed time. A time in whole seconds is compared with whole seconds, as the senders' own libraries do.
    fn check_time(&self, time: SignedTime, unix_ms: i64) -> Result<(), VerifyError> {
        let now_ms = if time.is_in_seconds {
            unix_ms.div_euclid(1000).saturating_mul(1000)
        } else {
            unix_ms
        };
        self.check_age(now_ms.saturating_sub(time.unix_ms))
    }

    /// Checks an age in both directions: a signature from the future would stay valid for as long as its sender likes.
    fn check_age(&self, age_ms: i64) -> Result<(), VerifyError> {
        if u128::from(age_ms.unsigned_abs()) <= self.tolerance.as_millis() {
            return Ok(());
        }
        Err(VerifyError::StaleTimestamp {
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
    /// As for [`SignatureVerifier::open`].
    pub fn need(&mut self, body: &[u8]) -> Result<Option<KeyNeed>, VerifyError> {
        self.verifier.need(body).map_err(VerifyError::from)
    }

    /// Compares the signature; `body` is the whole body, and `keys` holds what `need` asked for.
    ///
    /// # Errors
    /// [`VerifyError::BadSignature`]; for schemes that read the body, also those of [`SignatureVerifier::open`].
    pub fn finish(
        mut self,
        body: &[u8],
        keys: Option<&RemoteKeys>,
    ) -> Result<VerifiedSignature, VerifyError> {
        let mut plain = None;
        let mut signed = body;
        if self.keys.gzip == Some(GzipText::Plain) {
            plain = self.keys.plain(body)?;
            signed = plain.as_deref().unwrap_or(body);
            self.verifier.update(signed);
        }
        let found = self
            .verifier
            .finish(signed, keys)
            .map_err(VerifyError::from)?;
        let found = found.ok_or(VerifyError::BadSignature)?;
        // A signature that is right for the joined text may still be split into other values: see `BoundaryRules`.
        if let Some(boundaries) = &self.keys.boundaries {
            boundaries
                .check(&self.head, self.id, signed)
                .map_err(VerifyError::from)?;
        }
        // After the signature: bytes that are signed as sent are decompressed only once they are verified.
        if self.keys.gzip == Some(GzipText::Sent) {
            plain = self.keys.plain(body)?;
        }
        // Some schemes sign the time in the body or a token, so it is known only now.
        if let Some(time) = found.signed_time {
            self.keys.check_time(time, self.unix_ms)?;
        }
        if let Some(validity) = found.validity {
            check_validity(validity, self.unix_ms)?;
        }
        let entry = self.keys.entries.get(found.secret_index);
        Ok(VerifiedSignature {
            label: Arc::clone(&entry.ok_or(VerifyError::BadSignature)?.label),
            digest: found.digest,
            plain,
        })
    }
}

/// Checks that the token or certificate is valid now.
fn check_validity(validity: ValidityWindow, unix_ms: i64) -> Result<(), VerifyError> {
    let malformed = |fault| VerifyError::MalformedMaterial {
        name: validity.name.into(),
        fault,
    };
    if validity.from_ms.is_some_and(|from| unix_ms < from) {
        return Err(malformed("is not valid yet"));
    }
    if validity.until_ms.is_some_and(|until| until <= unix_ms) {
        return Err(malformed("has expired"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use crate::scheme::ToSign;
    use crate::scheme::spec::{
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

    /// A label, and the start and end of the secret's validity.
    type Entry = (&'static str, Option<i64>, Option<i64>);

    fn entry(label: &'static str, not_before_ms: Option<i64>, until_ms: Option<i64>) -> Entry {
        (label, not_before_ms, until_ms)
    }

    fn keys(unit: TimeUnit, entries: &[Entry]) -> SignatureVerifier {
        keys_of(&spec(unit), entries, Duration::from_mins(5))
    }

    fn keys_of(spec: &SchemeSpec, entries: &[Entry], tolerance: Duration) -> SignatureVerifier {
        let secret = |(label, _, _): &Entry| Secret::new(format!("secret {label}").into_bytes());
        let secrets: Vec<Secret> = entries.iter().map(secret).collect();
        let dated = entries
            .iter()
            .zip(&secrets)
            .map(|(entry, secret)| DatedSecret {
                label: entry.0.into(),
                secret,
                not_before_ms: entry.1,
                until_ms: entry.2,
            });
        SignatureVerifier::new(spec, dated, None, tolerance).unwrap()
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
        keys: &SignatureVerifier,
        index: usize,
        signed_ms: i64,
        now_ms: i64,
    ) -> Result<String, VerifyError> {
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
        let mut pending = keys.open(head(&headers), now_ms)?;
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
            let stale = VerifyError::StaleTimestamp {
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
        assert_eq!(check(&keys, 1, t, t - 1), Err(VerifyError::BadSignature));
        assert_eq!(check(&keys, 0, t, t), Err(VerifyError::BadSignature));
        assert_eq!(check(&keys, 1, t, t), Ok("new".to_owned()));
        assert_eq!(check(&keys, 1, t, t + 4999), Ok("new".to_owned()));
        assert_eq!(
            check(&keys, 1, t, t + 5000),
            Err(VerifyError::NoCurrentSecret)
        );
    }

    #[test]
    fn a_validity_has_its_first_moment_and_not_its_end() {
        let validity = ValidityWindow {
            name: "the token",
            from_ms: Some(10),
            until_ms: Some(20),
        };
        for (now_ms, is_good) in [(9, false), (10, true), (19, true), (20, false)] {
            let checked = check_validity(validity, now_ms);
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
        let keys = keys_of(&spec, &[entry("1", None, None)], Duration::MAX);
        let mut headers = HeaderMap::new();
        for (token, expected) in [
            ("secret 1", None),
            ("secret 2", Some(VerifyError::BadSignature)),
        ] {
            headers.insert("x-token", HeaderValue::from_static(token));
            let opened = keys.open(head(&headers), 0);
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
        let missing = VerifyError::MissingMaterial {
            name: "x-time".into(),
        };
        assert_eq!(keys.open(head(&headers), 0).err(), Some(missing));
    }
}

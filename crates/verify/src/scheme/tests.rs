//! Tests of whole schemes: requests that they accept, and requests that they reject.

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Method, Uri};
use proptest::prelude::*;

use super::*;
use crate::scheme::spec::*;

fn header(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn plain(encoding: SignatureEncoding, prefix: &str, algorithm: DigestAlgorithm) -> SchemeSpec {
    SchemeSpec {
        family: SchemeFamily::Hmac(HmacSpec {
            algorithm,
            encoding,
            signature: SignatureSpec {
                base64_json: None,
                location: SchemeLocation::Header(header("x-signature")),
                prefix: prefix.to_owned(),
                list: None,
            },
            signed: SignedTemplate {
                parts: vec![TemplatePart::Body],
            },
            timestamp: None,
            secret: SecretForm::default(),
        }),
        event_id: vec![FieldLocation::Header(header("x-delivery"))],
        event_type: vec![],
        version: vec![],
        variants: SchemeVariants::default(),
    }
}

fn github() -> SchemeSpec {
    plain(SignatureEncoding::Hex, "sha256=", DigestAlgorithm::Sha256)
}

fn stripe() -> SchemeSpec {
    let place = SchemeLocation::Header(header("stripe-signature"));
    SchemeSpec {
        family: SchemeFamily::Hmac(HmacSpec {
            algorithm: DigestAlgorithm::Sha256,
            encoding: SignatureEncoding::Hex,
            signature: SignatureSpec {
                base64_json: None,
                location: place.clone(),
                prefix: String::new(),
                list: Some(ListSpec {
                    separator: ',',
                    key: "v1".to_owned(),
                    assign: '=',
                    any_key: false,
                    trim: false,
                    is_quoted: false,
                    sets: None,
                }),
            },
            signed: SignedTemplate {
                parts: vec![
                    TemplatePart::Timestamp,
                    TemplatePart::Literal(".".to_owned()),
                    TemplatePart::Body,
                ],
            },
            timestamp: Some(TimestampSpec {
                location: place,
                key: Some("t".to_owned()),
                unit: TimeUnit::Seconds,
            }),
            secret: SecretForm::default(),
        }),
        event_id: vec![FieldLocation::Json(vec!["id".to_owned()])],
        event_type: vec![],
        version: vec![],
        variants: SchemeVariants::default(),
    }
}

fn standard_webhooks() -> SchemeSpec {
    let dot = || TemplatePart::Literal(".".to_owned());
    SchemeSpec {
        family: SchemeFamily::Hmac(HmacSpec {
            algorithm: DigestAlgorithm::Sha256,
            encoding: SignatureEncoding::Base64,
            signature: SignatureSpec {
                base64_json: None,
                location: SchemeLocation::Header(header("webhook-signature")),
                prefix: String::new(),
                list: Some(ListSpec {
                    separator: ' ',
                    key: "v1".to_owned(),
                    assign: ',',
                    any_key: false,
                    trim: false,
                    is_quoted: false,
                    sets: None,
                }),
            },
            signed: SignedTemplate {
                parts: vec![
                    TemplatePart::Id,
                    dot(),
                    TemplatePart::Timestamp,
                    dot(),
                    TemplatePart::Body,
                ],
            },
            timestamp: Some(TimestampSpec {
                location: SchemeLocation::Header(header("webhook-timestamp")),
                key: None,
                unit: TimeUnit::Seconds,
            }),
            secret: SecretForm {
                encoding: SecretEncoding::Base64,
                strip_prefix: "whsec_".to_owned(),
                derive: None,
                alternative: None,
            },
        }),
        event_id: vec![FieldLocation::Header(header("webhook-id"))],
        event_type: vec![],
        version: vec![],
        variants: SchemeVariants::default(),
    }
}

/// Tests parts from all of the head, on both sides of the body.
fn everything(
    unit: TimeUnit,
    place: SchemeLocation,
    encoding: SignatureEncoding,
    algorithm: DigestAlgorithm,
) -> SchemeSpec {
    let bar = || TemplatePart::Literal("|".to_owned());
    let mut parts = vec![TemplatePart::Method, bar(), TemplatePart::Path, bar()];
    if matches!(place, SchemeLocation::Header(_)) {
        parts.extend([TemplatePart::Url, bar(), TemplatePart::PathQuery, bar()]);
    }
    parts.extend([
        TemplatePart::Header(header("x-extra")),
        bar(),
        TemplatePart::Body,
        bar(),
    ]);
    parts.extend([TemplatePart::Id, bar(), TemplatePart::Timestamp]);
    let mut spec = plain(encoding, "p=", algorithm);
    if let SchemeFamily::Hmac(family) = &mut spec.family {
        family.signature.location = place;
        family.signed = SignedTemplate { parts };
        family.timestamp = Some(TimestampSpec {
            location: SchemeLocation::Query("ts".to_owned()),
            key: None,
            unit,
        });
    }
    spec
}

fn compile(spec: &SchemeSpec, secrets: &[&str]) -> Scheme {
    let secrets: Vec<Secret> = secrets.iter().map(|text| secret(text)).collect();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    Scheme::compile(spec, &secrets, Some("https://hooks.example")).unwrap()
}

struct Request {
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn new(headers: &[(&'static str, &str)], body: &str) -> Self {
        let mut request = Self {
            uri: Uri::from_static("/in?a=1"),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        };
        for (name, value) in headers {
            request.add(header(name), value);
        }
        request
    }

    fn signed(scheme: &Scheme, index: usize, unix_ms: i64, id: &str, body: &[u8]) -> Self {
        let mut request = Self::new(&[("x-extra", "extra")], "");
        request.body = body.to_vec();
        // Set timestamp and id first, as a sender that signs its query does.
        let stamp = scheme
            .sign(
                index,
                &ToSign {
                    head: request.head(),
                    unix_ms,
                    id: Some(id),
                    body,
                },
            )
            .unwrap();
        let mut target = request.uri.to_string();
        for (name, value) in &stamp.query {
            target = format!("{target}&{name}={value}");
        }
        request.uri = target.parse().unwrap();
        for (name, value) in stamp.headers {
            request.add(name, &value);
        }
        request
    }

    fn add(&mut self, name: HeaderName, value: &str) {
        self.headers
            .append(name, HeaderValue::from_str(value).unwrap());
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &Method::POST,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn verify(&self, scheme: &Scheme) -> Result<Option<usize>, MaterialFault> {
        self.verify_with(scheme, SecretSet::all(scheme.secret_count()), 7)
    }

    fn verify_with(
        &self,
        scheme: &Scheme,
        current: SecretSet,
        piece: usize,
    ) -> Result<Option<usize>, MaterialFault> {
        let material = scheme.material(&self.head())?;
        let mut verifier = scheme.begin(material, self.head(), current);
        for chunk in self.body.chunks(piece) {
            verifier.update(chunk);
        }
        Ok(verifier
            .finish(&self.body, None)
            .unwrap()
            .map(|found| found.secret_index))
    }
}

const HELLO: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

/// The example of GitHub's documentation.
fn github_hello(value: &str) -> Result<Option<usize>, MaterialFault> {
    let scheme = compile(&github(), &["It's a Secret to Everybody"]);
    Request::new(&[("x-signature", value)], "Hello, World!").verify(&scheme)
}

#[test]
fn hex_is_taken_in_either_case_and_in_no_other_form() {
    assert_eq!(github_hello(&format!("sha256={HELLO}")), Ok(Some(0)));
    let upper = format!("sha256={}", HELLO.to_uppercase());
    assert_eq!(github_hello(&upper), Ok(Some(0)));
    let short = HELLO.get(..62).unwrap();
    for value in [
        HELLO.to_owned(),
        format!("sha1={HELLO}"),
        format!("SHA256={HELLO}"),
        format!("sha256= {HELLO}"),
        format!("sha256={HELLO} "),
        format!("sha256={HELLO}00"),
        format!("sha256={short}"),
        format!("sha256={short}zz"),
        format!("sha256={HELLO},sha256={HELLO}"),
        format!("sha256=0x{short}"),
        "sha256=".to_owned(),
        String::new(),
    ] {
        assert!(
            matches!(github_hello(&value), Err(MaterialFault::Malformed { .. })),
            "{value}"
        );
    }
}

#[test]
fn a_signature_header_stands_once() {
    let scheme = compile(&github(), &["It's a Secret to Everybody"]);
    let value = format!("sha256={HELLO}");
    let mut request = Request::new(&[("x-signature", &value)], "Hello, World!");
    assert_eq!(request.verify(&scheme), Ok(Some(0)));
    request.add(header("x-signature"), &value);
    let fault = MaterialFault::malformed("x-signature", "occurs twice");
    assert_eq!(request.verify(&scheme), Err(fault));
    request.headers.clear();
    let fault = MaterialFault::missing("x-signature");
    assert_eq!(request.verify(&scheme), Err(fault));
}

#[test]
fn any_signature_under_any_current_secret_counts() {
    let scheme = compile(&stripe(), &["whsec_new", "whsec_old"]);
    let of = |index| {
        let request = Request::signed(&scheme, index, 1_000_000, "", b"{}");
        let value = request.headers.get("stripe-signature").unwrap();
        value.to_str().unwrap().replace("t=1000,", "")
    };
    let (new, old, other) = (of(0), of(1), format!("v1={}", "0".repeat(64)));
    let check = |value: &str, current| {
        let request = Request::new(&[("stripe-signature", value)], "{}");
        request.verify_with(&scheme, current, 1).unwrap()
    };
    let (only_new, only_old) = (SecretSet::empty().with(0), SecretSet::empty().with(1));
    for value in [
        format!("t=1000,{new},{other}"),
        format!("{other},{new},t=1000"),
        format!("t=1000,v0=abc,{other},{new},v2=x"),
    ] {
        assert_eq!(check(&value, SecretSet::all(2)), Some(0), "{value}");
        assert_eq!(check(&value, only_new), Some(0));
        assert_eq!(check(&value, only_old), None);
        assert_eq!(check(&value, SecretSet::empty()), None);
    }
    let value = format!("t=1000,{old}");
    assert_eq!(check(&value, SecretSet::all(2)), Some(1));
    assert_eq!(check(&value, only_new), None);
    let value = format!("t=1000,{}", new.replace("v1=", "v0=")) + "," + &other;
    assert_eq!(check(&value, SecretSet::all(2)), None);
}

#[test]
fn odd_lists_are_refused() {
    let scheme = compile(&stripe(), &["whsec_a"]);
    let good = Request::signed(&scheme, 0, 1_000_000, "", b"{}");
    let good = good.headers.get("stripe-signature").unwrap();
    let good = good.to_str().unwrap();
    let v1 = good.strip_prefix("t=1000,").unwrap();
    let check = |value: &str| Request::new(&[("stripe-signature", value)], "{}").verify(&scheme);
    assert_eq!(check(good), Ok(Some(0)));
    for value in [
        v1.to_owned(),
        format!("t=1000,t=1000,{v1}"),
        format!("t=+1000,{v1}"),
        format!("t=-1000,{v1}"),
        format!("t= 1000,{v1}"),
        format!("t=1000 ,{v1}"),
        format!("t=1e3,{v1}"),
        format!("t=1000.0,{v1}"),
        format!("t=,{v1}"),
        format!("t=1000000000000,{v1}"),
        format!("t=99999999999999999999999999,{v1}"),
        "t=1000".to_owned(),
        format!("t=1000,v0={}", "0".repeat(64)),
        format!("t=1000, {v1}"),
        format!("t=1000;{v1}"),
        format!("t=1000,{v1},"),
        format!(",t=1000,{v1}"),
        format!("t=1000,{v1},junk"),
        format!("t=1000,{v1},=junk"),
        format!("t=1000,{v1},v1=junk"),
        format!("t=1000,V1={}", v1.strip_prefix("v1=").unwrap()),
        format!("t=1000{}", format!(",{v1}").repeat(17)),
        format!("t=1000,{v1}{}", ",v0=x".repeat(31)),
    ] {
        assert!(
            matches!(check(&value), Err(MaterialFault::Malformed { .. })),
            "{value}: {:?}",
            check(&value)
        );
    }
    let many = format!("t=1000{}", format!(",{v1}").repeat(16));
    assert_eq!(check(&many), Ok(Some(0)));
}

#[test]
fn standard_webhooks_takes_its_own_example_and_skips_other_versions() {
    let scheme = compile(
        &standard_webhooks(),
        &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    );
    let v1 = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    let check = |id: &str, time: &str, signature: &str| {
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", time),
            ("webhook-signature", signature),
        ];
        Request::new(&headers, r#"{"test": 2432232314}"#).verify(&scheme)
    };
    let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
    assert_eq!(check(id, time, v1), Ok(Some(0)));
    assert_eq!(check(id, time, &format!("v1a,AAAA {v1} v2,x")), Ok(Some(0)));
    assert_eq!(check("msg_other", time, v1), Ok(None));
    assert_eq!(check(id, "1614265331", v1), Ok(None));
    for signature in [
        "v1a,AAAA".to_owned(),
        v1.replace("v1,", ""),
        v1.replace("v1,", "v1="),
        v1.replace('=', ""),
        v1.replace("1OE=", "1OF="),
        v1.replace('/', "_"),
        format!("{v1} "),
        format!("{v1}  {v1}"),
        format!("{v1}="),
    ] {
        assert!(
            matches!(
                check(id, time, &signature),
                Err(MaterialFault::Malformed { .. })
            ),
            "{signature}"
        );
    }
    for (id, time) in [("", time), ("a b", time), (id, "01614265330.0"), (id, "")] {
        assert!(check(id, time, v1).is_err(), "{id:?} {time:?}");
    }
}

#[test]
fn every_part_algorithm_and_encoding_verifies_what_it_signs() {
    let algorithms = [
        DigestAlgorithm::Md5,
        DigestAlgorithm::Sha1,
        DigestAlgorithm::Sha256,
        DigestAlgorithm::Sha384,
        DigestAlgorithm::Sha512,
    ];
    let encodings = [
        SignatureEncoding::Hex,
        SignatureEncoding::Base64,
        SignatureEncoding::Base64Url,
        SignatureEncoding::Base64UrlUnpadded,
    ];
    let units = [
        TimeUnit::Seconds,
        TimeUnit::Millis,
        TimeUnit::Rfc3339,
        TimeUnit::HttpDate,
    ];
    for algorithm in algorithms {
        for encoding in encodings {
            for unit in units {
                let place = SchemeLocation::Query("sig".to_owned());
                let spec = everything(unit, place, encoding, algorithm);
                let scheme = compile(&spec, &["secret"]);
                let at = 1_700_000_000_123;
                let request = Request::signed(&scheme, 0, at, "id-1", b"body");
                assert_eq!(request.verify(&scheme), Ok(Some(0)), "{spec:?}");
                let material = scheme.material(&request.head()).unwrap();
                let is_exact = !matches!(unit, TimeUnit::Seconds | TimeUnit::HttpDate);
                assert_eq!(
                    material.signed_time().map(|time| time.unix_ms),
                    Some(if is_exact { at } else { at - 123 })
                );
            }
        }
    }
}

#[test]
fn each_part_of_the_head_counts() {
    let mut spec = everything(
        TimeUnit::Seconds,
        SchemeLocation::Header(header("x-signature")),
        SignatureEncoding::Hex,
        DigestAlgorithm::Sha256,
    );
    if let SchemeFamily::Hmac(family) = &mut spec.family {
        let place = SchemeLocation::Header(header("x-time"));
        family.timestamp.as_mut().unwrap().location = place;
    }
    let scheme = compile(&spec, &["secret"]);
    let request = || Request::signed(&scheme, 0, 5_000, "id-1", b"body");
    assert_eq!(request().verify(&scheme), Ok(Some(0)));
    let mut changed = request();
    changed.uri = Uri::from_static("/in?a=2");
    assert_eq!(changed.verify(&scheme), Ok(None));
    for (name, value) in [
        ("x-extra", "other"),
        ("x-delivery", "id-2"),
        ("x-time", "6"),
    ] {
        let mut changed = request();
        changed
            .headers
            .insert(header(name), HeaderValue::from_str(value).unwrap());
        assert_eq!(changed.verify(&scheme), Ok(None), "{name}");
        changed.headers.remove(header(name));
        assert_eq!(changed.verify(&scheme), Err(MaterialFault::missing(name)));
    }
    let other = request();
    let head = RequestHead {
        method: &Method::PUT,
        ..other.head()
    };
    let material = scheme.material(&head).unwrap();
    let mut verifier = scheme.begin(material, head, SecretSet::all(1));
    verifier.update(b"body");
    assert_eq!(verifier.finish(b"body", None), Ok(None));
}

#[test]
fn query_values_stand_once_however_their_name_is_spelt() {
    let place = TokenLocation::Query("token".to_owned());
    let scheme = compile(&token(place), &["a+b/c="]);
    let check = |target: &'static str| {
        let mut request = Request::new(&[], "");
        request.uri = Uri::from_static(target);
        request.verify(&scheme)
    };
    assert_eq!(check("/in?x=1&token=a+b/c="), Ok(Some(0)));
    assert_eq!(check("/in?token=a%2Bb%2Fc%3d"), Ok(Some(0)));
    assert_eq!(check("/in?t%6Fken=a+b/c="), Ok(Some(0)));
    assert_eq!(check("/in?token=a+b/c"), Ok(None));
    assert_eq!(check("/in?token="), Ok(None));
    assert_eq!(
        check("/in?Token=a+b/c="),
        Err(MaterialFault::missing("token"))
    );
    assert_eq!(check("/in"), Err(MaterialFault::missing("token")));
    for target in [
        "/in?token=a+b/c=&token=a+b/c=",
        "/in?token=a+b/c=&t%6fken=other",
        "/in?token=a%2",
        "/in?token=a%zz",
    ] {
        assert!(matches!(
            check(target),
            Err(MaterialFault::Malformed { .. })
        ));
    }
}

fn token(place: TokenLocation) -> SchemeSpec {
    SchemeSpec {
        family: SchemeFamily::Token(TokenSpec { location: place }),
        event_id: vec![FieldLocation::Header(header("x-delivery"))],
        event_type: vec![],
        version: vec![],
        variants: SchemeVariants::default(),
    }
}

#[test]
fn tokens_match_whole_and_under_current_secrets_only() {
    let scheme = compile(
        &token(TokenLocation::Header {
            name: header("x-token"),
            prefix: "Bearer ".to_owned(),
        }),
        &["new-token", "old-token"],
    );
    let check = |value: &str, current| {
        Request::new(&[("x-token", value)], "body").verify_with(&scheme, current, 9)
    };
    let all = SecretSet::all(2);
    assert_eq!(check("Bearer new-token", all), Ok(Some(0)));
    assert_eq!(check("Bearer old-token", all), Ok(Some(1)));
    assert_eq!(
        check("Bearer old-token", SecretSet::empty().with(0)),
        Ok(None)
    );
    for value in [
        "Bearer new-toke",
        "Bearer new-token2",
        "Bearer ",
        "Bearer  new-token",
    ] {
        assert_eq!(check(value, all), Ok(None), "{value}");
    }
    assert!(check("new-token", all).is_err());
    let request = Request::new(&[("x-token", "Bearer no")], "");
    let material = scheme.material(&request.head()).unwrap();
    assert!(scheme.begin(material, request.head(), all).is_hopeless());
}

#[test]
fn basic_credentials_are_compared_decoded() {
    let scheme = compile(&token(TokenLocation::Basic), &["user:pass"]);
    let check = |value: &str| {
        let mut request = Request::new(&[], "");
        request.add(AUTHORIZATION, value);
        request.verify(&scheme)
    };
    assert_eq!(check("Basic dXNlcjpwYXNz"), Ok(Some(0)));
    assert_eq!(check("basic dXNlcjpwYXNz"), Ok(Some(0)));
    assert_eq!(check("Basic dXNlcjpwYXNy"), Ok(None));
    for value in [
        "Basic",
        "Basic  dXNlcjpwYXNz",
        "Bearer dXNlcjpwYXNz",
        "Basic dXNlcjpwYXN",
        "Basic dQ==c2VyOnBhc3M=",
    ] {
        assert!(check(value).is_err(), "{value}");
    }
    let bare = Scheme::compile(&token(TokenLocation::Basic), &[&secret("pass")], None);
    assert_eq!(bare.err(), Some(SchemeError::SecretNotBasic));
}

#[test]
fn a_spec_that_contradicts_itself_does_not_compile() {
    let compile_with = |change: fn(&mut HmacSpec)| {
        let mut spec = github();
        let SchemeFamily::Hmac(family) = &mut spec.family else {
            unreachable!("github is an HMAC spec");
        };
        change(family);
        Scheme::compile(&spec, &[&secret("key")], None).err()
    };
    let with_parts = |parts: &[TemplatePart]| {
        let mut spec = github();
        spec.event_id.clear();
        if let SchemeFamily::Hmac(family) = &mut spec.family {
            family.signed.parts = parts.to_vec();
        }
        Scheme::compile(&spec, &[&secret("key")], None).err()
    };
    assert_eq!(compile_with(|_| {}), None);
    assert_eq!(with_parts(&[]), Some(SchemeError::BodyParts { found: 0 }));
    let twice = [TemplatePart::Body, TemplatePart::Body];
    assert_eq!(
        with_parts(&twice),
        Some(SchemeError::BodyParts { found: 2 })
    );
    let with = |part| with_parts(&[part, TemplatePart::Body]);
    assert_eq!(
        with(TemplatePart::Timestamp),
        Some(SchemeError::NoTimestamp)
    );
    assert_eq!(with(TemplatePart::Url), Some(SchemeError::NeedsPublicUrl));
    assert_eq!(with(TemplatePart::Id), Some(SchemeError::NoIdHeader));
    assert_eq!(
        compile_with(|family| {
            family.signature.location = SchemeLocation::Query("sig".to_owned());
            family.signed.parts.push(TemplatePart::PathQuery);
        }),
        Some(SchemeError::SignatureSignsItself)
    );
    assert_eq!(
        compile_with(|family| {
            family.timestamp = Some(TimestampSpec {
                location: family.signature.location.clone(),
                key: Some("t".to_owned()),
                unit: TimeUnit::Seconds,
            });
        }),
        Some(SchemeError::NoTimestampList)
    );
    let none = Scheme::compile(&github(), &[], None).err();
    assert_eq!(none, Some(SchemeError::SecretCount { found: 0 }));
}

#[test]
fn keys_are_read_from_the_secrets_text() {
    let decode = |encoding, strip_prefix: &str, text: &str| {
        let form = SecretForm {
            encoding,
            strip_prefix: strip_prefix.to_owned(),
            derive: None,
            alternative: None,
        };
        Scheme::decode_key(&form, &secret(text)).map(|key| key.expose().to_vec())
    };
    use SecretEncoding::{Base64, Hex, Utf8};
    assert_eq!(decode(Utf8, "", "whsec_x"), Ok(b"whsec_x".to_vec()));
    assert_eq!(decode(Base64, "whsec_", "whsec_YWI="), Ok(b"ab".to_vec()));
    assert_eq!(decode(Base64, "whsec_", "YWI"), Ok(b"ab".to_vec()));
    assert_eq!(decode(Hex, "", "00fF"), Ok(vec![0, 255]));
    let not_base64 = Err(SchemeError::SecretNotBase64);
    assert_eq!(decode(Base64, "", "YW J"), not_base64);
    assert_eq!(decode(Base64, "", "YWK"), not_base64);
    assert_eq!(decode(Hex, "", "0"), Err(SchemeError::SecretNotHex));
    assert_eq!(decode(Utf8, "", ""), Err(SchemeError::SecretEmpty));
    assert_eq!(
        decode(Base64, "whsec_", "whsec_"),
        Err(SchemeError::SecretEmpty)
    );
}

#[test]
fn a_spec_says_what_its_signature_covers() {
    let id = |name| FieldLocation::Header(header(name));
    let json = FieldLocation::Json(vec!["id".to_owned()]);
    assert!(stripe().signs_event_id());
    assert!(!github().signs_event_id());
    assert!(github().signs_field(&json));
    assert!(standard_webhooks().signs_event_id());
    assert!(!standard_webhooks().signs_field(&id("x-delivery")));
    assert!(!token(TokenLocation::Basic).signs_field(&json));
    assert!(!token(TokenLocation::Basic).signs_body());
    let headers = compile(&standard_webhooks(), &["whsec_YWI="]);
    let names: Vec<&str> = headers.headers().iter().map(HeaderName::as_str).collect();
    assert_eq!(
        names,
        ["webhook-signature", "webhook-timestamp", "webhook-id"]
    );
}

#[test]
fn equal_bytes_have_equal_digests() {
    let scheme = compile(&github(), &["key"]);
    let digest = |id: &str, body: &[u8]| {
        let request = Request::signed(&scheme, 0, 0, id, body);
        let material = scheme.material(&request.head()).unwrap();
        let mut verifier = scheme.begin(material, request.head(), SecretSet::all(1));
        verifier.update(body);
        verifier.finish(body, None).unwrap().unwrap().digest
    };
    assert_eq!(digest("one", b"body"), digest("two", b"body"));
    assert_ne!(digest("one", b"body"), digest("one", b"bodY"));
}

#[test]
fn a_signature_has_the_padding_that_its_encoding_says() {
    for (encoding, has_padding) in [
        (SignatureEncoding::Base64, true),
        (SignatureEncoding::Base64Url, true),
        (SignatureEncoding::Base64UrlUnpadded, false),
    ] {
        let scheme = compile(&plain(encoding, "", DigestAlgorithm::Sha256), &["secret"]);
        let request = Request::signed(&scheme, 0, 1000, "id-1", b"body");
        assert_eq!(request.verify(&scheme), Ok(Some(0)));
        let written = request.headers["x-signature"].to_str().unwrap().to_owned();
        assert_eq!(written.ends_with('='), has_padding, "{encoding:?}");
        let other = match written.strip_suffix('=') {
            Some(unpadded) => unpadded.to_owned(),
            None => format!("{written}="),
        };
        for other in [other, format!("{written}="), format!("{written}==")] {
            let mut request = Request::signed(&scheme, 0, 1000, "id-1", b"body");
            request
                .headers
                .insert("x-signature", HeaderValue::from_str(&other).unwrap());
            assert!(request.verify(&scheme).is_err(), "{encoding:?} {other}");
        }
    }
}

fn any_spec() -> impl Strategy<Value = SchemeSpec> {
    prop_oneof![
        Just(github()),
        Just(stripe()),
        Just(plain(SignatureEncoding::Base64, "", DigestAlgorithm::Sha1)),
        Just(plain(
            SignatureEncoding::Base64Url,
            "v=",
            DigestAlgorithm::Sha512
        )),
        Just(plain(
            SignatureEncoding::Base64UrlUnpadded,
            "v=",
            DigestAlgorithm::Sha256
        )),
        Just(everything(
            TimeUnit::Millis,
            SchemeLocation::Query("sig".to_owned()),
            SignatureEncoding::Base64,
            DigestAlgorithm::Sha384
        )),
    ]
}

proptest! {
    #[test]
    fn what_is_signed_verifies_in_any_chunks_and_no_flipped_bit_does(
        spec in any_spec(),
        secret in "[ -~]{1,80}",
        id in "[!-~]{1,40}",
        body in proptest::collection::vec(any::<u8>(), 0..300),
        seconds in 0i64..4_000_000_000,
        piece in 1usize..400,
        bit in any::<prop::sample::Index>(),
    ) {
        let scheme = compile(&spec, &["another secret", &secret]);
        let request = Request::signed(&scheme, 1, seconds * 1000, &id, &body);
        let expected = usize::from(secret != "another secret");
        let all = SecretSet::all(2);
        prop_assert_eq!(request.verify_with(&scheme, all, piece), Ok(Some(expected)));

        if !body.is_empty() {
            let bit = bit.index(body.len() * 8);
            let mut changed = body.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let request = Request { body: changed, ..request };
            prop_assert_eq!(request.verify(&scheme), Ok(None));
        }
    }

    #[test]
    fn no_flipped_bit_of_the_signature_header_verifies(
        spec in prop_oneof![Just(github()), Just(stripe()), Just(standard_webhooks())],
        bit in any::<prop::sample::Index>(),
    ) {
        let scheme = compile(&spec, &["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]);
        let mut request = Request::signed(&scheme, 0, 1_614_265_330_000, "msg_1", b"{}");
        let name = scheme.headers()[0].clone();
        let mut value = request.headers[&name].as_bytes().to_vec();
        let bit = bit.index(value.len() * 8);
        let old = value[bit / 8];
        value[bit / 8] ^= 1 << (bit % 8);
        let new = value[bit / 8];
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            request.headers.insert(name, value);
            // The case of hexadecimal digits does not matter.
            let is_same_digit = old.eq_ignore_ascii_case(&new) && old.is_ascii_hexdigit();
            let verified = request.verify(&scheme);
            prop_assert!(is_same_digit || !matches!(verified, Ok(Some(_))), "{:?}", request.headers);
        }
    }

    #[test]
    fn no_head_makes_the_parsers_panic(
        spec in prop_oneof![any_spec(), Just(standard_webhooks()), Just(token(TokenLocation::Basic))],
        value in proptest::collection::vec(any::<u8>(), 0..200),
        query in "[!-~]{0,60}",
    ) {
        let is_token = matches!(spec.family, SchemeFamily::Token(_));
        let secret = if is_token { "user:pass" } else { "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" };
        let scheme = compile(&spec, &[secret]);
        let mut request = Request::new(&[("x-extra", "x")], "body");
        if let Ok(uri) = format!("/in?ts={query}&sig={query}").parse() {
            request.uri = uri;
        }
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in scheme.headers() {
                request.headers.insert(name.clone(), value.clone());
            }
        }
        prop_assert!(!matches!(request.verify(&scheme), Ok(Some(_))));
    }
}

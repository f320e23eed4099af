//! Tests of texts from whole requests: the value of each part, and requests that are rejected.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use data_encoding::{BASE64, HEXLOWER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};

use crate::document::report::ReportStyle;
use crate::document::{SourceText, TomlDocument};
use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::parse::parse_spec;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{SchemeFamily, SchemeSpec};
use crate::scheme::{MaterialFault, Scheme, ToSign};

fn spec(text: &str) -> SchemeSpec {
    let source = SourceText::new("scheme.toml", text.to_owned());
    let document = TomlDocument::parse(&source);
    let spec = parse_spec(&mut document.root());
    let report = document.into_report();
    assert!(
        !report.has_errors(),
        "{}",
        report.render(ReportStyle::Plain)
    );
    let spec = spec.unwrap();
    assert!(matches!(spec.family, SchemeFamily::Text(_)), "{text}");
    spec
}

fn hmac(rest: &str) -> SchemeSpec {
    spec(&format!(
        "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\n{rest}"
    ))
}

fn compile(spec: &SchemeSpec, secrets: &[&str]) -> Scheme {
    let secrets: Vec<Secret> = secrets
        .iter()
        .map(|text| Secret::new(text.as_bytes().to_vec()))
        .collect();
    let secrets: Vec<&Secret> = secrets.iter().collect();
    Scheme::compile(spec, &secrets, Some("https://hooks.example.com")).unwrap()
}

/// A request that a test can damage.
#[derive(Clone)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Request {
    fn new(uri: &str, headers: &[(&str, &str)], body: &str) -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        Self {
            method: Method::POST,
            uri: uri.parse().unwrap(),
            headers: map,
            body: body.as_bytes().to_vec(),
        }
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn with(&self, name: &str, value: &str) -> Self {
        let mut changed = self.clone();
        let name: HeaderName = name.parse().unwrap();
        changed
            .headers
            .insert(name, HeaderValue::from_str(value).unwrap());
        changed
    }

    fn with_body(&self, body: &str) -> Self {
        let mut changed = self.clone();
        changed.body = body.as_bytes().to_vec();
        changed
    }

    fn verify(&self, scheme: &Scheme) -> Result<Option<SignatureMatch>, MaterialFault> {
        let material = scheme.material(&self.head())?;
        let current = SecretSet::all(scheme.secret_count());
        let mut verifier = scheme.begin(material, self.head(), current);
        verifier.update(&self.body);
        verifier.finish(&self.body, None)
    }

    fn passes(&self, scheme: &Scheme) -> bool {
        matches!(self.verify(scheme), Ok(Some(_)))
    }

    /// Signs with the first secret.
    fn signed(&self, scheme: &Scheme) -> Self {
        let to_sign = ToSign {
            head: self.head(),
            unix_ms: 1_700_000_000_000,
            id: None,
            body: &self.body,
        };
        let mut signed = self.clone();
        for (name, value) in scheme.sign(0, &to_sign).unwrap().headers {
            signed
                .headers
                .insert(name, HeaderValue::from_str(&value).unwrap());
        }
        signed
    }
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Twilio's own example (<https://www.twilio.com/docs/usage/webhooks/webhooks-security>).
#[test]
fn sorted_form_fields_follow_the_url() {
    let spec = spec(
        "type = \"hmac\"\nalgorithm = \"sha1\"\nencoding = \"base64\"\nsignature = { header = \"X-Twilio-Signature\" }\nsigned = \"{url}{form_or_digest:bodySHA256}\"",
    );
    let secret = Secret::new(b"12345".to_vec());
    let url = Some("https://example.com");
    let scheme = Scheme::compile(&spec, &[&secret], url).unwrap();
    let body = "Digits=1234&To=%2B18005551212&From=%2B14158675310&Caller=%2B14158675310&CallSid=CA1234567890ABCDE";
    let signature = ("x-twilio-signature", "L/OH5YylLD5NRKLltdqwSvS0BnU=");
    let request = Request::new("/myapp.php?foo=1&bar=2", &[FORM, signature], body);
    assert!(request.passes(&scheme));
    let reordered = body.replace("Digits=1234&", "") + "&Digits=1234";
    assert!(request.with_body(&reordered).passes(&scheme));
    for other in [
        body.replace("1234&", "1235&"),
        format!("{body}&x=1"),
        body.replace("Digits=1234&", ""),
        String::new(),
    ] {
        assert!(!request.with_body(&other).passes(&scheme), "{other}");
    }
    let mut elsewhere = request.clone();
    elsewhere.uri = "/myapp.php?foo=1&bar=3".parse().unwrap();
    assert!(!elsewhere.passes(&scheme));
}

#[test]
fn another_body_than_a_form_is_signed_by_its_digest_in_the_query() {
    let scheme = compile(
        &hmac("signature = { header = \"x-s\" }\nsigned = \"{url}{form_or_digest:bodySHA256}\""),
        &["secret"],
    );
    let body = r#"{"a":1}"#;
    let digest = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862";
    let json = ("content-type", "application/json");
    let request = Request::new(&format!("/?bodySHA256={digest}"), &[json], body).signed(&scheme);
    assert!(request.passes(&scheme));
    assert!(!request.with_body(r#"{"a":2}"#).passes(&scheme));
    // Without the digest, nothing authenticates the body.
    let bare = Request::new("/", &[json, ("x-s", &"0".repeat(64))], body);
    assert!(bare.verify(&scheme).is_err());
}

#[test]
fn a_plain_digest_holds_the_secret() {
    let spec = spec(
        "type = \"hash\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"x-s\" }\nsigned = \"{secret}{method}{url_decoded}{body}\"",
    );
    let scheme = compile(&spec, &["one", "two"]);
    let request = Request::new("/a%3Ab?c=%7Ed", &[], "body");
    let text = "onePOSThttps://hooks.example.com/a:b?c=%7Edbody";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    let request = request.with("x-s", &HEXLOWER.encode(digest.as_ref()));
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!(found.secret_index, 0);
    assert!(!request.with_body("bodY").passes(&scheme));
    assert!(!request.passes(&compile(&spec, &["two"])));
}

#[test]
fn values_of_the_body_are_signed_where_the_body_is_not() {
    let scheme = compile(
        &hmac(
            "signature = { json = \"/signature/signature\" }\ntimestamp = { json = \"/signature/timestamp\", unit = \"s\" }\nsigned = \"{timestamp}{json:/signature/token}{json:/ok}\"\nbody_unsigned = true",
        ),
        &["key-x"],
    );
    let mac = hmac_hex("key-x", "1700000000tokentrue");
    let body = |mac: &str, more: &str| {
        format!(
            r#"{{"signature":{{"token":"token","timestamp":"1700000000","signature":"{mac}"}},"ok":true{more}}}"#
        )
    };
    let request = Request::new("/", &[], &body(&mac, ""));
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!(
        found.signed_time.map(|time| time.unix_ms),
        Some(1_700_000_000_000)
    );
    // The scheme does not cover the body, so the digest for dedup stays the same.
    let other = request.with_body(&body(&mac, r#","x":1"#)).verify(&scheme);
    assert_eq!(other.unwrap().unwrap().digest, found.digest);
    // A repeated key could be read in two ways.
    let doubled = body(&mac, r#","ok":true"#);
    assert!(request.with_body(&doubled).verify(&scheme).is_err());
    let changed = body(&mac, "").replace("\"token\":\"token\"", "\"token\":\"other\"");
    assert!(!request.with_body(&changed).passes(&scheme));
    for broken in ["", "{", "[]", "{}"] {
        assert!(
            request.with_body(broken).verify(&scheme).is_err(),
            "{broken}"
        );
    }
}

/// Fails if an entry is read from outside the signature's own list, or if the first of two entries counts.
#[test]
fn other_entries_of_the_list_are_signed() {
    let scheme = compile(
        &hmac(
            "signature = { header = \"x-s\", list = \",\", key = \"sign\", trim = true, quoted = true }\nsigned = \"{host} {lower:method} {entry:env}\\n{body}\"",
        ),
        &["key-x"],
    );
    let mac = hmac_hex("key-x", "hooks.example.com post main\nbody");
    let passes = |value: &str| {
        let request = Request::new("/", &[("x-s", value)], "body");
        request.passes(&scheme)
    };
    assert!(passes(&format!("sign=\"{mac}\", env=\"main\", x=\"a b\"")));
    for value in [
        format!("sign=\"{mac}\", env=\"other\""),
        format!("sign=\"{mac}\", env=\"main\", env=\"main\""),
        format!("sign=\"{mac}\""),
        format!("sign={mac}, env=main"),
        format!("sign=\"{mac}\", env=\"main"),
        format!("sign=\"{mac}\", env=\"ma\"in\""),
    ] {
        assert!(!passes(&value), "{value}");
    }
}

/// Compares with Plivo's libraries for Node.js and Python.
#[test]
fn query_and_form_are_sorted_and_joined() {
    let scheme = compile(
        &hmac("signature = { header = \"x-s\" }\nsigned = \"{url_form_sorted}.{header:x-n}\""),
        &["key-x"],
    );
    let check = |uri: &str, body: &str, text: &str| {
        let mac = hmac_hex("key-x", &format!("https://hooks.example.com{text}.n"));
        let headers = [FORM, ("x-s", mac.as_str()), ("x-n", "n")];
        assert!(Request::new(uri, &headers, body).passes(&scheme), "{text}");
        // Bodies that are not a form, and parameters that would not appear in the text.
        let odd = Request::new(&format!("{uri}&"), &headers, body);
        assert!(!odd.passes(&scheme), "{text}");
        let json = Request::new(uri, &headers, body).with("content-type", "application/json");
        assert_eq!(json.passes(&scheme), body.is_empty(), "{text}");
    };
    check("/p", "", "/p");
    check("/p?b=2&a=%20&b=1", "", "/p?a= &b=1&b=2");
    check("/p", "B=2&A=1&B=0", "/p?A1B0B2");
    check("/p?x=1", "B=+", "/p?x=1.B ");
}

/// Fails if `without` or `absent` is always true, or is not checked.
#[test]
fn values_cannot_slide_over_what_stands_between_them() {
    let scheme = compile(
        &hmac(
            "signature = { json = \"/mac\" }\nsigned = \"{json:/0}:[{json:/1}]:{json:/2}\"\nbody_unsigned = true\nrequire = [{ json = \"/0\", without = \":\" }, { json = \"/1\", without = \":\" }, { json = \"/3\", absent = true }]",
        ),
        &["key-x"],
    );
    let mac = hmac_hex("key-x", "a:b:c:d");
    let passes = |values: &str| {
        let body = format!(r#"{{"mac":"{mac}",{values}}}"#);
        Request::new("/", &[], &body).passes(&scheme)
    };
    assert!(passes(r#""0":"a","1":"b","2":"c:d""#));
    assert!(!passes(r#""0":"a:b","1":"c","2":"d""#));
    assert!(!passes(r#""0":"a","1":"b:c","2":"d""#));
    for more in [r#""x""#, "1", "{}", "[]", "false"] {
        let values = format!(r#""0":"a","1":"b","2":"c:d","3":{more}"#);
        assert!(!passes(&values), "{more}");
    }
}

#[test]
fn a_group_vanishes_with_its_value() {
    let scheme = compile(
        &hmac(
            "signature = { header = \"x-s\" }\nsigned = \"[id:{query:data.id};][r:{header:x-r};]{body:sha256:hex}\"",
        ),
        &["key"],
    );
    let digest = "230d8358dc8e8890b4c58deeb62912ee2f20357ae92a5cc861b98e68fe31acb5";
    for (uri, headers, text) in [
        ("/?data.id=7", vec![("x-r", "q")], "id:7;r:q;"),
        ("/?data.id=7", vec![], "id:7;"),
        ("/", vec![("x-r", "q")], "r:q;"),
        ("/", vec![], ""),
    ] {
        let mac = hmac_hex("key", &format!("{text}{digest}"));
        let request = Request::new(uri, &headers, "body").with("x-s", &mac);
        assert!(request.passes(&scheme), "{text}");
        assert!(!request.with_body("b").passes(&scheme));
    }
}

#[test]
fn each_set_of_a_rotation_has_its_own_time() {
    let scheme = compile(
        &hmac(
            "signature = { header = \"x-s\", list = \",\", key = \"v1\", sets = \" \" }\ntimestamp = { header = \"x-s\", key = \"t\", unit = \"s\" }\nsigned = \"{timestamp}.{body}\"",
        ),
        &["new"],
    );
    let (old, new) = (hmac_hex("old", "1.body"), hmac_hex("new", "2.body"));
    let both = format!("t=1,v1={old} t=2,v1={new}");
    let request = Request::new("/", &[("x-s", &both)], "body");
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!(found.signed_time.map(|time| time.unix_ms), Some(2000));
    // A set must not use the timestamp of the other set.
    let mixed = format!("t=2,v1={old} t=1,v1={new}");
    assert!(!request.with("x-s", &mixed).passes(&scheme));
    for bad in ["t=1", "v1=00", "t=1,v1=", "", " "] {
        assert!(request.with("x-s", bad).verify(&scheme).is_err(), "{bad}");
    }
}

#[test]
fn any_of_several_places_may_match_and_each_must_be_well_formed() {
    let scheme = compile(
        &hmac(
            "signature = [{ header = \"x-a\" }, { header = \"x-b\" }]\nrequire = { header = \"x-v\", value = \"1\" }\nsigned = \"{body}\"",
        ),
        &["one", "two"],
    );
    let (one, other) = (hmac_hex("two", "body"), "0".repeat(64));
    let request = Request::new("/", &[("x-a", &other), ("x-b", &one), ("x-v", "1")], "body");
    assert_eq!(request.verify(&scheme).unwrap().unwrap().secret_index, 1);
    assert!(request.with("x-v", "2").verify(&scheme).is_err());
    assert!(request.with("x-a", "zz").verify(&scheme).is_err());
    assert!(!request.with("x-b", &other).passes(&scheme));
    let mut none = request.clone();
    none.headers.remove("x-a");
    assert!(none.passes(&scheme));
    none.headers.remove("x-b");
    assert!(matches!(
        none.verify(&scheme),
        Err(MaterialFault::Missing { .. })
    ));
}

#[test]
fn public_keys_in_every_form() {
    let text = b"1700000000body";
    let random = SystemRandom::new();
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let raw = ed25519.public_key().as_ref().to_vec();
    let ecdsa = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let mut rsa_signature = vec![0; rsa.public_modulus_len()];
    rsa.sign(&RSA_PKCS1_SHA256, &random, text, &mut rsa_signature)
        .unwrap();
    let ecdsa_signature = ecdsa.sign(&random, text).unwrap();
    let spki_ed25519 = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ][..],
        &raw,
    ]
    .concat();
    let spki_ecdsa = [
        &HEXLOWER
            .decode(b"3059301306072a8648ce3d020106082a8648ce3d030107034200")
            .unwrap()[..],
        ecdsa.public_key().as_ref(),
    ]
    .concat();
    let pem = |label: &str, der: &[u8]| {
        format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            BASE64.encode(der)
        )
    };
    let ed = ed25519.sign(text).as_ref().to_vec();
    for (kind, key, signature) in [
        ("ed25519\"", HEXLOWER.encode(&raw), &ed[..]),
        ("ed25519\"", BASE64.encode(&raw), &ed),
        ("ed25519\"", format!("whpk_{}", BASE64.encode(&raw)), &ed),
        ("ed25519\"", BASE64.encode(&spki_ed25519), &ed),
        ("ed25519\"", pem("PUBLIC KEY", &spki_ed25519), &ed),
        (
            "ecdsa\"\nalgorithm = \"p256_sha256\"",
            BASE64.encode(&spki_ecdsa),
            ecdsa_signature.as_ref(),
        ),
        (
            "ecdsa\"\nalgorithm = \"p256_sha256\"",
            pem("PUBLIC KEY", &spki_ecdsa),
            ecdsa_signature.as_ref(),
        ),
        (
            "rsa\"\nalgorithm = \"sha256\"",
            pem("RSA PUBLIC KEY", rsa.public_key().as_ref()),
            &rsa_signature,
        ),
    ] {
        let spec = spec(&format!(
            "type = \"{kind}\nencoding = \"base64\"\nsignature = {{ header = \"x-s\" }}\ntimestamp = {{ header = \"x-t\", unit = \"s\" }}\nsigned = \"{{timestamp}}{{body}}\""
        ));
        let scheme = compile(&spec, &[&key]);
        let shown = BASE64.encode(signature);
        let request = Request::new("/", &[("x-s", &shown), ("x-t", "1700000000")], "body");
        assert!(request.passes(&scheme), "{kind} {key}");
        assert!(!request.with_body("bodY").passes(&scheme));
        assert!(!request.with("x-t", "1700000001").passes(&scheme));
        let mut other = signature.to_vec();
        other[5] ^= 1;
        assert!(!request.with("x-s", &BASE64.encode(&other)).passes(&scheme));
        let secret = Secret::new(b"no public key".to_vec());
        let err = Scheme::compile(&spec, &[&secret], None).err();
        assert_eq!(err, Some(SchemeError::NotPublicKey));
    }
}

#[test]
fn contradictions_are_found_when_the_config_is_loaded() {
    for (text, expected) in [
        (
            "signature = { header = \"x-s\" }\nsigned = \"{secret}{body}{json:/a}\"",
            SchemeError::SecretPart,
        ),
        (
            "signature = { query = \"s\" }\nsigned = \"{path_query}{body}{json:/a}\"",
            SchemeError::SignatureSignsItself,
        ),
        (
            "signature = { header = \"x-s\" }\nsigned = \"{timestamp}{body}{json:/a}\"",
            SchemeError::NoTimestamp,
        ),
        (
            "signature = { header = \"x-s\" }\nsigned = \"{id}{body}{json:/a}\"",
            SchemeError::NoIdHeader,
        ),
        (
            "signature = { header = \"x-s\" }\nsigned = \"{url_no_query}{body}\"",
            SchemeError::NeedsPublicUrl,
        ),
        (
            "signature = [{ header = \"x-s\", list = \",\", key = \"v1\" }, { header = \"x-t\" }]\nsigned = \"{body}\"",
            SchemeError::ListAmongPlaces,
        ),
        (
            "signature = { header = \"x-s\" }\nsigned = \"{body}{entry:env}\"",
            SchemeError::NoEntryList,
        ),
        (
            "signature = { header = \"x-s\" }\nsigned = \"{host}{body}\"",
            SchemeError::NeedsPublicUrl,
        ),
        (
            "signature = { header = \"x-s\", list = \",\", key = \"v1\" }\ntimestamp = { header = \"x-s\", key = \"\", unit = \"s\" }\nsigned = \"{timestamp}{body}{json:/a}\"",
            SchemeError::NoTimestampList,
        ),
    ] {
        assert_eq!(Scheme::check(&hmac(text), None), Err(expected), "{text}");
    }
}

/// Key and signature are of `openssl ecparam -name prime256v1 -genkey` and `openssl dgst -sha1 -sign`. Fails when the digest
/// is padded behind or not at all, or another digest passes for this one.
#[test]
fn ecdsa_over_sha1_is_openssls_and_the_signature_is_in_an_envelope() {
    const KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAErX6LRf2jR2Vb/ur+Yxmn4YrQm4bEOKHUWTcNjy9m6IWp9p/HgSKECnJta86F3j8Wes7G5XP8X7RmD+67ydteCQ==";
    const SHA1: &str = "MEQCIBag//WxLm477etDPrCde62rC0YnG1vjWgKEDAN5rQoPAiApv0JdgZMcXAdxuAd14XDB4vsCt4K0d7uChf54BldbHA==";
    const SHA256: &str = "MEUCIQC+yMczP7o4Fg9NtB9//4uCXMeH20YGyiwGKrTyFDmW1QIgb11LhWxXp7cvf3I1xhqg6g94+gO5ecz4fs6IJk/+/OI=";
    let written = |algorithm: &str| {
        spec(&format!(
            "type = \"ecdsa\"\nalgorithm = \"{algorithm}\"\nencoding = \"base64\"
signature = {{ header = \"x-s\", base64_json = \"/a/s\" }}\nsigned = \"{{body}}\""
        ))
    };
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
    let other = [
        &HEXLOWER
            .decode(b"3059301306072a8648ce3d020106082a8648ce3d030107034200")
            .unwrap()[..],
        other.public_key().as_ref(),
    ];
    let other = BASE64.encode(&other.concat());
    let one_line = format!("-----BEGIN PUBLIC KEY-----{KEY}-----END PUBLIC KEY-----");
    let scheme = compile(&written("p256_sha1"), &[&other, &one_line]);
    let envelope = |json: &str| BASE64.encode(json.as_bytes());
    let good = envelope(&format!(
        r#"{{"kid":"k","a":{{"s":"{SHA1}"}},"alg":["x"]}}"#
    ));
    let body = "{\"n\":10.0,\"t\":\"Zo\u{eb}\"}";
    let request = Request::new("/", &[("x-s", &good)], body);
    assert_eq!(request.verify(&scheme).unwrap().unwrap().secret_index, 1);
    assert!(!request.with_body("{}").passes(&scheme));
    let sha256 = envelope(&format!(r#"{{"a":{{"s":"{SHA256}"}}}}"#));
    assert!(!request.with("x-s", &sha256).passes(&scheme));
    let otherwise = compile(&written("p256_sha256"), &[&one_line]);
    assert!(request.with("x-s", &sha256).passes(&otherwise));
    assert!(!request.passes(&otherwise));
    let long = format!(r#"{{"a":{{"s":"{SHA1}"}},"b":"{}"}}"#, "x".repeat(4096));
    for (bad, fault) in [
        (SHA1.to_owned(), "is not base64 of a JSON object"),
        (format!("{good}="), "is not base64"),
        (format!(" {good}"), "is not base64"),
        (envelope("{"), "is not base64 of a JSON object"),
        (envelope("{}"), "contains no signature"),
        (envelope(r#"{"a":{"s":{}}}"#), "contains no signature"),
        (envelope(r#"{"a":{"s":"!"}}"#), "is not base64"),
        (
            envelope(&format!(r#"{{"a":{{"s":"{SHA1}","\u0073":"{SHA1}"}}}}"#)),
            "contains two signatures",
        ),
        (envelope(&long), "is too long"),
    ] {
        let name = "x-s".into();
        let expected = MaterialFault::Malformed { name, fault };
        let found = request.with("x-s", &bad).verify(&scheme);
        assert_eq!(found.map(|_| ()), Err(expected), "{bad}");
    }
    let to_sign = ToSign {
        head: request.head(),
        unix_ms: 0,
        id: None,
        body: b"",
    };
    assert!(scheme.sign(0, &to_sign).is_err());
    for bad in [
        "-----BEGIN PUBLIC KEY----------END PUBLIC KEY-----",
        "-----BEGIN PUBLIC KEY-----",
        "-----BEGIN EC PRIVATE KEY-----AAAA-----END EC PRIVATE KEY-----",
    ] {
        let secret = Secret::new(bad.as_bytes().to_vec());
        let found = Scheme::compile(&written("p256_sha1"), &[&secret], None).err();
        assert_eq!(found, Some(SchemeError::NotPublicKey), "{bad}");
    }
}

fn hmac_hex(key: &str, text: &str) -> String {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key.as_bytes());
    HEXLOWER.encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref())
}

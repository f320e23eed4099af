//! Test cases of RFC 9421 appendix B, with the keys of B.1, and requests that must be rejected.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RsaKeyPair,
};
use data_encoding::BASE64;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use sha2::{Digest as _, Sha256, Sha512};

use super::ComponentValues;
use crate::document::report::ReportStyle;
use crate::document::{SourceText, TomlDocument};
use crate::model::secret::Secret;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::parse::parse_spec;
use crate::scheme::public_key::PublicKey;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{FieldLocation, KeyAlgorithm, SchemeSpec};
use crate::scheme::{MaterialFault, Scheme, ToSign};

const CREATED: i64 = 1_618_884_473_000;
const BODY: &[u8] = br#"{"hello": "world"}"#;
const DIGEST: &str = "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";
const SHARED: &str =
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
const RSA_PSS: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2
+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHq
gDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4
aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB
-----END PUBLIC KEY-----";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf
w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==
-----END PUBLIC KEY-----";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=
-----END PUBLIC KEY-----";

/// The requests of B.2, and that of B.3, in which a proxy that terminates TLS signs.
const CASES: [Case; 6] = [
    Case {
        scheme: r#"algorithm = "rsa-pss-sha512"
components = []
body_unsigned = true
parameters = ["created", "keyid", "nonce"]"#,
        key: RSA_PSS,
        input: r#"sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
        signature: "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++wgGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgFWhzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:",
        base: r#""@signature-params": ();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd""#,
    },
    Case {
        scheme: r#"algorithm = "rsa-pss-sha512"
components = ['"@authority"', '"content-digest"', '"@query-param";name="Pet"']
tag = "header-example""#,
        key: RSA_PSS,
        input: r#"sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
        signature: "sig-b22=:LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbUjsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==:",
        base: r#""@authority": example.com
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"@query-param";name="Pet": dog
"@signature-params": ("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example""#,
    },
    Case {
        scheme: r#"algorithm = "rsa-pss-sha512"
components = ['"date"', '"@method"', '"@path"', '"@query"', '"@authority"', '"content-type"', '"content-digest"', '"content-length"']
label = "sig-b23""#,
        key: RSA_PSS,
        input: r#"sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
        signature: "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@query": ?param=Value&Pet=dog
"@authority": example.com
"content-type": application/json
"content-digest": sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss""#,
    },
    Case {
        scheme: r#"algorithm = "hmac-sha256"
components = ['"date"', '"@authority"', '"content-type"']
body_unsigned = true
secret = { encoding = "base64" }"#,
        key: SHARED,
        input: r#"sig-b25=("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
        signature: "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@authority": example.com
"content-type": application/json
"@signature-params": ("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret""#,
    },
    Case {
        scheme: r#"algorithm = "ed25519"
components = ['"date"', '"@method"', '"@path"', '"@authority"', '"content-type"', '"content-length"']
body_unsigned = true
keyid = ["other", "test-key-ed25519"]"#,
        key: ED25519,
        input: r#"sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
        signature: "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:",
        base: r#""date": Tue, 20 Apr 2021 02:07:55 GMT
"@method": POST
"@path": /foo
"@authority": example.com
"content-type": application/json
"content-length": 18
"@signature-params": ("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519""#,
    },
    Case {
        scheme: r#"algorithm = "ecdsa-p256-sha256"
components = ['"@path"', '"@query"', '"@method"', '"@authority"', '"client-cert"']
body_unsigned = true"#,
        key: P256,
        input: r#"ttrp=("@path" "@query" "@method" "@authority" "client-cert");created=1618884473;keyid="test-key-ecc-p256""#,
        signature: "ttrp=:xVMHVpawaAC/0SbHrKRs9i8I3eOs5RtTMGCWXm/9nvZzoHsIg6Mce9315T6xoklyy0yzhD9ah4JHRwMLOgmizw==:",
        base: "",
    },
];

const CLIENT_CERT: &str = ":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQTAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/IncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEYCuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:";

/// Verifies only the algorithm of B.2.4, because it signs a response and webhooks are requests.
const RESPONSE_BASE: &str = r#""@status": 200
"content-type": application/json
"content-digest": sha-512=:mEWXIS7MaLRuGgxOBdODa3xqM1XdEvxoYhvlCFJ41QJgJc4GTsPp29l5oGX69wWdXymyU0rjJuahq4l5aGgfLQ==:
"content-length": 23
"@signature-params": ("@status" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-ecc-p256""#;
const RESPONSE_SIGNATURE: &str =
    "wNmSUAhwb5LxtOtOpNa6W5xj067m5hFrj0XQ4fvpaCLx0NKocgPquLgyahnzDnDAUy5eCdlYUEkLIj+32oiasw==";

struct Case {
    scheme: &'static str,
    key: &'static str,
    input: &'static str,
    signature: &'static str,
    base: &'static str,
}

/// A request with everything that its verification needs.
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
    public_url: Option<&'static str>,
}

impl Request {
    /// `test-request` of appendix B.2.
    fn example() -> Self {
        let mut request = Self {
            method: Method::POST,
            uri: "/foo?param=Value&Pet=dog".parse().unwrap(),
            headers: HeaderMap::new(),
            body: BODY.to_vec(),
            public_url: Some("https://EXAMPLE.com:443"),
        };
        request.set("host", "example.com");
        request.set("date", "Tue, 20 Apr 2021 02:07:55 GMT");
        request.set("content-type", "application/json");
        request.set("content-length", "18");
        request.set("content-digest", DIGEST);
        request
    }

    fn of(case: &Case) -> Self {
        let mut request = Self::example();
        if case.input.starts_with("ttrp") {
            request.public_url = Some("https://service.internal.example");
            request.set("client-cert", CLIENT_CERT);
        }
        request.set("signature-input", case.input);
        request.set("signature", case.signature);
        request
    }

    fn set(&mut self, name: &'static str, value: &str) {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.insert(HeaderName::from_static(name), value);
    }

    fn add(&mut self, name: &'static str, value: &str) {
        let value = HeaderValue::from_str(value).unwrap();
        self.headers.append(HeaderName::from_static(name), value);
    }

    fn head(&self) -> RequestHead<'_> {
        RequestHead {
            method: &self.method,
            uri: &self.uri,
            headers: &self.headers,
        }
    }

    fn verify(&self, scheme: &Scheme) -> Result<Option<SignatureMatch>, MaterialFault> {
        let material = scheme.material(&self.head())?;
        let current = SecretSet::all(scheme.secret_count());
        let mut verifier = scheme.begin(material, self.head(), current);
        if verifier.is_hopeless() {
            return Ok(None);
        }
        for chunk in self.body.chunks(5) {
            verifier.update(chunk);
        }
        verifier.finish(&self.body, None)
    }

    fn is_taken(&self, scheme: &Scheme) -> bool {
        matches!(self.verify(scheme), Ok(Some(_)))
    }

    /// Signs with the scheme's first secret, and adds the resulting headers.
    fn sign(&mut self, scheme: &Scheme) {
        let to_sign = ToSign {
            head: self.head(),
            unix_ms: CREATED,
            id: None,
            body: &self.body,
        };
        let stamp = scheme.sign(0, &to_sign).unwrap();
        for (name, value) in stamp.headers {
            self.headers.insert(name, value.parse().unwrap());
        }
    }

    /// Adds our own signature over everything that `input` covers.
    fn sign_with(&mut self, input: &str, sign: impl Fn(&[u8]) -> Vec<u8>) {
        let signature = {
            let list = input.split_once('=').unwrap().1;
            let list = sfv::Parser::new(list).parse::<sfv::List>().unwrap();
            let Some(sfv::ListEntry::InnerList(list)) = list.first() else {
                panic!("no list");
            };
            let origin = self.public_url.and_then(super::PublicOrigin::parse);
            let head = self.head();
            let (base, _) = ComponentValues::new(&head, origin.as_ref())
                .base(list)
                .unwrap();
            sign(&base)
        };
        let label = input.split_once('=').unwrap().0;
        let signature = format!("{label}=:{}:", BASE64.encode(&signature));
        self.set("signature-input", input);
        self.set("signature", &signature);
    }
}

fn spec(text: &str) -> Result<SchemeSpec, String> {
    let text = format!("type = \"http_signature\"\n{text}\n");
    let source = SourceText::new("scheme.toml", text);
    let document = TomlDocument::parse(&source);
    let spec = parse_spec(&mut document.root());
    let report = document.into_report();
    let spec = spec.filter(|_| !report.has_errors());
    spec.ok_or_else(|| report.render(ReportStyle::Plain))
}

fn scheme(text: &str, key: &str) -> Scheme {
    compile(text, key, Some("https://EXAMPLE.com:443")).unwrap()
}

fn compile(text: &str, key: &str, public_url: Option<&str>) -> Result<Scheme, SchemeError> {
    let secret = Secret::new(key.as_bytes().to_vec());
    let spec = spec(text).unwrap_or_else(|err| panic!("{text}: {err}"));
    Scheme::compile(&spec, &[&secret], public_url)
}

fn hmac(text: &str) -> Scheme {
    let text = format!("algorithm = \"hmac-sha256\"\nsecret = {{ encoding = \"base64\" }}\n{text}");
    scheme(&text, SHARED)
}

/// Signs as an attacker with the key would; only for tests.
fn with_shared(base: &[u8]) -> Vec<u8> {
    use hmac::{Hmac, KeyInit, Mac};
    let key = BASE64.decode(SHARED.as_bytes()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(base);
    mac.finalize().into_bytes().to_vec()
}

fn sha256(body: &[u8]) -> String {
    format!("sha-256=:{}:", BASE64.encode(&Sha256::digest(body)))
}

// Fails after any change of the signed text, of an algorithm, or of the comparison.
#[test]
fn the_rfcs_own_requests_are_taken() {
    for case in CASES {
        let request = Request::of(&case);
        let scheme = compile(case.scheme, case.key, request.public_url).unwrap();
        let found = request.verify(&scheme);
        let found = found.unwrap_or_else(|err| panic!("{}: {err:?}", case.input));
        let found = found.unwrap_or_else(|| panic!("{}: not taken", case.input));
        assert_eq!(found.signed_time.unwrap().unix_ms, CREATED);
        assert_eq!(found.validity, None);
        if !case.base.is_empty() {
            let digest: [u8; 32] = Sha256::digest(case.base).into();
            assert_eq!(found.digest, digest, "{}: another base", case.input);
        }
    }
}

#[test]
fn the_rfcs_response_verifies_as_a_text() {
    let key = PublicKey::parse(KeyAlgorithm::EcdsaP256Fixed, P256.as_bytes()).unwrap();
    let signature = BASE64.decode(RESPONSE_SIGNATURE.as_bytes()).unwrap();
    assert!(key.verifies(RESPONSE_BASE.as_bytes(), &signature));
    assert!(!key.verifies(&RESPONSE_BASE.as_bytes()[1..], &signature));
    // It must not verify as a signature of a request.
    let text = "algorithm = \"ed25519\"\ncomponents = [\"@status\", \"content-digest\"]";
    assert!(
        spec(text)
            .unwrap_err()
            .contains("is a component of responses")
    );
}

// Fails if a component is missing in the base, or if only the length of the signature is compared.
#[test]
fn whatever_is_covered_cannot_be_changed() {
    for case in CASES {
        let original = Request::of(&case);
        let scheme = compile(case.scheme, case.key, original.public_url).unwrap();
        let covered = |name: &str| case.input.contains(&format!("\"{name}\""));
        let mut changed: Vec<(&str, Request)> = Vec::new();
        let mut change = |name, is_covered: bool, change: &dyn Fn(&mut Request)| {
            let mut request = Request::of(&case);
            change(&mut request);
            assert_eq!(
                request.is_taken(&scheme),
                !is_covered,
                "{}: {name}",
                case.input
            );
            changed.push((name, request));
        };
        change("date", covered("date"), &|request| {
            request.set("date", "now")
        });
        change("type", covered("content-type"), &|request| {
            request.add("content-type", "text/plain");
        });
        change("method", covered("@method"), &|request| {
            request.method = Method::PUT;
        });
        let path = covered("@path");
        change("path", path, &|request| {
            request.uri = "/fop?param=Value&Pet=dog".parse().unwrap();
        });
        let query = covered("@query") || covered("@query-param");
        change("query", query, &|request| {
            request.uri = "/foo?param=Value&Pet=cat".parse().unwrap();
        });
        change("body", covered("content-digest"), &|request| {
            request.body.push(b' ');
        });
        change("digest", covered("content-digest"), &|request| {
            request.body = b"x".to_vec();
            request.set("content-digest", &sha256(b"x"));
        });
        change("created", true, &|request| {
            let input = case
                .input
                .replace("created=1618884473", "created=1618884474");
            request.set("signature-input", &input);
        });
        change("signature", true, &|request| {
            request.set("signature", &case.signature.replacen(":", ":AAAA", 1));
        });
        let authority = covered("@authority");
        let elsewhere = compile(case.scheme, case.key, Some("https://other.example")).unwrap();
        assert_eq!(Request::of(&case).is_taken(&elsewhere), !authority);
    }
}

// Fails if `Host` is used for a route without `public_url`.
#[test]
fn the_authority_comes_from_the_config_alone() {
    let text = "algorithm = \"ed25519\"\ncomponents = [\"@authority\", \"content-digest\"]";
    let err = compile(text, ED25519, None).err();
    assert_eq!(err, Some(SchemeError::NeedsPublicUrl));
    // The component is covered but not required, and it cannot be computed.
    let case = &CASES[4];
    let text = "algorithm = \"ed25519\"\ncomponents = [\"@path\"]\nbody_unsigned = true";
    let scheme = compile(text, case.key, None).unwrap();
    let fault = Request::of(case).verify(&scheme).unwrap_err();
    assert!(
        format!("{fault:?}").contains("no `public_url`"),
        "{fault:?}"
    );
}

// Fails without the comparison with the required components, or if `;key` covers a whole header.
#[test]
fn a_signature_that_covers_too_little_is_refused() {
    let all = "components = [\"@method\", \"@path\", \"content-digest\", \"x-id\"]";
    let scheme = hmac(all);
    for (input, is_taken) in [
        (
            r#"a=("@method" "@path" "content-digest" "x-id");created=1618884473"#,
            true,
        ),
        (
            r#"a=("x-id" "content-digest" "date" "@path" "@method");created=1618884473"#,
            true,
        ),
        (
            r#"a=("@method" "@path" "content-digest" "x-id";bs);created=1618884473"#,
            true,
        ),
        (
            r#"a=("@method" "@path" "content-digest";sf "x-id");created=1618884473"#,
            true,
        ),
        (
            r#"a=("@method" "@path" "content-digest";bs "x-id");created=1618884473"#,
            true,
        ),
        (
            r#"a=("@method" "@path" "content-digest";key="sha-512" "x-id");created=1618884473"#,
            true,
        ),
        (
            r#"a=("@method" "@path" "content-digest" "x-id";key="a");created=1618884473"#,
            false,
        ),
        (
            r#"a=("@method" "content-digest" "x-id");created=1618884473"#,
            false,
        ),
        (r#"a=("@method" "@path" "x-id");created=1618884473"#, false),
        (
            r#"a=("@method" "@query" "content-digest" "x-id");created=1618884473"#,
            false,
        ),
        (r#"a=("@method" "@path" "content-digest" "x-id")"#, false),
        ("a=();created=1618884473", false),
    ] {
        let mut request = Request::example();
        request.set("x-id", "a=1");
        request.sign_with(input, with_shared);
        assert_eq!(request.is_taken(&scheme), is_taken, "{input}");
    }
}

// Fails if only the first digest is compared, if unknown ones pass, or if a member that is not covered is used.
#[test]
fn the_body_is_held_against_every_digest_that_is_known() {
    let scheme = hmac("components = [\"content-digest\"]");
    let other = sha256(b"other");
    let long = format!("sha-512=:{}:", BASE64.encode(&Sha512::digest(BODY)));
    let covered = r#"a=("content-digest");created=1618884473"#;
    let by_key = |key: &str| format!(r#"a=("content-digest";key="{key}");created=1618884473"#);
    for (digest, input, is_taken) in [
        (sha256(BODY), covered.to_owned(), true),
        (long.clone(), covered.to_owned(), true),
        (
            format!("{}, {long}", sha256(BODY)),
            covered.to_owned(),
            true,
        ),
        (
            format!("md5=:AAAA:,   {}", sha256(BODY)),
            covered.to_owned(),
            true,
        ),
        (format!("{other}, {long}"), covered.to_owned(), false),
        (other.clone(), covered.to_owned(), false),
        ("md5=:AAAA:".to_owned(), covered.to_owned(), false),
        ("sha-256=:AAAA:".to_owned(), covered.to_owned(), false),
        ("sha-256=1".to_owned(), covered.to_owned(), false),
        (
            format!("{other}, {}", sha256(BODY)),
            covered.to_owned(),
            true,
        ),
        (sha256(BODY), by_key("sha-256"), true),
        (format!("{other}, {long}"), by_key("sha-512"), false),
        (format!("md5=:AAAA:, {long}"), by_key("md5"), false),
    ] {
        let mut request = Request::example();
        request.set("content-digest", &digest);
        request.sign_with(&input, with_shared);
        assert_eq!(request.is_taken(&scheme), is_taken, "{digest} {input}");
    }
}

// Fails if `alg` selects the algorithm, or if any label, tag or key name passes.
#[test]
fn signatures_for_others_are_passed_over() {
    let plain = "components = [\"content-digest\"]";
    let own = r#"own=("content-digest");created=1618884473;keyid="k";tag="t";alg="hmac-sha256""#;
    let named = "label = \"own\"\ntag = \"t\"\nkeyid = \"k\"";
    let scheme = hmac(&format!("{plain}\n{named}"));
    for (from, to, is_taken) in [
        ("", "", true),
        ("own=", "other=", false),
        ("\"t\"", "\"u\"", false),
        ("\"k\"", "\"l\"", false),
        (";tag=\"t\"", "", false),
        (";keyid=\"k\"", "", false),
        ("hmac-sha256", "ed25519", false),
        ("hmac-sha256", "HMAC-SHA256", false),
        (";alg=\"hmac-sha256\"", "", true),
        ("\"hmac-sha256\"", "hmac-sha256", false),
    ] {
        let mut request = Request::example();
        request.sign_with(&own.replacen(from, to, 1), with_shared);
        assert_eq!(request.is_taken(&scheme), is_taken, "{from} -> {to}");
        // With another application's signature in the same request.
        request.add("signature-input", r#"foreign=("@status" "x";tr);keyid="k""#);
        request.add("signature", "foreign=:AAAA:");
        assert_eq!(
            request.is_taken(&scheme),
            is_taken,
            "{from} -> {to}, foreign"
        );
    }
}

// Fails without one of the limits, or without the check for repeated keys.
#[test]
fn what_is_odd_or_too_much_is_refused() {
    let scheme = hmac("components = [\"content-digest\"]");
    let good = r#"a=("content-digest");created=1618884473"#;
    let mut request = Request::example();
    request.sign_with(good, with_shared);
    let signature = request.headers["signature"].to_str().unwrap().to_owned();
    assert!(request.is_taken(&scheme));
    let many: Vec<String> = (0..4)
        .map(|n| good.replacen('a', &format!("a{n}"), 1))
        .collect();
    let labels: Vec<String> = (0..17).map(|n| format!("b{n}=()")).collect();
    let wide: Vec<String> = (0..33).map(|n| format!("\"x-{n}\"")).collect();
    let inputs = [
        String::new(),
        "a".to_owned(),
        "a=1".to_owned(),
        format!("{good}, {good}"),
        format!("{good},"),
        format!("{good} x"),
        many.join(", "),
        labels.join(", "),
        format!("a=({});created=1618884473", wide.join(" ")),
        r#"a=("content-digest" "content-digest");created=1618884473"#.to_owned(),
        r#"a=("Content-Digest");created=1618884473"#.to_owned(),
        r#"a=(content-digest);created=1618884473"#.to_owned(),
        r#"a=("content-digest";req);created=1618884473"#.to_owned(),
        r#"a=("content-digest";tr);created=1618884473"#.to_owned(),
        r#"a=("content-digest";bs;sf);created=1618884473"#.to_owned(),
        r#"a=("content-digest";new);created=1618884473"#.to_owned(),
        r#"a=("content-digest" "@status");created=1618884473"#.to_owned(),
        r#"a=("content-digest" "@new");created=1618884473"#.to_owned(),
        r#"a=("content-digest" "@signature-params");created=1618884473"#.to_owned(),
        r#"a=("content-digest" "x-absent");created=1618884473"#.to_owned(),
        r#"a=("content-digest" "date";sf);created=1618884473"#.to_owned(),
        r#"a=("content-digest" "@query-param");created=1618884473"#.to_owned(),
        r#"a=("content-digest" "@query-param";name="no");created=1618884473"#.to_owned(),
        r#"a=("content-digest");created="1618884473""#.to_owned(),
        r#"a=("content-digest");created=-1"#.to_owned(),
        r#"a=("content-digest");created=1618884473.0"#.to_owned(),
        r#"a=("content-digest");created=1618884473;expires=never"#.to_owned(),
        r#"a=("content-digest");created=1618884473;nonce=1"#.to_owned(),
        format!("{good};x=\"{}\"", "y".repeat(17_000)),
    ];
    for input in inputs {
        let mut request = Request::example();
        request.set("signature-input", &input);
        request.set("signature", &signature);
        assert!(request.verify(&scheme).is_err(), "{input}");
    }
    for signature in [
        "",
        "b=:AAAA:",
        "a=\"AAAA\"",
        "a=AAAA",
        "a=(:AAAA:)",
        "a=:AA",
        "a=:AAAA:, a=:AAAA:",
    ] {
        let mut request = Request::example();
        request.set("signature-input", good);
        request.set("signature", signature);
        assert!(!request.is_taken(&scheme), "{signature}");
    }
    let mut request = Request::example();
    request.sign_with(good, with_shared);
    request.headers.remove("content-digest");
    assert!(request.verify(&scheme).is_err());
}

// Examples of RFC 9421 sections 2.1 and 2.2. Fails after any change of how a value is serialized.
#[test]
fn values_are_written_as_the_rfc_writes_them() {
    let mut request = Request::example();
    let uri = "/parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something&twice=1&twic%65=2&qux=";
    request.uri = uri.parse().unwrap();
    request.public_url = Some("https://www.example.com:8443/base/");
    request.set("x-ows-header", "Leading and trailing whitespace.");
    request.add("cache-control", "max-age=60");
    request.add("cache-control", "   must-revalidate");
    request.set("example-dict", "a=1,    b=2;x=1;y=2,   c=(a   b    c), d");
    request.set("priority", "u=1,    i");
    request.set("x-empty-header", "");
    request.add("example-header", "value, with, lots");
    request.add("example-header", "of, commas");
    let origin = super::PublicOrigin::parse(request.public_url.unwrap()).unwrap();
    let head = request.head();
    let values = ComponentValues::new(&head, Some(&origin));
    let line = |identifier: &str| {
        let list = sfv::Parser::new(&format!("({identifier})")).parse::<sfv::List>();
        let Some(sfv::ListEntry::InnerList(list)) = list.unwrap().into_iter().next() else {
            panic!("no list");
        };
        let base = values.base(&list).ok()?.0;
        let text = String::from_utf8(base).unwrap();
        Some(text.lines().next().unwrap().to_owned())
    };
    for expected in [
        r#""x-ows-header": Leading and trailing whitespace."#,
        r#""cache-control": max-age=60, must-revalidate"#,
        r#""example-dict": a=1,    b=2;x=1;y=2,   c=(a   b    c), d"#,
        r#""example-dict";key="a": 1"#,
        r#""example-dict";key="d": ?1"#,
        r#""example-dict";key="b": 2;x=1;y=2"#,
        r#""example-dict";key="c": (a b c)"#,
        r#""priority";sf: u=1, i"#,
        r#""x-empty-header": "#,
        r#""example-header": value, with, lots, of, commas"#,
        r#""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"#,
        r#""@query-param";name="var": this%20is%20a%20big%0Amultiline%20value"#,
        r#""@query-param";name="bar": with%20plus%20whitespace"#,
        r#""@query-param";name="fa%C3%A7ade%22%3A%20": something"#,
        r#""@query-param";name="qux": "#,
        r#""@method": POST"#,
        r#""@scheme": https"#,
        r#""@authority": www.example.com:8443"#,
        r#""@path": /base/parameters"#,
    ] {
        let (identifier, _) = expected.split_once(": ").unwrap();
        assert_eq!(line(identifier).as_deref(), Some(expected));
    }
    let query = request.uri.query().unwrap();
    let target = format!("\"@target-uri\": https://www.example.com:8443/base/parameters?{query}");
    assert_eq!(line("\"@target-uri\""), Some(target));
    let target = format!("\"@request-target\": /base/parameters?{query}");
    assert_eq!(line("\"@request-target\""), Some(target));
    for refused in [
        r#""@query-param";name="twice""#,
        r#""example-dict";key="e""#,
        r#""example-header";key="a""#,
    ] {
        assert_eq!(line(refused), None, "{refused}");
    }
    request.uri = "/path".parse().unwrap();
    let head = request.head();
    let values = ComponentValues::new(&head, None);
    let list = sfv::InnerList::new(vec![sfv::Item::new(
        sfv::String::from_string("@query".to_owned()).unwrap(),
    )]);
    let (base, _) = values.base(&list).unwrap();
    assert!(base.starts_with(b"\"@query\": ?\n"));
}

// Fails if the key of another algorithm is shortened, or if another digest is used.
#[test]
fn algorithms_without_a_case_in_the_rfc_verify_what_a_key_of_theirs_signs() {
    let random = SystemRandom::new();
    let input = r#"a=("content-digest");created=1618884473"#;
    let taken = |name: &str, der: &[u8], sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        let text = format!("algorithm = \"{name}\"\ncomponents = [\"content-digest\"]");
        let scheme = scheme(&text, &BASE64.encode(der));
        let mut request = Request::example();
        request.sign_with(input, sign);
        assert!(request.is_taken(&scheme), "{name}");
        request.set("date", "not covered");
        assert!(request.is_taken(&scheme), "{name}");
        request.sign_with(input, |base| {
            let mut signature = sign(base);
            signature[9] ^= 1;
            signature
        });
        assert!(!request.is_taken(&scheme), "{name}");
    };
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der = p384.public_key().as_der().unwrap();
    taken("ecdsa-p384-sha384", der.as_ref(), &|base| {
        p384.sign(&random, base).unwrap().as_ref().to_vec()
    });
    let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let der = rsa.public_key().as_der().unwrap();
    taken("rsa-v1_5-sha256", der.as_ref(), &|base| {
        let mut signature = vec![0; rsa.public_modulus_len()];
        rsa.sign(&RSA_PKCS1_SHA256, &random, base, &mut signature)
            .unwrap();
        signature
    });
    let ed25519 = Ed25519KeyPair::generate().unwrap();
    let der = ed25519.public_key().as_der().unwrap();
    taken("ed25519", der.as_ref(), &|base| {
        ed25519.sign(base).as_ref().to_vec()
    });
}

// Fails if `expires` is checked only if it is required, or not at all.
#[test]
fn times_count_wherever_they_stand() {
    let scheme = hmac("components = [\"content-digest\"]\nparameters = []");
    let mut request = Request::example();
    request.sign_with(r#"a=("content-digest")"#, with_shared);
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!((found.signed_time, found.validity), (None, None));
    request.sign_with(r#"a=("content-digest");created=7;expires=9"#, with_shared);
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!(found.signed_time.unwrap().unix_ms, 7000);
    assert!(found.signed_time.unwrap().is_in_seconds);
    assert_eq!(found.validity.unwrap().until_ms, Some(9000));
    let head = request.head();
    let early = scheme.material(&head).unwrap().signed_time();
    assert_eq!(early.unwrap().unix_ms, 7000);
}

// Fails if the signed text differs from the verified one.
#[test]
fn a_request_signed_here_verifies_here() {
    let scheme = hmac(
        "components = [\"@method\", \"@target-uri\", \"content-digest\", \"date\"]\nlabel = \"own\"\ntag = \"t\"\nkeyid = \"k\"\nparameters = [\"created\", \"expires\", \"alg\"]",
    );
    let mut request = Request::example();
    request.headers.remove("content-digest");
    request.sign(&scheme);
    let found = request.verify(&scheme).unwrap().unwrap();
    assert_eq!(found.signed_time.unwrap().unix_ms, CREATED);
    request.body.push(b' ');
    assert!(request.verify(&scheme).is_err());
}

#[test]
fn faults_of_the_config() {
    for (text, message) in [
        ("", "needs `algorithm`"),
        ("algorithm = \"ed25519\"", "needs `components`"),
        (
            "algorithm = \"sha256\"\ncomponents = [\"content-digest\"]",
            "not one of the choices",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"@path\"]",
            "does not contain `content-digest`",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"content-digest\"]\nbody_unsigned = true",
            "`body_unsigned` is wrong",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"Date\", \"content-digest\"]",
            "capital",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"@nothing\", \"content-digest\"]",
            "not a derived",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"date;req\", \"content-digest\"]",
            "`req`",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"date;tr\", \"content-digest\"]",
            "a trailer",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"date;sf\", \"content-digest\"]",
            "`sf`",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"@query-param\", \"content-digest\"]",
            "`name`",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"date\", \"date\", \"content-digest\"]",
            "listed twice",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"content-digest\"]\nlabel = \"Sig\"",
            "is not a valid label",
        ),
        (
            "algorithm = \"ed25519\"\ncomponents = [\"content-digest\"]\nsigned = \"{body}\"",
            "has no `signed`",
        ),
        (
            "algorithm = \"hmac-sha256\"\ncomponents = [\"content-digest\"]\npublic_key = \"x\"",
            "has no public key",
        ),
    ] {
        let rendered = spec(text).map(|_| ()).unwrap_err();
        assert!(rendered.contains(message), "{text}: {rendered}");
    }
    let other = "type = \"token\"\ntoken = { query = \"t\" }\ncomponents = []";
    let source = SourceText::new("scheme.toml", other.to_owned());
    let document = TomlDocument::parse(&source);
    parse_spec(&mut document.root());
    let rendered = document.into_report().render(ReportStyle::Plain);
    assert!(rendered.contains("has no `components`"), "{rendered}");
}

#[test]
fn what_a_scheme_says_it_signs() {
    let text = "algorithm = \"ed25519\"\ncomponents = [\"content-digest\", \"x-id\", \"x-dict;key=\\\"a\\\"\", \"@query-param;name=\\\"a%20b\\\"\"]";
    let spec = spec(text).unwrap();
    let header = |name: &'static str| FieldLocation::Header(HeaderName::from_static(name));
    for (field, is_signed) in [
        (header("x-id"), true),
        (header("x-dict"), false),
        (header("x-other"), false),
        (FieldLocation::Json(vec!["id".to_owned()]), true),
        (FieldLocation::Query("a b".to_owned()), true),
        (FieldLocation::Query("b".to_owned()), false),
    ] {
        assert_eq!(spec.signs_field(&field), is_signed, "{field:?}");
    }
    assert!(spec.signs_body() && spec.is_dated() && spec.is_public_key());
    assert!(!spec.can_be_signed());
    let headers = spec.headers();
    for name in ["signature", "signature-input", "content-digest", "x-id"] {
        assert!(headers.contains(&HeaderName::from_static(name)), "{name}");
    }
}

proptest::proptest! {
    #[test]
    fn no_header_makes_it_panic(
        input in "[a-z0-9=()\";:@, -]{0,60}",
        signature in "[a-zA-Z0-9=():;, ]{0,40}",
        digest in "[a-z0-9=:, -]{0,40}",
    ) {
        let scheme = hmac("components = [\"content-digest\"]");
        let mut request = Request::example();
        request.set("signature-input", &input);
        request.set("signature", &signature);
        request.set("content-digest", &digest);
        proptest::prop_assert!(!request.is_taken(&scheme));
    }
}

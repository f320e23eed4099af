//! Tests with a genuine sandbox notification, damaged ones, and chains to other roots.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use http::{HeaderMap, Method, Uri};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair,
    PKCS_ECDSA_P256_SHA256,
};

use crate::model::secret::Secret;
use crate::scheme::certificate::app_store;
use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::secret_set::SecretSet;
use crate::scheme::signature_match::SignatureMatch;
use crate::scheme::spec::{
    CertificateKind, CertificateSpec, SchemeFamily, SchemeSpec, SchemeVariants,
};
use crate::scheme::{MaterialFault, Scheme};

const SIGNED_MS: i64 = 1_757_035_472_686;

/// The body of the provider's vector.
fn genuine() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/providers/app_store.toml");
    let text = std::fs::read_to_string(path).unwrap();
    let file: toml::Table = toml::from_str(&text).unwrap();
    let vector = file["vectors"].as_array().unwrap().first().unwrap();
    vector["body"].as_str().unwrap().to_owned()
}

/// The three parts of its JWS.
fn parts() -> [String; 3] {
    let body: serde_json::Value = serde_json::from_str(&genuine()).unwrap();
    let text = body["signedPayload"].as_str().unwrap();
    let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    parts.try_into().unwrap()
}

fn body(parts: &[String]) -> String {
    serde_json::json!({ "signedPayload": parts.join(".") }).to_string()
}

fn compile(audience: &[&str]) -> Result<Scheme, SchemeError> {
    let spec = SchemeSpec {
        family: SchemeFamily::Certificate(CertificateSpec {
            kind: CertificateKind::AppStore,
            hosts: Vec::new(),
            topics: audience.iter().map(|&one| one.to_owned()).collect(),
        }),
        event_id: Vec::new(),
        event_type: Vec::new(),
        version: Vec::new(),
        variants: SchemeVariants::default(),
    };
    Scheme::compile(&spec, &[&Secret::new(Vec::new())], None)
}

fn verify(audience: &[&str], body: &str) -> Result<Option<SignatureMatch>, MaterialFault> {
    let scheme = compile(audience).unwrap();
    let head = RequestHead {
        method: &Method::POST,
        uri: &Uri::from_static("/webhook"),
        headers: &HeaderMap::new(),
    };
    let material = scheme.material(&head)?;
    let mut verifier = scheme.begin(material, head, SecretSet::all(1));
    verifier.update(body.as_bytes());
    assert_eq!(verifier.need(body.as_bytes())?, None, "nothing is fetched");
    verifier.finish(body.as_bytes(), None)
}

const APP: &str = "sandbox:com.loki-project.loki-messenger";

// Fails if sandbox events pass as production, if any app passes, or without the bounds of validity.
#[test]
fn a_notification_counts_for_its_app_and_environment() {
    let found = verify(&["com.example", APP], &genuine()).unwrap().unwrap();
    let validity = found.validity.unwrap();
    assert_eq!(validity.from_ms, Some(SIGNED_MS - 60_000));
    // Its certificate ends on 2025-10-11 at 19:51:52 UTC.
    assert_eq!(validity.until_ms, Some(1_760_212_312_000 + 7 * 86_400_000));
    for audience in [
        "com.loki-project.loki-messenger",
        "sandbox:com.example",
        "sandbox:",
        "*",
    ] {
        assert!(verify(&[audience], &genuine()).is_err(), "{audience}");
    }
    assert_eq!(compile(&[]).err(), Some(SchemeError::NeedsAudience));
    let text = genuine();
    let claim = |name| app_store::claim(text.as_bytes(), name);
    assert_eq!(claim("notificationType").as_deref(), Some("TEST"));
    assert_eq!(claim("data"), None);
}

// Fails if another text than header and payload is verified, or nothing is compared.
#[test]
fn a_changed_notification_is_refused() {
    let whole = parts();
    let payload = BASE64URL_NOPAD.decode(whole[1].as_bytes()).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    for (from, to) in [
        ("592751ef", "592751ee"),
        ("\"TEST\"", "\"REFUND\""),
        ("1757035472686", "1757035472687"),
    ] {
        let mut parts = whole.clone();
        parts[1] = BASE64URL_NOPAD.encode(payload.replace(from, to).as_bytes());
        let found = verify(&[APP], &body(&parts));
        assert_eq!(found, Ok(None), "{from} -> {to}");
    }
    let mut parts = whole.clone();
    parts[2] = BASE64URL_NOPAD.encode(&[0; 64]);
    assert_eq!(verify(&[APP], &body(&parts)), Ok(None));
}

// Fails if any number of certificates, any algorithm, or a header with `crit` is accepted.
#[test]
fn odd_notifications_are_refused() {
    let whole = parts();
    let header = BASE64URL_NOPAD.decode(whole[0].as_bytes()).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&header).unwrap();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut header = header.clone();
        change(&mut header);
        let mut parts = whole.clone();
        parts[0] = BASE64URL_NOPAD.encode(header.to_string().as_bytes());
        body(&parts)
    };
    let list = |value: &mut serde_json::Value| value["x5c"].as_array_mut().unwrap().clone();
    let bodies = [
        String::new(),
        "{}".to_owned(),
        "[]".to_owned(),
        r#"{"signedPayload":1}"#.to_owned(),
        r#"{"signedPayload":"a.b"}"#.to_owned(),
        r#"{"signedPayload":"a.b.c"}"#.to_owned(),
        format!("{}{}", genuine(), genuine()),
        genuine().replacen('{', "{\"signedPayload\":\"\",", 1),
        body(&[whole.concat()]),
        body(&[&whole[..], &whole[2..]].concat()),
        with(&|header| header["alg"] = "none".into()),
        with(&|header| header["alg"] = "HS256".into()),
        with(&|header| header["crit"] = serde_json::json!(["b64"])),
        with(&|header| header["x5c"] = serde_json::json!([])),
        with(&|header| header["x5c"] = list(header)[..2].to_vec().into()),
        with(&|header| header["x5c"] = [list(header), list(header)].concat().into()),
        with(&|header| {
            let mut certificates = list(header);
            certificates.swap(0, 1);
            header["x5c"] = certificates.into();
        }),
        with(&|header| header["x5c"][0] = "AAAA".into()),
        with(&|header| header["pad"] = "x".repeat(40_000).into()),
    ];
    for body in bodies {
        assert!(verify(&[APP], &body).is_err(), "{body:.80}");
    }
}

/// Returns a notification signed with our own chain that has Apple's extensions.
fn forged() -> String {
    let extension = |oid: &[u64]| CustomExtension::from_oid_content(oid, vec![5, 0]);
    let key = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let authority = |oid: Option<&[u64]>| {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.custom_extensions = oid.map(extension).into_iter().collect();
        params
    };
    let (root_key, issuer_key, leaf_key) = (key(), key(), key());
    let root_params = authority(None);
    let root = root_params.self_signed(&root_key).unwrap();
    let root_issuer = Issuer::new(root_params, root_key);
    let issuer_params = authority(Some(&[1, 2, 840, 113_635, 100, 6, 2, 1]));
    let issuer = issuer_params.signed_by(&issuer_key, &root_issuer).unwrap();
    let issuer_issuer = Issuer::new(issuer_params, issuer_key);
    let mut leaf = CertificateParams::new(Vec::new()).unwrap();
    leaf.custom_extensions = vec![extension(&[1, 2, 840, 113_635, 100, 6, 11, 1])];
    let leaf = leaf.signed_by(&leaf_key, &issuer_issuer).unwrap();
    let chain = [leaf.der(), issuer.der(), root.der()].map(|der| BASE64.encode(der));
    let header = serde_json::json!({ "alg": "ES256", "x5c": chain }).to_string();
    let encode = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
    let payload = BASE64URL_NOPAD.decode(parts()[1].as_bytes()).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    let signed = format!("{}.{}", encode(&header), encode(&payload));
    let signer = aws_lc_rs::signature::EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        leaf_key.serialized_der(),
    )
    .unwrap();
    let random = aws_lc_rs::rand::SystemRandom::new();
    let signature = signer.sign(&random, signed.as_bytes()).unwrap();
    body(&[signed, BASE64URL_NOPAD.encode(signature.as_ref())])
}

// Fails if the third certificate of the header is trusted instead of the pinned one.
#[test]
fn a_chain_to_another_root_is_refused() {
    let fault = verify(&[APP], &forged()).unwrap_err();
    let text = format!("{fault:?}");
    assert!(text.contains("do not chain to Apple's root"), "{text}");
}

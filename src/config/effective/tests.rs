//! Tests that the effective config has every key of every section, and no secret.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::providers;
use hookgate_verify::scheme::parse::keys;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber,
};
use serde_json::{Value as Json, json};

use super::*;
use crate::config::load_text;

/// Sets every key of every section at least once.
const CONFIG: &str = include_str!("every_key.toml");

/// Texts of the config that the document must not contain.
const SECRETS: [&str; 20] = [
    "c2VjcmV0LW9mLXRoZS1hY2NvdW50LTk5LWxvbmdlcg",
    "f3b8c1d09e7a4b52f3b8",
    "0aZ18fJq2LxW0aZ1Kp7v",
    "tOkEn-of-the-admin-77",
    "tOkEn-of-ann-88-qwert",
    "key-of-the-store-4711-abc",
    "collector-key-91x7",
    "verify-token-of-meta-55",
    "client-id-0001:plaid-secret-0002",
    "Bearer aSdFgHjKl-1234",
    "qWeRtYuIoP",
    "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "C2FVsBQIhrscChlQIMV+b5sSYspob7oD",
    "local-apps-secret-6613",
    "T0001/B0002/url-of-the-chat-5150",
    "pAsSwOrD-of-the-mail-9",
    "w7hZ2kQm9xLr4vTn6bYc1sDfw7hZ2kQm9xLr",
    "pRoXy-PaSs-3128-word",
    "sEcReT-of-the-client-5",
    "secret-in-a-file-2931",
];

/// Keys that hide the tables of their values: the document has a mask, a count, names or a URL instead.
const HIDDEN: [(&str, &str); 16] = [
    ("tls.acme.external_account", "hmac_key"),
    ("admin", "token"),
    ("admin.tokens", "token"),
    ("store", "password"),
    ("store", "encryption_key"),
    ("telemetry", "headers"),
    ("alerts.NAME", "url"),
    ("alerts.NAME", "secret"),
    ("alerts.NAME", "password"),
    ("egress_proxy", "password"),
    ("routes.NAME", "verify_token"),
    ("routes.NAME", "sign_upstream"),
    ("routes.NAME", "jwks"),
    ("routes.NAME.destinations.NAME", "headers"),
    ("routes.NAME.destinations.NAME", "secret"),
    ("routes.NAME.destinations.NAME.oauth2", "client_secret"),
];

/// Keys that this test cannot set. systemd names the folder of its credentials in the environment.
const UNTESTED: [(&str, &str); 1] = [("routes.NAME.secret", "credential")];

/// Sections and keys that a walk through the document has found.
#[derive(Default)]
struct FoundKeys {
    sections: BTreeSet<&'static str>,
    /// Keys with a value other than null, each with the path of its section.
    set: BTreeSet<(&'static str, &'static str)>,
}

/// Returns the section of the tables that values of this kind contain.
fn section_of(kind: &'static ValueKind) -> Option<&'static SectionDefinition> {
    match kind {
        ValueKind::Table(section) | ValueKind::Tables(section) | ValueKind::Named(section) => {
            Some(section)
        }
        ValueKind::List(inner)
        | ValueKind::OneOrMore(inner)
        | ValueKind::FalseOr(inner)
        | ValueKind::Map(inner) => section_of(inner),
        ValueKind::Either(left, right) => section_of(left).or_else(|| section_of(right)),
        _ => None,
    }
}

/// Collects all sections below this one. Of a custom scheme only the `type` is shown, so its sections do not count.
fn collect_sections(
    section: &'static SectionDefinition,
    all: &mut Vec<&'static SectionDefinition>,
) {
    let is_known = all.iter().any(|known| std::ptr::eq(*known, section));
    if is_known || std::ptr::eq(section, &keys::SECTION) {
        return;
    }
    all.push(section);
    for key in section.keys {
        if let Some(inner) = section_of(&key.kind) {
            collect_sections(inner, all);
        }
    }
}

/// Checks the table of a section and every table inside of it.
fn walk(
    section: &'static SectionDefinition,
    value: &EffectiveValue,
    place: &str,
    found: &mut FoundKeys,
) {
    let EffectiveValue::Table(table) = value else {
        panic!("`{place}` is not a table: {value:?}");
    };
    found.sections.insert(section.path);
    let names: Vec<_> = table
        .entries
        .iter()
        .map(|(name, _)| name.as_str())
        .collect();
    let wanted: Vec<_> = section.keys.iter().map(|key| key.name).collect();
    if std::ptr::eq(section, &keys::SECTION) {
        assert_eq!(names, ["type"], "`{place}`");
        return;
    }
    for name in &wanted {
        assert!(names.contains(name), "`{place}` lacks the key `{name}`");
    }
    assert_eq!(names[..wanted.len()], wanted, "the order of `{place}`");
    for key in section.keys {
        let value = value.get(key.name).unwrap();
        if !value.is_null() {
            found.set.insert((section.path, key.name));
            walk_key(section, key, value, &format!("{place}.{}", key.name), found);
        }
    }
}

fn walk_key(
    section: &'static SectionDefinition,
    key: &'static KeyDefinition,
    value: &EffectiveValue,
    place: &str,
    found: &mut FoundKeys,
) {
    let Some(inner) = section_of(&key.kind) else {
        return;
    };
    match (value, &key.kind) {
        (EffectiveValue::Table(tables), ValueKind::Named(_)) => {
            for (name, table) in &tables.entries {
                walk(inner, table, &format!("{place}.{name}"), found);
            }
        }
        (EffectiveValue::Table(_), _) => walk(inner, value, place, found),
        (EffectiveValue::List(tables), _) => {
            tables
                .iter()
                .for_each(|table| walk(inner, table, place, found));
        }
        (EffectiveValue::Plain(_), _) => assert!(
            HIDDEN.contains(&(section.path, key.name)),
            "`{place}` shows no table of [{}]",
            inner.path
        ),
    }
}

/// Loads the config and returns its document.
fn document() -> EffectiveValue {
    document_of(CONFIG)
}

/// Returns the document of the same config with another store, since the keys of a file and those of PostgreSQL exclude
/// each other.
fn document_with_postgres() -> EffectiveValue {
    let url = "url = \"sqlite:hookgate.db\"\n";
    assert!(CONFIG.contains(url));
    document_of(&CONFIG.replace(url, POSTGRES))
}

fn document_of(config: &str) -> EffectiveValue {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("secret.txt", SECRETS[19]);
    write("invoice.json", "{}");
    write("keys.json", KEY_SET);
    let (authority, list) = client_authority();
    write("clients.pem", &authority);
    write("clients.crl", &list);
    let name = folder.path().join("hookgate.toml").display().to_string();
    match load_text(&name, config) {
        Ok(loaded) => effective(&loaded.config),
        Err(report) => panic!("{}", report.render(ReportStyle::Plain)),
    }
}

/// Returns an authority for client certificates and its empty revocation list, both in PEM.
fn client_authority() -> (String, String) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let list = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2020, 1, 1),
        next_update: rcgen::date_time_ymd(2999, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = list.signed_by(&issuer).unwrap().pem().unwrap();
    (issuer.pem(), list)
}

const POSTGRES: &str = r#"
url = "postgres://hookgate@db1,[::1]:5433/inbox"
password = "pAsSwOrD-of-the-database-3"
ca = "db-ca.pem"
cert = "db-client.pem"
key = "db-client.key"
node = "edge-1"
"#;

/// Fails when a key is added to a section without a line in this module, or when the line always gives null.
#[test]
fn every_key_of_every_section_is_in_its_place() {
    let mut found = FoundKeys::default();
    walk(&ROOT, &document(), "config", &mut found);
    walk(&ROOT, &document_with_postgres(), "config", &mut found);
    let mut all = Vec::new();
    collect_sections(&ROOT, &mut all);
    assert!(all.len() > 18, "the sections are not reachable");
    for section in all {
        let path = section.path;
        assert!(found.sections.contains(path), "no table shows [{path}]");
        for key in section.keys {
            let place = (path, key.name);
            let is_set = found.set.contains(&place) || UNTESTED.contains(&place);
            assert!(is_set, "`{}` of [{path}] is always null", key.name);
        }
    }
}

/// Fails when a view shows the text of a secret, a token, a header or a masked parameter.
#[test]
fn no_secret_is_in_the_document() {
    let document = document();
    let shown = format!("{} {document:?}", serde_json::to_string(&document).unwrap());
    let (in_file, in_config) = SECRETS.split_last().unwrap();
    assert!(!shown.contains(in_file), "{in_file} is in {shown}");
    for secret in in_config {
        assert!(CONFIG.contains(secret), "the config has no `{secret}`");
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
}

/// Fails when the settings of PostgreSQL show its password, or not the values that apply.
#[test]
fn the_password_of_the_database_is_masked() {
    let document = serde_json::to_value(document_with_postgres()).unwrap();
    let store = &document["store"];
    assert!(!store.to_string().contains("pAsSwOrD"), "{store}");
    assert_eq!(store["password"], "***");
    assert_eq!(
        store["url"],
        "postgres://hookgate@db1:5432,[::1]:5433/inbox"
    );
    assert_eq!(store["schema"], "hookgate");
    assert_eq!(store["durability"], "replica");
    assert_eq!(store["insecure"], false);
    assert_eq!(store["min_free"], Json::Null);
}

/// Fails when a field that programs read changes, or when a value is not the one that applies.
#[test]
fn values_and_extra_fields_are_those_that_apply() {
    let document = serde_json::to_value(document()).unwrap();
    for (pointer, wanted) in [
        ("/server/keep_rejected", json!(100)),
        ("/telemetry/otlp", json!("http://127.0.0.1:4318")),
        ("/telemetry/headers", json!(["x-api-key"])),
        ("/alerts/team/url", json!("https://hooks.slack.com/***")),
        ("/alerts/team/max_per_hour", json!(12)),
        ("/alerts/mail/server", json!("smtp.example.com:465")),
        ("/alerts/mail/security", json!("tls")),
        ("/watch/interval", json!("15s")),
        ("/watch/quiet", json!(3.0)),
        ("/routes/bills/quiet_after", json!("7200s")),
        ("/store/encryption_key", json!(1)),
        ("/store/encryption_keys", json!(1)),
        ("/admin/token", json!("***")),
        ("/admin/tokens/1/name", json!("ann")),
        ("/admin/tokens/1/routes", json!(["bills", "sto*"])),
        ("/admin/tokens/1/payload", json!(false)),
        ("/tls/certificates/1/cert", json!("b.pem")),
        (
            "/routes/bills/events",
            json!(["invoice.*", "!invoice.upcoming"]),
        ),
        ("/routes/bills/when", json!("body.amount > 100")),
        ("/routes/bills/has_when", json!(true)),
        ("/routes/bills/signs_upstream", json!(true)),
        ("/routes/bills/secrets", json!(["2026", "2", "3"])),
        (
            "/routes/bills/secret/0/until",
            json!("2999-01-01T00:00:00Z"),
        ),
        ("/routes/bills/secret/0/file", json!("***")),
        ("/routes/bills/secret/1/file", Json::Null),
        ("/routes/bills/allow_ips", json!(["10.0.0.0/8", "provider"])),
        (
            "/routes/bills/upstream/url",
            json!("http://127.0.0.1:8080/a"),
        ),
        ("/routes/bills/scheme", Json::Null),
        ("/routes/own/scheme/type", json!("hmac")),
        ("/routes/own/dedup", Json::Null),
        ("/routes/google/audience", json!(["https://a.example"])),
        ("/routes/google/claims/1/name", json!("email")),
        ("/routes/google/secret", Json::Null),
        ("/routes/plaid/jwks", json!(PLAID_KEYS)),
        ("/routes/hybrid/store_on", json!(["4xx"])),
        ("/routes/stored/resign", json!("provider")),
        ("/routes/stored/upstream", Json::Null),
        ("/routes/stored/destinations/ci/is_signed", json!(true)),
        ("/routes/stored/destinations/ci/max_age", json!("90s")),
        ("/routes/stored/destinations/all/reuse", json!(true)),
        (
            "/routes/plaid/upstream/tls/server_name",
            json!("app.internal"),
        ),
        ("/routes/plaid/upstream/max_age", json!("300s")),
        ("/egress_proxy/except/1", json!("10.0.0.0/8")),
        (
            "/routes/stored/destinations/ci/url",
            json!("https://ci.example.com/in?token=***&a=1"),
        ),
        (
            "/routes/stored/destinations/ci/order",
            json!("fifo:json:/id"),
        ),
        ("/routes/stored/destinations/ci/retry/schedule", Json::Null),
        ("/routes/stored/destinations/ci/retry/factor", json!(3.0)),
        ("/routes/stored/destinations/all/breaker", Json::Null),
        ("/routes/local/socket/users", json!([0])),
    ] {
        let shown = document.pointer(pointer);
        let shown = match (shown, &wanted) {
            // The folder of the test comes before a relative path.
            (Some(Json::String(path)), Json::String(name)) if path.ends_with(name) => &wanted,
            (shown, _) => shown.unwrap_or_else(|| panic!("{pointer} is absent")),
        };
        assert_eq!(*shown, wanted, "{pointer}");
    }
    let schemas = document["routes"]["bills"]["schemas"].as_object().unwrap();
    assert!(
        schemas["invoice.*"]
            .as_str()
            .unwrap()
            .ends_with("/invoice.json")
    );
}

/// Fails when a custom scheme is shown with another `type` than its file has.
#[test]
fn a_scheme_is_shown_with_its_type() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
    let mut compared = BTreeSet::new();
    for id in providers::ids() {
        let text = fs::read_to_string(folder.join(format!("{id}.toml"))).unwrap();
        let file: toml::Table = toml::from_str(&text).unwrap();
        let provider = providers::find(id).unwrap();
        // Some files refer to the scheme of another one, and change only some of its keys.
        let scheme = file.get("scheme");
        let wanted = scheme.and_then(|scheme| scheme.get("type")?.as_str());
        if let Some(wanted) = wanted {
            assert_eq!(provider.scheme.type_word(), wanted, "{id}");
            compared.insert(wanted.to_owned());
        }
    }
    assert!(compared.len() > 8, "{compared:?}");
}

const PLAID_KEYS: &str = "https://production.plaid.com/webhook_verification_key/get";

const KEY_SET: &str = r#"{"keys":[{"kty":"EC","x":"8_AHfQpX_O5h4Ut7QIZR3FEL5GjFsvJRBv3deaMpn5Q","y":"qJhA_jiCbdSCn3HGraPGE-T7Qd25ThiRGGP-wWc5l3A","crv":"P-256","kid":"bfbd5111","alg":"ES256","use":"sig"}]}"#;

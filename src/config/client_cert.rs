//! `[routes.NAME.client_cert]`: client certificates that a route demands.
//!
//! The files are read with the config, so that a wrong one is a config error. The gate reads them again when they change.

use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::glob::GlobPattern;

use crate::client_certs::{ClientCertRule, ClientCertSettings};
use crate::config::load_context::LoadContext;
use crate::config::model::ExpiredCrl;
use crate::model::error::chain;

/// Hexadecimal digits of a SHA-256.
const DIGITS: usize = 64;

/// A rule with the span that later checks point at.
pub(super) struct SpannedClientCert {
    pub(super) rule: Arc<ClientCertRule>,
    pub(super) span: TextSpan,
}

/// Reads the table and its files. Returns `None` after an error, which stops the load.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> Option<SpannedClientCert> {
    let span = table.span();
    let ca = table.require(&CA, value::path);
    let crl = table.one_or_more(&CRL, value::path);
    let crl_span = table.name_span_of(&CRL);
    let names = table.list(&NAMES, pattern);
    let fingerprints = table.list(&FINGERPRINTS, fingerprint);
    let expired_crl =
        table.read_placed(&EXPIRED_CRL, |value| value::choice(value, &ExpiredCrl::ALL));
    let forward = table.read(&FORWARD, value::boolean);
    table.deny_unknown();
    for key in [&NAMES, &FINGERPRINTS, &CRL] {
        // As written: a list whose entries are all wrong is not empty, and each entry has an error of its own.
        let items = table.value(key).and_then(|value| value.items());
        let is_empty = items.is_some_and(|items| items.is_empty());
        if let Some(span) = table.name_span_of(key).filter(|_| is_empty) {
            let fault = ValueFault::new(
                format!("an empty `{}` limits nothing", key.name),
                "add entries, or remove the key",
            );
            table.error(span, fault);
        }
    }
    if let Some(expired) = &expired_crl
        && crl.is_none()
    {
        let fault = ValueFault::new(
            "without `crl` there is no list that could expire",
            "add `crl`, or remove `expired_crl`",
        );
        table.error(expired.span, fault);
    }
    let ca = ca?;
    let crl = crl.unwrap_or_default();
    let settings = ClientCertSettings {
        ca: context.folder.join(&ca.value),
        crl: crl
            .iter()
            .map(|path| context.folder.join(&path.value))
            .collect(),
        names: names
            .unwrap_or_default()
            .into_iter()
            .map(|name| name.value)
            .collect(),
        fingerprints: fingerprints
            .unwrap_or_default()
            .into_iter()
            .map(|one| one.value)
            .collect(),
        accepts_expired_crl: expired_crl.is_some_and(|one| one.value == ExpiredCrl::Accept),
        is_forwarded: forward.unwrap_or(false),
    };
    let is_open = !table.has(&NAMES) && !table.has(&FINGERPRINTS);
    let rule = match ClientCertRule::load(settings) {
        Ok(rule) => rule,
        Err(error) => {
            let help =
                "check the path and that hookgate may read the file; lists may be in PEM or DER";
            let fault = ValueFault::new(chain(&error), help);
            // The message names the file, so the key of either is a good enough location.
            table.error(ca.span, fault);
            return None;
        }
    };
    let seconds = context.now.unix_seconds();
    if let Some(until) = rule.crl_until().filter(|until| *until < seconds) {
        let end = jiff::Timestamp::from_second(until).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let fault = ValueFault::new(
            format!("a revocation list ended on {end}, so every client of this route is refused"),
            "fetch the current list of the authority, or set `expired_crl = \"accept\"`",
        );
        table.warning(crl_span.unwrap_or(span), fault);
    }
    if is_open {
        let fault = ValueFault::new(
            "every client with a certificate of these authorities is admitted",
            "add `names` or `fingerprints` if the authorities issue certificates to others too",
        );
        table.note(ca.span, fault);
    }
    Some(SpannedClientCert {
        rule: Arc::new(rule),
        span,
    })
}

fn pattern(value: &TomlValue<'_>) -> Result<GlobPattern, ValueFault> {
    let text = value::text(value)?;
    GlobPattern::parse(&text).map_err(|err| {
        let help = "write a name as in the certificate, such as `\"*.docusign.net\"`; `*` matches any characters";
        ValueFault::new(format!("`{text}`: {err}"), help)
    })
}

/// Reads a fingerprint with or without colons, as OpenSSL and browsers print it.
fn fingerprint(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    let digits: String = text
        .chars()
        .filter(|letter| !matches!(letter, ':' | ' '))
        .collect();
    let digits = digits.to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digits.len() == DIGITS && is_hex {
        true => Ok(digits),
        false => Err(ValueFault::new(
            format!("`{text}` is not a SHA-256 fingerprint"),
            "write 64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them",
        )),
    }
}

/// Keys of the `[routes.NAME.client_cert]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.client_cert",
    doc: "Client certificates (mutual TLS) that this route demands, in addition to the signature. hookgate asks a client for a certificate if a route of the requested host has this table. Other routes ignore the certificate. The files are read again when they change. A TLS terminator in front of hookgate hides the certificate, so every request is refused then.",
    keys: &[&CA, &CRL, &NAMES, &FINGERPRINTS, &EXPIRED_CRL, &FORWARD],
    required: &["ca"],
    one_of: &[],
};

pub(super) static CLIENT_CERT: KeyDefinition = KeyDefinition {
    name: "client_cert",
    kind: ValueKind::Table(&SECTION),
    default: None,
    example: "{ ca = \"docusign-ca.pem\", names = [\"*.docusign.net\"] }",
    doc: "Client certificates that the route demands.",
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: None,
    example: "\"docusign-ca.pem\"",
    doc: "PEM file with the authorities that issue the certificates.",
};

pub(super) static CRL: KeyDefinition = KeyDefinition {
    name: "crl",
    kind: ValueKind::OneOrMore(&ValueKind::Path),
    default: None,
    example: "\"docusign-ca.crl\"",
    doc: "Files with certificate revocation lists, in PEM or DER. The authority of the client's own certificate must have a list here. hookgate does not fetch lists: let a timer write the file.",
};

pub(super) static NAMES: KeyDefinition = KeyDefinition {
    name: "names",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("every name"),
    example: "[\"*.docusign.net\"]",
    doc: "Names of admitted clients: one of them must match a DNS name (in lower case), URI, mail address or IP address of the certificate, or its common name if these are absent. `*` matches any characters.",
};

pub(super) static FINGERPRINTS: KeyDefinition = KeyDefinition {
    name: "fingerprints",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("every certificate"),
    example: "[\"5f:1d:...\"]",
    doc: "SHA-256 fingerprints of admitted certificates.",
};

pub(super) static EXPIRED_CRL: KeyDefinition = KeyDefinition {
    name: "expired_crl",
    kind: ValueKind::Choice(&value::choice_words(&ExpiredCrl::ALL)),
    default: Some("\"refuse\""),
    example: "\"accept\"",
    doc: "What happens once a list is past its end. `\"refuse\"` refuses every client of the route with status 503 until the file has a current list; `\"accept\"` goes on with the old list.",
};

pub(super) static FORWARD: KeyDefinition = KeyDefinition {
    name: "forward",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Adds `Hookgate-Client-Cert-Subject` and `Hookgate-Client-Cert-Fingerprint` (SHA-256) to requests to the app.",
};

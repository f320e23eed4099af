//! `[tls]`: certificates and protocol versions.
//!
//! It only reads paths; `edge` and `hookgate check` load the files.

use std::path::PathBuf;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, ValueFault};
use hookgate_verify::document::value;

use crate::config::acme;
use crate::config::load_context::LoadContext;
use crate::config::model::{CertificateFiles, TlsSection, TlsVersion};

impl TlsSection {
    /// Returns default settings without any certificates.
    pub(super) fn none() -> Self {
        Self {
            certificates: Vec::new(),
            client_ca: None,
            min_version: TlsVersion::Tls12,
            acme: None,
        }
    }
}

/// Reads the section, including `[[tls.certificates]]`.
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> TlsSection {
    let mut tls = TlsSection::none();
    let has_list = table.has(&CERTIFICATES);
    let has_acme = table.has(&ACME);
    // `cert` and `key` are optional beside other certificates, but then both or neither must be set.
    if table.has(&CERT) || table.has(&KEY) || !(has_list || has_acme) {
        tls.certificates.extend(certificate(&mut table, context));
    } else {
        // Reading the keys marks them as known.
        let _ = (table.value(&CERT), table.value(&KEY));
    }
    for mut entry in table.tables(&CERTIFICATES) {
        tls.certificates.extend(certificate(&mut entry, context));
        entry.deny_unknown();
    }
    if let Some(repeated) = repeated(&tls.certificates) {
        let fault = ValueFault::new("this certificate is listed twice", "remove one of them");
        table.error(repeated, fault);
    }
    let client_ca = table.read_placed(&CLIENT_CA, value::path);
    tls.client_ca = client_ca.map(|placed| (context.folder.join(placed.value), placed.span));
    let version = table.read(&MIN_VERSION, |value| value::choice(value, &TlsVersion::ALL));
    tls.min_version = version.unwrap_or(tls.min_version);
    tls.acme = table.table(&ACME).map(|table| acme::read(table, context));
    table.deny_unknown();
    tls
}

/// Reads a table that holds one certificate.
pub(super) fn one(mut table: TomlTable<'_>, context: &LoadContext) -> Option<CertificateFiles> {
    let files = certificate(&mut table, context);
    table.deny_unknown();
    files
}

fn certificate(table: &mut TomlTable<'_>, context: &LoadContext) -> Option<CertificateFiles> {
    let cert = table.require(&CERT, value::path);
    let key = table.require(&KEY, value::path);
    let join = |placed: SpannedValue<PathBuf>| (context.folder.join(placed.value), placed.span);
    let (cert, cert_span) = join(cert?);
    let (key, key_span) = join(key?);
    Some(CertificateFiles {
        cert,
        key,
        cert_span,
        key_span,
    })
}

fn repeated(certificates: &[CertificateFiles]) -> Option<TextSpan> {
    certificates.iter().enumerate().find_map(|(at, files)| {
        // The error belongs to the later one of two equal entries.
        let is_before = certificates
            .iter()
            .take(at)
            .any(|other| other.cert == files.cert);
        is_before.then_some(files.cert_span)
    })
}

/// Keys of the `[tls]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "tls",
    doc: "TLS certificates and protocol versions of the listeners. Without this section every listener speaks plain HTTP.",
    keys: &[&CERT, &KEY, &CERTIFICATES, &ACME, &CLIENT_CA, &MIN_VERSION],
    required: &[],
    one_of: &[],
};

/// Keys of each `[[tls.certificates]]` table.
pub(super) static CERTIFICATE_SECTION: SectionDefinition = SectionDefinition {
    path: "tls.certificates",
    doc: "Additional certificates, selected by the server name that the client requests.",
    keys: &[&CERT, &KEY],
    required: &["cert", "key"],
    one_of: &[],
};

pub(super) static CERT: KeyDefinition = KeyDefinition {
    name: "cert",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/tls/fullchain.pem\"",
    doc: "PEM file with the certificate chain, leaf certificate first. Reloaded when it changes.",
};

pub(super) static KEY: KeyDefinition = KeyDefinition {
    name: "key",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/tls/privkey.pem\"",
    doc: "PEM file with the private key of `cert`.",
};

pub(super) static CERTIFICATES: KeyDefinition = KeyDefinition {
    name: "certificates",
    kind: ValueKind::Tables(&CERTIFICATE_SECTION),
    default: None,
    example: "[{ cert = \"/etc/hookgate/tls/b.pem\", key = \"/etc/hookgate/tls/b.key\" }]",
    doc: "Additional certificates, selected by the server name that the client requests and the signature algorithms that it supports. So an RSA and an ECDSA certificate can share a name. The very first certificate serves names that no other one covers.",
};

pub(super) static ACME: KeyDefinition = KeyDefinition {
    name: "acme",
    kind: ValueKind::Table(&acme::SECTION),
    default: None,
    example: "{ email = \"ops@example.com\" }",
    doc: "Certificates that hookgate gets from a CA by ACME and renews by itself.",
};

pub(super) static CLIENT_CA: KeyDefinition = KeyDefinition {
    name: "client_ca",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/tls/clients.pem\"",
    doc: "PEM file with the CAs of client certificates (mutual TLS). If set, every client must present a certificate that chains to one of them.",
};

// Providers still send from stacks without TLS 1.3; rustls offers only safe suites in 1.2.
pub(super) static MIN_VERSION: KeyDefinition = KeyDefinition {
    name: "min_version",
    kind: ValueKind::Choice(&value::choice_words(&TlsVersion::ALL)),
    default: Some("\"1.2\""),
    example: "\"1.3\"",
    doc: "Lowest TLS version to accept.",
};

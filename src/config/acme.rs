//! `[tls.acme]`: certificates from a CA, obtained and renewed by hookgate.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::host::is_dns_label;

use crate::config::load_context::LoadContext;
use crate::config::model::{AcmeSection, CertificateName, ChallengeKind, ExternalAccount};
use crate::config::secrets;

/// Directory of the CA by default.
pub(crate) const DEFAULT_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// Most names. Each has a certificate and a state of its own, and public CAs limit orders anyway.
pub(super) const MOST_NAMES: usize = 1000;

/// Reads the section. The names of routes and the challenges that apply by default follow in [`complete`].
pub(super) fn read(mut table: TomlTable<'_>, context: &LoadContext) -> AcmeSection {
    let span = table.span();
    let email = table.read(&EMAIL, mail_address);
    let directory = table.read(&DIRECTORY, directory_url);
    let ca = table.read(&CA, value::path);
    let profile = table.read(&PROFILE, value::text);
    let challenges = table.list(&CHALLENGES, |value| {
        value::choice(value, &ChallengeKind::ALL)
    });
    let names = table.list(&NAMES, |value| {
        let text = value
            .text()
            .ok_or_else(|| value.unexpected("a DNS name", "\"hooks.example.com\""))?;
        dns_name(text)
    });
    let external = table.table(&EXTERNAL_ACCOUNT);
    let external_account = external.and_then(|table| external_account(table, context));
    table.deny_unknown();
    let mut section = AcmeSection {
        span,
        email,
        directory: directory.unwrap_or_else(|| DEFAULT_DIRECTORY.to_owned()),
        ca: ca.map(|path| context.folder.join(path)),
        external_account,
        profile,
        challenges: Vec::new(),
        names: Vec::new(),
    };
    for challenge in challenges.into_iter().flatten() {
        if section.challenges.contains(&challenge.value) {
            let fault = ValueFault::new("this challenge is listed twice", "remove one of them");
            table.error(challenge.span, fault);
            continue;
        }
        section.challenges.push(challenge.value);
    }
    for placed in names.into_iter().flatten() {
        let is_known = |known: &CertificateName| known.name == placed.value;
        if section.names.iter().any(is_known) {
            let fault = ValueFault::new(
                format!("`{}` is listed twice", placed.value),
                "remove one of them",
            );
            table.error(placed.span, fault);
            continue;
        }
        section.names.push(CertificateName {
            name: placed.value,
            span: placed.span,
        });
    }
    section
}

/// Adds the names of routes and the default challenges, and reports names that no challenge can prove. `hosts` are the
/// hosts of routes, and `has_http` says that there is a listener for HTTP-01.
pub(super) fn complete(
    root: &TomlTable<'_>,
    acme: &mut AcmeSection,
    hosts: &[(&str, TextSpan)],
    has_http: bool,
) {
    let is_default = acme.challenges.is_empty();
    if is_default {
        acme.challenges.push(ChallengeKind::TlsAlpn);
        if has_http {
            acme.challenges.push(ChallengeKind::Http);
        }
    } else if acme.challenges.contains(&ChallengeKind::Http) && !has_http {
        let fault = ValueFault::new(
            "the challenge `http-01` needs a listener on port 80",
            "add `[server.http]` with `listen = [\"0.0.0.0:80\", \"[::]:80\"]`, or use `tls-alpn-01`",
        );
        root.error(acme.span, fault);
    }
    for (host, span) in hosts {
        if acme.names.iter().any(|known| known.name == *host) {
            continue;
        }
        match dns_name(host) {
            Ok(name) => acme.names.push(CertificateName { name, span: *span }),
            // The route itself is valid, so this must not stop the gate.
            Err(fault) => root.warning(
                *span,
                ValueFault::new(
                    format!("no certificate will be requested for the host `{host}`"),
                    format!(
                        "{}; serve its clients with a certificate file",
                        fault.message
                    ),
                ),
            ),
        }
    }
    if acme.names.is_empty() {
        let fault = ValueFault::new(
            "`[tls.acme]` has no name to request a certificate for",
            "set `host` in the routes, or list `names = [\"hooks.example.com\"]`",
        );
        root.error(acme.span, fault);
    }
    if acme.names.len() > MOST_NAMES {
        let fault = ValueFault::new(
            format!("`[tls.acme]` has more than {MOST_NAMES} names"),
            "use wildcard names with `dns-persist-01`, or divide the routes over several gates",
        );
        root.error(acme.span, fault);
    }
    let has_dns = acme.challenges.contains(&ChallengeKind::DnsPersist);
    for name in acme.names.iter().filter(|name| name.is_wildcard()) {
        if !has_dns {
            let fault = ValueFault::new(
                format!("the wildcard name `{}` needs a DNS challenge", name.name),
                "add `challenges = [\"dns-persist-01\"]` if the CA offers it, or list the names one by one",
            );
            root.error(name.span, fault);
        }
    }
}

fn external_account(mut table: TomlTable<'_>, context: &LoadContext) -> Option<ExternalAccount> {
    let key_id = table.require(&KEY_ID, value::text);
    let hmac_key = table.value(&HMAC_KEY);
    if hmac_key.is_none() {
        table.missing(&HMAC_KEY);
    }
    table.deny_unknown();
    let placed = hmac_key?;
    let secret = secrets::read_password(&placed, context)?;
    // CAs print the key in base64url; some pad it.
    let text = secret.expose();
    let bare = text.strip_suffix(b"==").or(text.strip_suffix(b"="));
    let Ok(key) = BASE64URL_NOPAD.decode(bare.unwrap_or(text)) else {
        placed.fault(ValueFault::new(
            "the key is not base64url",
            "copy it from the CA's page again, complete and without spaces",
        ));
        return None;
    };
    Some(ExternalAccount {
        key_id: key_id?.value,
        hmac_key: Arc::new(Secret::new(key)),
    })
}

fn mail_address(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    let is_plain = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'@')
    };
    match text.split_once('@') {
        Some((user, host)) if is_plain(user) && is_plain(host) => Ok(text),
        _ => Err(ValueFault::new(
            format!("`{text}` is not a mail address"),
            "one address without a name: `\"ops@example.com\"`",
        )),
    }
}

fn directory_url(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let url = value::destination_url(value)?;
    // Account and certificates depend on who answers at the directory, so its identity must be verified.
    if url.scheme_str() != Some("https") {
        return Err(ValueFault::new(
            "the directory of a CA must be an https URL",
            "for a CA of your own, use its https URL, and `ca` for the authority that signed its certificate",
        ));
    }
    value::text(value)
}

/// Parses a DNS name that may be in a certificate, with an optional `*.` in front.
fn dns_name(text: &str) -> Result<String, ValueFault> {
    const HELP: &str =
        "a name of letters, digits and `-`, in its ASCII form: `\"hooks.example.com\"`";
    let lower = text.to_ascii_lowercase();
    let bare = lower.strip_prefix("*.").unwrap_or(&lower);
    let is_address = bare.parse::<std::net::Ipv4Addr>().is_ok() || bare.contains(':');
    if is_address {
        let fault = format!("`{text}` is an address, not a name");
        return Err(ValueFault::new(fault, HELP));
    }
    // CAs sign no name with an underscore.
    let is_label = |label: &str| is_dns_label(label, b"-");
    match lower.len() <= 253 && bare.split('.').all(is_label) {
        true => Ok(lower),
        false => Err(ValueFault::new(
            format!("`{text}` is not a DNS name for a certificate"),
            HELP,
        )),
    }
}

/// Keys of the `[tls.acme]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "tls.acme",
    doc: "Certificates that hookgate gets from a CA by ACME and renews by itself. Names that a certificate file covers are left out.",
    keys: &[
        &EMAIL,
        &NAMES,
        &DIRECTORY,
        &CA,
        &CHALLENGES,
        &PROFILE,
        &EXTERNAL_ACCOUNT,
    ],
    required: &[],
    one_of: &[],
};

/// Keys of the `[tls.acme.external_account]` section.
pub(super) static EXTERNAL_ACCOUNT_SECTION: SectionDefinition = SectionDefinition {
    path: "tls.acme.external_account",
    doc: "Binds the ACME account to an account at the CA, as commercial CAs require.",
    keys: &[&KEY_ID, &HMAC_KEY],
    required: &["key_id", "hmac_key"],
    one_of: &[],
};

pub(super) static EMAIL: KeyDefinition = KeyDefinition {
    name: "email",
    kind: ValueKind::Text,
    default: None,
    example: "\"ops@example.com\"",
    doc: "Mail address of the account. The CA may use it to report problems.",
};

pub(super) static NAMES: KeyDefinition = KeyDefinition {
    name: "names",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("[]"),
    example: "[\"hooks.example.com\"]",
    doc: "Names that get a certificate, besides the `host` of each route. Each name gets a certificate of its own.",
};

pub(super) static DIRECTORY: KeyDefinition = KeyDefinition {
    name: "directory",
    kind: ValueKind::Url,
    default: Some("\"https://acme-v02.api.letsencrypt.org/directory\""),
    example: "\"https://acme-staging-v02.api.letsencrypt.org/directory\"",
    doc: "URL of the CA's ACME directory. The default is Let's Encrypt, and its staging CA is for trials. Certificates of another directory are replaced at once.",
};

pub(super) static CA: KeyDefinition = KeyDefinition {
    name: "ca",
    kind: ValueKind::Path,
    default: Some("the system's CAs"),
    example: "\"/etc/hookgate/acme-ca.pem\"",
    doc: "PEM file with the CAs that the certificate of the directory itself must chain to, for a CA of your own.",
};

pub(super) static CHALLENGES: KeyDefinition = KeyDefinition {
    name: "challenges",
    kind: ValueKind::List(&ValueKind::Choice(&value::choice_words(
        &ChallengeKind::ALL,
    ))),
    default: Some("\"tls-alpn-01\", and \"http-01\" if there is `[server.http]`"),
    example: "[\"tls-alpn-01\", \"http-01\"]",
    doc: "Challenges by which the CA checks that the names are yours, the preferred one first. After a failure, the next attempt uses the next one. `tls-alpn-01` needs port 443 of each name to reach a listener, `http-01` needs port 80 to reach `[server.http]`, and `dns-persist-01` needs a TXT record that `hookgate check` shows.",
};

pub(super) static PROFILE: KeyDefinition = KeyDefinition {
    name: "profile",
    kind: ValueKind::Text,
    default: Some("as the CA decides"),
    example: "\"tlsserver\"",
    doc: "Profile of the certificates, from those that the CA offers, such as `shortlived`.",
};

pub(super) static EXTERNAL_ACCOUNT: KeyDefinition = KeyDefinition {
    name: "external_account",
    kind: ValueKind::Table(&EXTERNAL_ACCOUNT_SECTION),
    default: None,
    example: "{ key_id = \"kid-1\", hmac_key = { credential = \"acme-eab\" } }",
    doc: "Binds the ACME account to an account at the CA, as commercial CAs require.",
};

pub(super) static KEY_ID: KeyDefinition = KeyDefinition {
    name: "key_id",
    kind: ValueKind::Text,
    default: None,
    example: "\"kid-1\"",
    doc: "Identifier of the key, as the CA shows it.",
};

pub(super) static HMAC_KEY: KeyDefinition = KeyDefinition {
    name: "hmac_key",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"acme-eab\" }",
    doc: "The key in base64url, as the CA shows it.",
};

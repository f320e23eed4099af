//! Secrets: reads them from their source and checks that they can be used.
//!
//! Below `app`, only this module reads the environment. No message, label or help text may contain a secret or any part
//! of it.

use std::env;
use std::path::Path;
use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::mask::looks_like_variable;
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::net::redact;
use hookgate_verify::scheme::spec::{
    KNOWN_KEY, PUBLISHED_KEY, SchemeFamily, SchemeSpec, TokenLocation,
};
use hookgate_verify::scheme::{MAX_SECRETS, Scheme};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::config::load_context::LoadContext;
use crate::config::model::{SecretEntry, SecretSource};
use crate::config::secret_strength::weakness;
use crate::config::{file, secret_text};

/// Largest secret file in bytes. No provider's secret is nearly as large; a larger file is probably the wrong one.
const MAX_BYTES: u64 = 64 << 10;

/// Reads `secret` of a route: one, or a list.
///
/// A scheme with a well-known public key needs no secret, and a scheme with fetched keys has no secret.
pub(super) fn read_all(
    table: &mut TomlTable<'_>,
    context: &LoadContext,
    spec: Option<&SchemeSpec>,
) -> Vec<SecretEntry> {
    let no_secret = |label: &str, key: &str| {
        vec![SecretEntry {
            source: SecretSource::Sender,
            span: table.span(),
            ..SecretEntry::new(label, Secret::new(key.as_bytes().to_vec()))
        }]
    };
    // A scheme needs at least one entry per key that can match, so these schemes get one with a fixed label.
    let published = spec.filter(|spec| spec.has_own_keys());
    let published = published.map(|_| no_secret(PUBLISHED_KEY, ""));
    let known = spec.and_then(SchemeSpec::known_key);
    let known = known.map(|key| no_secret(KNOWN_KEY, key));
    let value = table.value(&SECRET);
    let value = match (value, published, known) {
        (Some(value), Some(entries), _) => {
            let fault =
                "this sender signs with keys that it publishes, so the route needs no secret";
            value.fault(ValueFault::new(fault, "remove `secret`"));
            return entries;
        }
        (None, Some(entries), _) | (None, None, Some(entries)) => return entries,
        (Some(value), None, _) => value,
        (None, None, None) => {
            table.missing(&SECRET);
            return Vec::new();
        }
    };
    entries(value, context)
}

fn entries(value: TomlValue<'_>, context: &LoadContext) -> Vec<SecretEntry> {
    // A single secret is treated like a list with one entry.
    let items = value.items().unwrap_or_else(|| vec![value]);
    if items.is_empty() {
        value.fault(ValueFault::new(
            "the list of secrets is empty",
            format!("add at least one, for example `{}`", SECRET.example),
        ));
    }
    // Each request is compared with every current secret, and a `SecretSet` has one bit for each of them.
    if items.len() > MAX_SECRETS {
        value.fault(ValueFault::new(
            format!("a route can have at most {MAX_SECRETS} secrets"),
            "remove secrets that are no longer used",
        ));
    }
    let mut entries: Vec<SecretEntry> = Vec::new();
    for (index, item) in items.iter().take(MAX_SECRETS).enumerate() {
        if let Some(entry) = entry(item, index, context) {
            compare(item, &entry, &entries);
            entries.push(entry);
        }
    }
    // If an entry could not be read, its times are unknown, and a warning about the others could be wrong.
    if entries.len() == items.len() {
        check_times(&value, &entries, context);
    }
    entries
}

/// Reads a bearer token that clients show to hookgate.
pub(super) fn read_token(value: &TomlValue<'_>, context: &LoadContext) -> Option<Secret> {
    let secret = read_timeless(value, "token", context)?;
    check_strength(value, secret.expose());
    Some(secret)
}

/// Reads a password that hookgate shows to a server. The server decides how strong it must be.
pub(super) fn read_password(value: &TomlValue<'_>, context: &LoadContext) -> Option<Secret> {
    read_timeless(value, "password", context)
}

/// Reads a URL that is a credential, such as that of a chat webhook.
pub(super) fn read_url(value: &TomlValue<'_>, context: &LoadContext) -> Option<Secret> {
    read_timeless(value, "URL", context)
}

/// Reads the client secret that hookgate shows to a token server, which decides how strong it must be.
pub(super) fn read_client_secret(value: &TomlValue<'_>, context: &LoadContext) -> Option<Secret> {
    read_timeless(value, "client secret", context)
}

fn read_timeless(value: &TomlValue<'_>, noun: &str, context: &LoadContext) -> Option<Secret> {
    let entry = entry(value, 0, context)?;
    // Only the text is returned, so a time limit would be accepted here and then ignored.
    if entry.not_before_ms.is_some() || entry.until_ms.is_some() {
        let fault = ValueFault::new(
            format!("this {noun} cannot have time limits"),
            "remove `not_before` and `until`",
        );
        value.fault(fault);
    }
    Some(entry.secret)
}

/// Reads the value of an outgoing header, which may be a credential: the text itself, or a table with its source.
pub(super) fn read_header(
    name: &str,
    value: &TomlValue<'_>,
    context: &LoadContext,
) -> Option<Secret> {
    if let Some(mut table) = value.table(value.span(), "secret".to_owned()) {
        let secret = source(value, &mut table, context);
        table.deny_unknown();
        return secret;
    }
    let Some(text) = value.text() else {
        value.fault(value.unexpected("a string or a secret's table", "{ env = \"API_KEY\" }"));
        return None;
    };
    if redact::is_secret(&name.to_ascii_lowercase()) {
        value.warning(plain_text());
    }
    Some(Secret::new(text.as_bytes().to_vec()))
}

/// Converts a secret to the value of a header; `None` if it has characters that no header may contain.
pub(super) fn header_value(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.expose()).ok()?;
    // The value may be a credential; marked as sensitive, `Debug` does not print it.
    value.set_sensitive(true);
    Some(value)
}

/// Kind of the values that [`read_header`] reads.
pub(super) static HEADER_VALUE: ValueKind =
    ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&SECTION));

fn plain_text() -> ValueFault {
    ValueFault::new(
        "the secret is in the config file, where backups and colleagues can see it",
        "use `{ credential = \"NAME\" }`, `{ env = \"NAME\" }` or `{ file = \"PATH\" }`",
    )
}

/// Reports a secret that the scheme cannot use, or that is easy to guess.
pub(super) fn check_use(
    table: &TomlTable<'_>,
    entry: &SecretEntry,
    spec: &SchemeSpec,
    public_url: Option<&str>,
) {
    if let Err(err) = Scheme::compile(spec, &[&entry.secret], public_url) {
        let help = "copy the secret from the provider's page again, complete and without spaces";
        table.error(entry.span, ValueFault::new(err.to_string(), help));
        return;
    }
    // A public key or a webhook id need not be hard to guess.
    if spec.is_secret_public() || spec.has_own_keys() {
        return;
    }
    // The strength is that of the decoded key: base64 text is longer than the key it encodes.
    let decoded = Scheme::decode_key(&spec.secret_form(), &entry.secret).ok();
    let key = decoded.as_ref().unwrap_or(&entry.secret).expose();
    let is_basic = matches!(&spec.family, SchemeFamily::Token(token) if matches!(token.location, TokenLocation::Basic));
    // In Basic credentials only the password is secret, not the user name before the colon.
    let key = match key.iter().position(|byte| *byte == b':') {
        Some(colon) if is_basic => key.get(colon + 1..).unwrap_or_default(),
        _ => key,
    };
    if let Some((is_error, fault)) = weakness(key) {
        if is_error {
            table.error(entry.span, fault);
        } else {
            table.warning(entry.span, fault);
        }
    }
}

fn check_strength(value: &TomlValue<'_>, key: &[u8]) {
    if let Some((is_error, fault)) = weakness(key) {
        if is_error {
            value.fault(fault);
        } else {
            value.warning(fault);
        }
    }
}

fn entry(value: &TomlValue<'_>, index: usize, context: &LoadContext) -> Option<SecretEntry> {
    let label: Arc<str> = (index + 1).to_string().into();
    if let Some(text) = value.text() {
        value.warning(plain_text());
        let secret = usable_text(value, text.as_bytes(), None)?;
        return Some(SecretEntry {
            span: value.span(),
            ..SecretEntry::new(label, secret)
        });
    }
    let Some(mut table) = value.table(value.span(), "secret".to_owned()) else {
        value.fault(value.unexpected("a secret", SECRET.example));
        return None;
    };
    let name = table.read(&NAME, label_text);
    let not_before = table.read(&NOT_BEFORE, value::moment);
    let until = table.read_placed(&UNTIL, value::moment);
    let secret = source(value, &mut table, context);
    let source = match (table.has(&ENV), table.has(&FILE)) {
        (true, _) => SecretSource::Variable,
        (false, true) => SecretSource::File,
        (false, false) => SecretSource::Credential,
    };
    table.deny_unknown();
    if let (Some(start), Some(end)) = (not_before, &until)
        && start >= end.value
    {
        let fault = ValueFault::new(
            "`until` is not after `not_before`",
            "make `until` later than `not_before`",
        );
        table.error(end.span, fault);
    }
    Some(SecretEntry {
        label: name.map_or(label, Arc::from),
        source,
        secret: secret?,
        not_before_ms: not_before,
        until_ms: until.map(|until| until.value),
        span: value.span(),
    })
}

/// Reads the secret from the one source that the table names.
fn source(
    value: &TomlValue<'_>,
    table: &mut TomlTable<'_>,
    context: &LoadContext,
) -> Option<Secret> {
    let named = [&ENV, &FILE, &CREDENTIAL]
        .into_iter()
        .filter(|key| table.has(key));
    if named.count() != 1 {
        value.fault(ValueFault::new(
            "a secret needs exactly one source",
            "write `{ env = \"NAME\" }`, `{ file = \"PATH\" }` or `{ credential = \"NAME\" }`",
        ));
        // Reading the keys marks them as known, so that only this error is reported.
        let _ = (
            table.value(&ENV),
            table.value(&FILE),
            table.value(&CREDENTIAL),
        );
        return None;
    }
    let env = table.value(&ENV);
    let file = table.value(&FILE);
    let credential = table.value(&CREDENTIAL);
    if let Some(env) = env {
        let bytes = env.check(read_env)?.value;
        return usable_text(&env, &bytes, None);
    }
    if let Some(file) = file {
        let path = context.folder.join(file.check(value::path)?.value);
        let bytes = file.check(|_| read_path(&path))?.value;
        return usable_text(&file, &bytes, Some(&path));
    }
    let credential = credential?;
    let bytes = credential.check(read_credential)?.value;
    usable_text(&credential, &bytes, None)
}

fn read_env(value: &TomlValue<'_>) -> Result<Zeroizing<Vec<u8>>, ValueFault> {
    let name = value::text(value)?;
    // The standard library finds no variable of such a name, so the error below would wrongly say that it is not set.
    if name.contains(['=', '\0']) {
        return Err(ValueFault::new(
            "this is not a valid name of an environment variable",
            "use letters, digits and `_`",
        ));
    }
    match env::var_os(&name) {
        Some(text) if !text.is_empty() => Ok(Zeroizing::new(text.into_encoded_bytes())),
        // An empty variable usually means that a tool did not set it.
        _ => Err(ValueFault::new(
            // A text that does not look like a variable's name may be the secret itself, so the message must not repeat
            // it.
            if looks_like_variable(&name) {
                format!("the environment variable `{name}` is not set or is empty")
            } else {
                "the environment variable of this name is not set or is empty".to_owned()
            },
            "set it for the service, for example in the `EnvironmentFile=` of its unit",
        )),
    }
}

fn read_credential(value: &TomlValue<'_>) -> Result<Zeroizing<Vec<u8>>, ValueFault> {
    let name = value::text(value)?;
    // The name becomes a file name: with a slash or dots it could lead out of the folder of the service's credentials.
    if name.contains(['/', '\0']) || name.starts_with('.') {
        return Err(ValueFault::new(
            "this is not a valid name of a credential",
            "use the name before the `:` in `LoadCredential=`",
        ));
    }
    // systemd sets this variable for each service with credentials.
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(ValueFault::new(
            format!("cannot read the credential `{name}`: systemd passed no credentials"),
            format!(
                "add `LoadCredential={name}:/etc/hookgate/secrets/{name}` to the unit; without systemd, set `CREDENTIALS_DIRECTORY` to a folder with a file of this name"
            ),
        ));
    };
    read_path(&Path::new(&folder).join(&name)).map_err(|fault| ValueFault {
        help: Some(format!(
            "add `LoadCredential={name}:/etc/hookgate/secrets/{name}` to the unit"
        )),
        ..fault
    })
}

fn read_path(path: &Path) -> Result<Zeroizing<Vec<u8>>, ValueFault> {
    let fail = |what: String| {
        ValueFault::new(
            format!("cannot read `{}`: {what}", path.display()),
            "check that the path is right and that hookgate may read the file",
        )
    };
    // The buffer is wiped on drop, because it holds a secret.
    let mut bytes = Zeroizing::new(Vec::new());
    let too_large = "it is larger than 64 KiB, too large for a secret";
    file::read_into(&mut bytes, path, MAX_BYTES, too_large).map_err(fail)?;
    Ok(bytes)
}

/// Rejects a line break at the end of a secret, and warns about other white space around it.
///
/// White space around PEM has no meaning and is allowed. Removing a line break silently would be a guess, because the
/// sender may sign with it.
fn usable_text(value: &TomlValue<'_>, bytes: &[u8], path: Option<&Path>) -> Option<Secret> {
    // Windows editors write a byte-order mark, which is never part of a secret.
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let trimmed = bytes.trim_ascii();
    if trimmed.starts_with(b"-----BEGIN ") && trimmed.ends_with(b"-----") {
        return Some(Secret::new(trimmed.to_vec()));
    }
    if bytes.ends_with(b"\n") || bytes.ends_with(b"\r") {
        let help = match path {
            Some(path) => format!(
                "remove it: `printf %s \"$(cat '{0}')\" > '{0}.new' && mv '{0}.new' '{0}'`",
                path.display()
            ),
            None => "remove it: write the secret with `printf %s`, which adds no line break, instead of `echo`".to_owned(),
        };
        value.fault(ValueFault::new("the secret ends with a line break", help));
        return None;
    }
    let is_space = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_whitespace);
    if is_space(bytes.first()) || is_space(bytes.last()) {
        value.warning(ValueFault::new(
            "the secret begins or ends with white space",
            "remove it, unless the provider shows the secret like this",
        ));
    } else if let Some(fault) = secret_text::oddity(bytes) {
        value.warning(fault);
    }
    Some(Secret::new(bytes.to_vec()))
}

fn label_text(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    let is_fit = text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    if is_fit {
        Ok(text)
    } else {
        Err(ValueFault::new(
            "this name cannot be used in logs",
            "use up to 64 letters, digits, `_`, `-` and `.`",
        ))
    }
}

/// Reports secrets of one route with the same name or the same text.
fn compare(value: &TomlValue<'_>, entry: &SecretEntry, others: &[SecretEntry]) {
    for other in others {
        if other.label == entry.label {
            value.fault(ValueFault::new(
                format!("two secrets of this route are named `{}`", entry.label),
                "give each its own `name`",
            ));
        }
        if other.secret.is_equal(entry.secret.expose()) {
            let fault = ValueFault::new("this secret is listed twice", "remove one of them");
            value.warning(fault);
        }
    }
}

fn check_times(value: &TomlValue<'_>, entries: &[SecretEntry], context: &LoadContext) {
    let now = context.now.unix_ms;
    // The clock is read once per load, so all entries are compared with the same time.
    let is_over = |entry: &SecretEntry| entry.until_ms.is_some_and(|until| until <= now);
    if !entries.is_empty() && entries.iter().all(is_over) {
        let fault = ValueFault::new(
            "every secret of this route has expired (`until`), so no request can be verified",
            "add the secret that the provider signs with now",
        );
        value.fault(fault);
        return;
    }
    let items = value.items().unwrap_or_else(|| vec![*value]);
    for (item, entry) in items.iter().zip(entries) {
        if is_over(entry) {
            let fault = ValueFault::new(
                "this secret has expired (`until`) and is no longer used",
                "remove it",
            );
            item.warning(fault);
        }
    }
    let waits = |entry: &SecretEntry| entry.not_before_ms.is_some_and(|start| start > now);
    if !entries.iter().any(|entry| !is_over(entry) && !waits(entry)) && !entries.is_empty() {
        value.warning(ValueFault::new(
            "no secret of this route is valid yet: every request is rejected until the first `not_before`",
            "keep the old secret in the list until then",
        ));
    }
}

pub(super) static SECRET: KeyDefinition = KeyDefinition {
    name: "secret",
    kind: ValueKind::OneOrMore(&ValueKind::Either(
        &ValueKind::Text,
        &ValueKind::Table(&SECTION),
    )),
    default: None,
    example: "{ credential = \"stripe\" }",
    doc: "Secret or key that the provider gives you to verify its requests. To rotate it, list the old and the new secret: a signature of any of them is accepted.",
};

/// Keys of a secret that is written as a table.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.secret",
    doc: "Source of a secret. Set exactly one of `env`, `file` and `credential`.",
    keys: &[&ENV, &FILE, &CREDENTIAL, &NAME, &NOT_BEFORE, &UNTIL],
    required: &[],
    one_of: &[&["env", "file", "credential"]],
};

pub(super) static ENV: KeyDefinition = KeyDefinition {
    name: "env",
    kind: ValueKind::Text,
    default: None,
    example: "\"STRIPE_SECRET\"",
    doc: "Environment variable that holds the secret.",
};

pub(super) static FILE: KeyDefinition = KeyDefinition {
    name: "file",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/secrets/stripe\"",
    doc: "File that holds only the secret, without a line break at the end. White space around PEM is ignored.",
};

pub(super) static CREDENTIAL: KeyDefinition = KeyDefinition {
    name: "credential",
    kind: ValueKind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Name of a systemd credential (`LoadCredential=`).",
};

pub(super) static NAME: KeyDefinition = KeyDefinition {
    name: "name",
    kind: ValueKind::Text,
    default: Some("its position in the list, from \"1\""),
    example: "\"2026\"",
    doc: "Name of the secret in logs, where it is logged if it verified a request.",
};

pub(super) static NOT_BEFORE: KeyDefinition = KeyDefinition {
    name: "not_before",
    kind: ValueKind::Time,
    default: None,
    example: "2026-12-01",
    doc: "Time from which the secret is valid. A date begins at 00:00 UTC.",
};

pub(super) static UNTIL: KeyDefinition = KeyDefinition {
    name: "until",
    kind: ValueKind::Time,
    default: None,
    example: "2026-12-31",
    doc: "Time until which the secret is valid.",
};

//! `audience`, `claims` and `jwks`: the customer that a route accepts, and the location of key sets.
//!
//! Some senders sign for all their customers alike. Then only these keys distinguish the route's own events from those
//! of other customers.

use std::path::Path;
use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::providers::Provider;
use hookgate_verify::providers::identity::SigningTenant;
use hookgate_verify::scheme::jwk::KeySet;
use hookgate_verify::scheme::parse::{self, fixed_claims, remote_url};
use hookgate_verify::scheme::spec::{
    FieldLocation, JwtKeys, PublishedKeys, SchemeFamily, SchemeSpec, TokenAudience,
};

use crate::config::file;
use crate::config::load_context::LoadContext;
use crate::config::model::TenantRule;
use crate::config::scheme_origin::SchemeOrigin;

/// Largest key set file in bytes, the same as for a key set that is fetched.
const MAX_BYTES: u64 = 256 << 10;

/// Writes the route's settings into the scheme. Returns the customers that the gate itself must compare.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    origin: Option<&mut SchemeOrigin>,
    context: &LoadContext,
) -> Option<TenantRule> {
    // Without a scheme there is nothing to write into; reading the keys marks them as known.
    let Some(origin) = origin else {
        for key in [&AUDIENCE, &CLAIMS, &JWKS] {
            table.value(key);
        }
        return None;
    };
    let provider = origin.provider.clone();
    let place = provider.as_deref().map_or(&[][..], tenant_location);
    // Tokens and certificates carry the customer themselves, and their scheme compares it. For other schemes the gate
    // compares it.
    let tenant = match place.is_empty() || is_audience_of_scheme(&origin.spec) {
        true => {
            audience(table, &mut origin.spec);
            None
        }
        false => Some(tenant(table, place)),
    };
    // Before `check_tenant`: a claim of the route may be what separates the sender's customers.
    claims(table, &mut origin.spec);
    jwks(table, &mut origin.spec, context);
    if let Some(provider) = &provider {
        check_tenant(table, origin, provider, tenant.as_ref());
    }
    tenant
}

/// Returns the locations that name the customer, if the sender signs for all customers with one key.
fn tenant_location(provider: &Provider) -> &[FieldLocation] {
    match &provider.identity.tenant.value {
        SigningTenant::Shared { location: place } => place,
        SigningTenant::Customer => &[],
    }
}

fn is_audience_of_scheme(spec: &SchemeSpec) -> bool {
    match &spec.family {
        SchemeFamily::Jwt(family) => matches!(family.audience, TokenAudience::Route(_)),
        SchemeFamily::Certificate(family) => family.kind.needs_audience(),
        _ => false,
    }
}

fn tenant(table: &mut TomlTable<'_>, place: &[FieldLocation]) -> TenantRule {
    let texts = table.one_or_more(&AUDIENCE, value::text);
    TenantRule {
        location: place.to_vec(),
        allowed: texts
            .unwrap_or_default()
            .into_iter()
            .map(|one| one.value)
            .collect(),
    }
}

/// Rejects a route that would accept the events of every customer of the sender.
fn check_tenant(
    table: &TomlTable<'_>,
    origin: &SchemeOrigin,
    provider: &Provider,
    tenant: Option<&TenantRule>,
) {
    let SigningTenant::Shared { location: place } = &provider.identity.tenant.value else {
        return;
    };
    // A scheme that requires a claim has an error of its own, and a scheme that names no customer has no remedy.
    let has_claims = match &origin.spec.family {
        SchemeFamily::Jwt(family) => table.has(&CLAIMS) || !family.route_claims.is_empty(),
        _ => place.is_empty(),
    };
    if is_audience_of_scheme(&origin.spec) || table.has(&AUDIENCE) || has_claims {
        return;
    }
    let what = match (tenant, place.first()) {
        (Some(_), Some(field)) => format!("add `audience = \"YOUR-ID\"`, the value of {field}"),
        _ => "add `claims = { name = \"NAME\", value = \"YOUR-ID\" }`, a claim that only your requests have".to_owned(),
    };
    let fault = ValueFault::new(
        format!(
            "{} signs for all its customers with one key: this route would accept the events of any of them",
            provider.name
        ),
        what,
    );
    table.error(origin.span, fault);
}

fn audience(table: &mut TomlTable<'_>, spec: &mut SchemeSpec) {
    let Some(value) = table.value(&AUDIENCE) else {
        return;
    };
    let Some(wanted) = spec.audience_mut() else {
        let fault = "requests of this scheme do not name a customer";
        value.fault(ValueFault::new(fault, "remove `audience`"));
        return;
    };
    let texts = table.one_or_more(&AUDIENCE, value::text);
    wanted.extend(texts.unwrap_or_default().into_iter().map(|one| one.value));
}

fn claims(table: &mut TomlTable<'_>, spec: &mut SchemeSpec) {
    let Some(value) = table.value(&CLAIMS) else {
        return;
    };
    let SchemeFamily::Jwt(family) = &mut spec.family else {
        let fault = "`claims` requires a scheme with signed tokens (JWT)";
        value.fault(ValueFault::new(fault, "remove `claims`"));
        return;
    };
    // A claim that the scheme requires of the route is satisfied by this entry.
    for claim in fixed_claims(table, &CLAIMS).unwrap_or_default() {
        family.route_claims.retain(|name| *name != claim.name);
        family.claims.push(claim);
    }
}

fn jwks(table: &mut TomlTable<'_>, spec: &mut SchemeSpec, context: &LoadContext) {
    let Some(value) = table.value(&JWKS) else {
        return;
    };
    let SchemeFamily::Jwt(family) = &mut spec.family else {
        value.fault(without_set());
        return;
    };
    let published = match &mut family.keys {
        JwtKeys::Published(published) | JwtKeys::Asked(published) => published,
        JwtKeys::Secret | JwtKeys::File { .. } => {
            value.fault(without_set());
            return;
        }
    };
    // A string is a URL to fetch from; a table names a local file.
    if value.text().is_some() {
        if let Some(url) = value.check(|value| own_url(value, published)) {
            published.url = Some(url.value);
        }
        return;
    }
    let Some(mut inner) = value.table(value.span(), "jwks".to_owned()) else {
        value.fault(value.unexpected("a URL or `{ file = \"PATH\" }`", JWKS.example));
        return;
    };
    let path = inner.require(&FILE, value::path);
    inner.deny_unknown();
    let Some(path) = path else {
        return;
    };
    let path = context.folder.join(path.value);
    match read_set(&path) {
        Ok(set) => {
            let set = Arc::new(set);
            family.keys = JwtKeys::File { path, set };
        }
        Err(fault) => value.fault(fault),
    }
}

fn without_set() -> ValueFault {
    ValueFault::new("this scheme uses no key set", "remove `jwks`")
}

/// Reads a URL, unless the sender's keys are bound to another URL or host.
fn own_url(
    value: &TomlValue<'_>,
    published: &PublishedKeys,
) -> Result<hookgate_verify::net::remote_url::RemoteUrl, ValueFault> {
    let url = remote_url(value)?;
    if let Some(fixed) = &published.url {
        return Err(ValueFault::new(
            format!("the keys of this sender are only at `{fixed}`"),
            "remove `jwks`, or store the keys in a file: `jwks = { file = \"PATH\" }`",
        ));
    }
    // A URL on another host would let its owner sign as the sender.
    if !published.hosts.is_empty() && !url.is_on(&published.hosts) {
        let hosts: Vec<_> = published.hosts.iter().map(ToString::to_string).collect();
        return Err(ValueFault::new(
            format!("`{}` is not a host of this sender", url.host()),
            format!("use a URL on `{}`", hosts.join("` or `")),
        ));
    }
    Ok(url)
}

/// Reads a key set as the sender publishes it, or the single key that it returns for one key id.
fn read_set(path: &Path) -> Result<KeySet, ValueFault> {
    let fail = |what: String| {
        ValueFault::new(
            format!("cannot use the key set `{}`: {what}", path.display()),
            "use a JSON document such as `{\"keys\": [...]}` (RFC 7517)",
        )
    };
    let mut bytes = Vec::new();
    file::read_into(&mut bytes, path, MAX_BYTES, "it is larger than 256 KiB").map_err(fail)?;
    KeySet::parse_any(&bytes).map_err(|fault| fail(format!("it {fault}")))
}

pub(super) static AUDIENCE: KeyDefinition = KeyDefinition {
    name: "audience",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "\"https://hooks.example.com/google\"",
    doc: "Customers whose events this route accepts, for senders that sign for all their customers with one key. Depending on the sender: `aud` of signed tokens, topics of Amazon SNS (`TopicArn`), bundle ids of apps in Apple's App Store (`sandbox:` in front for its sandbox), or the value that `hookgate providers show` names. Requests for others get 401.",
};

pub(super) static CLAIMS: KeyDefinition = KeyDefinition {
    name: "claims",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&parse::keys::CLAIM_SECTION)),
    default: None,
    example: "{ name = \"email\", value = \"push@project.iam.gserviceaccount.com\" }",
    doc: "Values that claims of signed tokens must have, in addition to those of the scheme.",
};

pub(super) static JWKS: KeyDefinition = KeyDefinition {
    name: "jwks",
    kind: ValueKind::Either(&ValueKind::Url, &ValueKind::Table(&JWKS_SECTION)),
    default: Some("the sender's"),
    example: "\"https://acme.kinde.com/.well-known/jwks\"",
    doc: "Key set (JWKS) for signed tokens: an `https` URL on a host of the sender, or a file. A URL is fetched on first use, every hour, and when a token names an unknown key, but at most every 15 seconds. If a fetch fails, the last key set stays valid for a day.",
};

/// Keys of a key set that is written as a table.
pub(super) static JWKS_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.jwks",
    doc: "A key set in a local file.",
    keys: &[&FILE],
    required: &["file"],
    one_of: &[],
};

pub(super) static FILE: KeyDefinition = KeyDefinition {
    name: "file",
    kind: ValueKind::Path,
    default: None,
    example: "\"/etc/hookgate/plaid-keys.json\"",
    doc: "JSON file with the key set. Read again on reload.",
};

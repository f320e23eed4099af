//! Verification keys of a route: scheme, secrets, customers, address ranges and dedup.

use hookgate_verify::net::redact;
use hookgate_verify::scheme::parse::keys;
use hookgate_verify::scheme::spec::{FixedClaim, JwtKeys, SchemeFamily, SchemeSpec, TokenAudience};
use serde_json::Value as Json;

use crate::config::effective::document::{EffectiveValue, ExtraField, SectionDocument};
use crate::config::effective::format;
use crate::config::model::{AllowIps, AwayRule, DedupRule, Route, SecretEntry, SecretSource};
use crate::config::{audience, dedup, secrets};

/// Returns the type of a scheme of the operator's own; null with a provider.
///
/// The other keys of a scheme have no defaults of a route or a provider, so the config file shows all of them.
pub(super) fn scheme(route: &Route) -> Option<EffectiveValue> {
    let own = route.provider.is_none();
    own.then(|| {
        SectionDocument::new(&keys::SECTION)
            .set(&keys::TYPE, route.scheme.type_word())
            .finish()
    })
}

/// Returns name, kind of source and validity of each secret; null if the sender publishes its keys.
pub(super) fn secrets(entries: &[SecretEntry]) -> Option<EffectiveValue> {
    let own = entries.iter();
    let own = own.filter(|entry| entry.source != SecretSource::Sender);
    let tables: Vec<_> = own.map(secret).collect();
    (!tables.is_empty()).then(|| tables.into())
}

fn secret(entry: &SecretEntry) -> EffectiveValue {
    // The mask shows which kind of source is set, not which one.
    let masked = |source| format::masked(entry.source == source);
    SectionDocument::new(&secrets::SECTION)
        .set(&secrets::ENV, masked(SecretSource::Variable))
        .set(&secrets::FILE, masked(SecretSource::File))
        .set(&secrets::CREDENTIAL, masked(SecretSource::Credential))
        .set(&secrets::NAME, &*entry.label)
        .set(
            &secrets::NOT_BEFORE,
            entry.not_before_ms.map(format::moment),
        )
        .set(&secrets::UNTIL, entry.until_ms.map(format::moment))
        .finish()
}

/// Returns the customers that the gate or the scheme accepts; null if each customer has a signing key.
pub(super) fn audience(route: &Route) -> Option<Vec<String>> {
    let allowed = match (&route.tenant, &route.scheme.family) {
        (Some(tenant), _) => &tenant.allowed,
        (None, SchemeFamily::Jwt(family)) => match &family.audience {
            TokenAudience::Route(wanted) => wanted,
            TokenAudience::Any | TokenAudience::Url => return None,
        },
        (None, SchemeFamily::Certificate(family)) if family.kind.needs_audience() => &family.topics,
        (None, _) => return None,
    };
    Some(allowed.clone())
}

/// Returns every claim with a fixed value, those of the provider first; null without any.
pub(super) fn claims(scheme: &SchemeSpec) -> Option<EffectiveValue> {
    let SchemeFamily::Jwt(family) = &scheme.family else {
        return None;
    };
    let tables: Vec<_> = family.claims.iter().map(claim).collect();
    (!tables.is_empty()).then(|| tables.into())
}

fn claim(claim: &FixedClaim) -> EffectiveValue {
    SectionDocument::new(&keys::CLAIM_SECTION)
        .set(&keys::CLAIM_NAME, claim.name.clone())
        .set(&keys::CLAIM_VALUE, claim.value.clone())
        .finish()
}

/// Returns the URL or the file of the key set; null if the secret is the key.
pub(super) fn jwks(scheme: &SchemeSpec) -> Option<EffectiveValue> {
    let SchemeFamily::Jwt(family) = &scheme.family else {
        return None;
    };
    match &family.keys {
        JwtKeys::Secret => None,
        JwtKeys::Published(published) | JwtKeys::Asked(published) => {
            let url = published.url.as_ref()?;
            let shown = redact::target(&url.to_string());
            Some(EffectiveValue::Plain(Json::from(shown)))
        }
        JwtKeys::File { path, .. } => {
            let table = SectionDocument::new(&audience::JWKS_SECTION);
            Some(table.set(&audience::FILE, format::path(path)).finish())
        }
    }
}

/// Returns the ranges of the config. The ranges of a provider change by themselves, so its word is in their place.
pub(super) fn allow_ips(allowed: &AllowIps) -> Vec<String> {
    let mut listed = format::texts(&allowed.nets);
    listed.extend(allowed.is_provider.then(|| "provider".to_owned()));
    listed
}

pub(super) fn dedup(rule: &DedupRule) -> EffectiveValue {
    let mut by = Vec::new();
    by.extend((!rule.key.is_nothing()).then_some("key"));
    by.extend(rule.by_body.then_some("body"));
    SectionDocument::new(&dedup::SECTION)
        .set(&dedup::WINDOW, format::duration(rule.window))
        .set(&dedup::BY, by)
        .set(&dedup::MISSING_ID, rule.missing_id.word())
        .set(&dedup::REPLAY, rule.replay.word())
        .set(&dedup::MAX_ENTRIES, rule.max_entries)
        .set(&dedup::SHARED, rule.shared.is_some())
        .set(
            &dedup::WHEN_AWAY,
            rule.shared.unwrap_or(AwayRule::Local).word(),
        )
        .extra(ExtraField::DedupKey, rule.key.to_string())
        .extra(ExtraField::BindsBody, rule.binds_body)
        .finish()
}

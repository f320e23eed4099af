//! Verification keys of a route: provider or scheme, secrets, tolerance, addresses, dedup.

use std::sync::Arc;
use std::time::Duration;

use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{SpannedValue, TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::{suggest, value};
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers::DEFAULT_TOLERANCE;
use hookgate_verify::providers::challenge::{OnChallenge, ProviderChallenge};
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::boundary;
use hookgate_verify::scheme::parse::{self, parse_spec};
use hookgate_verify::scheme::{Scheme, SchemeError};

use crate::config::dedup::{self, DedupBasis};
use crate::config::load_context::LoadContext;
use crate::config::model::{AllowIps, DedupRule, SecretEntry, TenantRule};
use crate::config::scheme_origin::SchemeOrigin;
use crate::config::{audience, secrets};

/// Verification settings of one route.
pub(super) struct VerificationRules {
    pub(super) origin: SchemeOrigin,
    pub(super) secrets: Vec<SecretEntry>,
    pub(super) tolerance: Duration,
    pub(super) public_url: Option<String>,
    pub(super) allow_ips: Option<AllowIps>,
    pub(super) verify_token: Option<Secret>,
    pub(super) on_challenge: Option<OnChallenge>,
    pub(super) dedup: Option<DedupRule>,
    pub(super) tenant: Option<TenantRule>,
}

/// Reads all keys that depend on the scheme; returns `None` if the scheme is absent or wrong.
pub(super) fn read(table: &mut TomlTable<'_>, context: &LoadContext) -> Option<VerificationRules> {
    let mut origin = origin(table);
    // Before the secrets: it writes audience, claims and keys into the scheme, and with keys from a file the route
    // needs no secret.
    let tenant = audience::read(table, origin.as_mut(), context);
    let spec = origin.as_ref().map(|origin| &origin.spec);
    let secrets = secrets::read_all(table, context, spec);
    let tolerance = table.read_placed(&TOLERANCE, value::duration);
    let public_url = table.read(&PUBLIC_URL, value::base_url);
    let allow_ips = allow_ips(table, origin.as_ref());
    let provider = origin
        .as_ref()
        .and_then(|origin| origin.provider.as_deref());
    let on_challenge = on_challenge(table, provider);
    let is_answered = on_challenge == Some(OnChallenge::Answer);
    // Only a response of hookgate needs the token; a check that is forwarded is the app's to verify.
    let verify_token = verify_token(table, provider.filter(|_| is_answered), context);
    // `dedup` cannot be read without a scheme; reading the key marks it as known.
    table.value(&dedup::DEDUP);
    let origin = origin?;
    check_tolerance(table, &origin, tolerance.as_ref());
    warn_of_extension(table, &origin);
    if is_answered {
        check_challenge_url(table, &origin);
    }
    // A scheme that is wrong by itself would fail again for every secret, with the same error.
    if check_scheme(table, &origin, public_url.as_deref()) {
        for entry in &secrets {
            secrets::check_use(table, entry, &origin.spec, public_url.as_deref());
        }
    }
    let usual = origin.provider.as_ref().map(|provider| provider.tolerance);
    let tolerance = tolerance.map(|placed| placed.value).or(usual);
    let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
    let basis = DedupBasis {
        spec: &origin.spec,
        provider: origin.provider.as_deref(),
        tolerance,
    };
    let dedup = dedup::read(table, &basis);
    dedup::note_missing_id(table, &origin, dedup.as_ref());
    Some(VerificationRules {
        origin,
        secrets,
        tolerance,
        public_url,
        allow_ips,
        verify_token,
        on_challenge,
        dedup,
        tenant,
    })
}

/// Reads the provider, or a scheme of the route's own.
fn origin(table: &mut TomlTable<'_>) -> Option<SchemeOrigin> {
    let scheme_span = table.name_span_of(&SCHEME);
    // An unknown provider must not lead to the error that the provider is missing.
    let is_named = table.has(&PROVIDER);
    let provider = table.read_placed(&PROVIDER, find_provider);
    let scheme = table.table(&SCHEME);
    match (is_named, scheme, scheme_span) {
        // Both are set: which one applies would be a guess.
        (true, _, Some(span)) => {
            let fault = ValueFault::new(
                "`provider` and `scheme` exclude each other",
                "remove `provider` to use your own scheme",
            );
            table.error(span, fault);
            None
        }
        (true, None, None) => provider.map(|provider| SchemeOrigin {
            spec: provider.value.scheme.clone(),
            provider: Some(provider.value),
            span: provider.span,
        }),
        (false, Some(mut scheme), _) => parse_spec(&mut scheme).map(|spec| SchemeOrigin {
            provider: None,
            spec,
            span: scheme.span(),
        }),
        (false, None, None) => {
            table.absent(
                format!(
                    "`[{}]` has no provider or scheme to verify its requests",
                    table.path()
                ),
                "add `provider = \"ID\"`, or `[routes.NAME.scheme]` for your own scheme",
            );
            None
        }
        _ => None,
    }
}

fn find_provider(value: &TomlValue<'_>) -> Result<Arc<Provider>, ValueFault> {
    let id = value::text(value)?;
    providers::find(&id).ok_or_else(|| {
        const LIST: &str = "`hookgate providers` lists";
        let count = providers::ids().count();
        let help = match suggest::nearest(&id, providers::ids()) {
            Some(near) => format!("did you mean `{near}`? {LIST} all {count}"),
            None => format!("{LIST} {count}; `[routes.NAME.scheme]` describes any other sender"),
        };
        ValueFault::new(format!("unknown provider `{id}`"), help).label("no provider has this id")
    })
}

fn check_tolerance(
    table: &TomlTable<'_>,
    origin: &SchemeOrigin,
    tolerance: Option<&SpannedValue<Duration>>,
) {
    let is_dated = origin.spec.is_dated();
    if let Some(tolerance) = tolerance.filter(|_| !is_dated) {
        let fault = ValueFault::new(
            "this scheme signs no timestamp, so `tolerance` has no effect",
            "remove it; only dedup prevents the replay of a captured request",
        );
        table.warning(tolerance.span, fault);
    }
}

/// Warns about a plain digest with data behind the secret (length extension). A provider file states this risk itself.
fn warn_of_extension(table: &TomlTable<'_>, origin: &SchemeOrigin) {
    if origin.provider.is_some() || !boundary::is_extendable(&origin.spec) {
        return;
    }
    let fault = ValueFault::new(
        "this scheme allows length extension: with one signature, a client can sign a longer request without the secret",
        "use `type = \"hmac\"` if the sender supports it, else put `{secret}` at the end of `signed`; hookgate rejects bodies that are neither valid JSON nor plain text",
    );
    table.warning(origin.span, fault);
}

/// Reports errors of a scheme that do not depend on its secrets. Returns true if the scheme is valid.
fn check_scheme(table: &TomlTable<'_>, origin: &SchemeOrigin, public_url: Option<&str>) -> bool {
    // Secrets are checked separately, because each of them has a location of its own.
    let Err(err) = Scheme::check(&origin.spec, public_url) else {
        return true;
    };
    // A key that is present but wrong has an error of its own.
    let is_reported = match err {
        SchemeError::NeedsAudience => table.has(&audience::AUDIENCE),
        SchemeError::NeedsJwks => table.has(&audience::JWKS),
        SchemeError::NeedsPublicUrl => table.has(&PUBLIC_URL),
        _ => false,
    };
    if is_reported {
        return false;
    }
    let help = match err {
        SchemeError::NeedsPublicUrl => {
            "add `public_url = \"https://hooks.example.com\"`, the URL that the sender calls"
        }
        SchemeError::NeedsAudience => {
            "add `audience = \"NAME\"`: the audience of the sender's tokens, or the topic that sends"
        }
        SchemeError::NeedsClaim { .. } => {
            "add `claims = { name = \"NAME\", value = \"VALUE\" }`, such as the sender's account"
        }
        SchemeError::NeedsJwks => {
            "add `jwks = \"https://...\"`, the URL that the sender shows, or `jwks = { file = \"PATH\" }`"
        }
        SchemeError::MixedAlgorithms => {
            "list either HMACs, with `keys = \"secret\"`, or algorithms with public keys"
        }
        _ => "fix `signed`, `signature`, `timestamp` or `event_id` of the scheme",
    };
    table.error(origin.span, ValueFault::new(err.to_string(), help));
    false
}

/// Reports a missing `public_url` if the response to the provider's URL check contains the URL.
fn check_challenge_url(table: &TomlTable<'_>, origin: &SchemeOrigin) {
    let challenge = origin.provider.as_ref().and_then(|one| one.challenge);
    if challenge.is_some_and(ProviderChallenge::needs_public_url) && !table.has(&PUBLIC_URL) {
        let fault = ValueFault::new(
            "the response to this provider's URL check contains the URL, and `public_url` is not set",
            "add `public_url = \"https://hooks.example.com\"`, the address that the sender calls, or `on_challenge = \"forward\"`",
        );
        table.error(origin.span, fault);
    }
}

/// Reads the address ranges that may send to the route.
fn allow_ips(table: &mut TomlTable<'_>, origin: Option<&SchemeOrigin>) -> Option<AllowIps> {
    let value = table.value(&ALLOW_IPS)?;
    let Some(items) = value.items() else {
        value.fault(value.unexpected("a list", ALLOW_IPS.example));
        return None;
    };
    if items.is_empty() {
        value.fault(ValueFault::new(
            "an empty list allows no address to send",
            "add ranges, or remove `allow_ips` to allow every address",
        ));
    }
    let mut allowed = AllowIps::default();
    for item in items {
        // The word is the only entry that is not a network.
        if item.text() == Some("provider") {
            // An unknown provider has an error of its own.
            let Some(origin) = origin else { continue };
            let provider = origin.provider.as_deref();
            match provider.and_then(|provider| provider.ip_ranges.as_ref()) {
                Some(_) => allowed.is_provider = true,
                None => item.fault(no_ranges(provider)),
            }
        } else if let Some(net) = item.check(value::network) {
            allowed.nets.push(net.value);
        }
    }
    Some(allowed)
}

fn no_ranges(provider: Option<&Provider>) -> ValueFault {
    let message = match provider {
        Some(provider) => format!("{} publishes no address ranges", provider.name),
        None => "`\"provider\"` requires a route with a provider".to_owned(),
    };
    ValueFault::new(message, "list the ranges, or remove `\"provider\"`")
}

/// Reads the token of an unsigned URL check. It is required if the gate responds to the check, and an error otherwise.
fn verify_token(
    table: &mut TomlTable<'_>,
    provider: Option<&Provider>,
    context: &LoadContext,
) -> Option<Secret> {
    let is_needed = provider
        .and_then(|provider| provider.challenge)
        .is_some_and(ProviderChallenge::needs_verify_token);
    let value = table.value(&VERIFY_TOKEN);
    match (value, is_needed) {
        (Some(value), true) => secrets::read_token(&value, context),
        (Some(value), false) => {
            value.fault(ValueFault::new(
                "`verify_token` has no effect: hookgate responds to no URL check with a token on this route",
                "remove `verify_token`",
            ));
            None
        }
        (None, true) => {
            table.missing(&VERIFY_TOKEN);
            None
        }
        (None, false) => None,
    }
}

fn on_challenge(table: &mut TomlTable<'_>, provider: Option<&Provider>) -> Option<OnChallenge> {
    let choice = table.read_placed(&ON_CHALLENGE, |value| {
        value::choice(value, &OnChallenge::ALL)
    });
    let challenge = provider.and_then(|provider| provider.challenge);
    // Without a choice the provider's usual handling applies.
    // No choice was made, or it was wrong and has an error.
    let Some(choice) = choice else {
        return challenge.and_then(ProviderChallenge::usual);
    };
    let fault = match (provider, challenge) {
        (None, _) => return None,
        (Some(provider), None) => ValueFault::new(
            format!("{} has no URL check", provider.name),
            "remove `on_challenge`",
        ),
        (Some(provider), Some(challenge)) => {
            let choices = challenge.choices();
            if choices.contains(&choice.value) {
                return Some(choice.value);
            }
            let words = choices.iter().map(|one| format!("`\"{}\"`", one.word()));
            ValueFault::new(
                format!(
                    "the URL check of {} does not support `{}`",
                    provider.name,
                    choice.value.word()
                ),
                format!("use one of {}", words.collect::<Vec<_>>().join(" and ")),
            )
        }
    };
    table.error(choice.span, fault);
    None
}

pub(super) static PROVIDER: KeyDefinition = KeyDefinition {
    name: "provider",
    kind: ValueKind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Id of the provider that sends the webhooks; `hookgate providers` lists them. Set either `provider` or `scheme`.",
};

pub(super) static SCHEME: KeyDefinition = KeyDefinition {
    name: "scheme",
    kind: ValueKind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "Your own signature scheme, if no provider fits.",
};

pub(super) static TOLERANCE: KeyDefinition = KeyDefinition {
    name: "tolerance",
    kind: ValueKind::Duration,
    default: Some("the provider's, else \"5m\""),
    example: "\"5m\"",
    doc: "Maximum difference between a signed timestamp and the current time, in both directions.",
};

pub(super) static PUBLIC_URL: KeyDefinition = KeyDefinition {
    name: "public_url",
    kind: ValueKind::Url,
    default: None,
    example: "\"https://hooks.example.com\"",
    doc: "Scheme, host and port of the URL that the sender calls. If a proxy in front removes a base path, include it: it is put before the path of each request in signed texts. Required if the scheme signs the URL, or if the response to a URL check contains it, as with eBay.",
};

pub(super) static ALLOW_IPS: KeyDefinition = KeyDefinition {
    name: "allow_ips",
    kind: ValueKind::List(&ValueKind::Network),
    default: Some("every address"),
    example: "[\"provider\", \"10.0.0.0/8\"]",
    doc: "Source addresses that may send requests. `\"provider\"` means the ranges that the provider publishes. Other addresses get 403.",
};

pub(super) static VERIFY_TOKEN: KeyDefinition = KeyDefinition {
    name: "verify_token",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ env = \"VERIFY_TOKEN\" }",
    doc: "Token that the provider sends with its unsigned URL check: the verify token of Meta, or the topic of a WebSub subscription. For Braintree, set its public key, with which hookgate responds to the check; for eBay, the verification token.",
};

pub(super) static ON_CHALLENGE: KeyDefinition = KeyDefinition {
    name: "on_challenge",
    kind: ValueKind::Choice(&value::choice_words(&OnChallenge::ALL)),
    default: Some("\"answer\" if hookgate can respond to the provider's URL check"),
    example: "\"forward\"",
    doc: "How to handle the provider's URL check. `\"answer\"`: hookgate responds to it. `\"forward\"`: the app responds; an unsigned check is forwarded as unverified, to the route's own path and with nothing but the check. `\"confirm\"` opens the confirmation URL of Amazon SNS. `\"show\"` logs the token of Notion's check until a secret has verified a request.",
};

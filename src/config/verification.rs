//! The keys of a route that say how its requests are verified: provider or scheme, secrets, tolerance, addresses, dedup.

use std::sync::Arc;
use std::time::Duration;

use crate::config::Context;
use crate::config::dedup::{self, Basis};
use crate::config::model::{AllowIps, Dedup, SecretEntry, TenantRule};
use crate::config::{secrets, trust};
use crate::document::key::{Key, Kind};
use crate::document::table::{Fault, Placed, Table, Value};
use crate::document::{Span, suggest, value};
use crate::model::secret::Secret;
use crate::providers::challenge::{Challenge, OnChallenge};
use crate::providers::{self, Provider};
use crate::scheme::boundary;
use crate::scheme::parse::{self, parse_spec};
use crate::scheme::spec::Spec;
use crate::scheme::{Scheme, SchemeError};

/// 5 minutes: what Stripe's and Standard Webhooks' libraries use by default.
const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

/// The provider, or a scheme of the route's own.
pub(super) struct Origin {
    pub(super) provider: Option<Arc<Provider>>,
    pub(super) spec: Spec,
    pub(super) span: Span,
}

/// How requests of a route are verified.
pub(super) struct Verification {
    pub(super) origin: Origin,
    pub(super) secrets: Vec<SecretEntry>,
    pub(super) tolerance: Duration,
    pub(super) public_url: Option<String>,
    pub(super) allow_ips: Option<AllowIps>,
    pub(super) verify_token: Option<Secret>,
    pub(super) on_challenge: Option<OnChallenge>,
    pub(super) dedup: Option<Dedup>,
    pub(super) tenant: Option<TenantRule>,
}

/// Reads all that depends on the scheme; none where there is no scheme.
pub(super) fn read(table: &mut Table<'_>, context: &Context) -> Option<Verification> {
    let mut origin = origin(table);
    let tenant = trust::read(table, origin.as_mut(), context);
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
    let verify_token = verify_token(table, provider.filter(|_| is_answered), context);
    // It cannot be read without a scheme; asking makes the key known.
    table.value(&dedup::DEDUP);
    let origin = origin?;
    check_tolerance(table, &origin, tolerance.as_ref());
    warn_of_extension(table, &origin);
    if is_answered {
        check_challenge_url(table, &origin);
    }
    if check_scheme(table, &origin, public_url.as_deref()) {
        for entry in &secrets {
            secrets::check_use(table, entry, &origin.spec, public_url.as_deref());
        }
    }
    let usual = origin.provider.as_ref().map(|provider| provider.tolerance);
    let tolerance = tolerance.map(|placed| placed.value).or(usual);
    let tolerance = tolerance.unwrap_or(DEFAULT_TOLERANCE);
    let basis = Basis {
        spec: &origin.spec,
        provider: origin.provider.as_deref(),
        tolerance,
    };
    let dedup = dedup::read(table, &basis);
    dedup::note_no_id(table, &origin, dedup.as_ref());
    Some(Verification {
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

/// The provider's scheme, or the route's own.
fn origin(table: &mut Table<'_>) -> Option<Origin> {
    let scheme_span = table.name_span_of(&SCHEME);
    let is_named = table.has(&PROVIDER);
    let provider = table.read_placed(&PROVIDER, find_provider);
    let scheme = table.table(&SCHEME);
    match (is_named, scheme, scheme_span) {
        (true, _, Some(span)) => {
            let fault = Fault::new(
                "`provider` and `scheme` exclude each other",
                "remove `provider` to use a scheme of your own",
            );
            table.error(span, fault);
            None
        }
        (true, None, None) => provider.map(|provider| Origin {
            spec: provider.value.scheme.clone(),
            provider: Some(provider.value),
            span: provider.span,
        }),
        (false, Some(mut scheme), _) => parse_spec(&mut scheme).map(|spec| Origin {
            provider: None,
            spec,
            span: scheme.span(),
        }),
        (false, None, None) => {
            table.absent(
                format!(
                    "`[{}]` does not say how its requests are signed",
                    table.path()
                ),
                "add `provider = \"ID\"`, or `[routes.NAME.scheme]` for a scheme of your own",
            );
            None
        }
        _ => None,
    }
}

fn find_provider(value: &Value<'_>) -> Result<Arc<Provider>, Fault> {
    let id = value::text(value)?;
    providers::find(&id).ok_or_else(|| {
        const LIST: &str = "`hookgate providers` lists";
        let count = providers::ids().count();
        let help = match suggest::nearest(&id, providers::ids()) {
            Some(near) => format!("did you mean `{near}`? {LIST} all {count}"),
            None => format!("{LIST} {count}; `[routes.NAME.scheme]` describes any other"),
        };
        Fault::new(format!("unknown provider `{id}`"), help).label("no provider has this id")
    })
}

fn check_tolerance(table: &Table<'_>, origin: &Origin, tolerance: Option<&Placed<Duration>>) {
    let is_dated = origin.spec.is_dated();
    if let Some(tolerance) = tolerance.filter(|_| !is_dated) {
        let fault = Fault::new(
            "this scheme signs no time, so `tolerance` changes nothing",
            "remove it; dedup is what keeps a captured request from being replayed",
        );
        table.warning(tolerance.span, fault);
    }
}

/// Warns of a plain digest with something behind the secret. A provider's file says so itself.
fn warn_of_extension(table: &Table<'_>, origin: &Origin) {
    if origin.provider.is_some() || !boundary::is_extendable(&origin.spec) {
        return;
    }
    let fault = Fault::new(
        "one signature of this scheme is enough to sign a longer request without the secret",
        "use `type = \"hmac\"` if the sender can, else `{secret}` at the end of `signed`; hookgate refuses bodies that are neither whole JSON nor plain text",
    );
    table.warning(origin.span, fault);
}

/// Reports what is wrong with a scheme whatever its secrets are; true where nothing is.
fn check_scheme(table: &Table<'_>, origin: &Origin, public_url: Option<&str>) -> bool {
    let Err(err) = Scheme::check(&origin.spec, public_url) else {
        return true;
    };
    // What is there, but wrong, has an error of its own.
    let is_told = match err {
        SchemeError::NeedsAudience => table.has(&trust::AUDIENCE),
        SchemeError::NeedsJwks => table.has(&trust::JWKS),
        SchemeError::NeedsPublicUrl => table.has(&PUBLIC_URL),
        _ => false,
    };
    if is_told {
        return false;
    }
    let help = match err {
        SchemeError::NeedsPublicUrl => {
            "add `public_url = \"https://hooks.example.com\"`, the address that the sender calls"
        }
        SchemeError::NeedsAudience => {
            "add `audience = \"NAME\"`: whom the sender's tokens are for, or the topic that sends"
        }
        SchemeError::NeedsClaim { .. } => {
            "add `claims = { name = \"NAME\", value = \"VALUE\" }`, such as the sender's account"
        }
        SchemeError::NeedsJwks => {
            "add `jwks = \"https://...\"`, the URL that the sender shows, or `jwks = { file = \"PATH\" }`"
        }
        SchemeError::MixedAlgorithms => {
            "name either HMACs, with `keys = \"secret\"`, or algorithms with public keys"
        }
        _ => "mend `signed`, `signature`, `timestamp` or `event_id` of the scheme",
    };
    table.error(origin.span, Fault::new(err.to_string(), help));
    false
}

/// Reports a missing `public_url` where the answer to the provider's URL check holds the URL.
fn check_challenge_url(table: &Table<'_>, origin: &Origin) {
    let challenge = origin.provider.as_ref().and_then(|one| one.challenge);
    if challenge.is_some_and(Challenge::needs_public_url) && !table.has(&PUBLIC_URL) {
        let fault = Fault::new(
            "the answer to this provider's URL check holds the URL, and there is no `public_url`",
            "add `public_url = \"https://hooks.example.com\"`, the address that the sender calls, or `on_challenge = \"forward\"`",
        );
        table.error(origin.span, fault);
    }
}

/// The ranges that may send.
fn allow_ips(table: &mut Table<'_>, origin: Option<&Origin>) -> Option<AllowIps> {
    let value = table.value(&ALLOW_IPS)?;
    let Some(items) = value.items() else {
        value.fault(value.unexpected("a list", ALLOW_IPS.example));
        return None;
    };
    if items.is_empty() {
        value.fault(Fault::new(
            "an empty list lets nobody send",
            "add ranges, or remove `allow_ips` to let every address send",
        ));
    }
    let mut allowed = AllowIps::default();
    for item in items {
        if item.text() == Some("provider") {
            // An unknown provider has its own error.
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

fn no_ranges(provider: Option<&Provider>) -> Fault {
    let message = match provider {
        Some(provider) => format!("{} publishes no address ranges", provider.name),
        None => "a route without a provider has no address ranges of a provider".to_owned(),
    };
    Fault::new(message, "name the ranges, or remove `\"provider\"`")
}

/// The token of a URL check that is not signed: needed where the gate answers it, of no use elsewhere.
fn verify_token(
    table: &mut Table<'_>,
    provider: Option<&Provider>,
    context: &Context,
) -> Option<Secret> {
    let is_needed = provider
        .and_then(|provider| provider.challenge)
        .is_some_and(Challenge::needs_verify_token);
    let value = table.value(&VERIFY_TOKEN);
    match (value, is_needed) {
        (Some(value), true) => secrets::read_token(&value, context),
        (Some(value), false) => {
            value.fault(Fault::new(
                "no URL check that hookgate answers on this route compares a token",
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

fn on_challenge(table: &mut Table<'_>, provider: Option<&Provider>) -> Option<OnChallenge> {
    let choice = table.read_placed(&ON_CHALLENGE, |value| {
        value::choice(value, &OnChallenge::ALL)
    });
    let challenge = provider.and_then(|provider| provider.challenge);
    let Some(choice) = choice else {
        return challenge.and_then(Challenge::usual);
    };
    let fault = match (provider, challenge) {
        (None, _) => return None,
        (Some(provider), None) => Fault::new(
            format!("{} has no URL check to answer", provider.name),
            "remove `on_challenge`",
        ),
        (Some(provider), Some(challenge)) => {
            let choices = challenge.choices();
            if choices.contains(&choice.value) {
                return Some(choice.value);
            }
            let words = choices.iter().map(|one| format!("`\"{}\"`", one.word()));
            Fault::new(
                format!(
                    "{}'s URL check knows no `{}`",
                    provider.name,
                    choice.value.word()
                ),
                format!("one of {}", words.collect::<Vec<_>>().join(" and ")),
            )
        }
    };
    table.error(choice.span, fault);
    None
}

pub(super) static PROVIDER: Key = Key {
    name: "provider",
    kind: Kind::Text,
    default: None,
    example: "\"stripe\"",
    doc: "Who sends: the id of a provider that hookgate knows. Either this or `scheme`.",
};

pub(super) static SCHEME: Key = Key {
    name: "scheme",
    kind: Kind::Table(&parse::keys::SECTION),
    default: None,
    example: "{ type = \"token\", token = { header = \"X-Token\" } }",
    doc: "A scheme of one's own, where no provider fits.",
};

pub(super) static TOLERANCE: Key = Key {
    name: "tolerance",
    kind: Kind::Duration,
    default: Some("the provider's, else \"5m\""),
    example: "\"5m\"",
    doc: "How far a signed timestamp may be from now, in both directions.",
};

pub(super) static PUBLIC_URL: Key = Key {
    name: "public_url",
    kind: Kind::Url,
    default: None,
    example: "\"https://hooks.example.com\"",
    doc: "Scheme, host and port that the sender calls, and the base path that a proxy in front takes away, if it does: signed texts have it before the path of each request. Needed where the scheme signs the URL, and where the answer to a URL check holds it, as with eBay.",
};

pub(super) static ALLOW_IPS: Key = Key {
    name: "allow_ips",
    kind: Kind::List(&Kind::Network),
    default: Some("every address"),
    example: "[\"provider\", \"10.0.0.0/8\"]",
    doc: "Source addresses that may send; `\"provider\"` stands for the ranges that the provider publishes. Others are answered 403.",
};

pub(super) static VERIFY_TOKEN: Key = Key {
    name: "verify_token",
    kind: Kind::Either(&Kind::Text, &Kind::Table(&secrets::SECTION)),
    default: None,
    example: "{ env = \"VERIFY_TOKEN\" }",
    doc: "The token that the provider shows when it checks the URL, where that check is not signed: Meta's verify token, the topic of a WebSub subscription. Braintree's checks are answered with its public key, which stands here, eBay's with a digest of the verification token.",
};

pub(super) static ON_CHALLENGE: Key = Key {
    name: "on_challenge",
    kind: Kind::Choice(&value::choice_words(&OnChallenge::ALL)),
    default: Some("\"answer\" where hookgate can answer the provider's URL check"),
    example: "\"forward\"",
    doc: "Whether hookgate answers the provider's URL check, or the app does; a check that is not signed is then forwarded as unverified, to the route's own path and without anything but the check. `\"confirm\"` opens the URL of Amazon SNS's confirmations, `\"show\"` writes the token of Notion's check to the log until a secret has verified.",
};

//! `mode` and its related keys: whether verified requests are forwarded or stored.

use std::time::Duration;

use hookgate_verify::document::TextSpan;
use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use hookgate_verify::scheme::spec::SchemeFamily;

use crate::config::model::{ModeName, RouteMode};
use crate::config::scheme_origin::SchemeOrigin;

// Below the timeouts of senders, which end the connection first (GitHub 10 s, Stripe 20 s). Slack's 3 s are shorter,
// but most apps meet them.
const DEFAULT_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Reads `mode` and the keys that belong to hybrid mode.
pub(super) fn read(table: &mut TomlTable<'_>) -> RouteMode {
    let name = table.read(&MODE, |value| value::choice(value, &ModeName::ALL));
    let answer_within = table.read_placed(&ANSWER_WITHIN, value::duration);
    let store_on = table.read_placed(&STORE_ON, store_on);
    // A wrong word is reported already; go on as in proxy mode, which needs no other section.
    match name.unwrap_or(ModeName::Proxy) {
        ModeName::Hybrid => RouteMode::Hybrid {
            answer_within: answer_within.map_or(DEFAULT_ANSWER_WITHIN, |placed| placed.value),
            stores_4xx: store_on.is_some(),
        },
        // A key without effect would mislead the operator, so it is an error in other modes.
        other => {
            let spans = [
                (&ANSWER_WITHIN, answer_within.map(|placed| placed.span)),
                (&STORE_ON, store_on.map(|placed| placed.span)),
            ];
            for (key, span) in spans {
                if let Some(span) = span {
                    only_hybrid(table, key, span);
                }
            }
            match other {
                ModeName::Queue => RouteMode::Queue,
                _ => RouteMode::Proxy,
            }
        }
    }
}

fn only_hybrid(table: &TomlTable<'_>, key: &KeyDefinition, span: TextSpan) {
    let fault = ValueFault::new(
        format!("`{}` requires `mode = \"hybrid\"`", key.name),
        "set `mode = \"hybrid\"`, or remove the key",
    );
    table.error(span, fault);
}

fn store_on(value: &TomlValue<'_>) -> Result<(), ValueFault> {
    let fault = || value.unexpected("`[\"4xx\"]`", STORE_ON.example);
    let items = value.items().ok_or_else(fault)?;
    match items.as_slice() {
        // A list, so that later versions can add other reasons.
        [item] if item.text() == Some("4xx") => Ok(()),
        _ => Err(fault()),
    }
}

/// Reads `resign`, which signs deliveries again in the sender's own scheme.
pub(super) fn read_resign(
    table: &mut TomlTable<'_>,
    mode: RouteMode,
    origin: Option<&SchemeOrigin>,
) -> bool {
    let resign = table.read_placed(&RESIGN, |value| value::choice(value, &[("provider", ())]));
    let Some(resign) = resign else {
        return false;
    };
    if mode == RouteMode::Proxy {
        let fault = ValueFault::new(
            "a route in proxy mode forwards the sender's own signature at once",
            "remove `resign`, or set `mode = \"queue\"`",
        );
        table.error(resign.span, fault);
    }
    // A shared token proves nothing about a body, and the credentials of local apps are for the gate only.
    let signs_nothing = |origin: &SchemeOrigin| {
        let provider = origin.provider.as_ref();
        matches!(origin.spec.family, SchemeFamily::Token(_))
            || provider.is_some_and(|provider| provider.is_local())
    };
    if origin.is_some_and(signs_nothing) {
        let fault = ValueFault::new(
            "hookgate cannot create the credentials of this sender for another app",
            "remove `resign`, and set `secret` of the destination to sign deliveries",
        );
        table.error(resign.span, fault);
    } else if origin.is_some_and(|origin| !origin.spec.can_be_signed()) {
        let fault = ValueFault::new(
            "only the sender has the key to sign in this scheme",
            "remove `resign`, and set `secret` of the destination to sign deliveries",
        );
        table.error(resign.span, fault);
    }
    true
}

pub(super) static MODE: KeyDefinition = KeyDefinition {
    name: "mode",
    kind: ValueKind::Choice(&value::choice_words(&ModeName::ALL)),
    default: Some("\"proxy\""),
    example: "\"hybrid\"",
    doc: "How verified requests reach the app. `proxy` forwards the request while the provider waits, and returns the app's own response. `queue` commits the event to the store, responds with 200 at once, and delivers it with retries. `hybrid` works like `proxy` while the app responds in time, and like `queue` otherwise. `queue` and `hybrid` require `[store]`.",
};

pub(super) static ANSWER_WITHIN: KeyDefinition = KeyDefinition {
    name: "answer_within",
    kind: ValueKind::Duration,
    default: Some("\"5s\""),
    example: "\"2s\"",
    doc: "In hybrid mode, how long to wait for the app's response. After that the event is stored and the sender gets 202. The attempt continues, and its outcome still counts.",
};

pub(super) static STORE_ON: KeyDefinition = KeyDefinition {
    name: "store_on",
    kind: ValueKind::List(&ValueKind::Choice(&["4xx"])),
    default: Some("on a 5xx of the app, no connection, or no response in time"),
    example: "[\"4xx\"]",
    doc: "In hybrid mode, more reasons to store the event. `[\"4xx\"]` also stores it if the app responds with 4xx, instead of passing the response to the sender.",
};

pub(super) static RESIGN: KeyDefinition = KeyDefinition {
    name: "resign",
    kind: ValueKind::Choice(&["provider"]),
    default: Some("deliveries keep the sender's original signature"),
    example: "\"provider\"",
    doc: "Signs deliveries from the store again, in the sender's own scheme and with the time of the attempt. Apps that verify signatures themselves then accept events that are older than their tolerance. The first current secret of the route signs.",
};

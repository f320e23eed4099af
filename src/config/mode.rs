//! The keys of a route that say what is done with a verified request: forwarded while the sender waits, or stored.

use std::time::Duration;

use crate::config::model::{Mode, ModeName};
use crate::config::verification::Origin;
use crate::document::Span;
use crate::document::key::{Key, Kind};
use crate::document::table::{Fault, Table, Value};
use crate::document::value;
use crate::scheme::spec::Family;

// Below the patience of the most impatient senders (Slack 3 s is met by most apps; GitHub 10 s, Stripe 20 s).
const DEFAULT_ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Reads `mode` and the keys that only hybrid mode has.
pub(super) fn read(table: &mut Table<'_>) -> Mode {
    let name = table.read(&MODE, |value| value::choice(value, &ModeName::ALL));
    let answer_within = table.read_placed(&ANSWER_WITHIN, value::duration);
    let store_on = table.read_placed(&STORE_ON, store_on);
    match name.unwrap_or(ModeName::Proxy) {
        ModeName::Hybrid => Mode::Hybrid {
            answer_within: answer_within.map_or(DEFAULT_ANSWER_WITHIN, |placed| placed.value),
            stores_4xx: store_on.is_some(),
        },
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
                ModeName::Queue => Mode::Queue,
                _ => Mode::Proxy,
            }
        }
    }
}

fn only_hybrid(table: &Table<'_>, key: &Key, span: Span) {
    let fault = Fault::new(
        format!("`{}` belongs to `mode = \"hybrid\"`", key.name),
        "set the mode, or remove it",
    );
    table.error(span, fault);
}

fn store_on(value: &Value<'_>) -> Result<(), Fault> {
    let fault = || value.unexpected("`[\"4xx\"]`", STORE_ON.example);
    let items = value.items().ok_or_else(fault)?;
    match items.as_slice() {
        [item] if item.text() == Some("4xx") => Ok(()),
        _ => Err(fault()),
    }
}

/// Reads `resign`: whether deliveries are signed anew in the sender's own scheme.
pub(super) fn read_resign(table: &mut Table<'_>, mode: Mode, origin: Option<&Origin>) -> bool {
    let resign = table.read_placed(&RESIGN, |value| value::choice(value, &[("provider", ())]));
    let Some(resign) = resign else {
        return false;
    };
    if mode == Mode::Proxy {
        let fault = Fault::new(
            "a route in proxy mode forwards what the sender signed, at once",
            "remove `resign`, or set `mode = \"queue\"`",
        );
        table.error(resign.span, fault);
    }
    let signs_nothing = |origin: &Origin| {
        let provider = origin.provider.as_ref();
        matches!(origin.spec.family, Family::Token(_))
            || provider.is_some_and(|provider| provider.is_local())
    };
    if origin.is_some_and(signs_nothing) {
        let fault = Fault::new(
            "what this sender shows or signs is for the gate, and is not made for others",
            "remove `resign`, and sign with a `secret` of the destination",
        );
        table.error(resign.span, fault);
    } else if origin.is_some_and(|origin| !origin.spec.can_be_signed()) {
        let fault = Fault::new(
            "this sender signs in a way that only the sender can",
            "remove `resign`, and sign with a `secret` of the destination",
        );
        table.error(resign.span, fault);
    }
    true
}

pub(super) static MODE: Key = Key {
    name: "mode",
    kind: Kind::Choice(&value::choice_words(&ModeName::ALL)),
    default: Some("\"proxy\""),
    example: "\"hybrid\"",
    doc: "`proxy`: the request is forwarded while the provider waits, and the provider gets the app's own answer. `queue`: the event is committed to the store, answered 200 at once, and delivered from there with retries. `hybrid`: as `proxy` while the app answers in time, else as `queue`. The last two need `[store]`.",
};

pub(super) static ANSWER_WITHIN: Key = Key {
    name: "answer_within",
    kind: Kind::Duration,
    default: Some("\"5s\""),
    example: "\"2s\"",
    doc: "In hybrid mode: how long the app may take for its answer before the event is stored and the sender is answered 202. The attempt goes on, and its answer still counts.",
};

pub(super) static STORE_ON: Key = Key {
    name: "store_on",
    kind: Kind::List(&Kind::Choice(&["4xx"])),
    default: Some("the app's 5xx, no connection, no answer in time"),
    example: "[\"4xx\"]",
    doc: "In hybrid mode: `[\"4xx\"]` stores the event on the app's 4xx as well, instead of passing that on.",
};

pub(super) static RESIGN: Key = Key {
    name: "resign",
    kind: Kind::Choice(&["provider"]),
    default: Some("the sender's own signature goes along as it came"),
    example: "\"provider\"",
    doc: "Deliveries from the store are signed anew in the sender's own scheme with the time of the attempt, so that an app that verifies by itself takes an event that is older than its tolerance. The first current secret of the route signs.",
};

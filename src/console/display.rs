//! Formatting of numbers, times and states for templates.

use std::borrow::Borrow;
use std::fmt;

use askama::filters::HtmlSafe;
use hookgate_verify::model::span;

use crate::admin::documents::{ApiTimestamp, DeliveryDocument, DeliveryStateName, StateCounts};
use crate::model::clock::ClockReading;

/// A moment that renders as a `<time>` element.
pub(super) struct DisplayTime {
    ms: i64,
    now_ms: i64,
    is_exact: bool,
}

// Safe without escaping: the element contains only digits and fixed words, no text from a sender.
impl HtmlSafe for DisplayTime {}

/// Formats how long ago a moment was, with the exact time as a tooltip.
pub(super) fn time(moment: &ApiTimestamp) -> DisplayTime {
    DisplayTime {
        ms: moment.0,
        now_ms: ClockReading::read().unix_ms,
        is_exact: false,
    }
}

/// Formats the exact time, then how long ago it was.
pub(super) fn exact(moment: &ApiTimestamp) -> DisplayTime {
    DisplayTime {
        is_exact: true,
        ..time(moment)
    }
}

impl fmt::Display for DisplayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = ApiTimestamp(self.ms);
        let exact = moment.to_string().replace('T', " ").replace('Z', " UTC");
        // `data-ago` has the script keep the distance up to date while the page is open.
        let ago = span::relative(self.ms, self.now_ms);
        if self.is_exact {
            write!(
                f,
                "<time class=\"exact\" datetime=\"{moment}\">{exact}</time> · <span class=\"muted\" data-ago=\"{moment}\">{ago}</span>"
            )
        } else {
            write!(
                f,
                "<time datetime=\"{moment}\" title=\"{exact}\" data-ago=\"{moment}\">{ago}</time>"
            )
        }
    }
}

/// Formats seconds as a duration in words.
pub(super) fn span(seconds: impl Borrow<u64>) -> String {
    span::format_seconds(*seconds.borrow())
}

/// Formats milliseconds as a duration.
pub(super) fn duration(ms: &u32) -> String {
    span::took(*ms)
}

/// Formats microseconds as a duration.
pub(super) fn micros(micros: &u64) -> String {
    match *micros {
        micros @ 0..1000 => format!("{micros} µs"),
        micros => duration(&u32::try_from(micros / 1000).unwrap_or(u32::MAX)),
    }
}

/// Formats nanoseconds as a duration.
pub(super) fn nanos(nanos: &u64) -> String {
    match *nanos {
        nanos @ 0..10_000 => format!("{}.{} µs", nanos / 1000, nanos % 1000 / 100),
        nanos => micros(&(nanos / 1000)),
    }
}

/// Splits a text at its backticks into parts; the flag says whether a part is code.
pub(super) fn prose(text: &str) -> impl Iterator<Item = (bool, &str)> {
    // Backticks come in pairs, so every second part is code.
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| (index % 2 == 1, part))
}

/// Returns the label for a stage of a request.
pub(super) fn stage(word: &str) -> &str {
    match word {
        "head" => "checks of the head",
        "body" => "reading the body",
        "verify" => "signature and later checks",
        "wait" => "waiting for the first copy",
        "upstream" => "response of the app",
        "commit" => "commit to the store",
        word => word,
    }
}

/// Returns the label for the outcome of a check.
pub(super) fn outcome(word: &str) -> &str {
    match word {
        "not-reached" => "not reached",
        word => word,
    }
}

/// Formats a number of bytes with one decimal.
pub(super) fn size(bytes: &u64) -> String {
    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;
    const GIB: u64 = 1024 * MIB;
    let tenths = |unit: u64| {
        let tenths = bytes.saturating_mul(10) / unit;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match *bytes {
        bytes @ 0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", tenths(KIB)),
        MIB..GIB => format!("{} MiB", tenths(MIB)),
        _ => format!("{} GiB", tenths(GIB)),
    }
}

/// Formats a number with commas between thousands. Templates pass values and references, hence `Borrow`.
pub(super) fn number(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the message about a finished action, by its word in the address. Unknown words give no message.
pub(super) fn notice(word: &str) -> &'static str {
    match word {
        "retried" => "The delivery is attempted now.",
        "cancelled" => "The delivery was cancelled.",
        "discarded" => "The dead letter was discarded.",
        "replay" => "The replay has begun. Its deliveries appear as they are created.",
        "retry" => "The deliveries are attempted now.",
        "cancel" => "The deliveries were cancelled.",
        "discard" => "The dead letters were discarded.",
        "reloaded" => "The config was reloaded and is in use.",
        "replay-paused" => {
            "The replay is paused. Deliveries that it already created are still attempted."
        }
        "replay-resumed" => "The replay continues.",
        "paused" => "Paused. New events are accepted and wait.",
        "acknowledged" => {
            "Acknowledged. Receivers are notified again when it is over or gets worse."
        }
        "resumed" => "Resumed. Waiting deliveries are attempted now.",
        _ => "",
    }
}

/// Returns the actions that the state of a delivery allows: the word of the API and the label of the button.
pub(super) fn actions(delivery: &DeliveryDocument) -> &'static [(&'static str, &'static str)] {
    match delivery.state {
        DeliveryStateName::Pending => &[("cancel", "Cancel")],
        DeliveryStateName::Waiting => &[("retry", "Retry now"), ("cancel", "Cancel")],
        DeliveryStateName::Dead => &[("retry", "Retry now"), ("discard", "Discard")],
        DeliveryStateName::InFlight
        | DeliveryStateName::Delivered
        | DeliveryStateName::Cancelled => &[],
    }
}

/// A colored label for a state.
pub(super) struct StateChip {
    pub(super) class: &'static str,
    pub(super) text: String,
}

impl StateChip {
    pub(super) fn new(class: &'static str, text: &str) -> Self {
        Self {
            class,
            text: text.to_owned(),
        }
    }
}

/// Returns the label for the state of one delivery.
pub(super) fn state(state: &DeliveryStateName) -> StateChip {
    let (class, text) = state_label(*state);
    StateChip::new(class, text)
}

/// Returns a label for each state that deliveries of an event are in. A single delivery shows no number.
pub(super) fn counts(counts: &StateCounts) -> Vec<StateChip> {
    // States that need attention come first.
    let states = [
        (DeliveryStateName::Dead, counts.dead),
        (DeliveryStateName::Waiting, counts.waiting),
        (DeliveryStateName::InFlight, counts.in_flight),
        (DeliveryStateName::Pending, counts.pending),
        (DeliveryStateName::Delivered, counts.delivered),
        (DeliveryStateName::Cancelled, counts.cancelled),
    ];
    let all: u64 = states.iter().map(|(_, count)| count).sum();
    let there = states.into_iter().filter(|(_, count)| *count > 0);
    let chips = there.map(|(state, count)| {
        let (class, word) = state_label(state);
        let text = match all {
            1 => word.to_owned(),
            _ => format!("{} {word}", number(count)),
        };
        StateChip { class, text }
    });
    chips.collect()
}

fn state_label(state: DeliveryStateName) -> (&'static str, &'static str) {
    match state {
        DeliveryStateName::Pending => ("pending", "pending"),
        DeliveryStateName::InFlight => ("in-flight", "in flight"),
        DeliveryStateName::Waiting => ("waiting", "waiting"),
        DeliveryStateName::Delivered => ("delivered", "delivered"),
        DeliveryStateName::Dead => ("dead", "dead"),
        DeliveryStateName::Cancelled => ("cancelled", "cancelled"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_in_prose() {
        let parts: Vec<_> = prose("set `mode`, then reload").collect();
        assert_eq!(
            parts,
            [(false, "set "), (true, "mode"), (false, ", then reload")]
        );
    }

    #[test]
    fn words_for_numbers() {
        assert_eq!(size(&1023), "1023 B");
        assert_eq!(size(&1536), "1.5 KiB");
        assert_eq!(size(&(3 << 20)), "3.0 MiB");
        assert_eq!(number(999), "999");
        assert_eq!(number(1_234_567), "1,234,567");
    }
}

//! Deliveries as text: a list, or one delivery with its attempts.

use comfy_table::{Cell, Color};
use hookgate_verify::model::span;

use crate::admin::documents::{
    AttemptDocument, DeliveryDetail, DeliveryDocument, DeliveryStateName,
};
use crate::cli::output::{BAD, GOOD, STRONG, clean, clean_or_dash, facts, lines, list, styled};
use crate::cli::times;
use crate::model::clock::ClockReading;
use crate::model::delivery::DeliveryState;

const HEADER: [&str; 8] = [
    "ID",
    "CREATED",
    "AGE",
    "DESTINATION",
    "TYPE",
    "STATE",
    "ATTEMPTS",
    "LAST ATTEMPT",
];

/// Formats a list of deliveries, one line each. Only the first page of a list has a header.
pub(in crate::cli) fn table(deliveries: &[DeliveryDocument], is_first: bool) -> String {
    if deliveries.is_empty() && is_first {
        return "no delivery matches\n".to_owned();
    }
    let mut table = list(match is_first {
        true => &HEADER,
        false => &[],
    });
    for delivery in deliveries {
        table.add_row(vec![
            Cell::new(delivery.id),
            Cell::new(times::exact(delivery.created)),
            Cell::new(times::relative(delivery.created)),
            Cell::new(destination(delivery)),
            Cell::new(clean_or_dash(delivery.event_type.as_deref())),
            state_cell(delivery),
            Cell::new(delivery.attempts),
            Cell::new(last(delivery)),
        ]);
    }
    lines(table)
}

fn destination(delivery: &DeliveryDocument) -> String {
    clean(&format!("{}/{}", delivery.route, delivery.destination))
}

/// Formats the state, and the time at which the next attempt is due.
fn state(delivery: &DeliveryDocument) -> String {
    let word = DeliveryState::from(delivery.state).word().replace('_', " ");
    let word = match delivery.replay {
        true => format!("{word} (replay)"),
        false => word,
    };
    match (delivery.state, delivery.due) {
        (DeliveryStateName::Waiting, Some(due)) => format!("{word}, due {}", times::relative(due)),
        // Only with a delay: a pending delivery that is already due starts within moments.
        (DeliveryStateName::Pending, Some(due)) if due.0 > ClockReading::read().unix_ms => {
            format!("{word}, due {}", times::relative(due))
        }
        _ => word,
    }
}

fn state_cell(delivery: &DeliveryDocument) -> Cell {
    let cell = Cell::new(state(delivery));
    match delivery.state {
        DeliveryStateName::Delivered => cell.fg(Color::Green),
        DeliveryStateName::Dead => cell.fg(Color::Red),
        DeliveryStateName::Waiting => cell.fg(Color::Yellow),
        _ => cell,
    }
}

fn last(delivery: &DeliveryDocument) -> String {
    match (delivery.last_status, delivery.last_error.as_deref()) {
        (Some(status), Some(error)) => format!("{status} {}", clean(error)),
        (Some(status), None) => status.to_string(),
        (None, error) => clean_or_dash(error),
    }
}

/// Formats one delivery with each of its attempts.
pub(super) fn text(detail: &DeliveryDetail) -> String {
    let delivery = &detail.delivery;
    let ended = delivery.ended.map_or_else(|| "-".to_owned(), times::both);
    let mut out = facts(&[
        ("delivery", delivery.id.to_string()),
        ("event", delivery.event.clone()),
        ("destination", destination(delivery)),
        ("type", clean_or_dash(delivery.event_type.as_deref())),
        ("provider's id", clean_or_dash(delivery.event_id.as_deref())),
        ("state", state(delivery)),
        ("created", times::both(delivery.created)),
        ("ended", ended),
    ]);
    out.push_str(&format!("\n{}\n", styled(STRONG, "Attempts")));
    let is_in_flight = delivery.state == DeliveryStateName::InFlight;
    if detail.attempts.is_empty() && !is_in_flight {
        out.push_str("no attempts yet\n");
    }
    for each in &detail.attempts {
        out.push_str(&attempt(each));
    }
    if is_in_flight {
        // The attempt has no row before its outcome is known.
        out.push_str(&format!("{:>3}  in flight\n", delivery.attempts));
    }
    out
}

fn attempt(attempt: &AttemptDocument) -> String {
    let mut out = String::new();
    let is_good = attempt.error.is_none();
    // An attempt may have both: a status outside of 2xx is an error too.
    let what = match (attempt.status, attempt.error.as_deref()) {
        (Some(status), Some(error)) => format!("{status}, {}", clean(error)),
        (Some(status), None) => status.to_string(),
        (None, error) => clean_or_dash(error),
    };
    let style = if is_good { GOOD } else { BAD };
    out.push_str(&format!(
        "{:>3}  {}  {:>6}  {}\n",
        attempt.number,
        times::exact(attempt.started),
        span::took(attempt.duration_ms),
        styled(style, &what),
    ));
    if let Some(error) = attempt
        .error_detail
        .as_deref()
        .filter(|error| !error.is_empty())
    {
        out.push_str(&format!("     error: {}\n", clean(error)));
    }
    if !attempt.answer.trim_end().is_empty() {
        let answer = clean(attempt.answer.trim_end());
        out.push_str(&format!("     response: {answer}\n"));
    }
    out
}

//! Tests of the text of deliveries and their attempts.

use crate::admin::documents::{ApiTimestamp, AttemptDocument, DeliveryDetail, DeliveryStateName};
use crate::cli::deliveries::text::{table, text};
use crate::cli::testing::{WHEN, delivery, plain};

#[test]
fn a_delivery_is_shown_with_each_attempt() {
    let attempt = |number, status, error: Option<&str>| AttemptDocument {
        number,
        started: WHEN,
        duration_ms: 1250,
        status,
        error: error.map(str::to_owned),
        error_detail: error.map(|error| format!("{error}: refused")),
        answer: "busy\r\n".to_owned(),
    };
    let detail = DeliveryDetail {
        delivery: delivery(2, DeliveryStateName::Delivered),
        attempts: vec![
            attempt(1, None, Some("connect")),
            attempt(2, Some(200), None),
        ],
    };
    let expected = "delivery 2\nevent 0199d2c4-7f3a-7c21-9b1e-5a0d3c8e4f12\ndestination github/ci\n\
        type push\nprovider's id 72d3162e-cc78-11e3-81ab-4c9367dc0958\nstate delivered (replay)\n\
        created 2025-11-24 16:00:00Z (AGE ago)\nended 2025-11-24 16:00:00Z (AGE ago)\n\nAttempts\n  \
        1 2025-11-24 16:00:00Z 1.2 s connect\n     error: connect: refused\n     response: busy\n  \
        2 2025-11-24 16:00:00Z 1.2 s 200\n     response: busy\n";
    assert_eq!(plain(&text(&detail)), expected);
}

#[test]
fn a_list_shows_states_and_last_attempts() {
    let mut waiting = delivery(3, DeliveryStateName::Waiting);
    waiting.last_status = None;
    waiting.due = Some(WHEN);
    let mut delayed = delivery(4, DeliveryStateName::Pending);
    delayed.due = Some(ApiTimestamp(i64::MAX / 2));
    let rows = [delayed, waiting, delivery(2, DeliveryStateName::InFlight)];
    let shown = plain(&table(&rows, true));
    let expected = "ID CREATED AGE DESTINATION TYPE STATE ATTEMPTS LAST ATTEMPT\n\
        4 2025-11-24 16:00:00Z AGE ago github/ci push pending, due in AGE 2 503 status\n\
        3 2025-11-24 16:00:00Z AGE ago github/ci push waiting, due AGE ago 2 status\n\
        2 2025-11-24 16:00:00Z AGE ago github/ci push in flight (replay) 2 503 status\n";
    assert_eq!(shown, expected);
    assert_eq!(table(&[], true), "no delivery matches\n");
}

#[test]
fn an_attempt_in_flight_is_shown_without_an_outcome() {
    let shown = |state| {
        let detail = DeliveryDetail {
            delivery: delivery(3, state),
            attempts: Vec::new(),
        };
        plain(&text(&detail))
    };
    assert!(shown(DeliveryStateName::InFlight).ends_with("\nAttempts\n  2 in flight\n"));
    assert!(shown(DeliveryStateName::Pending).ends_with("\nAttempts\nno attempts yet\n"));
}

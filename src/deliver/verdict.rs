//! The verdict on a delivery after an attempt: one pure table from outcome to verdict.
//!
//! 2xx is delivered even if the rest of the response is missing, because the destination has confirmed the event. A
//! redirect is a failure and is never followed, since it may lead to a host that the config does not name. 410 means
//! that the destination wants no more events. Every other outcome may be different at the next attempt.

use std::time::Duration;

use http::StatusCode;
use strum::{Display, EnumString, IntoStaticStr};

use crate::deliver::breaker::HealthSignal;
use crate::dispatch::DispatchError;
use crate::net::client::ConnectError;

/// The outcome of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AttemptOutcome {
    /// The status of the response, if one came.
    pub status: Option<StatusCode>,
    /// The pause that a response with 429 or 503 asked for.
    pub retry_after: Option<Duration>,
    /// The fault, in addition to the response or in place of it.
    pub fault: Option<AttemptFault>,
}

/// The fault of an attempt: a word from a closed set for store, log and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, EnumString, IntoStaticStr, Display)]
#[cfg_attr(test, derive(strum::VariantArray))]
#[strum(serialize_all = "snake_case")]
pub(crate) enum AttemptFault {
    /// The name of the destination did not resolve.
    Resolve,
    /// The address is one that the gate never connects to.
    Forbidden,
    /// The destination refused the connection.
    Connect,
    /// The connection was not established in time.
    ConnectTimeout,
    /// The egress proxy cannot be reached, or opened no tunnel to the destination.
    Proxy,
    /// The TLS handshake with the destination failed.
    Tls,
    /// A new connection closed before anything was written.
    Unwritten,
    /// The connection closed without a response.
    Closed,
    /// The response did not come, or did not end, in time.
    Deadline,
    /// The response is not valid HTTP.
    Garbage,
    /// The response is HTTP that parsers read in different ways.
    Invalid,
    /// The response ended before its announced end.
    Cut,
    /// The response has an error status.
    Status,
    /// The target would be longer than a URI can be.
    Target,
    /// The token server gave no access token.
    Token,
    /// No secret of the route is valid now, or the signed parts are missing.
    Unsigned,
    /// The stored body is missing or differs from the accepted one.
    Damaged,
    /// The attempt was given up, and its outcome is unknown.
    Abandoned,
    /// An internal error of the gate ended the attempt.
    Panicked,
}

/// The verdict on the delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DeliveryVerdict {
    /// The destination has taken the event.
    Delivered,
    /// Make another attempt, if the schedule has one.
    Retry {
        /// The pause that the destination asked for.
        after: Option<Duration>,
    },
    /// Dead letter, and the destination is disabled because it wants no more events.
    Gone,
    /// Dead letter, because no further attempt can succeed.
    Hopeless,
}

/// Reason that the store keeps for a destination that a 410 disabled.
pub(crate) const GONE_REASON: &str = "it responded with 410 Gone";

impl AttemptOutcome {
    /// Returns the outcome of an attempt with a response.
    pub(crate) fn answered(status: StatusCode, retry_after: Option<Duration>) -> Self {
        Self {
            status: Some(status),
            retry_after,
            fault: (!status.is_success()).then_some(AttemptFault::Status),
        }
    }

    /// Returns the outcome of an attempt without a response.
    pub(crate) fn failed(fault: AttemptFault) -> Self {
        Self {
            status: None,
            retry_after: None,
            fault: Some(fault),
        }
    }

    pub(crate) fn verdict(&self) -> DeliveryVerdict {
        match (self.status, self.fault) {
            (Some(status), _) if status.is_success() => DeliveryVerdict::Delivered,
            (Some(StatusCode::GONE), _) => DeliveryVerdict::Gone,
            (Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE), _) => {
                DeliveryVerdict::Retry {
                    after: self.retry_after,
                }
            }
            (None, Some(AttemptFault::Damaged)) => DeliveryVerdict::Hopeless,
            (Some(_) | None, _) => DeliveryVerdict::Retry { after: None },
        }
    }

    /// Returns what the outcome shows about the destination.
    pub(crate) fn signal(&self) -> HealthSignal {
        match (self.status, self.fault) {
            (Some(status), _) if status.is_server_error() => HealthSignal::Away,
            // Any other status proves that the destination works, even if it rejects the event.
            (Some(_), _) => HealthSignal::Alive,
            (None, Some(fault)) => fault.signal(),
            (None, None) => HealthSignal::Nothing,
        }
    }

    /// Returns the label for metrics: the class of the status, or the word of the fault.
    pub(crate) fn label(&self) -> &'static str {
        match (self.status, self.fault) {
            (Some(status), _) => match status.as_u16() / 100 {
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                _ => "5xx",
            },
            (None, Some(fault)) => fault.word(),
            (None, None) => AttemptFault::Abandoned.word(),
        }
    }
}

impl AttemptFault {
    /// Returns the word for this fault in store, log and metrics.
    pub(crate) fn word(self) -> &'static str {
        self.into()
    }

    /// Parses the word of a fault. An unknown word means an unknown outcome.
    pub(crate) fn parse(word: &str) -> Self {
        word.parse().unwrap_or(Self::Abandoned)
    }

    fn signal(self) -> HealthSignal {
        match self {
            Self::Resolve
            | Self::Forbidden
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Proxy
            | Self::Tls
            | Self::Unwritten
            | Self::Closed
            | Self::Deadline
            | Self::Garbage
            | Self::Invalid
            | Self::Token
            | Self::Cut => HealthSignal::Away,
            Self::Status
            | Self::Target
            | Self::Unsigned
            | Self::Damaged
            | Self::Abandoned
            | Self::Panicked => HealthSignal::Nothing,
        }
    }
}

impl From<&ConnectError> for AttemptFault {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Resolve(_) | ConnectError::Lookup(_) => Self::Resolve,
            ConnectError::Forbidden | ConnectError::Special(_) => Self::Forbidden,
            ConnectError::Refused(_) | ConnectError::Socket(_) => Self::Connect,
            ConnectError::Proxy(_) | ConnectError::Tunnel { .. } | ConnectError::ProxyResponse => {
                Self::Proxy
            }
            ConnectError::Tls(_) => Self::Tls,
            ConnectError::Timeout => Self::ConnectTimeout,
        }
    }
}

impl From<&DispatchError> for AttemptFault {
    fn from(error: &DispatchError) -> Self {
        match error {
            DispatchError::Target => Self::Target,
            DispatchError::Connect(error) => error.into(),
            DispatchError::ConnectTimeout => Self::ConnectTimeout,
            DispatchError::Unwritten => Self::Unwritten,
            DispatchError::Closed(_) => Self::Closed,
            DispatchError::Deadline => Self::Deadline,
            DispatchError::Garbage(_) => Self::Garbage,
            DispatchError::Invalid(_) => Self::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    fn answered(status: u16) -> AttemptOutcome {
        let after = Some(Duration::from_secs(7));
        AttemptOutcome::answered(StatusCode::from_u16(status).unwrap(), after)
    }

    // Mutation: `is_success() || is_redirection()` in `verdict`.
    #[test]
    fn only_2xx_is_delivered() {
        for status in 100..=999 {
            let verdict = answered(status).verdict();
            let is_delivered = verdict == DeliveryVerdict::Delivered;
            assert_eq!(is_delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn the_table() {
        let after = Some(Duration::from_secs(7));
        let later = DeliveryVerdict::Retry { after: None };
        for (status, verdict) in [
            (200, DeliveryVerdict::Delivered),
            (204, DeliveryVerdict::Delivered),
            (301, later),
            (308, later),
            (400, later),
            (401, later),
            (404, later),
            (410, DeliveryVerdict::Gone),
            (429, DeliveryVerdict::Retry { after }),
            (500, later),
            (503, DeliveryVerdict::Retry { after }),
        ] {
            assert_eq!(answered(status).verdict(), verdict, "{status}");
        }
        for fault in AttemptFault::VARIANTS.iter().copied() {
            let expected = match fault {
                AttemptFault::Damaged => DeliveryVerdict::Hopeless,
                _ => later,
            };
            assert_eq!(AttemptOutcome::failed(fault).verdict(), expected, "{fault}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_after_2xx_is_delivered() {
        let outcome = AttemptOutcome {
            fault: Some(AttemptFault::Cut),
            ..answered(200)
        };
        assert_eq!(outcome.verdict(), DeliveryVerdict::Delivered);
        assert_eq!(outcome.signal(), HealthSignal::Alive);
    }

    #[test]
    fn refusals_of_an_event_say_nothing_against_the_destination() {
        for status in [200, 301, 400, 404, 410, 429] {
            assert_eq!(answered(status).signal(), HealthSignal::Alive, "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(answered(status).signal(), HealthSignal::Away, "{status}");
        }
        assert_eq!(
            AttemptOutcome::failed(AttemptFault::Deadline).signal(),
            HealthSignal::Away
        );
        assert_eq!(
            AttemptOutcome::failed(AttemptFault::Damaged).signal(),
            HealthSignal::Nothing
        );
    }

    #[test]
    fn words_are_of_one_form_and_read_back() {
        for fault in AttemptFault::VARIANTS.iter().copied() {
            let word = fault.word();
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            assert_eq!(AttemptFault::parse(word), fault);
        }
        assert_eq!(AttemptFault::parse("what"), AttemptFault::Abandoned);
    }
}

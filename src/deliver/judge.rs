//! What becomes of a delivery after an attempt: one table from outcome to verdict.
//!
//! Pure. 2xx is delivered, also where the rest of the answer broke off: the destination has said that it has the event. A
//! redirect is a failure, never followed: it may lead to a host that nobody named. 410 says that nobody wants these
//! events any more. Everything else may be otherwise next time.

use std::fmt;
use std::time::Duration;

use http::StatusCode;

use crate::deliver::breaker::Signal;
use crate::net::client::{ConnectError, ExchangeError};

/// How an attempt ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// What the destination answered.
    pub status: Option<StatusCode>,
    /// What it asked for, where it answered 429 or 503.
    pub retry_after: Option<Duration>,
    /// What went wrong, beside or instead of the answer.
    pub fault: Option<Fault>,
}

/// What went wrong with an attempt: a word of a closed set, for store, log and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Fault {
    /// The destination's name has no address.
    Resolve,
    /// Its address is one that is never connected to.
    Forbidden,
    /// It does not take the connection.
    Connect,
    /// It did not take the connection in time.
    ConnectTimeout,
    /// The TLS handshake failed.
    Tls,
    /// It closed a fresh connection before anything was written.
    Unwritten,
    /// It closed the connection without an answer.
    Closed,
    /// It did not answer in time, or not to the end.
    Deadline,
    /// Its answer is not HTTP.
    Garbage,
    /// Its answer is HTTP that means several things, or nothing.
    Invalid,
    /// Its answer broke off.
    Cut,
    /// Its answer is an error status.
    Status,
    /// The target would be longer than a URI can be.
    Target,
    /// No secret of the route's is current, or what is signed is not there.
    Unsigned,
    /// The body in the store is not the one that was accepted, or is not there.
    Damaged,
    /// The exchange was given up, with an unknown outcome.
    Abandoned,
    /// A fault of the gate's own.
    Panicked,
}

/// What becomes of the delivery.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The destination has the event.
    Delivered,
    /// Another attempt, where the schedule has one.
    Retry {
        /// What the destination asked for.
        after: Option<Duration>,
    },
    /// A dead letter, and the destination is switched off: it wants no more.
    Gone,
    /// A dead letter: no attempt can be better.
    Hopeless,
}

/// Gone, as the destination says it.
pub const GONE_REASON: &str = "it answered 410 Gone";

impl Outcome {
    /// An answer.
    #[must_use]
    pub fn answered(status: StatusCode, retry_after: Option<Duration>) -> Self {
        Self {
            status: Some(status),
            retry_after,
            fault: (!status.is_success()).then_some(Fault::Status),
        }
    }

    /// No answer.
    #[must_use]
    pub fn failed(fault: Fault) -> Self {
        Self {
            status: None,
            retry_after: None,
            fault: Some(fault),
        }
    }

    /// The table.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match (self.status, self.fault) {
            (Some(status), _) if status.is_success() => Verdict::Delivered,
            (Some(StatusCode::GONE), _) => Verdict::Gone,
            (Some(StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE), _) => {
                Verdict::Retry {
                    after: self.retry_after,
                }
            }
            (None, Some(Fault::Damaged)) => Verdict::Hopeless,
            (Some(_) | None, _) => Verdict::Retry { after: None },
        }
    }

    /// What it shows of the destination.
    #[must_use]
    pub fn signal(&self) -> Signal {
        match (self.status, self.fault) {
            (Some(status), _) if status.is_server_error() => Signal::Away,
            (Some(_), _) => Signal::Alive,
            (None, Some(fault)) => fault.signal(),
            (None, None) => Signal::Nothing,
        }
    }

    /// The label of metrics: the class of the answer, or the word of the fault.
    #[must_use]
    pub fn label(&self) -> &'static str {
        match (self.status, self.fault) {
            (Some(status), _) => match status.as_u16() / 100 {
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                _ => "5xx",
            },
            (None, Some(fault)) => fault.word(),
            (None, None) => Fault::Abandoned.word(),
        }
    }
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Resolve,
        Self::Forbidden,
        Self::Connect,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Unwritten,
        Self::Closed,
        Self::Deadline,
        Self::Garbage,
        Self::Invalid,
        Self::Cut,
        Self::Status,
        Self::Target,
        Self::Unsigned,
        Self::Damaged,
        Self::Abandoned,
        Self::Panicked,
    ];

    /// The word for it, everywhere.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Forbidden => "forbidden",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Unwritten => "unwritten",
            Self::Closed => "closed",
            Self::Deadline => "deadline",
            Self::Garbage => "garbage",
            Self::Invalid => "invalid",
            Self::Cut => "cut",
            Self::Status => "status",
            Self::Target => "target",
            Self::Unsigned => "unsigned",
            Self::Damaged => "damaged",
            Self::Abandoned => "abandoned",
            Self::Panicked => "panicked",
        }
    }

    /// The fault of a word; what is none was given up in a way that is not known here.
    #[must_use]
    pub fn parse(word: &str) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|fault| fault.word() == word)
            .unwrap_or(Self::Abandoned)
    }

    fn signal(self) -> Signal {
        match self {
            Self::Resolve
            | Self::Forbidden
            | Self::Connect
            | Self::ConnectTimeout
            | Self::Tls
            | Self::Unwritten
            | Self::Closed
            | Self::Deadline
            | Self::Garbage
            | Self::Invalid
            | Self::Cut => Signal::Away,
            Self::Status
            | Self::Target
            | Self::Unsigned
            | Self::Damaged
            | Self::Abandoned
            | Self::Panicked => Signal::Nothing,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl From<&ConnectError> for Fault {
    fn from(error: &ConnectError) -> Self {
        match error {
            ConnectError::Resolve(_) | ConnectError::Lookup(_) => Self::Resolve,
            ConnectError::Forbidden | ConnectError::Special(_) => Self::Forbidden,
            ConnectError::Refused(_) => Self::Connect,
            ConnectError::Tls(_) => Self::Tls,
            ConnectError::Timeout => Self::ConnectTimeout,
        }
    }
}

impl From<&ExchangeError> for Fault {
    fn from(error: &ExchangeError) -> Self {
        match error {
            ExchangeError::Unwritten(_) => Self::Unwritten,
            ExchangeError::Closed(_) => Self::Closed,
            ExchangeError::Garbage(_) => Self::Garbage,
            ExchangeError::Deadline => Self::Deadline,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Outcome {
        let after = Some(Duration::from_secs(7));
        Outcome::answered(StatusCode::from_u16(status).unwrap(), after)
    }

    // Mutation: `is_success() || is_redirection()` in `verdict`.
    #[test]
    fn only_2xx_is_delivered() {
        for status in 100..=999 {
            let verdict = answered(status).verdict();
            let is_delivered = verdict == Verdict::Delivered;
            assert_eq!(is_delivered, (200..300).contains(&status), "{status}");
        }
    }

    #[test]
    fn the_table() {
        let after = Some(Duration::from_secs(7));
        let later = Verdict::Retry { after: None };
        for (status, verdict) in [
            (200, Verdict::Delivered),
            (204, Verdict::Delivered),
            (301, later),
            (308, later),
            (400, later),
            (401, later),
            (404, later),
            (410, Verdict::Gone),
            (429, Verdict::Retry { after }),
            (500, later),
            (503, Verdict::Retry { after }),
        ] {
            assert_eq!(answered(status).verdict(), verdict, "{status}");
        }
        for fault in Fault::ALL {
            let expected = match fault {
                Fault::Damaged => Verdict::Hopeless,
                _ => later,
            };
            assert_eq!(Outcome::failed(fault).verdict(), expected, "{fault}");
        }
    }

    #[test]
    fn an_answer_that_breaks_off_after_2xx_is_delivered() {
        let outcome = Outcome {
            fault: Some(Fault::Cut),
            ..answered(200)
        };
        assert_eq!(outcome.verdict(), Verdict::Delivered);
        assert_eq!(outcome.signal(), Signal::Alive);
    }

    #[test]
    fn refusals_of_an_event_say_nothing_against_the_destination() {
        for status in [200, 301, 400, 404, 410, 429] {
            assert_eq!(answered(status).signal(), Signal::Alive, "{status}");
        }
        for status in [500, 502, 503, 504, 599] {
            assert_eq!(answered(status).signal(), Signal::Away, "{status}");
        }
        assert_eq!(Outcome::failed(Fault::Deadline).signal(), Signal::Away);
        assert_eq!(Outcome::failed(Fault::Damaged).signal(), Signal::Nothing);
    }

    #[test]
    fn words_are_of_one_form_and_read_back() {
        for fault in Fault::ALL {
            let word = fault.word();
            assert!(
                word.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
            );
            assert_eq!(Fault::parse(word), fault);
        }
        assert_eq!(Fault::parse("what"), Fault::Abandoned);
    }
}

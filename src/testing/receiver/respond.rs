//! Responses of the receiver: those of a healthy app, and those of a failing one.

use std::str::FromStr;
use std::time::Duration;

use hookgate_verify::document::value::parse_duration;

/// Delay of `slow` without a duration.
const SLOW: Duration = Duration::from_secs(10);

/// Response to send, or a failure to respond.
#[derive(Clone, PartialEq, Debug)]
pub enum ResponseBehavior {
    /// A response with this status.
    Status(u16),
    /// No response: the connection stays open.
    Timeout,
    /// No response: the connection is reset after the request was read.
    Reset,
    /// A response with 200 after this delay.
    Slow(Duration),
    /// A response with 500 with this probability, else 200.
    Flaky(f64),
    /// One response after the other; the last one repeats.
    Sequence(Vec<Self>),
}

impl ResponseBehavior {
    /// Resolves the response for the request with this number, counted from 0. The result is never a sequence and never
    /// flaky. `chance` is a random number from 0.0 to below 1.0.
    pub(super) fn of(&self, number: u64, chance: f64) -> Self {
        match self {
            Self::Sequence(all) => {
                let index = usize::try_from(number).unwrap_or(usize::MAX);
                // Beyond the end, the last response repeats.
                let one = all.get(index).or(all.last());
                one.map_or(Self::Status(200), |one| one.of(number, chance))
            }
            Self::Flaky(rate) if chance < *rate => Self::Status(500),
            Self::Flaky(_) => Self::Status(200),
            other => other.clone(),
        }
    }

    /// Describes the response in a few words, for the recorded request.
    pub(super) fn word(&self) -> String {
        match self {
            Self::Status(status) => status.to_string(),
            Self::Timeout => "timeout".to_owned(),
            Self::Reset => "reset".to_owned(),
            Self::Slow(time) => format!("200 after {}ms", time.as_millis()),
            Self::Flaky(rate) => format!("flaky:{rate}"),
            Self::Sequence(_) => "sequence".to_owned(),
        }
    }
}

impl FromStr for ResponseBehavior {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(list) = text.strip_prefix("sequence:") {
            let all: Result<Vec<_>, _> = list.split(',').map(|one| one.trim().parse()).collect();
            return Ok(Self::Sequence(all?));
        }
        let (word, rest) = text.split_once(':').unwrap_or((text, ""));
        let wrong = || {
            format!(
                "`{text}` is not a response; use a status, `timeout`, `reset`, `slow`, `slow:3s`, `flaky:0.3`, or \
                 `sequence:500,500,200`"
            )
        };
        match word {
            "timeout" if rest.is_empty() => Ok(Self::Timeout),
            "reset" if rest.is_empty() => Ok(Self::Reset),
            "slow" if rest.is_empty() => Ok(Self::Slow(SLOW)),
            "slow" => parse_duration(rest).map(Self::Slow).ok_or_else(wrong),
            "flaky" => {
                let rate: Option<f64> = rest.parse().ok();
                let rate = rate.filter(|rate| (0.0..=1.0).contains(rate));
                rate.map(Self::Flaky).ok_or_else(wrong)
            }
            _ => {
                let status: Option<u16> = text.parse().ok();
                // A status below 200 is not a final response (RFC 9110, section 15.2).
                let status = status.filter(|status| (200..=599).contains(status));
                status.map(Self::Status).ok_or_else(wrong)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_parsed() {
        let read = |text: &str| text.parse::<ResponseBehavior>();
        assert_eq!(read("503"), Ok(ResponseBehavior::Status(503)));
        assert_eq!(read("timeout"), Ok(ResponseBehavior::Timeout));
        assert_eq!(read("slow"), Ok(ResponseBehavior::Slow(SLOW)));
        assert_eq!(
            read("slow:1500ms"),
            Ok(ResponseBehavior::Slow(Duration::from_millis(1500)))
        );
        assert_eq!(read("flaky:0.3"), Ok(ResponseBehavior::Flaky(0.3)));
        let sequence = read("sequence:500,reset,200").unwrap();
        let words: Vec<_> = (0..4)
            .map(|number| sequence.of(number, 0.5).word())
            .collect();
        assert_eq!(words, ["500", "reset", "200", "200"]);
        for text in [
            "",
            "100",
            "700",
            "flaky:2",
            "slow:x",
            "sequence:",
            "sequence:200,x",
            "maybe",
        ] {
            assert!(
                read(text).unwrap_err().contains("is not a response"),
                "{text}"
            );
        }
    }

    #[test]
    fn flaky_fails_below_its_rate() {
        let flaky = ResponseBehavior::Flaky(0.3);
        assert_eq!(flaky.of(0, 0.29), ResponseBehavior::Status(500));
        assert_eq!(flaky.of(0, 0.3), ResponseBehavior::Status(200));
    }
}

//! The events of `hookgate send`: makes one, and judges its response.

use std::io::Read;
use std::time::Duration;

use bytes::Bytes;
use hookgate_verify::providers::{self, Provider};
use hookgate_verify::scheme::spec::SchemeSpec;

use crate::cli::failure::CommandFailure;
use crate::cli::send::arguments::SendArguments;
use crate::cli::send::defect::RequestDefect;
use crate::cli::signer::{self, SenderProfile};
use crate::model::clock::ClockReading;
use crate::net::request_file::RequestFile;
use crate::testing::{self, EventSender, ReceivedResponse};

/// Bytes of an oversized body where no limit is known: twice the default `max_body` of a route.
const OVERSIZE: usize = 2 << 20;

/// Everything that is needed to make an event and to judge its response.
pub(super) struct EventRecipe {
    pub(super) sender: EventSender,
    wrong: EventSender,
    event_type: Option<String>,
    data: Option<Bytes>,
    set: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    bad: Option<RequestDefect>,
    size: usize,
    tolerance: Duration,
    /// A copy of an event legitimately reaches the app, so a 2xx for it is no failure.
    hands_over_copies: bool,
}

/// Returns whether a copy reaches the app by default: nothing names the sender's events, or it uses the response.
fn hands_over_copies(provider: Option<&Provider>, spec: &SchemeSpec) -> bool {
    match provider {
        Some(provider) => provider.identity.key.value.is_nothing() || provider.uses_response(),
        None => spec.event_id.is_empty(),
    }
}

/// Returns the largest body that the sender documents.
fn documented_max(provider: Option<&Provider>) -> Option<usize> {
    let max = provider?.identity.max_body.as_ref()?;
    Some(max.value)
}

impl EventRecipe {
    pub(super) fn new(
        arguments: &SendArguments,
        known: &SenderProfile,
        url: &str,
    ) -> Result<Self, CommandFailure> {
        let SenderProfile {
            provider,
            spec,
            secret,
            public_url,
            ..
        } = known;
        if let Some(bad) = arguments.bad {
            bad.check(spec)?;
        }
        let found = provider.as_deref().and_then(providers::find);
        let sender = EventSender::with(
            spec,
            provider.as_deref(),
            secret,
            url,
            public_url.as_deref(),
        );
        let sender = sender.map_err(|error| signer::failure(&error))?;
        let wrong = sender.with_wrong_secret();
        let pair = |text: &str, separator: char, right: &str| {
            let pair = text.split_once(separator);
            let pair = pair.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()));
            pair.ok_or_else(|| {
                CommandFailure::usage(format!("`{text}` must have the form `{right}`"))
            })
        };
        let set = arguments
            .set
            .iter()
            .map(|text| pair(text, '=', "data.object.amount=500"));
        let headers = arguments
            .header
            .iter()
            .map(|text| pair(text, ':', "Name: value"));
        let recipe = Self {
            sender,
            wrong: wrong.map_err(|error| signer::failure(&error))?,
            event_type: arguments.event_type.clone(),
            data: arguments.data.as_deref().map(read_data).transpose()?,
            set: set.collect::<Result<_, _>>()?,
            headers: headers.collect::<Result<_, _>>()?,
            bad: arguments.bad,
            // One byte more than the limit is enough, and takes the least time to send.
            size: arguments
                .size
                .or(known
                    .max_body
                    .or(documented_max(found.as_deref()))
                    .map(|max| max.saturating_add(1)))
                .unwrap_or(OVERSIZE),
            tolerance: known.tolerance,
            hands_over_copies: hands_over_copies(found.as_deref(), spec),
        };
        Ok(recipe)
    }

    /// Makes a new signed event, with the defect that was asked for.
    pub(super) fn make(&self) -> Result<RequestFile, CommandFailure> {
        let now = ClockReading::read().unix_ms;
        let at = self.bad.map_or(now, |bad| bad.time(now, self.tolerance));
        let failed = |error: &testing::TestingError| signer::failure(error);
        let event_type = self.event_type.as_deref();
        let mut event = match &self.data {
            Some(data) => self.sender.draft_of(event_type, data.clone()),
            None => self
                .sender
                .draft(event_type, at)
                .map_err(|error| failed(&error))?,
        };
        for (path, value) in &self.set {
            testing::set(&mut event, path, value).map_err(|error| failed(&error))?;
        }
        self.put_headers(&mut event);
        if let Some(bad) = self.bad {
            bad.before(&mut event, self.size);
        }
        // Before signing, since a scheme may sign a header. Once more below: signing writes its own headers, and those
        // of the command line win.
        let signer = match self.bad {
            Some(RequestDefect::Secret) => &self.wrong,
            _ => &self.sender,
        };
        signer
            .sign(&mut event, at)
            .map_err(|error| failed(&error))?;
        self.put_headers(&mut event);
        if let Some(bad) = self.bad {
            bad.after(&mut event, &self.sender);
        }
        Ok(event)
    }

    /// Sets the headers of the command line, in place of all headers with the same names.
    fn put_headers(&self, event: &mut RequestFile) {
        for (name, _) in &self.headers {
            event.remove_header(name);
        }
        for (name, value) in &self.headers {
            let value = Bytes::copy_from_slice(value.as_bytes());
            event.headers.push((name.clone(), value));
        }
    }

    /// Sends a new event. For `--bad replay`, sends it a second time if the first was accepted.
    pub(super) async fn exchange(
        &self,
        target: &testing::SendTarget,
    ) -> Result<Vec<(RequestFile, Result<ReceivedResponse, String>)>, CommandFailure> {
        let event = self.make()?;
        let mut exchanges = Vec::new();
        if self.bad == Some(RequestDefect::Replay) {
            let answer = target.send(&event).await;
            let is_taken = matches!(&answer, Ok(answer) if is_success(answer));
            exchanges.push((event.clone(), answer));
            // A copy of a rejected event would test nothing.
            if !is_taken {
                return Ok(exchanges);
            }
        }
        let answer = target.send(&event).await;
        exchanges.push((event, answer));
        Ok(exchanges)
    }

    /// Returns true if the response is as expected: 2xx for a valid event, 4xx for a defect. A replay may also be
    /// recognized as a duplicate.
    pub(super) fn is_as_it_should(&self, answer: &Result<ReceivedResponse, String>) -> bool {
        let Ok(answer) = answer else { return false };
        let is_refused = (400..500).contains(&answer.status);
        match self.bad {
            None => is_success(answer),
            Some(RequestDefect::Replay) => {
                is_refused
                    || answer.header("hookgate-duplicate") == Some("true")
                    || (self.hands_over_copies && is_success(answer))
            }
            Some(_) => is_refused,
        }
    }

    pub(super) fn disappointment(
        &self,
        answer: &Result<ReceivedResponse, String>,
    ) -> CommandFailure {
        match (answer, self.bad) {
            (Err(_), _) => CommandFailure::new("no response received"),
            (Ok(answer), None) => {
                CommandFailure::new(format!("the response was {}, not 2xx", answer.status))
            }
            (Ok(answer), Some(RequestDefect::Replay)) => CommandFailure::new(format!(
                "the response to the copy was {}, and it was not recognized as a duplicate",
                answer.status
            )),
            (Ok(answer), Some(_)) => CommandFailure::new(format!(
                "the response was {}: the invalid request was not rejected",
                answer.status
            )),
        }
    }
}

fn is_success(answer: &ReceivedResponse) -> bool {
    (200..300).contains(&answer.status)
}

fn read_data(text: &str) -> Result<Bytes, CommandFailure> {
    let Some(path) = text.strip_prefix('@') else {
        return Ok(Bytes::copy_from_slice(text.as_bytes()));
    };
    let read = match path {
        "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
        }
        path => std::fs::read(path),
    };
    let read = read.map_err(|err| CommandFailure::usage(format!("cannot read `{path}`: {err}")))?;
    Ok(read.into())
}

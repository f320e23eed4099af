//! A request and its response as text or JSON, and the options of a connection.
//!
//! Text of senders is escaped, and a header or parameter that is the secret itself is never shown.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hookgate_verify::document::value::parse_duration;
use hookgate_verify::scheme::spec::{SchemeFamily, SchemeLocation, SchemeSpec};
use serde_json::{Value, json};

use crate::cli::failure::CommandFailure;
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, clean, styled};
use crate::cli::signer::failure;
use crate::net::request_file::RequestFile;
use crate::testing::{ReceivedResponse, SendTarget, ServerTrust};

/// Characters of a body that are shown at most.
const SHOWN: usize = 600;

/// Options of the connection to a server: TLS trust and timeout.
#[derive(Args, Clone)]
#[command(next_help_heading = "The connection")]
pub(super) struct ConnectOptions {
    /// PEM file with the authorities to trust for the server's certificate, instead of those of the system
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Accept any certificate, even an invalid one
    #[arg(long)]
    insecure: bool,
    /// Time limit for the whole response
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    timeout: Duration,
}

impl ConnectOptions {
    /// Prepares connections to the host of a URL.
    pub(super) fn target(&self, url: &str) -> Result<SendTarget, CommandFailure> {
        let trust = match &self.cacert {
            _ if self.insecure => ServerTrust::Anybody,
            Some(path) => ServerTrust::File(path.clone()),
            None => ServerTrust::System,
        };
        SendTarget::new(url, trust, self.timeout).map_err(|error| failure(&error))
    }
}

/// Parses a duration on the command line; zero is rejected.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| {
        format!("`{text}` is not a duration; use for example `500ms`, `30s` or `5m`")
    })
}

/// Returns the name of the header or parameter that carries the secret itself, which must never be shown.
pub(super) fn secret_location(spec: &SchemeSpec, place: Option<&SchemeLocation>) -> Option<String> {
    // A signature may be shown: it does not reveal the secret. A token is the secret.
    let is_token = matches!(spec.family, SchemeFamily::Token(_));
    match place.filter(|_| is_token)? {
        SchemeLocation::Header(name) => Some(name.as_str().to_owned()),
        SchemeLocation::Query(name) => Some(name.clone()),
        SchemeLocation::Form(_) | SchemeLocation::Json(_) => None,
    }
}

/// Formats the request as it is sent, for people.
pub(super) fn request_text(request: &RequestFile, hidden: Option<&str>) -> String {
    let mut text = String::new();
    let mut line = |content: &str| text.push_str(&format!("{} {content}\n", styled(FAINT, ">")));
    let target = clean(&shown_target(&request.target, hidden));
    line(&styled(
        STRONG,
        &format!("{} {target} HTTP/1.1", request.method),
    ));
    for (name, value) in &request.headers {
        let value = shown_value(name, value, hidden);
        line(&format!("{}: {}", clean(name), clean(&value)));
    }
    line("");
    line(&body_text(&request.body));
    text
}

/// Formats the response, or the error in its place, for people.
pub(super) fn answer_text(answer: &Result<ReceivedResponse, String>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("{} {}\n", styled(FAINT, "<"), styled(BAD, error)),
    };
    let mut text = String::new();
    let mut line = |content: &str| text.push_str(&format!("{} {content}\n", styled(FAINT, "<")));
    let style = if answer.status < 300 { GOOD } else { BAD };
    // The reason phrase is that of the standard: HTTP/2 has no phrase, and HTTP/1.1 clients ignore it.
    let reason = http::StatusCode::from_u16(answer.status).ok();
    let reason = reason
        .and_then(|status| status.canonical_reason())
        .unwrap_or("");
    let status = styled(style, &format!("{} {reason}", answer.status));
    line(&format!("{status}  {}", took(answer.took)));
    for (name, value) in &answer.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        line(&format!("{name}: {}", clean(&value)));
    }
    if !answer.body.is_empty() {
        line("");
        line(&body_text(&answer.body));
    }
    text
}

/// Builds the JSON document of a request and its response, for programs.
pub(super) fn document(
    request: &RequestFile,
    answer: &Result<ReceivedResponse, String>,
    hidden: Option<&str>,
) -> Value {
    let headers = request.headers.iter();
    let headers = headers.map(|(name, value)| json!([name, shown_value(name, value, hidden)]));
    let request = json!({
        "method": request.method.as_str(),
        "target": shown_target(&request.target, hidden),
        "headers": headers.collect::<Vec<_>>(),
        "body": String::from_utf8_lossy(&request.body),
    });
    let answer = match answer {
        Err(error) => json!({ "error": error }),
        Ok(answer) => {
            let headers = answer.headers.iter();
            let headers = headers.map(|(name, value)| {
                json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())])
            });
            json!({
                "status": answer.status,
                "headers": headers.collect::<Vec<_>>(),
                "body": String::from_utf8_lossy(&answer.body),
                "milliseconds": millis(answer.took),
            })
        }
    };
    json!({ "request": request, "answer": answer })
}

/// Formats a duration in milliseconds: one decimal below 10 ms, where it is significant.
pub(super) fn took(time: Duration) -> String {
    let ms = millis(time);
    match ms {
        0.0..10.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

pub(super) fn millis(time: Duration) -> f64 {
    // Rounds to whole microseconds: more digits are noise.
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn shown_value(name: &str, value: &[u8], hidden: Option<&str>) -> String {
    match hidden.is_some_and(|hidden| hidden.eq_ignore_ascii_case(name)) {
        true => "[the secret]".to_owned(),
        false => String::from_utf8_lossy(value).into_owned(),
    }
}

fn shown_target(target: &str, hidden: Option<&str>) -> String {
    let (Some(hidden), Some((path, query))) = (hidden, target.split_once('?')) else {
        return target.to_owned();
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name == hidden => format!("{name}=[the secret]"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

/// Formats the beginning of a body on one line. Returns a note with the size for a body that is not UTF-8.
pub(super) fn body_text(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("[{} bytes that are not UTF-8 text]", body.len());
    };
    let shown: String = text.trim_end().chars().take(SHOWN).collect();
    let rest = match shown.len() < text.trim_end().len() {
        true => styled(FAINT, &format!(" ... {} bytes in total", body.len())),
        false => String::new(),
    };
    format!("{}{rest}", clean(&shown))
}

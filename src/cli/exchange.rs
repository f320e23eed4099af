//! One exchange as people and programs see it: what was sent, and what came back.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::output::{BAD, FAINT, GOOD, STRONG, clean, styled};
use crate::cli::signer::failure;
use crate::document::value::parse_duration;
use crate::net::request_file::RequestFile;
use crate::scheme::spec::{Family, Place, Spec};
use crate::testing::{Answer, Target, Trust};

/// Characters of a body that are shown.
const SHOWN: usize = 600;

/// How the host is reached.
#[derive(Args, Clone)]
#[command(next_help_heading = "The connection")]
pub(super) struct Connect {
    /// A PEM file with the authorities that count for the host's certificate, instead of the system's
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    cacert: Option<PathBuf>,
    /// Take any certificate
    #[arg(long)]
    insecure: bool,
    /// How long an answer may take
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    timeout: Duration,
}

impl Connect {
    /// The host of a URL.
    pub(super) fn target(&self, url: &str) -> Result<Target, Failure> {
        let trust = match &self.cacert {
            _ if self.insecure => Trust::Anybody,
            Some(path) => Trust::File(path.clone()),
            None => Trust::System,
        };
        Target::new(url, trust, self.timeout).map_err(|error| failure(&error))
    }
}

/// A duration on the command line.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text).filter(|time| !time.is_zero());
    time.ok_or_else(|| format!("`{text}` is no time; `500ms`, `30s` and `5m` are"))
}

/// What must not be shown: the header or parameter that holds the secret itself.
pub(super) fn secret_place(spec: &Spec, place: Option<&Place>) -> Option<String> {
    let is_token = matches!(spec.family, Family::Token(_));
    match place.filter(|_| is_token)? {
        Place::Header(name) => Some(name.as_str().to_owned()),
        Place::Query(name) => Some(name.clone()),
        Place::Form(_) | Place::Json(_) => None,
    }
}

/// The request as it goes out, for people.
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

/// What came back, for people.
pub(super) fn answer_text(answer: &Result<Answer, String>) -> String {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return format!("{} {}\n", styled(FAINT, "<"), styled(BAD, error)),
    };
    let mut text = String::new();
    let mut line = |content: &str| text.push_str(&format!("{} {content}\n", styled(FAINT, "<")));
    let style = if answer.status < 300 { GOOD } else { BAD };
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

/// An exchange for programs.
pub(super) fn document(
    request: &RequestFile,
    answer: &Result<Answer, String>,
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

/// In milliseconds, with as many digits as say something.
pub(super) fn took(time: Duration) -> String {
    let ms = millis(time);
    match ms {
        0.0..10.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

pub(super) fn millis(time: Duration) -> f64 {
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

/// The beginning of a body on one line.
pub(super) fn body_text(body: &[u8]) -> String {
    let Ok(text) = std::str::from_utf8(body) else {
        return format!("[{} bytes that are no text]", body.len());
    };
    let shown: String = text.trim_end().chars().take(SHOWN).collect();
    let rest = match shown.len() < text.trim_end().len() {
        true => styled(FAINT, &format!(" ... {} bytes in all", body.len())),
        false => String::new(),
    };
    format!("{}{rest}", clean(&shown))
}

//! Parsers of URLs of apps: `http://`, `https://`, and Unix sockets.

use hookgate_verify::document::table::{TomlValue, ValueFault};
use hookgate_verify::document::value;

use crate::net::app_url::{AppUrl, UNIX};

const SOCKET_HELP: &str = "the path of the socket, and optionally a colon and a path: `\"unix:/run/app.sock\"`, `\"unix:/run/app.sock:/hooks\"`";

/// Parses the URL of an upstream, which has no query: that of the request is passed on.
pub(super) fn upstream_url(value: &TomlValue<'_>) -> Result<AppUrl, ValueFault> {
    let Some(text) = socket_text(value)? else {
        return value::http_url(value).and_then(|uri| of_uri(&uri));
    };
    let url = socket(text)?;
    match url.query() {
        Some(_) => Err(ValueFault::new("the URL has a query", SOCKET_HELP)),
        None => Ok(url),
    }
}

/// Parses the URL of a destination, which may have a query.
pub(super) fn destination_url(value: &TomlValue<'_>) -> Result<AppUrl, ValueFault> {
    match socket_text(value)? {
        Some(text) => socket(text),
        None => value::destination_url(value).and_then(|uri| of_uri(&uri)),
    }
}

/// Returns the text behind `unix:`. The spellings of other programs get an error that shows ours.
fn socket_text<'a>(value: &TomlValue<'a>) -> Result<Option<&'a str>, ValueFault> {
    let Some(text) = value.text() else {
        return Ok(None);
    };
    // nginx, then Caddy, then others.
    let foreign = ["http://unix:", "unix//", "unix:///", "http+unix://"];
    let mut rests = foreign
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix));
    if let Some(rest) = rests.next() {
        let path = rest.trim_start_matches('/');
        return Err(ValueFault::new(
            format!("`{text}` is not how hookgate writes a Unix socket"),
            format!("did you mean `\"unix:/{path}\"`?"),
        ));
    }
    Ok(text.strip_prefix(UNIX))
}

fn socket(text: &str) -> Result<AppUrl, ValueFault> {
    AppUrl::parse_socket(text)
        .map_err(|fault| ValueFault::new(format!("the URL {fault}"), SOCKET_HELP))
}

/// Converts a URL of the parsers that accept `http` and `https` only.
pub(super) fn of_uri(uri: &http::Uri) -> Result<AppUrl, ValueFault> {
    AppUrl::of_uri(uri).ok_or_else(|| ValueFault::new("the URL is malformed", SOCKET_HELP))
}

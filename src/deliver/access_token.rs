//! Access tokens for a destination, by the client credentials of OAuth 2.0 (RFC 6749, section 4.4).
//!
//! A token is fetched when an attempt first needs one, and again before it expires. One fetch runs at a time: attempts
//! without a valid token wait for it, the others use the token that they have. Tokens live in memory only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::BASE64;
use hookgate_verify::net::redact::MASK;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use memchr::memmem;
use parking_lot::Mutex;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::config::model::{ClientAuthentication, ClientCredentials};
use crate::dispatch::{self, DispatchError};
use crate::model::clock::instant;
use crate::net::client::ConnectionPool;
use crate::net::client::drain::BodyEnding;

/// Longest duration of a fetch.
pub(super) const FETCH_LIMIT: Duration = Duration::from_secs(10);

/// Most bytes of a token response. Tokens with many claims have a few KiB.
const MAX_RESPONSE: usize = 64 * 1024;

/// Longest access token: it becomes a header, and servers take few headers of more than 8 KiB.
const MAX_TOKEN: usize = 16 * 1024;

/// Lifetime of a token whose response does not state one.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// Longest lifetime that is believed.
const MAX_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Time before its end at which a token counts as expired, since a request takes time and clocks differ.
const MARGIN: Duration = Duration::from_secs(5);

/// Pause between two fetches after one that failed, and age from which a token that the destination rejects is dropped.
/// Otherwise each attempt of a busy destination would ask the token server.
const PAUSE: Duration = Duration::from_secs(5);

/// Why there is no token for an attempt. The texts contain nothing that the server could have copied from the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TokenError {
    /// The token server could not be reached, or sent no response.
    #[error("the token server did not respond: {0}")]
    Exchange(Arc<str>),
    /// The token server did not respond in time.
    #[error("the token server did not respond within 10 s")]
    Deadline,
    /// The token server refused the client.
    #[error("the token server responded with status {status}{code}")]
    Refused {
        /// Status of the response.
        status: u16,
        /// The `error` of the response, behind a colon.
        code: Arc<str>,
    },
    /// The response is no token response.
    #[error("the token server's response is not usable: {0}")]
    Unusable(&'static str),
}

/// A token for one attempt.
#[derive(Clone)]
pub(super) struct AccessToken {
    /// Value of the header `Authorization`.
    pub(super) header: HeaderValue,
    refresh_at: Instant,
    expires_at: Instant,
    fetched_at: Instant,
    /// Distinguishes tokens, so that a rejection of an old one drops no new one.
    number: u64,
}

/// Source of the tokens of one destination.
pub(super) struct TokenSource {
    pool: Arc<ConnectionPool>,
    uri: Uri,
    host: HeaderValue,
    credentials: ClientCredentials,
    held: Mutex<HeldTokens>,
    /// Held during a fetch.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct HeldTokens {
    token: Option<AccessToken>,
    /// Time and error of the last fetch, if it failed.
    failed: Option<(Instant, TokenError)>,
    count: u64,
}

impl TokenSource {
    /// Creates the source on a pool to the token server. Returns `None` if the host of its URL is no header value.
    pub(super) fn new(pool: Arc<ConnectionPool>, credentials: ClientCredentials) -> Option<Self> {
        let url = &credentials.token_url;
        let host = HeaderValue::from_str(url.origin().host_header()).ok()?;
        let target = url.target().clone();
        Some(Self {
            pool,
            uri: Uri::from(target),
            host,
            credentials,
            held: Mutex::default(),
            fetching: tokio::sync::Mutex::new(()),
        })
    }

    /// Returns a valid token, and fetches one if it is missing or expires soon.
    pub(super) async fn token(&self) -> Result<AccessToken, TokenError> {
        let now = instant();
        let held = self.held.lock().valid(now);
        if let Some(token) = held.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.clone());
        }
        let _fetching = match &held {
            // Another attempt refreshes the token already, and this one is still valid.
            Some(token) => match self.fetching.try_lock() {
                Ok(guard) => guard,
                Err(_) => return Ok(token.clone()),
            },
            None => self.fetching.lock().await,
        };
        let now = instant();
        {
            let state = self.held.lock();
            // The attempt before this one in the queue has fetched it.
            if let Some(token) = state.valid(now).filter(|token| now < token.refresh_at) {
                return Ok(token);
            }
            if let Some((at, error)) = &state.failed
                && now.saturating_duration_since(*at) < PAUSE
            {
                return state.valid(now).ok_or_else(|| error.clone());
            }
        }
        let fetched = tokio::time::timeout(FETCH_LIMIT, self.fetch()).await;
        let fetched = fetched.unwrap_or(Err(TokenError::Deadline));
        let mut state = self.held.lock();
        match fetched {
            Ok(mut token) => {
                state.count += 1;
                token.number = state.count;
                state.failed = None;
                state.token = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                state.failed = Some((instant(), error.clone()));
                // A token that still is valid is better than a failure.
                state.valid(instant()).ok_or(error)
            }
        }
    }

    /// Drops a token that the destination rejected with 401, so that the next attempt fetches another one. Several
    /// attempts that used the same token drop it once.
    pub(super) fn reject(&self, used: &AccessToken) {
        let mut state = self.held.lock();
        let is_held = |token: &AccessToken| token.number == used.number;
        // A token that was rejected right after it was fetched would be no better the next time.
        let is_old = instant().saturating_duration_since(used.fetched_at) >= PAUSE;
        if is_old && state.token.as_ref().is_some_and(is_held) {
            state.token = None;
        }
    }

    async fn fetch(&self) -> Result<AccessToken, TokenError> {
        let request = self.request().ok_or(TokenError::Unusable(
            "the credentials contain characters that no request may have",
        ))?;
        // The lifetime counts from here, since the server counts it from some moment before its response.
        let asked_at = instant();
        let sent = dispatch::exchange(&self.pool, request, Duration::ZERO).await;
        let (response, lease) = sent.map_err(|error| exchange_error(&error))?;
        let (head, body) = response.into_parts();
        let drained = lease.drain(body, MAX_RESPONSE, MAX_RESPONSE).await;
        let text = Zeroizing::new(drained.start.to_vec());
        if !head.status.is_success() {
            return Err(TokenError::Refused {
                status: head.status.as_u16(),
                code: error_code(&text),
            });
        }
        match drained.ending {
            BodyEnding::Whole => {}
            BodyEnding::TooLong => return Err(TokenError::Unusable("it is larger than 64 KiB")),
            BodyEnding::Cut => return Err(TokenError::Unusable("it ended early")),
            BodyEnding::Late => return Err(TokenError::Deadline),
        }
        if head.status != StatusCode::OK {
            return Err(TokenError::Unusable("its status is not 200"));
        }
        parse(&text, asked_at)
    }

    fn request(&self) -> Option<Request<Full<Bytes>>> {
        let credentials = &self.credentials;
        let secret = std::str::from_utf8(credentials.client_secret.expose()).ok()?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [
            ("scope", &credentials.scope),
            ("audience", &credentials.audience),
        ] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        match credentials.authentication {
            ClientAuthentication::Basic => {
                // Both parts are encoded before they are joined (RFC 6749, section 2.3.1).
                let encode = |text: &str| -> String {
                    form_urlencoded::byte_serialize(text.as_bytes()).collect()
                };
                let id = encode(&credentials.client_id);
                let pair = Zeroizing::new(format!("{id}:{}", encode(secret)));
                let value = Zeroizing::new(format!("Basic {}", BASE64.encode(pair.as_bytes())));
                let mut value = HeaderValue::from_str(&value).ok()?;
                value.set_sensitive(true);
                headers.insert(AUTHORIZATION, value);
            }
            ClientAuthentication::Post => {
                form.append_pair("client_id", &credentials.client_id);
                form.append_pair("client_secret", secret);
            }
        }
        let body = Zeroizing::new(form.finish().into_bytes());
        // The bytes are overwritten when the request is done with them.
        Some(request.map(|()| Full::new(Bytes::from_owner(body))))
    }
}

impl HeldTokens {
    fn valid(&self, now: Instant) -> Option<AccessToken> {
        self.token
            .as_ref()
            .filter(|token| now < token.expires_at)
            .cloned()
    }
}

impl AccessToken {
    /// Removes the token from the beginning of a response: some apps repeat the headers that they got.
    pub(super) fn mask_in(&self, text: Bytes) -> Bytes {
        let header = self.header.as_bytes();
        let token = header.strip_prefix(b"Bearer ").unwrap_or(header);
        if memmem::find(&text, token).is_none() {
            return text;
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut rest = &text[..];
        while let Some(at) = memmem::find(rest, token) {
            masked.extend_from_slice(rest.get(..at).unwrap_or_default());
            masked.extend_from_slice(MASK.as_bytes());
            rest = rest
                .get(at.saturating_add(token.len())..)
                .unwrap_or_default();
        }
        masked.extend_from_slice(rest);
        masked.into()
    }
}

fn exchange_error(error: &DispatchError) -> TokenError {
    TokenError::Exchange(crate::model::error::chain(error).into())
}

/// Returns the `error` of a response (RFC 6749, section 5.2) behind a colon, if it is one of the words that the RFC
/// allows. Its description may repeat the request, so it is left out.
fn error_code(text: &[u8]) -> Arc<str> {
    let document: Value = serde_json::from_slice(text).unwrap_or_default();
    let code = document.get("error").and_then(Value::as_str);
    let is_word = |code: &&str| {
        code.len() <= 64
            && code
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    code.filter(is_word)
        .map_or_else(|| Arc::from(""), |code| format!(": {code}").into())
}

/// Parses a token response (RFC 6749, section 5.1).
fn parse(text: &[u8], asked_at: Instant) -> Result<AccessToken, TokenError> {
    let document: Value =
        serde_json::from_slice(text).map_err(|_| TokenError::Unusable("it is not JSON"))?;
    let kind = document.get("token_type").and_then(Value::as_str);
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(TokenError::Unusable("its `token_type` is not `Bearer`"));
    }
    let token = document.get("access_token").and_then(Value::as_str);
    let token = token.filter(|token| !token.is_empty());
    let token = token.ok_or(TokenError::Unusable("it has no `access_token`"))?;
    if token.len() > MAX_TOKEN {
        return Err(TokenError::Unusable("its `access_token` is too long"));
    }
    let value = Zeroizing::new(format!("Bearer {token}"));
    // Only what a token may contain (RFC 6750, section 2.1), so that it cannot end the header.
    let is_plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    let header = HeaderValue::from_str(&value).ok().filter(|_| is_plain);
    let mut header = header.ok_or(TokenError::Unusable(
        "its `access_token` contains characters that no header may have",
    ))?;
    header.set_sensitive(true);
    let seconds = match document.get("expires_in") {
        Some(Value::Number(number)) => number.as_u64(),
        // Some servers send the number as text.
        Some(Value::String(text)) => text.parse().ok(),
        _ => None,
    };
    let lifetime = seconds.map_or(DEFAULT_LIFETIME, Duration::from_secs);
    let lifetime = lifetime.min(MAX_LIFETIME);
    Ok(AccessToken {
        header,
        // Four fifths of the lifetime, so that a token server that is away for a while delays nothing.
        refresh_at: asked_at + lifetime * 4 / 5,
        expires_at: asked_at + lifetime.saturating_sub(MARGIN.min(lifetime / 2)),
        fetched_at: asked_at,
        number: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<AccessToken, TokenError> {
        parse(text.as_bytes(), instant())
    }

    fn fault(text: &str) -> String {
        match parsed(text) {
            Ok(_) => "a token".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    // Fails when a response that is no token response gives a header.
    #[test]
    fn only_a_token_response_gives_a_token() {
        let token = parsed(r#"{"access_token":"abc.def","token_type":"bearer","expires_in":100}"#);
        let token = token.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(token.header, "Bearer abc.def");
        assert!(token.header.is_sensitive());
        let life = |token: &AccessToken| token.expires_at - token.fetched_at;
        assert_eq!(life(&token), Duration::from_secs(95));
        assert_eq!(token.refresh_at - token.fetched_at, Duration::from_secs(80));
        let text = r#"{"access_token":"a","token_type":"Bearer","expires_in":"3600"}"#;
        assert_eq!(life(&parsed(text).ok().unwrap()), Duration::from_secs(3595));
        let text = r#"{"access_token":"a","token_type":"Bearer"}"#;
        assert_eq!(life(&parsed(text).ok().unwrap()), Duration::from_secs(295));
        for (text, part) in [
            ("<html>", "not JSON"),
            (r#"{"access_token":"a","token_type":"mac"}"#, "not `Bearer`"),
            (r#"{"token_type":"Bearer"}"#, "no `access_token`"),
            (
                r#"{"access_token":"","token_type":"Bearer"}"#,
                "no `access_token`",
            ),
            (
                r#"{"access_token":"a\r\nX: y","token_type":"Bearer"}"#,
                "characters",
            ),
            (
                r#"{"access_token":"a b","token_type":"Bearer"}"#,
                "characters",
            ),
        ] {
            assert!(fault(text).contains(part), "{text}: {}", fault(text));
        }
    }

    #[test]
    fn an_error_is_a_word_or_left_out() {
        let code = |text: &str| error_code(text.as_bytes()).to_string();
        assert_eq!(code(r#"{"error":"invalid_client"}"#), ": invalid_client");
        assert_eq!(code(r#"{"error":"s3cret Value"}"#), "");
        assert_eq!(code("no"), "");
    }

    // Fails when an app that repeats its headers gets a token into the store.
    #[test]
    fn a_response_that_repeats_the_token_is_masked() {
        let text = r#"{"access_token":"tok.en","token_type":"Bearer"}"#;
        let token = parsed(text).ok().unwrap();
        let masked = token.mask_in(Bytes::from_static(b"got Bearer tok.en, tok.en!"));
        assert_eq!(&masked[..], b"got Bearer ***, ***!");
        let other = Bytes::from_static(b"nothing");
        assert_eq!(token.mask_in(other.clone()), other);
    }
}

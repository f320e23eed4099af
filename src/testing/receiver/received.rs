//! A request that the receiver has recorded.

use std::net::SocketAddr;

use data_encoding::BASE64;
use serde_json::{Value, json};

use crate::net::request_file::{self, RequestFile};

/// Request as the receiver got it.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    /// Number of the request, counted from 0.
    pub number: u64,
    /// Time of arrival in milliseconds since the epoch.
    pub unix_ms: i64,
    /// Address of the client.
    pub source: SocketAddr,
    /// Method, target, headers and body.
    pub request: RequestFile,
    /// Result of the verification; `None` without a judge.
    pub verdict: Option<Result<String, String>>,
    /// Response that was sent, in a few words.
    pub answer: String,
}

impl ReceivedRequest {
    /// Builds the JSON document of the request.
    #[must_use]
    pub fn document(&self) -> Value {
        let request = &self.request;
        let headers = request.headers.iter();
        let headers = headers.map(|(name, value)| json!([name, String::from_utf8_lossy(value)]));
        // JSON has no bytes: a body that is not UTF-8 goes into a field of its own.
        let (body, base64) = match std::str::from_utf8(&request.body) {
            Ok(text) => (Some(text), None),
            Err(_) => (None, Some(BASE64.encode(&request.body))),
        };
        let verdict = self.verdict.as_ref();
        json!({
            "number": self.number,
            "received": request.fact(request_file::RECEIVED),
            "source": self.source.to_string(),
            "method": request.method.as_str(),
            "target": request.target,
            "headers": headers.collect::<Vec<_>>(),
            "body": body,
            "body_base64": base64,
            "verified": verdict.map(Result::is_ok),
            "verdict": verdict.map(|verdict| match verdict { Ok(text) | Err(text) => text }),
            "answer": self.answer,
        })
    }
}

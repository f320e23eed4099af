//! The parts of a request head that schemes read.

use http::{HeaderMap, Method, Uri};

/// The parts of a request head that schemes read.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Method of the request line.
    pub method: &'a Method,
    /// Target of the request line, unchanged.
    pub uri: &'a Uri,
    /// Headers of the request, unchanged.
    pub headers: &'a HeaderMap,
}

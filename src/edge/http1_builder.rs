//! Settings of HTTP/1 connections.

use hyper::server::conn::http1::Builder;

/// Minimum size of hyper's buffer. A head of `max_header_size` must also fit.
pub(crate) const LEAST_BUFFER: usize = 64 * 1024;

/// Returns hyper's settings for HTTP/1. Its own timeout for heads is off, since the guard has that deadline.
pub(super) fn builder(max_header_size: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .header_read_timeout(None)
        .max_buf_size(max_header_size.saturating_add(8192).max(LEAST_BUFFER))
        .half_close(false)
        .keep_alive(true)
        .pipeline_flush(false);
    builder
}

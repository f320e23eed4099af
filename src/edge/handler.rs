//! The handler that the listeners pass requests to.

use http::Request;
use hyper::body::Incoming;

use crate::model::source::RequestSource;
use crate::net::response::HttpResponse;

/// The handler of requests: a cloneable function from request and source to a future response.
pub(crate) trait RequestHandler: Clone + Send + Sync + 'static {
    /// The future of the response.
    type Future: Future<Output = HttpResponse> + Send + 'static;

    /// Handles one request and returns its response.
    fn answer(&self, request: Request<Incoming>, source: RequestSource) -> Self::Future;
}

impl<H, F> RequestHandler for H
where
    H: Fn(Request<Incoming>, RequestSource) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = HttpResponse> + Send + 'static,
{
    type Future = F;

    fn answer(&self, request: Request<Incoming>, source: RequestSource) -> F {
        self(request, source)
    }
}

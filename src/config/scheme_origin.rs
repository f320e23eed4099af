//! The origin of a route's scheme: a provider, or the route itself.

use std::sync::Arc;

use hookgate_verify::document::TextSpan;
use hookgate_verify::providers::Provider;
use hookgate_verify::scheme::spec::SchemeSpec;

/// The scheme of a route and its source: a provider, or the route itself.
pub(super) struct SchemeOrigin {
    pub(super) provider: Option<Arc<Provider>>,
    pub(super) spec: SchemeSpec,
    pub(super) span: TextSpan,
}

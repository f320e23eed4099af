//! The origin of a route's scheme: a provider, or the route itself.

use std::sync::Arc;

use crate::document::TextSpan;
use crate::providers::Provider;
use crate::scheme::spec::SchemeSpec;

/// The scheme of a route and its source: a provider, or the route itself.
pub(super) struct SchemeOrigin {
    pub(super) provider: Option<Arc<Provider>>,
    pub(super) spec: SchemeSpec,
    pub(super) span: TextSpan,
}

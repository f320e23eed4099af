//! Finds the resource of a request before its handler runs.
//!
//! The audit log needs the name of an operation even for a request that no handler sees.

use http::Method;

use crate::admin::api_resource::ApiResource;
use crate::admin::resources::all_resources;

/// The resource and the target of a request.
#[derive(Clone, Debug)]
pub(super) struct RequestedOperation {
    /// Row in the list of resources.
    pub(super) resource: &'static ApiResource,
    /// Values of the path parameters, joined by slashes.
    pub(super) target: String,
}

/// Finds the resource of a request.
///
/// If several paths match, the one with the most fixed segments wins: `/deliveries/retry` names no delivery.
pub(super) fn find(method: &Method, path: &str) -> Option<RequestedOperation> {
    let fitting = all_resources()
        .iter()
        .filter(|resource| resource.method() == *method && matches(resource.path, path));
    let resource = fitting.max_by_key(|resource| {
        let segments = resource.path.split('/');
        segments.filter(|segment| !is_parameter(segment)).count()
    })?;
    // The parameters are what the operation is about, such as a route and a destination.
    let pairs = resource.path.split('/').zip(path.split('/'));
    let named = pairs.filter(|(wanted, _)| is_parameter(wanted));
    let named: Vec<&str> = named.map(|(_, found)| found).collect();
    Some(RequestedOperation {
        resource,
        target: named.join("/"),
    })
}

/// Returns true if a path has the segments of a resource's path. A parameter matches any segment.
fn matches(wanted: &str, path: &str) -> bool {
    let mut pairs = wanted.split('/').zip(path.split('/'));
    let is_as_long = wanted.split('/').count() == path.split('/').count();
    is_as_long && pairs.all(|(wanted, found)| is_parameter(wanted) || wanted == found)
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

//! Table of the API's operations, to name a request before its handler runs.
//!
//! The audit log needs the name of an operation even for a request that no handler sees. The table comes from the
//! OpenAPI document, so names in the log and in the document are the same.

use http::Method;
use utoipa::openapi::{OpenApi, PathItem};

/// All operations of the OpenAPI document.
#[derive(Clone, Debug, Default)]
pub(super) struct OperationTable(Vec<ApiOperation>);

#[derive(Clone, Debug)]
struct ApiOperation {
    method: Method,
    id: String,
    /// The segments of its path; a parameter is `None`.
    segments: Vec<Option<String>>,
}

/// The operation and the target of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct RequestedOperation {
    /// The `operationId` in the OpenAPI document.
    pub(super) operation: String,
    /// Values of the path parameters, joined by slashes.
    pub(super) target: String,
}

impl OperationTable {
    /// Reads the operations of a document. Operations without an id are left out.
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut operations = Vec::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in methods(item) {
                let Some(id) = operation.and_then(|operation| operation.operation_id.clone())
                else {
                    continue;
                };
                // `{id}` and other parameters become `None`, which matches any segment.
                let segment =
                    |segment: &str| (!segment.starts_with('{')).then(|| segment.to_owned());
                operations.push(ApiOperation {
                    method,
                    id,
                    segments: path.split('/').map(segment).collect(),
                });
            }
        }
        Self(operations)
    }

    /// Finds the operation of a request.
    ///
    /// If several paths match, the one with the most fixed segments wins: `/deliveries/retry` names no delivery.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<RequestedOperation> {
        let found: Vec<&str> = path.split('/').collect();
        let fitting = self.0.iter().filter(|operation| {
            let mut pairs = operation.segments.iter().zip(&found);
            operation.method == *method
                && operation.segments.len() == found.len()
                && pairs.all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted == found))
        });
        let operation =
            fitting.max_by_key(|operation| operation.segments.iter().flatten().count())?;
        // The parameters are what the operation is about, such as a route and a destination.
        let pairs = operation.segments.iter().zip(&found);
        let named = pairs.filter(|(wanted, _)| wanted.is_none());
        let named: Vec<&str> = named.map(|(_, found)| *found).collect();
        Some(RequestedOperation {
            operation: operation.id.clone(),
            target: named.join("/"),
        })
    }
}

fn methods(item: &PathItem) -> [(Method, Option<&utoipa::openapi::path::Operation>); 4] {
    [
        (Method::GET, item.get.as_ref()),
        (Method::POST, item.post.as_ref()),
        (Method::PUT, item.put.as_ref()),
        (Method::DELETE, item.delete.as_ref()),
    ]
}

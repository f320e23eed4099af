//! The operations of the API by method and path, as its document has them: what a request asks for, before a handler runs.

use http::Method;
use utoipa::openapi::{OpenApi, PathItem};

/// All of them.
#[derive(Clone, Debug, Default)]
pub(super) struct Operations(Vec<Operation>);

#[derive(Clone, Debug)]
struct Operation {
    method: Method,
    id: String,
    /// The segments of its path; none: any.
    segments: Vec<Option<String>>,
}

/// What a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Asked {
    /// The `operationId`.
    pub(super) operation: String,
    /// What the path names, joined by slashes.
    pub(super) target: String,
}

impl Operations {
    pub(super) fn of(document: &OpenApi) -> Self {
        let mut operations = Vec::new();
        for (path, item) in &document.paths.paths {
            for (method, operation) in methods(item) {
                let Some(id) = operation.and_then(|operation| operation.operation_id.clone())
                else {
                    continue;
                };
                let segment =
                    |segment: &str| (!segment.starts_with('{')).then(|| segment.to_owned());
                operations.push(Operation {
                    method,
                    id,
                    segments: path.split('/').map(segment).collect(),
                });
            }
        }
        Self(operations)
    }

    /// Where several fit, the one that names most: `/deliveries/retry` is no delivery.
    pub(super) fn find(&self, method: &Method, path: &str) -> Option<Asked> {
        let found: Vec<&str> = path.split('/').collect();
        let fitting = self.0.iter().filter(|operation| {
            let mut pairs = operation.segments.iter().zip(&found);
            operation.method == *method
                && operation.segments.len() == found.len()
                && pairs.all(|(wanted, found)| wanted.as_ref().is_none_or(|wanted| wanted == found))
        });
        let operation =
            fitting.max_by_key(|operation| operation.segments.iter().flatten().count())?;
        let pairs = operation.segments.iter().zip(&found);
        let named = pairs.filter(|(wanted, _)| wanted.is_none());
        let named: Vec<&str> = named.map(|(_, found)| *found).collect();
        Some(Asked {
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

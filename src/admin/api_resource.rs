//! A resource of the admin API: its path, its handler and the role that it needs.

use axum::Extension;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::IntoResponse;
use http::{Method, StatusCode};
use utoipa::openapi::path::Paths;
use utoipa::openapi::{ContentBuilder, HttpMethod, Ref, Response, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::admin::access::{AdminCaller, AdminRole};
use crate::admin::caller_store::need_payload;
use crate::admin::caller_view::{ApiState, need_whole_gate};
use crate::admin::documents::ProblemDocument;
use crate::admin::path::segment;
use crate::admin::problem::AdminProblem;

/// Handler of a resource, with the description that its `utoipa::path` attribute makes.
type ResourceHandler = fn() -> UtoipaMethodRouter<ApiState>;

/// Row of the list of resources.
#[derive(Debug)]
pub struct ApiResource {
    /// Name of the operation: the `operationId` in the OpenAPI document, and the action in the audit log.
    pub operation: &'static str,
    /// Tag that groups the operations of the document.
    pub tag: &'static str,
    /// Path with parameters in braces.
    pub path: &'static str,
    /// Role that a client needs.
    pub role: AdminRole,
    /// True if a token that is limited to routes is refused.
    pub needs_whole_gate: bool,
    /// True if a token without `payload` is refused.
    pub needs_payload: bool,
    is_change: bool,
    is_audited: bool,
    handler: ResourceHandler,
}

/// Builds a resource that a viewer may read.
pub(super) const fn read(
    handler: ResourceHandler,
    operation: &'static str,
    tag: &'static str,
    path: &'static str,
) -> ApiResource {
    ApiResource {
        operation,
        tag,
        path,
        role: AdminRole::Viewer,
        needs_whole_gate: false,
        needs_payload: false,
        is_change: false,
        is_audited: false,
        handler,
    }
}

/// Builds a change, which needs an operator and is always audited.
pub(super) const fn change(
    handler: ResourceHandler,
    operation: &'static str,
    tag: &'static str,
    path: &'static str,
) -> ApiResource {
    ApiResource {
        role: AdminRole::Operator,
        is_change: true,
        is_audited: true,
        ..read(handler, operation, tag, path)
    }
}

impl ApiResource {
    /// Lets only operators read the resource.
    pub(super) const fn for_operators(self) -> Self {
        Self {
            role: AdminRole::Operator,
            ..self
        }
    }

    /// Refuses tokens that are limited to routes, because the resource concerns the gate as a whole.
    pub(super) const fn for_whole_gate(self) -> Self {
        Self {
            needs_whole_gate: true,
            ..self
        }
    }

    /// Refuses tokens that see no payload, because the resource returns what a sender sent.
    pub(super) const fn with_payload(self) -> Self {
        Self {
            needs_payload: true,
            ..self
        }
    }

    /// Audits reads too, because they return what a sender sent and not only data about it.
    pub(super) const fn audited(self) -> Self {
        Self {
            is_audited: true,
            ..self
        }
    }

    /// Returns the method of the resource.
    #[must_use]
    pub fn method(&self) -> Method {
        match self.is_change {
            true => Method::POST,
            false => Method::GET,
        }
    }

    /// Returns true if the audit log records requests for the resource.
    pub(super) fn is_audited(&self) -> bool {
        self.is_audited
    }

    /// Returns the path with these values for its parameters, in their order.
    pub(crate) fn at(&self, values: &[&str]) -> String {
        let mut values = values.iter();
        let filled = self
            .path
            .split('/')
            .map(|part| match part.starts_with('{') {
                true => values
                    .next()
                    .map_or_else(String::new, |value| segment(value)),
                false => part.to_owned(),
            });
        filled.collect::<Vec<_>>().join("/")
    }

    /// Returns the handler behind the check of the role, with its description for the document.
    ///
    /// A handler whose attribute has another method than the row is not mounted.
    pub(super) fn routes(&self) -> UtoipaMethodRouter<ApiState> {
        let (mut schemas, mut described, router) = (self.handler)();
        let mut paths = Paths::new();
        // The attribute of a handler has no path, no tag and no id: this row has them.
        let item = described.paths.remove("").unwrap_or_default();
        let (method, operation) = match self.is_change {
            true => (HttpMethod::Post, item.post),
            false => (HttpMethod::Get, item.get),
        };
        if let Some(mut operation) = operation {
            operation.operation_id = Some(self.operation.to_owned());
            operation.tags = Some(vec![self.tag.to_owned()]);
            let responses = &mut operation.responses.responses;
            responses.insert("default".to_owned(), problem_response().into());
            schemas.push((
                ProblemDocument::name().into_owned(),
                ProblemDocument::schema(),
            ));
            paths.add_path_operation(self.path, vec![method], operation);
        }
        let (role, needs_whole_gate) = (self.role, self.needs_whole_gate);
        let needs_payload = self.needs_payload;
        let check = move |Extension(who): Extension<AdminCaller>, request: Request, next: Next| async move {
            // The handlers of such rows cannot run for other callers either: their arguments do not exist then. Here
            // every one of them gets the same response before its parameters are read.
            let allowed = need_role(&who, role)
                .and_then(|()| match needs_whole_gate {
                    true => need_whole_gate(&who),
                    false => Ok(()),
                })
                .and_then(|()| match needs_payload {
                    true => need_payload(who.payload),
                    false => Ok(()),
                });
            match allowed {
                Ok(()) => next.run(request).await,
                Err(problem) => problem.into_response(),
            }
        };
        (schemas, paths, router.route_layer(from_fn(check)))
    }
}

/// Describes the response that every resource has for errors.
fn problem_response() -> Response {
    let schema = Ref::from_schema_name(ProblemDocument::name());
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().content("application/problem+json", content);
    response.build()
}

/// Rejects a client whose role is not enough.
pub(super) fn need_role(who: &AdminCaller, role: AdminRole) -> Result<(), AdminProblem> {
    if role == AdminRole::Viewer || who.is_operator() {
        return Ok(());
    }
    Err(AdminProblem::new(
        StatusCode::FORBIDDEN,
        format!(
            "the token `{}` has the role `viewer`, and this needs `operator` (`role` in `[[admin.tokens]]`)",
            who.name
        ),
    ))
}

//! Checks the body of a verified event against the route's schemas.
//!
//! Every schema applies whose pattern matches the event type, or the type of one event of a batch, in any order. The
//! body is parsed once, and only if a schema applies. A body that is not unambiguous JSON does not match.

use crate::config::model::{Route, SchemaRule};
use crate::criteria::body::JsonBody;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;

/// The schemas of one route.
pub(super) struct RouteSchemas {
    by_type: Vec<SchemaRule>,
}

impl RouteSchemas {
    pub(super) fn compile(route: &Route) -> Self {
        Self {
            by_type: route.schemas.clone(),
        }
    }

    /// Rejects a body that does not match an applicable schema.
    pub(super) fn check(&self, verdict: &Verdict, body: &JsonBody<'_>) -> Result<(), Reject> {
        let mut wanted = Vec::new();
        for rule in &self.by_type {
            // A list that is cut may lack a type that the schema applies to.
            let mut is_meant = verdict.types.is_cut();
            for event_type in verdict.types.each(verdict.event_type.as_deref()) {
                is_meant |= match event_type {
                    Some(event_type) => rule.pattern.matches(event_type),
                    None if rule.pattern.is_any() || is_meant => true,
                    // The unknown type might be one that this schema applies to.
                    None => return Err(Reject::MissingType),
                };
            }
            if is_meant {
                wanted.push(&rule.schema);
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let value = body.value().map_err(|fault| Reject::NotJson { fault })?;
        for schema in wanted {
            let misfits = schema.misfits(value);
            if !misfits.is_empty() {
                return Err(Reject::Schema {
                    misfits: misfits.into(),
                });
            }
        }
        Ok(())
    }
}

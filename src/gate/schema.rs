//! Whether the body of a verified event is what the route's schemas ask for.
//!
//! Each schema whose pattern matches the event type, or that of one event of a batch, counts, whatever the order. The body is parsed only where one does,
//! and once. A body that cannot be parsed for certain does not fit.

use std::sync::Arc;

use crate::config::model::Route;
use crate::criteria::body::JsonBody;
use crate::criteria::schema::Schema;
use crate::gate::reject::Reject;
use crate::gate::verdict::Verdict;
use crate::model::glob::Glob;

/// The schemas of one route.
pub(super) struct Schemas {
    by_type: Vec<(Glob, Arc<Schema>)>,
}

impl Schemas {
    pub(super) fn compile(route: &Route) -> Self {
        Self {
            by_type: route.schemas.clone(),
        }
    }

    /// Refuses what does not fit.
    pub(super) fn check(&self, verdict: &Verdict, body: &JsonBody<'_>) -> Result<(), Reject> {
        let mut wanted = Vec::new();
        for (glob, schema) in &self.by_type {
            let mut is_meant = verdict.types.is_cut();
            for event_type in verdict.types.each(verdict.event_type.as_deref()) {
                is_meant |= match event_type {
                    Some(event_type) => glob.matches(event_type),
                    None if glob.is_any() || is_meant => true,
                    None => return Err(Reject::MissingType),
                };
            }
            if is_meant {
                wanted.push(schema);
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

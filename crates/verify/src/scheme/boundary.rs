//! Boundary rules: reject verified requests whose signed text could also be another request.
//!
//! A signature covers a text, not the values in it. If a value may contain the delimiter that follows it, or if no
//! delimiter follows, a captured request can be cut at another position: the same text, with another id, time or body.
//! And with a plain digest of secret and text, one signature can be extended to a longer text. The template alone shows
//! these openings, so every scheme is covered. The check runs after the signature, in linear time.
//!
//! One kind of text stays open: a sender that joins the names and values of a form with nothing in between. Every genuine
//! request has other readings then. `text/compose.rs` rejects the readings that no sender writes.

mod finder;
mod rule;

use crate::scheme::boundary::finder::{BoundaryFinder, listing};
use crate::scheme::boundary::rule::{BodyStart, HeaderListing, ValueRule, is_text};
use crate::scheme::head::RequestHead;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::spec::{SchemeLocation, SchemeSpec};
use crate::scheme::whole_request::{JsonPointers, WholeRequest};

/// Rules for the requests of one scheme, so that a signed text has only one reading.
pub struct BoundaryRules {
    values: Box<[ValueRule]>,
    /// The template does not delimit the body, so the body must be complete in itself.
    needs_whole_body: bool,
    /// The scheme allows length extension, so the body must not contain bytes of a digest's padding.
    needs_text: bool,
    /// Beginning of a body that could be the end of an id or a time.
    body_start: Option<BodyStart>,
    /// Header that lists the signed headers, with those that it must contain.
    listing: Option<HeaderListing>,
    pointers: JsonPointers,
}

/// Returns whether a plain digest can be extended, because more than the secret follows the secret.
pub fn is_extendable(spec: &SchemeSpec) -> bool {
    let template = spec.template();
    template.is_some_and(|template| BoundaryFinder::new(spec, template).is_extendable())
}

impl BoundaryRules {
    /// Derives the rules from the template of a scheme.
    pub fn compile(spec: &SchemeSpec) -> Self {
        let found = spec
            .template()
            .map(|template| BoundaryFinder::new(spec, template));
        let values = found.as_ref().map_or_else(Vec::new, BoundaryFinder::values);
        let pointers = values.iter().filter_map(|rule| match &rule.location {
            SchemeLocation::Json(pointer) => Some(pointer.clone()),
            _ => None,
        });
        Self {
            pointers: JsonPointers::new(pointers.collect()),
            values: values.into(),
            needs_whole_body: found.as_ref().is_some_and(BoundaryFinder::needs_whole_body),
            needs_text: found.as_ref().is_some_and(BoundaryFinder::is_extendable),
            body_start: found.as_ref().and_then(BoundaryFinder::body_start),
            listing: spec.template().and_then(|template| listing(spec, template)),
        }
    }

    /// Returns whether no request of the scheme has a second reading.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
            && !self.needs_whole_body
            && self.body_start.is_none()
            && self.listing.is_none()
    }

    /// Rejects a verified request whose signed text has a second reading. `id` is the signed event id; empty if the
    /// scheme reads no id there.
    ///
    /// # Errors
    /// Names the value whose end is ambiguous.
    pub fn check(
        &self,
        head: &RequestHead<'_>,
        id: &[u8],
        body: &[u8],
    ) -> Result<(), MaterialFault> {
        match self.values.as_ref() {
            [] => {}
            // Every request of Standard Webhooks comes here, so its id is not looked up a second time.
            [rule] if rule.is_id && !id.is_empty() => rule.check_value(id)?,
            rules => {
                let whole = WholeRequest::new(*head, body, &self.pointers);
                rules.iter().try_for_each(|rule| rule.check(&whole))?;
            }
        }
        if let Some(listing) = &self.listing {
            listing.check(head)?;
        }
        if self
            .body_start
            .as_ref()
            .is_some_and(|start| start.is_at(body))
        {
            let fault = "could be read as an id followed by a time";
            return Err(MaterialFault::malformed("the body", fault));
        }
        // Last, because it may parse the whole body.
        if self.needs_whole_body && !is_whole(body, self.needs_text) {
            let fault = "is neither complete JSON nor plain text: it may be cut off, or extended beyond the signed text";
            return Err(MaterialFault::malformed("the body", fault));
        }
        Ok(())
    }
}

/// Returns whether a body is complete in itself: no proper part of a JSON document passes, and with `needs_text` no
/// bytes of padding pass.
fn is_whole(body: &[u8], needs_text: bool) -> bool {
    // White space around a document does not change it.
    let inner = body.trim_ascii();
    let is_json = |byte: Option<&u8>, ends: &[u8]| byte.is_some_and(|byte| ends.contains(byte));
    if !is_json(inner.first(), b"{[") && !is_json(inner.last(), b"}]") {
        return !needs_text || is_text(body);
    }
    // A document that is only cut off or extended is not valid JSON any more.
    let text = std::str::from_utf8(body);
    text.is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

#[cfg(test)]
mod tests;

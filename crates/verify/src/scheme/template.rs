//! Compiled signed text: checked once, then fed to the MACs before and after the body.

use http::HeaderName;

use crate::scheme::error::SchemeError;
use crate::scheme::head::RequestHead;
use crate::scheme::public_url;
use crate::scheme::spec::{SchemeFamily, SchemeLocation, SchemeSpec, TemplatePart};

/// A template, split at the body.
pub(super) struct SplitTemplate {
    /// Parts in front of the body.
    pub(super) before: Box<[TemplatePart]>,
    /// Parts that follow the body.
    pub(super) after: Box<[TemplatePart]>,
    /// The route's `public_url`, for `{url}`.
    public_url: Box<str>,
    /// Part of the path that a proxy in front removes.
    base_path: Box<str>,
    /// Header that `{id}` means, if the text contains it.
    pub(super) id_header: Option<HeaderName>,
}

/// Values of one request that were read already.
pub(super) struct TemplateValues<'a> {
    /// Timestamp text as it was sent.
    pub(super) timestamp: &'a [u8],
    /// Event id as it was sent.
    pub(super) id: &'a [u8],
}

impl SplitTemplate {
    /// Validates the template of an HMAC spec, and splits it at the body.
    pub(super) fn compile(
        spec: &SchemeSpec,
        public_url: Option<&str>,
    ) -> Result<Self, SchemeError> {
        let SchemeFamily::Hmac(family) = &spec.family else {
            return Err(SchemeError::BodyParts { found: 0 });
        };
        let parts = &family.signed.parts;
        let found = parts
            .iter()
            .filter(|part| **part == TemplatePart::Body)
            .count();
        // The body is fed once, between the two sides.
        if found != 1 {
            return Err(SchemeError::BodyParts { found });
        }
        if !family.signed.is_streamable() || !family.signature.location.is_in_head() {
            return Err(SchemeError::NotStreamable);
        }
        if parts.contains(&TemplatePart::Timestamp) && family.timestamp.is_none() {
            return Err(SchemeError::NoTimestamp);
        }
        if parts.contains(&TemplatePart::Url) && public_url.is_none() {
            return Err(SchemeError::NeedsPublicUrl);
        }
        // A signature cannot be part of the text that it is made from.
        let is_query_signed =
            parts.contains(&TemplatePart::PathQuery) || parts.contains(&TemplatePart::Url);
        if is_query_signed && matches!(family.signature.location, SchemeLocation::Query(_)) {
            return Err(SchemeError::SignatureSignsItself);
        }
        let id_header = spec
            .id_header()
            .filter(|_| parts.contains(&TemplatePart::Id));
        if parts.contains(&TemplatePart::Id) && id_header.is_none() {
            return Err(SchemeError::NoIdHeader);
        }
        let mut sides = parts.split(|part| *part == TemplatePart::Body);
        let mut side = || sides.next().unwrap_or_default().into();
        Ok(Self {
            before: side(),
            after: side(),
            public_url: public_url.unwrap_or_default().into(),
            base_path: public_url.map_or("", public_url::base_path).into(),
            id_header: id_header.cloned(),
        })
    }

    /// Returns the headers that the text contains unchanged.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        let parts = self.before.iter().chain(&self.after);
        parts.filter_map(|part| match part {
            TemplatePart::Header(name) => Some(name),
            _ => None,
        })
    }

    /// Passes the text of each part to `take`, in order.
    pub(super) fn feed(
        &self,
        parts: &[TemplatePart],
        head: &RequestHead<'_>,
        values: &TemplateValues<'_>,
        mut take: impl FnMut(&[u8]),
    ) {
        for part in parts {
            match part {
                TemplatePart::Literal(text) => take(text.as_bytes()),
                TemplatePart::Timestamp => take(values.timestamp),
                TemplatePart::Id => take(values.id),
                TemplatePart::Method => take(head.method.as_str().as_bytes()),
                TemplatePart::Path => {
                    take(self.base_path.as_bytes());
                    take(head.uri.path().as_bytes());
                }
                TemplatePart::PathQuery => {
                    take(self.base_path.as_bytes());
                    feed_path_query(head, &mut take);
                }
                TemplatePart::Url => {
                    take(self.public_url.as_bytes());
                    feed_path_query(head, &mut take);
                }
                // The material check has verified that it occurs exactly once.
                TemplatePart::Header(name) => {
                    if let Some(value) = head.headers.get(name) {
                        take(value.as_bytes());
                    }
                }
                // `compile` has split off the body, and rejects parts that are not in the head.
                _ => {}
            }
        }
    }
}

fn feed_path_query(head: &RequestHead<'_>, take: &mut impl FnMut(&[u8])) {
    take(head.uri.path().as_bytes());
    if let Some(query) = head.uri.query() {
        take(b"?");
        take(query.as_bytes());
    }
}

//! Dedup keys of one request: event identity and digests, and which of them decide.

use std::sync::Arc;

use hookgate_verify::identity::KeyText;
use hookgate_verify::identity::dedup_key::DedupKey;
use hookgate_verify::identity::event_id::EventId;
use hookgate_verify::scheme::locate;
use hookgate_verify::scheme::spec::{
    SchemeFamily, SchemeLocation, SchemeSpec, SignatureComponent, TemplatePart,
};
use http::Uri;
use sha2::{Digest as _, Sha256};

use crate::config::model::{DedupRule, MissingId, PathRule, ReplayRule, Route};
use crate::gate::dedup::DedupKeys;
use crate::gate::event::EventParts;
use crate::gate::reject::Reject;

/// The rule by which the dedup keys of one route's events are made.
pub(super) struct KeyRule {
    binds_body: bool,
    by_body: bool,
    missing_id: MissingId,
    pub(super) replay: ReplayRule,
    has_key: bool,
    /// True for a prefix route, whose path distinguishes bots, shops or tenants.
    is_prefix: bool,
    /// True if the digest of the signed bytes is equal in a retry and covers the whole body.
    is_digest_stable: bool,
    /// True if the signed text contains the URL, whose query may distinguish two events.
    signs_url: bool,
    /// The location of the time of sending in a signed JSON body, if the sender writes it there.
    time: Option<Box<[String]>>,
    /// Description of the key, for logs.
    words: Arc<str>,
    body_words: Arc<str>,
}

impl KeyRule {
    /// Compiles the rule; `None` where the route has no dedup.
    pub(super) fn compile(route: &Route) -> Option<Self> {
        let dedup: &DedupRule = route.dedup.as_ref()?;
        Some(Self {
            binds_body: dedup.binds_body,
            by_body: dedup.by_body,
            missing_id: dedup.missing_id,
            replay: dedup.replay,
            has_key: !dedup.key.is_nothing(),
            is_prefix: matches!(route.path, PathRule::Prefix(_)),
            is_digest_stable: is_digest_stable(&route.scheme),
            signs_url: signs_url(&route.scheme),
            time: time_in_body(&route.scheme),
            words: describe(dedup, &route.path).into(),
            body_words: "the digest of the signed bytes".into(),
        })
    }

    /// Returns the keys under which an event is claimed, or `None` if it is forwarded without dedup. `digest` is the
    /// digest of the signed bytes.
    pub(super) fn keys(
        &self,
        text: &KeyText,
        request: &EventParts,
        digest: &[u8; 32],
    ) -> Result<Option<DedupKeys>, Reject> {
        let id = self.identity_key(text, request, digest);
        // A route whose key is `nothing` has no id to miss.
        let is_missing = id.is_none() && self.has_key;
        let by_body = match self.missing_id {
            MissingId::Reject if is_missing => return Err(Reject::MissingId),
            MissingId::Body if is_missing => true,
            _ => self.by_body,
        };
        let bytes = DedupKey::of_digest(digest);
        let keys = DedupKeys {
            id,
            body: by_body.then_some(bytes),
            // Bytes that already make a duplicate cannot show a replay.
            watched: (self.replay != ReplayRule::Off && !by_body).then_some(bytes),
        };
        Ok((!keys.is_empty()).then_some(keys))
    }

    /// Returns the keys of one event of a batch that an app posts to a local route. They equal the keys of the same event
    /// posted alone, so that an app may send it again in either form.
    pub(super) fn keys_in_batch(
        &self,
        event_id: &EventId,
        batch: &EventParts,
    ) -> Option<DedupKeys> {
        let text = match self.has_key {
            true => KeyText::One(DedupKey::of_id(event_id.as_str())),
            false => KeyText::Absent,
        };
        let id = self.identity_key(&text, batch, &batch.digest)?;
        Some(DedupKeys {
            id: Some(id),
            ..DedupKeys::default()
        })
    }

    /// Returns a description of the request parts that the deciding key is made of, for logs.
    pub(super) fn describe(&self, keys: &DedupKeys) -> Arc<str> {
        match keys.id {
            Some(_) => Arc::clone(&self.words),
            None => Arc::clone(&self.body_words),
        }
    }

    fn identity_key(
        &self,
        text: &KeyText,
        request: &EventParts,
        digest: &[u8; 32],
    ) -> Option<DedupKey> {
        let parts = match text {
            KeyText::Absent => return None,
            // The common case: one signed id. Its key must not change, since stores hold keys of earlier versions.
            KeyText::One(key) if !self.binds_body && !self.is_prefix => return Some(*key),
            KeyText::One(key) if !self.is_prefix => {
                let body = DedupKey::of_digest(&self.body_digest(request, digest));
                return Some(key.joined(body));
            }
            KeyText::One(key) => vec![key.to_bytes().to_vec()],
            KeyText::Parts(texts) => {
                // The signed bytes include their timestamp: two events at two times may have the same body.
                let bytes = |text: &Option<Box<str>>| match text {
                    Some(text) => text.as_bytes().to_vec(),
                    None => digest.to_vec(),
                };
                texts.iter().map(bytes).collect::<Vec<Vec<u8>>>()
            }
        };
        let body = self.binds_body.then(|| self.body_digest(request, digest));
        let path = self.is_prefix.then(|| request.uri.path().as_bytes());
        let parts = parts.iter().map(Vec::as_slice);
        let body = body.iter().map(|digest| &digest[..]);
        // The length of each part is hashed too, so that a path cannot imitate an id.
        Some(DedupKey::of_parts(parts.chain(body).chain(path)))
    }

    /// Returns a digest of the body that is equal in a retry: the digest of the signed bytes, or of the body alone if a
    /// timestamp is signed with it. A timestamp inside the body is left out.
    fn body_digest(&self, request: &EventParts, digest: &[u8; 32]) -> [u8; 32] {
        if self.is_digest_stable {
            return *digest;
        }
        let mut hash = Sha256::new();
        if self.signs_url {
            hash.update(target(&request.uri));
            hash.update([0]);
        }
        let text = request.text();
        let time = self.time.as_deref();
        let time = time.and_then(|pointer| locate::find_value(text, pointer));
        match time.and_then(|time| Some((text.get(..time.start)?, text.get(time.end..)?))) {
            // No JSON holds a zero byte, so the place of the value is hashed too.
            Some((before, after)) => hash.update([before, after].join(&0)),
            None => hash.update(text),
        }
        hash.finalize().into()
    }
}

fn describe(dedup: &DedupRule, path: &PathRule) -> String {
    let body = match dedup.binds_body {
        true => " with the digest of the body",
        false => "",
    };
    let path = match path {
        PathRule::Prefix(_) => " with the path",
        PathRule::Exact(_) => "",
    };
    format!("{}{body}{path}", dedup.key)
}

fn target(uri: &Uri) -> &[u8] {
    uri.path_and_query()
        .map_or(&[], |target| target.as_str().as_bytes())
}

fn is_digest_stable(spec: &SchemeSpec) -> bool {
    match &spec.family {
        SchemeFamily::Hmac(_) | SchemeFamily::Text(_) => !spec.is_dated() && spec.signs_body(),
        SchemeFamily::Token(_) => true,
        // `created` and `nonce` are signed and change with each attempt.
        SchemeFamily::Jwt(_) | SchemeFamily::Certificate(_) | SchemeFamily::Http(_) => false,
    }
}

/// A retry is sent at another time, so a time in the body would make each retry an event of its own.
fn time_in_body(spec: &SchemeSpec) -> Option<Box<[String]>> {
    let time = match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        _ => None,
    };
    match &time.filter(|_| spec.signs_body())?.location {
        SchemeLocation::Json(pointer) => Some(pointer.as_slice().into()),
        SchemeLocation::Header(_) | SchemeLocation::Query(_) | SchemeLocation::Form(_) => None,
    }
}

fn signs_url(spec: &SchemeSpec) -> bool {
    if let SchemeFamily::Http(family) = &spec.family {
        return family
            .components
            .iter()
            .any(SignatureComponent::names_target);
    }
    let Some(template) = spec.template() else {
        return false;
    };
    template.any(&|part| {
        matches!(
            part,
            TemplatePart::Url
                | TemplatePart::UrlDecoded
                | TemplatePart::UrlFormSorted
                | TemplatePart::PathQuery
                | TemplatePart::Query(_)
                | TemplatePart::LowerQuery(_)
        )
    })
}

#[cfg(test)]
mod tests {
    use hookgate_verify::document::{SourceText, TomlDocument};
    use hookgate_verify::scheme::parse::parse_spec;

    use super::*;

    /// Fails when two events that differ only in a signed query get one key.
    #[test]
    fn a_signed_query_belongs_to_the_digest() {
        for (part, expected) in [
            ("{url}", true),
            ("{url_decoded}", true),
            ("{url_form_sorted}", true),
            ("{path_query}", true),
            ("{query:a}", true),
            ("{path}", false),
            ("{url_no_query}", false),
        ] {
            let text = format!(
                "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = {{ header = \"X\" }}\nsigned = \"{part}{{body}}\""
            );
            let source = SourceText::new("a.toml", text);
            let document = TomlDocument::parse(&source);
            let spec = parse_spec(&mut document.root()).unwrap();
            assert_eq!(signs_url(&spec), expected, "{part}");
        }
    }
}

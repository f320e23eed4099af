//! Criteria for erasing verdicts and rejected requests from memory.

use std::collections::HashSet;

use hookgate_verify::model::glob::GlobPattern;
use http::header;

use crate::gate::verdict::Verdict;
use crate::model::ids::RequestId;
use crate::record::rejected_requests::RejectedRequest;
use crate::store::content_match::ContentCriterion;
use crate::store::search::EventSearch;

/// Criteria for requests in memory. They follow the search for events as far as a request in memory knows the same.
pub(super) struct MemoryCriteria {
    /// One request.
    pub(super) event: Option<RequestId>,
    /// Pattern for the type; the inner `None` matches no type.
    pub(super) event_type: Option<Option<GlobPattern>>,
    pub(super) search: EventSearch,
    pub(super) content: Option<ContentCriterion>,
}

impl MemoryCriteria {
    /// Returns whether a rejected request has to go.
    pub(super) fn wants_rejected(&self, request: &RejectedRequest) -> bool {
        if self.event == Some(request.verdict.request_id) {
            return true;
        }
        self.wants_metadata(&request.verdict)
            && match &self.content {
                None => true,
                Some(ContentCriterion::Text(text)) => has_text(request, text),
                Some(ContentCriterion::Field(field)) => {
                    let mut headers = request.headers.iter();
                    let kind = headers.find(|(name, _)| *name == header::CONTENT_TYPE);
                    let kind = kind.map_or(&b""[..], |(_, value)| value);
                    field.is_in_body(&request.body, kind)
                }
            }
    }

    /// Returns whether a verdict has to go: its event or its rejected request goes, or it matches by itself.
    pub(super) fn wants_verdict(&self, verdict: &Verdict, gone: &HashSet<RequestId>) -> bool {
        if self.event == Some(verdict.request_id) || gone.contains(&verdict.request_id) {
            return true;
        }
        // A verdict has no content beside the id.
        let is_content = match &self.content {
            None => true,
            Some(ContentCriterion::Text(text)) => {
                let id = verdict.event_id.as_ref().map(ToString::to_string);
                id.is_some_and(|id| contains(id.as_bytes(), text))
            }
            Some(ContentCriterion::Field(_)) => false,
        };
        is_content && self.wants_metadata(verdict)
    }

    fn wants_metadata(&self, verdict: &Verdict) -> bool {
        let search = &self.search;
        // One event was named, or the state of deliveries decides, which requests in memory do not have.
        if self.event.is_some() || search.state.is_some() {
            return false;
        }
        let at_ms = verdict.request_id.unix_ms();
        let route = verdict.route.as_ref();
        let id = verdict.event_id.as_ref().map(ToString::to_string);
        let kind = verdict.event_type.as_deref();
        let is_type = match &self.event_type {
            None => true,
            Some(None) => false,
            Some(Some(pattern)) => kind.is_some_and(|kind| pattern.matches(kind)),
        };
        search
            .route
            .as_ref()
            .is_none_or(|wanted| route == Some(wanted))
            && search.since_ms.is_none_or(|since| at_ms >= since)
            && search.before_ms.is_none_or(|before| at_ms < before)
            && search
                .id
                .as_ref()
                .is_none_or(|wanted| id.as_ref() == Some(wanted))
            && search
                .provider
                .as_deref()
                .is_none_or(|wanted| verdict.provider.as_deref() == Some(wanted))
            && is_type
    }
}

/// Returns whether a rejected request contains a text in its target, headers or body, ignoring case.
fn has_text(request: &RejectedRequest, text: &str) -> bool {
    contains(&request.body, text)
        || contains(request.target.as_bytes(), text)
        || request
            .headers
            .iter()
            .any(|(_, value)| contains(value, text))
}

fn contains(bytes: &[u8], text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    memchr::memmem::find(&bytes.to_ascii_lowercase(), text.as_bytes()).is_some()
}

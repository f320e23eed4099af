//! Signatures of an attempt: Standard Webhooks with the destination's keys, or the sender's own scheme again.
//!
//! Both use the time of the attempt, for apps that verify requests themselves. `webhook-id` is always present and the
//! same for each attempt, so that an app recognizes an event that it has seen.

use std::sync::Arc;

use hookgate_verify::scheme::gzip;
use hookgate_verify::scheme::spec::{GzipText, HeaderFamilies};
use hookgate_verify::scheme::standard_webhooks::{ID, SIGNATURE, SigningKey, TIMESTAMP};
use hookgate_verify::scheme::{RequestHead, Scheme, SignError, ToSign, with_query};
use http::{HeaderMap, HeaderValue, Uri};

use crate::config::model::{DestinationSection, Route};
use crate::deliver::plan_error::PlanError;
use crate::store::rows::StoredEvent;

/// The signing keys of one destination.
pub(super) struct DeliverySigner {
    keys: Vec<Arc<SigningKey>>,
    resigner: Option<SenderResigner>,
    /// True if the sender signs an id under the same header name. That header then keeps the sender's value.
    is_id_taken: bool,
}

/// The sender's scheme with its secrets.
struct SenderResigner {
    scheme: Scheme,
    /// From when and until when each secret is valid, in milliseconds since the epoch.
    terms: Vec<(Option<i64>, Option<i64>)>,
    families: Option<HeaderFamilies>,
    /// True if the sender signs the plain text of bodies that it compresses.
    signs_plain: bool,
}

impl DeliverySigner {
    pub(super) fn new(route: &Route, destination: &DestinationSection) -> Result<Self, PlanError> {
        let resigner = match destination.resign {
            true => Some(SenderResigner::new(route)?),
            false => None,
        };
        Ok(Self {
            keys: destination.secrets.clone(),
            resigner,
            is_id_taken: route.scheme.headers().contains(&ID),
        })
    }

    /// Removes the sender's values of the headers that only the gate may set.
    pub(super) fn clear(&self, headers: &mut HeaderMap) {
        if !self.keys.is_empty() {
            for name in [ID, TIMESTAMP, SIGNATURE] {
                headers.remove(name);
            }
        }
    }

    /// Signs in the sender's scheme, and returns the target, which may contain the signature. `headers` are the sent
    /// headers that are passed on.
    pub(super) fn resign(
        &self,
        event: &StoredEvent,
        body: &[u8],
        headers: &mut HeaderMap,
        target: Uri,
        now_ms: i64,
    ) -> Result<Uri, SignError> {
        let Some(resigner) = &self.resigner else {
            return Ok(target);
        };
        let index = resigner.current(now_ms).ok_or(SignError::NoSecret)?;
        if let Some(families) = &resigner.families {
            families.settle(headers);
        }
        let plain = match resigner.signs_plain {
            true => gzip::plain(body, usize::MAX).ok().flatten(),
            false => None,
        };
        // Signs the request as the app sees it, except for the path: the sender signs the path that it knows.
        let sent: Uri = event.target.parse().map_err(|_| SignError::NoWay)?;
        let to_sign = ToSign {
            head: RequestHead {
                method: &event.method,
                uri: &sent,
                headers,
            },
            unix_ms: now_ms,
            id: event.event_id.as_ref().map(|id| id.as_str()),
            body: plain.as_deref().unwrap_or(body),
        };
        let stamp = resigner.scheme.sign(index, &to_sign)?;
        for (name, value) in stamp.headers {
            let mut value = HeaderValue::from_str(&value).map_err(|_| SignError::NotText)?;
            // Keeps the signature out of debug output and compression tables.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        if stamp.query.is_empty() {
            return Ok(target);
        }
        with_query(&target, &stamp.query).ok_or(SignError::NoWay)
    }

    /// Sets the event id, and signs according to Standard Webhooks if keys are configured.
    pub(super) fn stamp(
        &self,
        webhook_id: &str,
        body: &[u8],
        headers: &mut HeaderMap,
        now_ms: i64,
    ) {
        let put = |headers: &mut HeaderMap, name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        };
        if self.keys.is_empty() {
            if !self.is_id_taken || !headers.contains_key(ID) {
                put(headers, ID, webhook_id);
            }
            return;
        }
        // Standard Webhooks uses whole seconds.
        let timestamp = now_ms.div_euclid(1000).to_string();
        let each = self.keys.iter();
        let signatures: Vec<String> = each
            .filter_map(|key| key.sign(webhook_id, &timestamp, body))
            .collect();
        put(headers, ID, webhook_id);
        put(headers, TIMESTAMP, &timestamp);
        put(headers, SIGNATURE, &signatures.join(" "));
    }
}

impl SenderResigner {
    fn new(route: &Route) -> Result<Self, PlanError> {
        if !route.scheme.can_be_signed() {
            return Err(PlanError::NoResign);
        }
        let secrets: Vec<_> = route.secrets.iter().map(|entry| &entry.secret).collect();
        let scheme = Scheme::compile(&route.scheme, &secrets, route.public_url.as_deref());
        let terms = route.secrets.iter();
        Ok(Self {
            scheme: scheme.map_err(PlanError::Scheme)?,
            terms: terms
                .map(|entry| (entry.not_before_ms, entry.until_ms))
                .collect(),
            families: HeaderFamilies::new(&route.scheme),
            signs_plain: route.scheme.variants.gzip == Some(GzipText::Plain),
        })
    }

    /// Returns the first valid secret, which is the one that an app has if it follows the route.
    fn current(&self, now_ms: i64) -> Option<usize> {
        let mut terms = self.terms.iter();
        terms.position(|(from, until)| {
            from.is_none_or(|from| from <= now_ms) && until.is_none_or(|until| now_ms < until)
        })
    }
}

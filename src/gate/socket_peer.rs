//! Admission of requests that local apps post on a route's Unix socket.
//!
//! The kernel reports the user of the peer, which replaces the signature. All checks after the signature are the same
//! as for other requests.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;
use sha2::{Digest as _, Sha256};

use crate::gate::reject::Reject;
use crate::gate::signature::VerifiedSignature;
use crate::gate::verdict::{GateCheck, Verdict};
use crate::gate::{
    CheckFailure, Gate, GateAdmission, after_signature, body_reject, framing, read_request, stopped,
};
use crate::net::read_body::{BodyHead, BodyLimits, read_body};

impl Gate {
    /// Runs the checks of the route at `index` for a local user. Skips the checks of source address and rate, which a
    /// Unix socket does not have.
    pub(crate) async fn admit_user<B>(
        &self,
        index: usize,
        user: u32,
        request: Request<B>,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let mut head = Some(parts);
        let checked = self.user_checks((index, user), &mut head, body, verdict);
        let checked = checked.await;
        verdict.end();
        match checked {
            Ok(admission) => admission,
            Err(stop) => stopped(stop, head, verdict),
        }
    }

    async fn user_checks<B>(
        &self,
        (index, user): (usize, u32),
        held: &mut Option<Parts>,
        body: B,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, CheckFailure>
    where
        B: Body<Data = Bytes>,
    {
        let parts = held.as_ref().ok_or(Reject::Internal)?;
        let rules = self
            .rules
            .get(index)
            .ok_or_else(|| Reject::no_route("", parts.uri.path()))?;
        verdict.route = Some(rules.route.name.clone());
        verdict.route_index = Some(index);
        verdict.provider = Some(Arc::clone(&rules.provider));

        verdict.begin(GateCheck::Framing);
        let declared = framing::check(&rules.route, parts)?;

        // Before the body: a user without access cannot make the gate read anything.
        verdict.begin(GateCheck::Signature);
        if !rules.admits_user(user) {
            return Err(Reject::UserNotAllowed { user }.into());
        }

        verdict.begin(GateCheck::Body);
        let head = BodyHead {
            declared,
            version: parts.version,
        };
        let limits = BodyLimits {
            max: rules.route.max_body,
            timeout: self.body_timeout,
        };
        let read = read_body(body, head, limits, |_| true).await;
        let body = read.map_err(|fault| body_reject(fault, limits.max))?;
        verdict.body_bytes = body.len() as u64;

        let signed = VerifiedSignature {
            // The user takes the place of the secret's label in the log.
            label: format!("user-{user}").into(),
            // Without a signature, the body itself is what dedup compares.
            digest: Sha256::digest(&body).into(),
            plain: None,
        };
        verdict.secret = Some(Arc::clone(&signed.label));
        let request = read_request(held, body, verdict)?;
        after_signature(rules, request, &signed, verdict).await
    }
}

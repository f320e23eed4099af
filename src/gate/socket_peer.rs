//! Admission of requests that local apps post on a route's Unix socket.
//!
//! The kernel reports the user of the peer, which replaces the signature. All checks after the signature are the same
//! as for other requests.

use std::sync::Arc;

use bytes::Bytes;
use hookgate_verify::signature::VerifiedSignature;
use http::Request;
use http_body::Body;
use sha2::{Digest as _, Sha256};

use crate::gate::admission::GateAdmission;
use crate::gate::admit::{begin_route, finish};
use crate::gate::arrival::ArrivingRequest;
use crate::gate::check::GateCheck;
use crate::gate::framing;
use crate::gate::reject::Reject;
use crate::gate::rules::RouteRules;
use crate::gate::shared::Gate;
use crate::gate::verdict::Verdict;
use crate::net::read_body::BodyHead;

impl Gate {
    /// Runs the checks of a route for a local user. Skips the checks of source address and rate, which a Unix socket does
    /// not have.
    pub(crate) async fn admit_user<B>(
        &self,
        rules: &RouteRules,
        user: u32,
        request: Request<B>,
        verdict: &mut Verdict,
    ) -> GateAdmission
    where
        B: Body<Data = Bytes>,
    {
        begin_route(rules, verdict);
        let mut request = ArrivingRequest::new(request);
        let checked = self.user_checks(rules, user, &mut request, verdict).await;
        finish(checked, rules, request, verdict)
    }

    async fn user_checks<B>(
        &self,
        rules: &RouteRules,
        user: u32,
        request: &mut ArrivingRequest<B>,
        verdict: &mut Verdict,
    ) -> Result<GateAdmission, Reject>
    where
        B: Body<Data = Bytes>,
    {
        verdict.begin(GateCheck::Framing);
        let head = request.head()?;
        let body_head = BodyHead {
            declared: framing::check(&rules.route, head)?,
            version: head.version,
        };

        // Before the body: a user without access cannot make the gate read anything.
        verdict.begin(GateCheck::Signature);
        if !rules.admits_user(user) {
            return Err(Reject::UserNotAllowed { user });
        }

        verdict.begin(GateCheck::Body);
        let limits = self.body_limits(rules);
        let body = request.read(body_head, limits, |_| true, verdict).await?;

        let signed = VerifiedSignature {
            // The user takes the place of the secret's label in the log.
            label: format!("user-{user}").into(),
            // Without a signature, the body itself is what dedup compares.
            digest: Sha256::digest(body).into(),
            plain: None,
        };
        verdict.secret = Some(Arc::clone(&signed.label));
        request.assemble(verdict)?;
        self.after_signature(rules, &mut request.parts, &signed, verdict)
            .await
    }
}

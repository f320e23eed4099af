//! One order: from the request to a certificate that was checked.
//!
//! The order and the key of its certificate are stored before the CA is asked to check anything. A process that dies in
//! between goes on with the same order, so that a crash costs no second certificate.

use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, Identifier, NewOrder,
    Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use crate::acme::account::{add_issuers, local};
use crate::acme::answer::{self, type_of};
use crate::acme::failure::{FailureKind, OrderFailure};
use crate::acme::http::AuthorityHttp;
use crate::acme::persist::PersistRecord;
use crate::acme::records::{
    CertificateRecord, ChallengeRecord, OrderRecord, PrivateKeyPem, RecordKind,
};
use crate::acme::storage::RecordStorage;
use crate::config::model::{AcmeSection, ChallengeKind};
use crate::edge::certificates::{CertificatePair, parse_pair};
use crate::edge::managed::ManagedCertificates;
use crate::model::clock::ClockReading;
use crate::model::error::chain;

/// Polls of an order: often at first, since most CAs need seconds.
const POLLS: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(120));

/// Age after which a stored order is not continued. CAs keep orders for a day or more.
const MAX_AGE_MS: i64 = 20 * 3600 * 1000;

/// An order to run.
pub(super) struct OrderRequest<'a> {
    pub(super) section: &'a AcmeSection,
    pub(super) name: &'a str,
    /// Challenges in the order in which they are tried.
    pub(super) kinds: &'a [ChallengeKind],
    /// The certificate that this one replaces, if the CA has renewal information.
    pub(super) replaces: Option<CertificateIdentifier<'static>>,
    /// An order that an earlier process left.
    pub(super) unfinished: Option<OrderRecord>,
}

/// The parts that an order needs.
pub(super) struct OrderContext<'a> {
    pub(super) account: &'a Account,
    pub(super) http: &'a AuthorityHttp,
    pub(super) storage: &'a RecordStorage,
    pub(super) edge: &'a ManagedCertificates,
    pub(super) now: ClockReading,
}

/// Runs an order to its end, stores the certificate and its key, and returns the pair.
pub(super) async fn run(
    context: &OrderContext<'_>,
    request: &OrderRequest<'_>,
) -> Result<CertificatePair, OrderFailure> {
    let (mut order, record) = match resume(context, request).await? {
        Some(resumed) => resumed,
        None => begin(context, request).await?,
    };
    if order.state().status == OrderStatus::Pending {
        let mut token = None;
        let proven = prove(context, request, &mut order, &mut token).await;
        answer::withdraw(
            request.name,
            token.as_deref(),
            context.edge,
            context.storage,
        )
        .await;
        proven?;
    }
    if order.state().status == OrderStatus::Ready {
        let csr = signing_request(request.name, &record.key)?;
        order.finalize_csr(&csr).await?;
    }
    let chain = order.poll_certificate(&POLLS).await;
    if chain.is_err() && is_rejected(&mut order) {
        forget(context, request).await?;
    }
    let certificate = CertificateRecord {
        directory: request.section.directory.clone(),
        profile: request.section.profile.clone(),
        obtained_ms: context.now.unix_ms,
        chain: chain?,
        key: record.key,
    };
    let pair = parse(&certificate, request.name, context.storage)?;
    let written = context
        .storage
        .put(RecordKind::Certificate, request.name, &certificate);
    written.await.map_err(local)?;
    forget(context, request).await?;
    Ok(pair)
}

/// Parses a certificate, and checks that it is for the name and belongs to its key.
pub(super) fn parse(
    record: &CertificateRecord,
    name: &str,
    storage: &RecordStorage,
) -> Result<CertificatePair, OrderFailure> {
    let path = storage.path(RecordKind::Certificate, name);
    let pair = parse_pair(
        (&path, record.chain.as_bytes()),
        (&path, record.key.expose().as_bytes()),
    );
    let pair = pair.map_err(|error| {
        let text = format!(
            "the CA sent a certificate that cannot be used: {}",
            chain(&error)
        );
        OrderFailure::new(FailureKind::Refused, text)
    })?;
    match pair.info.covers(name) {
        true => Ok(pair),
        false => Err(OrderFailure::new(
            FailureKind::Refused,
            format!("the CA sent a certificate that is not for `{name}`"),
        )),
    }
}

/// Continues the order that an earlier process left, unless it is too old or of other settings.
async fn resume(
    context: &OrderContext<'_>,
    request: &OrderRequest<'_>,
) -> Result<Option<(Order, OrderRecord)>, OrderFailure> {
    let Some(record) = request.unfinished.clone() else {
        return Ok(None);
    };
    let age_ms = context.now.unix_ms.saturating_sub(record.began_ms);
    let is_same = record.directory == request.section.directory
        && record.profile == request.section.profile
        && (0..MAX_AGE_MS).contains(&age_ms);
    if is_same {
        match context.account.order(record.url.clone()).await {
            Ok(mut order) => {
                // The borrow is mutable, which a guard cannot have.
                if !is_rejected(&mut order) {
                    tracing::info!(name = request.name, "an unfinished order is continued");
                    return Ok(Some((order, record)));
                }
            }
            // A CA that is away may still have the order.
            Err(error) => {
                let failure = OrderFailure::from(error);
                if failure.kind == FailureKind::Away {
                    return Err(failure);
                }
            }
        }
    }
    forget(context, request).await?;
    Ok(None)
}

async fn begin(
    context: &OrderContext<'_>,
    request: &OrderRequest<'_>,
) -> Result<(Order, OrderRecord), OrderFailure> {
    let identifiers = [Identifier::Dns(request.name.to_owned())];
    let mut wanted = NewOrder::new(&identifiers);
    if let Some(profile) = &request.section.profile {
        wanted = wanted.profile(profile);
    }
    if let Some(replaces) = &request.replaces {
        wanted = wanted.replaces(replaces.clone());
    }
    let key = KeyPair::generate().map_err(|_| {
        OrderFailure::new(
            FailureKind::Local,
            "cannot create a key for the certificate",
        )
    })?;
    let order = context.account.new_order(&wanted).await?;
    let record = OrderRecord {
        directory: request.section.directory.clone(),
        profile: request.section.profile.clone(),
        url: order.url().to_owned(),
        began_ms: context.now.unix_ms,
        key: PrivateKeyPem::new(key.serialize_pem()),
    };
    // Before anything else: a crash from here on continues this order.
    let written = context
        .storage
        .put(RecordKind::Order, request.name, &record);
    written.await.map_err(local)?;
    Ok((order, record))
}

async fn forget(
    context: &OrderContext<'_>,
    request: &OrderRequest<'_>,
) -> Result<(), OrderFailure> {
    let removed = context.storage.remove(RecordKind::Order, request.name);
    removed.await.map_err(local)
}

/// Answers the challenge of each authorization and waits until the CA has checked it. Returns the token that was
/// published in `token`, also on a failure.
async fn prove(
    context: &OrderContext<'_>,
    request: &OrderRequest<'_>,
    order: &mut Order,
    token: &mut Option<String>,
) -> Result<(), OrderFailure> {
    let mut record_to_set = None;
    let mut authorizations = order.authorizations();
    // One identifier, so there is one authorization.
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            other => {
                forget(context, request).await?;
                let text = format!("the authorization of the CA is {other:?}");
                return Err(OrderFailure::new(FailureKind::Refused, text));
            }
        }
        let offered = |kind: &&ChallengeKind| {
            let mut challenges = authorization.challenges.iter();
            challenges.any(|challenge| challenge.r#type == type_of(**kind))
        };
        let Some(kind) = request.kinds.iter().find(offered).copied() else {
            let words: Vec<_> = request.kinds.iter().map(|kind| kind.word()).collect();
            let text = format!("the CA does not offer the challenge {}", words.join(" or "));
            return Err(OrderFailure::new(FailureKind::Refused, text));
        };
        let Some(mut challenge) = authorization.challenge(type_of(kind)) else {
            continue;
        };
        if kind == ChallengeKind::DnsPersist {
            let issuers = context.http.issuers();
            let record = PersistRecord::of(request.name, context.account.id(), &issuers);
            tracing::info!(
                name = request.name,
                record = record.name,
                text = record.text,
                "the CA checks this TXT record"
            );
            add_issuers(&request.section.directory, context.storage, &issuers).await?;
            record_to_set = Some(record);
        } else {
            let record = ChallengeRecord {
                challenge: kind.word().to_owned(),
                name: request.name.to_owned(),
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
                began_ms: context.now.unix_ms,
            };
            *token = Some(record.token.clone());
            answer::publish(&record, context.edge, context.storage).await?;
        }
        // A challenge of a continued order may be under way already.
        if challenge.status == ChallengeStatus::Pending {
            challenge.set_ready().await?;
        }
    }
    let polled = order.poll_ready(&POLLS).await;
    if !is_rejected(order) {
        return Ok(polled.map(drop)?);
    }
    forget(context, request).await?;
    let mut failure = reason(order).await.unwrap_or_else(|unread| {
        let text = format!(
            "the CA rejected the order, and its reason cannot be read: {}",
            unread.text
        );
        OrderFailure::new(FailureKind::Refused, text)
    });
    if let Some(record) = record_to_set {
        let needed = format!(
            "; set the TXT record {} to \"{}\"",
            record.name, record.text
        );
        failure.text.push_str(&needed);
    }
    Err(failure)
}

/// Returns true if the CA rejected the order for good, so that no attempt may go on with it. An error of a request does not
/// tell: a rate limit or a rejected nonce leaves the order as it is.
fn is_rejected(order: &mut Order) -> bool {
    order.state().status == OrderStatus::Invalid
}

/// Returns why the CA rejected an order, which it says at the challenge.
async fn reason(order: &mut Order) -> Result<OrderFailure, OrderFailure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        let state = authorization.refresh().await?;
        let mut challenges = state.challenges.iter();
        if let Some(problem) = challenges.find_map(|challenge| challenge.error.as_ref()) {
            return Ok(OrderFailure::of_problem(problem));
        }
    }
    let text = "the CA rejected the order and does not say why";
    Ok(OrderFailure::new(FailureKind::Refused, text))
}

/// Creates the request for the CA's signature (CSR), in DER.
fn signing_request(name: &str, key: &PrivateKeyPem) -> Result<Vec<u8>, OrderFailure> {
    let create = || -> Result<Vec<u8>, rcgen::Error> {
        let key = KeyPair::from_pem(key.expose())?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        // Names are in the extension only; CAs ignore or reject others.
        params.distinguished_name = DistinguishedName::new();
        Ok(params.serialize_request(&key)?.der().to_vec())
    };
    create().map_err(|error| {
        let text = format!("cannot create the request for the certificate: {error}");
        OrderFailure::new(FailureKind::Local, text)
    })
}

//! Internal items for the benchmarks, the fuzz targets and the integration tests. They may change in any release.

mod admin_of_store;

pub use hookgate_verify::document::report::ReportStyle;
pub use hookgate_verify::document::{SourceText, TextSpan, TomlDocument};
pub use hookgate_verify::identity::dedup_key::DedupKey;
pub use hookgate_verify::identity::event_id::EventId;
pub use hookgate_verify::identity::{IdentityFacts, IdentityRules};
pub use hookgate_verify::model::glob::GlobPattern;
pub use hookgate_verify::model::secret::Secret;
pub use hookgate_verify::providers::challenge::ProviderChallenge;
pub use hookgate_verify::providers::identity::{ResponseUse, RetrySigning, SigningTenant};
pub use hookgate_verify::providers::{Provider, all as all_providers, find as find_provider};
pub use hookgate_verify::scheme::ToSign;
pub use hookgate_verify::scheme::form::read as read_form;
pub use hookgate_verify::scheme::gzip::plain as decompress;
pub use hookgate_verify::scheme::head::RequestHead;
pub use hookgate_verify::scheme::parse::parse_spec;
pub use hookgate_verify::scheme::remote_keys::RemoteKeys;
pub use hookgate_verify::scheme::spec::{
    BodyClaim, DigestAlgorithm, DigestClaim, FieldLocation, IdentityKey, JwtAlgorithm, JwtKeys,
    JwtLocation, JwtSpec, KeyAlgorithm, KeyPart, ListSpec, RequirementRule, SchemeFamily,
    SchemeLocation, SchemeSpec, SecretEncoding, SecretForm, SignMethod, SignatureEncoding,
    SignatureSpec, SignedTemplate, TemplatePart, TextSpec, TimeUnit, TimestampSpec, TokenAudience,
    TokenLocation, UrlClaim,
};
pub use hookgate_verify::scheme::words::{id_signed, summary as scheme_summary, time_signed};
pub use hookgate_verify::signature::SignatureVerifier;

pub use crate::admin::api_resource::ApiResource;
pub use crate::admin::resources::all_resources;
pub use crate::config::load_text;
pub use crate::config::model::SecretEntry;
pub use crate::edge::chunk_check::ChunkScanner;
pub use crate::edge::head_check::{EndFinder, check_head};
pub use crate::gate::dedup::{ClaimLimits, ClaimResult, ClaimTable, DedupKeys};
pub use crate::gate::reject::RejectReason;
pub use crate::gate::verdict::GateCheck;
pub use crate::internals::admin_of_store::AdminOfStore;
pub use crate::model::clock::{ClockReading, instant};
pub use crate::model::database::{
    CommitDurability, DatabaseLocation, PostgresHost, PostgresSettings, PostgresTls, SqliteFile,
};
pub use crate::model::delivery::{DeliveryId, DeliveryState};
pub use crate::model::ids::{DestinationName, RequestId, RouteName};
pub use crate::record::metric_table::{MetricKind, MetricRow, all_metrics};
pub use crate::store::rows::{
    AttemptRecord, ClaimRow, CommitOutcome, DestinationId, DueDelivery, FinishedAttempt,
    NewDelivery, NewEvent, NextState, StoredEvent,
};
pub use crate::store::search::{DeliverySearch, EventSearch, ListPage};
pub use crate::store::take::TakeRequest;
pub use crate::store::{RetentionLimits, Store, StoreError, StoreOptions, StoreStatistics};

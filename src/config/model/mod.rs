//! The checked config: typed values for the rest of the program.
//!
//! Every value is ready to use, so no later stage has to handle a missing or invalid setting. `config::load` makes it;
//! `app` reads it when it builds a configuration snapshot.

mod acme;
mod admin;
mod alerts;
mod dedup;
mod destination;
mod mode;
mod route;
mod secret;
mod server;
mod store;
mod telemetry;
mod upstream;

use std::sync::Arc;

pub(crate) use crate::config::model::acme::{
    AcmeSection, CertificateName, ChallengeKind, ExternalAccount,
};
pub(crate) use crate::config::model::admin::{
    AdminListen, AdminRole, AdminSection, AdminToken, PayloadAccess,
};
pub(crate) use crate::config::model::alerts::{
    AlertSection, AlertTarget, ChatFormat, MailSecurity, MailSettings, QuietRule, WatchSection,
};
pub(crate) use crate::config::model::dedup::{
    AwayRule, DedupRule, MissingId, ReplayRule, TenantRule,
};
pub(crate) use crate::config::model::destination::{
    ClientAuthentication, ClientCredentials, DeliveryOrder, DestinationSection, RetryPauses,
    RetryPolicy,
};
pub(crate) use crate::config::model::mode::{ModeName, RouteMode};
pub(crate) use crate::config::model::route::{
    AllowIps, EnforceMode, ExpiredCrl, LocalSocket, PathRule, Route, SchemaRule,
};
pub use crate::config::model::secret::SecretEntry;
pub(crate) use crate::config::model::secret::SecretSource;
pub(crate) use crate::config::model::server::{
    CertificateFiles, HttpListener, ProxyProtocol, ServerSection, TlsSection, TlsVersion,
};
pub(crate) use crate::config::model::store::{RetentionSection, StoreSection};
pub(crate) use crate::config::model::telemetry::{LogFormat, LogSection, TelemetrySection};
pub(crate) use crate::config::model::upstream::{UpstreamBranch, UpstreamSettings};
use crate::net::egress_proxy::EgressProxy;

/// The contents of a config file and of those that it includes.
pub struct GateConfig {
    /// Names of the files, the main file first.
    pub files: Vec<String>,
    /// Settings of the `[server]` section.
    pub server: ServerSection,
    /// Settings of the `[tls]` section; `None`: every listener speaks plain HTTP.
    pub tls: Option<TlsSection>,
    /// Settings of the `[admin]` section.
    pub admin: Option<AdminSection>,
    /// Settings of the `[store]` section; always present if a route needs a store.
    pub store: Option<StoreSection>,
    /// Settings of the `[log]` section.
    pub log: LogSection,
    /// Proxy for requests to the internet (`egress_proxy`).
    pub egress_proxy: Option<Arc<EgressProxy>>,
    /// Settings of the `[telemetry]` section; `None`: no traces.
    pub telemetry: Option<TelemetrySection>,
    /// The `[alerts.NAME]` tables, sorted by name.
    pub alerts: Vec<AlertSection>,
    /// Settings of the `[watch]` section.
    pub watch: WatchSection,
    /// The `[routes.NAME]` tables, sorted by name.
    pub routes: Vec<Route>,
}

//! Loads a TOML config into a checked `GateConfig` and reports every error at once.
//!
//! One file per section reads its table into checked values; `crosscheck` then compares sections with each other. This
//! module uses no network and no DNS. It reads the clock only to find secrets that have expired.

pub(crate) mod effective;
mod load_context;
pub(crate) mod model;
pub(crate) mod reference;
mod scheme_origin;

pub(crate) mod acme;
mod admin;
mod alerts;
mod alerts_mail;
mod app_url;
mod audience;
mod client_cert;
mod crosscheck;
mod dedup;
mod destination;
mod egress_proxy;
mod file;
mod filter;
mod http_listener;
mod include;
mod log;
mod mode;
mod oauth2;
mod outgoing_tls;
mod pooling;
mod retry;
mod root;
mod route;
mod schemas;
mod secret_strength;
mod secret_text;
mod secrets;
mod server;
mod sign_upstream;
mod socket;
mod store;
mod store_postgres;
pub(crate) mod store_url;
mod telemetry;
mod tls;
mod unsigned_filters;
mod upstream;
mod upstreams;
mod verification;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(test)]
pub(crate) use crate::config::dedup::usual_dedup;
use crate::config::destination::UPSTREAM_NAME;
use crate::config::egress_proxy::EGRESS_PROXY;
use crate::config::include::INCLUDE;
pub(crate) use crate::config::include::read_texts;
use crate::config::load_context::LoadContext;
use crate::config::model::{AcmeSection, CertificateFiles, GateConfig, TlsSection};
use crate::config::root::{ADMIN, ALERTS, LOG, ROOT, ROUTES, SERVER, STORE, TELEMETRY, TLS, WATCH};
pub(crate) use crate::config::store_postgres::{DEFAULT_SCHEMA, host_name, schema_of};
use crate::model::database::{DatabaseLocation, PostgresSettings};
use crate::net::app_url::AppUrl;
use crate::net::egress_proxy::EgressProxy;
use hookgate_verify::document::report::DiagnosticReport;
use hookgate_verify::document::table::TomlTable;
use hookgate_verify::document::{SourceText, TextSpan, TomlDocument};

/// Configuration that loaded without errors.
pub struct LoadedConfig {
    /// The checked configuration, ready to run.
    pub config: GateConfig,
    /// Warnings and notes; it holds no errors.
    pub report: DiagnosticReport,
}

/// Result of `hookgate check`: diagnostics and what to check next, even if the config has errors. It cannot be run.
pub(crate) struct ExaminedConfig {
    /// All diagnostics of the load.
    pub report: DiagnosticReport,
    /// Certificate files that the config names, for `check` to load.
    pub certificates: Vec<CertificateFiles>,
    /// The CA file for client certificates, with its location in the config.
    pub client_ca: Option<(PathBuf, TextSpan)>,
    /// The URLs of upstreams and destinations that could be read, with their locations.
    pub upstreams: Vec<(AppUrl, TextSpan)>,
    /// The PostgreSQL database of the store, with the location of its URL in the config.
    pub database: Option<(PostgresSettings, TextSpan)>,
    /// `[tls.acme]`, with its names.
    pub acme: Option<AcmeSection>,
    /// `state_dir` of the config.
    pub state_dir: Option<PathBuf>,
}

/// Loads a config file.
///
/// # Errors
/// Returns the report of all diagnostics; at least one of them is an error.
pub(crate) fn load(path: &Path) -> Result<LoadedConfig, DiagnosticReport> {
    loaded(&include::source(read_texts(path)?))
}

/// Loads a config from a text, like [`load`] but without included files; relative paths start at the folder of `name`.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: impl Into<String>) -> Result<LoadedConfig, DiagnosticReport> {
    loaded(&SourceText::new(name, text.into()))
}

fn loaded(source: &Arc<SourceText>) -> Result<LoadedConfig, DiagnosticReport> {
    let (config, report) = read(source);
    if report.has_errors() {
        return Err(report);
    }
    Ok(LoadedConfig { config, report })
}

/// Loads only the location of the store of a config file, without its password, for commands on a database that need
/// nothing else. Errors of other sections and keys do not count: their secrets may be readable by the service only.
pub(crate) fn load_database(path: &Path) -> Result<Option<DatabaseLocation>, DiagnosticReport> {
    let source = include::source(read_texts(path)?);
    let document = parse(&source);
    let context = LoadContext::of(path);
    let table = document.root().table(&STORE);
    let location = table.and_then(|table| store::read_location(table, &context));
    let report = document.into_report();
    match report.has_errors() {
        true => Err(report),
        false => Ok(location),
    }
}

/// Loads only the egress proxy of a config file, like [`load_database`].
pub(crate) fn load_egress_proxy(path: &Path) -> Result<Option<Arc<EgressProxy>>, DiagnosticReport> {
    let source = include::source(read_texts(path)?);
    let document = parse(&source);
    let context = LoadContext::of(path);
    let proxy = egress_proxy::read(&mut document.root(), &EGRESS_PROXY, &context);
    let report = document.into_report();
    match report.has_errors() {
        true => Err(report),
        false => Ok(proxy),
    }
}

/// Loads as much of a config file as possible, for `hookgate check`.
pub(crate) fn examine(path: &Path) -> ExaminedConfig {
    let texts = match read_texts(path) {
        Ok(texts) => texts,
        Err(report) => {
            return ExaminedConfig {
                report,
                certificates: Vec::new(),
                client_ca: None,
                upstreams: Vec::new(),
                database: None,
                acme: None,
                state_dir: None,
            };
        }
    };
    let (config, report) = read(&include::source(texts));
    let TlsSection {
        certificates,
        client_ca,
        acme,
        ..
    } = config.tls.unwrap_or_else(TlsSection::none);
    // The certificate of the admin listener is not part of `[tls]`, but `check` loads it in the same way.
    let own = config.admin.and_then(|admin| admin.tls);
    let database = config.store.and_then(|store| match store.location {
        DatabaseLocation::Sqlite(_) => None,
        DatabaseLocation::Postgres(settings) => Some((*settings, store.url_span)),
    });
    ExaminedConfig {
        report,
        database,
        acme,
        state_dir: config.server.state_dir,
        certificates: certificates.into_iter().chain(own).collect(),
        client_ca,
        upstreams: config
            .routes
            .into_iter()
            .flat_map(|route| {
                // The implicit destination `upstream` has the URL of the route's `upstream`, which is listed below.
                let own = route.destinations.iter();
                let own: Vec<_> = own
                    .filter(|destination| destination.name.as_str() != UPSTREAM_NAME)
                    .map(|destination| (destination.url.clone(), destination.url_span))
                    .collect();
                let others = route.branches.into_iter().map(|branch| branch.upstream);
                let upstreams = route.upstream.into_iter().chain(others);
                let upstreams = upstreams.chain(route.unverified_upstream);
                upstreams
                    .map(|upstream| (upstream.url, upstream.span))
                    .chain(own)
            })
            .collect(),
    }
}

/// Reads all sections. A wrong value is replaced by its default, so use the config only if the report has no errors.
fn read(source: &Arc<SourceText>) -> (GateConfig, DiagnosticReport) {
    let document = parse(source);
    let context = LoadContext::of(Path::new(&source.name));
    let mut config = sections(&mut document.root(), context);
    config.files = source.names().into_iter().map(str::to_owned).collect();
    (config, document.into_report())
}

fn parse(source: &Arc<SourceText>) -> TomlDocument<'_> {
    TomlDocument::parse_merged(source, &ROOT, &[INCLUDE.name])
}

fn sections(root: &mut TomlTable<'_>, mut context: LoadContext) -> GateConfig {
    // Before the routes, whose external destinations use it.
    context.egress_proxy = egress_proxy::read(root, &EGRESS_PROXY, &context);
    let context = &context;
    let server = server::read(root.table(&SERVER));
    let mut tls = root.table(&TLS).map(|table| tls::read(table, context));
    let admin = root
        .table(&ADMIN)
        .and_then(|table| admin::read(table, context));
    let log = log::read(root.table(&LOG));
    let routes = route::read_all(root, &ROUTES, context);
    let telemetry = root.table(&TELEMETRY);
    let telemetry = telemetry.and_then(|table| telemetry::read(table, context));
    let store = root
        .table(&STORE)
        .and_then(|table| store::read(table, context));
    include::check(root);
    let alerts = alerts::read_all(root, &ALERTS, context);
    let watch = watch::read(root.table(&WATCH));
    // Only after every section was read: a key that no section asked for is unknown.
    root.deny_unknown();
    if let Some(acme) = tls.as_mut().and_then(|tls| tls.acme.as_mut()) {
        let routes = routes.iter().map(|placed| &placed.route);
        let hosts = routes.filter_map(|route| Some((route.host.as_deref()?, route.span)));
        let hosts: Vec<_> = hosts.collect();
        acme::complete(root, acme, &hosts, server.server.http.is_some());
    }
    let others = crosscheck::OtherSections {
        tls: tls.as_ref(),
        admin: admin.as_ref(),
        store: store.as_ref(),
    };
    // Last, because it compares sections that were read above.
    crosscheck::check(root, &server, &others, &routes);
    GateConfig {
        server: server.server,
        tls,
        admin: admin.map(|admin| admin.admin),
        store,
        log,
        files: Vec::new(),
        egress_proxy: context.egress_proxy.clone(),
        telemetry,
        alerts,
        watch,
        routes: routes.into_iter().map(|placed| placed.route).collect(),
    }
}

#[cfg(test)]
mod tests;

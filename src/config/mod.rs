//! Config text -> `Config`, with every error at once.
//!
//! One file per section reads its table into checked values; `crosscheck` looks at what only the whole can tell. No
//! network, no DNS; the clock is read only to say which secrets are past their time.

pub mod model;
pub mod reference;

mod admin;
mod crosscheck;
mod dedup;
mod destination;
mod destination_tls;
mod file;
mod filter;
mod log;
mod mode;
mod retry;
mod route;
mod schemas;
mod secret_strength;
mod secrets;
mod server;
mod sign_upstream;
mod socket;
mod store;
mod telemetry;
mod tls;
mod trust;
mod unsigned;
mod upstream;
mod upstreams;
mod verification;

use std::path::{Path, PathBuf};

use http::Uri;

use crate::config::destination::UPSTREAM_NAME;
use crate::config::model::{CertificateFiles, Config, Tls};
use crate::document::key::{Key, Kind};
use crate::document::report::{Diagnostic, Report, Severity};
use crate::document::table::Table;
use crate::document::{Document, Source, Span};
use crate::model::clock::Now;

/// A config without errors.
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// Warnings only.
    pub report: Report,
}

/// What `hookgate check` looks at further, whether or not the config has errors. It cannot be run.
pub struct Examined {
    /// All diagnostics of the load.
    pub report: Report,
    /// The certificates that were named.
    pub certificates: Vec<CertificateFiles>,
    /// The authorities of client certificates, with their place.
    pub client_ca: Option<(PathBuf, Span)>,
    /// The upstreams and destinations that could be read, with their places.
    pub upstreams: Vec<(Uri, Span)>,
}

/// What every section may need beside its table.
struct Context {
    /// Relative paths are relative to this.
    folder: PathBuf,
    now: Now,
}

/// A config of a thousand routes has 200 KiB; more than this is another file by mistake.
const MAX_FILE: u64 = 8 << 20;

/// Loads a config file.
///
/// # Errors
/// Every error and warning that was found, at least one of them an error.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let text = read_file(path)?;
    load_text(&path.display().to_string(), text)
}

/// As [`load`], for a text; relative paths are relative to the folder of `name`.
///
/// # Errors
/// As [`load`].
pub fn load_text(name: &str, text: impl Into<String>) -> Result<Loaded, Report> {
    let (config, report) = read(name, text.into());
    if report.has_errors() {
        return Err(report);
    }
    Ok(Loaded { config, report })
}

/// Loads a config file as far as it goes, for `hookgate check`.
#[must_use]
pub fn examine(path: &Path) -> Examined {
    let text = match read_file(path) {
        Ok(text) => text,
        Err(report) => {
            return Examined {
                report,
                certificates: Vec::new(),
                client_ca: None,
                upstreams: Vec::new(),
            };
        }
    };
    let (config, report) = read(&path.display().to_string(), text);
    let Tls {
        certificates,
        client_ca,
        ..
    } = config.tls.unwrap_or_else(Tls::none);
    let own = config.admin.and_then(|admin| admin.tls);
    Examined {
        report,
        certificates: certificates.into_iter().chain(own).collect(),
        client_ca,
        upstreams: config
            .routes
            .into_iter()
            .flat_map(|route| {
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

fn read_file(path: &Path) -> Result<String, Report> {
    let fail = |what: String, help: &str| {
        let mut report = Report::new(Source::new(&path.display().to_string(), String::new()));
        report.push(Diagnostic {
            severity: Severity::Error,
            span: None,
            message: format!("cannot read `{}`: {what}", path.display()),
            label: String::new(),
            help: Some(help.to_owned()),
        });
        report
    };
    let check_path = "check the path and who may read the file";
    let mut bytes = Vec::new();
    file::read_into(&mut bytes, path, MAX_FILE, "it is larger than 8 MiB")
        .map_err(|what| fail(what, check_path))?;
    String::from_utf8(bytes)
        .map_err(|_| fail("it is not UTF-8".to_owned(), "a config is a TOML text"))
}

/// Reads all sections. What is wrong is replaced by its default, so the config may only be used where the report holds
/// no error.
fn read(name: &str, text: String) -> (Config, Report) {
    let source = Source::new(name, text);
    let document = Document::parse(&source);
    let folder = Path::new(name).parent().unwrap_or(Path::new(""));
    let context = Context {
        folder: folder.to_owned(),
        now: Now::read(),
    };
    let config = sections(&mut document.root(), &context);
    (config, document.into_report())
}

fn sections(root: &mut Table<'_>, context: &Context) -> Config {
    let server = server::read(root.table(&SERVER));
    let tls = root.table(&TLS).map(|table| tls::read(table, context));
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
    root.deny_unknown();
    let others = crosscheck::Others {
        tls: tls.as_ref(),
        admin: admin.as_ref(),
        store: store.as_ref(),
    };
    crosscheck::check(root, &server, &others, &routes);
    Config {
        server: server.server,
        tls,
        admin: admin.map(|admin| admin.admin),
        store,
        log,
        telemetry,
        routes: routes.into_iter().map(|placed| placed.route).collect(),
    }
}

static SERVER: Key = Key {
    name: "server",
    kind: Kind::Table(&server::SECTION),
    default: None,
    example: "{ listen = [\"0.0.0.0:443\"] }",
    doc: "Where to listen, and the limits towards strangers.",
};

static TLS: Key = Key {
    name: "tls",
    kind: Kind::Table(&tls::SECTION),
    default: None,
    example: "{ cert = \"fullchain.pem\", key = \"privkey.pem\" }",
    doc: "Certificates.",
};

static ADMIN: Key = Key {
    name: "admin",
    kind: Kind::Table(&admin::SECTION),
    default: None,
    example: "{ listen = \"127.0.0.1:9180\" }",
    doc: "Metrics and health for operators.",
};

static STORE: Key = Key {
    name: "store",
    kind: Kind::Table(&store::SECTION),
    default: None,
    example: "{ url = \"sqlite:/var/lib/hookgate/hookgate.db\" }",
    doc: "Where accepted events are kept.",
};

static LOG: Key = Key {
    name: "log",
    kind: Kind::Table(&log::SECTION),
    default: None,
    example: "{ format = \"json\" }",
    doc: "What is logged and how.",
};

static TELEMETRY: Key = Key {
    name: "telemetry",
    kind: Kind::Table(&telemetry::SECTION),
    default: None,
    example: "{ otlp = \"http://127.0.0.1:4318\" }",
    doc: "Traces for a collector.",
};

static ROUTES: Key = Key {
    name: "routes",
    kind: Kind::Named(&route::SECTION),
    default: None,
    example: "{ stripe = { path = \"/stripe\", provider = \"stripe\", secret = { credential = \"stripe\" }, upstream = \"http://127.0.0.1:8080/\" } }",
    doc: "One table per webhook.",
};

#[cfg(test)]
mod tests;

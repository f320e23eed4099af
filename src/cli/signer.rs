//! Options that select a provider and its secret, for `send`, `listen` and `replay-file`.
//!
//! The secret comes from the command line, a file, the environment, or a route of a gate's config.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use hookgate_verify::document::report::ReportStyle;
use hookgate_verify::document::suggest;
use hookgate_verify::model::secret::Secret;
use hookgate_verify::providers;
use hookgate_verify::scheme::spec::SchemeSpec;

use crate::cli::config_file::read_secret;
use crate::cli::config_option::ConfigOption;
use crate::cli::failure::CommandFailure;
use crate::config;
use crate::config::model::{GateConfig, Route};
use crate::model::clock::ClockReading;
use crate::testing::{self, TestingError};

/// Options for the sender of events: provider, secret and URL.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "The sender")]
pub(super) struct SignerOptions {
    /// Provider id, from `hookgate providers`
    #[arg(long, value_name = "ID")]
    pub(super) provider: Option<String>,
    /// Secret as the provider shows it. Other users of this machine can see it while the command runs
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["secret_env", "secret_file"])]
    secret: Option<String>,
    /// Environment variable that contains the secret
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    secret_env: Option<String>,
    /// File that contains the secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Config of a gate, for `--route` (default: the environment variable HOOKGATE_CONFIG, then `./hookgate.toml`, then
    /// `/etc/hookgate/hookgate.toml`)
    #[arg(long, value_name = "FILE", requires = "route")]
    config: Option<PathBuf>,
    /// Route of the config whose provider, scheme, secret and URL are used
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Public scheme, host and port of the receiver, for providers that sign the URL
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

/// The sender of the events: scheme, secret, and facts of its route.
pub(super) struct SenderProfile {
    /// Provider id; `None` for a custom scheme of a route.
    pub(super) provider: Option<String>,
    pub(super) spec: SchemeSpec,
    pub(super) secret: Secret,
    pub(super) public_url: Option<String>,
    /// URL of the config's route on this machine.
    pub(super) url: Option<String>,
    pub(super) tolerance: Duration,
    /// Maximum body size of the config's route.
    pub(super) max_body: Option<usize>,
}

impl SignerOptions {
    /// Resolves the options. Returns `None` if they name neither a provider nor a route.
    pub(super) fn known(&self) -> Result<Option<SenderProfile>, CommandFailure> {
        if let Some(name) = &self.route {
            let config = self.config.clone();
            let path = ConfigOption { config }.required()?;
            let loaded = config::load(&path).map_err(|report| {
                let text = report.render(ReportStyle::Plain);
                CommandFailure::usage(format!("the config has errors:\n{text}"))
            })?;
            return self.of_route(loaded.config, name).map(Some);
        }
        // `listen` works without a provider, so this is not an error here.
        let Some(id) = &self.provider else {
            return Ok(None);
        };
        let provider = providers::find(id).ok_or_else(|| unknown(id))?;
        let secret = match self.secret()? {
            Some(secret) => secret,
            None => {
                return Err(CommandFailure::usage(format!("the secret for `{id}` is missing")).help(
                "add `--secret-env NAME`, `--secret-file FILE`, or `--config FILE --route NAME`",
                ));
            }
        };
        Ok(Some(SenderProfile {
            provider: Some(id.clone()),
            spec: provider.scheme.clone(),
            secret,
            public_url: self.public_url.clone(),
            url: None,
            tolerance: provider.tolerance,
            max_body: None,
        }))
    }

    fn of_route(&self, config: GateConfig, name: &str) -> Result<SenderProfile, CommandFailure> {
        let known: Vec<_> = config
            .routes
            .iter()
            .map(|route| route.name.to_string())
            .collect();
        // The URL needs the whole config, so it is computed before the route is moved out of it.
        let url_of = |route: &Route| url_of(route, &config);
        let found = config
            .routes
            .iter()
            .position(|route| route.name.as_str() == name);
        let url = found
            .and_then(|index| config.routes.get(index))
            .and_then(url_of);
        let route = found.and_then(|index| config.routes.into_iter().nth(index));
        let route = route.ok_or_else(|| {
            CommandFailure::usage(format!("the config has no route `{name}`"))
                .help(format!("its routes: {}", known.join(", ")))
        })?;
        let now = ClockReading::read().unix_ms;
        // A secret on the command line wins over the config's, which may not be readable here.
        let given = self.secret()?;
        let mut entries = route.secrets.into_iter();
        let current = entries
            .find(|entry| entry.is_current(now))
            .map(|entry| entry.secret);
        let secret = given.or(current).ok_or_else(|| {
            CommandFailure::usage(format!("route `{name}` has no current secret"))
                .help("check `not_before` and `until` of its secrets, or add `--secret-env NAME`")
        })?;
        Ok(SenderProfile {
            provider: route.provider.map(|provider| provider.id.clone()),
            spec: route.scheme,
            secret,
            public_url: self.public_url.clone().or(route.public_url),
            url,
            tolerance: route.tolerance,
            max_body: Some(route.max_body),
        })
    }

    fn secret(&self) -> Result<Option<Secret>, CommandFailure> {
        if let Some(text) = &self.secret {
            return Ok(Some(Secret::new(text.clone().into_bytes())));
        }
        if let Some(name) = &self.secret_env {
            let text = env::var_os(name).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| {
                CommandFailure::usage(format!("the environment variable `{name}` is not set"))
            })?;
            return Ok(Some(Secret::new(text.into_encoded_bytes())));
        }
        self.secret_file.as_deref().map(read_secret).transpose()
    }
}

/// Returns the URL of a route on this machine, or `None` if the config leaves the port to the system.
fn url_of(route: &Route, config: &GateConfig) -> Option<String> {
    let listen = config
        .server
        .listen
        .iter()
        .find(|address| address.port() != 0)?;
    let scheme = if config.tls.is_some() {
        "https"
    } else {
        "http"
    };
    // A route with a host only matches that name, so the local address would not do.
    let host = match &route.host {
        Some(host) => host.clone(),
        None if listen.ip().is_unspecified() => "localhost".to_owned(),
        None if listen.is_ipv6() => format!("[{}]", listen.ip()),
        None => listen.ip().to_string(),
    };
    let path = match &route.path {
        config::model::PathRule::Exact(path) | config::model::PathRule::Prefix(path) => path,
    };
    Some(format!("{scheme}://{host}:{}{path}", listen.port()))
}

fn unknown(id: &str) -> CommandFailure {
    let failure = CommandFailure::usage(format!("no provider has the id `{id}`"));
    let close = suggest::nearest(id, providers::ids());
    failure.help(match close {
        Some(close) => format!("did you mean `{close}`? `hookgate providers` lists all ids"),
        None => "`hookgate providers` lists all ids".to_owned(),
    })
}

/// Converts an error of the test tools. Only I/O errors are failures; all others are wrong usage.
pub(super) fn failure(error: &TestingError) -> CommandFailure {
    match error {
        TestingError::Io(..) => CommandFailure::new(error.to_string()),
        _ => CommandFailure::usage(error.to_string()),
    }
}

/// Rejects a text that is neither an http or https URL with a host nor a Unix socket.
pub(super) fn check_url(url: &str) -> Result<(), CommandFailure> {
    match testing::parse_url(url) {
        Ok(_) => Ok(()),
        Err(_) => Err(
            CommandFailure::usage(format!("`{url}` is not a valid http or https URL"))
                .help("use a URL such as `https://localhost:8443/stripe`, or `unix:/run/app.sock:/stripe`"),
        ),
    }
}

//! Whose events, and under which secret: from the command line, a file, the environment, or a gate's config.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http::Uri;

use crate::cli::config_file::read_secret;
use crate::cli::failure::Failure;
use crate::config;
use crate::config::model::{Config, Route};
use crate::document::report::Style;
use crate::document::suggest;
use crate::model::clock::Now;
use crate::model::secret::Secret;
use crate::providers;
use crate::scheme::spec::Spec;
use crate::testing::TestingError;

/// Whose events, and how they are signed.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Whose events")]
pub(super) struct Signer {
    /// The provider, as `hookgate providers` lists them
    #[arg(long, value_name = "ID")]
    pub(super) provider: Option<String>,
    /// The secret as the provider shows it; every user of the machine can see it while the command runs
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["secret_env", "secret_file"])]
    secret: Option<String>,
    /// The environment variable that holds the secret
    #[arg(long, value_name = "NAME", conflicts_with = "secret_file")]
    secret_env: Option<String>,
    /// The file that holds the secret
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A gate's config: provider, scheme, secret and URL are those of one of its routes
    #[arg(long, value_name = "FILE", requires = "route")]
    config: Option<PathBuf>,
    /// The route in that config
    #[arg(long, value_name = "NAME", requires = "config")]
    route: Option<String>,
    /// Scheme, host and port that the receiver believes to have, for providers that sign the URL
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,
}

/// What is known of the events' sender.
pub(super) struct Known {
    /// None for a route's own scheme.
    pub(super) provider: Option<String>,
    pub(super) spec: Spec,
    pub(super) secret: Secret,
    pub(super) public_url: Option<String>,
    /// Where the config's route is.
    pub(super) url: Option<String>,
    pub(super) tolerance: Duration,
    /// What the config's route takes.
    pub(super) max_body: Option<usize>,
}

impl Signer {
    /// What the command line says; none where it names neither a provider nor a route.
    pub(super) fn known(&self) -> Result<Option<Known>, Failure> {
        if let (Some(path), Some(name)) = (&self.config, &self.route) {
            let loaded = config::load(path).map_err(|report| {
                let text = report.render(Style::Plain);
                Failure::usage(format!("the config cannot be used:\n{text}"))
            })?;
            return self.of_route(loaded.config, name).map(Some);
        }
        let Some(id) = &self.provider else {
            return Ok(None);
        };
        let provider = providers::find(id).ok_or_else(|| unknown(id))?;
        let secret = match self.secret()? {
            Some(secret) => secret,
            None => {
                return Err(Failure::usage(format!("the secret of `{id}` is not given")).help(
                    "`--secret-env NAME`, `--secret-file FILE`, or `--config FILE --route NAME`",
                ));
            }
        };
        Ok(Some(Known {
            provider: Some(id.clone()),
            spec: provider.scheme.clone(),
            secret,
            public_url: self.public_url.clone(),
            url: None,
            tolerance: provider.tolerance,
            max_body: None,
        }))
    }

    fn of_route(&self, config: Config, name: &str) -> Result<Known, Failure> {
        let known: Vec<_> = config
            .routes
            .iter()
            .map(|route| route.name.to_string())
            .collect();
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
            Failure::usage(format!("the config has no route `{name}`"))
                .help(format!("it has {}", known.join(", ")))
        })?;
        let now = Now::read().unix_ms;
        let given = self.secret()?;
        let mut entries = route.secrets.into_iter();
        let current = entries
            .find(|entry| entry.is_current(now))
            .map(|entry| entry.secret);
        let secret = given.or(current).ok_or_else(|| {
            Failure::usage(format!("the route `{name}` has no secret that counts now"))
        })?;
        Ok(Known {
            provider: route.provider.map(|provider| provider.id.clone()),
            spec: route.scheme,
            secret,
            public_url: self.public_url.clone().or(route.public_url),
            url,
            tolerance: route.tolerance,
            max_body: Some(route.max_body),
        })
    }

    fn secret(&self) -> Result<Option<Secret>, Failure> {
        if let Some(text) = &self.secret {
            return Ok(Some(Secret::new(text.clone().into_bytes())));
        }
        if let Some(name) = &self.secret_env {
            let text = env::var_os(name).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| {
                Failure::usage(format!("the environment variable `{name}` is not set here"))
            })?;
            return Ok(Some(Secret::new(text.into_encoded_bytes())));
        }
        self.secret_file.as_deref().map(read_secret).transpose()
    }
}

/// Where a route is on this machine; none where the config does not say the port.
fn url_of(route: &Route, config: &Config) -> Option<String> {
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

fn unknown(id: &str) -> Failure {
    let failure = Failure::usage(format!("there is no provider `{id}`"));
    let close = suggest::nearest(id, providers::ids());
    failure.help(match close {
        Some(close) => format!("did you mean `{close}`? `hookgate providers` lists them"),
        None => "`hookgate providers` lists them".to_owned(),
    })
}

/// A failure of the test tools, in a command's words.
pub(super) fn failure(error: &TestingError) -> Failure {
    match error {
        TestingError::Io(..) => Failure::new(error.to_string()),
        _ => Failure::usage(error.to_string()),
    }
}

/// Whether a text is an URL with a host.
pub(super) fn check_url(url: &str) -> Result<(), Failure> {
    let parsed: Option<Uri> = url.parse().ok();
    let is_whole = parsed.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some()
    });
    match is_whole {
        true => Ok(()),
        false => Err(Failure::usage(format!("`{url}` is no URL"))
            .help("for example `https://localhost:8443/stripe`")),
    }
}

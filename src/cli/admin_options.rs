//! Options that select a gate: its admin listener and token.
//!
//! Both come from the command line, the environment, or the gate's config, in this order. The token is never an
//! argument, since every user of the machine can see arguments.

use std::env;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use hookgate_verify::model::secret::Secret;
use rustls::ClientConfig;

use crate::cli::admin_address::AdminAddress;
use crate::cli::admin_client::AdminClient;
use crate::cli::config_file::{self, ConfigFile};
use crate::cli::config_option::{ConfigOption, ConfigPlace};
use crate::cli::failure::CommandFailure;
use crate::model::error::chain;
use crate::net::client::{OutgoingClient, OwnTls};

/// Address of the admin listener in the systemd unit.
const DEFAULT: &str = "unix:/run/hookgate/admin.sock";

/// Environment variable that holds the admin token.
const TOKEN: &str = "HOOKGATE_ADMIN_TOKEN";

/// Options that select the gate to connect to.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "The gate")]
pub(super) struct AdminOptions {
    /// Address of the admin listener: `unix:/run/hookgate/admin.sock` (the default), `http://127.0.0.1:9180`, or
    /// `https://gate.example.com:9180`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOOKGATE_ADMIN",
        hide_env_values = true
    )]
    admin: Option<String>,
    /// PEM file with the authorities to trust for an `https` address (default: those of the system)
    #[arg(
        long,
        value_name = "FILE",
        env = "HOOKGATE_ADMIN_CA",
        hide_env_values = true,
        value_parser = OsStringValueParser::new().map(PathBuf::from)
    )]
    admin_ca: Option<PathBuf>,
    /// Config file of the gate, whose `[admin]` has the address and the token (default, without `--admin`: the
    /// environment variable HOOKGATE_CONFIG, then `./hookgate.toml`, then `/etc/hookgate/hookgate.toml`, if readable)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// File that contains the admin token (default: the environment variable HOOKGATE_ADMIN_TOKEN)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AdminOptions {
    /// Returns the config file, named or found.
    pub(super) fn config(&self) -> ConfigOption {
        ConfigOption {
            config: self.config.clone(),
        }
    }

    /// Creates the client for the selected gate.
    pub(super) fn client(&self) -> Result<AdminClient, CommandFailure> {
        // An empty variable counts as unset, as in other programs.
        let named = self.admin.as_ref().filter(|address| !address.is_empty());
        let config = self.load_config(named.is_some())?;
        let address = match (named, &config) {
            (Some(address), _) => AdminAddress::parse(address)?,
            (None, Some((config, place))) => {
                let address = listener(config)?;
                check_origin(&address, *place)?;
                address
            }
            (None, None) => AdminAddress::parse(DEFAULT)?,
        };
        let token = self.token(config.as_ref())?;
        // The trust anchors are read only where they are needed: reading those of the system takes time.
        let tls = match &address {
            AdminAddress::Tls(..) => Some(self.trust()?),
            AdminAddress::Unix(_) | AdminAddress::Tcp(_) => None,
        };
        Ok(AdminClient::new(address, token).trusting(tls))
    }

    /// Loads the config file: the one that is named, else one in the usual places that can be read.
    fn load_config(
        &self,
        has_address: bool,
    ) -> Result<Option<(ConfigFile, ConfigPlace)>, CommandFailure> {
        // The token of a file that was merely found is not for a gate that is named otherwise.
        let found = match (&self.config, has_address) {
            (None, true) => None,
            _ => self.config().find(),
        };
        let Some(found) = found else {
            return Ok(None);
        };
        match ConfigFile::load(&found.path) {
            Ok(config) => Ok(Some((config, found.place))),
            // Often only the service may read it. The default address may still work, as it does without a file.
            Err(_) if found.place != ConfigPlace::Named => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Reads the trust anchors for an address with TLS.
    fn trust(&self) -> Result<Arc<ClientConfig>, CommandFailure> {
        let authority = self.admin_ca.as_deref();
        let authority = authority.filter(|path| !path.as_os_str().is_empty());
        let tls = OwnTls::read(|| OutgoingClient::new().roots(), authority, None);
        let tls = tls.map_err(|err| {
            CommandFailure::usage(chain(&err))
                .doing("reading the authorities to trust for the admin listener")
        })?;
        Ok(tls.config())
    }

    fn token(
        &self,
        config: Option<&(ConfigFile, ConfigPlace)>,
    ) -> Result<Option<Secret>, CommandFailure> {
        // From the most explicit source to the least: option, environment, config.
        if let Some(path) = &self.token_file {
            let secret = config_file::read_secret(path);
            return secret
                .map(Some)
                .map_err(|failure| failure.doing("reading the token"));
        }
        if let Some(token) = env::var_os(TOKEN).filter(|token| !token.is_empty()) {
            return Ok(Some(Secret::new(token.into_encoded_bytes())));
        }
        match config {
            None => Ok(None),
            Some((config, ConfigPlace::Named)) => config.admin_token(),
            // A socket may need no token, so one that cannot be read is no reason to give up.
            Some((config, _)) => Ok(config.admin_token().unwrap_or_default()),
        }
    }
}

/// Rejects the address of another machine from a file that merely is in the current folder. Its author may be another
/// user, who would get the token.
fn check_origin(address: &AdminAddress, place: ConfigPlace) -> Result<(), CommandFailure> {
    match address {
        AdminAddress::Tls(authority, _) if place == ConfigPlace::CurrentFolder => {
            let host = authority.host();
            let bare = hookgate_verify::net::host::bare(host).parse::<IpAddr>();
            match bare.is_ok_and(|ip| ip.to_canonical().is_loopback()) {
                true => Ok(()),
                false => Err(CommandFailure::usage(format!(
                    "`./hookgate.toml` names the admin listener `{address}`, which may be on another machine"
                ))
                .help("add `--config hookgate.toml` if you trust this file")),
            }
        }
        _ => Ok(()),
    }
}

/// Returns the address in `[admin]`, or the default socket that a gate with a store opens without one.
fn listener(config: &ConfigFile) -> Result<AdminAddress, CommandFailure> {
    match config.text("admin", "listen") {
        Some(listen) => match listen.strip_prefix("unix:") {
            Some(path) => Ok(AdminAddress::Unix(config.resolve(path))),
            // The config has the address to bind to; the name to verify is in `host`, if there is one.
            None if config.has_table("admin", "tls") => {
                let address = AdminAddress::parse(&format!("https://{}", reachable(listen)))?;
                Ok(match (address, config.first_text("admin", "host")) {
                    (AdminAddress::Tls(authority, _), Some(name)) => {
                        AdminAddress::Tls(authority, name.to_owned())
                    }
                    (address, _) => address,
                })
            }
            None => AdminAddress::parse(listen),
        },
        None => AdminAddress::parse(DEFAULT),
    }
}

/// Replaces an address that means all interfaces by loopback: it can be bound to, but not connected to everywhere.
fn reachable(listen: &str) -> String {
    let Ok(mut address) = listen.parse::<SocketAddr>() else {
        return listen.to_owned();
    };
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_has_the_address_and_the_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookgate.toml");
        std::fs::write(folder.path().join("token"), "correct-horse\n").unwrap();
        // The route's secret is readable by the service only. This command does not need it, so it must not fail.
        let text = "[admin]\nlisten = \"unix:run/admin.sock\"\ntoken = { file = \"token\" }\n\
            [routes.a]\nsecret = { credential = \"nowhere\" }\n";
        std::fs::write(&path, text).unwrap();
        let config = ConfigFile::load(&path).unwrap();
        let expected = folder.path().join("run/admin.sock");
        assert_eq!(listener(&config).unwrap(), AdminAddress::Unix(expected));
        let tokens = config.secrets("admin", "token").unwrap();
        assert_eq!(tokens[0].expose(), b"correct-horse");

        std::fs::write(&path, "[admin]\nlisten = \"127.0.0.1:9180\"\n").unwrap();
        let config = ConfigFile::load(&path).unwrap();
        assert_eq!(
            listener(&config).unwrap().to_string(),
            "http://127.0.0.1:9180"
        );
        let tls =
            "[admin]\nlisten = \"0.0.0.0:9180\"\nhost = [\"gate.example.com\"]\n[admin.tls]\n";
        std::fs::write(&path, tls).unwrap();
        let config = ConfigFile::load(&path).unwrap();
        let authority = "127.0.0.1:9180".parse().unwrap();
        assert_eq!(
            listener(&config).unwrap(),
            AdminAddress::Tls(authority, "gate.example.com".to_owned())
        );
        let text = "[[admin.tokens]]\nrole = \"viewer\"\ntoken = \"look\"\n[[admin.tokens]]\nrole = \"operator\"\n\
            token = \"act\"\n";
        std::fs::write(&path, text).unwrap();
        let token = ConfigFile::load(&path).unwrap().admin_token();
        assert_eq!(token.unwrap().unwrap().expose(), b"act");
        std::fs::write(&path, "[store]\nurl = \"sqlite:x\"\n").unwrap();
        let config = ConfigFile::load(&path).unwrap();
        assert_eq!(listener(&config).unwrap().to_string(), DEFAULT);
        std::fs::write(&path, "[admin\n").unwrap();
        let failure = ConfigFile::load(&path).err().unwrap().plain();
        assert!(failure.contains("not valid TOML") && failure.contains("hookgate check"));
    }
}

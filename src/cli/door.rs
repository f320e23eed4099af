//! Where the gate of a command is, and the token for it: from the command line, the environment, or the gate's config.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::admin_client::{Address, AdminClient};
use crate::cli::config_file::{self, ConfigFile};
use crate::cli::failure::Failure;
use crate::model::secret::Secret;

/// Where the unit has it.
const DEFAULT: &str = "unix:/run/hookgate/admin.sock";

/// The token's variable; never an argument, since every user of a machine sees those.
const TOKEN: &str = "HOOKGATE_ADMIN_TOKEN";

/// Which gate is asked.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "The gate")]
pub(super) struct Door {
    /// Where its admin listener is: `unix:/run/hookgate/admin.sock` (what the unit has), or `http://127.0.0.1:9180`
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "HOOKGATE_ADMIN",
        hide_env_values = true
    )]
    admin: Option<String>,
    /// Its config file, whose `[admin]` says where it listens and what the token is
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// A file that holds the token; else the environment variable HOOKGATE_ADMIN_TOKEN is looked at
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl Door {
    /// The config file, where one is named.
    pub(super) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }

    /// Whom to ask.
    pub(super) fn client(&self) -> Result<AdminClient, Failure> {
        let config = self.config.as_deref().map(ConfigFile::load).transpose()?;
        let address = match (&self.admin, &config) {
            (Some(address), _) => Address::parse(address)?,
            (None, Some(config)) => listener(config)?,
            (None, None) => Address::parse(DEFAULT)?,
        };
        let token = self.token(config.as_ref())?;
        Ok(AdminClient::new(address, token))
    }

    fn token(&self, config: Option<&ConfigFile>) -> Result<Option<Secret>, Failure> {
        if let Some(path) = &self.token_file {
            let secret = config_file::read_secret(path);
            return secret
                .map(Some)
                .map_err(|failure| failure.doing("reading the token"));
        }
        if let Some(token) = env::var_os(TOKEN).filter(|token| !token.is_empty()) {
            return Ok(Some(Secret::new(token.into_encoded_bytes())));
        }
        let Some(config) = config else {
            return Ok(None);
        };
        config.admin_token()
    }
}

/// What `[admin]` says, or what a gate with a store does where it says nothing.
fn listener(config: &ConfigFile) -> Result<Address, Failure> {
    match config.text("admin", "listen") {
        Some(listen) => match listen.strip_prefix("unix:") {
            Some(path) => Ok(Address::Unix(config.resolve(path))),
            None => Address::parse(listen),
        },
        None => Address::parse(DEFAULT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_says_where_the_gate_is_and_what_the_token_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hookgate.toml");
        std::fs::write(folder.path().join("token"), "correct-horse\n").unwrap();
        // The route's secret is for the service only: that is no matter of this command.
        let text = "[admin]\nlisten = \"unix:run/admin.sock\"\ntoken = { file = \"token\" }\n\
            [routes.a]\nsecret = { credential = \"nowhere\" }\n";
        std::fs::write(&path, text).unwrap();
        let config = ConfigFile::load(&path).unwrap();
        let expected = folder.path().join("run/admin.sock");
        assert_eq!(listener(&config).unwrap(), Address::Unix(expected));
        let tokens = config.secrets("admin", "token").unwrap();
        assert_eq!(tokens[0].expose(), b"correct-horse");

        std::fs::write(&path, "[admin]\nlisten = \"127.0.0.1:9180\"\n").unwrap();
        let config = ConfigFile::load(&path).unwrap();
        assert_eq!(
            listener(&config).unwrap().to_string(),
            "http://127.0.0.1:9180"
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
        assert!(failure.contains("it is not TOML") && failure.contains("hookgate check"));
    }
}

//! The option `--config`, and the places where commands look for a config file without it.

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::failure::CommandFailure;

/// Environment variable that names the config file.
pub(super) const VARIABLE: &str = "HOOKGATE_CONFIG";

/// Config file in the current folder.
const HERE: &str = "./hookgate.toml";

/// Config file of the systemd unit.
const INSTALLED: &str = "/etc/hookgate/hookgate.toml";

/// Option that names the config file.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct ConfigOption {
    /// Config file (default: the environment variable HOOKGATE_CONFIG, then `./hookgate.toml`, then
    /// `/etc/hookgate/hookgate.toml`)
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

/// A config file, and how it was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct FoundConfig {
    pub(super) path: PathBuf,
    pub(super) place: ConfigPlace,
}

/// The place where a config file was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ConfigPlace {
    /// The option or the environment names it.
    Named,
    /// It is in the current folder, which may belong to another user.
    CurrentFolder,
    /// It is where packages install it.
    Installed,
}

impl ConfigOption {
    /// Returns the path of the config file that a command needs.
    pub(super) fn required(&self) -> Result<PathBuf, CommandFailure> {
        let found = find(self.config.as_deref());
        found.map(|found| found.path).ok_or_else(|| {
            let places = absent_places();
            CommandFailure::usage("no config file found")
                .help(format!("use `--config FILE`; {places}"))
        })
    }

    /// Returns the config file of this command, if there is one.
    pub(super) fn find(&self) -> Option<FoundConfig> {
        find(self.config.as_deref())
    }
}

/// Describes the places in which [`find`] found no config file, for the help of an error.
pub(super) fn absent_places() -> String {
    format!(
        "without it, hookgate looks for a file that `${VARIABLE}` names (not set), then for `{HERE}` and `{INSTALLED}` \
         (both absent)"
    )
}

/// Returns the config file: the one that an option names, else the first that exists in the usual places.
pub(super) fn find(option: Option<&Path>) -> Option<FoundConfig> {
    let named = |path: PathBuf| FoundConfig {
        path,
        place: ConfigPlace::Named,
    };
    if let Some(path) = option {
        return Some(named(path.to_owned()));
    }
    // A file that is named but absent is an error of the command, never a reason to use another file.
    if let Some(path) = env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Some(named(path.into()));
    }
    let usual = [
        (HERE, ConfigPlace::CurrentFolder),
        (INSTALLED, ConfigPlace::Installed),
    ];
    let mut usual = usual.into_iter();
    // `symlink_metadata`: a link to nowhere is a mistake that the command reports.
    let (path, place) = usual.find(|(path, _)| Path::new(path).symlink_metadata().is_ok())?;
    Some(FoundConfig {
        path: path.into(),
        place,
    })
}

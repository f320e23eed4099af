//! Reads single values of a config file, for commands that connect to a running gate.
//!
//! It does not load the whole config. Secrets may be readable by the service only (`{ credential = ... }`), and the
//! file may have changed since the gate loaded it. No message here contains the text of a secret.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use hookgate_verify::model::secret::Secret;
use toml::{Table, Value};
use zeroize::Zeroizing;

use crate::cli::failure::CommandFailure;
use crate::config;
use crate::net::text_file;

/// Folders of credentials: where systemd puts them for the service, and where they are stored before.
const CREDENTIALS: [&str; 2] = ["/run/credentials/hookgate.service", "/etc/credstore"];

/// Config file with those that it includes, parsed as TOML but not validated.
pub(super) struct ConfigFile {
    path: PathBuf,
    root: Table,
}

impl ConfigFile {
    /// Reads and parses a config file.
    pub(super) fn load(path: &Path) -> Result<Self, CommandFailure> {
        let doing = format!("reading the config `{}`", path.display());
        let texts = config::read_texts(path).map_err(|report| {
            let messages = report.diagnostics().iter();
            let messages: Vec<_> = messages.map(|each| each.message.clone()).collect();
            CommandFailure::usage(messages.join("; "))
                .doing(&doing)
                .help("check the path and the permissions of the file")
        })?;
        let mut root = Table::new();
        for file in texts {
            // The parser's own message quotes the line, which may contain a secret.
            let table = file.text.parse().map_err(|_| {
                CommandFailure::usage(format!("`{}` is not valid TOML", file.path.display()))
                    .doing(&doing)
                    .help(format!(
                        "`hookgate check --config {}` shows the line",
                        path.display()
                    ))
            })?;
            join(&mut root, table);
        }
        let path = path.to_owned();
        Ok(Self { path, root })
    }

    fn value(&self, section: &str, key: &str) -> Option<&Value> {
        self.root.get(section)?.get(key)
    }

    pub(super) fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.value(section, key)?.as_str()
    }

    /// Returns the text of a key, or the first one of a list.
    pub(super) fn first_text(&self, section: &str, key: &str) -> Option<&str> {
        match self.value(section, key)? {
            Value::Array(values) => values.first()?.as_str(),
            value => value.as_str(),
        }
    }

    /// Returns true if a section has this table.
    pub(super) fn has_table(&self, section: &str, key: &str) -> bool {
        self.value(section, key).is_some_and(Value::is_table)
    }

    /// Resolves a path in the config, which is relative to the folder of the config.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Reads the secrets of a key, which holds one secret or a list. Returns an empty list if the key is absent.
    pub(super) fn secrets(&self, section: &str, key: &str) -> Result<Vec<Secret>, CommandFailure> {
        let one = |value| {
            self.secret(value).map_err(|failure| {
                failure.doing(&format!(
                    "reading `{key}` of `[{section}]` in `{}`",
                    self.path.display()
                ))
            })
        };
        match self.value(section, key) {
            None => Ok(Vec::new()),
            Some(Value::Array(values)) => values.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }

    /// Reads the token for the admin listener: `token` of `[admin]`, else the first of `[[admin.tokens]]` with the role
    /// `operator`, since a viewer's token cannot change anything.
    pub(super) fn admin_token(&self) -> Result<Option<Secret>, CommandFailure> {
        if let Some(token) = self.secrets("admin", "token")?.into_iter().next() {
            return Ok(Some(token));
        }
        let tokens = self.value("admin", "tokens").and_then(Value::as_array);
        let word = |token: &&Value| token.get("role").and_then(Value::as_str) == Some("operator");
        let operators = tokens.and_then(|tokens| tokens.iter().find(word));
        let token = operators.and_then(|operator| operator.get("token"));
        let read = token.map(|token| self.secret(token)).transpose();
        read.map_err(|failure| {
            let path = self.path.display();
            failure.doing(&format!("reading `[[admin.tokens]]` in `{path}`"))
        })
    }

    fn secret(&self, value: &Value) -> Result<Secret, CommandFailure> {
        if let Some(text) = value.as_str() {
            return Ok(Secret::new(text.as_bytes().to_vec()));
        }
        let named = |key| value.get(key).and_then(Value::as_str);
        if let Some(name) = named("env") {
            let text = env::var_os(name).filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| {
                CommandFailure::usage(format!("the environment variable `{name}` is not set"))
            })?;
            return Ok(Secret::new(text.into_encoded_bytes()));
        }
        if let Some(path) = named("file") {
            return read_secret(&self.resolve(path));
        }
        // A name with a slash could point outside of the credential folders.
        let Some(name) = named("credential").filter(|name| !name.contains('/')) else {
            return Err(CommandFailure::usage(
                "the value is neither text nor `{ env }`, `{ file }` or `{ credential }`",
            ));
        };
        // The variable first: systemd sets it for the process itself.
        let given = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        let folders = given.into_iter().chain(CREDENTIALS.map(PathBuf::from));
        let mut paths = folders.map(|folder| folder.join(name));
        match paths.find(|path| path.exists()) {
            Some(path) => read_secret(&path),
            None => Err(CommandFailure::usage(format!(
                "cannot read the credential `{name}` in the credential folders of systemd"
            ))
            .help("run the command as root, for example with `sudo`")),
        }
    }
}

/// Adds the keys of another file. `check` reports a key that is in two files; here the first one counts.
fn join(into: &mut Table, from: Table) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (None, value) => drop(into.insert(name, value)),
            // The parser bounds the depth of tables, and so of this recursion.
            (Some(Value::Table(old)), Value::Table(new)) => join(old, new),
            (Some(Value::Array(old)), Value::Array(new)) => old.extend(new),
            (Some(_), _) => {}
        }
    }
}

/// Reads a secret from a file. Removes one line end at the end of the file, which editors add.
pub(super) fn read_secret(path: &Path) -> Result<Secret, CommandFailure> {
    let bytes = fs::read(path).map_err(|err| {
        CommandFailure::usage(format!("cannot read `{}`: {err}", path.display()))
            .help("check the path and the permissions of the file")
    })?;
    // Overwritten when dropped, since the secret below is a copy without the line end.
    let mut bytes = Zeroizing::new(bytes);
    text_file::normalize(&mut bytes);
    let secret = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let secret = secret.strip_suffix(b"\r").unwrap_or(secret);
    Ok(Secret::new(secret.to_vec()))
}

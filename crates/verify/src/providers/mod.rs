//! Providers: the facts about each webhook sender, as data.
//!
//! One TOML file per provider is compiled in, and `config` looks up a route's `provider` with `find`. No file is read
//! or fetched at run time. A file is parsed on first use, so that a config costs only the providers that it names.

pub mod challenge;
mod files;
pub mod identity;
mod keys;
mod load;
mod provider;

use std::sync::{Arc, LazyLock, OnceLock};

use crate::document::report::DiagnosticReport;
use crate::providers::files::FILES;
pub use crate::providers::provider::{
    DEFAULT_TOLERANCE, IpRanges, Provider, ProviderEvidence, ProviderRetries, RangesFormat,
};

/// The parsed file for each entry of [`FILES`], filled on first use. An invalid file yields `None`; a test over all
/// files prevents that from being released.
static SLOTS: [OnceLock<Option<Arc<Provider>>>; FILES.len()] =
    [const { OnceLock::new() }; FILES.len()];

static ALL: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| ids().filter_map(find).collect());

/// Returns the provider with this id.
#[must_use]
pub fn find(id: &str) -> Option<Arc<Provider>> {
    let files = FILES.iter().zip(&SLOTS);
    let mut files = files.filter(|((name, _), _)| name.strip_suffix(".toml") == Some(id));
    let ((name, text), slot) = files.next()?;
    // Parsed at most once, even if two threads ask at the same time.
    slot.get_or_init(|| load::parse(name, text).ok().map(Arc::new))
        .clone()
}

/// Returns every id, sorted. Parses no file.
pub fn ids() -> impl Iterator<Item = &'static str> {
    let names = FILES.iter().map(|(name, _)| *name);
    names.filter_map(|name| name.strip_suffix(".toml"))
}

/// Returns every provider, sorted by id. Parses every file, so do not call it at startup.
#[must_use]
pub fn all() -> &'static [Arc<Provider>] {
    &ALL
}

/// Parses the text of a provider file.
///
/// # Errors
/// Returns a report of every error in it.
pub fn parse(text: &str) -> Result<Provider, Box<DiagnosticReport>> {
    load::parse("a.toml", text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Fails if the build script drops anything but vectors and samples, or keeps any of them.
    #[test]
    fn only_vectors_and_samples_are_left_out_of_the_library() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("providers");
        assert!(FILES.len() > 240);
        for (name, text) in FILES {
            let whole = std::fs::read_to_string(folder.join(name)).unwrap();
            let whole = load::parse(name, &whole).ok().unwrap();
            let kept = load::parse(name, text).ok().unwrap();
            assert_eq!(format!("{kept:?}"), format!("{whole:?}"), "{name}");
            let kept: toml::Table = toml::from_str(text).unwrap();
            assert!(!kept.contains_key("samples"), "{name}");
            for vector in kept["vectors"].as_array().into_iter().flatten() {
                let keys: Vec<&str> = vector
                    .as_table()
                    .unwrap()
                    .keys()
                    .map(String::as_str)
                    .collect();
                assert_eq!(keys, ["source"], "{name}");
            }
        }
    }
}

//! The texts of the provider files, as compiled in.

/// The compiled-in files, as name and text, sorted by name.
pub(super) static FILES: &[(&str, &str)] =
    &include!(concat!(env!("OUT_DIR"), "/provider_files.rs"));

/// Returns the text of the file with this id.
pub(super) fn text_of(id: &str) -> Option<&'static str> {
    let mut files = FILES.iter();
    let found = files.find(|(name, _)| name.strip_suffix(".toml") == Some(id));
    found.map(|(_, text)| *text)
}

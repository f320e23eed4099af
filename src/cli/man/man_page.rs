//! One man page and its place below a folder.

use std::path::PathBuf;

/// One man page.
pub(super) struct ManPage {
    /// The name of the command or file.
    pub(super) name: String,
    /// The section of the manual: 1 for commands, 5 for file formats.
    pub(super) section: u8,
    /// The page as roff.
    pub(super) text: String,
}

impl ManPage {
    /// Returns the path below a folder with man pages, such as `man1/hookgate.1`.
    pub(super) fn path(&self) -> PathBuf {
        let Self { name, section, .. } = self;
        PathBuf::from(format!("man{section}/{name}.{section}"))
    }
}

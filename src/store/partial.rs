//! A file that gets its final name only when it is complete.
//!
//! It is written under another name, synchronized and then renamed. A process that ends at any moment leaves nothing
//! under the final name.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file under its temporary name, which only its owner may read.
pub(crate) struct PartialFile {
    final_path: PathBuf,
    path: PathBuf,
    /// Locked while it is written. The lock distinguishes a leftover of a dead process from a file that another process
    /// writes.
    file: File,
    /// True if an unfinished file stays for another process to go on with.
    is_kept: bool,
    is_done: bool,
}

fn with(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

fn exists(path: &Path) -> io::Error {
    let text = format!(
        "`{}` exists already: remove it, or choose another name",
        path.display()
    );
    io::Error::new(ErrorKind::AlreadyExists, text)
}

impl PartialFile {
    /// Creates the temporary file. Fails if the final name exists. Removes the leftover of a killed process.
    pub(crate) fn begin(to: &Path) -> io::Result<Self> {
        if to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        let path = with(to, ".partial");
        let open = || {
            let mut options = OpenOptions::new();
            options.create_new(true).read(true).write(true).mode(0o600);
            options.open(&path)
        };
        let file = match open() {
            // A leftover may be removed only if its lock is free: another process may still write it.
            Err(err) if err.kind() == ErrorKind::AlreadyExists => {
                let left = OpenOptions::new().write(true).open(&path)?;
                lock(&left, &path)?;
                remove(&path);
                open()?
            }
            opened => opened?,
        };
        lock(&file, &path)?;
        Ok(Self {
            final_path: to.to_owned(),
            path,
            file,
            is_kept: false,
            is_done: false,
        })
    }

    /// Opens the file that an earlier process left unfinished, or creates it. It stays if this process does not finish
    /// it either. Fails if the final name exists.
    pub(crate) fn resume(to: &Path) -> io::Result<Self> {
        if to.symlink_metadata().is_ok() {
            return Err(exists(to));
        }
        let path = with(to, ".partial");
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).write(true);
        let file = options.mode(0o600).open(&path)?;
        lock(&file, &path)?;
        Ok(Self {
            final_path: to.to_owned(),
            path,
            file,
            is_kept: true,
            is_done: false,
        })
    }

    /// Returns the temporary path, for programs that open the file by name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the file. It must not be cloned while SQLite has it open: closing the clone would release SQLite's
    /// locks.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// Synchronizes the file and gives it its final name.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.sync_all()?;
        let (from, to) = (&self.path, &self.final_path);
        let cwd = rustix::fs::CWD;
        let flags = rustix::fs::RenameFlags::NOREPLACE;
        match rustix::fs::renameat_with(cwd, from, cwd, to, flags) {
            Ok(()) => {}
            // Some file systems do not support a rename that fails if the target exists.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS)
                if to.symlink_metadata().is_err() =>
            {
                std::fs::rename(from, to)?;
            }
            Err(errno) => return Err(errno.into()),
        }
        self.is_done = true;
        // The new name is durable only after its folder is synchronized.
        let folder = self
            .final_path
            .parent()
            .filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_done && !self.is_kept {
            remove(&self.path);
        }
    }
}

fn lock(file: &File, path: &Path) -> io::Result<()> {
    let wanted = rustix::fs::FlockOperation::NonBlockingLockExclusive;
    match rustix::fs::flock(file, wanted) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let text = format!("another process is writing `{}`", path.display());
            Err(io::Error::new(ErrorKind::ResourceBusy, text))
        }
        Err(errno) => Err(errno.into()),
    }
}

/// Removes the file and the files that SQLite may have put beside it.
fn remove(path: &Path) {
    for suffix in ["-journal", "-wal", "-shm", ""] {
        let _ = std::fs::remove_file(with(path, suffix));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    // Fails when the file is written under its final name, what is there is replaced, or a leftover stays in the way.
    #[test]
    fn a_file_gets_its_name_when_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("out");
        drop(PartialFile::begin(&to).unwrap());
        assert_eq!(folder.path().read_dir().unwrap().count(), 0);
        // The leftover of a killed process.
        std::fs::write(folder.path().join("out.partial"), "half").unwrap();
        let partial = PartialFile::begin(&to).unwrap();
        assert!(PartialFile::begin(&to).is_err(), "two write the same file");
        partial.file().write_all(b"whole").unwrap();
        assert!(!to.exists());
        partial.finish().unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"whole");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
        assert!(PartialFile::begin(&to).is_err());
        let other = PartialFile::begin(&folder.path().join("other")).unwrap();
        std::fs::write(folder.path().join("other"), "there").unwrap();
        assert!(other.finish().is_err());
        assert_eq!(
            std::fs::read(folder.path().join("other")).unwrap(),
            b"there"
        );
    }
}

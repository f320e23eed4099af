//! Build script that compiles the test payloads into the program.
//!
//! It writes `payload_files.rs` to `$OUT_DIR`: an array of names and texts, so that the program needs no data files at
//! run time.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::var("CARGO_MANIFEST_DIR")?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=src/build.rs");

    // Payloads have one folder for each provider. Cargo watches a folder for new and removed files only if that folder
    // itself is named, so each one is.
    let folder = Path::new(&root).join("src/testing/payloads");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut payloads = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let provider = entry?.path();
        println!("cargo::rerun-if-changed={}", provider.display());
        let files = sorted(&provider, "http")?.into_iter();
        payloads.extend(files.map(|path| (name(&provider), path)));
    }
    // `read_dir` has no fixed order; sorted, the build is reproducible.
    payloads.sort();
    let payloads = payloads.iter().map(|(name, path)| (name.clone(), path));
    fs::write(out.join("payload_files.rs"), list(payloads)?)?;
    Ok(())
}

/// Returns the files with this extension in a folder, sorted by path so that the build is reproducible.
fn sorted(folder: &Path, extension: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default();
    name.display().to_string()
}

/// Formats a Rust array of `(name, text)`, in which the compiler reads each text by `include_str!`.
fn list<'a>(files: impl Iterator<Item = (String, &'a PathBuf)>) -> Result<String, Box<dyn Error>> {
    let mut list = "[\n".to_owned();
    for (name, path) in files {
        writeln!(list, "    ({name:?}, include_str!({path:?})),")?;
    }
    list.push_str("]\n");
    Ok(list)
}

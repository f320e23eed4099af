//! Build script that compiles the provider files into the library, without their test vectors.
//!
//! It writes `provider_files.rs` to `$OUT_DIR`: an array of names and texts, so that no data files are needed at run
//! time.

use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("providers");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", folder.display());

    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|found| found == "toml") {
            paths.push(path);
        }
    }
    // `read_dir` has no fixed order; sorted, the build is reproducible.
    paths.sort();
    let mut list = "[\n".to_owned();
    for path in paths {
        let name = path.file_name().unwrap_or_default().display().to_string();
        let text = without_vectors(&fs::read_to_string(&path)?);
        writeln!(list, "    ({name:?}, {text:?}),")?;
    }
    list.push_str("]\n");
    fs::write(out.join("provider_files.rs"), list)?;
    Ok(())
}

/// Drops the tables that only tests read: each `[[samples]]`, and each `[[vectors]]` but for its `source`, which the
/// catalogue names as evidence. A test compares the result with the whole files.
fn without_vectors(text: &str) -> String {
    let mut kept = String::new();
    let mut table = "";
    // The quotes that end the multi-line string that a line is in.
    let mut open: Option<&str> = None;
    for line in text.lines() {
        let is_inside = open.is_some();
        for quotes in ["'''", "\"\"\""] {
            if line.matches(quotes).count() % 2 == 1 && open.is_none_or(|until| until == quotes) {
                open = if is_inside { None } else { Some(quotes) };
            }
        }
        if !is_inside && line.starts_with('[') {
            table = line;
        }
        let is_kept = match table {
            "[[samples]]" => false,
            "[[vectors]]" => !is_inside && (line == table || line.starts_with("source = ")),
            _ => true,
        };
        if is_kept {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

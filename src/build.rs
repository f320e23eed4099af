//! Lists the provider files so that they are compiled in: `$OUT_DIR/provider_files.rs` is an array of names and texts.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::var("CARGO_MANIFEST_DIR")?;
    let folder = Path::new(&root).join("src/providers");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=src/build.rs");
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            files.push(path);
        }
    }
    files.sort();
    let mut list = "[\n".to_owned();
    for path in &files {
        let name = path.file_name().unwrap_or_default().display();
        writeln!(
            list,
            "    ({:?}, include_str!({path:?})),",
            name.to_string()
        )?;
    }
    list.push_str("]\n");
    fs::write(
        Path::new(&env::var("OUT_DIR")?).join("provider_files.rs"),
        list,
    )?;
    Ok(())
}

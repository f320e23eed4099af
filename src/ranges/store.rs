//! Refreshed ranges on disk, so that a restart goes on with them: one JSON file for each sender in the folder `ranges` of
//! the state folder.
//!
//! A file that cannot be read, is of another form, speaks of another URL or holds what no sender has is as good as none.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ranges::{Ranges, Source, judge};

/// The form of the files.
const VERSION: u32 = 1;

/// Far more than the most ranges take.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    url: String,
    read: String,
    cidrs: Vec<IpNet>,
}

/// The ranges that were kept; none where nothing usable is there.
pub(super) fn load(folder: &Path, source: &Source) -> Option<Ranges> {
    let mut text = String::new();
    let file = File::open(path(folder, source)).ok()?;
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let kept: Kept = serde_json::from_str(&text).ok()?;
    let is_known = kept.version == VERSION && kept.url == source.url.as_str();
    if !is_known || kept.cidrs.is_empty() || judge::check(&kept.cidrs).is_err() {
        return None;
    }
    Some(Ranges {
        read: kept.read,
        nets: kept.cidrs,
    })
}

/// Keeps ranges: whole, or not at all.
pub(super) fn save(folder: &Path, source: &Source, ranges: &Ranges) -> io::Result<()> {
    let kept = Kept {
        version: VERSION,
        url: source.url.as_str().to_owned(),
        read: ranges.read.clone(),
        cidrs: ranges.nets.clone(),
    };
    let text = serde_json::to_vec_pretty(&kept)?;
    let path = path(folder, source);
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    fs::create_dir_all(folder.join("ranges"))?;
    let written = write(&fresh, &text).and_then(|()| fs::rename(&fresh, &path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn path(folder: &Path, source: &Source) -> PathBuf {
    folder.join("ranges").join(format!("{}.json", source.id))
}

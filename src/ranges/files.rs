//! Refreshed ranges on disk, so that they survive a restart.
//!
//! The folder `ranges` of the state folder has one JSON file for each provider. A file is ignored if it cannot be read,
//! has another format or URL, or has ranges that no provider can have.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::ranges::plausibility;
use crate::ranges::sender_ranges::{RangesEndpoint, SenderRanges};

/// Version of the file format.
const VERSION: u32 = 1;

/// Maximum size of a file in bytes, far more than `MAX_RANGES` ranges take.
const MAX_BYTES: u64 = 1 << 20;

/// Content of a file: ranges, with their source and day.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredRanges {
    version: u32,
    url: String,
    read: String,
    cidrs: Vec<IpNet>,
}

/// Loads saved ranges; returns `None` if there is no usable file.
pub(super) fn load(folder: &Path, source: &RangesEndpoint) -> Option<SenderRanges> {
    let mut text = String::new();
    let file = File::open(path(folder, source)).ok()?;
    // The folder is trusted, but a damaged file must not use up memory.
    file.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    let kept: StoredRanges = serde_json::from_str(&text).ok()?;
    // Ranges of another URL may belong to another list, so a changed URL starts again from the provider file.
    let is_known = kept.version == VERSION && kept.url == source.url.as_str();
    if !is_known || kept.cidrs.is_empty() || plausibility::check(&kept.cidrs).is_err() {
        return None;
    }
    Some(SenderRanges {
        read: kept.read,
        nets: kept.cidrs,
    })
}

/// Saves ranges atomically: the file is complete or unchanged.
pub(super) fn save(
    folder: &Path,
    source: &RangesEndpoint,
    ranges: &SenderRanges,
) -> io::Result<()> {
    let kept = StoredRanges {
        version: VERSION,
        url: source.url.as_str().to_owned(),
        read: ranges.read.clone(),
        cidrs: ranges.nets.clone(),
    };
    let text = serde_json::to_vec_pretty(&kept)?;
    let path = path(folder, source);
    let fresh = path.with_extension(format!("json.{}", std::process::id()));
    fs::create_dir_all(folder.join("ranges"))?;
    // A rename within one folder is atomic; the process id keeps two processes out of each other's file.
    let written = write(&fresh, &text).and_then(|()| fs::rename(&fresh, &path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&fresh);
    })
}

/// Writes a file and syncs it, so that the rename cannot survive a crash without the content.
fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(text)?;
    file.sync_all()
}

fn path(folder: &Path, source: &RangesEndpoint) -> PathBuf {
    folder.join("ranges").join(format!("{}.json", source.id))
}

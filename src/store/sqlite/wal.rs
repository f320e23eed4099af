//! SQLite's write-ahead log as bytes: its valid part, its discarded part, and making it durable.
//!
//! The format is version 3007000 (sqlite.org/fileformat2.html#walformat): a head, then frames of one page each. A
//! checksum runs through all frames, so for SQLite the log ends at the first frame that does not match. Salts identify
//! the generation: leftover frames of an earlier generation have other salts.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const HEAD: usize = 32;
const FRAME_HEAD: usize = 24;

/// Bytes that are read and rewritten at a time.
const CHUNK: usize = 1 << 20;

/// The findings of a walk through a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct WalExtent {
    /// Bytes up to the end of the last valid commit.
    pub(super) valid: u64,
    /// Number of commits up to there.
    pub(super) commits: u64,
    /// Frames of the same generation behind that point, which SQLite ignores.
    pub(super) discarded_frames: u64,
    /// Commits that end in these frames.
    pub(super) discarded_commits: u64,
    /// Frames whose checksum does not continue that of the previous frame.
    pub(super) damaged_frames: u64,
    /// True if the checksum of the head does not match, so that SQLite ignores the whole log.
    pub(super) is_head_damaged: bool,
    /// Size of the log in bytes.
    pub(super) size: u64,
}

/// One frame of the log.
pub(super) struct WalFrame<'a> {
    /// Number of the page, from 1.
    pub(super) page: u32,
    /// True if this is the last frame of its commit.
    pub(super) is_commit: bool,
    pub(super) data: &'a [u8],
}

/// Returns the path of the log beside a file.
pub(super) fn path_of(path: &Path) -> PathBuf {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    log.into()
}

struct WalHeader {
    is_big_endian: bool,
    page_size: usize,
    salts: [u8; 8],
    sums: (u32, u32),
    is_sound: bool,
}

/// Reads four bytes as a big-endian number; 0 if there are fewer.
fn number(bytes: &[u8], at: usize) -> u32 {
    let found = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    found.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Continues the checksum over whole pairs of words.
fn sum(is_big_endian: bool, bytes: &[u8], (mut one, mut two): (u32, u32)) -> (u32, u32) {
    let word = |bytes: &[u8; 4]| match is_big_endian {
        true => u32::from_be_bytes(*bytes),
        false => u32::from_le_bytes(*bytes),
    };
    let (words, _) = bytes.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    for [first, second] in pairs {
        one = one.wrapping_add(word(first)).wrapping_add(two);
        two = two.wrapping_add(word(second)).wrapping_add(one);
    }
    (one, two)
}

impl WalHeader {
    /// Parses a head. Returns `None` if the bytes are not the head of a log.
    fn parse(bytes: &[u8; HEAD]) -> Option<Self> {
        let is_big_endian = match number(bytes, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let page_size = usize::try_from(number(bytes, 8)).ok()?;
        if !page_size.is_power_of_two() || !(512..=65_536).contains(&page_size) {
            return None;
        }
        let summed = bytes.get(..24)?;
        let sums = (number(bytes, 24), number(bytes, 28));
        Some(Self {
            is_big_endian,
            page_size,
            salts: *bytes.get(16..24)?.first_chunk()?,
            is_sound: sum(is_big_endian, summed, (0, 0)) == sums,
            sums,
        })
    }
}

/// Walks through a log and passes on each frame of its generation, including those behind damage.
pub(super) fn walk(
    path: &Path,
    each: &mut dyn FnMut(&WalFrame<'_>) -> io::Result<()>,
) -> io::Result<WalExtent> {
    let file = match File::open(path) {
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(WalExtent::default()),
        opened => opened?,
    };
    let size = file.metadata()?.len();
    let mut extent = WalExtent {
        size,
        ..WalExtent::default()
    };
    let mut reader = BufReader::with_capacity(CHUNK, file);
    let mut head = [0; HEAD];
    // A log that ends in its head, or whose head is all zeros, is empty and not damaged.
    if !fill(&mut reader, &mut head)? || head == [0; HEAD] {
        return Ok(extent);
    }
    let Some(head) = WalHeader::parse(&head) else {
        extent.is_head_damaged = true;
        return Ok(extent);
    };
    extent.is_head_damaged = !head.is_sound;
    let mut frame = vec![0; FRAME_HEAD + head.page_size];
    let mut sums = head.sums;
    let mut at = u64::try_from(HEAD).unwrap_or(0);
    let mut is_counting = head.is_sound;
    let mut is_current = true;
    let mut pending = (0, 0);
    while fill(&mut reader, &mut frame)? {
        at = at.saturating_add(u64::try_from(frame.len()).unwrap_or(0));
        let Some((top, data)) = frame.split_at_checked(FRAME_HEAD) else {
            break;
        };
        if top.get(8..16) != Some(&head.salts[..]) {
            // The frames of this generation end here, unless the damage is in the salts themselves.
            is_counting = false;
            is_current = false;
            continue;
        }
        let found = (number(top, 16), number(top, 20));
        let computed = sum(head.is_big_endian, top.get(..8).unwrap_or_default(), sums);
        let computed = sum(head.is_big_endian, data, computed);
        let is_sound = computed == found && is_current;
        is_current = true;
        // Continue from the stored checksum, not the computed one: so one damaged frame does not hide those behind it.
        sums = found;
        // After the first bad frame SQLite ignores the rest, even sound frames.
        is_counting &= is_sound;
        let is_commit = number(top, 4) != 0;
        if is_counting && is_commit {
            extent.valid = at;
            extent.commits += 1;
            pending = (0, 0);
        } else {
            pending.0 += 1;
            pending.1 += u64::from(is_commit);
            extent.damaged_frames += u64::from(!is_sound);
        }
        let page = number(top, 0);
        each(&WalFrame {
            page,
            is_commit,
            data,
        })?;
    }
    (extent.discarded_frames, extent.discarded_commits) = pending;
    Ok(extent)
}

/// Fills the buffer. Returns `false` if the file ends before.
fn fill(reader: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(err) if err.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(err) => Err(err),
    }
}

/// Makes the log durable as it is read now.
///
/// After a failed synchronization, in this process or one that died of it, pages of the log may be only in the system's
/// cache, which reports them as written. Synchronizing again does nothing. If the log were copied into the file and the
/// power failed meanwhile, the file would hold pages of commits that the log has lost. So this rewrites the same bytes
/// at the same offsets and synchronizes them, before anything copies from the log.
pub(super) fn secure(path: &Path) -> io::Result<WalExtent> {
    let log = path_of(path);
    let extent = walk(&log, &mut |_| Ok(()))?;
    if extent.valid == 0 {
        return Ok(extent);
    }
    let file = OpenOptions::new().read(true).write(true).open(&log)?;
    let mut chunk = vec![0; CHUNK];
    let mut at = 0;
    while at < extent.valid {
        let left = usize::try_from(extent.valid - at).unwrap_or(CHUNK);
        let Some(part) = chunk.get_mut(..left.min(CHUNK)) else {
            break;
        };
        file.read_exact_at(part, at)?;
        file.write_all_at(part, at)?;
        at = at.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
    }
    file.sync_data()?;
    Ok(extent)
}

/// Logs how much of the store's write-ahead log was discarded, and why.
pub(super) fn report(path: &Path, extent: &WalExtent) {
    let path = path_of(path);
    let path = path.display();
    if extent.is_head_damaged {
        tracing::error!(
            %path, bytes = extent.size, frames = extent.discarded_frames, commits = extent.discarded_commits,
            "the head of the store's log is damaged: all of the log is discarded, and commits that it alone held \
             are lost"
        );
    } else if extent.discarded_commits > 1 {
        // A power cut leaves at most one incomplete commit. More than one means that acknowledged commits are lost.
        tracing::error!(
            %path, kept_bytes = extent.valid, kept_commits = extent.commits,
            frames = extent.discarded_frames, commits = extent.discarded_commits,
            "the store's log is damaged: a checksum does not fit, and all commits behind it are discarded; they \
             were acknowledged"
        );
    } else if extent.discarded_commits == 1 {
        tracing::warn!(
            %path, kept_bytes = extent.valid, kept_commits = extent.commits,
            frames = extent.discarded_frames, commits = 1,
            "the last commit of the store's log is incomplete and was discarded: it was being written when the \
             machine stopped, or it is damaged"
        );
    } else if extent.discarded_frames > 0 {
        tracing::info!(
            %path, kept_bytes = extent.valid, kept_commits = extent.commits, frames = extent.discarded_frames,
            "the end of the store's log was discarded: it belongs to a commit that was never finished"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a folder with a log of some commits, and the path of the file that it belongs to.
    fn log(commits: u64) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA wal_autocheckpoint = 0; CREATE TABLE t (x)",
        )
        .unwrap();
        for _ in 1..commits {
            conn.execute("INSERT INTO t VALUES (randomblob(3000))", [])
                .unwrap();
        }
        let bytes = std::fs::read(path_of(&path)).unwrap();
        drop(conn);
        let path = folder.path().join("b.db");
        std::fs::write(path_of(&path), bytes).unwrap();
        (folder, path)
    }

    fn flip(path: &Path, at: usize) {
        let mut bytes = std::fs::read(path_of(path)).unwrap();
        bytes[at] ^= 4;
        std::fs::write(path_of(path), bytes).unwrap();
    }

    // Fails when the checksum is computed differently from SQLite.
    #[test]
    fn a_whole_log_counts_to_its_end() {
        let (_folder, path) = log(9);
        let extent = secure(&path).unwrap();
        assert_eq!((extent.valid, extent.commits), (extent.size, 9));
        assert_eq!((extent.discarded_frames, extent.damaged_frames), (0, 0));
        assert_eq!(secure(&path.with_extension("none")).unwrap().size, 0);
    }

    // Fails when the walk does not continue behind a damaged frame, or counts the damage as valid.
    #[test]
    fn one_flipped_bit_discards_all_behind_it_and_is_counted() {
        let (_folder, path) = log(9);
        let whole = secure(&path).unwrap();
        let frame = FRAME_HEAD + 4096;
        let frames = (usize::try_from(whole.size).unwrap() - HEAD) / frame;
        for place in [0, 9, 17, 2000] {
            flip(&path, HEAD + frames / 2 * frame + place);
            let extent = secure(&path).unwrap();
            assert!(extent.valid < whole.size, "{extent:?}");
            assert!(extent.discarded_frames >= 3, "{extent:?}");
            assert!(extent.discarded_commits > 1, "{extent:?}");
            let seen = extent.commits + extent.discarded_commits;
            // A frame with other salts is not counted.
            assert!(seen == 9 || (seen == 8 && place == 9), "{extent:?}");
            flip(&path, HEAD + frames / 2 * frame + place);
        }
        flip(&path, 20);
        let extent = secure(&path).unwrap();
        assert!(extent.is_head_damaged && extent.valid == 0, "{extent:?}");
    }
}

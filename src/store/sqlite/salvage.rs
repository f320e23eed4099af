//! Export of a damaged file: reads each readable event and counts the unreadable ones.
//!
//! It works on a copy of the file with the log merged into it, including commits behind damage in the log, which SQLite
//! ignores. It rewrites the head of the copy, so that a file that was cut or has a damaged head opens. `carve` looks on leaf
//! pages for rows to which no tree leads. Each body is compared with the digest that was computed at acceptance.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use hookgate_verify::model::secret::Secret;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::model::delivery::DeliveryState;
use crate::model::error::chain;
use crate::store::error::StoreError;
use crate::store::event::StoredEventRow;
use crate::store::export_line::{event_fields, put_bytes};
use crate::store::head::EventHead;
use crate::store::names::NameTable;
use crate::store::partial::PartialFile;
use crate::store::rows::StoredEvent;
use crate::store::seal::ContentSealer;
use crate::store::sqlite::carve::{CarveError, carve};
use crate::store::sqlite::carve::{PAGE, PAGE_BYTES};
use crate::store::sqlite::connect::{FileLock, io_failed, open_failed};
use crate::store::sqlite::export::EventExport;
use crate::store::sqlite::list_numbers::numbers;
use crate::store::sqlite::migrate::migrate;
use crate::store::sqlite::wal;
use crate::store::sqlite::{event_rows, load_names, sealing_keys};

/// Events that one query looks for.
pub(super) const AT_ONCE: i64 = 256;

/// Counts of a finished salvage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SalvageResult {
    /// Events that were written exactly as they were accepted.
    pub whole: u64,
    /// Events that are incomplete or differ from what was accepted; `lacks` in their lines names the missing parts.
    pub in_part: u64,
    /// Events among these that were found on pages to which no tree of the file leads. Retention may have removed
    /// some of them.
    pub carved: u64,
    /// Numbers of events at which nothing can be read. Some of these numbers may never have had an event.
    pub unreadable: u64,
    /// Commits of the write-ahead log behind damage in it. An ordinary start discards them; the salvage reads them.
    pub discarded_commits: u64,
    /// Frames of the write-ahead log whose checksum does not match.
    pub damaged_frames: u64,
}

/// Writes the readable part of a damaged store file as `export` does, and counts what is unreadable. Works on a copy
/// in the folder `scratch`, which needs as much room as the store. Fails with `InUse` if a gate runs on the file. Blocks.
pub(crate) fn salvage(
    path: &Path,
    keys: &[Secret],
    since_ms: Option<i64>,
    scratch: &Path,
    out: &mut dyn Write,
) -> Result<SalvageResult, StoreError> {
    // The lock ensures that no gate writes the file meanwhile.
    let lock = FileLock::take(path)?;
    let failed = |err: io::Error| open_failed(path, io_failed(&err));
    // The copy never gets its final name, so it is removed at the end. A leftover of a killed process is removed too.
    let copy = PartialFile::begin(&scratch.join("hookgate-salvage.db")).map_err(failed)?;
    let extent = merge(path, copy.file()).map_err(failed)?;
    drop(lock);
    let carver = Carver {
        copy: copy.file(),
        folder: scratch,
        keys,
        carved: OnceCell::new(),
    };
    let opened = open(copy.path());
    if opened.is_err() && carver.carved().is_none() {
        return opened
            .map(|_| SalvageResult::default())
            .map_err(StoreError::Read);
    }
    let sealer = opened
        .as_ref()
        .ok()
        .map(|conn| sealing_keys::open(conn, keys, false));
    let sealer = sealer.and_then(Result::ok).unwrap_or_default();
    let (conn, sealer, names) = match (&opened, carver.carved.get()) {
        // Without the first page nothing leads to anything.
        (Err(_), Some(Some(carved))) => (&carved.conn, &carved.sealer, Arc::clone(&carved.names)),
        (Ok(conn), _) => {
            let names = load_names::load_names(conn).unwrap_or_default();
            (conn, &sealer, Arc::new(names))
        }
        (Err(_), _) => return Ok(SalvageResult::default()),
    };
    let mut salvage = SalvageRun {
        export: EventExport {
            conn,
            sealer,
            path,
            since_ms: since_ms.unwrap_or(i64::MIN),
        },
        names,
        carver: &carver,
        found: SalvageResult {
            discarded_commits: extent.discarded_commits,
            damaged_frames: extent.damaged_frames,
            ..SalvageResult::default()
        },
    };
    salvage.run(out)?;
    out.flush().map_err(StoreError::Output)?;
    Ok(salvage.found)
}

/// Copies the file and merges the log into the copy.
fn merge(from: &Path, copy: &File) -> io::Result<wal::WalExtent> {
    let source = File::open(from)?;
    io::copy(&mut &source, &mut &*copy)?;
    let most = source.metadata()?.len() / PAGE_BYTES + log_pages(from) + 1;
    // Pages of a commit whose last frame is still to come.
    let mut pending: Vec<(u64, Vec<u8>)> = Vec::new();
    let extent = wal::walk(&wal::path_of(from), &mut |frame| {
        let page = u64::from(frame.page);
        // A damaged frame may name any page. Ignore pages that no store of this size can have.
        if page == 0 || page > most || frame.data.len() != PAGE {
            return Ok(());
        }
        pending.push((page - 1, frame.data.to_vec()));
        if frame.is_commit {
            for (page, data) in pending.drain(..) {
                copy.write_all_at(&data, page.saturating_mul(PAGE_BYTES))?;
            }
        }
        Ok(())
    })?;
    set_head(copy)?;
    Ok(extent)
}

fn log_pages(path: &Path) -> u64 {
    std::fs::metadata(wal::path_of(path)).map_or(0, |log| log.len() / PAGE_BYTES)
}

/// Writes the fields of the head that describe the format. They are the same in all stores, except for the number of
/// pages, which follows from the size of the copy.
fn set_head(copy: &File) -> io::Result<()> {
    let pages = u32::try_from(copy.metadata()?.len() / PAGE_BYTES).unwrap_or(u32::MAX);
    copy.write_all_at(b"SQLite format 3\0", 0)?;
    // Pages of 4,096 bytes, no log, no reserved bytes, and the fixed payload fractions.
    copy.write_all_at(&[0x10, 0, 1, 1, 0, 64, 32, 32], 16)?;
    copy.write_all_at(&pages.to_be_bytes(), 28)?;
    // No list of free pages, because the copy is never written to.
    copy.write_all_at(&[0; 8], 32)?;
    // The schema format, and UTF-8 as the encoding.
    copy.write_all_at(&4_u32.to_be_bytes(), 44)?;
    copy.write_all_at(&1_u32.to_be_bytes(), 56)?;
    // SQLite uses the number of pages only if these two counters are equal.
    let mut counter = [0; 4];
    copy.read_exact_at(&mut counter, 24)?;
    copy.write_all_at(&counter, 92)
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    // Set before anything is read: with it SQLite tolerates as much damage as it can.
    conn.execute_batch("PRAGMA writable_schema = ON; PRAGMA cell_size_check = ON")?;
    conn.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(conn)
}

/// The rows of the leaf pages, read when the trees first fail to lead somewhere.
struct Carver<'a> {
    copy: &'a File,
    folder: &'a Path,
    keys: &'a [Secret],
    carved: OnceCell<Option<Carved>>,
}

/// A store of the rows that were found.
struct Carved {
    conn: Connection,
    sealer: ContentSealer,
    names: Arc<NameTable>,
    /// Removed at the end.
    _file: PartialFile,
}

impl Carver<'_> {
    fn carved(&self) -> Option<&Carved> {
        let carved = self.carved.get_or_init(|| {
            let carved = self.carve();
            carved
                .inspect_err(|error| {
                    let error = chain(error);
                    tracing::warn!(error, "the pages of the file could not be read one by one");
                })
                .ok()
        });
        carved.as_ref()
    }

    fn carve(&self) -> Result<Carved, CarveError> {
        let file = PartialFile::begin(&self.folder.join("hookgate-carve.db"))?;
        let conn = Connection::open(file.path())?;
        conn.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF")?;
        migrate(&conn, 0)?;
        carve(self.copy, &conn)?;
        Ok(Carved {
            sealer: sealing_keys::open(&conn, self.keys, false).unwrap_or_default(),
            names: Arc::new(load_names::load_names(&conn)?),
            conn,
            _file: file,
        })
    }
}

struct SalvageRun<'a> {
    export: EventExport<'a>,
    names: Arc<NameTable>,
    carver: &'a Carver<'a>,
    found: SalvageResult,
}

impl SalvageRun<'_> {
    fn run(&mut self, out: &mut dyn Write) -> Result<(), StoreError> {
        let last = self.last();
        let mut seen = 0;
        while seen < last {
            let mut next = self.after(seen, AT_ONCE);
            if next.is_err() {
                // One damaged page fails the whole query, so look for the next event alone.
                next = self.after(seen, 1);
            }
            let ids = match next {
                Ok(ids) if ids.is_empty() => return Ok(()),
                Ok(ids) => ids,
                // The next number cannot be found, so try each number in turn.
                Err(_) => vec![seen + 1],
            };
            for id in ids {
                seen = id;
                if let Some(line) = self.line(id) {
                    writeln!(out, "{line}").map_err(StoreError::Output)?;
                }
            }
        }
        Ok(())
    }

    fn after(&self, seen: i64, count: i64) -> rusqlite::Result<Vec<i64>> {
        let sql = "SELECT id FROM event WHERE id > ?1 ORDER BY id LIMIT ?2";
        numbers(self.export.conn, sql, [seen, count])
    }

    /// Returns the highest event number that any readable table mentions.
    fn last(&self) -> i64 {
        let sources = [
            "SELECT last_event FROM total",
            "SELECT max(id) FROM event",
            "SELECT max(event) FROM content",
            "SELECT max(event) FROM delivery",
            "SELECT (max(block) + 1) << 10 FROM span",
        ];
        let ask = |sql: &str| {
            let found = self.export.conn.query_row(sql, [], |row| row.get(0));
            found.ok().flatten()
        };
        sources.into_iter().filter_map(ask).max().unwrap_or(0)
    }

    /// Returns an event from leaf pages to which no tree leads.
    fn carved(&self, id: i64) -> Option<StoredEventRow> {
        let carved = self.carver.carved()?;
        let stored = event_rows::read(&carved.conn, &carved.names, id).ok()??;
        stored.has_content().then_some(stored)
    }

    /// Returns true if every row comes from leaf pages.
    fn is_all_carved(&self) -> bool {
        let carved = self.carver.carved.get().and_then(Option::as_ref);
        carved.is_some_and(|carved| std::ptr::eq(&carved.conn, self.export.conn))
    }

    /// Returns the line of an event, whole or in part. Returns `None` if nothing of it is readable or it does not
    /// exist.
    fn line(&mut self, id: i64) -> Option<Value> {
        let export = &self.export;
        let (conn, names) = (export.conn, &self.names);
        let mut is_carved = self.is_all_carved();
        let stored = event_rows::read(conn, names, id).map(|found| (found, "content"));
        let stored = stored.or_else(|err| {
            let found = self.carved(id).ok_or(err)?;
            is_carved = true;
            Ok::<_, rusqlite::Error>((Some(found), "content"))
        });
        let stored = stored.or_else(|_| {
            let found = event_rows::read_without_content(conn, names, id)?;
            Ok::<_, rusqlite::Error>((found, "content"))
        });
        let Ok((found, missing)) = stored else {
            return self.content_alone(id);
        };
        let stored = found?;
        if stored.received_ms < export.since_ms {
            return None;
        }
        let mut lacks = Vec::new();
        // The keys that the trees lead to may be incomplete too.
        let carved = self.carver.carved.get().and_then(Option::as_ref);
        let sealer = match carved {
            Some(carved) if is_carved => &carved.sealer,
            _ => export.sealer,
        };
        let (event, is_open) = stored.open_or_not(sealer);
        if !is_open {
            lacks.push(missing);
        }
        if is_open && !is_as_accepted(&event) {
            lacks.push("digest");
        }
        let mut line = event_fields(&event);
        let deliveries = export.deliveries(names, id).map(Value::from);
        // Those of a carved event are not read.
        let deliveries = deliveries.ok().filter(|_| !self.is_all_carved());
        if deliveries.is_none() {
            lacks.push("deliveries");
        }
        line.insert(
            "deliveries".to_owned(),
            deliveries.unwrap_or_else(|| self.states(id)),
        );
        if is_carved {
            self.found.carved += 1;
            line.insert("is_carved".to_owned(), true.into());
        }
        match lacks.is_empty() {
            true => self.found.whole += 1,
            false => self.found.in_part += 1,
        }
        line.insert("lacks".to_owned(), lacks.into());
        Some(Value::Object(line))
    }

    /// Returns the states of deliveries whose attempts cannot be read.
    fn states(&self, id: i64) -> Value {
        let sql = "SELECT id, state FROM delivery WHERE event = ?1 ORDER BY id";
        let read = || -> rusqlite::Result<Vec<Value>> {
            let mut stmt = self.export.conn.prepare_cached(sql)?;
            let rows = stmt.query_map([id], |row| {
                let state = DeliveryState::from_code(row.get(1)?).map(DeliveryState::word);
                Ok(json!({ "id": row.get::<_, i64>(0)?, "state": state }))
            })?;
            rows.collect()
        };
        read().map_or(Value::Null, Value::from)
    }

    /// Returns the line of a body in clear whose event row cannot be read.
    fn content_alone(&mut self, id: i64) -> Option<Value> {
        let sql = "SELECT sealing_key, head, body FROM content WHERE event = ?1";
        let read = || -> rusqlite::Result<(i64, Vec<u8>, Option<Vec<u8>>)> {
            let mut stmt = self.export.conn.prepare_cached(sql)?;
            stmt.query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        };
        let found = match read() {
            // The key is derived from the uid, which is lost.
            Ok((0, head, body)) => EventHead::decode(&head).map(|head| (head, body)),
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                self.found.unreadable += 1;
                return None;
            }
            _ => None,
        };
        let Some((head, body)) = found else {
            self.found.unreadable += 1;
            return None;
        };
        self.found.in_part += 1;
        let is_sound = body
            .as_deref()
            .is_some_and(|body| Sha256::digest(body)[..] == head.digest[..]);
        let mut line = Map::new();
        line.insert("number".to_owned(), id.into());
        line.insert("method".to_owned(), head.method.as_str().into());
        line.insert("target".to_owned(), head.target.into());
        line.insert("host".to_owned(), head.host.into());
        put_bytes(&mut line, "body", &body.unwrap_or_default());
        let mut lacks = vec!["event"];
        if !is_sound {
            lacks.push("digest");
        }
        line.insert("lacks".to_owned(), lacks.into());
        Some(Value::Object(line))
    }
}

/// Returns whether the body is the one that was accepted.
fn is_as_accepted(event: &StoredEvent) -> bool {
    let body = event.body.as_deref();
    body.is_none_or(|body| <[u8; 32]>::from(Sha256::digest(body)) == event.digest)
}

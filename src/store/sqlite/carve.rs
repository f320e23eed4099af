//! Rows read from the leaf pages of a damaged file, without the trees that lead to them.
//!
//! A salvage asks here for what the trees no longer lead to: below a damaged interior page, and where the first page with
//! the schema is damaged. Each leaf page says itself what it holds (sqlite.org/fileformat2.html#b_tree_pages), and the
//! shapes of the rows say which table they are of. A page may be one that was given up, so a row may be one that was
//! deleted since: who shows it says so.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

/// The size of the pages of all stores.
pub(super) const PAGE: usize = 4096;

/// The same, for positions in a file.
pub(super) const PAGE_BYTES: u64 = 4096;

/// The head of the file, before the first page's own.
const FILE_HEAD: usize = 100;

/// The type of a page that is a leaf of a table.
const TABLE_LEAF: u8 = 0x0d;

/// The largest row that is read: its body is bounded by `max_body`, and this far above it.
const MAX_ROW: usize = 1 << 30;

/// The most columns of a table whose rows are read.
const MAX_COLUMNS: usize = 8;

/// Bytes of a row that the leaf page holds at most, and at least where it has more than these.
const MAX_LOCAL: usize = PAGE - 35;
const MIN_LOCAL: usize = (PAGE - 12) * 32 / 255 - 23;

/// One value of a row.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Cell<'r> {
    Null,
    Int(i64),
    Text(&'r [u8]),
    Blob(&'r [u8]),
}

impl ToSql for Cell<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text),
            Self::Blob(bytes) => ValueRef::Blob(bytes),
        }))
    }
}

/// Reads the leaf pages of `file` into `to`, an empty store of the newest form. Of two rows with one number the first
/// counts.
pub(super) fn carve(file: &File, to: &Connection) -> Result<(), CarveError> {
    let pages = file.metadata()?.len() / PAGE_BYTES;
    // Rows arrive in the order of pages, so a row may come before the one that it refers to.
    to.execute_batch("PRAGMA foreign_keys = OFF; BEGIN")?;
    let mut tables = Tables::prepare(to)?;
    let mut page = vec![0; PAGE];
    for number in 0..pages {
        // One page at a time, so that a file of any size needs one page of memory.
        file.read_exact_at(&mut page, number.saturating_mul(PAGE_BYTES))?;
        let head = if number == 0 { FILE_HEAD } else { 0 };
        for (id, payload) in rows(&page, head) {
            let Some(row) = payload.read(file, pages) else {
                // One damaged row must not cost the other rows of its page.
                continue;
            };
            if let Some(cells) = parse_row(&row) {
                tables.insert(id, &cells)?;
            }
        }
    }
    drop(tables);
    to.execute_batch("COMMIT")?;
    Ok(())
}

/// Why the pages could not be read or their rows not be kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum CarveError {
    /// The file.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store that takes the rows.
    #[error(transparent)]
    Sql(#[from] rusqlite::Error),
}

/// The tables whose rows are read, distinguished by the shapes of their rows.
struct Tables<'c> {
    event: Statement<'c>,
    content: Statement<'c>,
    kind: Statement<'c>,
    route: Statement<'c>,
    sealing_key: Statement<'c>,
}

impl<'c> Tables<'c> {
    fn prepare(conn: &'c Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            event: conn
                .prepare("INSERT OR IGNORE INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?,
            content: conn.prepare("INSERT OR IGNORE INTO content VALUES (?1, ?2, ?3, ?4)")?,
            kind: conn.prepare("INSERT OR IGNORE INTO kind VALUES (?1, ?2, ?3, ?4, ?5)")?,
            route: conn.prepare("INSERT OR IGNORE INTO route VALUES (?1, ?2, ?3)")?,
            sealing_key: conn
                .prepare("INSERT OR IGNORE INTO sealing_key VALUES (?1, ?2, ?3, ?4)")?,
        })
    }

    /// Inserts a row of one of the tables. The first column of each is the number itself, which the row has as null.
    fn insert(&mut self, id: i64, cells: &[Cell<'_>]) -> rusqlite::Result<()> {
        use Cell::{Blob, Int, Null, Text};
        let Some((Null, rest)) = cells.split_first() else {
            return Ok(());
        };
        let is_text = |cell: &Cell<'_>| matches!(cell, Null | Text(_));
        // Each shape fits one table only; a new column must not make two of them alike.
        let statement = match rest {
            [Blob(uid), Int(_), Int(_), Int(_), texts @ ..]
                if uid.len() == 16 && texts.len() == 3 && texts.iter().all(is_text) =>
            {
                &mut self.event
            }
            [Int(_), Blob(_), Blob(_) | Null] => &mut self.content,
            [Int(_), Text(_), Text(_) | Null, Int(_)] => &mut self.kind,
            [Text(_), Int(_)] => &mut self.route,
            [Blob(_)] | [Blob(_), Int(_) | Null, Blob(_) | Null] => &mut self.sealing_key,
            _ => return Ok(()),
        };
        let columns = statement.parameter_count();
        let values = std::iter::once(Int(id)).chain(rest.iter().copied());
        // A row from before a column was added ends before it.
        let values = values.chain(std::iter::repeat(Null)).take(columns);
        match statement.execute(rusqlite::params_from_iter(values)) {
            Ok(_) => Ok(()),
            // A text that is not UTF-8, or a second row of one name: damage, or an older row.
            Err(rusqlite::Error::SqliteFailure(err, _))
                if err.code == rusqlite::ErrorCode::ConstraintViolation =>
            {
                Ok(())
            }
            Err(err) => Err(err),
        }
    }
}

/// The bytes of a row: those on the leaf page, and the first page of the rest.
struct Payload<'p> {
    size: usize,
    local: &'p [u8],
    overflow: u32,
}

impl Payload<'_> {
    /// Returns the whole row; `None` if a page of it is not in the file.
    fn read(&self, file: &File, pages: u64) -> Option<Vec<u8>> {
        // Before anything else is read: a damaged page could ask for a gigabyte of others.
        if row_size(self.local)? != self.size {
            return None;
        }
        let mut row = self.local.to_vec();
        let mut next = self.overflow;
        // Each page brings bytes, so that a circle ends with the size of the row.
        while row.len() < self.size {
            if next == 0 || u64::from(next) > pages {
                return None;
            }
            let mut page = [0; PAGE];
            let at = u64::from(next - 1).saturating_mul(PAGE_BYTES);
            file.read_exact_at(&mut page, at).ok()?;
            let (head, rest) = page.split_first_chunk::<4>()?;
            next = u32::from_be_bytes(*head);
            let missing = self.size - row.len();
            row.extend_from_slice(rest.get(..missing.min(rest.len()))?);
        }
        Some(row)
    }
}

/// Returns the rows of a page with their numbers; nothing where it is no leaf of a table. What does not fit is left out.
fn rows(page: &[u8], head: usize) -> impl Iterator<Item = (i64, Payload<'_>)> {
    let number = |at: usize| {
        let bytes = page.get(at..at.checked_add(2)?)?;
        Some(usize::from(u16::from_be_bytes(bytes.try_into().ok()?)))
    };
    let is_leaf = page.get(head) == Some(&TABLE_LEAF);
    let count = match is_leaf {
        true => number(head + 3).unwrap_or(0),
        false => 0,
    };
    // The array of pointers: two bytes for each row. A count beyond the page finds no pointers.
    (0..count.min(PAGE / 2)).filter_map(move |index| {
        let at = number(head + 8 + 2 * index)?;
        payload(page.get(at..)?)
    })
}

fn payload(cell: &[u8]) -> Option<(i64, Payload<'_>)> {
    let (size, rest) = varint(cell)?;
    let (id, rest) = varint(rest)?;
    let size = usize::try_from(size).ok().filter(|size| *size <= MAX_ROW)?;
    if size <= MAX_LOCAL {
        let local = rest.get(..size)?;
        return Some((
            id,
            Payload {
                size,
                local,
                overflow: 0,
            },
        ));
    }
    // The split between leaf page and overflow pages, by the file format (section 1.6, "B-tree Pages").
    let short = MIN_LOCAL + (size - MIN_LOCAL) % (PAGE - 4);
    let kept = if short <= MAX_LOCAL { short } else { MIN_LOCAL };
    let (local, rest) = rest.split_at_checked(kept)?;
    let overflow = u32::from_be_bytes(*rest.first_chunk::<4>()?);
    Some((
        id,
        Payload {
            size,
            local,
            overflow,
        },
    ))
}

/// Returns the size of a row by the types of its values, which are at its start.
fn row_size(row: &[u8]) -> Option<usize> {
    let (head_size, _) = varint(row)?;
    let head_size = usize::try_from(head_size).ok()?;
    let (_, mut head) = varint(row.get(..head_size)?)?;
    let mut size = head_size;
    // Each turn shortens the head by at least one byte, so damage cannot make this endless.
    while !head.is_empty() {
        let (kind, rest) = varint(head)?;
        head = rest;
        size = size.checked_add(cell_size(kind)?)?;
    }
    Some(size)
}

/// Reads a row into its values; `None` if it belongs to no known table or is damaged.
fn parse_row(row: &[u8]) -> Option<Vec<Cell<'_>>> {
    let (size, _) = varint(row)?;
    let size = usize::try_from(size).ok()?;
    let (head, mut body) = row.split_at_checked(size)?;
    let (_, mut head) = varint(head)?;
    let mut cells = Vec::new();
    while !head.is_empty() {
        // No table of the store has more columns, so this is not a row of it.
        if cells.len() == MAX_COLUMNS {
            return None;
        }
        let (kind, rest) = varint(head)?;
        head = rest;
        let (cell, rest) = cell_of(kind, body)?;
        cells.push(cell);
        body = rest;
    }
    Some(cells)
}

/// Reads one value by its type. Fractions do not occur in these tables.
fn cell_of(kind: i64, body: &[u8]) -> Option<(Cell<'_>, &[u8])> {
    let (bytes, rest) = body.split_at_checked(cell_size(kind)?)?;
    let cell = match kind {
        0 => Cell::Null,
        8 => Cell::Int(0),
        9 => Cell::Int(1),
        12.. if kind % 2 == 0 => Cell::Blob(bytes),
        12.. => Cell::Text(bytes),
        _ => Cell::Int(signed(bytes)),
    };
    Some((cell, rest))
}

/// Returns the bytes that a value of this type takes.
fn cell_size(kind: i64) -> Option<usize> {
    match kind {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(kind).ok(),
        5 => Some(6),
        6 => Some(8),
        12.. => usize::try_from((kind - 12) / 2).ok(),
        _ => None,
    }
}

/// Reads a big-endian number in two's complement.
fn signed(bytes: &[u8]) -> i64 {
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let start = if is_negative { -1 } else { 0 };
    bytes
        .iter()
        .fold(start, |number, byte| (number << 8) | i64::from(*byte))
}

/// Reads a number of one to nine bytes, seven bits in each but the ninth.
fn varint(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let mut number = 0_i64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        let rest = bytes.get(at + 1..)?;
        if at == 8 {
            return Some(((number << 8) | i64::from(*byte), rest));
        }
        number = (number << 7) | i64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((number, rest));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_read_as_sqlite_writes_them() {
        for (bytes, expected) in [
            (&[0x07][..], Some(7)),
            (&[0x81, 0x00], Some(128)),
            (&[0xff; 9], Some(-1)),
            (&[0x81], None),
            (&[], None),
        ] {
            assert_eq!(varint(bytes).map(|(number, _)| number), expected);
        }
        assert_eq!(signed(&[0xff, 0x38]), -200);
        assert_eq!(signed(&[0x00, 0xc8]), 200);
    }

    proptest! {
        /// Fails when damage on a page makes the reader panic, or asks for more than the page has.
        #[test]
        fn any_page_is_read(mut page in prop::collection::vec(any::<u8>(), PAGE)) {
            page[0] = TABLE_LEAF;
            for (_, payload) in rows(&page, 0) {
                prop_assert!(payload.local.len() <= PAGE);
                let _ = row_size(payload.local);
                let _ = parse_row(payload.local);
            }
        }
    }
}

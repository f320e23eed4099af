//! Batch of finished log lines in one buffer.

/// Capacity that an emptied batch keeps. What a flood made it grow beyond that is freed.
const KEPT_BYTES: usize = 128 * 1024;

/// Finished log lines, one behind the other.
#[derive(Default)]
pub(super) struct LineBatch {
    bytes: Vec<u8>,
    /// Position behind each line. A line of journald has line ends inside, so only this shows where it ends.
    ends: Vec<usize>,
}

impl LineBatch {
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend_from_slice(line);
        self.ends.push(self.bytes.len());
    }

    /// Returns the number of lines.
    pub(super) fn line_count(&self) -> usize {
        self.ends.len()
    }

    /// Returns the number of bytes of all lines.
    pub(super) fn byte_count(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Empties the batch and keeps its memory for the next lines.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES {
            *self = Self::default();
        }
        self.bytes.clear();
        self.ends.clear();
    }

    /// Splits the batch between lines, into chunks of at most `limit` bytes. A longer line is a chunk of its own.
    pub(super) fn chunks(&self, limit: usize) -> impl Iterator<Item = LineChunk<'_>> {
        let (mut start, mut rest) = (0, self.ends.as_slice());
        std::iter::from_fn(move || {
            let fitting = rest.partition_point(|end| end - start <= limit);
            let (ends, behind) = rest.split_at_checked(fitting.max(1))?;
            let end = *ends.last()?;
            let bytes = self.bytes.get(start..end)?;
            let chunk = LineChunk { start, bytes, ends };
            (start, rest) = (end, behind);
            Some(chunk)
        })
    }

    /// Returns each line by itself, as a target needs it that takes messages.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks(0).map(|chunk| chunk.bytes)
    }
}

/// Whole lines of a batch that are written together.
pub(super) struct LineChunk<'a> {
    /// Position of the first byte in the batch.
    start: usize,
    pub(super) bytes: &'a [u8],
    ends: &'a [usize],
}

impl LineChunk<'_> {
    /// Returns the number of lines that are not complete within the first `written` bytes.
    pub(super) fn lines_behind(&self, written: usize) -> usize {
        let complete = self.ends.partition_point(|end| end - self.start <= written);
        self.ends.len() - complete
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a chunk ends inside a line, or exceeds the limit although it has several lines.
    #[test]
    fn chunks_end_between_lines() {
        let mut batch = LineBatch::default();
        for line in ["one\n", "two\n", "a longer line\n", "3\n"] {
            batch.push(line.as_bytes());
        }
        let chunks =
            |limit| -> Vec<&[u8]> { batch.chunks(limit).map(|chunk| chunk.bytes).collect() };
        assert_eq!(chunks(8), [&b"one\ntwo\n"[..], b"a longer line\n", b"3\n"]);
        assert_eq!(chunks(7).len(), 4);
        assert_eq!(chunks(100).len(), 1);
        assert_eq!(batch.lines().count(), 4);
    }

    /// Fails if the lines behind a failed write are counted from the start of the batch instead of the chunk.
    #[test]
    fn a_chunk_counts_the_lines_that_are_not_complete() {
        let mut batch = LineBatch::default();
        for line in ["one\n", "two\n", "six\n"] {
            batch.push(line.as_bytes());
        }
        let last = batch.chunks(8).last().unwrap();
        assert_eq!((last.lines_behind(3), last.lines_behind(4)), (1, 0));
        let first = batch.chunks(8).next().unwrap();
        let behind = [0, 3, 4, 7, 8].map(|written| first.lines_behind(written));
        assert_eq!(behind, [2, 2, 1, 1, 0]);
    }

    /// Fails if a flood leaves its memory behind.
    #[test]
    fn an_emptied_batch_frees_what_a_flood_needed() {
        let mut batch = LineBatch::default();
        batch.push(&[b'x'; 2 * KEPT_BYTES]);
        batch.clear();
        assert!(batch.is_empty() && batch.bytes.capacity() <= KEPT_BYTES);
    }
}

//! Targets of the log: stderr or another stream, or the socket of journald.
//!
//! A target gets whole lines, even if a write fails halfway. Lines that a target does not accept are reported as lost
//! and never tried again, because later lines must not wait for them.

use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::record::line_batch::{LineBatch, LineChunk};

/// Maximum length of one write to a stream, so that a reader sees lines soon even if many are written.
const WRITE_BYTES: usize = 64 * 1024;

/// Length up to which Linux writes to a pipe in one piece (`PIPE_BUF`, pipe(7)).
///
/// Two processes write to one pipe while one takes over from the other. Longer writes could mix their lines.
const PIPE_WRITE_BYTES: usize = 4096;

/// Pause before a stream that is full is tried again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Maximum number of datagrams of one system call.
const DATAGRAMS: usize = 64;

/// Output of the writer thread.
pub(super) enum LogSink {
    Stream(StreamSink),
    Journal(UnixDatagram),
}

/// Lines of a batch that the target did not accept.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct LostLines {
    /// Number of lost lines.
    pub(super) count: usize,
    /// True if the last line of the batch is lost.
    pub(super) is_last: bool,
}

impl LogSink {
    pub(super) fn stream(writer: Box<dyn Write + Send>) -> Self {
        Self::Stream(StreamSink {
            writer,
            write_limit: WRITE_BYTES,
            is_torn: false,
        })
    }

    pub(super) fn stderr() -> Self {
        let is_pipe = rustix::fs::fstat(io::stderr())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_fifo());
        Self::Stream(StreamSink {
            writer: Box::new(io::stderr()),
            write_limit: if is_pipe {
                PIPE_WRITE_BYTES
            } else {
                WRITE_BYTES
            },
            is_torn: false,
        })
    }

    /// Writes all lines of a batch, as far as the target accepts them. Blocks while the target is full.
    pub(super) fn write(&mut self, batch: &LineBatch) -> LostLines {
        match self {
            Self::Stream(stream) => stream.write_batch(batch),
            Self::Journal(socket) => send_batch(socket, batch),
        }
    }
}

/// Stream of lines that end at a line end.
pub(super) struct StreamSink {
    writer: Box<dyn Write + Send>,
    /// Maximum length of one write that has several lines.
    write_limit: usize,
    /// A write failed inside of a line, whose start is in the stream.
    is_torn: bool,
}

impl StreamSink {
    fn write_batch(&mut self, batch: &LineBatch) -> LostLines {
        let mut lost = LostLines::default();
        for chunk in batch.chunks(self.write_limit) {
            let behind = self.write_chunk(&chunk);
            lost.count += behind;
            lost.is_last = behind > 0;
        }
        // If the log cannot be flushed there is no other place to report it.
        let _ = self.writer.flush();
        lost
    }

    /// Writes whole lines, and returns how many of them are lost.
    fn write_chunk(&mut self, chunk: &LineChunk<'_>) -> usize {
        // The rest of a torn line is lost. Without a line end the next line would be unreadable, too.
        if self.is_torn && self.write_bytes(b"\n") == 0 {
            return chunk.lines_behind(0);
        }
        let written = self.write_bytes(chunk.bytes);
        let last = chunk.bytes.get(..written).and_then(<[u8]>::last);
        self.is_torn = last.is_some_and(|byte| *byte != b'\n');
        chunk.lines_behind(written)
    }

    /// Writes until the end or an error, and returns the number of bytes that were written.
    fn write_bytes(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.writer.write(rest) {
                Ok(0) => break,
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Another process can make a shared stderr non-blocking. It is as full as a blocking one that blocks,
                // and the lines that come meanwhile wait in the queue.
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::park_timeout(FULL_PAUSE);
                }
                Err(_) => break,
            }
        }
        bytes.len() - rest.len()
    }
}

/// Sends each line as a datagram of its own, many with one system call.
fn send_batch(socket: &UnixDatagram, batch: &LineBatch) -> LostLines {
    let lines: Vec<[IoSlice<'_>; 1]> = batch.lines().map(|line| [IoSlice::new(line)]).collect();
    let mut lost = LostLines::default();
    for lines in lines.chunks(DATAGRAMS) {
        let mut controls: Vec<_> = lines
            .iter()
            .map(|_| SendAncillaryBuffer::default())
            .collect();
        let mut messages: Vec<MMsgHdr<'_>> = lines
            .iter()
            .zip(&mut controls)
            .map(|(line, control)| MMsgHdr::new(line, control))
            .collect();
        let mut rest = messages.as_mut_slice();
        while !rest.is_empty() {
            let passed = match sendmmsg(socket, rest, SendFlags::NOSIGNAL) {
                Err(Errno::INTR) => continue,
                // The system call stops before a datagram that fails, and fails only if that is the first one. Without
                // this skip, one line that journald does not accept would hold up all others.
                Ok(0) | Err(_) => {
                    lost.count += 1;
                    lost.is_last = true;
                    1
                }
                Ok(sent) => {
                    lost.is_last = false;
                    sent
                }
            };
            rest = std::mem::take(&mut rest)
                .get_mut(passed..)
                .unwrap_or_default();
        }
    }
    lost
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::testing::Kept;

    fn batch(lines: &[&str]) -> LineBatch {
        let mut batch = LineBatch::default();
        for line in lines {
            batch.push(line.as_bytes());
        }
        batch
    }

    /// A target that gives one outcome for each write, and then accepts everything.
    struct Scripted(Vec<io::Result<usize>>, Kept);

    impl Write for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.pop() {
                Some(outcome) => self.1.write(&bytes[..outcome?]),
                None => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn scripted(mut outcomes: Vec<io::Result<usize>>) -> (LogSink, Kept) {
        let kept = Kept::default();
        outcomes.reverse();
        (
            LogSink::stream(Box::new(Scripted(outcomes, kept.clone()))),
            kept,
        )
    }

    /// Fails if a short write, a signal or a full non-blocking pipe loses or repeats bytes.
    #[test]
    fn a_write_in_pieces_is_complete() {
        let (mut sink, kept) = scripted(vec![
            Ok(2),
            Err(ErrorKind::Interrupted.into()),
            Err(ErrorKind::WouldBlock.into()),
            Ok(3),
        ]);
        let lost = sink.write(&batch(&["one\n", "two\n"]));
        assert_eq!(lost, LostLines::default());
        assert_eq!(kept.text(), "one\ntwo\n");
    }

    /// Fails if a full disk glues a line to the rest of another one, or if a lost line is not counted.
    #[test]
    fn a_line_after_a_torn_one_starts_at_a_line_end() {
        let full = || Err(ErrorKind::StorageFull.into());
        let (mut sink, kept) = scripted(vec![Ok(6), full(), full()]);
        let lost = sink.write(&batch(&["one\n", "two\n", "3\n"]));
        assert_eq!(
            lost,
            LostLines {
                count: 2,
                is_last: true
            }
        );
        // The disk is still full.
        assert_eq!(sink.write(&batch(&["four\n"])).count, 1);
        assert_eq!(sink.write(&batch(&["five\n"])), LostLines::default());
        assert_eq!(kept.text(), "one\ntw\nfive\n");
    }

    /// Fails if a line that journald does not accept takes others with it, or if lines share a datagram.
    #[test]
    fn each_line_is_a_datagram() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let mut sink = LogSink::Journal(ours);
        // Longer than the buffer of any socket.
        let huge = "x".repeat(8 * 1024 * 1024);
        let lost = sink.write(&batch(&["one\nmore\n", &huge, "two\n"]));
        assert_eq!(
            lost,
            LostLines {
                count: 1,
                is_last: false
            }
        );
        let mut buffer = [0; 64];
        for line in ["one\nmore\n", "two\n"] {
            let length = theirs.recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], *line.as_bytes());
        }
        drop(theirs);
        assert_eq!(sink.write(&batch(&["one\n", "two\n"])).count, 2);
    }

    /// Fails if a batch needs more than one system call for many datagrams and stops after the first ones.
    #[test]
    fn many_datagrams_arrive_in_order() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 64];
            let mut read = || {
                let length = theirs.recv(&mut buffer).unwrap();
                String::from_utf8(buffer[..length].to_vec()).unwrap()
            };
            (0..3 * DATAGRAMS).map(|_| read()).collect::<Vec<_>>()
        });
        let lines: Vec<String> = (0..3 * DATAGRAMS)
            .map(|number| format!("{number}\n"))
            .collect();
        let texts: Vec<&str> = lines.iter().map(String::as_str).collect();
        let lost = LogSink::Journal(ours).write(&batch(&texts));
        assert_eq!(lost, LostLines::default());
        assert_eq!(reader.join().unwrap(), lines);
    }
}

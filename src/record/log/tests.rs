//! Tests of the log with its writer thread.

use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::model::clock::instant;
use crate::record::TelemetryRecorder;
use crate::record::testing::Kept;

/// A pace that no test waits for: what is written is written for another reason.
const NEVER: Duration = Duration::from_secs(3600);

/// Limit for everything that has to happen.
const LIMIT: Duration = Duration::from_secs(20);

/// A reader of the log that does not read until the test lets it.
struct Stuck(Receiver<()>, Kept);

impl Write for Stuck {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A target that passes on each write as it comes.
struct Passed(Sender<String>);

impl Write for Passed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(String::from_utf8(bytes.to_vec()).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn passed(pace: Duration) -> (Arc<LineLogger>, Receiver<String>) {
    let (sender, receiver) = channel();
    let sink = LogSink::stream(Box::new(Passed(sender)));
    let logger = LineLogger::start_at_pace(LineEncoding::Text, Level::INFO, sink, pace);
    (logger.unwrap(), receiver)
}

fn say_at(logger: &LineLogger, level: Level, message: &str) {
    logger.write(logger.line(ClockReading::at_unix_seconds(0), level, "test", message));
}

fn say(logger: &LineLogger, message: &str) {
    say_at(logger, Level::INFO, message);
}

/// Returns the messages of the next lines, and the number of writes that they came in.
fn read(receiver: &Receiver<String>, count: usize) -> (Vec<String>, usize) {
    let (mut messages, mut writes) = (Vec::new(), 0);
    while messages.len() < count {
        let text = receiver.recv_timeout(LIMIT).unwrap();
        let lines = text
            .lines()
            .map(|line| line.split_once("test: ").unwrap().1);
        messages.extend(lines.map(str::to_owned));
        writes += 1;
    }
    (messages, writes)
}

#[test]
fn close_writes_what_was_queued() {
    let kept = Kept::default();
    let logger =
        LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(kept.clone())).unwrap();
    for number in 0..2000 {
        say(&logger, &format!("line {number}"));
    }
    logger.close();
    assert_eq!(kept.text().lines().count(), 2000);
    say(&logger, "too late");
    assert_eq!(logger.dropped(), 1);
}

/// Fails if the end of the process waits for the pace, or ends before the lines are written.
#[test]
fn close_does_not_wait_for_the_pace() {
    let (logger, receiver) = passed(NEVER);
    say(&logger, "last");
    logger.close();
    assert_eq!(receiver.try_recv().unwrap().lines().count(), 1);
    // The writer has ended, and with it its target.
    assert!(receiver.recv_timeout(LIMIT).is_err());
}

/// Fails if a log that is dropped without `close` leaves its thread behind.
#[test]
fn the_writer_ends_with_its_log() {
    let (logger, receiver) = passed(NEVER);
    say(&logger, "last");
    drop(logger);
    assert_eq!(read(&receiver, 1).0, ["last"]);
    assert_eq!(
        receiver.recv_timeout(LIMIT),
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected)
    );
}

#[test]
fn a_log_without_a_reader_blocks_no_caller_and_reports_what_it_dropped() {
    let (kept, (go, wait)) = (Kept::default(), channel());
    let stuck = Box::new(Stuck(wait, kept.clone()));
    let logger = LineLogger::to_writer(LineEncoding::Text, Level::INFO, stuck).unwrap();
    for _ in 0..10_000 {
        say(&logger, "one of many");
    }
    let dropped = logger.dropped();
    assert!(dropped >= 10_000 - 2 * 4096, "{dropped}");
    drop(go);
    logger.close();
    let text = kept.text();
    let counts = text
        .lines()
        .filter_map(|line| line.split_once("log lines dropped count="));
    let reported: u64 = counts.map(|(_, count)| count.parse::<u64>().unwrap()).sum();
    assert_eq!(reported, dropped);
    let written = text.matches("one of many").count();
    assert_eq!(u64::try_from(written).unwrap() + dropped, 10_000);
}

/// Fails if lines wait for later ones: nothing is logged after them, and nothing closes the log.
#[test]
fn lines_go_out_by_themselves() {
    let (logger, receiver) = passed(WRITE_PACE);
    for round in 0..3 {
        // The first line may find a parked writer, the second one comes while it is active.
        for line in 0..2 {
            say(&logger, &format!("{round}.{line}"));
        }
        let (messages, _) = read(&receiver, 2);
        assert_eq!(messages, [format!("{round}.0"), format!("{round}.1")]);
    }
}

/// Fails if each line costs a write.
#[test]
fn lines_that_wait_are_written_together() {
    let (kept, (go, wait)) = (Kept::default(), channel());
    let (sender, receiver) = channel();
    /// Waits before the first write only, and counts the writes.
    struct Counted(Stuck, Sender<usize>);
    impl Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.1.send(bytes.len());
            self.0.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let target = Counted(Stuck(wait, kept.clone()), sender);
    let logger = LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(target)).unwrap();
    say(&logger, "first");
    receiver.recv_timeout(LIMIT).unwrap();
    for number in 0..200 {
        say(&logger, &format!("{number}"));
    }
    drop(go);
    logger.close();
    assert_eq!(kept.text().lines().count(), 201);
    assert_eq!(receiver.iter().count(), 1);
}

/// Fails if an error waits for the pace, if it passes lines before it, or if a warning is as urgent. Clients can cause
/// warnings in masses.
#[test]
fn an_error_is_written_at_once_with_the_lines_before_it() {
    let (logger, receiver) = passed(NEVER);
    for round in 0..3 {
        say_at(&logger, Level::WARN, "warning");
        say(&logger, "plain");
        say_at(&logger, Level::ERROR, &format!("error {round}"));
        let (messages, writes) = read(&receiver, 3);
        assert_eq!(messages, ["warning", "plain", &format!("error {round}")]);
        assert_eq!(writes, 1);
    }
}

/// Fails if lines of one thread change their order, or if a line is torn by another thread's line.
#[test]
fn lines_of_each_thread_keep_their_order() {
    const THREADS: usize = 4;
    const LINES: usize = 500;
    let (logger, receiver) = passed(WRITE_PACE);
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let logger = &logger;
            scope.spawn(move || {
                for number in 0..LINES {
                    let level = [Level::INFO, Level::WARN, Level::ERROR][number % 3];
                    say_at(logger, level, &format!("{thread} {number}"));
                }
            });
        }
    });
    let (messages, _) = read(&receiver, THREADS * LINES);
    let mut next = [0; THREADS];
    for message in messages {
        let (thread, number) = message.split_once(' ').unwrap();
        let expected = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number.parse::<usize>().unwrap(), *expected, "{message}");
        *expected += 1;
    }
    assert_eq!(next, [LINES; THREADS]);
}

/// Fails if a panic that ends the process loses its line or those before it.
#[test]
fn the_flush_of_a_panic_waits_until_lines_are_written() {
    let (logger, receiver) = passed(NEVER);
    // Longer than in the product: a busy machine must not fail this test.
    for round in 0..3 {
        say(&logger, "before");
        say(&logger, "panic");
        logger.queue.flush(LIMIT);
        let text = receiver.try_recv().unwrap();
        assert_eq!(text.lines().count(), 2, "{round}: {text}");
    }
    // Nothing waits, so nothing holds up.
    logger.queue.flush(NEVER);
}

/// Fails if a log whose reader is stuck holds up a panic for longer than its limit.
#[test]
fn a_flush_gives_up() {
    let (kept, (go, wait)) = (Kept::default(), channel());
    let stuck = Box::new(Stuck(wait, kept.clone()));
    let logger = LineLogger::to_writer(LineEncoding::Text, Level::INFO, stuck).unwrap();
    say(&logger, "one");
    logger.flush_for_panic();
    assert_eq!(kept.text(), "");
    drop(go);
    logger.close();
    assert_eq!(kept.text().lines().count(), 1);
}

/// Fails if the hook of a panic does not wait for the log, or waits forever for one whose reader is stuck.
#[test]
fn the_hook_of_a_panic_waits_for_the_log() {
    const NAME: &str = "panics for the log";
    let (kept, (go, wait)) = (Kept::default(), channel());
    let stuck = Box::new(Stuck(wait, kept.clone()));
    let logger = LineLogger::to_writer(LineEncoding::Text, Level::INFO, stuck).unwrap();
    let recorder = TelemetryRecorder::new(Arc::clone(&logger), true);
    let former = std::panic::take_hook();
    // The hook is one of the whole process: panics of other tests stay with the former one.
    std::panic::set_hook(Box::new(move |info| match thread::current().name() {
        Some(NAME) => recorder.panic(info),
        _ => former(info),
    }));
    let begun = instant();
    let panicking = thread::Builder::new().name(NAME.to_owned());
    let panicking = panicking.spawn(|| panic!("on purpose")).unwrap();
    assert!(panicking.join().is_err());
    assert!(begun.elapsed() >= PANIC_TIMEOUT);
    drop(go);
    logger.close();
    let text = kept.text();
    assert!(
        text.contains("a thread panicked") && text.contains("on purpose"),
        "{text}"
    );
}

/// Fails if lines that a full disk lost are not counted.
#[test]
fn lines_that_the_target_refuses_are_counted_and_reported() {
    /// Refuses as many writes as the number says.
    struct Refusing(u32, Kept);
    impl Write for Refusing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Err(io::ErrorKind::StorageFull.into())
                }
                None => self.1.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let kept = Kept::default();
    let target = Box::new(Refusing(2, kept.clone()));
    let sink = LogSink::stream(target);
    let logger = LineLogger::start_at_pace(LineEncoding::Text, Level::INFO, sink, NEVER).unwrap();
    for message in ["lost", "lost with the report", "written"] {
        say(&logger, message);
        logger.queue.flush(LIMIT);
    }
    logger.close();
    assert_eq!(logger.dropped(), 2);
    let text = kept.text();
    assert!(
        text.contains("written\n") && !text.contains("lost"),
        "{text}"
    );
    assert!(text.ends_with("log lines dropped count=2\n"), "{text}");
}

#[test]
fn journald_gets_a_datagram_for_each_line() {
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let logger =
        LineLogger::start(LineEncoding::Journal, Level::INFO, LogSink::Journal(ours)).unwrap();
    say(&logger, "one");
    say(&logger, "two\nPRIORITY=0");
    logger.close();
    let mut buffer = [0; 512];
    for message in ["one", "two\\nPRIORITY=0"] {
        let length = theirs.recv(&mut buffer).unwrap();
        let expected = format!(
            "PRIORITY=6\nSYSLOG_IDENTIFIER=hookgate\nHOOKGATE_TARGET=test\nMESSAGE={message}\n"
        );
        assert_eq!(buffer[..length], *expected.as_bytes());
    }
}

#[test]
fn the_level_can_change() {
    let logger =
        LineLogger::to_writer(LineEncoding::Text, Level::INFO, Box::new(io::sink())).unwrap();
    assert!(logger.is_enabled(Level::INFO) && !logger.is_enabled(Level::DEBUG));
    logger.set_level(Level::TRACE);
    assert!(logger.is_enabled(Level::TRACE));
    assert_eq!(logger.level(), Level::TRACE);
}

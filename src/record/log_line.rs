//! Builder of one log line, as text, JSON or journald datagram.
//!
//! Every value that an untrusted client wrote passes through `LineEscaper`, here and nowhere else. Control characters, line
//! ends, terminal escapes and characters that change the reading direction become `\u` and four digits, and each value
//! is cut at a limit. No value can forge a second line or a field, in any of the formats.

use std::cell::Cell;
use std::fmt::{self, Display, Write};

use tracing::Level;

use crate::model::clock::ClockReading;

/// Characters of one field value that a client may have written; the rest is cut.
pub(super) const VALUE_LIMIT: usize = 256;

/// Characters of a message or an error that hookgate wrote; the rest is cut.
pub(super) const MESSAGE_LIMIT: usize = 1024;

/// Capacity of a new buffer, which fits most lines.
const LINE_BYTES: usize = 512;

/// Capacity of the buffers that a thread keeps between lines.
const SPARE_BYTES: usize = 16 * 1024;

thread_local! {
    /// Buffers of the last line of this thread, so that the next line allocates nothing.
    static SPARE: Cell<LineBuffers> = const { Cell::new(LineBuffers::EMPTY) };

    /// Second of the last line of this thread. Most lines of a busy process share it.
    static SECOND: Cell<FormattedSecond> = const { Cell::new(FormattedSecond::EMPTY) };
}

/// Output format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LineEncoding {
    /// Plain text for people: time, level, target, message, `name=value` pairs.
    Text,
    /// One JSON object per line.
    Json,
    /// One datagram of journald's native protocol per line; `MESSAGE` is the text form.
    Journal,
}

/// Builder of one log line in one format.
pub(crate) struct LogLine {
    encoding: LineEncoding,
    is_urgent: bool,
    buffers: LineBuffers,
}

#[derive(Default)]
struct LineBuffers {
    /// The text or JSON form; for journald the value of `MESSAGE`.
    text: String,
    /// All other fields for journald; empty in other formats.
    fields: String,
}

/// Text of a moment up to its second.
#[derive(Default)]
struct FormattedSecond {
    unix_seconds: i64,
    /// Date and time without the zone; empty before the first line.
    text: String,
}

impl LogLine {
    /// Starts a line with its time, level, target and message.
    pub(crate) fn new(
        encoding: LineEncoding,
        now: ClockReading,
        level: Level,
        target: &str,
        message: &str,
    ) -> Self {
        // Taken out of the thread, not borrowed: a value whose `Display` logs starts a line inside of this one.
        let mut buffers = SPARE.try_with(Cell::take).unwrap_or_default();
        buffers.text.reserve(LINE_BYTES);
        let LineBuffers { text, fields } = &mut buffers;
        match encoding {
            LineEncoding::Text => {
                push_time(text, now);
                // Right-aligned in five characters, so that the targets of lines are below each other.
                text.push_str(if level.as_str().len() < 5 { "  " } else { " " });
                text.push_str(level.as_str());
                text.push(' ');
                text.push_str(target);
                text.push_str(": ");
                escape_text(text, MESSAGE_LIMIT, message);
            }
            LineEncoding::Json => {
                // The object is closed in `finish`.
                text.push_str("{\"time\":\"");
                push_time(text, now);
                text.push_str("\",\"level\":\"");
                text.push_str(level.as_str());
                text.push_str("\",\"target\":\"");
                // Targets and messages are constants, but `tracing` events of libraries pass through here too.
                escape_text(text, VALUE_LIMIT, target);
                text.push_str("\",\"message\":\"");
                escape_text(text, MESSAGE_LIMIT, message);
                text.push('"');
            }
            LineEncoding::Journal => {
                let priority = priority(level);
                let _ = write!(
                    fields,
                    "PRIORITY={priority}\nSYSLOG_IDENTIFIER=hookgate\nHOOKGATE_TARGET={target}\n"
                );
                escape_text(text, MESSAGE_LIMIT, message);
            }
        }
        Self {
            encoding,
            is_urgent: level == Level::ERROR,
            buffers,
        }
    }

    /// Marks the line as urgent: it is written at once, together with all lines before it.
    ///
    /// Errors are urgent by themselves. Only lines that no client can cause in masses may be: each costs a wake-up.
    pub(crate) fn mark_urgent(&mut self) -> &mut Self {
        self.is_urgent = true;
        self
    }

    /// Returns true if the line must not wait for others.
    pub(super) fn is_urgent(&self) -> bool {
        self.is_urgent
    }

    /// Adds a text field, cut at `VALUE_LIMIT`. Use it for everything that a client may have written.
    pub(crate) fn text(&mut self, name: &str, value: &dyn Display) -> &mut Self {
        self.field(name, value, VALUE_LIMIT)
    }

    /// Adds a field with longer text of hookgate itself, such as an error with its causes.
    pub(crate) fn message(&mut self, name: &str, value: &dyn Display) -> &mut Self {
        self.field(name, value, MESSAGE_LIMIT)
    }

    /// Adds a number, which JSON shows without quotes.
    pub(crate) fn number(&mut self, name: &str, value: impl Into<i64>) -> &mut Self {
        let value: i64 = value.into();
        self.bare(name, value)
    }

    /// Adds a count, which JSON shows without quotes.
    pub(crate) fn count(&mut self, name: &str, value: u64) -> &mut Self {
        self.bare(name, value)
    }

    /// Adds a boolean, which JSON shows without quotes.
    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.bare(name, value)
    }

    /// Ends the line, and returns all of it with its line end.
    pub(super) fn finish(&mut self) -> &str {
        let LineBuffers { text, fields } = &mut self.buffers;
        match self.encoding {
            LineEncoding::Text => text.push('\n'),
            LineEncoding::Json => text.push_str("}\n"),
            LineEncoding::Journal => {
                // The pairs `NAME=value` end at a line end, which is safe because `LineEscaper` left no line end in a
                // value.
                fields.push_str("MESSAGE=");
                fields.push_str(text);
                fields.push('\n');
                return fields;
            }
        }
        text
    }

    fn field(&mut self, name: &str, value: &dyn Display, limit: usize) -> &mut Self {
        let LineBuffers { text, fields } = &mut self.buffers;
        match self.encoding {
            LineEncoding::Json => {
                push_key(text, name);
                text.push('"');
                escape(text, limit, value);
                text.push('"');
            }
            LineEncoding::Text => push_pair(text, name, value, limit),
            LineEncoding::Journal => {
                push_pair(text, name, value, limit);
                push_journal_name(fields, name);
                escape(fields, limit, value);
                fields.push('\n');
            }
        }
        self
    }

    /// Adds a number or a boolean, which needs neither quotes nor escapes in any format.
    fn bare(&mut self, name: &str, value: impl Display) -> &mut Self {
        let LineBuffers { text, fields } = &mut self.buffers;
        match self.encoding {
            LineEncoding::Json => push_key(text, name),
            LineEncoding::Text => push_name(text, name),
            LineEncoding::Journal => {
                push_name(text, name);
                push_journal_name(fields, name);
                let _ = writeln!(fields, "{value}");
            }
        }
        let _ = write!(text, "{value}");
        self
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        let mut buffers = std::mem::take(&mut self.buffers);
        // A thread must not keep what one long line needed.
        if buffers.text.capacity() + buffers.fields.capacity() <= SPARE_BYTES {
            buffers.text.clear();
            buffers.fields.clear();
            // Fails while the thread ends, when it needs no buffers.
            let _ = SPARE.try_with(|spare| spare.set(buffers));
        }
    }
}

impl LineBuffers {
    const EMPTY: Self = Self {
        text: String::new(),
        fields: String::new(),
    };
}

impl FormattedSecond {
    const EMPTY: Self = Self {
        unix_seconds: 0,
        text: String::new(),
    };

    /// Formats the second, unless it is the one of the last line. Returns `None` if no calendar can show it.
    fn at(mut self, unix_seconds: i64) -> Option<Self> {
        if self.text.is_empty() || self.unix_seconds != unix_seconds {
            let time = jiff::Timestamp::from_second(unix_seconds).ok()?;
            self.text.clear();
            write!(self.text, "{time:.0}").ok()?;
            // The zone, which comes after the milliseconds.
            self.text.pop();
            self.unix_seconds = unix_seconds;
        }
        Some(self)
    }
}

fn push_key(out: &mut String, name: &str) {
    out.push_str(",\"");
    escape_text(out, VALUE_LIMIT, name);
    out.push_str("\":");
}

/// Appends ` name=` for a value that follows.
fn push_name(out: &mut String, name: &str) {
    out.push(' ');
    out.push_str(name);
    out.push('=');
}

/// Appends ` name=value`, with quotes unless the value is one plain word.
fn push_pair(out: &mut String, name: &str, value: &dyn Display, limit: usize) {
    push_name(out, name);
    let start = out.len();
    escape(out, limit, value);
    // Decided on the escaped form: an escape holds a backslash, so it always gets quotes.
    let written = out.get(start..).unwrap_or_default();
    let is_word = !written.is_empty()
        && written
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'='));
    if !is_word {
        out.insert(start, '"');
        out.push('"');
    }
}

/// Appends `HOOKGATE_NAME=`: journald accepts only capitals, digits and underscores, and 64 characters at most.
fn push_journal_name(out: &mut String, name: &str) {
    out.push_str("HOOKGATE_");
    // Together with the prefix this stays below journald's limit of 64 characters.
    for letter in name.chars().take(48) {
        let is_fit = letter.is_ascii_alphanumeric();
        out.push(if is_fit {
            letter.to_ascii_uppercase()
        } else {
            '_'
        });
    }
    out.push('=');
}

/// Appends the time as RFC 3339 with milliseconds, or `@` and the milliseconds if no calendar can show it.
fn push_time(out: &mut String, now: ClockReading) {
    let second = SECOND.try_with(Cell::take).unwrap_or_default();
    let Some(second) = second.at(now.unix_seconds()) else {
        let _ = write!(out, "@{}", now.unix_ms);
        return;
    };
    // Below a thousand also before 1970, since `unix_seconds` rounds down.
    let millis = now.unix_ms.rem_euclid(1000);
    let _ = write!(out, "{}.{millis:03}Z", second.text);
    // Fails while the thread ends.
    let _ = SECOND.try_with(|known| known.set(second));
}

/// Maps a level to a syslog severity (RFC 5424, section 6.2.1).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Appends the value, escaped and cut at `limit` characters; `…` marks a cut.
fn escape(out: &mut String, limit: usize, value: &dyn Display) {
    let mut escaper = LineEscaper {
        out,
        remaining: limit,
    };
    // `LineEscaper` fails only to stop a value that is too long.
    if write!(escaper, "{value}").is_err() {
        out.push('…');
    }
}

/// Appends a text like [`escape`], without the machinery of `Display`.
fn escape_text(out: &mut String, limit: usize, text: &str) {
    let mut escaper = LineEscaper {
        out,
        remaining: limit,
    };
    if escaper.write_str(text).is_err() {
        out.push('…');
    }
}

struct LineEscaper<'a> {
    out: &'a mut String,
    remaining: usize,
}

impl Write for LineEscaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Almost every value is plain ASCII and fits: it is copied at once. Each byte is a character then.
        if text.len() <= self.remaining && text.bytes().all(is_plain) {
            self.remaining -= text.len();
            self.out.push_str(text);
            return Ok(());
        }
        for letter in text.chars() {
            // Counted in characters of the input, so that an escape is never cut in half.
            // Text that was already written stays; `escape` marks the cut.
            self.remaining = self.remaining.checked_sub(1).ok_or(fmt::Error)?;
            match letter {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                _ if is_misleading(letter) => {
                    // JSON has no escapes beyond U+FFFF but a surrogate pair (RFC 8259, section 7).
                    for unit in letter.encode_utf16(&mut [0; 2]) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
                _ => self.out.push(letter),
            }
        }
        Ok(())
    }
}

/// Returns true for bytes of characters that no format escapes: printable ASCII but quotes and backslashes.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Returns true if a terminal or a viewer would act on the character instead of showing it.
///
/// These are control characters, line and paragraph ends, marks and overrides of the reading direction, invisible
/// characters, variation selectors, and characters that no font shows.
pub(crate) fn is_misleading(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{fff0}'..='\u{ffff}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(encoding: LineEncoding, value: &str) -> String {
        let mut line = LogLine::new(
            encoding,
            ClockReading::at_unix_seconds(0),
            Level::WARN,
            "security",
            "refused",
        );
        line.text("name", &value)
            .count("bytes", 7)
            .flag("tls", true);
        line.finish().to_owned()
    }

    #[test]
    fn text_quotes_what_is_not_one_word() {
        assert_eq!(
            line(LineEncoding::Text, "plain"),
            "1970-01-01T00:00:00.000Z  WARN security: refused name=plain bytes=7 tls=true\n"
        );
        assert!(line(LineEncoding::Text, "a b").contains(" name=\"a b\" "));
        assert!(line(LineEncoding::Text, "").contains(" name=\"\" "));
        assert!(line(LineEncoding::Text, "x bytes=9\n").contains(r#" name="x bytes=9\n" bytes=7"#));
    }

    // Mutation: no arm for `"`, or `is_misleading` never asked, in `LineEscaper`.
    #[test]
    fn json_is_one_object() {
        assert_eq!(
            line(LineEncoding::Json, "\u{1b}[31m\"\\\u{202e}\u{e0041}"),
            concat!(
                r#"{"time":"1970-01-01T00:00:00.000Z","level":"WARN","target":"security","message":"refused","#,
                r#""name":"\u001b[31m\"\\\u202e\udb40\udc41","bytes":7,"tls":true}"#,
                "\n"
            )
        );
    }

    #[test]
    fn journal_shows_the_text_and_has_the_fields() {
        assert_eq!(
            line(LineEncoding::Journal, "a\nMESSAGE=forged"),
            concat!(
                "PRIORITY=4\nSYSLOG_IDENTIFIER=hookgate\nHOOKGATE_TARGET=security\n",
                "HOOKGATE_NAME=a\\nMESSAGE=forged\nHOOKGATE_BYTES=7\nHOOKGATE_TLS=true\n",
                "MESSAGE=refused name=\"a\\nMESSAGE=forged\" bytes=7 tls=true\n",
            )
        );
    }

    /// Fails if a line keeps anything of the line before it in its buffers.
    #[test]
    fn a_line_starts_with_empty_buffers() {
        for encoding in [
            LineEncoding::Text,
            LineEncoding::Json,
            LineEncoding::Journal,
        ] {
            let first = line(encoding, "a");
            // A line that is never finished leaves its buffers, too.
            LogLine::new(
                LineEncoding::Journal,
                ClockReading::at_unix_seconds(9),
                Level::INFO,
                "x",
                "y",
            );
            assert_eq!(line(encoding, "a"), first);
        }
    }

    /// Fails if `Display` of a value that logs a line itself mixes both lines.
    #[test]
    fn a_value_may_log_a_line_of_its_own() {
        struct Logging;
        impl Display for Logging {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&line(LineEncoding::Text, "inner")[..4])
            }
        }
        assert!(line(LineEncoding::Text, "outer").ends_with(" name=outer bytes=7 tls=true\n"));
        let now = ClockReading::at_unix_seconds(0);
        let mut outer = LogLine::new(LineEncoding::Text, now, Level::INFO, "test", "outer");
        outer.text("inner", &Logging);
        assert_eq!(
            outer.finish(),
            "1970-01-01T00:00:00.000Z  INFO test: outer inner=1970\n"
        );
    }

    #[test]
    fn only_errors_and_marked_lines_are_urgent() {
        let now = ClockReading::at_unix_seconds(0);
        let line = |level| LogLine::new(LineEncoding::Text, now, level, "test", "message");
        assert!(line(Level::ERROR).is_urgent());
        assert!(!line(Level::WARN).is_urgent());
        assert!(line(Level::INFO).mark_urgent().is_urgent());
    }

    #[test]
    fn a_time_beyond_the_calendar_is_a_number() {
        let mut text = String::new();
        let now = |unix_ms| ClockReading {
            unix_ms,
            ..ClockReading::at_unix_seconds(0)
        };
        push_time(&mut text, now(i64::MAX));
        assert_eq!(text, format!("@{}", i64::MAX));
    }

    proptest! {
        // Mutation: `at` keeps the second of the line before, or milliseconds before 1970 are negative.
        #[test]
        fn times_are_those_of_the_calendar(
            times in proptest::collection::vec(-377_705_023_201_000_i64..=253_402_207_200_999, 1..20),
            near in any::<i16>(),
        ) {
            let first = times[0];
            for unix_ms in times.into_iter().chain([i64::from(near), i64::from(near) + 1, first]) {
                let now = ClockReading { unix_ms, ..ClockReading::at_unix_seconds(0) };
                let mut text = String::new();
                push_time(&mut text, now);
                let time = jiff::Timestamp::from_millisecond(unix_ms).unwrap();
                prop_assert_eq!(text, format!("{time:.3}"));
            }
        }

        // Mutation: as above, or a line end passes.
        #[test]
        fn no_value_breaks_its_line(value in any::<String>(), letter in any::<char>(), count in 0usize..600) {
            let value = value + &letter.to_string().repeat(count);
            let text = line(LineEncoding::Text, &value);
            let json = line(LineEncoding::Json, &value);
            for shown in [&text, &json] {
                prop_assert_eq!(shown.matches('\n').count(), 1);
                prop_assert!(!shown.trim_end_matches('\n').chars().any(is_misleading));
                prop_assert!(shown.len() < 256 * 12 + 200);
            }
            let journal = line(LineEncoding::Journal, &value);
            prop_assert_eq!(journal.matches('\n').count(), 7);
            let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
            let cut: String = match value.char_indices().nth(VALUE_LIMIT) {
                Some((end, _)) => value[..end].to_owned() + "…",
                None => value,
            };
            prop_assert_eq!(parsed["name"].as_str(), Some(cut.as_str()));
        }
    }
}

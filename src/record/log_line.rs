//! Builder of one log line, as text, JSON or journald datagram.
//!
//! Every value that an untrusted client wrote passes through `LineEscaper`, here and nowhere else. Control characters, line
//! ends, terminal escapes and characters that change the reading direction become `\u` and four digits, and each value
//! is cut at a limit. No value can forge a second line or a field, in any of the formats.

use std::fmt::{self, Display, Write};

use tracing::Level;

use crate::model::clock::ClockReading;

/// Characters of one field value that a client may have written; the rest is cut.
pub(super) const VALUE_LIMIT: usize = 256;

/// Characters of a message or an error that hookgate wrote; the rest is cut.
pub(super) const MESSAGE_LIMIT: usize = 1024;

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
    /// The text or JSON form; for journald the value of `MESSAGE`.
    text: String,
    /// All other fields for journald; empty in other formats.
    fields: String,
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
        let mut line = Self {
            encoding,
            text: String::with_capacity(512),
            fields: String::new(),
        };
        match encoding {
            LineEncoding::Text => {
                push_time(&mut line.text, now);
                let _ = write!(line.text, " {level:>5} {target}: ");
                escape(&mut line.text, MESSAGE_LIMIT, &message);
            }
            LineEncoding::Json => {
                // The object is closed in `finish`.
                line.text.push_str("{\"time\":\"");
                push_time(&mut line.text, now);
                let _ = write!(line.text, "\",\"level\":\"{level}\",\"target\":\"");
                // Targets and messages are constants, but `tracing` events of libraries pass through here too.
                escape(&mut line.text, VALUE_LIMIT, &target);
                line.text.push_str("\",\"message\":\"");
                escape(&mut line.text, MESSAGE_LIMIT, &message);
                line.text.push('"');
            }
            LineEncoding::Journal => {
                let priority = priority(level);
                let _ = write!(
                    line.fields,
                    "PRIORITY={priority}\nSYSLOG_IDENTIFIER=hookgate\nHOOKGATE_TARGET={target}\n"
                );
                escape(&mut line.text, MESSAGE_LIMIT, &message);
            }
        }
        line
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
        self.bare(name, &value)
    }

    /// Adds a count, which JSON shows without quotes.
    pub(crate) fn count(&mut self, name: &str, value: u64) -> &mut Self {
        self.bare(name, &value)
    }

    /// Adds a boolean, which JSON shows without quotes.
    pub(crate) fn flag(&mut self, name: &str, value: bool) -> &mut Self {
        self.bare(name, &value)
    }

    /// Returns the bytes to write, including the line end.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        match self.encoding {
            LineEncoding::Text => self.text.push('\n'),
            LineEncoding::Json => self.text.push_str("}\n"),
            LineEncoding::Journal => {
                // The pairs `NAME=value` end at a line end, which is safe because `LineEscaper` left no line end in a
                // value.
                self.fields.push_str("MESSAGE=");
                self.fields.push_str(&self.text);
                self.fields.push('\n');
                return self.fields.into_bytes();
            }
        }
        self.text.into_bytes()
    }

    fn field(&mut self, name: &str, value: &dyn Display, limit: usize) -> &mut Self {
        match self.encoding {
            LineEncoding::Json => {
                push_key(&mut self.text, name);
                self.text.push('"');
                escape(&mut self.text, limit, value);
                self.text.push('"');
            }
            LineEncoding::Text => push_pair(&mut self.text, name, value, limit),
            LineEncoding::Journal => {
                push_pair(&mut self.text, name, value, limit);
                push_journal_name(&mut self.fields, name);
                escape(&mut self.fields, limit, value);
                self.fields.push('\n');
            }
        }
        self
    }

    /// Adds a value that needs neither quotes nor escapes.
    fn bare(&mut self, name: &str, value: &dyn Display) -> &mut Self {
        match self.encoding {
            LineEncoding::Json => {
                push_key(&mut self.text, name);
                let _ = write!(self.text, "{value}");
            }
            LineEncoding::Text => push_pair(&mut self.text, name, value, VALUE_LIMIT),
            LineEncoding::Journal => {
                push_pair(&mut self.text, name, value, VALUE_LIMIT);
                push_journal_name(&mut self.fields, name);
                let _ = writeln!(self.fields, "{value}");
            }
        }
        self
    }
}

fn push_key(out: &mut String, name: &str) {
    out.push_str(",\"");
    escape(out, VALUE_LIMIT, &name);
    out.push_str("\":");
}

/// Appends ` name=value`, with quotes unless the value is one plain word.
fn push_pair(out: &mut String, name: &str, value: &dyn Display, limit: usize) {
    let _ = write!(out, " {name}=");
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
    let _ = match jiff::Timestamp::from_millisecond(now.unix_ms) {
        Ok(time) => write!(out, "{time:.3}"),
        Err(_) => write!(out, "@{}", now.unix_ms),
    };
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

struct LineEscaper<'a> {
    out: &'a mut String,
    remaining: usize,
}

impl Write for LineEscaper<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
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
        String::from_utf8(line.finish()).unwrap()
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

    proptest! {
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

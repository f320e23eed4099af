//! Views of an event's body: formatted JSON, raw text, or a hex dump.
//!
//! The sender wrote the body, so a browser must never read it as anything but text: this module returns pieces of text,
//! and the template escapes each of them.

use serde::de::IgnoredAny;

/// Bytes that a page shows of a body. The whole body can be downloaded.
const MAX_TEXT: usize = 64 * 1024;
const MAX_HEX: usize = 4 * 1024;

/// Bytes in a line of the hex dump.
const LINE: usize = 16;

/// The form in which a page shows a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum BodyView {
    Pretty,
    Raw,
    Hex,
}

/// A run of characters with the same color.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct BodySegment {
    /// CSS class that gives the color; empty for plain text.
    pub(super) class: &'static str,
    pub(super) text: String,
}

/// The visible part of a body.
#[derive(Debug)]
pub(super) struct RenderedBody {
    pub(super) view: BodyView,
    pub(super) pieces: Vec<BodySegment>,
    /// True if the body is longer than the visible part.
    pub(super) is_cut: bool,
}

impl BodyView {
    /// Parses the view from a query; an unknown word gives the default view.
    pub(super) fn parse(word: &str) -> Self {
        match word {
            "raw" => Self::Raw,
            "hex" => Self::Hex,
            _ => Self::Pretty,
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Raw => "raw",
            Self::Hex => "hex",
        }
    }
}

/// Shows a body in a view, or in the next view that can show it: pretty, then raw, then hex.
pub(super) fn show(body: &[u8], view: BodyView) -> RenderedBody {
    let max = if view == BodyView::Hex {
        MAX_HEX
    } else {
        MAX_TEXT
    };
    let is_cut = body.len() > max;
    let start = body.get(..max).unwrap_or(body);
    let text = match std::str::from_utf8(start) {
        Ok(text) => Some(text),
        // The bound may cut through the last character, which does not make the text binary.
        Err(err) if is_cut && err.error_len().is_none() => {
            let whole = start.get(..err.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(whole).ok()
        }
        Err(_) => None,
    };
    // `is_json` looks at the whole body: the visible part alone is seldom a whole document.
    let (view, pieces) = match (view, text) {
        (BodyView::Pretty, Some(text)) if is_json(body) => (BodyView::Pretty, pretty(text)),
        (BodyView::Pretty | BodyView::Raw, Some(text)) => (BodyView::Raw, vec![plain(text)]),
        _ => {
            // A fallback to hex was measured by `MAX_TEXT` above, so cut to the bound of hex here.
            let start = body.get(..MAX_HEX).unwrap_or(body);
            (BodyView::Hex, vec![plain(&hex(start))])
        }
    };
    let is_cut = is_cut || (view == BodyView::Hex && body.len() > MAX_HEX);
    RenderedBody {
        view,
        pieces,
        is_cut,
    }
}

fn plain(text: &str) -> BodySegment {
    BodySegment {
        class: "",
        text: text.to_owned(),
    }
}

fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// Indents JSON and keeps every token as the sender wrote it.
///
/// A parser and a printer would round numbers and might reorder keys, so this splits the text into tokens instead.
fn pretty(text: &str) -> Vec<BodySegment> {
    let mut writer = SegmentWriter::default();
    let mut rest = text;
    // Each round takes one token. The text may end in the middle of one, because `show` cuts long bodies.
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_end(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ if first.is_whitespace() => first.len_utf8(),
            _ => rest
                .find(|c: char| "{}[],:\"".contains(c) || c.is_whitespace())
                .unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        rest = after;
        writer.token(first, token, after);
    }
    writer.pieces
}

/// Returns the length of the JSON string at the start of `text`, or of the rest if the string was cut.
fn string_end(text: &str) -> usize {
    let mut is_escaped = false;
    // Bytes are enough: in UTF-8 no byte of another character equals a quote or a backslash.
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            b'"' if !is_escaped => return index + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[derive(Default)]
struct SegmentWriter {
    pieces: Vec<BodySegment>,
    depth: usize,
    /// True if the last token opened an object or a list, which may turn out to be empty.
    is_open: bool,
}

impl SegmentWriter {
    fn token(&mut self, first: char, token: &str, after: &str) {
        if first.is_whitespace() {
            return;
        }
        let closes = matches!(first, '}' | ']');
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        // A line break after an opening token and before a closing one, but not between the two: `{}` stays together.
        if self.is_open != closes && (self.is_open || closes) {
            self.line();
        }
        self.is_open = matches!(first, '{' | '[');
        match first {
            '{' | '[' => {
                self.depth += 1;
                self.put("", token);
            }
            ',' => {
                self.put("", ",");
                self.line();
            }
            ':' => self.put("", ": "),
            '"' if after.trim_start().starts_with(':') => self.put("key", token),
            '"' => self.put("string", token),
            't' | 'f' | 'n' => self.put("word", token),
            '-' | '0'..='9' => self.put("number", token),
            _ => self.put("", token),
        }
    }

    fn line(&mut self) {
        // A bound keeps deep nesting on the screen, and hostile nesting from making the page large.
        let indent = "  ".repeat(self.depth.min(20));
        self.put("", &format!("\n{indent}"));
    }

    fn put(&mut self, class: &'static str, text: &str) {
        match self.pieces.last_mut() {
            Some(last) if last.class == class => last.text.push_str(text),
            _ => self.pieces.push(BodySegment {
                class,
                text: text.to_owned(),
            }),
        }
    }
}

/// Formats a hex dump: offset, bytes, and the printable ASCII characters.
fn hex(body: &[u8]) -> String {
    let mut text = String::new();
    for (index, line) in body.chunks(LINE).enumerate() {
        text.push_str(&format!("{:08x}  ", index * LINE));
        for position in 0..LINE {
            match line.get(position) {
                Some(byte) => text.push_str(&format!("{byte:02x} ")),
                // Keeps the column of characters in place on a short last line.
                None => text.push_str("   "),
            }
            if position == LINE / 2 - 1 {
                text.push(' ');
            }
        }
        text.push(' ');
        let printed = line.iter().map(|byte| match byte {
            0x20..=0x7e => char::from(*byte),
            _ => '.',
        });
        text.extend(printed);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: &[u8], view: BodyView) -> (BodyView, String) {
        let shown = show(body, view);
        let texts = shown.pieces.iter().map(|piece| piece.text.as_str());
        (shown.view, texts.collect())
    }

    #[test]
    fn json_keeps_its_tokens() {
        let body =
            br#"{"a":1.0000000000000000001,"b":[],"c":[true,{"d":"x\"}{","e":{}}],"a":null}"#;
        let expected = r#"{
  "a": 1.0000000000000000001,
  "b": [],
  "c": [
    true,
    {
      "d": "x\"}{",
      "e": {}
    }
  ],
  "a": null
}"#;
        assert_eq!(
            text(body, BodyView::Pretty),
            (BodyView::Pretty, expected.to_owned())
        );
        let pieces = show(br#"{"k":"v"}"#, BodyView::Pretty).pieces;
        let classes: Vec<_> = pieces.iter().map(|piece| piece.class).collect();
        assert_eq!(classes, ["", "key", "", "string", ""]);
    }

    #[test]
    fn each_body_has_a_view() {
        let raw = |text: &str| (BodyView::Raw, text.to_owned());
        assert_eq!(text(b"a=1&b=<b>", BodyView::Pretty), raw("a=1&b=<b>"));
        assert_eq!(text(b"{\"a\":1}", BodyView::Raw), raw("{\"a\":1}"));
        assert_eq!(text(b"", BodyView::Pretty), raw(""));
        let line = "00000000  ff 00 41                                          ..A\n";
        assert_eq!(
            text(b"\xff\x00A", BodyView::Pretty),
            (BodyView::Hex, line.to_owned())
        );
        let long = "ä".repeat(MAX_TEXT);
        let shown = show(long.as_bytes(), BodyView::Raw);
        assert!(shown.is_cut && shown.view == BodyView::Raw);
        let shown = show(&vec![0xff; MAX_TEXT], BodyView::Raw);
        assert!(shown.is_cut && shown.view == BodyView::Hex);
    }
}

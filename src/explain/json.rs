//! JSON writer that imitates the formats of other serializers.
//!
//! It serves only to test if a body was parsed and reserialized in transit. Nothing that is forwarded may come from
//! here. Numbers keep their digits as received.

/// Maximum nesting: deeper than any event, and shallow enough for the stack of the recursive parser.
const MAX_DEPTH: usize = 96;

/// Maximum number of values in one body, which bounds memory.
const MAX_NODES: usize = 400_000;

/// A JSON value; an object keeps its members in the order of the text.
pub(super) enum JsonNode<'t> {
    /// A number or a literal, with its characters as received.
    Bare(&'t str),
    Text(QuotedString<'t>),
    List(Vec<Self>),
    Object(Vec<(QuotedString<'t>, Self)>),
}

/// A string: its text as received, and its decoded value.
pub(super) struct QuotedString<'t> {
    raw: &'t str,
    decoded: String,
}

/// Style in which a program writes JSON.
#[derive(Clone, Copy)]
pub(super) struct JsonStyle {
    /// Description of the layout for the explanation.
    pub(super) words: &'static str,
    layout: JsonLayout,
    is_sorted: bool,
    strings: StringEscaping,
}

/// White space between the tokens.
#[derive(Clone, Copy, PartialEq, Eq)]
enum JsonLayout {
    /// No white space between tokens.
    Compact,
    /// `", "` and `": "`, as Python writes it.
    Spaced,
    /// One value per line, with this indent.
    Lines(&'static str),
}

/// Escaping of characters in strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StringEscaping {
    /// Strings keep their escapes as received.
    Kept,
    /// Only characters that must be escaped are escaped (RFC 8259, section 7).
    Plain,
    /// All characters beyond ASCII as `\u` with lower-case digits, as Python writes them.
    Ascii,
    /// Like `Ascii`, with a backslash before each slash, as PHP writes it.
    AsciiAndSlashes,
    /// Like `Plain`, with a backslash before each slash.
    Slashes,
    /// Like `Plain`, with `<`, `>` and `&` as `\u`, as Go writes them.
    Html,
}

const LAYOUTS: [(JsonLayout, &str); 5] = [
    (JsonLayout::Compact, "without white space"),
    (
        JsonLayout::Spaced,
        "on one line with spaces after commas and colons",
    ),
    (JsonLayout::Lines("  "), "indented by two spaces"),
    (JsonLayout::Lines("    "), "indented by four spaces"),
    (JsonLayout::Lines("\t"), "indented by tabs"),
];

const STRINGS: [StringEscaping; 6] = [
    StringEscaping::Kept,
    StringEscaping::Plain,
    StringEscaping::Ascii,
    StringEscaping::AsciiAndSlashes,
    StringEscaping::Slashes,
    StringEscaping::Html,
];

/// Returns every style, common ones first.
pub(super) fn styles() -> impl Iterator<Item = JsonStyle> {
    [false, true].into_iter().flat_map(|is_sorted| {
        STRINGS.into_iter().flat_map(move |strings| {
            LAYOUTS.into_iter().map(move |(layout, words)| JsonStyle {
                words,
                layout,
                is_sorted,
                strings,
            })
        })
    })
}

impl JsonStyle {
    /// Describes the style in words that complete the cause's sentence.
    pub(super) fn describe(&self) -> String {
        let strings = match self.strings {
            StringEscaping::Kept => "",
            StringEscaping::Plain => ", with only the necessary escapes",
            StringEscaping::Ascii => ", with every character beyond ASCII escaped",
            StringEscaping::AsciiAndSlashes => {
                ", with slashes and every character beyond ASCII escaped"
            }
            StringEscaping::Slashes => ", with slashes escaped",
            StringEscaping::Html => ", with `<`, `>` and `&` escaped",
        };
        let order = if self.is_sorted {
            ", with sorted keys"
        } else {
            ""
        };
        format!("{}{order}{strings}", self.words)
    }

    pub(super) fn write(&self, node: &JsonNode<'_>) -> String {
        let mut out = String::new();
        self.put(node, 0, &mut out);
        out
    }

    fn put(&self, node: &JsonNode<'_>, depth: usize, out: &mut String) {
        match node {
            // Numbers are not reformatted: the styles only cover white space, order and escapes.
            JsonNode::Bare(text) => out.push_str(text),
            JsonNode::Text(text) => self.put_text(text, out),
            // Serializers write empty lists and objects without white space, also if they indent.
            JsonNode::List(items) if items.is_empty() => out.push_str("[]"),
            JsonNode::Object(members) if members.is_empty() => out.push_str("{}"),
            JsonNode::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    self.put_gap(position, depth + 1, out);
                    self.put(item, depth + 1, out);
                }
                self.put_end(depth, out);
                out.push(']');
            }
            JsonNode::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.is_sorted {
                    // Sorted by the decoded key, as a program sees it, and not by its escapes.
                    members.sort_by(|(left, _), (right, _)| left.decoded.cmp(&right.decoded));
                }
                out.push('{');
                for (position, (key, value)) in members.into_iter().enumerate() {
                    self.put_gap(position, depth + 1, out);
                    self.put_text(key, out);
                    out.push_str(match self.layout {
                        JsonLayout::Compact => ":",
                        JsonLayout::Spaced | JsonLayout::Lines(_) => ": ",
                    });
                    self.put(value, depth + 1, out);
                }
                self.put_end(depth, out);
                out.push('}');
            }
        }
    }

    /// Writes the separator and white space before an item.
    fn put_gap(&self, position: usize, depth: usize, out: &mut String) {
        if position > 0 {
            out.push(',');
        }
        match self.layout {
            JsonLayout::Compact => {}
            JsonLayout::Spaced if position > 0 => out.push(' '),
            JsonLayout::Spaced => {}
            // One level deeper for each enclosing list or object.
            JsonLayout::Lines(indent) => {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        }
    }

    fn put_end(&self, depth: usize, out: &mut String) {
        if let JsonLayout::Lines(indent) = self.layout {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn put_text(&self, text: &QuotedString<'_>, out: &mut String) {
        // The text as received, with its own escapes.
        if self.strings == StringEscaping::Kept {
            out.push_str(text.raw);
            return;
        }
        out.push('"');
        for letter in text.decoded.chars() {
            self.put_letter(letter, out);
        }
        out.push('"');
    }

    fn put_letter(&self, letter: char, out: &mut String) {
        let is_ascii_only = matches!(
            self.strings,
            StringEscaping::Ascii | StringEscaping::AsciiAndSlashes
        );
        let has_slashes = matches!(
            self.strings,
            StringEscaping::Slashes | StringEscaping::AsciiAndSlashes
        );
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if has_slashes => out.push_str("\\/"),
            // Go escapes these by default, so that JSON can be embedded in HTML and JavaScript.
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.strings == StringEscaping::Html => {
                put_escape(letter, out);
            }
            // Control characters must be escaped in every style (RFC 8259, section 7).
            letter if letter < ' ' || (is_ascii_only && !letter.is_ascii()) => {
                put_escape(letter, out)
            }
            letter => out.push(letter),
        }
    }
}

fn put_escape(letter: char, out: &mut String) {
    for unit in letter.encode_utf16(&mut [0; 2]) {
        out.push_str(&format!("\\u{unit:04x}"));
    }
}

/// Parses a text; `None` if it is not JSON, or too deep or too large.
pub(super) fn parse(text: &str) -> Option<JsonNode<'_>> {
    let mut parser = JsonParser {
        text,
        at: 0,
        nodes: 0,
    };
    // More text after the value means that the body is not one JSON document.
    let node = parser.value(0)?;
    parser.skip();
    (parser.at == text.len()).then_some(node)
}

/// Recursive parser that keeps the raw text of strings and numbers, which JSON libraries drop.
struct JsonParser<'t> {
    text: &'t str,
    at: usize,
    nodes: usize,
}

impl<'t> JsonParser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        let rest = self.rest();
        let bare = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - bare.len();
    }

    /// Skips white space and consumes this character if it comes next.
    fn takes(&mut self, letter: char) -> bool {
        self.skip();
        let is_next = self.rest().starts_with(letter);
        if is_next {
            self.at += letter.len_utf8();
        }
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<JsonNode<'t>> {
        self.nodes += 1;
        // The parser recurses, so depth must be bounded before the stack overflows.
        if depth > MAX_DEPTH || self.nodes > MAX_NODES {
            return None;
        }
        if self.takes('{') {
            return self.object(depth);
        }
        if self.takes('[') {
            return self.list(depth);
        }
        if self.rest().starts_with('"') {
            return Some(JsonNode::Text(self.quoted()?));
        }
        let rest = self.rest();
        // Numbers are not validated: a wrong one cannot make a signature verify.
        let is_bare =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
        let end = rest.find(|letter| !is_bare(letter)).unwrap_or(rest.len());
        let bare = rest.get(..end).filter(|bare| !bare.is_empty())?;
        self.at += end;
        Some(JsonNode::Bare(bare))
    }

    fn list(&mut self, depth: usize) -> Option<JsonNode<'t>> {
        let mut items = Vec::new();
        if self.takes(']') {
            return Some(JsonNode::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(']') {
                return Some(JsonNode::List(items));
            }
            if !self.takes(',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<JsonNode<'t>> {
        let mut members = Vec::new();
        if self.takes('}') {
            return Some(JsonNode::Object(members));
        }
        loop {
            self.skip();
            let key = self.quoted()?;
            if !self.takes(':') {
                return None;
            }
            members.push((key, self.value(depth + 1)?));
            if self.takes('}') {
                return Some(JsonNode::Object(members));
            }
            if !self.takes(',') {
                return None;
            }
        }
    }

    /// Reads a string. The JSON library decodes and validates it.
    fn quoted(&mut self) -> Option<QuotedString<'t>> {
        let rest = self.rest();
        let inner = rest.strip_prefix('"')?;
        let mut is_escaped = false;
        // A quote ends the string unless a backslash escapes it; an escaped backslash escapes nothing.
        let end = inner.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        let raw = rest.get(..end + 2)?;
        self.at += raw.len();
        let means = serde_json::from_str(raw).ok()?;
        Some(QuotedString {
            raw,
            decoded: means,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<String> {
        let node = parse(text).unwrap();
        styles().map(|style| style.write(&node)).collect()
    }

    #[test]
    fn a_text_is_written_as_other_programs_would() {
        let written = all("{ \"b\" : [1.50, true ], \"a\":\"\u{e9}/<\\u00e9\" , \"c\":{}}");
        for expected in [
            "{\"b\":[1.50,true],\"a\":\"\u{e9}/<\\u00e9\",\"c\":{}}",
            "{\"a\":\"\u{e9}/<\u{e9}\",\"b\":[1.50,true],\"c\":{}}",
            "{\"b\": [1.50, true], \"a\": \"\\u00e9/<\\u00e9\", \"c\": {}}",
            "{\"b\":[1.50,true],\"a\":\"\\u00e9\\/<\\u00e9\",\"c\":{}}",
            "{\"b\":[1.50,true],\"a\":\"\u{e9}\\/<\u{e9}\",\"c\":{}}",
            "{\"b\":[1.50,true],\"a\":\"\u{e9}/\\u003c\u{e9}\",\"c\":{}}",
            "{\n  \"b\": [\n    1.50,\n    true\n  ],\n  \"a\": \"\u{e9}/<\\u00e9\",\n  \"c\": {}\n}",
        ] {
            assert!(written.iter().any(|one| one == expected), "{expected}");
        }
    }

    #[test]
    fn a_text_that_is_not_json_is_rejected() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\"}",
            "\"a",
            "{\"a\":1} x",
            "\"\\x\"",
            "{a:1}",
        ] {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse(&"[".repeat(100_000)).is_none());
    }
}

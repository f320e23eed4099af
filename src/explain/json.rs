//! Writes a JSON text as other programs would write it. Numbers stay as they are written.
//!
//! Only for trying whether a body was parsed and written again on its way; nothing that is forwarded comes from here.

/// Deeper than any event, and shallow enough for the stack.
const MAX_DEPTH: usize = 96;

/// Values of one body: a bound on memory.
const MAX_NODES: usize = 400_000;

/// A JSON value, with its members in the order of the text.
pub(super) enum Node<'t> {
    /// A number or a literal, as it is written.
    Bare(&'t str),
    Text(Quoted<'t>),
    List(Vec<Self>),
    Object(Vec<(Quoted<'t>, Self)>),
}

/// A string, as it is written and what it means.
pub(super) struct Quoted<'t> {
    raw: &'t str,
    means: String,
}

/// How a program writes JSON.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Who writes so, for people.
    pub(super) words: &'static str,
    layout: Layout,
    is_sorted: bool,
    strings: Strings,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// No white space.
    Compact,
    /// `", "` and `": "`, as Python.
    Spaced,
    /// On lines, with this indent.
    Lines(&'static str),
}

/// How characters are written in strings.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Strings {
    /// As they were.
    Kept,
    /// Only what has to be is escaped.
    Plain,
    /// Everything but ASCII as `\u` with small letters, as Python.
    Ascii,
    /// The same with a backslash before each slash, as PHP.
    AsciiAndSlashes,
    /// Slashes only.
    Slashes,
    /// `<`, `>` and `&` as `\u`, as Go.
    Html,
}

const LAYOUTS: [(Layout, &str); 5] = [
    (Layout::Compact, "without white space"),
    (
        Layout::Spaced,
        "on one line with spaces after commas and colons",
    ),
    (Layout::Lines("  "), "indented by two spaces"),
    (Layout::Lines("    "), "indented by four spaces"),
    (Layout::Lines("\t"), "indented by tabs"),
];

const STRINGS: [Strings; 6] = [
    Strings::Kept,
    Strings::Plain,
    Strings::Ascii,
    Strings::AsciiAndSlashes,
    Strings::Slashes,
    Strings::Html,
];

/// Every style, usual ones first.
pub(super) fn styles() -> impl Iterator<Item = Style> {
    [false, true].into_iter().flat_map(|is_sorted| {
        STRINGS.into_iter().flat_map(move |strings| {
            LAYOUTS.into_iter().map(move |(layout, words)| Style {
                words,
                layout,
                is_sorted,
                strings,
            })
        })
    })
}

impl Style {
    /// What a sender did that writes so.
    pub(super) fn describe(&self) -> String {
        let strings = match self.strings {
            Strings::Kept => "",
            Strings::Plain => ", with no character escaped that need not be",
            Strings::Ascii => ", with every character beyond ASCII escaped",
            Strings::AsciiAndSlashes => ", with slashes and every character beyond ASCII escaped",
            Strings::Slashes => ", with slashes escaped",
            Strings::Html => ", with `<`, `>` and `&` escaped",
        };
        let order = if self.is_sorted {
            ", with sorted keys"
        } else {
            ""
        };
        format!("{}{order}{strings}", self.words)
    }

    /// The value as such a program writes it.
    pub(super) fn write(&self, node: &Node<'_>) -> String {
        let mut out = String::new();
        self.put(node, 0, &mut out);
        out
    }

    fn put(&self, node: &Node<'_>, depth: usize, out: &mut String) {
        match node {
            Node::Bare(text) => out.push_str(text),
            Node::Text(text) => self.put_text(text, out),
            Node::List(items) if items.is_empty() => out.push_str("[]"),
            Node::Object(members) if members.is_empty() => out.push_str("{}"),
            Node::List(items) => {
                out.push('[');
                for (position, item) in items.iter().enumerate() {
                    self.put_gap(position, depth + 1, out);
                    self.put(item, depth + 1, out);
                }
                self.put_end(depth, out);
                out.push(']');
            }
            Node::Object(members) => {
                let mut members: Vec<_> = members.iter().collect();
                if self.is_sorted {
                    members.sort_by(|(left, _), (right, _)| left.means.cmp(&right.means));
                }
                out.push('{');
                for (position, (key, value)) in members.into_iter().enumerate() {
                    self.put_gap(position, depth + 1, out);
                    self.put_text(key, out);
                    out.push_str(match self.layout {
                        Layout::Compact => ":",
                        Layout::Spaced | Layout::Lines(_) => ": ",
                    });
                    self.put(value, depth + 1, out);
                }
                self.put_end(depth, out);
                out.push('}');
            }
        }
    }

    /// What stands before an item.
    fn put_gap(&self, position: usize, depth: usize, out: &mut String) {
        if position > 0 {
            out.push(',');
        }
        match self.layout {
            Layout::Compact => {}
            Layout::Spaced if position > 0 => out.push(' '),
            Layout::Spaced => {}
            Layout::Lines(indent) => {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        }
    }

    fn put_end(&self, depth: usize, out: &mut String) {
        if let Layout::Lines(indent) = self.layout {
            out.push('\n');
            out.push_str(&indent.repeat(depth));
        }
    }

    fn put_text(&self, text: &Quoted<'_>, out: &mut String) {
        if self.strings == Strings::Kept {
            out.push_str(text.raw);
            return;
        }
        out.push('"');
        for letter in text.means.chars() {
            self.put_letter(letter, out);
        }
        out.push('"');
    }

    fn put_letter(&self, letter: char, out: &mut String) {
        let is_ascii_only = matches!(self.strings, Strings::Ascii | Strings::AsciiAndSlashes);
        let has_slashes = matches!(self.strings, Strings::Slashes | Strings::AsciiAndSlashes);
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if has_slashes => out.push_str("\\/"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' if self.strings == Strings::Html => {
                put_escape(letter, out);
            }
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

/// Reads a text; none where it is no JSON, or too deep or too large for this.
pub(super) fn parse(text: &str) -> Option<Node<'_>> {
    let mut parser = Parser {
        text,
        at: 0,
        nodes: 0,
    };
    let node = parser.value(0)?;
    parser.skip();
    (parser.at == text.len()).then_some(node)
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: usize,
}

impl<'t> Parser<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip(&mut self) {
        let rest = self.rest();
        let bare = rest.trim_start_matches([' ', '\t', '\n', '\r']);
        self.at += rest.len() - bare.len();
    }

    /// Whether this character comes next; it is passed over.
    fn takes(&mut self, letter: char) -> bool {
        self.skip();
        let is_next = self.rest().starts_with(letter);
        if is_next {
            self.at += letter.len_utf8();
        }
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Node<'t>> {
        self.nodes += 1;
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
            return Some(Node::Text(self.quoted()?));
        }
        let rest = self.rest();
        let is_bare =
            |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '+' | '-' | '.');
        let end = rest.find(|letter| !is_bare(letter)).unwrap_or(rest.len());
        let bare = rest.get(..end).filter(|bare| !bare.is_empty())?;
        self.at += end;
        Some(Node::Bare(bare))
    }

    fn list(&mut self, depth: usize) -> Option<Node<'t>> {
        let mut items = Vec::new();
        if self.takes(']') {
            return Some(Node::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.takes(']') {
                return Some(Node::List(items));
            }
            if !self.takes(',') {
                return None;
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Node<'t>> {
        let mut members = Vec::new();
        if self.takes('}') {
            return Some(Node::Object(members));
        }
        loop {
            self.skip();
            let key = self.quoted()?;
            if !self.takes(':') {
                return None;
            }
            members.push((key, self.value(depth + 1)?));
            if self.takes('}') {
                return Some(Node::Object(members));
            }
            if !self.takes(',') {
                return None;
            }
        }
    }

    /// A string; what it means is read by the JSON library.
    fn quoted(&mut self) -> Option<Quoted<'t>> {
        let rest = self.rest();
        let inner = rest.strip_prefix('"')?;
        let mut is_escaped = false;
        let end = inner.bytes().position(|byte| {
            let is_end = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            is_end
        })?;
        let raw = rest.get(..end + 2)?;
        self.at += raw.len();
        let means = serde_json::from_str(raw).ok()?;
        Some(Quoted { raw, means })
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
    fn what_is_no_json_is_none() {
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

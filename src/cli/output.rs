//! What commands print: tables and colours for people, and plain text where nobody looks.
//!
//! `anstream` takes the colours out again where standard output is not a terminal or `NO_COLOR` is set, so the code
//! above never asks.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Attribute, Cell, ContentArrangement, Table};

use crate::record::line::is_misleading;

/// Something went as it should.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something did not.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// The eye shall find it.
pub const STRONG: Style = Style::new().bold();
/// The eye may pass over it.
pub const FAINT: Style = Style::new().dimmed();

/// The text in this style.
#[must_use]
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Where there is no terminal to ask for its width.
const WIDTH: u16 = 120;

/// A table as wide as the terminal, with this header.
#[must_use]
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    table
}

/// A list, one line each, so that `grep` can pick some. On a terminal long cells are broken instead.
#[must_use]
pub fn list(header: &[&str]) -> Table {
    let mut table = Table::new();
    let arrangement = match table.is_tty() {
        true => ContentArrangement::Dynamic,
        false => ContentArrangement::Disabled,
    };
    table
        .load_style(NOTHING)
        .set_content_arrangement(arrangement);
    if !has_colour() {
        table.force_no_tty();
    }
    // A list that goes on has none.
    if !header.is_empty() {
        let header = header.iter();
        table.set_header(header.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    }
    table
}

/// The text of a list.
#[must_use]
pub fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Names and values, one a line.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts {
        let name = styled(STRONG, &format!("{name:width$}"));
        out.push_str(&format!("{name}  {value}\n"));
    }
    out
}

/// Whether standard output takes colours.
fn has_colour() -> bool {
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    choice != anstream::ColorChoice::Never
}

/// What a stranger wrote, with what a terminal would act on escaped.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_misleading(letter) {
            true => clean.extend(letter.escape_unicode()),
            false => clean.push(letter),
        }
    }
    clean
}

/// As [`clean`]; a dash where there is none.
#[must_use]
pub fn clean_or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), clean)
}

/// Prints to standard output. A reader that has seen enough, such as `head`, is no failure: `false`.
pub fn print(text: &str) -> bool {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

/// Prints one JSON document.
pub fn print_json(document: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    print(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a sender can move the cursor, or turn around what stands on an operator's terminal.
    #[test]
    fn what_a_stranger_wrote_moves_no_cursor() {
        assert_eq!(
            clean("a\u{1b}[2Jb\n\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}\\u{202e}"
        );
        assert_eq!(clean("größe"), "größe");
    }
}

//! Output of commands: tables, lists and colors for people, JSON for programs.
//!
//! Commands always write colors. `anstream` removes them where standard output is not a terminal or `NO_COLOR` is set.

use std::io::Write;

use anstyle::{AnsiColor, Style};
use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Attribute, Cell, ContentArrangement, Table};

use crate::record::log_line::is_misleading;

/// Style of a result that is as it should be.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// Style of a result that is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// Style of headings, labels and other text that a reader looks for.
pub(crate) const STRONG: Style = Style::new().bold();
/// Style of text that a reader may skip.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Wraps text in the escape sequences of a style.
pub(crate) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Columns of a table where standard output is not a terminal.
const WIDTH: u16 = 120;

/// Creates a table as wide as the terminal, with this header.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    // Without a width, the table library would not wrap cells at all.
    if !table.is_tty() {
        table.set_width(WIDTH);
    }
    table
}

/// Creates a list with one line for each row, so that `grep` can select rows. On a terminal, long cells wrap instead.
pub(crate) fn list(header: &[&str]) -> Table {
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
    // The second part of a list has no header: it continues the first.
    if !header.is_empty() {
        let header = header.iter();
        table.set_header(header.map(|name| Cell::new(name).add_attribute(Attribute::Bold)));
    }
    table
}

/// Formats a list without leading or trailing blanks, so that its lines can be cut by column.
pub(crate) fn lines(mut table: Table) -> String {
    for column in table.column_iter_mut() {
        // No blank before the first column, so that `grep '^...'` and `cut` work.
        column.set_padding((0, 2));
    }
    let mut text = String::new();
    for line in table.to_string().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Formats names and values, one pair a line, with the values aligned.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (name, value) in facts {
        let name = styled(STRONG, &format!("{name:width$}"));
        out.push_str(&format!("{name}  {value}\n"));
    }
    out
}

/// Returns true if standard output supports colors.
fn has_colour() -> bool {
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    choice != anstream::ColorChoice::Never
}

/// Escapes the characters of untrusted text that a terminal acts on, such as escape sequences and direction marks.
pub(crate) fn clean(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_misleading(letter) {
            true => clean.extend(letter.escape_unicode()),
            false => clean.push(letter),
        }
    }
    clean
}

/// Escapes untrusted text as [`clean`] does, and returns a dash for `None`.
pub(crate) fn clean_or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), clean)
}

/// Prints to standard output. Returns false where the reader closed the pipe, as `head` does; that is not a failure.
pub(crate) fn print(text: &str) -> bool {
    let mut out = anstream::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_ok()
}

/// Prints one JSON document.
pub(crate) fn print_json(document: &impl serde::Serialize) {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    print(&format!("{text}\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when text of a sender can move the cursor, or reverse the text on an operator's terminal.
    #[test]
    fn text_of_a_sender_moves_no_cursor() {
        assert_eq!(
            clean("a\u{1b}[2Jb\n\u{202e}"),
            "a\\u{1b}[2Jb\\u{a}\\u{202e}"
        );
        assert_eq!(clean("größe"), "größe");
    }
}

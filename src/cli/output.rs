//! What commands print: tables and colours for people, and plain text where nobody looks.
//!
//! `anstream` takes the colours out again where standard output is not a terminal or `NO_COLOR` is set, so the code
//! above never asks.

use anstyle::{AnsiColor, Style};
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{ContentArrangement, Table};

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

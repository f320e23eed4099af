//! Text of man pages in roff: escapes, code spans, paragraphs and lists.
//!
//! The pages are ASCII and use few macros of man(7), so that groff and mandoc render them alike.

use std::fmt::Write;

use clap::Command;
use clap_mangen::Man;

/// Text of one man page while it is written.
#[derive(Debug, Default)]
pub(super) struct RoffText {
    text: String,
}

impl RoffText {
    /// Starts a page with its title line and its NAME section, from which mandb makes the index of pages.
    pub(super) fn new(name: &str, section: u8, manual: &str, purpose: &str) -> Self {
        let mut page = Self::default();
        let version = env!("CARGO_PKG_VERSION");
        // The date stays empty: the pages of one version are equal, whenever they are written.
        let _ = writeln!(
            page.text,
            ".TH {} {section} \"\" \"hookgate {version}\" \"{manual}\"",
            escaped(name)
        );
        // Words such as `per_source_rate_limit` must not be broken, and the space between words must not grow.
        page.text.push_str(".nh\n.ad l\n");
        page.heading("NAME");
        let purpose = purpose.replace('`', "");
        page.line(&format!("{} \\- {}", escaped(name), escaped(&purpose)));
        page
    }

    /// Returns the finished page.
    pub(super) fn into_text(self) -> String {
        self.text
    }

    /// Begins a section.
    pub(super) fn heading(&mut self, title: &str) {
        let _ = writeln!(self.text, ".SH \"{}\"", argument(title));
    }

    /// Begins a subsection.
    pub(super) fn subheading(&mut self, title: &str) {
        let _ = writeln!(self.text, ".SS \"{}\"", argument(title));
    }

    /// Writes a paragraph. Text in backticks becomes bold.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.separate();
        self.line(&spans(&text.replace('\n', " ")));
    }

    /// Writes an entry of a list: a term, and its indented text. Text in backticks becomes bold in both.
    pub(super) fn entry(&mut self, term: &str, text: &str) {
        self.text.push_str(".TP\n");
        self.line(&spans(term));
        self.line(&spans(text));
    }

    /// Writes an example: a command in bold, and its explanation if there is one.
    pub(super) fn example(&mut self, command: &str, explanation: Option<&str>) {
        match explanation {
            Some(_) => self.text.push_str(".TP\n"),
            // A `.TP` without text would take the next paragraph as its text.
            None => self.separate(),
        }
        self.line(&bold(command));
        if let Some(explanation) = explanation {
            self.line(&spans(explanation));
        }
    }

    /// Continues an entry on a new line.
    pub(super) fn next_line(&mut self, text: &str) {
        self.text.push_str(".br\n");
        self.line(&spans(text));
    }

    /// Writes lines as they are, indented and without filling.
    pub(super) fn literal(&mut self, lines: &str) {
        self.separate();
        self.text.push_str(".RS 4\n.nf\n");
        for line in lines.lines() {
            match line.is_empty() {
                // An empty line of the source is a fault in the eyes of mandoc.
                true => self.text.push_str(".sp\n"),
                false => self.line(&escaped(line)),
            }
        }
        self.text.push_str(".fi\n.RE\n");
    }

    /// Writes the names of other pages, such as `hookgate(1)`.
    pub(super) fn see_also(&mut self, pages: &[String]) {
        self.heading("SEE ALSO");
        let pages: Vec<String> = pages.iter().map(|page| reference(page)).collect();
        self.line(&pages.join(",\n"));
    }

    /// Adds sections that clap_mangen renders, and corrects their text.
    pub(super) fn add_rendered(
        &mut self,
        man: &Man,
        render: impl Fn(&Man, &mut dyn std::io::Write) -> std::io::Result<()>,
    ) {
        let mut rendered = Vec::new();
        // Writing to a vector does not fail.
        let _ = render(man, &mut rendered);
        self.text
            .push_str(&corrected(&String::from_utf8_lossy(&rendered)));
    }

    /// Begins a paragraph. A heading does so by itself.
    fn separate(&mut self) {
        let last = self.text.lines().next_back().unwrap_or_default();
        if !last.starts_with(".SH ") && !last.starts_with(".SS ") {
            self.text.push_str(".PP\n");
        }
    }

    /// Writes one line of escaped text.
    fn line(&mut self, escaped: &str) {
        // At the start of a line, both are control characters.
        if escaped.starts_with(['.', '\'']) {
            self.text.push_str("\\&");
        }
        self.text.push_str(escaped.trim_end());
        self.text.push('\n');
    }
}

/// Returns the manual page of a command as clap_mangen builds it, with the usage lines of `--help` as its synopsis and
/// its arguments apart from its options.
pub(super) fn built(command: &Command) -> Man {
    let command = command.clone().subcommand_help_heading("COMMANDS");
    let mut command = command.mut_args(|argument| match argument.is_positional() {
        true => argument.help_heading("ARGUMENTS"),
        false => argument,
    });
    let usage = command.render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim().to_owned();
    Man::new(command.override_usage(usage))
}

/// Escapes text for roff. Backslashes, dashes, quotes and others would be read or printed as other characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\(aq"),
            '`' => out.push_str("\\(ga"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            letter if letter.is_ascii() => out.push(letter),
            letter => {
                let _ = write!(out, "\\[u{:04X}]", u32::from(letter));
            }
        }
    }
    out
}

/// Escapes text and sets what is between backticks in bold.
fn spans(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(&escaped(part)),
            _ => out.push_str(&bold(part)),
        }
    }
    out
}

/// Escapes text and sets it in bold.
fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// Escapes text for a quoted argument of a macro.
fn argument(text: &str) -> String {
    escaped(text).replace('"', "\\(dq")
}

/// Returns the name of a page in bold, and its section: `hookgate(1)`.
fn reference(page: &str) -> String {
    let (name, section) = page.split_once('(').unwrap_or((page, "1)"));
    format!("{}({section}", bold(name))
}

/// Corrects what clap_mangen renders: it knows no code spans, leaves `~` and `^` alone, and defines a string for
/// apostrophes in each section.
fn corrected(rendered: &str) -> String {
    let mut out = String::with_capacity(rendered.len());
    for line in rendered.lines() {
        if line.is_empty() || line.starts_with(".ie ") || line.starts_with(".el ") {
            continue;
        }
        if let Some(title) = line.strip_prefix(".SH ") {
            let title = title.trim_matches('"').to_uppercase();
            let _ = writeln!(out, ".SH \"{title}\"");
            continue;
        }
        // Before a list of values, clap_mangen writes one line break too many.
        if line == ".br" && out.ends_with("\n.br\n") {
            continue;
        }
        if line.starts_with('.') {
            out.push_str(line);
            out.push('\n');
            continue;
        }
        let line = line
            .replace("\\*(Aq", "\\(aq")
            .replace("\\\\", "\\e")
            .replace('~', "\\(ti")
            .replace('^', "\\(ha");
        for (index, part) in line.trim_end().split('`').enumerate() {
            if index > 0 {
                out.push_str(if index % 2 == 1 { "\\fB" } else { "\\fR" });
            }
            out.push_str(part);
        }
        out.push('\n');
    }
    out
}

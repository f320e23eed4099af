//! Man page of one command, from the same definitions as its `--help`.

use clap::Command;
use clap_mangen::Man;

use crate::cli::man::man_page::ManPage;
use crate::cli::man::roff_text::{self, RoffText};

/// Section of the manual with commands.
const COMMANDS: u8 = 1;

/// Name of the manual in the header of each page.
const MANUAL: &str = "hookgate manual";

/// Files that the commands use, for hookgate(1).
const FILES: [(&str, &str); 4] = [
    (
        "`/etc/hookgate/hookgate.toml`",
        "The config file of the systemd unit. Commands use it without `--config`, unless the environment variable \
         `HOOKGATE_CONFIG` names another one or `./hookgate.toml` exists.",
    ),
    (
        "`/etc/hookgate/conf.d/*.toml`",
        "Further config files, which the main file includes by default.",
    ),
    (
        "`/run/hookgate/admin.sock`",
        "The admin listener of the systemd unit. Commands for a running gate connect to it, unless `--admin`, \
         `HOOKGATE_ADMIN` or `--config` names another one.",
    ),
    (
        "`/var/lib/hookgate`",
        "The state folder: address ranges and keys that providers publish, and usually the store.",
    ),
];

/// Renders the pages of a built command and of all its subcommands.
pub(super) fn render_all(command: &Command, parent: Option<&str>) -> Vec<ManPage> {
    let name = page_name(command);
    let mut pages = vec![render(command, &name, parent)];
    for subcommand in visible(command) {
        pages.extend(render_all(subcommand, Some(&name)));
    }
    pages
}

fn render(command: &Command, name: &str, parent: Option<&str>) -> ManPage {
    let about = command.get_about().map(ToString::to_string);
    let about = about.unwrap_or_default();
    let mut page = RoffText::new(name, COMMANDS, MANUAL, &about);
    let built = roff_text::built(command);
    page.add_rendered(&built, Man::render_synopsis_section);
    page.heading("DESCRIPTION");
    let description = command.get_long_about().map(ToString::to_string);
    for paragraph in description.unwrap_or(about).split("\n\n") {
        page.paragraph(&closed(paragraph));
    }
    page.add_rendered(&built, Man::render_options_section);
    if command.has_subcommands() {
        page.add_rendered(&built, Man::render_subcommands_section);
    }
    let ending = command.get_after_help().map(ToString::to_string);
    add_ending(&mut page, &ending.unwrap_or_default());
    if parent.is_none() {
        page.heading("FILES");
        for (path, purpose) in FILES {
            page.entry(path, purpose);
        }
    }
    page.see_also(&related(command, parent));
    ManPage {
        name: name.to_owned(),
        section: COMMANDS,
        text: page.into_text(),
    }
}

/// Writes the text after the options: examples, remarks, and exit codes.
fn add_ending(page: &mut RoffText, ending: &str) {
    for paragraph in ending.split("\n\n") {
        if let Some(lines) = paragraph.strip_prefix("Examples:\n") {
            page.heading("EXAMPLES");
            add_examples(page, lines);
        } else if let Some(codes) = paragraph.strip_prefix("Exit codes: ") {
            page.heading("EXIT STATUS");
            for (code, meaning) in exit_codes(codes) {
                page.entry(&format!("`{code}`"), &sentence(&meaning));
            }
        } else if !paragraph.is_empty() {
            page.paragraph(paragraph);
        }
    }
}

/// Writes examples: each command as a term, with the explanation behind it as its text.
fn add_examples(page: &mut RoffText, lines: &str) {
    let mut continued = String::new();
    for line in lines.lines().map(str::trim) {
        continued.push_str(line);
        // A backslash continues a command on the next line.
        if continued.ends_with('\\') {
            continued.pop();
            continue;
        }
        let example = std::mem::take(&mut continued);
        // At least two spaces separate a command from its explanation.
        match example.split_once("  ") {
            Some((command, explanation)) => page.example(command, Some(&sentence(explanation))),
            None => page.example(&example, None),
        }
    }
}

/// Splits `0 done, 1 failed; 2 wrong usage.` into codes and meanings.
fn exit_codes(text: &str) -> Vec<(char, String)> {
    let mut codes: Vec<(char, String)> = Vec::new();
    for word in text.split(' ') {
        let mut letters = word.chars();
        let code = letters.next().filter(char::is_ascii_digit);
        match (code, codes.last_mut()) {
            (Some(code), _) if letters.next().is_none() => codes.push((code, String::new())),
            (_, Some((_, meaning))) => {
                meaning.push(' ');
                meaning.push_str(word);
            }
            // Text before the first code does not occur; a test compares the sections with the help.
            (_, None) => {}
        }
    }
    for (_, meaning) in &mut codes {
        *meaning = meaning.trim().trim_end_matches([',', ';']).to_owned();
    }
    codes
}

/// Returns text as a sentence: with a capital letter and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.trim().chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let sentence: String = first.into_iter().chain(letters).collect();
    closed(&sentence)
}

/// Returns text with a full stop at its end.
fn closed(text: &str) -> String {
    match text.ends_with(['.', ':', ')']) {
        true => text.to_owned(),
        false => format!("{text}."),
    }
}

/// Returns the pages to read next: the parent, the subcommands, and the config file.
fn related(command: &Command, parent: Option<&str>) -> Vec<String> {
    let mut pages: Vec<String> = parent
        .map(|parent| format!("{parent}(1)"))
        .into_iter()
        .collect();
    pages.extend(visible(command).map(|subcommand| format!("{}(1)", page_name(subcommand))));
    pages.push("hookgate.toml(5)".to_owned());
    pages
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set())
}

/// Returns the name of a command's page, such as `hookgate-deliveries-retry`.
pub(super) fn page_name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

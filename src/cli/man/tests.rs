//! Tests that every man page is complete, and correct roff.

use std::collections::BTreeSet;

use hookgate_verify::document::report::ReportStyle;

use super::*;
use crate::cli::CommandLine;
use crate::config::{load_text, reference};

/// Macros and requests that the pages may use; groff and mandoc know all of them.
const MACROS: [&str; 14] = [
    "TH", "nh", "ad", "SH", "SS", "PP", "TP", "IP", "RS", "RE", "nf", "fi", "br", "sp",
];

/// Escape sequences that the pages may use.
const ESCAPES: [&str; 12] = [
    "fB", "fI", "fR", "-", "e", "&", "(aq", "(ga", "(ha", "(ti", "(dq", "(bu",
];

fn pages() -> Vec<ManPage> {
    render_pages(CommandLine::command())
}

/// Returns the faults of a page: unknown macros and escapes, and text that roff would read or show in another form.
fn faults(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut previous = "";
    for line in text.lines() {
        let mut add = |fault: &str| faults.push(format!("{fault}: {line}"));
        if let Some(request) = line.strip_prefix('.') {
            let name = request.split(' ').next().unwrap();
            if !MACROS.contains(&name) {
                add("unknown macro");
            }
            if request.matches('"').count() % 2 == 1 {
                add("unbalanced quotes");
            }
        } else if line.is_empty() {
            add("empty line");
        } else if line.starts_with('\'') {
            add("control character");
        }
        if line == ".PP" && (previous.starts_with(".SH") || previous.starts_with(".SS")) {
            add("paragraph after a heading");
        }
        if line == ".br" && previous == ".br" {
            add("two line breaks");
        }
        // A term without text takes the next macro as its text.
        if previous == ".TP" && line.starts_with('.') {
            add("no term");
        }
        for (position, _) in line.match_indices('\\') {
            let rest = &line[position + 1..];
            let is_known = ESCAPES.iter().any(|escape| rest.starts_with(escape));
            if !is_known && !rest.starts_with("[u") {
                add("unknown escape");
            }
        }
        if line.matches("\\fB").count() + line.matches("\\fI").count()
            != line.matches("\\fR").count()
        {
            add("unbalanced fonts");
        }
        for mark in ["`", "](", "**", "~", "^", "\t"] {
            if line.contains(mark) {
                add("Markdown or a letter that is not escaped");
            }
        }
        if !line.is_ascii() || line.ends_with(' ') {
            add("not ASCII, or a space at the end");
        }
        previous = line;
    }
    if text.matches("\n.nf\n").count() != text.matches("\n.fi\n").count() {
        faults.push("`.nf` without `.fi`".to_owned());
    }
    if text.matches("\n.RS").count() != text.matches("\n.RE\n").count() {
        faults.push("`.RS` without `.RE`".to_owned());
    }
    faults
}

/// Returns the text as a reader sees it.
fn plain(text: &str) -> String {
    let mut plain = text
        .replace("\\fB", "")
        .replace("\\fI", "")
        .replace("\\fR", "");
    for (escape, letter) in [
        ("\\-", "-"),
        ("\\(aq", "'"),
        ("\\(ti", "~"),
        ("\\(ha", "^"),
        ("\\(dq", "\""),
        ("\\&", ""),
    ] {
        plain = plain.replace(escape, letter);
    }
    plain.replace("\\e", "\\")
}

/// Fails if a text of the program reaches a page in a form that groff or mandoc warns about or misreads.
#[test]
fn every_page_is_correct_roff() {
    for page in pages() {
        assert_eq!(faults(&page.text), [""; 0], "{}", page.name);
        for heading in ["NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"] {
            let count = page.text.matches(&format!(".SH \"{heading}\"\n")).count();
            assert_eq!(count, 1, "{heading} of {}", page.name);
        }
    }
}

#[test]
fn the_check_finds_each_fault() {
    for bad in [
        ".XX\n",
        ".SH \"A\n",
        "\n",
        "'a\n",
        ".TP\n.PP\n",
        "\\q\n",
        "\\fBa\n",
        "`a`\n",
        "a [b](c)\n",
        "a~b\n",
        "\u{e9}\n",
        "a \n",
        ".SH A\n.PP\n",
        ".br\n.br\n",
        ".TH\n.nf\n",
        ".TH\n.RS 4\n",
    ] {
        assert!(!faults(bad).is_empty(), "{bad:?}");
    }
    assert!(faults(".TH A 1\n\\&.a \\-\\fBb\\fR\n").is_empty());
}

/// Fails if a command, an option or an exit code of `--help` is missing from its page.
#[test]
fn each_command_has_a_page_with_its_options() {
    fn check(command: &Command, pages: &[ManPage]) {
        let name = command_page::page_name(command);
        let page = pages.iter().find(|page| page.name == name);
        let text = plain(&page.unwrap_or_else(|| panic!("no page {name}")).text);
        for option in command.get_opts() {
            let Some(long) = option.get_long() else {
                panic!("{name} has an option without a long name: {option}");
            };
            assert!(text.contains(&format!("--{long}")), "{name} lacks --{long}");
        }
        let help = command.get_after_help().map(ToString::to_string);
        if help.is_some_and(|help| help.contains("Exit codes: ")) {
            assert!(text.contains(".SH \"EXIT STATUS\"\n.TP\n0\n"), "{text}");
        }
        for subcommand in command.get_subcommands() {
            check(subcommand, pages);
        }
    }
    let mut command = CommandLine::command();
    command.build();
    let pages = pages();
    check(&command, &pages);
    assert_eq!(pages[0].name, "hookgate");
    let names: BTreeSet<_> = pages.iter().map(ManPage::path).collect();
    assert_eq!(names.len(), pages.len());
    assert!(names.contains(Path::new("man1/hookgate-deliveries-retry.1")));
    assert!(names.contains(Path::new("man5/hookgate.toml.5")));
}

/// Fails if hookgate.toml(5) lacks a section or a key, its meaning or its example.
#[test]
fn the_page_of_the_config_has_every_key() {
    let text = plain(&config_page::render().text);
    for section in reference::sections() {
        let start = format!(".SS \"{}\"\n", section.header);
        let (_, below) = text
            .split_once(&start)
            .unwrap_or_else(|| panic!("no {start}"));
        let below = below.split(".SS ").next().unwrap();
        for key in section.definition.keys {
            let (name, example) = (key.name, key.example);
            let doc = key.doc.replace('`', "");
            for part in [
                format!(".TP\n{name} ("),
                format!("\n{doc}\n"),
                format!("Example: {name} = {example}\n"),
            ] {
                assert!(below.contains(&part), "{start}{part}\n{below}");
            }
        }
    }
}

#[test]
fn the_example_of_the_page_loads() {
    let text = config_page::EXAMPLE.replace("{ env = \"GITHUB_SECRET\" }", "\"0aZ18fJq2LxW0aZ1\"");
    let text = text.replace("[tls]\ncert = \"/etc/hookgate/tls/fullchain.pem\"\nkey = \"/etc/hookgate/tls/privkey.pem\"\n", "");
    let text = text.replace("[server]\n", "[server]\ninsecure_http = true\n");
    if let Err(report) = load_text("a.toml", text) {
        panic!("{}", report.render(ReportStyle::Plain));
    }
}

#[test]
fn a_wrong_folder_is_explained() {
    let command = CommandLine::command();
    let folder = tempfile::tempdir().unwrap();
    let fail = |path: &Path| check_folder(path, &command).unwrap_err().plain();
    assert_eq!(
        fail(Path::new("check")),
        "error: there is no folder `check`\nhelp: to read about this command: `hookgate check --help`\n"
    );
    assert!(fail(&folder.path().join("absent")).contains("mkdir -p"));
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(fail(&file).contains("is not a folder"));
    let section = folder.path().join("man1");
    fs::create_dir(&section).unwrap();
    let expected = format!("hookgate man {}", folder.path().display());
    assert!(fail(&section).contains(&expected));
    assert!(check_folder(folder.path(), &command).is_ok());
}

#[test]
fn pages_are_written_where_man_finds_them() {
    let folder = tempfile::tempdir().unwrap();
    write_pages(folder.path(), &pages()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    assert!(read("man1/hookgate-check.1").contains("hookgate\\-check \\- Validate a config file"));
    assert!(read("man5/hookgate.toml.5").contains("per_source_rate_limit"));
    // A file in the place of a folder: the message names the page.
    fs::remove_dir_all(folder.path().join("man5")).unwrap();
    fs::write(folder.path().join("man5"), "").unwrap();
    let failure = write_pages(folder.path(), &pages()).unwrap_err().plain();
    assert!(failure.contains("man5/hookgate.toml.5"), "{failure}");
}

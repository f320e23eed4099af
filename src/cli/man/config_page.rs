//! The page hookgate.toml(5): every section and key of the config file, from the definitions of the keys.

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition};

use crate::cli::man::man_page::ManPage;
use crate::cli::man::roff_text::RoffText;
use crate::config::reference::{self, ListedSection};

const NAME: &str = "hookgate.toml";

/// Section of the manual with file formats.
const FORMATS: u8 = 5;

/// A complete config, which a test loads.
pub(super) const EXAMPLE: &str = r#"[server]
listen = ["0.0.0.0:443", "[::]:443"]

[tls]
cert = "/etc/hookgate/tls/fullchain.pem"
key = "/etc/hookgate/tls/privkey.pem"

[admin]
listen = "127.0.0.1:9180"

[routes.github]
path = "/github"
provider = "github"
secret = { env = "GITHUB_SECRET" }
upstream = "http://127.0.0.1:8080/webhooks/github"
"#;

/// Forms of values that TOML itself does not define.
const VALUES: [(&str, &str); 7] = [
    (
        "duration",
        "`\"500ms\"`, `\"30s\"`, `\"5m\"`, `\"1h30m\"`, `\"7d\"`.",
    ),
    (
        "size",
        "`\"64KiB\"`, `\"1MiB\"`, `\"2GiB\"`, or a number of bytes.",
    ),
    (
        "rate",
        "`\"100/s\"`, `\"600/m\"`, `\"1000/h\"`, or `{ per_second = 50, burst = 100 }`.",
    ),
    (
        "address range",
        "`\"10.0.0.1\"`, `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`.",
    ),
    (
        "path",
        "A file or folder. A relative path is relative to the folder of the main config file.",
    ),
    (
        "date or time",
        "`2027-01-31` or `2027-01-31T08:30:00Z`, without quotes.",
    ),
    (
        "secret",
        "A table that names the source: `{ env = \"NAME\" }`, `{ file = \"/path\" }` or `{ credential = \"name\" }`.",
    ),
];

/// Renders the page.
pub(super) fn render() -> ManPage {
    let mut page = RoffText::new(NAME, FORMATS, "File formats", "config file of hookgate");
    page.heading("SYNOPSIS");
    page.example("/etc/hookgate/hookgate.toml", None);
    page.example("/etc/hookgate/conf.d/*.toml", None);
    page.heading("DESCRIPTION");
    page.paragraph(
        "hookgate reads one TOML file and those that its `include` names, by default `conf.d/*.toml` beside it. \
         `hookgate check --config FILE` reports every error in them at once, each with its file, its line and the value \
         that would be right. SIGHUP makes a running gate read the files again; a file with an error changes nothing.",
    );
    page.paragraph(
        "The file needs at least one route. Each section below lists its keys. An unknown key is an error. NAME in \
         the header of a section is a name that you choose.",
    );
    page.heading("EXAMPLE");
    page.literal(EXAMPLE);
    page.heading("VALUES");
    for (kind, forms) in VALUES {
        page.entry(kind, forms);
    }
    page.heading("SECTIONS");
    let sections = reference::sections();
    for section in &sections {
        add_section(&mut page, section, &sections);
    }
    page.see_also(&[
        "hookgate(1)".to_owned(),
        "hookgate-check(1)".to_owned(),
        "hookgate-config(1)".to_owned(),
        "hookgate-providers(1)".to_owned(),
        "hookgate-run(1)".to_owned(),
    ]);
    ManPage {
        name: NAME.to_owned(),
        section: FORMATS,
        text: page.into_text(),
    }
}

fn add_section(page: &mut RoffText, section: &ListedSection, all: &[ListedSection]) {
    page.subheading(&section.header);
    page.paragraph(section.definition.doc);
    for key in section.definition.keys {
        let kind = key.kind.word();
        page.entry(&format!("`{}` ({kind})", key.name), key.doc);
        page.next_line(&absent(section.definition, key));
        let example = format!("{} = {}", key.name, key.example);
        page.next_line(&format!("Example: `{example}`"));
        for table in key.kind.sections() {
            let listed = all.iter().find(|other| other.definition.path == table.path);
            if let Some(listed) = listed {
                page.next_line(&format!("Keys of the table: see `{}`.", listed.header));
            }
        }
    }
}

/// Returns the effect of leaving the key out, in a sentence.
fn absent(section: &SectionDefinition, key: &KeyDefinition) -> String {
    if let Some(default) = key.default {
        let default = reference::default_text(default);
        return format!("Default: {default}.");
    }
    if section.required.contains(&key.name) {
        return "Required.".to_owned();
    }
    match section
        .one_of
        .iter()
        .find(|names| names.contains(&key.name))
    {
        Some(names) => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            format!("Exactly one of {} is required.", names.join(", "))
        }
        None => "Default: not set.".to_owned(),
    }
}

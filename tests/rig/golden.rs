//! Golden files: text that users see, compared with a file of the checkout. `tests/renew` writes these files.

use std::fs;
use std::path::Path;

/// Folder of the golden files.
const FOLDER: &str = "tests/golden";

/// Compares a file of the checkout with its expected text. Writes it instead where `UPDATE` is set.
pub fn compare(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let mut found = fs::read_to_string(&file).unwrap_or_default();
    if found != expected && std::env::var_os("UPDATE").is_some() {
        // Renamed into place, because tests that run at the same time read these files too.
        let new = file.with_extension("new");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&new, expected).unwrap();
        fs::rename(&new, &file).unwrap();
        expected.clone_into(&mut found);
    }
    if found != expected {
        panic!(
            "{path} is not what the program prints; if the change is right, run tests/renew\n{}",
            first_difference(&found, expected)
        );
    }
}

/// Compares the masked text with `tests/golden/NAME`.
pub fn golden(name: &str, text: &str) {
    compare(&format!("{FOLDER}/{name}"), &mask(text));
}

fn first_difference(found: &str, expected: &str) -> String {
    let (mut left, mut right) = (found.lines(), expected.lines());
    for number in 1.. {
        match (left.next(), right.next()) {
            (None, None) => break,
            (old, new) if old == new => {}
            (old, new) => {
                let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
                return format!("line {number}:\n- {old}\n+ {new}\n\n{expected}");
            }
        }
    }
    "they differ in their line ends".to_owned()
}

/// Replaces what differs between runs: ids, times, measured numbers, ports, temporary folders and the version.
pub fn mask(text: &str) -> String {
    let version = concat!("hookgate ", env!("CARGO_PKG_VERSION"));
    let folder = format!("{}/.tmp", std::env::temp_dir().display());
    let text = text.replace(version, "hookgate <version>");
    replace(&text.replace(&folder, ".tmp"), &VALUES)
}

/// Replaces ages, sizes and charts too. Columns are then set apart by two spaces, since their width depends on these.
pub fn mask_ages(text: &str) -> String {
    let masked = replace(&mask(text), &AGES);
    let lines = masked.split_inclusive('\n');
    lines.map(with_narrow_columns).collect()
}

/// Looks at the text before and behind the begin of a word. Returns the length of a value that begins there, and its name.
type Rule = fn(before: &str, rest: &str) -> Option<(usize, &'static str)>;

const VALUES: [Rule; 6] = [
    |_, rest| fits(rest, "hhhhhhhh-hhhh-hhhh-hhhh-hhhhhhhhhhhh").map(|length| (length, "<id>")),
    |_, rest| fits(rest, "dddd-dd-dd dd:dd:ddZ").map(|length| (length, "<time>")),
    |_, rest| {
        let whole = fits(rest, "dddd-dd-ddTdd:dd:dd")?;
        let fraction = rest[whole..].strip_prefix('.');
        let length = whole + fraction.map_or(0, |rest| 1 + digits(rest));
        rest[length..]
            .starts_with('Z')
            .then_some((length + 1, "<time>"))
    },
    |before, rest| {
        let is_local = before.ends_with("127.0.0.1:") || before.ends_with("localhost:");
        (is_local && digits(rest) >= 4).then_some((digits(rest), "<port>"))
    },
    |_, rest| {
        let name = rest.strip_prefix(".tmp")?;
        let length = name.bytes().take_while(u8::is_ascii_alphanumeric).count();
        (length == 6).then_some((length + 4, "<folder>"))
    },
    |before, rest| {
        let name = before.strip_suffix([':', '=']).unwrap_or_default();
        let name = name.trim_end_matches('"');
        let is_measured = ["_us", "_ms", "age_seconds"]
            .iter()
            .any(|unit| name.ends_with(unit));
        let sign = usize::from(rest.starts_with('-'));
        let length = digits(&rest[sign..]);
        (is_measured && length > 0).then_some((sign + length, "<n>"))
    },
];

const AGES: [Rule; 2] = [
    |_, rest| {
        let chart = rest
            .find(|bar| !"·▁▂▃▄▅▆▇█".contains(bar))
            .unwrap_or(rest.len());
        (chart > 0).then_some((chart, "<chart>"))
    },
    |_, rest| {
        let number = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.');
        let number = number.count();
        let behind = match number {
            0 => rest,
            _ => rest[number..].strip_prefix(' ').unwrap_or(&rest[number..]),
        };
        let unit: String = behind
            .chars()
            .take_while(char::is_ascii_alphabetic)
            .collect();
        let length = rest.len() - behind.len() + unit.len();
        let ago = if rest[length..].starts_with(" ago") {
            4
        } else {
            0
        };
        match unit.as_str() {
            "now" if number == 0 => Some((length, "<age>")),
            "bytes" | "KiB" | "MiB" if number > 0 => Some((length, "<size>")),
            "ms" | "s" | "m" | "min" | "h" | "d" | "day" | "days" if number > 0 => {
                Some((length + ago, "<age>"))
            }
            _ => None,
        }
    },
];

fn replace(text: &str, rules: &[Rule]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_begin = !out.ends_with(|last: char| last.is_ascii_alphanumeric());
        let found = rules.iter().find_map(|rule| rule(&out, rest));
        match found.filter(|_| is_begin) {
            Some((length, name)) => {
                out.push_str(name);
                rest = &rest[length..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// Returns the length of the pattern if the text begins with it: `d` is a digit, `h` a hexadecimal one.
fn fits(text: &str, pattern: &str) -> Option<usize> {
    let is_fitting = |(byte, expected): (u8, u8)| match expected {
        b'd' => byte.is_ascii_digit(),
        b'h' => byte.is_ascii_hexdigit(),
        other => byte == other,
    };
    let is_long = text.len() >= pattern.len();
    (is_long && text.bytes().zip(pattern.bytes()).all(is_fitting)).then_some(pattern.len())
}

fn with_narrow_columns(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let columns = text.split("  ").filter(|column| !column.is_empty());
    let columns: Vec<_> = columns
        .map(|column| column.trim_start_matches(' '))
        .collect();
    format!("{}{}", &line[..line.len() - text.len()], columns.join("  "))
}

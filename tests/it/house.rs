//! Checks the structure of the source: which module may import which, and the rules for every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules with their ranks. A module may use only modules of a lower rank.
const RANKS: [(&str, f64); 24] = [
    ("model", 0.0),
    ("net", 1.0),
    ("document", 1.5),
    ("criteria", 1.5),
    ("scheme", 2.0),
    ("providers", 2.5),
    ("config", 3.0),
    ("keys", 3.5),
    ("ranges", 3.5),
    ("edge", 4.0),
    ("gate", 4.0),
    ("store", 4.0),
    ("dispatch", 4.5),
    ("inbox", 5.0),
    ("record", 5.0),
    ("deliver", 6.0),
    ("pipeline", 7.0),
    ("explain", 7.5),
    ("admin", 8.0),
    ("console", 8.5),
    ("app", 9.0),
    ("testing", 9.5),
    ("cli", 10.0),
    ("internals", 11.0),
];

/// Imports against the ranks that are allowed: file, module, reason.
const EXCEPTIONS: [(&str, &str, &str); 0] = [];

struct File {
    /// Path relative to `src/`.
    name: String,
    whole: String,
    /// Code without tests and comments.
    code: String,
}

fn rank(room: &str) -> Option<f64> {
    RANKS
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

fn files() -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    let mut paths: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let whole = fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        // A file that only a `#[cfg(test)] mod` names consists of tests.
        let is_test =
            name.ends_with("tests.rs") || name.ends_with("testing.rs") || name.contains("tests/");
        let code = if is_test {
            String::new()
        } else {
            without_tests(&whole)
        };
        File { name, whole, code }
    };
    let files: Vec<_> = paths.iter().map(read).collect();
    assert!(files.len() > 50, "the source was not found");
    files
}

/// Removes `#[cfg(test)]` items with their bodies, and comments.
fn without_tests(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.trim_start().starts_with("//") {
            continue;
        }
        if line.trim() == "#[cfg(test)]" {
            let indent = line.len() - line.trim_start().len();
            let closing = format!("{}}}", " ".repeat(indent));
            let mut is_first = true;
            for skipped in lines.by_ref() {
                let is_attribute = is_first && skipped.trim_start().starts_with("#[");
                if skipped == closing || (is_first && !is_attribute && skipped.ends_with(';')) {
                    break;
                }
                is_first = is_first && is_attribute;
            }
            continue;
        }
        code.push_str(line);
        code.push('\n');
    }
    code
}

/// Returns the module of a file: its first folder, or its own name.
fn room(name: &str) -> &str {
    name.split(['/', '.']).next().unwrap()
}

/// Returns the modules that a file names as `crate::MODULE`, also in `use crate::{a, b}`.
fn imports(code: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        let rest = &code[position + "crate::".len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap().split(',').collect(),
            None => vec![rest],
        };
        for name in names {
            let name = name.trim_start();
            let end = name.find(|letter: char| !(letter.is_alphanumeric() || letter == '_'));
            rooms.push(name[..end.unwrap_or(name.len())].to_owned());
        }
    }
    rooms
}

#[test]
fn imports_go_one_way() {
    let mut wrong = Vec::new();
    for file in files() {
        let own = room(&file.name);
        let Some(own_rank) = rank(own) else {
            assert!(
                ["lib", "main", "build"].contains(&own),
                "{} is in no module",
                file.name
            );
            continue;
        };
        for other in imports(&file.code) {
            let is_excepted = EXCEPTIONS
                .iter()
                .any(|(name, room, _)| *name == file.name && *room == other);
            let is_lower = rank(&other).is_some_and(|rank| rank < own_rank);
            // `record` uses types of `edge` and `gate`, which both have a lower rank, so it needs no exception.
            if other != own && !is_lower && !is_excepted {
                wrong.push(format!("{} uses crate::{other}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Folders in which files still import each other.
const TANGLED: [&str; 4] = ["admin", "console", "explain", "scheme"];

/// Returns the paths that `use` and full paths name, without `crate::`, such as `gate::event::Event`.
fn named_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    // A visibility such as `pub(in crate::scheme)` imports nothing.
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with("in ") {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let is_path = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
        let end = rest.find(|letter| !is_path(letter)).unwrap_or(rest.len());
        let prefix = &rest[..end];
        if !prefix.is_empty() && !prefix.ends_with("::") {
            paths.push(prefix.to_owned());
        } else if let Some(group) = rest[end..].strip_prefix('{') {
            let group = group.split('}').next().unwrap();
            let items = group
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty());
            paths.extend(items.map(|item| format!("{prefix}{item}")));
        }
    }
    paths
}

/// Writes `super::` as the full path of the parent of a module.
fn without_super(code: &str, module: &str) -> String {
    let parent = module.rsplit_once("::").map(|(parent, _)| parent);
    let parent = parent.map_or_else(String::new, |parent| format!("{parent}::"));
    code.replace("super::", &format!("crate::{parent}"))
}

/// Returns the file of a path: the longest part of it that is a module.
fn file_of<'f>(path: &str, modules: &BTreeMap<String, &'f str>) -> Option<&'f str> {
    let mut path = path;
    loop {
        if let Some(file) = modules.get(path) {
            return Some(file);
        }
        path = path.rsplit_once("::")?.0;
    }
}

/// Returns the files that lead to each file of a graph, itself included.
fn reachable<'f>(from: &'f str, edges: &BTreeMap<&'f str, BTreeSet<&'f str>>) -> BTreeSet<&'f str> {
    let mut found = BTreeSet::new();
    let mut open = vec![from];
    while let Some(file) = open.pop() {
        for next in edges.get(file).into_iter().flatten() {
            if found.insert(*next) {
                open.push(next);
            }
        }
    }
    found
}

/// Fails if two files import each other, directly or around a corner, outside of the folders that are still tangled.
#[test]
fn files_import_one_way() {
    let files = files();
    let product: Vec<&File> = files.iter().filter(|file| !file.code.is_empty()).collect();
    let module = |name: &str| {
        let name = name.trim_end_matches(".rs").trim_end_matches("/mod");
        name.replace('/', "::")
    };
    let modules: BTreeMap<String, &str> = product
        .iter()
        .map(|file| (module(&file.name), file.name.as_str()))
        .collect();
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in &product {
        let others = named_paths(&without_super(&file.code, &module(&file.name))).into_iter();
        let others = others.filter_map(|path| file_of(&path, &modules));
        let others = others.filter(|other| *other != file.name);
        edges.insert(&file.name, others.collect());
    }
    let is_tangled = |name: &str| TANGLED.iter().any(|folder| name.starts_with(folder));
    let in_cycle = |file: &&&File| reachable(&file.name, &edges).contains(file.name.as_str());
    let wrong: Vec<&str> = product
        .iter()
        .filter(|file| !is_tangled(&file.name))
        .filter(in_cycle)
        .map(|file| file.name.as_str())
        .collect();
    assert!(wrong.is_empty(), "these import each other: {wrong:#?}");
}

#[test]
fn the_check_sees_what_a_file_imports() {
    let code = "use crate::gate::{event::Event, reject};\npub(in crate::scheme) fn f() { crate::net::x() }\n";
    assert_eq!(
        named_paths(code),
        ["gate::event::Event", "gate::reject", "net::x"]
    );
    let code = without_super("use super::names::NameTable;", "store::sqlite::read");
    assert_eq!(named_paths(&code), ["store::sqlite::names::NameTable"]);
}

#[test]
fn the_check_sees_an_import_against_the_flow() {
    let code = without_tests(
        "use crate::{app::App, model::ids};\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\nfn f() { crate::edge::x() }\n",
    );
    assert_eq!(imports(&code), ["app", "model", "edge"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    let files = files().into_iter();
    let silent = files.filter(|file| !file.whole.starts_with("//! "));
    let names: Vec<_> = silent.map(|file| file.name).collect();
    assert!(
        names.is_empty(),
        "these do not start with `//!`: {names:#?}"
    );
}

#[test]
fn nothing_is_left_for_later_and_nothing_panics_by_plan() {
    let mut wrong = Vec::new();
    for file in files() {
        for word in ["TODO", "FIXME"] {
            if file.whole.contains(word) {
                wrong.push(format!("{}: {word}", file.name));
            }
        }
        for call in [
            ".unwrap()",
            ".expect(",
            "panic!(",
            "todo!(",
            "unimplemented!(",
            "unreachable!(",
        ] {
            if file.code.contains(call) {
                wrong.push(format!("{}: {call}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Fails if `gate` writes a log, if a module below `app` reads the environment or a signal, or if a module other than
/// `dispatch` sends requests on the pools.
#[test]
fn modules_keep_their_limits() {
    let mut wrong = Vec::new();
    for file in files() {
        let own = room(&file.name);
        let below_app = rank(own).is_some_and(|rank| rank < 9.0);
        if own == "gate" && (file.code.contains("tracing::") || file.code.contains("println!")) {
            wrong.push(format!("{} logs", file.name));
        }
        // A second path to apps would have rules of its own about when a request may be sent again.
        let sends = file.code.contains(".exchange(request") || file.code.contains("pool.connect()");
        if sends && !["dispatch", "net"].contains(&own) {
            wrong.push(format!("{} sends a request beside `dispatch`", file.name));
        }
        // `config/secrets.rs` reads `{ env = ... }`.
        let reads_process = file.code.contains("env::var") || file.code.contains("tokio::signal");
        if below_app && reads_process && file.name != "config/secrets.rs" {
            wrong.push(format!("{} reads the environment or a signal", file.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Expressions with a secret's bytes. A line that contains one must not compare in variable time.
const GUARDED: [&str; 6] = [
    ".expose()",
    "form_token",
    "prove(",
    ".finish()",
    "signature",
    "expected.as_bytes()",
];

/// Returns lines that compare guarded bytes, not their lengths, with an operator or by parts.
fn early_ends(code: &str) -> Vec<&str> {
    let is_guarded = |line: &str| GUARDED.iter().any(|word| line.contains(word));
    let compares = |line: &str| {
        let signs = [" == ", " != ", ".eq(", ".ne(", ".cmp(", "starts_with("];
        signs.iter().any(|sign| line.contains(sign))
    };
    let is_public = |line: &str| {
        let words = ["len()", "position(", "as_os_str", ".location", "name"];
        words.iter().any(|word| line.contains(word))
    };
    let lines = code.lines();
    let wrong = lines.filter(|line| is_guarded(line) && compares(line) && !is_public(line));
    wrong.collect()
}

/// Fails if a secret is compared without `subtle`: an early end would show how much of a guess was right.
#[test]
fn secrets_are_compared_in_constant_time_only() {
    let mut wrong = Vec::new();
    for file in files() {
        let room = room(&file.name);
        if ["scheme", "gate", "admin", "console", "model", "inbox"].contains(&room) {
            let lines = early_ends(&file.code).into_iter();
            wrong.extend(lines.map(|line| format!("{}: {}", file.name, line.trim())));
        }
        if ["model/secret.rs", "scheme/mac.rs"].contains(&&*file.name) {
            for word in ["PartialEq", "Deref", "AsRef", "Borrow", " == "] {
                if file.code.contains(word) {
                    wrong.push(format!("{}: {word} lets `==` in", file.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_check_sees_a_comparison_that_ends_early() {
    let code =
        "a.expose() == b\n  if given != visitor.form_token.as_bytes() {\na.expose().len() == 3\n";
    assert_eq!(early_ends(code).len(), 2);
}

#[test]
fn the_map_names_every_module() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let map = fs::read_to_string(map).unwrap();
    for (room, _) in RANKS {
        let is_named = [
            format!("`{room}`"),
            format!("`{room}/`"),
            format!("{room}/"),
            format!("{room}.rs"),
        ];
        assert!(
            is_named.iter().any(|name| map.contains(name)),
            "ARCHITECTURE.md does not name {room}"
        );
    }
}

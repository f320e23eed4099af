//! Checks the structure of the source: which module may import which, and the rules for every file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules with their ranks. A module may use only modules of a lower rank.
const RANKS: [(&str, f64); 24] = [
    ("model", 0.0),
    ("net", 1.0),
    ("criteria", 1.5),
    ("client_certs", 2.0),
    ("config", 3.0),
    ("keys", 3.5),
    ("ranges", 3.5),
    ("edge", 4.0),
    ("gate", 4.0),
    ("store", 4.0),
    ("acme", 4.5),
    ("dispatch", 4.5),
    ("alerts", 5.0),
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

/// The same for the modules of `hookgate-verify`, which knows nothing of the program.
const VERIFY_RANKS: [(&str, f64); 11] = [
    ("model", 0.0),
    ("net", 1.0),
    ("document", 1.5),
    ("scheme", 2.0),
    ("providers", 2.5),
    ("error", 2.5),
    ("identity", 3.0),
    ("signature", 3.5),
    ("sender_key", 4.0),
    ("verifier", 4.5),
    ("builder", 5.0),
];

/// The sources of the crates, with the ranks of their modules.
const CRATES: [(&str, &[(&str, f64)]); 2] = [("src", &RANKS), ("crates/verify/src", &VERIFY_RANKS)];

struct File {
    /// Path relative to the source folder of its crate.
    name: String,
    whole: String,
    /// Code without tests and comments.
    code: String,
}

fn rank(room: &str, ranks: &[(&str, f64)]) -> Option<f64> {
    ranks
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

/// Returns the files of every crate.
fn files() -> Vec<File> {
    let all: Vec<File> = CRATES
        .iter()
        .flat_map(|(source, _)| files_of(source))
        .collect();
    assert!(all.len() > 50, "the source was not found");
    all
}

/// Returns the files of one crate, by its source folder.
fn files_of(source: &str) -> Vec<File> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
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
    paths.iter().map(read).collect()
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
    let files =
        CRATES.map(|(source, ranks)| files_of(source).into_iter().map(move |file| (file, ranks)));
    for (file, ranks) in files.into_iter().flatten() {
        let own = room(&file.name);
        let Some(own_rank) = rank(own, ranks) else {
            assert!(
                ["lib", "main", "build"].contains(&own),
                "{} is in no module",
                file.name
            );
            continue;
        };
        for other in imports(&file.code) {
            let is_lower = rank(&other, ranks).is_some_and(|rank| rank < own_rank);
            if other != own && !is_lower {
                wrong.push(format!("{} uses crate::{other}", file.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Folders in which files still import each other, through a mod.rs that uses its own files.
const TANGLED: [&str; 3] = ["gate/challenge", "providers", "scheme"];

/// Returns the paths that `use` and full paths in the module `own` name, such as `gate::event::Event`.
///
/// A file that uses a module which it declares names it without a root: `child::f()`.
fn named_paths(code: &str, own: &str) -> Vec<String> {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == ':';
    let mut paths = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = &code[..at];
            // A visibility such as `pub(in crate::scheme)` imports nothing.
            if !before.ends_with("in ") && !before.ends_with(is_word) {
                add_tree(&code[at..], "", &mut paths);
            }
        }
    }
    let mut paths: Vec<String> = paths.iter().map(|path| absolute(path, own)).collect();
    for line in code.lines() {
        let declared = line.trim_start().trim_end_matches(';').rsplit_once("mod ");
        let Some((_, child)) = declared.filter(|_| line.ends_with(';')) else {
            continue;
        };
        let name = format!("{child}::");
        let mut uses = code
            .match_indices(&name)
            .filter(|(at, _)| !code[..*at].ends_with(is_word));
        if uses.next().is_some() {
            paths.push(format!("{own}::{child}"));
        }
    }
    paths
}

/// Adds the paths of a `use` tree, or the one path of an expression, and returns the code behind it.
fn add_tree<'c>(code: &'c str, prefix: &str, paths: &mut Vec<String>) -> &'c str {
    let is_path = |letter: char| letter.is_alphanumeric() || "_:*".contains(letter);
    let end = code.find(|letter| !is_path(letter)).unwrap_or(code.len());
    let path = format!("{prefix}{}", &code[..end]);
    let Some(group) = code[end..].strip_prefix('{') else {
        paths.push(path);
        return &code[end..];
    };
    let mut rest = group.trim_start();
    while !rest.is_empty() && !rest.starts_with('}') {
        rest = add_tree(rest, &path, paths).trim_start();
        // The name in `path as name` is no path.
        let next = rest.find([',', '}']).unwrap_or(rest.len());
        rest = rest[next..].trim_start_matches([',', ' ', '\n']);
    }
    rest.strip_prefix('}').unwrap_or(rest)
}

/// Returns a path from the root of the crate.
fn absolute(path: &str, own: &str) -> String {
    let mut base: Vec<&str> = own.split("::").collect();
    let parts = path.split("::").filter(|part| !part.is_empty());
    for (index, part) in parts.enumerate() {
        match part {
            "crate" if index == 0 => base.clear(),
            "self" => {}
            "super" => drop(base.pop()),
            part => base.push(part),
        }
    }
    base.join("::")
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
    let wrong: Vec<String> = CRATES
        .iter()
        .flat_map(|(source, _)| files_in_cycles(source))
        .collect();
    assert!(wrong.is_empty(), "these import each other: {wrong:#?}");
}

fn files_in_cycles(source: &str) -> Vec<String> {
    let files = files_of(source);
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
        let others = named_paths(&file.code, &module(&file.name)).into_iter();
        let others = others.filter_map(|path| file_of(&path, &modules));
        let others = others.filter(|other| *other != file.name);
        edges.insert(&file.name, others.collect());
    }
    let in_cycle = |file: &&&File| reachable(&file.name, &edges).contains(file.name.as_str());
    let is_tangled = |file: &&&File| TANGLED.iter().any(|folder| file.name.starts_with(folder));
    let wrong = product.iter().filter(in_cycle);
    let wrong = wrong.filter(|file| !is_tangled(file));
    wrong.map(|file| file.name.clone()).collect()
}

#[test]
fn the_check_sees_what_a_file_imports() {
    let code = "use crate::gate::{event::{Event, Claim}, reject as no};\npub(in crate::scheme) fn f() { crate::net::x() }\n\
                mod child;\nmod other;\nuse super::b::C;\nfn g() { child::h(super::super::k(), d::other::x) }\n";
    assert_eq!(
        named_paths(code, "a::own"),
        [
            "gate::event::Event",
            "gate::event::Claim",
            "gate::reject",
            "net::x",
            "a::b::C",
            "k",
            "a::own::child"
        ]
    );
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
    // The library's documentation is its README.
    let says = |text: &str| text.starts_with("//! ") || text.starts_with("#![doc = include_str!");
    let silent = files.filter(|file| !says(&file.whole));
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
        let is_above = rank(own, &RANKS).is_some_and(|rank| rank >= 9.0)
            || ["lib", "main", "build"].contains(&own);
        if own == "gate" && (file.code.contains("tracing::") || file.code.contains("println!")) {
            wrong.push(format!("{} logs", file.name));
        }
        // A second path to apps would have rules of its own about when a request may be sent again.
        let sends = file.code.contains(".exchange(request") || file.code.contains("pool.connect()");
        // `acme/http.rs` has a method `exchange` that gives the requests of `instant-acme` to `net::https_request`.
        if sends && !["dispatch", "net"].contains(&own) && file.name != "acme/http.rs" {
            wrong.push(format!("{} sends a request beside `dispatch`", file.name));
        }
        // `config/secrets.rs` reads `{ env = ... }`.
        let reads_process = file.code.contains("env::var") || file.code.contains("tokio::signal");
        if !is_above && reads_process && file.name != "config/secrets.rs" {
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

/// Files of tests that may pause, with the number of places: the helpers that wait for a condition, and deadlines.
const PAUSES: [(&str, usize); 14] = [
    ("tests/api/check.py", 1),
    // Waits for a condition, and lets a fault or a load last.
    ("tests/cluster/waiting.py", 3),
    // A run that hangs ends.
    ("tests/console/main.mjs", 1),
    // The app that takes its time for slow events, and the rate of the load.
    ("tests/restart/load.py", 2),
    // Both wait for a condition.
    ("tests/restart/machine.py", 2),
    // Waits for a condition.
    ("tests/restart/run", 1),
    ("tests/rig/app.rs", 1),
    ("tests/rig/mod.rs", 3),
    // A gate that does not end is killed.
    ("tests/sdk/harness/gate.mjs", 1),
    // The deadline of an SDK.
    ("tests/sdk/harness/judge.mjs", 1),
    // The deadlines of a request.
    ("tests/sdk/harness/send.mjs", 2),
    ("tests/wait.mjs", 1),
    ("tests/wait.sh", 1),
    // This test.
    ("tests/it/house.rs", 4),
];

/// Returns all text files below a folder of the checkout, without what package managers and compilers write.
fn texts(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join(folder)];
    let mut texts = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if path.is_dir() && !["node_modules", "target", "corpus"].contains(&name) {
                folders.push(path);
            } else if let Ok(text) = fs::read_to_string(&path) {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                texts.push((name, text));
            }
        }
    }
    texts.sort();
    texts
}

/// Counts the places of a text that let time pass.
fn count_pauses(text: &str) -> usize {
    let lines = text.lines().map(str::trim_start);
    let code = lines.filter(|line| !line.starts_with("//") && !line.starts_with('#'));
    let pauses = |line: &str| {
        let words = ["sleep(", "sleep_until(", "setTimeout(", "park_timeout("];
        // The command of a shell, before its duration.
        let command = line.split("sleep ").skip(1);
        let command = command.filter(|rest| rest.starts_with(|next: char| next.is_ascii_digit()));
        let words = words.iter().map(|word| line.matches(word).count());
        words.sum::<usize>() + command.count()
    };
    code.map(pauses).sum()
}

/// Fails if a test pauses for a fixed time. It waits for a condition instead (`wait_for`), or says which time has to pass
/// (`let_time_pass`).
#[test]
fn tests_wait_for_conditions() {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (name, text) in texts("tests") {
        found.insert(name, count_pauses(&text));
    }
    for file in files() {
        let product = count_pauses(&file.code);
        let all = count_pauses(&file.whole);
        found.insert(format!("src/{}", file.name), all - product);
    }
    found.retain(|_, count| *count > 0);
    let allowed = PAUSES.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(found, BTreeMap::from(allowed));
}

/// Fails if a golden file is left over: each is named by the test that compares it, or belongs to a configuration.
#[test]
fn each_golden_file_has_its_test() {
    let tests = texts("tests/it");
    let mut unused: Vec<String> = Vec::new();
    for (path, _) in texts("tests/golden") {
        let quoted = format!("\"{}\"", path.strip_prefix("tests/golden/").unwrap());
        if !tests.iter().any(|(_, text)| text.contains(&quoted)) {
            unused.push(path);
        }
    }
    let configs: BTreeSet<String> = texts("tests/config")
        .into_iter()
        .map(|file| file.0)
        .collect();
    let expected = configs
        .iter()
        .filter_map(|name| name.strip_suffix(".expected"));
    unused.extend(
        expected
            .filter(|name| !configs.contains(&format!("{name}.toml")))
            .map(str::to_owned),
    );
    assert!(unused.is_empty(), "no test compares these: {unused:#?}");
}

#[test]
fn the_map_names_every_module() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let map = fs::read_to_string(map).unwrap();
    for (room, _) in RANKS.into_iter().chain(VERIFY_RANKS) {
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

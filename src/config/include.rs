//! Several config files: the main file, and those that its `include` names.
//!
//! By default these are `conf.d/*.toml` beside the main file. Hidden files and backups of editors and package managers
//! never match, since a name must end with `.toml` and must not begin with a dot. All files together form one document;
//! relative paths in it start at the folder of the main file, so that a route can move from file to file.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hookgate_verify::document::SourceText;
use hookgate_verify::document::key::{KeyDefinition, ValueKind};
use hookgate_verify::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value;
use toml::de::{DeTable, DeValue};

use crate::config::file;

/// Largest size of all config files together, in bytes. A config of a thousand routes has 200 KiB; a larger file is
/// probably the wrong one.
const MAX_BYTES: u64 = 8 << 20;

/// Largest number of included files.
const MAX_FILES: usize = 1000;

/// Largest number of patterns in `include`.
const MAX_PATTERNS: usize = 100;

/// Pattern that applies without `include`.
const DEFAULT_PATTERN: &str = "conf.d/*.toml";

/// The text of a config file, and its path.
pub(crate) struct ConfigText {
    /// Path of the file.
    pub(crate) path: PathBuf,
    /// Whole text.
    pub(crate) text: String,
}

/// Reads the main file and the included ones, in their order.
///
/// # Errors
/// Returns the report of the file or pattern that cannot be read.
pub(crate) fn read_texts(main: &Path) -> Result<Vec<ConfigText>, DiagnosticReport> {
    let mut left = MAX_BYTES;
    let text = read_text(main, &mut left).map_err(|fault| report_of(main, String::new(), fault))?;
    let patterns = patterns(&text);
    let mut texts = vec![ConfigText {
        path: main.to_owned(),
        text,
    }];
    let folder = main.parent().unwrap_or(Path::new(""));
    // By their real paths, so that a link to a file, or a pattern that also matches the main file, reads nothing twice.
    let mut seen = BTreeSet::from_iter(fs::canonicalize(main));
    for pattern in patterns {
        let paths = expand(folder, &pattern).and_then(|paths| {
            // Checked before the files are read. One more than the bound, since the main file is among the texts.
            let is_within = texts.len().saturating_add(paths.len()) <= MAX_FILES + 1;
            match is_within {
                true => Ok(paths),
                false => Err(format!("there are more than {MAX_FILES} included files")),
            }
        });
        let fail = |texts: &[ConfigText], what: String| {
            let main_text = texts.first().map(|main| main.text.clone());
            report_of(main, main_text.unwrap_or_default(), what)
        };
        let paths =
            paths.map_err(|fault| fail(&texts, format!("cannot include `{pattern}`: {fault}")))?;
        for path in paths {
            if let Ok(real) = fs::canonicalize(&path)
                && !seen.insert(real)
            {
                continue;
            }
            let text = read_text(&path, &mut left).map_err(|fault| fail(&texts, fault))?;
            texts.push(ConfigText { path, text });
        }
    }
    Ok(texts)
}

/// Joins texts to the source of one document.
pub(super) fn source(texts: Vec<ConfigText>) -> Arc<SourceText> {
    let mut texts = texts
        .into_iter()
        .map(|each| (each.path.display().to_string(), each.text));
    let (name, text) = texts.next().unwrap_or_default();
    SourceText::with_parts(&name, text, texts.collect())
}

/// Checks the key `include`. The files were read before, by the same patterns.
pub(super) fn check(root: &mut TomlTable<'_>) {
    let listed = root.list(&INCLUDE, pattern);
    let listed = listed.unwrap_or_default();
    if let Some(extra) = listed.get(MAX_PATTERNS) {
        let fault = ValueFault::new(
            format!("there are more than {MAX_PATTERNS} patterns"),
            "use `*` in the names of files",
        );
        root.error(extra.span, fault);
    }
}

fn pattern(value: &TomlValue<'_>) -> Result<(), ValueFault> {
    let text = value::text(value)?;
    let wrong = |what: &str, help: String| Err(ValueFault::new(format!("`{text}` {what}"), help));
    let (folder, name) = text.rsplit_once('/').unwrap_or(("", &text));
    if !name.ends_with(".toml") {
        let folder = text.trim_end_matches("/*").trim_end_matches('/');
        return wrong(
            "does not end with `.toml`, so it would match backups, too",
            format!("for example `\"{folder}/*.toml\"`"),
        );
    }
    // A wildcard in a folder would make the order of the files hard to foresee. The other characters have a meaning in
    // shells, which they do not have here.
    if folder.contains('*') || text.contains(['?', '[', '{', '\0']) {
        return wrong(
            "is not a pattern",
            "only `*` in the name of the file is a wildcard, as in `\"conf.d/*.toml\"`".to_owned(),
        );
    }
    Ok(())
}

/// Returns the patterns of the main file that can be used. Faults are reported later, with their place.
fn patterns(text: &str) -> Vec<String> {
    // Errors of the syntax are dropped here, since the whole document is parsed again with all files.
    let (root, _) = DeTable::parse_recoverable(text);
    let listed = match root
        .get_ref()
        .get(INCLUDE.name)
        .map(|value| value.get_ref())
    {
        None => return vec![DEFAULT_PATTERN.to_owned()],
        Some(DeValue::Array(listed)) => listed,
        // A value of the wrong type is reported with the rest of the config, so nothing is read for it.
        Some(_) => return Vec::new(),
    };
    let texts = listed.iter().filter_map(|item| item.get_ref().as_str());
    let usable = texts.filter(|text| {
        let name = text.rsplit_once('/').map_or(*text, |(_, name)| name);
        let folder_length = text.len().saturating_sub(name.len());
        let folder = text.get(..folder_length).unwrap_or_default();
        name.ends_with(".toml") && !folder.contains('*') && !text.contains('\0')
    });
    usable.take(MAX_PATTERNS).map(str::to_owned).collect()
}

/// Returns the files that a pattern names, in the byte order of their names.
fn expand(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let (below, name) = pattern.rsplit_once('/').unwrap_or(("", pattern));
    let below = match below {
        // `rsplit_once` leaves nothing of the root folder.
        "" if pattern.starts_with('/') => PathBuf::from("/"),
        below => folder.join(below),
    };
    // A file without a wildcard must exist: without it, routes would be missing silently.
    if !name.contains('*') {
        return Ok(vec![below.join(name)]);
    }
    let entries = match fs::read_dir(read_dir_path(&below)) {
        Ok(entries) => entries,
        // Many installations have no `conf.d`, so its absence is no error.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.to_string()),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| error.to_string())?;
        let found = entry.file_name();
        let is_hidden = found.as_bytes().starts_with(b".");
        if is_hidden || !matches(name.as_bytes(), found.as_bytes()) {
            continue;
        }
        // A folder may have the name of a file; a broken link is an error when it is read.
        if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.is_dir()) {
            continue;
        }
        names.push(found);
        // Inside the loop, so that a folder with millions of files ends it early.
        if names.len() > MAX_FILES {
            return Err(format!("more than {MAX_FILES} files match"));
        }
    }
    // The order of `read_dir` differs between file systems, and a config must mean the same on all of them.
    names.sort_by(|left, right| left.as_bytes().cmp(right.as_bytes()));
    Ok(names.into_iter().map(|name| below.join(name)).collect())
}

/// Returns the path by which the system finds a folder: an empty path is the current folder.
fn read_dir_path(path: &Path) -> &Path {
    match path.as_os_str().is_empty() {
        true => Path::new("."),
        false => path,
    }
}

/// Returns true where a name matches a pattern, in which `*` is any number of bytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let mut parts = pattern.split(|byte| *byte == b'*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    // The earliest place for each part leaves the most for those after it, so no other place has to be tried.
    for part in parts {
        match memchr::memmem::find(rest, part) {
            Some(at) => {
                rest = rest
                    .get(at.saturating_add(part.len())..)
                    .unwrap_or_default()
            }
            None => return false,
        }
    }
    // The last part is bound to the end of the name, so its earliest place would be the wrong one.
    rest.ends_with(last)
}

/// Reads one file within the bytes that are left for all.
fn read_text(path: &Path, left: &mut u64) -> Result<String, String> {
    let fail = |what: String| format!("cannot read `{}`: {what}", path.display());
    let mut bytes = Vec::new();
    let too_large = match *left == MAX_BYTES {
        true => "it is larger than 8 MiB",
        false => "all config files together are larger than 8 MiB",
    };
    file::read_into(&mut bytes, path, *left, too_large).map_err(fail)?;
    *left = left.saturating_sub(bytes.len() as u64);
    String::from_utf8(bytes).map_err(|_| fail("it is not valid UTF-8".to_owned()))
}

/// Returns the report of a file that cannot be read. Only the include of a main file has a place in its text.
fn report_of(main: &Path, text: String, message: String) -> DiagnosticReport {
    let help = match message.ends_with("UTF-8") {
        true => "save the config as TOML in UTF-8",
        false => "check that the path is right and that hookgate may read the file",
    };
    let mut report = DiagnosticReport::new(SourceText::new(&main.display().to_string(), text));
    report.push(ConfigDiagnostic {
        severity: DiagnosticSeverity::Error,
        span: None,
        message,
        label: String::new(),
        help: Some(help.to_owned()),
    });
    report
}

pub(super) static INCLUDE: KeyDefinition = KeyDefinition {
    name: "include",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("[\"conf.d/*.toml\"]"),
    example: "[\"conf.d/*.toml\", \"/etc/shop/hookgate/*.toml\"]",
    doc: "Other config files, which are read as parts of this one: paths or patterns relative to the folder of this file, with `*` in the name of the file. Files of a pattern are read in the byte order of their names; hidden files never match. Sections and routes may be in any of the files, but each key in one of them only. Relative paths in all files start at the folder of the main file. `[]` includes nothing. As a bare key it must precede all tables.",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_number_of_bytes() {
        for (pattern, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml~", false),
            ("*.toml", "a.toml.dpkg-old", false),
            ("shop-*.toml", "shop-.toml", true),
            ("shop-*.toml", "shop.toml", false),
            ("a*b*c.toml", "a-b-b-c.toml", true),
            ("a*b*c.toml", "a-c.toml", false),
            ("*aa*aa.toml", "aaa.toml", false),
            ("a.toml", "a.toml", true),
            ("a.toml", "aa.toml", false),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }

    // Fails when the order depends on the file system, or when backups and hidden files are read.
    #[test]
    fn files_of_a_pattern_are_read_in_byte_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("conf.d/folder.toml")).unwrap();
        for name in [
            "b.toml",
            "B.toml",
            "10.toml",
            "9.toml",
            ".a.toml",
            "a.toml~",
            "a.toml.bak",
            "x.txt",
        ] {
            fs::write(path("conf.d").join(name), format!("# {name}")).unwrap();
        }
        std::os::unix::fs::symlink("b.toml", path("conf.d/z.toml")).unwrap();
        fs::write(path("hookgate.toml"), "# main").unwrap();
        let read = || {
            let texts = read_texts(&path("hookgate.toml")).unwrap();
            texts.into_iter().map(|each| each.text).collect::<Vec<_>>()
        };
        assert_eq!(
            read(),
            ["# main", "# 10.toml", "# 9.toml", "# B.toml", "# b.toml"]
        );
        fs::write(path("hookgate.toml"), "include = []").unwrap();
        assert_eq!(read(), ["include = []"]);
        // The main file itself is not read twice.
        fs::write(
            path("hookgate.toml"),
            "include = [\"*.toml\", \"conf.d/b*.toml\"]",
        )
        .unwrap();
        assert_eq!(read().len(), 2);
    }

    #[test]
    fn absent_and_too_many_files_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        let main = folder.path().join("hookgate.toml");
        let fault = |text: &str| {
            fs::write(&main, text).unwrap();
            let report = read_texts(&main).err().unwrap();
            report.diagnostics()[0].message.clone()
        };
        assert!(fault("include = [\"absent.toml\"]").contains("absent.toml`: No such file"));
        fs::create_dir(folder.path().join("many")).unwrap();
        for number in 0..=MAX_FILES {
            fs::write(folder.path().join(format!("many/{number}.toml")), "").unwrap();
        }
        assert!(fault("include = [\"many/*.toml\"]").contains("more than 1000 files"));
        fs::create_dir(folder.path().join("conf.d")).unwrap();
        for name in ["a.toml", "b.toml"] {
            fs::write(folder.path().join("conf.d").join(name), " ".repeat(5 << 20)).unwrap();
        }
        assert!(fault("").contains("b.toml`: all config files together are larger than 8 MiB"));
    }
}

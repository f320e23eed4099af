//! Checks the pages of the documentation: the table of contents, titles, links, and what the guide repeats of the README.

use std::fs;
use std::path::{Path, PathBuf};

use crate::documents::{file, filled, read};
use crate::harness::golden::compare;

/// Pages that readers find outside of the book.
const OUTSIDE: [&str; 3] = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"];

/// Returns all pages below a folder.
fn pages_below(folder: &Path) -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            pages.extend(pages_below(&path));
        } else if path.extension().is_some_and(|end| end == "md") {
            pages.push(path);
        }
    }
    pages
}

/// Returns the lines of a page outside of its code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// Returns a line without its code spans, whose text may look like a link.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect::<Vec<_>>().join("`")
}

/// Returns the targets of the links and images of a page.
fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    for line in prose(text).map(without_code) {
        let rests = line.split("](").skip(1);
        links.extend(rests.filter_map(|rest| rest.split(')').next().map(str::to_owned)));
    }
    links
}

/// Returns the title of a heading, without its marks.
fn heading(line: &str) -> Option<&str> {
    let title = line.trim_start_matches('#');
    let is_heading = line.starts_with('#') && title.starts_with(' ');
    is_heading.then(|| title.trim())
}

/// Returns the anchors of a page, as mdBook and GitHub make them.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for title in prose(text).filter_map(heading) {
        let mut anchor = String::new();
        for letter in title.to_lowercase().chars() {
            match letter {
                ' ' => anchor.push('-'),
                '-' | '_' => anchor.push(letter),
                letter if letter.is_alphanumeric() => anchor.push(letter),
                _ => {}
            }
        }
        // The second heading with a title gets a number, and so on.
        let same = anchors.iter().filter(|other| **other == anchor).count();
        match same {
            0 => anchors.push(anchor),
            count => anchors.push(format!("{anchor}-{count}")),
        }
    }
    anchors
}

/// Returns what is wrong with a link of a page.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    // A chapter of the table of contents without a page.
    if link.is_empty() {
        return (!page.ends_with("SUMMARY.md")).then(|| "it is empty".to_owned());
    }
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    let path = match target {
        "" => page.to_owned(),
        target => page.parent().unwrap().join(target),
    };
    let Ok(path) = path.canonicalize() else {
        return Some("there is no such file".to_owned());
    };
    let book = file("docs").canonicalize().unwrap();
    let is_in_book = page.canonicalize().unwrap().starts_with(&book);
    if is_in_book && !path.starts_with(&book) {
        return Some("the file is not part of the book".to_owned());
    }
    let has_anchor = || anchors(&fs::read_to_string(&path).unwrap()).contains(&anchor.to_owned());
    (!anchor.is_empty() && !has_anchor()).then(|| "the page has no such heading".to_owned())
}

/// Fails when a link of the documentation leads to a missing file or heading, or out of the book.
#[test]
fn each_link_leads_to_a_heading_of_a_page() {
    let mut pages = pages_below(&file("docs"));
    pages.extend(OUTSIDE.map(file));
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            count += 1;
            let fault = fault(&page, &link);
            wrong.extend(fault.map(|fault| format!("{}: {link}: {fault}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(count > 300, "{count} links were found");
}

#[test]
fn the_check_finds_each_fault_of_a_link() {
    let page = file("docs/guide/checks.md");
    for (link, expected) in [
        ("nowhere.md", "no such file"),
        ("monitor.md#nowhere", "no such heading"),
        ("#nowhere", "no such heading"),
        ("../../README.md", "not part of the book"),
        ("", "empty"),
    ] {
        let fault = fault(&page, link).unwrap_or_default();
        assert!(fault.contains(expected), "{link}: {fault}");
    }
    for link in [
        "monitor.md#promote-the-route",
        "#budgets-per-source",
        "https://example.com/x",
    ] {
        assert_eq!(fault(&page, link), None, "{link}");
    }
    let text = "# A `b.c` d\n```\n# no\n[a](b)\n```\n`[a](c)` [d](e) ![f](g)\n## A `b.c` d\n";
    assert_eq!(anchors(text), ["a-bc-d", "a-bc-d-1"]);
    assert_eq!(links(text), ["e", "g"]);
}

/// Fails when a page is missing from the table of contents, or is listed there with another title than its own.
#[test]
fn the_table_of_contents_lists_each_page_by_its_title() {
    let summary = read("docs/SUMMARY.md");
    for page in pages_below(&file("docs")) {
        let name = page.strip_prefix(file("docs")).unwrap().to_str().unwrap();
        if name == "SUMMARY.md" {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        let titles: Vec<&str> = prose(&text).filter(|line| line.starts_with("# ")).collect();
        let [title] = titles[..] else {
            panic!("{name} must have one title: {titles:?}");
        };
        // The first page has the name of the book.
        let listed = match name {
            "introduction.md" => "Introduction",
            _ => title.trim_start_matches("# "),
        };
        let row = format!("[{listed}]({name})");
        assert!(summary.contains(&row), "docs/SUMMARY.md lacks {row}");
    }
}

/// Fails when the table of checks in the README changes and the guide does not follow.
#[test]
fn the_guide_has_the_checks_of_the_readme() {
    let readme = read("README.md");
    let (_, rest) = readme.split_once("\n## The checks\n").unwrap();
    let rows = rest.lines().skip_while(|line| !line.starts_with('|'));
    let rows: Vec<&str> = rows.take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() > 15, "{rows:?}");
    // Links of the README start at another folder.
    let table = rows.join("\n").replace("(docs/guide/checks.md#", "(#") + "\n";
    let name = "docs/guide/checks.md";
    compare(name, &filled(&read(name), "checks", &table));
}

//! Merges the tables of several files into one.
//!
//! Definitions of keys decide: the keys of a table may be in several files, named tables too, and arrays of tables are
//! joined. Everything else that is in two files is an error that names both places.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::document::key::{SectionDefinition, ValueKind};
use crate::document::report::{ConfigDiagnostic, DiagnosticReport, DiagnosticSeverity};
use crate::document::source::TextSpan;

/// Moves all spans of a table by a number of bytes: from positions in its file to those in the document.
pub(super) fn shifted(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    if by == 0 {
        return table;
    }
    let entries = table.into_iter();
    let moved = entries.map(|(key, value)| (moved(key, by), shifted_value(value, by)));
    moved.collect()
}

fn shifted_value(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let span = value.span();
    let content = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(shifted(table, by)),
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| shifted_value(item, by));
            DeValue::Array(items.collect())
        }
        other => other,
    };
    moved(Spanned::new(span, content), by)
}

fn moved<T>(value: Spanned<T>, by: usize) -> Spanned<T> {
    let span = TextSpan::from(value.span()).shifted(by);
    Spanned::new(span.start..span.end, value.into_inner())
}

/// Merges the root tables of all files, in their order.
pub(super) fn merge_roots<'a>(
    roots: Vec<DeTable<'a>>,
    section: &SectionDefinition,
    main_only: &[&str],
    report: &mut DiagnosticReport,
) -> DeTable<'a> {
    let mut roots = roots.into_iter();
    let mut merged = roots.next().unwrap_or_default();
    for mut root in roots {
        for name in main_only {
            let Some((key, _)) = root.get_key_value(*name) else {
                continue;
            };
            report.push(ConfigDiagnostic {
                severity: DiagnosticSeverity::Error,
                span: Some(key.span().into()),
                message: format!("`{name}` has no effect in an included file"),
                label: String::new(),
                help: Some("move it to the main file".to_owned()),
            });
            root.remove(*name);
        }
        merge(&mut merged, root, section, "", report);
    }
    merged
}

fn merge<'a>(
    into: &mut DeTable<'a>,
    from: DeTable<'a>,
    section: &SectionDefinition,
    path: &str,
    report: &mut DiagnosticReport,
) {
    for (key, value) in from {
        let name: &str = key.get_ref();
        let kind = section.keys.iter().find(|known| known.name == name);
        let kind = kind.map(|known| known.kind);
        let whole = match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let Some((first, known)) = into.get_key_value(name) else {
            into.insert(key, value);
            continue;
        };
        let first: TextSpan = first.span().into();
        let is_joined = match (kind, known.get_ref(), value.get_ref()) {
            (Some(ValueKind::Table(_) | ValueKind::Named(_)), old, new) => {
                old.is_table() && new.is_table()
            }
            (Some(ValueKind::Tables(_)), old, new) => old.is_array() && new.is_array(),
            _ => false,
        };
        if !is_joined {
            report.push(defined_twice(&whole, key.span().into(), first, report));
            continue;
        }
        let Some(known) = into.get_mut(name) else {
            continue;
        };
        match (kind, known.get_mut(), value.into_inner()) {
            (Some(ValueKind::Table(section)), DeValue::Table(old), DeValue::Table(new)) => {
                merge(old, new, section, &whole, report);
            }
            (Some(ValueKind::Named(_)), DeValue::Table(old), DeValue::Table(new)) => {
                merge_named(old, new, &whole, report);
            }
            (_, DeValue::Array(old), DeValue::Array(new)) => {
                for item in new {
                    old.push(item);
                }
            }
            _ => {}
        }
    }
}

/// Merges tables under names of the operator. A name belongs to one file as a whole: half of a route in another file would
/// more probably be a mistake than intended.
fn merge_named<'a>(
    into: &mut DeTable<'a>,
    from: DeTable<'a>,
    path: &str,
    report: &mut DiagnosticReport,
) {
    for (key, value) in from {
        let known = into
            .get_key_value(&**key.get_ref())
            .map(|(first, _)| first.span());
        match known {
            None => {
                into.insert(key, value);
            }
            Some(first) => {
                let whole = format!("{path}.{}", key.get_ref());
                report.push(defined_twice(
                    &whole,
                    key.span().into(),
                    first.into(),
                    report,
                ));
            }
        }
    }
}

fn defined_twice(
    name: &str,
    span: TextSpan,
    first: TextSpan,
    report: &DiagnosticReport,
) -> ConfigDiagnostic {
    ConfigDiagnostic {
        severity: DiagnosticSeverity::Error,
        span: Some(span),
        message: format!("`{name}` is defined in two files"),
        label: String::new(),
        help: Some(format!(
            "the other place is {}; remove one of them",
            report.place(first)
        )),
    }
}

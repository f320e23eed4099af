//! Parser of published range lists: lines of text, or locations of a JSON document.

use std::net::IpAddr;

use hookgate_verify::providers::RangesFormat;
use ipnet::IpNet;
use serde_json::Value;

use crate::criteria::json::{self, JsonFault};

/// Maximum number of ranges: more than any known provider publishes (Atlassian has some 300), and few enough for a
/// linear search.
const MAX_RANGES: usize = 4096;

/// Maximum number of characters of an invalid entry in an error message.
const SHOWN_CHARS: usize = 48;

/// Reason why a document is not a list of ranges. Each text continues "the list at URL".
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum PublishedFault {
    /// The document is not UTF-8.
    #[error("is not UTF-8 text")]
    NotText,
    /// The document is not JSON, although the provider's format is.
    #[error("cannot be parsed: {0}")]
    Json(JsonFault),
    /// The location of the ranges does not exist any more.
    #[error("has nothing at `/{0}`")]
    Missing(String),
    /// An entry is not an address or a range.
    #[error("contains `{0}`, which is not an IP address or a CIDR range")]
    NotRange(String),
    /// The list is longer than [`MAX_RANGES`].
    #[error("contains more than {MAX_RANGES} ranges")]
    TooMany,
    /// The list has no entries at all.
    #[error("contains no ranges")]
    Empty,
}

/// Parses a list into sorted ranges that do not overlap. One invalid entry makes the whole list invalid.
///
/// # Errors
/// Returns a [`PublishedFault`] that names the first problem.
pub(super) fn read(answer: &[u8], format: &RangesFormat) -> Result<Vec<IpNet>, PublishedFault> {
    let mut nets = Vec::new();
    match format {
        RangesFormat::Lines => {
            let text = std::str::from_utf8(answer).map_err(|_| PublishedFault::NotText)?;
            let lines = text.lines().map(str::trim);
            // Blank lines and comments are common in published lists.
            for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
                push(&mut nets, line)?;
            }
        }
        RangesFormat::Json(pointers) => {
            let document = json::parse(answer).map_err(PublishedFault::Json)?;
            for pointer in pointers {
                if !walk(&document, pointer, &mut nets)? {
                    return Err(PublishedFault::Missing(pointer.join("/")));
                }
            }
        }
    }
    if nets.is_empty() {
        return Err(PublishedFault::Empty);
    }
    let mut nets = IpNet::aggregate(&nets);
    nets.sort();
    Ok(nets)
}

/// Adds the ranges at the pointer: one range, or a list of them. Returns false if the location does not exist.
fn walk(value: &Value, pointer: &[String], nets: &mut Vec<IpNet>) -> Result<bool, PublishedFault> {
    let Some((step, rest)) = pointer.split_first() else {
        match value {
            Value::String(text) => push(nets, text)?,
            Value::Array(items) => {
                for item in items {
                    walk(item, &[], nets)?;
                }
            }
            // A number or an object where a range is expected means that the format has changed.
            other => return Err(no_range(&other.to_string())),
        }
        return Ok(true);
    };
    if step != "*" {
        return match value.get(step) {
            Some(value) => walk(value, rest, nets),
            None => Ok(false),
        };
    }
    // Elements have one kind of range each (`ipv4Prefix` or `ipv6Prefix`), so some may lack this one.
    let mut is_found = false;
    match value {
        Value::Array(items) => {
            for item in items {
                is_found |= walk(item, rest, nets)?;
            }
        }
        Value::Object(members) => {
            for item in members.values() {
                is_found |= walk(item, rest, nets)?;
            }
        }
        _ => {}
    }
    Ok(is_found)
}

/// Parses and adds one range; a single address counts as a range of one.
fn push(nets: &mut Vec<IpNet>, text: &str) -> Result<(), PublishedFault> {
    let single = |_| text.parse::<IpAddr>().map(IpNet::from);
    let net: IpNet = text.parse().or_else(single).map_err(|_| no_range(text))?;
    if nets.len() >= MAX_RANGES {
        return Err(PublishedFault::TooMany);
    }
    // Some providers publish host bits in their ranges.
    nets.push(net.trunc());
    Ok(())
}

/// Returns the fault for an invalid entry, cut and escaped, because it goes to the log and the terminal.
fn no_range(text: &str) -> PublishedFault {
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    PublishedFault::NotRange(shown.escape_debug().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(pointers: &[&[&str]]) -> RangesFormat {
        let owned = |steps: &&[&str]| steps.iter().map(|step| (*step).to_owned()).collect();
        RangesFormat::Json(pointers.iter().map(owned).collect())
    }

    fn texts(answer: &str, format: &RangesFormat) -> Result<Vec<String>, PublishedFault> {
        let nets = read(answer.as_bytes(), format)?;
        Ok(nets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn the_forms_in_which_ranges_are_published() {
        let lines = "# webhooks\n192.0.2.1\r\n\n 198.51.100.0/24 \n2001:db8::/32\n192.0.2.1\n";
        let all = ["192.0.2.1/32", "198.51.100.0/24", "2001:db8::/32"];
        assert_eq!(texts(lines, &RangesFormat::Lines).unwrap(), all);

        let listed =
            r#"{"web":["203.0.113.0/24"],"hooks":["192.0.2.1","198.51.100.0/24","2001:db8::/32"]}"#;
        assert_eq!(texts(listed, &json(&[&["hooks"]])).unwrap(), all);

        let each =
            r#"{"prefixes":[{"v4":"192.0.2.1"},{"v6":"2001:db8::/32"},{"v4":"198.51.100.77/24"}]}"#;
        let both: &[&[&str]] = &[&["prefixes", "*", "v4"], &["prefixes", "*", "v6"]];
        assert_eq!(texts(each, &json(both)).unwrap(), all);

        let regions =
            r#"{"us":["192.0.2.1","2001:db8::/32"],"eu":["198.51.100.0/25","198.51.100.128/25"]}"#;
        assert_eq!(texts(regions, &json(&[&["*"]])).unwrap(), all);
    }

    // Fails if an invalid entry is skipped, or if an empty or changed document is accepted as an empty list.
    #[test]
    fn what_is_not_what_was_expected() {
        let hooks = json(&[&["hooks"]]);
        let cases = [
            ("", RangesFormat::Lines, PublishedFault::Empty),
            ("# none\n", RangesFormat::Lines, PublishedFault::Empty),
            (
                "192.0.2.1\n<html>\n",
                RangesFormat::Lines,
                PublishedFault::NotRange("<html>".to_owned()),
            ),
            (
                "192.0.2.1/33",
                RangesFormat::Lines,
                PublishedFault::NotRange("192.0.2.1/33".to_owned()),
            ),
            (
                "<html>",
                hooks.clone(),
                PublishedFault::Json(JsonFault::NotJson),
            ),
            (
                r#"{"web":["192.0.2.1"]}"#,
                hooks.clone(),
                PublishedFault::Missing("hooks".to_owned()),
            ),
            (r#"{"hooks":[]}"#, hooks.clone(), PublishedFault::Empty),
            (
                r#"{"hooks":["192.0.2.1",7]}"#,
                hooks.clone(),
                PublishedFault::NotRange("7".to_owned()),
            ),
            (
                r#"{"hooks":["192.0.2.1"],"hooks":["198.51.100.1"]}"#,
                hooks,
                PublishedFault::Json(JsonFault::Duplicate),
            ),
        ];
        for (answer, format, fault) in cases {
            assert_eq!(texts(answer, &format), Err(fault), "{answer}");
        }
        assert_eq!(
            read(b"\xff", &RangesFormat::Lines),
            Err(PublishedFault::NotText)
        );
        let many: Vec<_> = (0..=MAX_RANGES)
            .map(|count| format!("198.{}.{}.1\n", count / 256, count % 256))
            .collect();
        assert_eq!(
            texts(&many.concat(), &RangesFormat::Lines),
            Err(PublishedFault::TooMany)
        );
    }
}

//! Request paths that every server reads the same way.
//!
//! Servers decode paths in different orders, some of them twice. They cut off parameters at `;`, trim white space, and
//! fold look-alikes of dots and slashes. This module therefore imitates no server: it rejects every path that some
//! server could read as having another delimiter or a parent folder.

/// Characters that compatibility forms of Unicode (NFKC, and the best-fit tables of Windows) turn into `.`, `/`, `\`,
/// `;` or `%`.
const LOOK_ALIKES: [char; 21] = [
    '\u{37e}', '\u{2024}', '\u{2025}', '\u{2026}', '\u{2044}', '\u{2100}', '\u{2101}', '\u{2105}',
    '\u{2106}', '\u{2215}', '\u{2216}', '\u{29f5}', '\u{29f8}', '\u{fe52}', '\u{fe54}', '\u{fe68}',
    '\u{fe6a}', '\u{ff05}', '\u{ff0e}', '\u{ff0f}', '\u{ff1b}',
];

/// Returns true where a path below the route's prefix has one meaning only, and stays below the prefix.
///
/// Such a path is empty or begins with a slash. Percent-encoded UTF-8 is allowed. Rejected are parents and empty
/// segments in every spelling, encoded delimiters, a `%` that decodes to another `%`, control characters, and bytes
/// that are not UTF-8, such as overlong forms.
pub(crate) fn is_plain(path: &str) -> bool {
    if path.contains('%') && !has_plain_escapes(path) {
        return false;
    }
    // Some servers read a backslash as a slash, and drop control characters and white space.
    let is_odd = |byte: u8| byte == b'\\' || byte.is_ascii_control() || byte.is_ascii_whitespace();
    if path.bytes().any(is_odd) {
        return false;
    }
    let last = path.matches('/').count();
    let mut segments = path.split('/').zip(0..);
    segments.all(|(segment, position)| match segment {
        // Only the first segment (before the leading slash) and the last (after a trailing one) may be empty.
        "" => position == 0 || position == last,
        _ => position > 0 && !is_parent(segment),
    })
}

/// Returns true where a segment is only dots, or empty, after its parameters and spaces are removed. Some servers read
/// three dots as the parent's parent.
fn is_parent(segment: &str) -> bool {
    // Some servers cut a parameter off before they look for `..`, so `..;x` is a parent for them.
    let mut name = segment.split(';').next().unwrap_or_default();
    while let Some(rest) = name
        .strip_prefix("%20")
        .or_else(|| name.strip_prefix(['.', '+']))
    {
        name = rest;
    }
    name.is_empty()
}

/// Returns true where no escape decodes to a delimiter, or to text that could be decoded further.
fn has_plain_escapes(path: &str) -> bool {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || char::from(bytes.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return false;
        };
        let Ok(byte) = u8::try_from(high * 16 + low) else {
            return false;
        };
        // A decoded `%` would allow a second decoding, and the others are delimiters or dots.
        if byte.is_ascii_control() || b"./\\;?#%".contains(&byte) {
            return false;
        }
        decoded.push(byte);
    }
    // Checked after decoding the whole path: an overlong form or a split character shows only then.
    let Ok(text) = std::str::from_utf8(&decoded) else {
        return false;
    };
    let is_odd = |c: char| c.is_control() || LOOK_ALIKES.contains(&c) || is_invisible(c);
    !text.chars().any(is_odd)
}

/// Returns true for white space beyond ASCII and for characters without a width, which some servers drop.
fn is_invisible(c: char) -> bool {
    let is_zero_width = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    is_zero_width || (!c.is_ascii() && c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_of_senders_are_plain() {
        for path in [
            "",
            "/",
            "/a",
            "/a/",
            "/a/b.json",
            "/.well-known/x",
            "/..a/a..",
            "/a...b/v1.2",
            "/a%20b",
            "/a+b",
            "/Gr%C3%B6%C3%9Fe",
            "/user%40example.com",
            "/urn%3Aisbn%3A1",
            "/dGVzdA%3D%3D",
            "/a;v=1/b",
            "/a,b/c=d&e/~f/(g)!$'*@:",
            "/+49123",
        ] {
            assert!(is_plain(path), "{path}");
        }
    }

    /// Each line fails when the check for its content is removed.
    #[test]
    fn ambiguous_paths_are_rejected() {
        for path in [
            "a",
            "..",
            "/..",
            "/.",
            "/../admin",
            "/a/../admin",
            "/a/./b",
            "/...",
            "/..;/admin",
            "/..;a=b/admin",
            "/.;/admin",
            "/a/..;",
            "/;/admin",
            "/;a=b",
            "/a;/..;x/b",
            "//admin",
            "/a//b",
            "/a//",
            "/..%20/admin",
            "/%20../admin",
            "/.%20./admin",
            "/..+/admin",
            "/%20/admin",
            "/%2e%2e/admin",
            "/%2E%2E/admin",
            "/.%2e/admin",
            "/%2e./admin",
            "/a%2eb",
            "/..%2fadmin",
            "/..%2Fadmin",
            "/..%5cadmin",
            "/..\\admin",
            "/a\\b",
            "/..%3b/admin",
            "/..%00/admin",
            "/..%00",
            "/a%00",
            "/a%0d%0aX:%20y",
            "/..%09/admin",
            "/a%7f",
            "/a%c2%85",
            "/a%3fb",
            "/a%23b",
            "/%252e%252e/admin",
            "/%25252e",
            "/a%25b",
            "/%c0%ae%c0%ae/admin",
            "/%e0%80%ae/admin",
            "/%c0%af",
            "/%c1%9c",
            "/%f0%80%80%ae",
            "/%E4",
            "/%ff",
            "/%u002e%u002e/admin",
            "/%",
            "/a%2",
            "/%zz",
            "/%ef%bc%8e%ef%bc%8e/admin",
            "/..%ef%bc%8fadmin",
            "/%e2%80%a5/admin",
            "/.%e2%80%8b./admin",
            "/..%c2%a0/admin",
            "/..%e2%80%8b/admin",
            "/..%ef%bb%bf/admin",
        ] {
            assert!(!is_plain(path), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_escape_hides_a_parent(
            dots in "(\\.|%2e|%2E|%252e|%c0%ae|%20){1,4}",
            tail in "(|;|;x=1|%3b|%00|%2f|\\\\)",
        ) {
            let has_dot = dots.to_ascii_lowercase().replace("%20", "");
            prop_assume!(!has_dot.is_empty());
            let path = format!("/{dots}{tail}/admin");
            prop_assert!(!is_plain(&path));
        }
    }
}

//! Patterns for event types and versions, such as `"invoice.*"` and `"!invoice.upcoming"`.
//!
//! A `*` matches any run of characters, including the empty one. Every other character matches itself, and case
//! matters.
//!
//! A list admits a text that matches at least one pattern and no exclusion (a pattern after `!`). A list of exclusions
//! alone admits everything else. The order of a list does not matter.

use std::fmt;

/// Maximum length of a pattern, in characters: the gate reads no longer type or version.
const MAX_LENGTH: usize = 255;

/// One pattern, split at its stars.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GlobPattern {
    /// The text before the first `*`.
    head: Box<str>,
    /// The text after each `*`. Empty: the pattern has no `*`, and only a text equal to `head` matches.
    tails: Box<[Box<str>]>,
}

/// A list of patterns, some of which may exclude.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PatternList {
    included: Vec<GlobPattern>,
    excluded: Vec<GlobPattern>,
}

/// The reason why a pattern is invalid.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GlobError {
    /// The pattern is the empty text.
    #[error("the pattern is empty")]
    Empty,
    /// The pattern is longer than any type or version, so it can never match.
    #[error("the pattern is longer than 255 characters")]
    TooLong,
    /// The pattern holds a character that no type or version holds, so it can never match.
    #[error("the pattern holds a character that is not printable ASCII")]
    Character,
}

impl GlobPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Returns the reason where the pattern is empty or could never match a type or version.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
        // A pattern that can never match is most likely a typing mistake, so it is an error and not ignored.
        if text.len() > MAX_LENGTH {
            return Err(GlobError::TooLong);
        }
        if !text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err(GlobError::Character);
        }
        let mut pieces = text.split('*');
        Ok(Self {
            head: pieces.next().unwrap_or_default().into(),
            tails: pieces.map(Into::into).collect(),
        })
    }

    /// Returns true where the pattern matches the whole text. The time is at most linear in the sum of both lengths.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.tails.split_last() else {
            return *text == *self.head;
        };
        let Some(mut rest) = text.strip_prefix(&*self.head) else {
            return false;
        };
        // Taking the leftmost match of each piece leaves the most text for the pieces after it, so no backtracking is
        // needed.
        for piece in middle {
            let Some((_, behind)) = rest.split_once(&**piece) else {
                return false;
            };
            rest = behind;
        }
        // The last piece must match at the end of the text, so it is compared there and not searched.
        rest.ends_with(&**last)
    }

    /// Returns true where the pattern matches every text.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.head.is_empty()
            && !self.tails.is_empty()
            && self.tails.iter().all(|tail| tail.is_empty())
    }
}

impl fmt::Display for GlobPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.head)?;
        self.tails.iter().try_for_each(|tail| write!(f, "*{tail}"))
    }
}

impl PatternList {
    /// Returns every pattern as the config writes it, the exclusions last.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let included = self.included.iter().map(ToString::to_string);
        let excluded = self.excluded.iter().map(|glob| format!("!{glob}"));
        included.chain(excluded).collect()
    }

    /// Adds a pattern; one that begins with `!` is an exclusion.
    ///
    /// # Errors
    /// As for [`GlobPattern::parse`].
    pub fn add(&mut self, text: &str) -> Result<(), GlobError> {
        match text.strip_prefix('!') {
            Some(excluded) => self.excluded.push(GlobPattern::parse(excluded)?),
            None => self.included.push(GlobPattern::parse(text)?),
        }
        Ok(())
    }

    /// Returns true where the list admits the text.
    #[must_use]
    pub fn admit(&self, text: &str) -> bool {
        // A list of exclusions alone admits everything else.
        let is_wanted =
            self.included.is_empty() || self.included.iter().any(|glob| glob.matches(text));
        is_wanted && !self.excluded.iter().any(|glob| glob.matches(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admit(patterns: &[&str], text: &str) -> bool {
        let mut list = PatternList::default();
        for pattern in patterns {
            list.add(pattern).unwrap();
        }
        list.admit(text)
    }

    /// Fails when a pattern is shown differently from the text that the operator wrote.
    #[test]
    fn a_pattern_is_shown_as_it_is_written() {
        let written = ["*", "push", "invoice.*", "*.paid", "a*b**c", "!*.upcoming"];
        let mut list = PatternList::default();
        for text in written {
            list.add(text).unwrap();
        }
        assert_eq!(list.texts(), written);
    }

    #[test]
    fn a_star_is_any_run_and_all_else_is_itself() {
        for (pattern, fits, fails) in [
            (
                "push",
                &["push"][..],
                &["pus", "push ", "Push", "pushes"][..],
            ),
            ("*", &["", "a", "a.b", "*"], &[]),
            (
                "invoice.*",
                &["invoice.paid", "invoice."],
                &["invoice", "xinvoice.paid"],
            ),
            (
                "*.paid",
                &["invoice.paid", ".paid"],
                &["invoice.paid.x", "paid"],
            ),
            ("a*c", &["ac", "abc", "acc"], &["acb", "bac", "a"]),
            ("aa*aa", &["aaaa", "aaxaa"], &["aaa", "aa"]),
            ("*a*b*", &["ab", "xaxbx", "aab"], &["ba", "a", "b"]),
            ("a**b", &["ab", "axb"], &["a"]),
            ("Push Hook", &["Push Hook"], &["Push  Hook"]),
            ("a?c", &["a?c"], &["abc"]),
            ("a.c", &["a.c"], &["abc"]),
            ("[ab]", &["[ab]"], &["a"]),
        ] {
            for text in fits {
                assert!(admit(&[pattern], text), "{pattern} {text}");
            }
            for text in fails {
                assert!(!admit(&[pattern], text), "{pattern} {text}");
            }
        }
    }

    /// Fails when a later pattern takes back an exclusion, or when exclusions alone admit nothing.
    #[test]
    fn an_exclusion_counts_at_any_position() {
        for patterns in [
            ["invoice.*", "!invoice.upcoming"],
            ["!invoice.upcoming", "invoice.*"],
        ] {
            assert!(admit(&patterns, "invoice.paid"));
            assert!(!admit(&patterns, "invoice.upcoming"));
            assert!(!admit(&patterns, "charge.paid"));
        }
        assert!(admit(&["!a"], "b"));
        assert!(!admit(&["!a"], "a"));
        assert!(!admit(&["!*"], "a"));
        assert!(!admit(&["a", "!a"], "a"));
        assert!(admit(&[], "a"));
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_invalid() {
        assert_eq!(GlobPattern::parse(""), Err(GlobError::Empty));
        assert_eq!(PatternList::default().add("!"), Err(GlobError::Empty));
        assert_eq!(
            GlobPattern::parse(&"a".repeat(256)),
            Err(GlobError::TooLong)
        );
        assert_eq!(GlobPattern::parse("a\n"), Err(GlobError::Character));
        assert_eq!(GlobPattern::parse("\u{e4}"), Err(GlobError::Character));
    }

    /// Matches by the plain definition: exponential, and obviously right.
    fn slow(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => slow(rest, text),
            (Some((b'*', rest)), Some((_, behind))) => slow(rest, text) || slow(pattern, behind),
            (Some((one, rest)), Some((other, behind))) => one == other && slow(rest, behind),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_definition(pattern in "[ab*]{1,8}", text in "[ab]{0,10}") {
            let glob = GlobPattern::parse(&pattern).unwrap();
            prop_assert_eq!(glob.matches(&text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}

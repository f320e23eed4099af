//! Patterns for event types and versions: `"invoice.*"`, `"!invoice.upcoming"`.
//!
//! A `*` stands for any run of characters, the empty one too; every other character stands for itself, and case counts.
//! A list of patterns lets a text through that one of them matches and none of those behind a `!` does; a list of
//! exclusions alone lets through all the rest. The order of a list does not matter.

/// Longer than any type or version that the gate reads.
const MAX_LENGTH: usize = 255;

/// One pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    /// What stands before the first `*`.
    head: Box<str>,
    /// What stands behind each `*`; empty: there is none, and the text equals `head`.
    tails: Box<[Box<str>]>,
}

/// A list of patterns, some of which may exclude.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Patterns {
    wanted: Vec<Glob>,
    excluded: Vec<Glob>,
}

/// Why a text is no pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum GlobError {
    /// Nothing stands there.
    #[error("the pattern is empty")]
    Empty,
    /// It can match nothing that the gate reads.
    #[error("the pattern is longer than 255 characters")]
    TooLong,
    /// It can match nothing that the gate reads.
    #[error("the pattern holds a character that is not printable ASCII")]
    Character,
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// A text that can match no type or version.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        if text.is_empty() {
            return Err(GlobError::Empty);
        }
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

    /// Whether the whole text fits. Takes time in proportion to both lengths at most.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let Some((last, middle)) = self.tails.split_last() else {
            return *text == *self.head;
        };
        let Some(mut rest) = text.strip_prefix(&*self.head) else {
            return false;
        };
        // The leftmost place of each piece leaves the most for those behind it.
        for piece in middle {
            let Some((_, behind)) = rest.split_once(&**piece) else {
                return false;
            };
            rest = behind;
        }
        rest.ends_with(&**last)
    }

    /// Whether it fits every text.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.head.is_empty()
            && !self.tails.is_empty()
            && self.tails.iter().all(|tail| tail.is_empty())
    }
}

impl Patterns {
    /// Adds a pattern, which excludes where it begins with `!`.
    ///
    /// # Errors
    /// See [`Glob::parse`].
    pub fn add(&mut self, text: &str) -> Result<(), GlobError> {
        match text.strip_prefix('!') {
            Some(excluded) => self.excluded.push(Glob::parse(excluded)?),
            None => self.wanted.push(Glob::parse(text)?),
        }
        Ok(())
    }

    /// Whether the list lets the text through.
    #[must_use]
    pub fn admit(&self, text: &str) -> bool {
        let is_wanted = self.wanted.is_empty() || self.wanted.iter().any(|glob| glob.matches(text));
        is_wanted && !self.excluded.iter().any(|glob| glob.matches(text))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn admit(patterns: &[&str], text: &str) -> bool {
        let mut list = Patterns::default();
        for pattern in patterns {
            list.add(pattern).unwrap();
        }
        list.admit(text)
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

    /// Fails when a later pattern takes back an exclusion, or when exclusions alone let nothing through.
    #[test]
    fn an_exclusion_counts_wherever_it_stands() {
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
    fn what_can_match_nothing_is_no_pattern() {
        assert_eq!(Glob::parse(""), Err(GlobError::Empty));
        assert_eq!(Patterns::default().add("!"), Err(GlobError::Empty));
        assert_eq!(Glob::parse(&"a".repeat(256)), Err(GlobError::TooLong));
        assert_eq!(Glob::parse("a\n"), Err(GlobError::Character));
        assert_eq!(Glob::parse("\u{e4}"), Err(GlobError::Character));
    }

    /// The plain definition, exponential and obviously right.
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
            let glob = Glob::parse(&pattern).unwrap();
            prop_assert_eq!(glob.matches(&text), slow(pattern.as_bytes(), text.as_bytes()));
        }
    }
}

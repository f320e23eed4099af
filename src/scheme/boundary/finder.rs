//! Analysis of a template: finds values whose end is ambiguous.

use crate::scheme::boundary::{BodyStart, Forbidden, Listing, ValueRule};
use crate::scheme::spec::{
    Family, Part, Place, SignMethod, Spec, Template, TimeUnit, TimestampSpec,
};

/// One part of the template, including parts inside groups.
struct Token<'t> {
    part: &'t Part,
    is_optional: bool,
}

/// One side of a part: the adjacent literal text, and the next part that is not a literal.
struct Side<'t> {
    literal: &'t str,
    next: Option<&'t Part>,
}

/// Analysis of one template; each method derives a kind of rule.
pub(super) struct Finder<'t> {
    spec: &'t Spec,
    tokens: Vec<Token<'t>>,
    time: Option<&'t TimestampSpec>,
    is_hash: bool,
    /// The provider file itself states which values must not contain the delimiter.
    has_own_rules: bool,
}

impl<'t> Finder<'t> {
    /// Flattens the template: parts of groups become optional tokens.
    pub(super) fn new(spec: &'t Spec, template: &'t Template) -> Self {
        let mut tokens = Vec::new();
        for part in &template.parts {
            match part {
                Part::Group(parts) => tokens.extend(parts.iter().map(|part| Token {
                    part,
                    is_optional: true,
                })),
                part => tokens.push(Token {
                    part,
                    is_optional: false,
                }),
            }
        }
        let (time, is_hash, has_own_rules) = match &spec.family {
            Family::Hmac(family) => (family.timestamp.as_ref(), false, false),
            Family::Text(family) => {
                let is_hash = matches!(family.method, SignMethod::Hash(_));
                let has_own_rules = !family.require.is_empty();
                (family.timestamp.as_ref(), is_hash, has_own_rules)
            }
            _ => (None, false, false),
        };
        Self {
            spec,
            tokens,
            time,
            is_hash,
            has_own_rules,
        }
    }

    /// Returns the rules for the single values of the template.
    pub(super) fn values(&self) -> Vec<ValueRule> {
        let mut rules = Vec::new();
        for (at, token) in self.tokens.iter().enumerate() {
            let Some(place) = self.place(token.part) else {
                continue;
            };
            let mut add = |forbids| {
                let place = place.clone();
                rules.push(ValueRule { place, forbids });
            };
            // Padding of a digest begins with 0x80 and zeros, so text without control characters cannot contain it.
            if self.is_extendable() {
                add(Forbidden::Control);
            }
            let (after, before) = (self.after(at), self.before(at));
            if after.literal.is_empty()
                && after.next == Some(&Part::Timestamp)
                && matches!(self.body_start(), Some(BodyStart::Word(_)))
            {
                add(Forbidden::NotWord);
            }
            // A delimiter follows: the value must not contain it, or what would look like the next values.
            if !after.literal.is_empty() {
                match after.next {
                    _ if token.is_optional => add(Forbidden::Text(after.literal.to_owned())),
                    Some(Part::Timestamp) => {
                        let unit = self.time.map_or(TimeUnit::Seconds, |time| time.unit);
                        let end = self.literal_behind_time();
                        let text = after.literal.to_owned();
                        add(Forbidden::TimeBehind(text, unit, end));
                    }
                    // Before the body, a longer value only means a shorter body, which `needs_whole_body` covers.
                    Some(next) if is_open(next) && *next != Part::Body => {
                        add(Forbidden::Text(after.literal.to_owned()));
                    }
                    _ => {}
                }
            }
            // Between two values, the rule of the first one ensures that its end is clear.
            let is_first_free = |part: &Part| is_open(part) && self.place(part).is_none();
            if !before.literal.is_empty() && before.next.is_some_and(is_first_free) {
                add(Forbidden::Text(before.literal.to_owned()));
            }
        }
        rules.retain(|rule| !rule.is_void());
        rules
    }

    /// Returns the location of a part that is one value chosen by the client.
    fn place(&self, part: &Part) -> Option<Place> {
        match part {
            Part::Id => Some(Place::Header(self.spec.id_header()?.clone())),
            Part::Header(name) | Part::LowerHeader(name) => Some(Place::Header(name.clone())),
            Part::Query(name) | Part::LowerQuery(name) => Some(Place::Query(name.clone())),
            Part::Form(name) => Some(Place::Form(name.clone())),
            Part::Json(pointer) if !self.has_own_rules => Some(Place::Json(pointer.clone())),
            _ => None,
        }
    }

    fn after(&self, at: usize) -> Side<'t> {
        let rest = self.tokens.get(at + 1..).unwrap_or_default();
        side(rest.iter().map(|token| token.part))
    }

    fn before(&self, at: usize) -> Side<'t> {
        let rest = self.tokens.get(..at).unwrap_or_default();
        side(rest.iter().rev().map(|token| token.part))
    }

    fn literal_behind_time(&self) -> String {
        let mut tokens = self.tokens.iter();
        let at = tokens.position(|token| *token.part == Part::Timestamp);
        at.map_or("", |at| self.after(at).literal).to_owned()
    }

    /// Returns whether the text of a plain digest can be extended without the secret, because something else follows
    /// it.
    pub(super) fn is_extendable(&self) -> bool {
        let is_secret = |token: &Token<'_>| *token.part == Part::Secret;
        let is_fixed = |token: &Token<'_>| matches!(token.part, Part::Secret | Part::Literal(_));
        // With only literals after the secret, the text ends in a fixed way.
        let mut behind = self.tokens.iter().skip_while(|token| !is_secret(token));
        self.is_hash && !behind.all(is_fixed)
    }

    /// Returns the forbidden beginning of the body for texts such as `{id}.{timestamp}.{body}`.
    pub(super) fn body_start(&self) -> Option<BodyStart> {
        let mut tokens = self.tokens.iter();
        let at = tokens.position(|token| *token.part == Part::Timestamp)?;
        let (before, after) = (self.before(at), self.after(at));
        // A line break before the time ends a value that cannot contain one.
        let is_ended = before.literal.contains('\n') && before.next.is_some_and(is_line);
        if after.next != Some(&Part::Body) || !before.next.is_some_and(is_open) || is_ended {
            return None;
        }
        let unit = self.time?.unit;
        match (before.literal, after.literal) {
            (_, "") => Some(BodyStart::Word(unit)),
            ("", _) => None,
            (before, after) => Some(BodyStart::Delimited(before.into(), unit, after.into())),
        }
    }

    /// Returns whether only the body's own form shows where it begins or ends.
    pub(super) fn needs_whole_body(&self) -> bool {
        let mut tokens = self.tokens.iter();
        let Some(at) = tokens.position(|token| *token.part == Part::Body) else {
            return false;
        };
        let mut sides = [(self.before(at), true), (self.after(at), false)].into_iter();
        self.is_extendable() || sides.any(|(side, is_before)| self.is_adrift(&side, is_before))
    }

    fn is_adrift(&self, side: &Side<'_>, is_before: bool) -> bool {
        match side.next {
            Some(Part::Timestamp) => {
                let is_mixed = self
                    .time
                    .is_some_and(|time| time.unit == TimeUnit::SecondsOrMillis);
                (is_mixed && side.literal.is_empty()) || self.is_time_adrift(is_before)
            }
            Some(next) => is_open(next) && !(side.literal.contains('\n') && is_line(next)),
            None => false,
        }
    }

    /// Returns whether a value of any text is directly next to the timestamp.
    fn is_time_adrift(&self, is_before: bool) -> bool {
        let mut tokens = self.tokens.iter();
        let Some(at) = tokens.position(|token| *token.part == Part::Timestamp) else {
            return false;
        };
        let side = match is_before {
            true => self.before(at),
            false => self.after(at),
        };
        side.literal.is_empty() && side.next.is_some_and(is_open)
    }
}

/// Returns the literal text before the next part that is not a literal, and that part.
fn side<'t>(parts: impl Iterator<Item = &'t Part>) -> Side<'t> {
    let mut literal = "";
    for part in parts {
        match part {
            Part::Literal(text) if literal.is_empty() => literal = text,
            Part::Literal(_) => {}
            part => {
                let next = Some(part);
                return Side { literal, next };
            }
        }
    }
    Side {
        literal,
        next: None,
    }
}

/// Returns whether a part may contain any text, so that only its neighbors show where it ends.
fn is_open(part: &Part) -> bool {
    match part {
        Part::Body
        | Part::BodyOrForm(_)
        | Part::Id
        | Part::Header(_)
        | Part::LowerHeader(_)
        | Part::Query(_)
        | Part::LowerQuery(_)
        | Part::Form(_)
        | Part::Json(_)
        | Part::Entry(_)
        | Part::Path
        | Part::PathQuery
        | Part::Url
        | Part::UrlNoQuery
        | Part::UrlDecoded
        | Part::FormSorted
        | Part::UrlFormSorted
        | Part::FormOrDigest(_)
        | Part::ListedHeaders(_) => true,
        // These have a fixed form or length, or, like the secret, no client can move them.
        Part::Literal(_)
        | Part::Timestamp
        | Part::Method
        | Part::LowerMethod
        | Part::Host
        | Part::Secret
        | Part::BodyDigest(..)
        | Part::BodyJsonString
        | Part::Group(_) => false,
    }
}

/// Returns whether a part cannot contain a line break.
fn is_line(part: &Part) -> bool {
    matches!(
        part,
        Part::Id
            | Part::Header(_)
            | Part::LowerHeader(_)
            | Part::Path
            | Part::PathQuery
            | Part::Url
            | Part::UrlNoQuery
            | Part::UrlDecoded
            | Part::ListedHeaders(_)
    )
}

/// Returns the list of signed headers of a scheme, with the headers that the gate reads.
pub(super) fn listing(spec: &Spec, template: &Template) -> Option<Listing> {
    let mut header = None;
    template.visit(&mut |part| {
        if let Part::ListedHeaders(name) = part {
            header = Some(name.clone());
        }
    });
    let header = header?;
    let time = match &spec.family {
        Family::Hmac(family) => family.timestamp.as_ref(),
        Family::Text(family) => family.timestamp.as_ref(),
        _ => None,
    };
    let mut needed = vec![header.clone()];
    if let Some(Place::Header(name)) = time.map(|time| &time.place) {
        needed.push(name.clone());
    }
    // A type or id that the sender does not list is unsigned, as with other senders.
    Some(Listing { header, needed })
}

//! Analysis of a template: finds values whose end is ambiguous.

use crate::scheme::boundary::rule::{BodyStart, ForbiddenText, HeaderListing, ValueRule};
use crate::scheme::spec::{
    SchemeFamily, SchemeLocation, SchemeSpec, SignMethod, SignedTemplate, TemplatePart, TimeUnit,
    TimestampSpec,
};

/// One part of the template, including parts inside groups.
struct TemplateToken<'t> {
    part: &'t TemplatePart,
    is_optional: bool,
}

/// One side of a part: the adjacent literal text, and the next part that is not a literal.
struct PartSide<'t> {
    literal: &'t str,
    next: Option<&'t TemplatePart>,
}

/// Analysis of one template; each method derives a kind of rule.
pub(super) struct BoundaryFinder<'t> {
    spec: &'t SchemeSpec,
    tokens: Vec<TemplateToken<'t>>,
    time: Option<&'t TimestampSpec>,
    is_hash: bool,
    /// The provider file itself states which values must not contain the delimiter.
    has_own_rules: bool,
}

impl<'t> BoundaryFinder<'t> {
    /// Flattens the template: parts of groups become optional tokens.
    pub(super) fn new(spec: &'t SchemeSpec, template: &'t SignedTemplate) -> Self {
        let mut tokens = Vec::new();
        for part in &template.parts {
            match part {
                TemplatePart::Group(parts) => {
                    tokens.extend(parts.iter().map(|part| TemplateToken {
                        part,
                        is_optional: true,
                    }))
                }
                part => tokens.push(TemplateToken {
                    part,
                    is_optional: false,
                }),
            }
        }
        let (time, is_hash, has_own_rules) = match &spec.family {
            SchemeFamily::Hmac(family) => (family.timestamp.as_ref(), false, false),
            SchemeFamily::Text(family) => {
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
            let Some(place) = self.client_location(token.part) else {
                continue;
            };
            let mut add = |forbids| {
                let place = place.clone();
                rules.push(ValueRule {
                    location: place,
                    is_id: *token.part == TemplatePart::Id,
                    forbids,
                });
            };
            // Padding of a digest begins with 0x80 and zeros, so text without control characters cannot contain it.
            if self.is_extendable() {
                add(ForbiddenText::Control);
            }
            let (after, before) = (self.after(at), self.before(at));
            if after.literal.is_empty()
                && after.next == Some(&TemplatePart::Timestamp)
                && matches!(self.body_start(), Some(BodyStart::Word(_)))
            {
                add(ForbiddenText::NotWord);
            }
            // A delimiter follows: the value must not contain it, or what would look like the next values.
            if !after.literal.is_empty() {
                match after.next {
                    _ if token.is_optional => add(ForbiddenText::Text(after.literal.to_owned())),
                    Some(TemplatePart::Timestamp) => {
                        let unit = self.time.map_or(TimeUnit::Seconds, |time| time.unit);
                        let end = self.literal_behind_time();
                        let text = after.literal.to_owned();
                        add(ForbiddenText::TimeBehind(text, unit, end));
                    }
                    // Before the body, a longer value only means a shorter body, which `needs_whole_body` covers.
                    Some(next) if is_open(next) && *next != TemplatePart::Body => {
                        add(ForbiddenText::Text(after.literal.to_owned()));
                    }
                    _ => {}
                }
            }
            // Between two values, the rule of the first one ensures that its end is clear.
            let is_first_free =
                |part: &TemplatePart| is_open(part) && self.client_location(part).is_none();
            if !before.literal.is_empty() && before.next.is_some_and(is_first_free) {
                add(ForbiddenText::Text(before.literal.to_owned()));
            }
        }
        rules.retain(|rule| !rule.is_void());
        rules
    }

    /// Returns the location of a part that is one value chosen by the client.
    fn client_location(&self, part: &TemplatePart) -> Option<SchemeLocation> {
        match part {
            TemplatePart::Id => Some(SchemeLocation::Header(self.spec.id_header()?.clone())),
            TemplatePart::Header(name) | TemplatePart::LowerHeader(name) => {
                Some(SchemeLocation::Header(name.clone()))
            }
            TemplatePart::Query(name) | TemplatePart::LowerQuery(name) => {
                Some(SchemeLocation::Query(name.clone()))
            }
            TemplatePart::Form(name) => Some(SchemeLocation::Form(name.clone())),
            TemplatePart::Json(pointer) if !self.has_own_rules => {
                Some(SchemeLocation::Json(pointer.clone()))
            }
            _ => None,
        }
    }

    fn after(&self, at: usize) -> PartSide<'t> {
        let rest = self.tokens.get(at + 1..).unwrap_or_default();
        side(rest.iter().map(|token| token.part))
    }

    fn before(&self, at: usize) -> PartSide<'t> {
        let rest = self.tokens.get(..at).unwrap_or_default();
        side(rest.iter().rev().map(|token| token.part))
    }

    fn literal_behind_time(&self) -> String {
        let mut tokens = self.tokens.iter();
        let at = tokens.position(|token| *token.part == TemplatePart::Timestamp);
        at.map_or("", |at| self.after(at).literal).to_owned()
    }

    /// Returns whether the text of a plain digest can be extended without the secret, because something else follows
    /// it.
    pub(super) fn is_extendable(&self) -> bool {
        let is_secret = |token: &TemplateToken<'_>| *token.part == TemplatePart::Secret;
        let is_fixed = |token: &TemplateToken<'_>| {
            matches!(token.part, TemplatePart::Secret | TemplatePart::Literal(_))
        };
        // With only literals after the secret, the text ends in a fixed way.
        let mut behind = self.tokens.iter().skip_while(|token| !is_secret(token));
        self.is_hash && !behind.all(is_fixed)
    }

    /// Returns the forbidden beginning of the body for texts such as `{id}.{timestamp}.{body}`.
    pub(super) fn body_start(&self) -> Option<BodyStart> {
        let mut tokens = self.tokens.iter();
        let at = tokens.position(|token| *token.part == TemplatePart::Timestamp)?;
        let (before, after) = (self.before(at), self.after(at));
        // A line break before the time ends a value that cannot contain one.
        let is_ended = before.literal.contains('\n') && before.next.is_some_and(is_line);
        if after.next != Some(&TemplatePart::Body) || !before.next.is_some_and(is_open) || is_ended
        {
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
        let Some(at) = tokens.position(|token| *token.part == TemplatePart::Body) else {
            return false;
        };
        let mut sides = [(self.before(at), true), (self.after(at), false)].into_iter();
        self.is_extendable() || sides.any(|(side, is_before)| self.is_adrift(&side, is_before))
    }

    fn is_adrift(&self, side: &PartSide<'_>, is_before: bool) -> bool {
        match side.next {
            Some(TemplatePart::Timestamp) => {
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
        let Some(at) = tokens.position(|token| *token.part == TemplatePart::Timestamp) else {
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
fn side<'t>(parts: impl Iterator<Item = &'t TemplatePart>) -> PartSide<'t> {
    let mut literal = "";
    for part in parts {
        match part {
            TemplatePart::Literal(text) if literal.is_empty() => literal = text,
            // A second literal is beyond the edge of a group; only the nearer one is adjacent.
            TemplatePart::Literal(_) => {}
            part => {
                let next = Some(part);
                return PartSide { literal, next };
            }
        }
    }
    PartSide {
        literal,
        next: None,
    }
}

/// Returns whether a part may contain any text, so that only its neighbors show where it ends.
fn is_open(part: &TemplatePart) -> bool {
    match part {
        TemplatePart::Body
        | TemplatePart::BodyOrForm(_)
        | TemplatePart::Id
        | TemplatePart::Header(_)
        | TemplatePart::LowerHeader(_)
        | TemplatePart::Query(_)
        | TemplatePart::LowerQuery(_)
        | TemplatePart::Form(_)
        | TemplatePart::Json(_)
        | TemplatePart::Entry(_)
        | TemplatePart::Path
        | TemplatePart::PathQuery
        | TemplatePart::Url
        | TemplatePart::UrlNoQuery
        | TemplatePart::UrlDecoded
        | TemplatePart::FormSorted
        | TemplatePart::UrlFormSorted
        | TemplatePart::FormOrDigest(_)
        | TemplatePart::ListedHeaders(_) => true,
        // These have a fixed form or length, or, like the secret, no client can move them.
        TemplatePart::Literal(_)
        | TemplatePart::Timestamp
        | TemplatePart::Method
        | TemplatePart::LowerMethod
        | TemplatePart::Host
        | TemplatePart::Secret
        | TemplatePart::BodyDigest(..)
        | TemplatePart::BodyJsonString
        | TemplatePart::Group(_) => false,
    }
}

/// Returns whether a part cannot contain a line break.
fn is_line(part: &TemplatePart) -> bool {
    matches!(
        part,
        TemplatePart::Id
            | TemplatePart::Header(_)
            | TemplatePart::LowerHeader(_)
            | TemplatePart::Path
            | TemplatePart::PathQuery
            | TemplatePart::Url
            | TemplatePart::UrlNoQuery
            | TemplatePart::UrlDecoded
            | TemplatePart::ListedHeaders(_)
    )
}

/// Returns the list of signed headers of a scheme, with the headers that the gate reads.
pub(super) fn listing(spec: &SchemeSpec, template: &SignedTemplate) -> Option<HeaderListing> {
    let mut header = None;
    template.visit(&mut |part| {
        if let TemplatePart::ListedHeaders(name) = part {
            header = Some(name.clone());
        }
    });
    let header = header?;
    let time = match &spec.family {
        SchemeFamily::Hmac(family) => family.timestamp.as_ref(),
        SchemeFamily::Text(family) => family.timestamp.as_ref(),
        _ => None,
    };
    let mut needed = vec![header.clone()];
    if let Some(SchemeLocation::Header(name)) = time.map(|time| &time.location) {
        needed.push(name.clone());
    }
    // A type or id that the sender does not list is unsigned, as with other senders.
    Some(HeaderListing { header, needed })
}

//! Warnings about filters that depend on values the sender does not sign.
//!
//! A client can send a captured request again with another such value, for example as an event of another type, which
//! then passes a filter that the original type would not pass.

use hookgate_verify::document::key::KeyDefinition;
use hookgate_verify::document::table::ValueFault;
use hookgate_verify::scheme::spec::{FieldLocation, SchemeFamily, SchemeSpec, TemplatePart};

use crate::config::scheme_origin::SchemeOrigin;
use crate::criteria::when::WhenExpression;

/// Returns the fields that the signature does not cover. For a shared token it returns an empty list: the token covers
/// nothing, and a client that has seen it can write whole requests.
pub(super) fn of_fields(fields: &[FieldLocation], spec: &SchemeSpec) -> Vec<String> {
    if matches!(spec.family, SchemeFamily::Token(_)) {
        return Vec::new();
    }
    let loose = fields.iter().filter(|field| !spec.signs_field(field));
    loose.map(ToString::to_string).collect()
}

/// Returns the parts that a condition names and the signature does not cover.
pub(super) fn of_condition(when: &WhenExpression, spec: &SchemeSpec) -> Vec<String> {
    if matches!(spec.family, SchemeFamily::Token(_)) {
        return Vec::new();
    }
    let mut loose = Vec::new();
    if when.names("event") {
        let fields = [&spec.event_type, &spec.version];
        fields
            .iter()
            .for_each(|fields| loose.extend(of_fields(fields, spec)));
    }
    let covers = |is_such: fn(&TemplatePart) -> bool| {
        let template = spec.template();
        template.is_some_and(|template| template.any(&is_such))
    };
    // A signed list of header names covers the headers; any other template covers at most single ones.
    if when.names("headers") && !covers(|part| matches!(part, TemplatePart::ListedHeaders(_))) {
        loose.push("`headers`".to_owned());
    }
    // `{path}` and `{url_no_query}` are absent on purpose: their texts end before the query.
    let is_query = |part: &TemplatePart| {
        matches!(
            part,
            TemplatePart::PathQuery
                | TemplatePart::Url
                | TemplatePart::UrlDecoded
                | TemplatePart::UrlFormSorted
                | TemplatePart::Query(_)
        )
    };
    if when.names("query") && !covers(is_query) {
        loose.push("`query`".to_owned());
    }
    // Without a template the scheme has rules of its own for the body, so it is not judged here.
    if when.names("body") && !spec.signs_body() && spec.template().is_some() {
        loose.push("`body`".to_owned());
    }
    loose
}

/// Returns the warning; `None` if the signature covers everything.
pub(super) fn fault(
    key: &KeyDefinition,
    loose: &[String],
    origin: &SchemeOrigin,
) -> Option<ValueFault> {
    if loose.is_empty() {
        return None;
    }
    let sender = match &origin.provider {
        Some(provider) => provider.name.as_str(),
        None => "the sender",
    };
    let places = loose.join(" and ");
    let message = format!(
        "`{}` depends on {places}, which {sender} does not sign",
        key.name
    );
    let help = match origin.spec.signs_body() {
        true => {
            "a captured request can be sent again with another value; decide in the app by the body, or use `when` with `body`"
        }
        false => {
            "a captured request can be sent again with another value; query the sender's API in the app"
        }
    };
    Some(ValueFault::new(message, help))
}

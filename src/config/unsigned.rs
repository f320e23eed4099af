//! Warns where a route's filters rest on values that the sender does not sign.
//!
//! A captured request can be sent again with another such value: as an event of another type, which then passes a filter that
//! its own type would not.

use crate::config::verification::Origin;
use crate::criteria::when::When;
use crate::document::key::Key;
use crate::document::table::Fault;
use crate::scheme::spec::{Family, Field, Part, Spec};

/// Returns the fields that the signature does not cover. A shared token covers nothing, and who has seen one can write whole
/// requests: there is nothing to say about single fields.
pub(super) fn of_fields(fields: &[Field], spec: &Spec) -> Vec<String> {
    if matches!(spec.family, Family::Token(_)) {
        return Vec::new();
    }
    let loose = fields.iter().filter(|field| !spec.signs_field(field));
    loose.map(words).collect()
}

/// Returns what a condition names and the signature does not cover.
pub(super) fn of_condition(when: &When, spec: &Spec) -> Vec<String> {
    if matches!(spec.family, Family::Token(_)) {
        return Vec::new();
    }
    let mut loose = Vec::new();
    if when.names("event") {
        let fields = [&spec.event_type, &spec.version];
        fields
            .iter()
            .for_each(|fields| loose.extend(of_fields(fields, spec)));
    }
    let covers = |is_such: fn(&Part) -> bool| {
        let template = spec.template();
        template.is_some_and(|template| template.any(&is_such))
    };
    if when.names("headers") && !covers(|part| matches!(part, Part::ListedHeaders(_))) {
        loose.push("`headers`".to_owned());
    }
    let is_query = |part: &Part| {
        matches!(
            part,
            Part::PathQuery | Part::Url | Part::UrlDecoded | Part::UrlFormSorted | Part::Query(_)
        )
    };
    if when.names("query") && !covers(is_query) {
        loose.push("`query`".to_owned());
    }
    if when.names("body") && !spec.signs_body() && spec.template().is_some() {
        loose.push("`body`".to_owned());
    }
    loose
}

/// Makes the warning; `None` where all is signed.
pub(super) fn fault(key: &Key, loose: &[String], origin: &Origin) -> Option<Fault> {
    if loose.is_empty() {
        return None;
    }
    let sender = match &origin.provider {
        Some(provider) => provider.name.as_str(),
        None => "the sender",
    };
    let places = loose.join(" and ");
    let message = format!(
        "`{}` rests on {places}, which {sender} does not sign",
        key.name
    );
    let help = match origin.spec.signs_body() {
        true => {
            "a captured request passes again with another value there; let the app decide by the body, or use `when` with `body`"
        }
        false => {
            "a captured request passes again with another value there; let the app ask the sender's API"
        }
    };
    Some(Fault::new(message, help))
}

fn words(field: &Field) -> String {
    match field {
        Field::Header(name) => format!("the header `{name}`"),
        Field::Json(pointer) => format!("`/{}` of the body", pointer.join("/")),
        Field::FormJson(..) => field.to_string(),
        Field::Form(name) => format!("the form field `{name}`"),
        Field::Query(name) => format!("the query parameter `{name}`"),
        Field::Claim(name) => format!("the claim `{name}`"),
    }
}

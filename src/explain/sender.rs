//! Hypotheses about the sender: a request for another route, or of another provider.

use std::borrow::Cow;

use hookgate_verify::providers::{self, Provider};

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::head;
use crate::explain::trial::TrialBudget;
use crate::gate::reject::Reject;

/// Maximum number of providers that are named if several use the same headers.
const MAX_NAMED: usize = 3;

/// Header names that many providers use, so they identify no provider.
const GENERIC: [&str; 12] = [
    "authorization",
    "content-digest",
    "content-type",
    "date",
    "digest",
    "signature",
    "timestamp",
    "user-agent",
    "x-hmac",
    "x-signature",
    "x-timestamp",
    "x-webhook-signature",
];

/// Finds another route or provider under which the request verifies.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let mut others = case.others();
    let other = others.find(|other| {
        // The whole route: its scheme, secrets and `public_url`.
        let trial = case.base.clone().of_route(other);
        hunt.passes(&trial)
    });
    if let Some(other) = other {
        return Some(RefusalCause::WrongRoute.proven(other.name.as_str()));
    }
    let own = case.route.provider.as_ref().map(|own| own.id.as_str());
    let all = providers::all().iter();
    let all = all.filter(|one| Some(one.id.as_str()) != own && !one.is_local());
    // The route's own secrets are kept: a wrong `provider` with the right secret is a common mistake.
    let passing = all.filter(|one| {
        let trial = case.base.varied(|trial| {
            trial.spec = Cow::Borrowed(&one.scheme);
            // Providers retry with old signatures for different times; the route's tolerance may be too short for this
            // one.
            trial.tolerance = trial.tolerance.max(one.tolerance);
        });
        hunt.passes(&trial)
    });
    let passing: Vec<&Provider> = passing.map(|one| &**one).collect();
    let found = best(case, &passing);
    (!found.is_empty()).then(|| RefusalCause::OtherProvider.proven(&names(&found)))
}

/// Guesses the provider by its headers, if those of the route's provider are missing.
pub(super) fn guess(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    if !matches!(
        case.reject,
        Reject::MissingMaterial { .. } | Reject::MalformedMaterial { .. }
    ) {
        return None;
    }
    let own = case.route.scheme.headers();
    let own_id = case.route.provider.as_ref().map(|own| own.id.as_str());
    let all = providers::all().iter().map(|one| &**one);
    let telling = all.filter(|one| {
        let names = one.scheme.headers();
        // The first header of a scheme is that of its signature, which identifies a provider best.
        let signature = names.first().filter(|name| !own.contains(name));
        Some(one.id.as_str()) != own_id
            && signature
                .is_some_and(|name| !GENERIC.contains(&name.as_str()) && head::has(case, name))
    });
    let telling: Vec<&Provider> = telling.collect();
    let found = best(case, &telling);
    (!found.is_empty()).then(|| RefusalCause::LooksLikeOtherProvider.likely(&names(&found)))
}

/// Returns the providers whose headers match best.
fn best<'p>(case: &RefusalCase<'_>, providers: &[&'p Provider]) -> Vec<&'p Provider> {
    let top = providers.iter().map(|one| score(case, one)).max();
    let best = providers.iter().filter(|one| Some(score(case, one)) == top);
    best.copied().collect()
}

/// Scores how well the headers of a provider match: the percentage that is present, then their number.
fn score(case: &RefusalCase<'_>, provider: &Provider) -> (usize, usize) {
    let names = provider.scheme.headers();
    let present = names.iter().filter(|name| head::has(case, name)).count();
    // Percentage first: a provider with one of one header fits better than one with two of four.
    (present * 100 / names.len().max(1), present)
}

/// Joins names and ids of the first providers for a sentence.
fn names(providers: &[&Provider]) -> String {
    let names = providers.iter().take(MAX_NAMED);
    let names: Vec<String> = names
        .map(|one| format!("{} (`{}`)", one.name, one.id))
        .collect();
    names.join(" or ")
}

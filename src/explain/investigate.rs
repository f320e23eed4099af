//! Investigation of one reject: runs all hypotheses in a fixed order.
//!
//! Each subject (`time`, `secret`, `head`, ...) offers `find`, which proves a cause by the real verification, and some
//! offer `guess`, which names a likely cause from the form of the request.

use crate::explain::case::RefusalCase;
use crate::explain::cause::CauseFinding;
use crate::explain::trial::TrialBudget;
use crate::explain::{body, head, secret, sender, text, time, url};

/// Tries each hypothesis in turn, and falls back to the first guess if no hypothesis is proven.
pub(super) fn investigate(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    type CauseSearch = fn(&RefusalCase<'_>, &mut TrialBudget) -> Option<CauseFinding>;
    type CauseGuess = fn(&RefusalCase<'_>) -> Option<CauseFinding>;
    let finds: [CauseSearch; 7] = [
        time::find,
        secret::find,
        head::find,
        url::find,
        body::find,
        text::find,
        sender::find,
    ];
    let guesses: [CauseGuess; 4] = [sender::guess, time::guess, head::guess, body::guess];
    // No try can succeed over the start of a body, if the body is signed.
    let is_whole = !case.request.is_cut || !case.route.scheme.signs_body();
    let found = is_whole.then(|| finds.iter().find_map(|find| find(case, hunt)));
    found
        .flatten()
        .or_else(|| guesses.iter().find_map(|guess| guess(case)))
}

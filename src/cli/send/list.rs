//! `send --list`: payloads by provider and type, then the providers without payloads.

use hookgate_verify::providers;
use serde_json::json;

use crate::cli::output::{lines, list, print, print_json};
use crate::testing::{can_send, payloads};

/// Prints the payloads of one provider, or of all.
pub(super) fn print_list(provider: Option<&str>, is_json: bool) {
    let is_wanted = |id: &str| provider.is_none_or(|wanted| wanted == id);
    let payloads: Vec<_> = payloads::all()
        .filter(|one| is_wanted(one.provider))
        .collect();
    let all = providers::all().iter();
    let others = all.filter(|one| can_send(one) && is_wanted(&one.id));
    // Providers that can be signed for, but have no payload: their events are generated from the scheme.
    let has_none = |id: &str| payloads.iter().all(|payload| payload.provider != id);
    let others: Vec<&str> = others
        .map(|one| one.id.as_str())
        .filter(|id| has_none(id))
        .collect();
    if is_json {
        let payloads = payloads.iter().map(
            |one| json!({ "provider": one.provider, "type": one.event_type, "about": one.about }),
        );
        let payloads: Vec<_> = payloads.collect();
        print_json(&json!({ "payloads": payloads, "others": others }));
        return;
    }
    let mut table = list(&["PROVIDER", "TYPE", "WHAT HAPPENED"]);
    for payload in &payloads {
        table.add_row([payload.provider, payload.event_type, payload.about]);
    }
    print(&lines(table));
    if !others.is_empty() {
        print(&format!(
            "\nThese providers accept any `--type`; the body is a small generated one or `--data`: {}\n",
            others.join(", ")
        ));
    }
}

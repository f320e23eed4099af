//! Which events and deliveries commands mean: the filters of the admin API as options.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use crate::cli::door::Door;
use crate::model::delivery::DeliveryState;

/// What `--since` and `--before` take.
const TIMES: &str = "2h, 7d, 2026-11-25, 2026-11-25T08:30:00Z, or seconds since the epoch";

fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::word))
}

/// What lists of the parts of routes take.
#[derive(Args)]
pub(super) struct ByRoute {
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
    /// Only those of this route
    #[arg(long, value_name = "ROUTE")]
    pub(super) route: Option<String>,
    #[command(flatten)]
    pub(super) door: Door,
}

/// Above the filters of events in a help.
pub(super) const EVENTS: &str = "Which events (all that is said has to hold)";

/// Which events.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = EVENTS)]
pub(super) struct EventFilters {
    /// Of this route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// With this id of the provider, or this `webhook-id`
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Of this type; `*` stands for anything: `--type 'invoice.*'`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// With a delivery in this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    #[arg(long, value_name = "TIME", help = format!("Received since then: {TIMES}"))]
    since: Option<String>,
    /// Received before then, in the same forms
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

/// Which deliveries.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which deliveries (all that is said has to hold)")]
pub(super) struct DeliveryFilters {
    /// Of this route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// For this destination; `ROUTE/NAME`, or NAME beside `--route`
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Of events of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Of this event, by its id in the inbox
    #[arg(long, value_name = "UID")]
    event: Option<String>,
    /// Of events with this id of the provider, or this `webhook-id`
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Of events of this type; `*` stands for anything: `--type 'invoice.*'`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    /// Only replays
    #[arg(long, conflicts_with = "no_replays")]
    replays: bool,
    /// No replays
    #[arg(long)]
    no_replays: bool,
    #[arg(long, value_name = "TIME", help = format!("Of events received since then: {TIMES}"))]
    since: Option<String>,
    /// Of events received before then, in the same forms
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

/// Name and value of each filter that is there.
pub(super) type Pairs = Vec<(&'static str, String)>;

fn present<const N: usize>(fields: [(&'static str, Option<&String>); N]) -> Pairs {
    let fields = fields.into_iter();
    let fields = fields.filter_map(|(name, value)| Some((name, value?.clone())));
    fields.collect()
}

impl EventFilters {
    pub(super) fn pairs(&self) -> Pairs {
        present([
            ("route", self.route.as_ref()),
            ("provider", self.provider.as_ref()),
            ("id", self.id.as_ref()),
            ("type", self.event_type.as_ref()),
            ("state", self.state.as_ref()),
            ("since", self.since.as_ref()),
            ("before", self.before.as_ref()),
        ])
    }
}

impl DeliveryFilters {
    pub(super) fn pairs(&self) -> Pairs {
        let (route, destination) = match self.destination.as_deref() {
            Some(destination) => match destination.split_once('/') {
                Some((route, name)) => (Some(route.to_owned()), Some(name.to_owned())),
                None => (self.route.clone(), Some(destination.to_owned())),
            },
            None => (self.route.clone(), None),
        };
        let is_replay = (self.replays || self.no_replays).then(|| self.replays.to_string());
        present([
            ("route", route.as_ref()),
            ("destination", destination.as_ref()),
            ("provider", self.provider.as_ref()),
            ("event", self.event.as_ref()),
            ("id", self.id.as_ref()),
            ("type", self.event_type.as_ref()),
            ("state", self.state.as_ref()),
            ("replay", is_replay.as_ref()),
            ("since", self.since.as_ref()),
            ("before", self.before.as_ref()),
        ])
    }

    /// The document of a request that changes many.
    pub(super) fn many(&self, is_all: bool, is_dry_run: bool) -> Value {
        let mut search = Map::new();
        for (name, value) in self.pairs() {
            let value = match name {
                "replay" => Value::from(value == "true"),
                _ => Value::from(value),
            };
            search.insert(name.to_owned(), value);
        }
        serde_json::json!({ "search": search, "all": is_all, "dry_run": is_dry_run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_search() {
        let filters = DeliveryFilters {
            route: Some("other".to_owned()),
            destination: Some("github/ci".to_owned()),
            event_type: Some("push.*".to_owned()),
            no_replays: true,
            ..DeliveryFilters::default()
        };
        let expected = serde_json::json!({
            "search": { "route": "github", "destination": "ci", "type": "push.*", "replay": false },
            "all": false,
            "dry_run": true,
        });
        assert_eq!(filters.many(false, true), expected);
        assert_eq!(DeliveryFilters::default().pairs(), Vec::new());
    }
}

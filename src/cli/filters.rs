//! The filters of the admin API as command-line options.

use clap::Args;
use clap::builder::PossibleValuesParser;
use serde_json::{Map, Value};

use crate::cli::admin_options::AdminOptions;
use crate::model::delivery::DeliveryState;

/// Forms of a time that `--since` and `--before` accept.
const TIMES: &str = "2h, 7d, 2026-11-25, 2026-11-25T08:30:00Z, or seconds since the epoch";

fn states() -> PossibleValuesParser {
    PossibleValuesParser::new(DeliveryState::ALL.map(DeliveryState::word))
}

/// Options of lists that are filtered by route only.
#[derive(Args)]
pub(super) struct RouteListArguments {
    /// Print one JSON document instead of text
    #[arg(long)]
    pub(super) json: bool,
    /// Only this route
    #[arg(long, value_name = "ROUTE")]
    pub(super) route: Option<String>,
    #[command(flatten)]
    pub(super) admin: AdminOptions,
}

/// Heading above the filters of events in a help text.
pub(super) const EVENTS: &str = "Filters for events (all must match)";

/// Filters for events. An event must match all of them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = EVENTS)]
pub(super) struct EventFilters {
    /// Name of the route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Id of the provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Event id that the provider assigned, or the `webhook-id`
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Event type; `*` matches any text: `--type 'invoice.*'`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// State of at least one of its deliveries
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    #[arg(long, value_name = "TIME", help = format!("Received at or after this time: {TIMES}"))]
    since: Option<String>,
    /// Received before this time, in the same forms
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

/// Filters for deliveries. A delivery must match all of them.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters for deliveries (all must match)")]
pub(super) struct DeliveryFilters {
    /// Name of the route
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// Destination: `ROUTE/NAME`, or NAME together with `--route`
    #[arg(long, value_name = "DESTINATION")]
    destination: Option<String>,
    /// Id of the provider
    #[arg(long, value_name = "PROVIDER")]
    provider: Option<String>,
    /// Event, by its id in the inbox
    #[arg(long, value_name = "UID")]
    event: Option<String>,
    /// Event id that the provider assigned, or the `webhook-id`
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Event type; `*` matches any text: `--type 'invoice.*'`
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// State of the delivery
    #[arg(long, value_name = "STATE", value_parser = states())]
    state: Option<String>,
    /// Only replays
    #[arg(long, conflicts_with = "no_replays")]
    replays: bool,
    /// Without replays
    #[arg(long)]
    no_replays: bool,
    #[arg(long, value_name = "TIME", help = format!("Event received at or after this time: {TIMES}"))]
    since: Option<String>,
    /// Event received before this time, in the same forms
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

/// Names and values of the filters that are set, as query parameters of the admin API.
pub(super) type FilterPairs = Vec<(&'static str, String)>;

fn present<const N: usize>(fields: [(&'static str, Option<&String>); N]) -> FilterPairs {
    let fields = fields.into_iter();
    let fields = fields.filter_map(|(name, value)| Some((name, value?.clone())));
    fields.collect()
}

impl EventFilters {
    pub(super) fn pairs(&self) -> FilterPairs {
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
    pub(super) fn pairs(&self) -> FilterPairs {
        let (route, destination) = match self.destination.as_deref() {
            // The route in `ROUTE/NAME` wins over `--route`, since it is more specific.
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

    /// Builds the document of a request that changes or counts many deliveries.
    pub(super) fn many(&self, is_all: bool, is_dry_run: bool) -> Value {
        let mut search = Map::new();
        for (name, value) in self.pairs() {
            let value = match name {
                // The document has a boolean where a query has text.
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

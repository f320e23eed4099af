//! The list of all resources of the admin API.
//!
//! Each row has the path, the handler and the role that it needs, so no handler can be mounted without its role. The
//! router, the access control, the audit log, the OpenAPI document and the reference come from this list, and the
//! console and the commands take their paths from it.

use utoipa_axum::routes;

use crate::admin::api_resource::{ApiResource, change, read};
use crate::admin::{
    alerts, audit, deliveries, destinations, erase, events, history, nodes, providers, rejections,
    replays, requests, running_config, status, tail, test_event, verdicts,
};

/// All resources, in the order in which they are mounted.
static RESOURCES: &[&ApiResource] = &[
    &LIST_EVENTS,
    &TAIL_EVENTS,
    &ERASE_EVENTS,
    &SHOW_EVENT,
    &SHOW_EVENT_BODY,
    &LIST_DELIVERIES,
    &RETRY_DELIVERIES,
    &CANCEL_DELIVERIES,
    &DISCARD_DELIVERIES,
    &SHOW_DELIVERY,
    &LIST_ATTEMPTS,
    &RETRY_DELIVERY,
    &CANCEL_DELIVERY,
    &DISCARD_DELIVERY,
    &LIST_DESTINATIONS,
    &PAUSE_DESTINATION,
    &RESUME_DESTINATION,
    &TEST_DESTINATION,
    &PAUSE_ROUTE,
    &RESUME_ROUTE,
    &LIST_REPLAYS,
    &BEGIN_REPLAY,
    &SHOW_REPLAY,
    &PAUSE_REPLAY,
    &RESUME_REPLAY,
    &SHOW_STORE,
    &SHOW_STATUS,
    &LIST_NODES,
    &LIST_ACTIONS,
    &LIST_ALERTS,
    &ACKNOWLEDGE_ALERT,
    &TEST_ALERTS,
    &TEST_ALERT_RECEIVER,
    &LIST_VERDICTS,
    &TAIL_VERDICTS,
    &SHOW_VERDICT,
    &LIST_ROUTES,
    &SHOW_ROUTE,
    &SHOW_ROUTE_HISTORY,
    &SHOW_ROUTE_PROMOTION,
    &LIST_SECRETS,
    &LIST_CERTIFICATES,
    &SHOW_CONFIG,
    &RELOAD_CONFIG,
    &LIST_PROVIDERS,
    &SHOW_PROVIDER,
    &LIST_REJECTIONS,
    &SHOW_REJECTION,
    &EXPLAIN_REJECTION,
    &CAPTURE_REQUEST,
];

/// Returns all resources of the API.
#[must_use]
pub fn all_resources() -> &'static [&'static ApiResource] {
    RESOURCES
}

pub(crate) static LIST_EVENTS: ApiResource = read(
    || routes!(events::list),
    "list_events",
    "events",
    "/api/v1/events",
);
pub(crate) static TAIL_EVENTS: ApiResource = read(
    || routes!(tail::tail),
    "tail_events",
    "events",
    "/api/v1/events/tail",
);
pub(crate) static ERASE_EVENTS: ApiResource = change(
    || routes!(erase::erase),
    "erase_events",
    "events",
    "/api/v1/events/erase",
);
pub(crate) static SHOW_EVENT: ApiResource = read(
    || routes!(events::show),
    "show_event",
    "events",
    "/api/v1/events/{uid}",
);
pub(crate) static SHOW_EVENT_BODY: ApiResource = read(
    || routes!(events::body),
    "show_event_body",
    "events",
    "/api/v1/events/{uid}/body",
)
.with_payload()
.audited();
pub(crate) static LIST_DELIVERIES: ApiResource = read(
    || routes!(deliveries::list),
    "list_deliveries",
    "deliveries",
    "/api/v1/deliveries",
);
pub(crate) static RETRY_DELIVERIES: ApiResource = change(
    || routes!(deliveries::retry_many),
    "retry_deliveries",
    "deliveries",
    "/api/v1/deliveries/retry",
);
pub(crate) static CANCEL_DELIVERIES: ApiResource = change(
    || routes!(deliveries::cancel_many),
    "cancel_deliveries",
    "deliveries",
    "/api/v1/deliveries/cancel",
);
pub(crate) static DISCARD_DELIVERIES: ApiResource = change(
    || routes!(deliveries::discard_many),
    "discard_deliveries",
    "deliveries",
    "/api/v1/deliveries/discard",
);
pub(crate) static SHOW_DELIVERY: ApiResource = read(
    || routes!(deliveries::show),
    "show_delivery",
    "deliveries",
    "/api/v1/deliveries/{id}",
);
pub(crate) static LIST_ATTEMPTS: ApiResource = read(
    || routes!(deliveries::attempts),
    "list_attempts",
    "deliveries",
    "/api/v1/deliveries/{id}/attempts",
);
pub(crate) static RETRY_DELIVERY: ApiResource = change(
    || routes!(deliveries::retry),
    "retry_delivery",
    "deliveries",
    "/api/v1/deliveries/{id}/retry",
);
pub(crate) static CANCEL_DELIVERY: ApiResource = change(
    || routes!(deliveries::cancel),
    "cancel_delivery",
    "deliveries",
    "/api/v1/deliveries/{id}/cancel",
);
pub(crate) static DISCARD_DELIVERY: ApiResource = change(
    || routes!(deliveries::discard),
    "discard_delivery",
    "deliveries",
    "/api/v1/deliveries/{id}/discard",
);
pub(crate) static LIST_DESTINATIONS: ApiResource = read(
    || routes!(destinations::list),
    "list_destinations",
    "destinations",
    "/api/v1/destinations",
);
pub(crate) static PAUSE_DESTINATION: ApiResource = change(
    || routes!(destinations::pause),
    "pause_destination",
    "destinations",
    "/api/v1/destinations/{route}/{name}/pause",
);
pub(crate) static RESUME_DESTINATION: ApiResource = change(
    || routes!(destinations::resume),
    "resume_destination",
    "destinations",
    "/api/v1/destinations/{route}/{name}/resume",
);
pub(crate) static TEST_DESTINATION: ApiResource = change(
    || routes!(test_event::send),
    "test_destination",
    "destinations",
    "/api/v1/destinations/{route}/{name}/test",
);
pub(crate) static PAUSE_ROUTE: ApiResource = change(
    || routes!(destinations::pause_route),
    "pause_route",
    "destinations",
    "/api/v1/routes/{route}/pause",
);
pub(crate) static RESUME_ROUTE: ApiResource = change(
    || routes!(destinations::resume_route),
    "resume_route",
    "destinations",
    "/api/v1/routes/{route}/resume",
);
pub(crate) static LIST_REPLAYS: ApiResource = read(
    || routes!(replays::list),
    "list_replays",
    "replays",
    "/api/v1/replays",
);
pub(crate) static BEGIN_REPLAY: ApiResource = change(
    || routes!(replays::begin),
    "begin_replay",
    "replays",
    "/api/v1/replays",
);
pub(crate) static SHOW_REPLAY: ApiResource = read(
    || routes!(replays::show),
    "show_replay",
    "replays",
    "/api/v1/replays/{id}",
);
pub(crate) static PAUSE_REPLAY: ApiResource = change(
    || routes!(replays::pause),
    "pause_replay",
    "replays",
    "/api/v1/replays/{id}/pause",
);
pub(crate) static RESUME_REPLAY: ApiResource = change(
    || routes!(replays::resume),
    "resume_replay",
    "replays",
    "/api/v1/replays/{id}/resume",
);
pub(crate) static SHOW_STORE: ApiResource = read(
    || routes!(status::store),
    "show_store",
    "gate",
    "/api/v1/store",
)
.for_whole_gate();
pub(crate) static SHOW_STATUS: ApiResource = read(
    || routes!(status::status),
    "show_status",
    "gate",
    "/api/v1/status",
);
pub(crate) static LIST_NODES: ApiResource = read(
    || routes!(nodes::list),
    "list_nodes",
    "gate",
    "/api/v1/nodes",
)
.for_whole_gate();
pub(crate) static LIST_ACTIONS: ApiResource = read(
    || routes!(audit::list),
    "list_actions",
    "gate",
    "/api/v1/audit",
)
.for_whole_gate()
.for_operators();
pub(crate) static LIST_ALERTS: ApiResource = read(
    || routes!(alerts::list),
    "list_alerts",
    "alerts",
    "/api/v1/alerts",
)
.for_whole_gate();
pub(crate) static ACKNOWLEDGE_ALERT: ApiResource = change(
    || routes!(alerts::acknowledge),
    "acknowledge_alert",
    "alerts",
    "/api/v1/alerts/{id}/acknowledge",
)
.for_whole_gate();
pub(crate) static TEST_ALERTS: ApiResource = change(
    || routes!(alerts::test_all),
    "test_alerts",
    "alerts",
    "/api/v1/alerts/test",
)
.for_whole_gate();
pub(crate) static TEST_ALERT_RECEIVER: ApiResource = change(
    || routes!(alerts::test_one),
    "test_alert_receiver",
    "alerts",
    "/api/v1/alerts/test/{receiver}",
)
.for_whole_gate();
pub(crate) static LIST_VERDICTS: ApiResource = read(
    || routes!(verdicts::list),
    "list_verdicts",
    "verdicts",
    "/api/v1/verdicts",
);
pub(crate) static TAIL_VERDICTS: ApiResource = read(
    || routes!(verdicts::tail),
    "tail_verdicts",
    "verdicts",
    "/api/v1/verdicts/tail",
);
pub(crate) static SHOW_VERDICT: ApiResource = read(
    || routes!(verdicts::show),
    "show_verdict",
    "verdicts",
    "/api/v1/verdicts/{request_id}",
);
pub(crate) static LIST_ROUTES: ApiResource = read(
    || routes!(running_config::routes),
    "list_routes",
    "config",
    "/api/v1/routes",
);
pub(crate) static SHOW_ROUTE: ApiResource = read(
    || routes!(running_config::route),
    "show_route",
    "config",
    "/api/v1/routes/{route}",
);
pub(crate) static SHOW_ROUTE_HISTORY: ApiResource = read(
    || routes!(history::show),
    "show_route_history",
    "config",
    "/api/v1/routes/{route}/history",
);
pub(crate) static SHOW_ROUTE_PROMOTION: ApiResource = read(
    || routes!(history::promotion),
    "show_route_promotion",
    "config",
    "/api/v1/routes/{route}/promotion",
);
pub(crate) static LIST_SECRETS: ApiResource = read(
    || routes!(history::secrets),
    "list_secrets",
    "config",
    "/api/v1/secrets",
);
pub(crate) static LIST_CERTIFICATES: ApiResource = read(
    || routes!(running_config::certificates),
    "list_certificates",
    "config",
    "/api/v1/certificates",
)
.for_whole_gate();
pub(crate) static SHOW_CONFIG: ApiResource = read(
    || routes!(running_config::config),
    "show_config",
    "config",
    "/api/v1/config",
)
.for_whole_gate();
pub(crate) static RELOAD_CONFIG: ApiResource = change(
    || routes!(running_config::reload),
    "reload_config",
    "config",
    "/api/v1/reload",
)
.for_whole_gate();
pub(crate) static LIST_PROVIDERS: ApiResource = read(
    || routes!(providers::list),
    "list_providers",
    "config",
    "/api/v1/providers",
);
pub(crate) static SHOW_PROVIDER: ApiResource = read(
    || routes!(providers::show),
    "show_provider",
    "config",
    "/api/v1/providers/{id}",
);
pub(crate) static LIST_REJECTIONS: ApiResource = read(
    || routes!(rejections::list),
    "list_rejections",
    "rejections",
    "/api/v1/rejections",
);
pub(crate) static SHOW_REJECTION: ApiResource = read(
    || routes!(rejections::show),
    "show_rejection",
    "rejections",
    "/api/v1/rejections/{request_id}",
);
pub(crate) static EXPLAIN_REJECTION: ApiResource = read(
    || routes!(rejections::explanation),
    "explain_rejection",
    "rejections",
    "/api/v1/rejections/{request_id}/explanation",
)
.with_payload()
.for_operators();
pub(crate) static CAPTURE_REQUEST: ApiResource = read(
    || routes!(requests::capture),
    "capture_request",
    "requests",
    "/api/v1/requests/{request_id}",
)
.with_payload()
.for_operators()
.audited();

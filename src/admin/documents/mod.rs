//! JSON shapes of the admin API, for its handlers and its clients (`cli`, `console`).
//!
//! They are separate from the types of `model` and `store`, so that a change on disk or in memory does not change the
//! API. A later version may add fields, but never removes or renames one. Times are RFC 3339 in UTC.

mod alerts;
mod audit;
mod deliveries;
mod destinations;
mod erase;
mod events;
mod history;
mod nodes;
mod rejections;
mod replays;
mod routes;
mod status;
mod values;
mod verdicts;

pub(crate) use crate::admin::documents::alerts::{
    AlertDocument, AlertList, AlertReceiverDocument, AlertTestDocument, AlertTestList,
};
pub(crate) use crate::admin::documents::audit::{AuditEntries, AuditEntry};
pub(crate) use crate::admin::documents::deliveries::{
    AttemptDocument, AttemptList, BulkChangeResult, DeliveryDetail, DeliveryDocument, DeliveryList,
};
pub(crate) use crate::admin::documents::destinations::{
    DestinationDocument, DestinationList, HealthDocument, TestEvent,
};
pub(crate) use crate::admin::documents::erase::EraseStep;
pub(crate) use crate::admin::documents::events::{
    BodySummary, EventDetail, EventDocument, EventList, HeaderDocument,
};
pub(crate) use crate::admin::documents::history::{
    HistoryDocument, IntervalDocument, PromotionDocument, ReasonCount, SecretUseDocument,
    SecretUseList,
};
pub(crate) use crate::admin::documents::nodes::{NodeDocument, NodeList};
pub(crate) use crate::admin::documents::rejections::{
    RejectionDetail, RejectionDocument, RejectionGroup, RejectionList,
};
pub(crate) use crate::admin::documents::replays::{
    ReplayCreated, ReplayDocument, ReplayList, ReplayState,
};
pub(crate) use crate::admin::documents::routes::{
    CertificateDocument, CertificateFailure, CertificateList, CheckedSecret, ProviderDetail,
    ProviderDocument, ProviderList, ReloadResult, RouteDestination, RouteDocument, RouteList,
};
pub(crate) use crate::admin::documents::status::{AttentionItem, StatusDocument, StoreStats};
pub(crate) use crate::admin::documents::values::DeliveryStateName;
pub(crate) use crate::admin::documents::values::{
    ApiTimestamp, DeliveryAction, ProblemDocument, RawBytes, StateCounts,
};
pub(crate) use crate::admin::documents::verdicts::{
    CheckOutcome, ReasonExplanation, StageTiming, VerdictDetail, VerdictDocument, VerdictList,
};
use crate::model::delivery::DeliveryState;

impl From<DeliveryStateName> for DeliveryState {
    fn from(state: DeliveryStateName) -> Self {
        match state {
            DeliveryStateName::Pending => Self::Pending,
            DeliveryStateName::InFlight => Self::InFlight,
            DeliveryStateName::Waiting => Self::Waiting,
            DeliveryStateName::Delivered => Self::Delivered,
            DeliveryStateName::Dead => Self::Dead,
            DeliveryStateName::Cancelled => Self::Cancelled,
        }
    }
}

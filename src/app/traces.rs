//! Conversion of `[telemetry]` to the settings of the trace exporter.

use std::time::Duration;

use crate::app::error::StartError;
use crate::config::model::TelemetrySection;
use crate::net::app_url::AppUrl;
use crate::net::client::{ClientError, OutgoingClient, PoolKey, PoolLimits};
use crate::record::otlp::TraceSettings;

/// Timeout of a request to the collector. Only the exporter waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the exporter's settings, with a connection pool of its own.
pub(super) fn settings(
    telemetry: &TelemetrySection,
    client: &OutgoingClient,
) -> Result<TraceSettings, StartError> {
    let url = AppUrl::of_uri(&telemetry.url);
    let url = url.ok_or(StartError::Telemetry(ClientError::Host))?;
    let key = PoolKey {
        origin: url.origin().clone(),
        connect_timeout: TIMEOUT,
        timeout: TIMEOUT,
        keep: PoolLimits::idle(Duration::from_secs(30)),
        own_tls: None,
        is_external: false,
        proxy: None,
    };
    Ok(TraceSettings {
        pool: client.pool(key).map_err(StartError::Telemetry)?,
        url: telemetry.url.clone(),
        headers: telemetry.headers.clone(),
        sample: telemetry.sample,
        service: telemetry.service.clone(),
    })
}

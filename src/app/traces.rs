//! Conversion of `[telemetry]` to the settings of the trace exporter.

use std::time::Duration;

use http::uri::Scheme;

use crate::app::error::StartError;
use crate::config::model::TelemetrySection;
use crate::net::client::{ClientError, OutgoingClient, PoolKey};
use crate::record::otlp::TraceSettings;

/// Timeout of a request to the collector. Only the exporter waits for it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Builds the exporter's settings, with a connection pool of its own.
pub(super) fn settings(
    telemetry: &TelemetrySection,
    client: &OutgoingClient,
) -> Result<TraceSettings, StartError> {
    let authority = telemetry.url.authority();
    let authority = authority.ok_or(StartError::Telemetry(ClientError::Host))?;
    let key = PoolKey {
        is_tls: telemetry.url.scheme() == Some(&Scheme::HTTPS),
        authority: authority.clone(),
        connect_timeout: TIMEOUT,
        timeout: TIMEOUT,
        idle_timeout: Duration::from_secs(30),
        own_tls: None,
        is_external: false,
    };
    Ok(TraceSettings {
        pool: client.pool(key).map_err(StartError::Telemetry)?,
        url: telemetry.url.clone(),
        headers: telemetry.headers.clone(),
        sample: telemetry.sample,
        service: telemetry.service.clone(),
    })
}

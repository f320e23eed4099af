//! Sections of the whole process: `[server]`, `[tls]`, `[admin]`, `[store]`, `[log]`, `[telemetry]` and
//! `egress_proxy`.

use hookgate_verify::document::key::SectionDefinition;
use hookgate_verify::document::value;
use hookgate_verify::net::redact;

use crate::config::effective::document::{EffectiveValue, ExtraField, SectionDocument};
use crate::config::effective::format;
use crate::config::model::{
    AcmeSection, AdminListen, AdminSection, AdminToken, CertificateFiles, ExternalAccount,
    HttpListener, LogSection, RetentionSection, ServerSection, StoreSection, TelemetrySection,
    TlsSection,
};
use crate::config::{
    acme, admin, egress_proxy, http_listener, log, server, store, store_postgres, telemetry, tls,
};
use crate::model::database::{CommitDurability, DatabaseLocation, PostgresTls};
use crate::net::egress_proxy::{EgressProxy, ProxyResolve};

pub(super) fn server(server: &ServerSection) -> EffectiveValue {
    let source_rate = server.per_source_rate_limit.map(format::rate);
    SectionDocument::new(&server::SECTION)
        .set(&server::LISTEN, format::texts(&server.listen))
        .set(&server::INSECURE_HTTP, server.insecure_http)
        .set(
            &server::TRUSTED_PROXIES,
            format::texts(&server.trusted_proxies),
        )
        .set(&server::PROXY_PROTOCOL, server.proxy_protocol.word())
        .set(&server::MAX_CONNECTIONS, server.max_connections)
        .set(
            &server::MAX_CONNECTIONS_PER_SOURCE,
            server.max_connections_per_source,
        )
        .set(&server::MAX_IN_FLIGHT, server.max_in_flight)
        .set(&server::PER_SOURCE_RATE_LIMIT, source_rate)
        .set(
            &server::HANDSHAKE_TIMEOUT,
            format::duration(server.handshake_timeout),
        )
        .set(
            &server::HEADER_TIMEOUT,
            format::duration(server.header_timeout),
        )
        .set(&server::BODY_TIMEOUT, format::duration(server.body_timeout))
        .set(&server::IDLE_TIMEOUT, format::duration(server.idle_timeout))
        .set(
            &server::SHUTDOWN_DELAY,
            server.shutdown_delay.map(format::duration),
        )
        .set(
            &server::SHUTDOWN_TIMEOUT,
            format::duration(server.shutdown_timeout),
        )
        .set(&server::MAX_HEADER_SIZE, server.max_header_size)
        .set(&server::HEALTH, server.health.clone())
        .set(
            &server::REFRESH_RANGES,
            server.refresh_ranges.map(format::duration),
        )
        .set(
            &server::STATE_DIR,
            server.state_dir.as_deref().map(format::path),
        )
        .set(&server::KEEP_VERDICTS, server.keep_verdicts)
        .set(&server::KEEP_REJECTED, server.keep_rejected)
        .nest(&server::HTTP, server.http.as_ref().map(http))
        .finish()
}

fn http(http: &HttpListener) -> EffectiveValue {
    let otherwise = value::choice_word(&http_listener::OTHERWISE_WORDS, &http.redirects);
    SectionDocument::new(&http_listener::SECTION)
        .set(&http_listener::LISTEN, format::texts(&http.listen))
        .set(&http_listener::OTHERWISE, otherwise)
        .finish()
}

pub(super) fn tls(tls: &TlsSection) -> EffectiveValue {
    // `cert` and `key` are another spelling of the first certificate.
    let first = tls.certificates.first();
    let all = tls.certificates.iter();
    let all: Vec<_> = all
        .map(|files| certificate(&tls::CERTIFICATE_SECTION, files))
        .collect();
    let client_ca = tls.client_ca.as_ref();
    SectionDocument::new(&tls::SECTION)
        .set(&tls::CERT, first.map(|files| format::path(&files.cert)))
        .set(&tls::KEY, first.map(|files| format::path(&files.key)))
        .nest(&tls::CERTIFICATES, all)
        .nest(&tls::ACME, tls.acme.as_ref().map(acme))
        .set(
            &tls::CLIENT_CA,
            client_ca.map(|(authorities, _)| format::path(authorities)),
        )
        .set(&tls::MIN_VERSION, tls.min_version.word())
        .finish()
}

fn acme(acme: &AcmeSection) -> EffectiveValue {
    let names = acme.names.iter().map(|name| name.name.clone());
    let challenges = acme.challenges.iter().map(|kind| kind.word());
    let external = acme.external_account.as_ref();
    SectionDocument::new(&acme::SECTION)
        .set(&acme::EMAIL, acme.email.clone())
        .set(&acme::NAMES, names.collect::<Vec<_>>())
        .set(&acme::DIRECTORY, acme.directory.clone())
        .set(&acme::CA, acme.ca.as_deref().map(format::path))
        .set(&acme::CHALLENGES, challenges.collect::<Vec<_>>())
        .set(&acme::PROFILE, acme.profile.clone())
        .nest(&acme::EXTERNAL_ACCOUNT, external.map(external_account))
        .finish()
}

fn external_account(account: &ExternalAccount) -> EffectiveValue {
    SectionDocument::new(&acme::EXTERNAL_ACCOUNT_SECTION)
        .set(&acme::KEY_ID, account.key_id.clone())
        .set(&acme::HMAC_KEY, format::masked(true))
        .finish()
}

fn certificate(section: &'static SectionDefinition, files: &CertificateFiles) -> EffectiveValue {
    SectionDocument::new(section)
        .set(&tls::CERT, format::path(&files.cert))
        .set(&tls::KEY, format::path(&files.key))
        .finish()
}

pub(super) fn admin(admin: &AdminSection) -> EffectiveValue {
    let listen = match &admin.listen {
        AdminListen::Tcp(address) => address.to_string(),
        AdminListen::Unix(socket) => format!("unix:{}", socket.display()),
    };
    // `token` is another spelling of an operator's token of this name.
    let has_single = admin
        .tokens
        .iter()
        .any(|token| &*token.name == admin::SINGLE);
    let own = |files| certificate(&admin::TLS_SECTION, files);
    SectionDocument::new(&admin::SECTION)
        .set(&admin::LISTEN, listen)
        .set(&admin::TOKEN, format::masked(has_single))
        .nest(
            &admin::TOKENS,
            admin.tokens.iter().map(token).collect::<Vec<_>>(),
        )
        .nest(&admin::TLS, admin.tls.as_ref().map(own))
        .set(&admin::HOST, admin.hosts.clone())
        .finish()
}

fn token(token: &AdminToken) -> EffectiveValue {
    SectionDocument::new(&admin::TOKENS_SECTION)
        .set(&admin::NAME, &*token.name)
        .set(&admin::ROLE, token.role.word())
        .set(&admin::TOKEN, format::masked(true))
        .finish()
}

pub(super) fn store(store: &StoreSection) -> EffectiveValue {
    let keys = store.encryption_keys.len();
    let document = SectionDocument::new(&store::SECTION);
    postgres(document, &store.location)
        .set(&store::URL, store.location.to_string())
        .set(&store::MIN_FREE, store.location.min_free())
        .set(&store::MAX_SIZE, store.max_size)
        .set(&store::MAX_EVENTS, store.max_events)
        .set(&store::KEEP_BODY, store.keep_body)
        .nest(&store::RETENTION, retention(&store.retention))
        .set(&store::ENCRYPTION_KEY, format::key_count(keys))
        .extra(ExtraField::EncryptionKeys, keys)
        .finish()
}

/// Sets the keys for PostgreSQL, which are null for a file.
fn postgres(document: SectionDocument, location: &DatabaseLocation) -> SectionDocument {
    let settings = match location {
        DatabaseLocation::Sqlite(_) => None,
        DatabaseLocation::Postgres(settings) => Some(settings),
    };
    let (ca, client) = match settings.map(|settings| &settings.tls) {
        Some(PostgresTls::Verified { ca, client }) => (ca.as_ref(), client.as_ref()),
        Some(PostgresTls::Disabled) | None => (None, None),
    };
    let password = settings.map(|settings| settings.password.is_some());
    let durability = settings.map(|settings| settings.durability);
    document
        .set(
            &store_postgres::PASSWORD,
            format::masked(password.unwrap_or(false)),
        )
        .set(&store_postgres::CA, ca.map(|path| format::path(path)))
        .set(
            &store_postgres::CERT,
            client.map(|(cert, _)| format::path(cert)),
        )
        .set(
            &store_postgres::KEY,
            client.map(|(_, key)| format::path(key)),
        )
        .set(
            &store_postgres::INSECURE,
            settings.map(|settings| settings.is_exposed()),
        )
        .set(
            &store_postgres::SCHEMA,
            settings.map(|settings| settings.schema.clone()),
        )
        .set(
            &store_postgres::NODE,
            settings.map(|settings| settings.node.clone()),
        )
        .set(
            &store_postgres::DURABILITY,
            durability.map(|durability| value::choice_word(&CommitDurability::ALL, &durability)),
        )
}

fn retention(retention: &RetentionSection) -> EffectiveValue {
    SectionDocument::new(&store::RETENTION_SECTION)
        .set(&store::DELIVERED, retention.delivered.map(format::duration))
        .set(&store::DEAD, retention.dead.map(format::duration))
        .set(&store::ATTEMPTS, retention.attempts.map(format::duration))
        .set(&store::SIZE, retention.size)
        .finish()
}

pub(super) fn log(log: &LogSection) -> EffectiveValue {
    SectionDocument::new(&log::SECTION)
        .set(&log::FORMAT, log.format.word())
        .set(&log::LEVEL, log.level.as_str().to_ascii_lowercase())
        .set(&log::ACCEPTED, log.accepted)
        .finish()
}

pub(super) fn egress_proxy(proxy: &EgressProxy) -> EffectiveValue {
    let resolve = value::choice_word(&ProxyResolve::ALL, &proxy.resolve);
    SectionDocument::new(&egress_proxy::SECTION)
        .set(&egress_proxy::URL, format!("http://{}", proxy.authority))
        .set(&egress_proxy::USER, proxy.user.clone())
        .set(
            &egress_proxy::PASSWORD,
            format::masked(proxy.user.is_some()),
        )
        .set(&egress_proxy::RESOLVE, resolve)
        .set(&egress_proxy::EXCEPT, format::texts(&proxy.exceptions))
        .finish()
}

pub(super) fn telemetry(telemetry: &TelemetrySection) -> EffectiveValue {
    // The config has the URL without the path that the reader appends.
    let traces = redact::url(&telemetry.url);
    let otlp = traces.strip_suffix(telemetry::TRACES_PATH);
    SectionDocument::new(&telemetry::SECTION)
        .set(&telemetry::OTLP, otlp.unwrap_or(&traces))
        .set(&telemetry::SAMPLE, telemetry.sample)
        .set(&telemetry::SERVICE, telemetry.service.clone())
        .set(
            &telemetry::HEADERS,
            format::header_names(&telemetry.headers),
        )
        .finish()
}

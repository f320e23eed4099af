//! Generates the route of a provider, ready to paste into a config.

use hookgate_verify::providers::Provider;
use hookgate_verify::providers::challenge::ProviderChallenge;
use hookgate_verify::providers::identity::SigningTenant;
use hookgate_verify::scheme::spec::{
    CertificateKind, JwtKeys, PublishedKeys, SchemeFamily, SchemeSpec, TokenAudience,
};
use hookgate_verify::scheme::{Scheme, SchemeError};

/// Generates the route with the keys that the provider needs, and no others.
pub(super) fn sample(provider: &Provider) -> String {
    let id = &provider.id;
    let mut lines = vec![
        format!("[routes.{id}]"),
        format!("path = \"/{id}\""),
        format!("provider = \"{id}\""),
    ];
    let scheme = &provider.scheme;
    // No secret for a key that is built in, or that the gate fetches.
    if scheme.known_key().is_none() && !scheme.has_own_keys() {
        lines.push(format!("secret = {{ credential = \"{id}\" }}"));
    }
    if provider
        .challenge
        .is_some_and(ProviderChallenge::needs_verify_token)
    {
        lines.push(format!("verify_token = {{ credential = \"{id}-verify\" }}"));
    }
    lines.extend(keyed(scheme));
    // Without it, events of other customers of the provider would be accepted too.
    if let SigningTenant::Shared { location: place } = &provider.identity.tenant.value
        && let Some(field) = place.first()
    {
        lines.push(format!("audience = \"YOUR-ID\"  # {field}"));
    }
    if needs_public_url(provider) {
        lines.push("public_url = \"https://hooks.example.com\"".to_owned());
    }
    match provider.ip_ranges.as_ref().map(|ranges| &ranges.format) {
        Some(Some(_)) => lines.push("allow_ips = [\"provider\"]".to_owned()),
        // Commented out: hookgate cannot refresh this list, so the operator has to decide whether to rely on it.
        Some(None) => lines
            .push("# allow_ips = [\"provider\"]  # hookgate cannot refresh this list".to_owned()),
        None => {}
    }
    lines.push(format!("upstream = \"http://127.0.0.1:8080/{id}\""));
    lines.push(String::new());
    lines.join("\n")
}

/// Generates the lines that name you to a sender that signs for all its customers with one key.
fn keyed(scheme: &SchemeSpec) -> Vec<String> {
    let sns = "audience = \"arn:aws:sns:eu-central-1:123456789012:TOPIC\"".to_owned();
    let family = match &scheme.family {
        SchemeFamily::Jwt(family) => family,
        SchemeFamily::Certificate(family) if family.kind == CertificateKind::Sns => {
            return vec![sns];
        }
        SchemeFamily::Certificate(family) if family.kind == CertificateKind::AppStore => {
            return vec!["audience = \"com.example.app\"".to_owned()];
        }
        _ => return Vec::new(),
    };
    let mut lines = Vec::new();
    if family.audience == TokenAudience::Route(Vec::new()) {
        lines.push("audience = \"AUDIENCE\"".to_owned());
    }
    for name in &family.route_claims {
        lines.push(format!(
            "claims = {{ name = \"{name}\", value = \"VALUE\" }}"
        ));
    }
    if let JwtKeys::Published(PublishedKeys { url: None, hosts }) = &family.keys {
        let host = hosts
            .first()
            .map_or("SENDER-HOST".to_owned(), ToString::to_string);
        // `*` in a host is the part that differs for each customer.
        let host = host.replace('*', "YOUR-NAME");
        lines.push(format!("jwks = \"https://{host}/.well-known/jwks.json\""));
    }
    if let JwtKeys::Asked(PublishedKeys { url: None, hosts }) = &family.keys {
        let host = hosts
            .first()
            .map_or("SENDER-HOST".to_owned(), ToString::to_string);
        lines.push(format!(
            "jwks = \"https://{host}/webhook_verification_key/get\""
        ));
    }
    lines
}

fn needs_public_url(provider: &Provider) -> bool {
    if provider
        .challenge
        .is_some_and(ProviderChallenge::needs_public_url)
    {
        return true;
    }
    match &provider.scheme.family {
        SchemeFamily::Jwt(jwt) => jwt.audience == TokenAudience::Url || jwt.url_claim.is_some(),
        _ => {
            let checked = Scheme::check(&provider.scheme, None);
            matches!(checked, Err(SchemeError::NeedsPublicUrl))
        }
    }
}

#[cfg(test)]
mod tests {
    use hookgate_verify::document::report::ReportStyle;
    use hookgate_verify::providers;

    use super::*;
    use crate::config;

    #[derive(serde::Deserialize)]
    struct File {
        vectors: Vec<Vector>,
    }

    #[derive(serde::Deserialize)]
    struct Vector {
        #[serde(default)]
        secret: String,
    }

    /// Fails when a sender that signs for all its customers can have a route that accepts the events of any of them.
    #[test]
    fn a_sender_with_one_key_for_all_needs_its_customer_named() {
        let mut count = 0;
        for provider in providers::all() {
            if provider.identity.tenant.value == SigningTenant::Customer {
                continue;
            }
            let whole = sample(provider);
            let is_naming =
                |line: &&str| line.starts_with("audience") || line.starts_with("claims");
            let named: Vec<&str> = whole.lines().filter(is_naming).collect();
            assert!(
                !named.is_empty(),
                "{} has no line that names the customer",
                provider.id
            );
            let without: Vec<&str> = whole.lines().filter(|line| !is_naming(line)).collect();
            let text = format!(
                "[server]\nlisten = [\"127.0.0.1:0\"]\n{}\n",
                without.join("\n")
            );
            let Err(report) = config::load_text("sample.toml", text.clone()) else {
                panic!("{} loads without its customer:\n{text}", provider.id);
            };
            let shown = report.render(ReportStyle::Plain);
            let is_told = ["audience", "claims"]
                .iter()
                .any(|word| shown.contains(word));
            assert!(is_told, "{}: {shown}", provider.id);
            count += 1;
        }
        assert!(count >= 6, "{count}");
    }

    #[test]
    fn each_sample_loads() {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/verify/providers");
        for provider in providers::all() {
            let id = &provider.id;
            let file = std::fs::read_to_string(folder.join(format!("{id}.toml"))).unwrap();
            let file: File = toml::from_str(&file).unwrap();
            let secret = file.vectors.first().unwrap().secret.clone();
            let secret = toml::Value::String(secret).to_string();
            let text = sample(provider)
                .replace(&format!("{{ credential = \"{id}\" }}"), &secret)
                .replace(
                    &format!("{{ credential = \"{id}-verify\" }}"),
                    "\"a8f1c3e59b7d2046\"",
                );
            let text = format!("[server]\nlisten = [\"127.0.0.1:0\"]\n{text}");
            let Err(report) = config::load_text("sample.toml", text.clone()) else {
                continue;
            };
            // Secrets in documentation are weak, which `check` rightly reports.
            let mut errors = report.diagnostics().iter();
            assert!(
                errors.all(|one| one.message.contains("secret")),
                "{text}\n{}",
                report.render(ReportStyle::Plain)
            );
        }
    }
}

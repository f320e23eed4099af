//! `[alerts.NAME]` and `[watch]`.

use hookgate_verify::document::value;
use hookgate_verify::net::redact::MASK;
use http::Uri;

use crate::config::effective::document::{EffectiveValue, SectionDocument};
use crate::config::effective::format;
use crate::config::model::{AlertSection, AlertTarget, MailSecurity, WatchSection};
use crate::config::{alerts, alerts_mail, watch};

pub(super) fn receivers(
    sections: &[AlertSection],
) -> impl Iterator<Item = (String, EffectiveValue)> {
    sections
        .iter()
        .map(|section| (section.name.clone(), receiver(section)))
}

fn receiver(section: &AlertSection) -> EffectiveValue {
    let (url, is_signed) = match &section.target {
        AlertTarget::Chat { url, .. } => (Some(url), false),
        AlertTarget::Webhook { url, keys } => (Some(url), !keys.is_empty()),
        AlertTarget::Mail(_) => (None, false),
    };
    let mail = match &section.target {
        AlertTarget::Mail(mail) => Some(mail),
        AlertTarget::Chat { .. } | AlertTarget::Webhook { .. } => None,
    };
    let conditions: Vec<_> = section.conditions.iter().map(|kind| kind.word()).collect();
    let security = mail.map(|mail| value::choice_word(&MailSecurity::ALL, &mail.security));
    let login = mail.and_then(|mail| mail.login.as_ref());
    SectionDocument::new(&alerts::SECTION)
        .set(&alerts::TYPE, section.word())
        .set(&alerts::URL, url.map(origin))
        .set(&alerts::SECRET, format::masked(is_signed))
        .set(
            &alerts_mail::SERVER,
            mail.map(|mail| format!("{}:{}", mail.host, mail.port)),
        )
        .set(&alerts_mail::SECURITY, security)
        .set(&alerts_mail::USERNAME, login.map(|(user, _)| user.clone()))
        .set(&alerts_mail::PASSWORD, format::masked(login.is_some()))
        .set(&alerts_mail::FROM, mail.map(|mail| mail.from.to_string()))
        .set(&alerts_mail::TO, mail.map(|mail| format::texts(&mail.to)))
        .set(&alerts::CONDITIONS, conditions)
        .set(&alerts::MAX_PER_HOUR_KEY, section.max_per_hour)
        .set(&alerts::REMINDERS, section.reminders)
        .set(&alerts::CA, section.ca.as_deref().map(format::path))
        .set(&alerts::TIMEOUT, format::duration(section.timeout))
        .finish()
}

/// Returns the host of a URL. Its path and query are a credential.
fn origin(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!(
        "{}://{authority}/{MASK}",
        url.scheme_str().unwrap_or("https")
    )
}

pub(super) fn watch(watch: &WatchSection) -> EffectiveValue {
    let age = |time: Option<std::time::Duration>| time.map(format::duration);
    SectionDocument::new(&watch::SECTION)
        .set(&watch::INTERVAL, format::duration(watch.interval))
        .set(&watch::QUIET, watch.quiet)
        .set(&watch::REFUSALS, watch.refusals)
        .set(&watch::DEAD_LETTERS, watch.dead_letters)
        .set(&watch::BREAKER_OPEN, age(watch.breaker_open))
        .set(&watch::BACKLOG_AGE, age(watch.backlog_age))
        .set(
            &watch::CERTIFICATE_EXPIRY,
            format::duration(watch.certificate_expiry),
        )
        .set(&watch::SECRET_EXPIRY, format::duration(watch.secret_expiry))
        .set(&watch::RANGES_AGE, age(watch.ranges_age))
        .set(&watch::STORE_FULL, watch.store_full)
        .finish()
}

//! `egress_proxy`: the proxy through which external destinations and publishers of keys and ranges are reached.

use std::sync::Arc;

use hookgate_verify::document::key::{KeyDefinition, SectionDefinition, ValueKind};
use hookgate_verify::document::table::{TomlTable, TomlValue, ValueFault};
use hookgate_verify::document::value::{self, choice_words};
use http::uri::{Authority, Scheme};

use crate::config::load_context::LoadContext;
use crate::config::secrets;
use crate::net::egress_proxy::{EgressProxy, ProxyException, ProxyResolve};

/// Maximum number of exceptions. Each request to a host that is not excepted compares them all.
const MAX_EXCEPTIONS: usize = 1000;

/// Reads `egress_proxy` of the file: a URL, or a table.
pub(super) fn read(
    table: &mut TomlTable<'_>,
    key: &KeyDefinition,
    context: &LoadContext,
) -> Option<Arc<EgressProxy>> {
    let value = table.value(key)?;
    parse(&value, context)
}

/// Reads `egress_proxy` of a destination. The outer `None` means that the key is absent, the inner one that it is
/// `false`.
pub(super) fn read_own(
    table: &mut TomlTable<'_>,
    context: &LoadContext,
) -> Option<Option<Arc<EgressProxy>>> {
    let value = table.value(&DESTINATION_PROXY)?;
    Some(match value.content().as_bool() {
        // A direct connection, even where the file has a proxy for external destinations.
        Some(false) => None,
        _ => parse(&value, context),
    })
}

fn parse(value: &TomlValue<'_>, context: &LoadContext) -> Option<Arc<EgressProxy>> {
    if value.text().is_some() {
        let authority = value.check(proxy_url)?.value;
        let proxy = EgressProxy::new(authority, None, ProxyResolve::Local);
        return Some(Arc::new(proxy));
    }
    let Some(mut table) = value.table(value.span(), "egress_proxy".to_owned()) else {
        value.fault(value.unexpected("a URL or a table", URL.example));
        return None;
    };
    let authority = table.require(&URL, proxy_url);
    let user = table.read_placed(&USER, user);
    let password = table.value(&PASSWORD);
    let password_span = password.map(|password| password.span());
    let password = password.and_then(|value| secrets::read_password(&value, context));
    let resolve = table.read(&RESOLVE, |value| value::choice(value, &ProxyResolve::ALL));
    let exceptions = exceptions(&mut table);
    // After all keys were read, since a key that was not read counts as unknown.
    table.deny_unknown();
    // One of the two alone would be sent as something that the proxy rejects with a confusing 407.
    let alone = match (&user, password_span) {
        (Some(user), None) => Some(user.span),
        (None, Some(span)) => Some(span),
        _ => None,
    };
    if let Some(span) = alone {
        let fault = ValueFault::new(
            "the credentials for the proxy are incomplete",
            "set both `user` and `password`",
        );
        table.error(span, fault);
    }
    let user = user.map(|placed| placed.value);
    let credentials = user.as_deref().zip(password.as_ref());
    let resolve = resolve.unwrap_or(ProxyResolve::Local);
    // The `?` comes this late so that a faulty URL does not hide the other errors of the table.
    let mut proxy = EgressProxy::new(authority?.value, credentials, resolve);
    proxy.exceptions = exceptions;
    Some(Arc::new(proxy))
}

fn exceptions(table: &mut TomlTable<'_>) -> Vec<ProxyException> {
    let listed = table.list(&EXCEPT, |value| {
        let text = value::text(value)?;
        ProxyException::parse(&text).ok_or_else(|| {
            ValueFault::new(
                format!("`{text}` is neither a host nor an address range"),
                "for example `\"partner.example\"`, `\"*.corp.example\"` or `\"10.0.0.0/8\"`",
            )
        })
    });
    let listed = listed.unwrap_or_default();
    if let Some(extra) = listed.get(MAX_EXCEPTIONS) {
        let fault = ValueFault::new(
            format!("a proxy can have at most {MAX_EXCEPTIONS} exceptions"),
            "use ranges and `*.` names",
        );
        table.error(extra.span, fault);
    }
    listed.into_iter().map(|placed| placed.value).collect()
}

fn proxy_url(value: &TomlValue<'_>) -> Result<Authority, ValueFault> {
    let uri = value::http_url(value)?;
    if uri.scheme() == Some(&Scheme::HTTPS) {
        return Err(ValueFault::new(
            "hookgate speaks plain HTTP to a proxy; `https` destinations are encrypted through it end to end",
            "write `http://`, with the port of the proxy for plain HTTP",
        ));
    }
    if uri.path() != "/" {
        return Err(ValueFault::new(
            "the URL of a proxy has no path",
            format!("for example `{}`", URL.example),
        ));
    }
    let wrong = || value.unexpected("the URL of a proxy", URL.example);
    let authority = uri.authority().cloned().ok_or_else(wrong)?;
    // Proxies have no usual port: 3128, 8080 and 8888 are all common, and 80 would be a guess.
    if authority.port().is_none() {
        return Err(ValueFault::new(
            "the URL of the proxy has no port",
            format!("for example `{}`", URL.example),
        ));
    }
    Ok(authority)
}

fn user(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    let text = value::text(value)?;
    // A colon ends the user in HTTP Basic (RFC 7617, section 2).
    if text.contains(':') || text.contains(char::is_control) {
        return Err(ValueFault::new(
            "the user has a colon or a control character, which HTTP Basic cannot send",
            "use another user",
        ));
    }
    Ok(text)
}

/// Keys of the `[egress_proxy]` section.
pub(super) static SECTION: SectionDefinition = SectionDefinition {
    path: "egress_proxy",
    doc: "The HTTP proxy of a network that lets requests to the internet out through it only. hookgate opens a tunnel (`CONNECT`) for each connection. Used for external destinations, for fetches of keys and address ranges that providers publish, for alerts by `https`, and for the CA of `[tls.acme]`; apps and other destinations are reached directly.",
    keys: &[&URL, &USER, &PASSWORD, &RESOLVE, &EXCEPT],
    required: &["url"],
    one_of: &[],
};

pub(super) static EGRESS_PROXY: KeyDefinition = KeyDefinition {
    name: "egress_proxy",
    kind: ValueKind::Either(&ValueKind::Url, &ValueKind::Table(&SECTION)),
    default: Some("no proxy; environment variables never set one"),
    example: "\"http://proxy.example:3128\"",
    doc: "HTTP proxy for requests to the internet: its URL, or a table. As a bare key it must precede all tables.",
};

pub(super) static DESTINATION_PROXY: KeyDefinition = KeyDefinition {
    name: "egress_proxy",
    kind: ValueKind::FalseOr(EGRESS_PROXY_VALUE),
    default: Some("`egress_proxy` of the file, with `external = true`"),
    example: "\"http://proxy.example:3128\"",
    doc: "Another proxy for this destination, external or not. `false` reaches it directly.",
};

const EGRESS_PROXY_VALUE: &ValueKind =
    &ValueKind::Either(&ValueKind::Url, &ValueKind::Table(&SECTION));

pub(super) static URL: KeyDefinition = KeyDefinition {
    name: "url",
    kind: ValueKind::Url,
    default: None,
    example: "\"http://proxy.example:3128\"",
    doc: "URL of the proxy: `http://`, host and port.",
};

pub(super) static USER: KeyDefinition = KeyDefinition {
    name: "user",
    kind: ValueKind::Text,
    default: None,
    example: "\"hookgate\"",
    doc: "User to log in with (HTTP Basic). Requires `password`.",
};

pub(super) static PASSWORD: KeyDefinition = KeyDefinition {
    name: "password",
    kind: ValueKind::Either(&ValueKind::Text, &ValueKind::Table(&secrets::SECTION)),
    default: None,
    example: "{ credential = \"egress-proxy\" }",
    doc: "Password of `user`.",
};

pub(super) static RESOLVE: KeyDefinition = KeyDefinition {
    name: "resolve",
    kind: ValueKind::Choice(&RESOLVE_WORDS),
    default: Some("\"local\""),
    example: "\"proxy\"",
    doc: "Who resolves the names of external destinations. `\"local\"`: hookgate resolves and checks every address, and asks the proxy for a checked address. `\"proxy\"`: the proxy gets the name, and its own rules must keep requests out of your network; for networks without public DNS. Names that you or a provider chose always go to the proxy.",
};

const RESOLVE_WORDS: [&str; 2] = choice_words(&ProxyResolve::ALL);

pub(super) static EXCEPT: KeyDefinition = KeyDefinition {
    name: "except",
    kind: ValueKind::List(&ValueKind::Text),
    default: Some("[]"),
    example: "[\"partner.example\", \"*.corp.example\", \"10.0.0.0/8\"]",
    doc: "Hosts that are reached directly: names, `*.` and a name for all hosts below it, and ranges for hosts that the URL has as an address.",
};

//! The contract of every provider file, end to end: different genuine events all reach the app, and a retry reaches it
//! once where the file names a key.
//!
//! Nothing here names a provider but the list of those that only the sender itself can sign for. One gate has a proxy
//! route and a queue route for each file; every request is signed as the file says and goes over a real socket. A new
//! file is covered by being there.

mod event;
mod signer;

use std::collections::BTreeMap;

use bytes::Bytes;
use hookgate::internals::{
    GlobPattern, KeyPart, ProviderChallenge, ResponseUse, RetrySigning, all_providers,
};
use hookgate::testing::RequestFile;

use crate::contract::event::Events;
use crate::contract::signer::{KeyPairs, ORIGIN, Signer};
use crate::harness::app::{App, Recorded, ok};
use crate::harness::client::{Client, Connection, Reply};
use crate::harness::gate::Gate;
use crate::harness::sender::Hook;
use crate::harness::{LIMIT, unix_now};
use crate::inbox::STORE;

/// Providers whose requests the test cannot sign, with the reason. `gate::vector_tests` holds their files to the rest of
/// the contract.
const UNSIGNED: [(&str, &str); 6] = [
    (
        "app_store",
        "the chain of certificates ends at Apple's own root",
    ),
    (
        "ebay",
        "ECDSA with SHA-1, which the library verifies as a padded digest and does not sign",
    ),
    (
        "paypal",
        "the certificate is PayPal's, and is published on its hosts",
    ),
    (
        "postal",
        "RSA with SHA-1, which the library verifies and does not sign",
    ),
    (
        "sns",
        "the certificate is Amazon's, and is published on its hosts",
    ),
    (
        "travis_ci",
        "RSA with SHA-1, which the library verifies and does not sign",
    ),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Proxy,
    Queue,
}

impl Mode {
    const ALL: [Self; 2] = [Self::Proxy, Self::Queue];

    fn name(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Queue => "queue",
        }
    }

    /// The path of a provider's route, at the gate and at the app.
    fn path(self, provider: &str) -> String {
        format!("/{}/{provider}", self.name())
    }
}

/// One provider with all that is sent in its name.
struct Case<'k> {
    events: Events,
    signer: Signer<'k>,
}

/// A request that reached the app, as far as the contract says something about it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Arrival {
    body: Bytes,
    is_marked: bool,
}

/// Requests that the app has to get, by path, and faults in the replies.
#[derive(Default)]
struct Outcome {
    expected: BTreeMap<String, Vec<Arrival>>,
    faults: Vec<String>,
}

impl Case<'_> {
    fn id(&self) -> &str {
        &self.events.provider.id
    }

    fn route(&self, mode: Mode, app: &App) -> String {
        let (id, path) = (self.id(), mode.path(self.id()));
        let mut text = format!(
            "[routes.{}_{id}]\npath = \"{path}\"\nprovider = \"{id}\"\npublic_url = \"{ORIGIN}\"\nupstream = \"{}\"\n",
            mode.name(),
            app.url(&path)
        );
        text.push_str(&self.signer.config());
        // The age of a request is not the subject, and some files have a window of seconds.
        if self.events.provider.scheme.is_dated() {
            text.push_str("tolerance = \"1h\"\n");
        }
        let challenge = self.events.provider.challenge;
        if challenge.is_some_and(ProviderChallenge::needs_verify_token) {
            text.push_str("verify_token = \"a-token-of-a-test-0123456789abcdef\"\n");
        }
        if mode == Mode::Queue {
            text.push_str("mode = \"queue\"\n");
        }
        if !self.events.audience.is_empty() {
            text.push_str(&format!("audience = {:?}\n", self.events.audience));
        }
        let claims = self.events.claims.iter();
        let claims: Vec<String> = claims
            .map(|(name, value)| format!("{{ name = {name:?}, value = {value:?} }}"))
            .collect();
        if !claims.is_empty() {
            text.push_str(&format!("claims = [{}]\n", claims.join(", ")));
        }
        text
    }

    /// The draft under the path of the route; its query stays.
    fn aimed(&self, draft: &RequestFile, mode: Mode) -> RequestFile {
        let mut aimed = draft.clone();
        let path = mode.path(self.id());
        aimed.target = match draft.target.split_once('?') {
            Some((_, query)) => format!("{path}?{query}"),
            None => path,
        };
        aimed
    }

    /// Returns whether the second of two attempts for an event has to be a duplicate.
    fn knows_retry(&self, draft: &RequestFile) -> bool {
        let identity = &self.events.provider.identity;
        // A new signature is another key where the signed bytes are a part of it.
        let mut parts = identity.key.value.parts.iter();
        let is_new = identity.retries_resign.value == RetrySigning::Yes
            && self.events.provider.scheme.is_dated()
            && parts.any(|part| *part == KeyPart::SignedBytes);
        self.events.has_key(draft) && !is_new
    }

    fn uses_response(&self, draft: &RequestFile) -> bool {
        match &self.events.provider.identity.response.value {
            ResponseUse::Ignored => false,
            ResponseUse::Used { types } if types.is_empty() => true,
            ResponseUse::Used { types } => {
                let event_type = self.events.type_of(draft).unwrap_or_default();
                let is_such =
                    |text: &String| GlobPattern::parse(text).unwrap().matches(&event_type);
                types.iter().any(is_such)
            }
        }
    }

    /// Sends each event, and then each again as its sender would.
    async fn send(&self, mode: Mode, connection: &mut Connection, outcome: &mut Outcome) {
        let resigns = self.events.provider.identity.retries_resign.value == RetrySigning::Yes;
        let began = (unix_now() - 120) * 1000;
        let mut retries = Vec::new();
        for (number, draft) in (0..).zip(&self.events.drafts) {
            let aimed = self.aimed(draft, mode);
            // Each is signed at a second of its own.
            let unix_ms = began + number * 2000;
            let first = self.signer.sign(&self.events, &aimed, unix_ms);
            let reply = connection.send(&hook(&first)).await;
            let what = format!("{} {}: event {}", self.id(), mode.name(), number + 1);
            outcome.check(&what, &reply, false);
            outcome.expect(mode, self.id(), &first, false);
            let again = match resigns {
                true => self.signer.sign(&self.events, &aimed, unix_ms + 1000),
                false => first,
            };
            retries.push((what, draft, again));
        }
        for (what, draft, again) in retries {
            let is_known = self.knows_retry(draft);
            let is_forwarded = !is_known || (mode == Mode::Proxy && self.uses_response(draft));
            let reply = connection.send(&hook(&again)).await;
            let what = format!("the retry of {what}");
            outcome.check(&what, &reply, is_known && !is_forwarded);
            if is_forwarded {
                outcome.expect(mode, self.id(), &again, is_known);
            }
        }
    }
}

impl Outcome {
    /// Compares the reply with the one that the sender has to get.
    fn check(&mut self, what: &str, reply: &Reply, is_duplicate: bool) {
        let found = reply.header("hookgate-duplicate") == Some("true");
        if !(200..300).contains(&reply.status) || found != is_duplicate {
            self.faults.push(format!(
                "{what}: {}, duplicate: {found}, {}",
                reply.status,
                reply.text()
            ));
        }
    }

    fn expect(&mut self, mode: Mode, provider: &str, request: &RequestFile, is_marked: bool) {
        let arrivals = self.expected.entry(mode.path(provider)).or_default();
        arrivals.push(Arrival {
            body: request.body.clone(),
            is_marked,
        });
    }

    fn add(&mut self, other: Self) {
        self.expected.extend(other.expected);
        self.faults.extend(other.faults);
    }
}

fn hook(request: &RequestFile) -> Hook {
    let mut hook = Hook::bare(request.method.as_str(), &request.target, &request.body);
    for (name, value) in &request.headers {
        hook = hook.with(name, std::str::from_utf8(value).unwrap());
    }
    hook
}

fn cases(keys: &KeyPairs) -> Vec<Case<'_>> {
    let (mut cases, mut left_out) = (Vec::new(), Vec::new());
    for provider in all_providers() {
        match Signer::new(provider, keys) {
            Some(signer) => cases.push(Case {
                events: Events::read(provider),
                signer,
            }),
            None => left_out.push(provider.id.as_str()),
        }
    }
    assert_eq!(left_out, UNSIGNED.map(|(id, _)| id), "not signed");
    cases
}

/// Sends all of one mode over one connection.
async fn send_all(cases: &[Case<'_>], mode: Mode, client: &Client) -> Outcome {
    let mut outcome = Outcome::default();
    let mut connection = client.connect().await.unwrap();
    for case in cases {
        case.send(mode, &mut connection, &mut outcome).await;
    }
    outcome
}

/// Sorts the app's requests by path. A queue may deliver in any order.
fn arrivals(requests: &[Recorded]) -> BTreeMap<String, Vec<Arrival>> {
    let mut found: BTreeMap<String, Vec<Arrival>> = BTreeMap::new();
    for request in requests {
        let target = request.target();
        let path = target.split('?').next().unwrap().to_owned();
        found.entry(path).or_default().push(Arrival {
            body: request.body.clone().into(),
            is_marked: request.header("hookgate-duplicate").as_deref() == Some("true"),
        });
    }
    found
}

/// Fails when two events of a sender are taken for one (`KeyRule::identity_key` without a part of the key, or a file that
/// names an object's id), when a retry under the key reaches the app again (`Claim::spend` left out), when equal bytes
/// count where nothing names an event, and when `forwards_duplicates` or its mark is gone.
#[tokio::test]
async fn every_provider_file_keeps_its_contract() {
    let keys = KeyPairs::generate();
    let cases = cases(&keys);
    let app = App::start(ok());
    let routes = cases.iter().flat_map(|case| {
        let app = &app;
        Mode::ALL.map(|mode| case.route(mode, app))
    });
    let text = format!(
        "[server]\nper_source_rate_limit = false\n{STORE}{}",
        routes.collect::<String>()
    );
    let options = Gate::options(&text).file("keys.json", keys.jwks().as_bytes());
    let gate = options.plain().start().await;
    let client = gate.client();
    let (mut outcome, queue) = tokio::join!(
        send_all(&cases, Mode::Proxy, &client),
        send_all(&cases, Mode::Queue, &client)
    );
    outcome.add(queue);
    assert!(outcome.faults.is_empty(), "{}", outcome.faults.join("\n"));
    let count = outcome.expected.values().map(Vec::len).sum();
    // The comparison below names each path that lacks a request.
    let _ = tokio::time::timeout(LIMIT / 2, app.wait_for_requests(count)).await;
    let mut found = arrivals(&app.requests());
    let all = outcome.expected.values_mut().chain(found.values_mut());
    all.for_each(|arrivals| arrivals.sort());
    let paths = outcome.expected.iter();
    let wrong = paths.filter(|(path, expected)| found.get(*path) != Some(expected));
    let wrong: Vec<_> = wrong
        .map(|(path, expected)| format!("{path}: {expected:?}\nfound {:?}", found.get(path)))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(found.len(), outcome.expected.len());
}

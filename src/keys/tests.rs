//! Tests with keys fetched from a real TLS server: number of fetches, and validity of keys meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hookgate_verify::net::remote_url::RemoteUrl;

use super::*;
use crate::test_rig::app::{App, by, respond};
use crate::test_rig::tls::Authority;
use crate::test_rig::{LIMIT, poll_for};

/// Server that publishes one key, whose name can change.
struct Publisher {
    app: App,
    cache: Arc<KeyCache>,
    kid: Arc<parking_lot::Mutex<&'static str>>,
    is_down: Arc<AtomicBool>,
}

const POINT: &str =
    r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;

fn route() -> RouteName {
    RouteName::new("a")
}

fn publish() -> Publisher {
    let authority = Authority::new();
    let kid = Arc::new(parking_lot::Mutex::new("one"));
    let is_down = Arc::<AtomicBool>::default();
    let (named, is_failing) = (Arc::clone(&kid), Arc::clone(&is_down));
    let publishing = by(move |_| match is_failing.load(Ordering::SeqCst) {
        true => respond(500, ""),
        false => respond(
            200,
            &format!(r#"{{"keys":[{{{POINT},"kid":"{}"}}]}}"#, named.lock()),
        ),
    });
    Publisher {
        app: App::start_tls(authority.server_config(), publishing),
        cache: Arc::new(KeyCache::new(HttpsFetcher::new(
            OutgoingClient::with_roots(authority.roots()),
        ))),
        kid,
        is_down,
    }
}

impl Publisher {
    fn url(&self, path: &str) -> RemoteUrl {
        RemoteUrl::parse(&format!(
            "https://localhost:{}/{path}",
            self.app.address().port()
        ))
        .unwrap()
    }

    fn need(&self, kid: &str) -> KeyNeed {
        KeyNeed {
            source: KeySource::Set(self.url("jwks")),
            kid: Some(kid.into()),
        }
    }

    async fn find(&self, kid: &str) -> Result<(), KeyFault> {
        let found = self.cache.find(&self.need(kid), &route(), || true).await;
        found.map(|_| ())
    }

    fn asked(&self) -> usize {
        self.app.count()
    }

    /// Holds keys as if they had been fetched `ago`.
    fn hold(&self, ago: Duration) {
        let slot = self
            .cache
            .slots
            .get_with(self.need("one").source, KeySlot::new);
        let set = format!(r#"{{"keys":[{{{POINT},"kid":"one"}}]}}"#);
        let roots = rustls::RootCertStore::empty();
        let keys = self
            .need("one")
            .source
            .parse(set.as_bytes(), &roots.roots, 0);
        let since: Instant = clock::instant().checked_sub(ago).unwrap();
        slot.store_keys(Arc::new(keys.ok().unwrap()), since);
    }
}

// Fails if each request fetches for itself: remove the comparison of `tries` in `find`.
#[tokio::test]
async fn many_requests_ask_once() {
    let publisher = publish();
    let finds = (0..32).map(|_| {
        let (cache, need) = (Arc::clone(&publisher.cache), publisher.need("one"));
        tokio::spawn(async move { cache.find(&need, &route(), || true).await.map(|_| ()) })
    });
    for find in finds.collect::<Vec<_>>() {
        assert_eq!(find.await.unwrap(), Ok(()));
    }
    assert_eq!(publisher.find("one").await, Ok(()));
    assert_eq!(publisher.asked(), 1);
}

// Fails if an unknown key name causes a fetch each time: let `may_try` always be true.
#[tokio::test]
async fn a_stranger_cannot_make_the_gate_ask_at_will() {
    let publisher = publish();
    for number in 0..100 {
        let unknown = publisher.find(&format!("no-{number}")).await;
        assert_eq!(unknown, Err(KeyFault::Unknown));
    }
    assert_eq!(publisher.asked(), 4);
    assert_eq!(publisher.find("one").await, Ok(()));
    assert_eq!(publisher.asked(), 4);
}

#[tokio::test]
async fn a_key_that_is_new_at_the_sender_is_found() {
    let publisher = publish();
    assert_eq!(publisher.find("one").await, Ok(()));
    *publisher.kid.lock() = "two";
    assert_eq!(publisher.find("two").await, Ok(()));
    assert_eq!(publisher.find("one").await, Err(KeyFault::Unknown));
}

#[tokio::test]
async fn without_an_answer_there_is_no_key_and_the_fault_is_told() {
    let publisher = publish();
    publisher.is_down.store(true, Ordering::SeqCst);
    let Err(KeyFault::Unavailable(fault)) = publisher.find("one").await else {
        panic!("found");
    };
    assert!(fault.contains("status 500"), "{fault}");
}

// Fails if held keys stay valid forever: `HELD` of a year.
#[tokio::test]
async fn what_is_held_counts_for_a_day_while_the_source_is_down() {
    let publisher = publish();
    publisher.is_down.store(true, Ordering::SeqCst);
    publisher.hold(Duration::from_secs(24 * 3600));
    assert_eq!(publisher.find("one").await, Ok(()));
    publisher.hold(Duration::from_secs(26 * 3600));
    let found = publisher.find("one").await;
    assert!(matches!(found, Err(KeyFault::Unavailable(_))), "{found:?}");
}

// Fails if held keys are never fetched again: remove the branch of `FRESH` in `find`.
#[tokio::test]
async fn a_key_that_was_withdrawn_stops_counting() {
    let publisher = publish();
    *publisher.kid.lock() = "two";
    publisher.hold(Duration::from_secs(2 * 3600));
    assert_eq!(publisher.find("one").await, Ok(()));
    poll_for("the end of the withdrawn key", LIMIT, async || {
        publisher.find("one").await.err()
    })
    .await;
}

// Fails if the fetch ends with the request that caused it: await `fetch` instead of starting a task.
#[tokio::test]
async fn hanging_up_does_not_cost_a_try() {
    let publisher = publish();
    let need = publisher.need("one");
    let route = route();
    let finding = publisher.cache.find(&need, &route, || true);
    let hung_up = tokio::time::timeout(Duration::ZERO, finding).await;
    assert!(hung_up.is_err());
    assert_eq!(publisher.find("one").await, Ok(()));
    assert_eq!(publisher.asked(), 1);
}

// Fails if sources that requests name have no quota, or if failed ones stay in the cache.
#[tokio::test]
async fn places_that_requests_name_are_few() {
    let publisher = publish();
    publisher.is_down.store(true, Ordering::SeqCst);
    let find = async |number: u32| {
        let source = KeySource::Certificate(publisher.url(&format!("{number}.pem")));
        let need = KeyNeed { source, kid: None };
        let found = publisher.cache.find(&need, &route(), || true).await;
        match found.map(|_| ()) {
            Err(KeyFault::Unavailable(fault)) => fault,
            other => panic!("{other:?}"),
        }
    };
    for number in 0..20 {
        assert!(find(number).await.contains("status 500"));
    }
    assert!(find(20).await.contains("too many different keys"));
    assert_eq!(publisher.asked(), 20);
    publisher.cache.slots.run_pending_tasks();
    assert_eq!(publisher.cache.slots.entry_count(), 0);
    // Sources that the config names do not count.
    assert!(publisher.find("one").await.is_err());
    assert_eq!(publisher.asked(), 21);
}

/// Finds a certificate that a request names, and returns the outcome.
async fn name_certificate(
    publisher: &Publisher,
    number: u32,
    route: &str,
    may_ask: impl FnMut() -> bool,
) -> Result<(), KeyFault> {
    let source = KeySource::Certificate(publisher.url(&format!("{number}.pem")));
    let need = KeyNeed { source, kid: None };
    let route = RouteName::new(route);
    let found = publisher.cache.find(&need, &route, may_ask).await;
    found.map(|_| ())
}

// Fails if the allowance for new keys is shared by all routes, or if the client is not charged first.
#[tokio::test]
async fn one_sender_and_one_route_leave_the_allowance_of_others() {
    let publisher = publish();
    publisher.is_down.store(true, Ordering::SeqCst);
    let mut left = 3;
    for number in 0..25 {
        let may_ask = || {
            let may_ask = left > 0;
            left -= i32::from(may_ask);
            may_ask
        };
        let found = name_certificate(&publisher, number, "a", may_ask).await;
        assert_eq!(found == Err(KeyFault::Spent), number >= 3, "{number}");
    }
    // Sources that the client could not pay for do not count against the route.
    for number in 100..117 {
        let found = name_certificate(&publisher, number, "a", || true).await;
        assert!(matches!(found, Err(KeyFault::Unavailable(fault)) if fault.contains("500")));
    }
    let found = name_certificate(&publisher, 200, "a", || true).await;
    assert!(matches!(found, Err(KeyFault::Unavailable(fault)) if fault.contains("too many")));
    let found = name_certificate(&publisher, 200, "b", || true).await;
    assert!(matches!(found, Err(KeyFault::Unavailable(fault)) if fault.contains("500")));
}

// Fails if key names that a set does not contain cause fetches at the expense of all clients.
#[tokio::test]
async fn a_sender_pays_for_names_that_no_key_has() {
    let publisher = publish();
    assert_eq!(publisher.find("one").await, Ok(()));
    let need = publisher.need("no");
    let found = publisher.cache.find(&need, &route(), || false).await;
    assert_eq!(found.map(|_| ()), Err(KeyFault::Spent));
    assert_eq!(publisher.asked(), 1);
}

/// Starts another process with the same state folder.
fn restarted(publisher: &Publisher, folder: &Path) -> Arc<KeyCache> {
    let fetcher = publisher.cache.fetcher().clone();
    Arc::new(KeyCache::new(fetcher).with_state_folder(folder))
}

// Fails if nothing is stored, if stored keys stay valid forever, or if a damaged file prevents a fetch.
#[tokio::test]
async fn keys_outlive_a_restart() {
    let publisher = publish();
    let folder = tempfile::tempdir().unwrap();
    let (need, route) = (publisher.need("one"), route());
    let find = async |cache: &Arc<KeyCache>| {
        let found = cache.find(&need, &route, || true).await;
        found.map(|_| ())
    };
    assert_eq!(find(&restarted(&publisher, folder.path())).await, Ok(()));
    assert_eq!(publisher.asked(), 1);
    publisher.is_down.store(true, Ordering::SeqCst);
    assert_eq!(find(&restarted(&publisher, folder.path())).await, Ok(()));
    assert_eq!(publisher.asked(), 1);

    let mut files = std::fs::read_dir(folder.path().join("keys")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(files.next().is_none());
    let good = std::fs::read_to_string(&file).unwrap();
    let stored: serde_json::Value = serde_json::from_str(&good).unwrap();
    let fetched = stored["fetched_unix_ms"].as_i64().unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut changed = stored.clone();
        changed[name] = value;
        changed.to_string()
    };
    for bad in [
        String::new(),
        good[..good.len() / 2].to_owned(),
        with("text", "e30=".into()),
        with("version", 2.into()),
        with("url", "https://other.test/jwks".into()),
        with("fetched_unix_ms", (fetched - 26 * 3_600_000).into()),
        with("fetched_unix_ms", (fetched + 3_600_000).into()),
        with("more", 1.into()),
    ] {
        std::fs::write(&file, &bad).unwrap();
        let found = find(&restarted(&publisher, folder.path())).await;
        assert!(matches!(found, Err(KeyFault::Unavailable(_))), "{bad}");
    }
    // After an hour it is fetched again, while the stored keys stay valid.
    let older = with("fetched_unix_ms", (fetched - 2 * 3_600_000).into());
    std::fs::write(&file, older).unwrap();
    let asked = publisher.asked();
    let cache = restarted(&publisher, folder.path());
    assert_eq!(find(&cache).await, Ok(()));
    let again = async {
        while publisher.asked() == asked {
            tokio::task::yield_now().await;
        }
    };
    let again = tokio::time::timeout(Duration::from_secs(30), again).await;
    assert!(again.is_ok(), "the source was not fetched again");
}

//! Tests of refreshes from a real TLS server: accepted and rejected lists, and restarts.

use std::net::IpAddr;
use std::path::Path;

use hookgate_verify::providers::{self, IpRanges, RangesFormat};

use super::*;
use crate::net::client::OutgoingClient;
use crate::net::fetch::HttpsFetcher;
use crate::ranges::plausibility::ImplausibleRanges;
use crate::test_rig::app::{App, respond};
use crate::test_rig::tls::Authority;

/// Provider whose list can change.
struct Publisher {
    app: App,
    refresh: RangeRefresh,
}

const KNOWN: &str = "8.8.8.0/24\n8.8.4.0/24\n";

fn publish() -> Publisher {
    let authority = Authority::new();
    Publisher {
        app: App::start_tls(authority.server_config(), respond(200, KNOWN)),
        refresh: RangeRefresh {
            fetcher: HttpsFetcher::new(OutgoingClient::with_roots(authority.roots())),
            accepts_any_change: false,
        },
    }
}

impl Publisher {
    fn says(&self, list: &str) {
        self.app.behave(respond(200, list));
    }

    /// Returns a provider with the ranges of `KNOWN`, as of this day.
    fn provider(&self, read: &str) -> Provider {
        let provider = providers::parse(
            "id = \"a\"\nname = \"A\"\ndocs = \"x\"\n[scheme]\ntype = \"token\"\ntoken = { query = \"t\" }\n[identity]\nkey = { nothing = true, source = \"x\" }\nretries_resign = { value = \"unknown\", source = \"x\" }\nresponse = { value = \"ignored\", source = \"x\" }\ntenant = { value = \"customer\", source = \"x\" }\n",
        );
        let mut provider = provider.ok().unwrap();
        provider.ip_ranges = Some(IpRanges {
            read: read.to_owned(),
            url: format!("https://localhost:{}/ips.txt", self.app.address().port()),
            format: Some(RangesFormat::Lines),
            cidrs: KNOWN.lines().map(|line| line.parse().unwrap()).collect(),
        });
        provider
    }
}

fn book(folder: &Path) -> RangeBook {
    RangeBook::new(Some(folder.to_owned()))
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

// Fails if a refresh changes only the file or only the list in use, or if a restart begins with the old list.
#[tokio::test]
async fn a_refresh_counts_at_once_and_outlives_a_restart() {
    let (publisher, folder) = (publish(), tempfile::tempdir().unwrap());
    let provider = publisher.provider("2026-01-01");
    let first = book(folder.path());
    let live = first.live(&provider).unwrap();
    assert!(live.contains(&ip("8.8.4.1")) && !live.contains(&ip("9.9.9.9")));

    publisher.says("8.8.8.0/24\n9.9.9.9\n2600:1f24::/56\n");
    let change = first.refresh(&publisher.refresh, &live).await.unwrap();
    assert_eq!((change.added.len(), change.removed.len()), (2, 1));
    // A running route that got the list before sees the new one.
    assert!(live.contains(&ip("9.9.9.9")) && !live.contains(&ip("8.8.4.1")));
    assert!(live.contains(&ip("2600:1f24::1")));

    let change = first.refresh(&publisher.refresh, &live).await.unwrap();
    assert!(change.is_empty());
    let counts = [("updated", 1), ("unchanged", 1), ("kept", 0)];
    assert_eq!(live.refreshes(), counts);

    let after = book(folder.path()).live(&provider).unwrap();
    assert_eq!(after.ranges(), live.ranges());
    // Another running process sees it after `reread`.
    let other = book(folder.path());
    other
        .live(&provider)
        .unwrap()
        .ranges
        .store(Arc::new(SenderRanges {
            read: "2026-01-01".to_owned(),
            nets: Vec::new(),
        }));
    other.reread(&provider);
    assert_eq!(other.live(&provider).unwrap().ranges(), live.ranges());
}

// Fails if a list is used before it is checked, or if a rejected list empties the one in use.
#[tokio::test]
async fn an_answer_that_cannot_be_true_changes_nothing() {
    let (mut publisher, folder) = (publish(), tempfile::tempdir().unwrap());
    let provider = publisher.provider("2026-01-01");
    let book = book(folder.path());
    let live = book.live(&provider).unwrap();
    let before = live.ranges();
    for list in [
        "",
        "<html>",
        "0.0.0.0/0",
        "8.8.8.0/24\n10.0.0.0/8",
        "9.9.9.9",
        "8.0.0.0/12",
    ] {
        publisher.says(list);
        let refused = book.refresh(&publisher.refresh, &live).await;
        assert!(refused.is_err(), "{list}");
        assert_eq!(live.ranges(), before);
    }
    publisher.app.behave(respond(500, ""));
    let refused = book.refresh(&publisher.refresh, &live).await;
    assert!(matches!(refused, Err(RefreshError::Fetch(_))));
    assert_eq!(
        live.refreshes(),
        [("updated", 0), ("unchanged", 0), ("kept", 7)]
    );
    assert!(!folder.path().join("ranges").exists());

    // An operator can accept a large difference, but not ranges that no provider can have.
    publisher.refresh.accepts_any_change = true;
    publisher.says("10.0.0.0/8");
    let refused = book.refresh(&publisher.refresh, &live).await;
    assert!(matches!(
        refused,
        Err(RefreshError::Absurd {
            absurd: ImplausibleRanges::TooWide { .. },
            ..
        })
    ));
    publisher.says("9.9.9.9");
    book.refresh(&publisher.refresh, &live).await.unwrap();
    assert!(live.contains(&ip("9.9.9.9")));
}

// Fails if a saved list of an older program wins over a newer built-in one, or if a bad file stops the start.
#[tokio::test]
async fn what_the_state_folder_holds_is_not_believed_blindly() {
    let (publisher, folder) = (publish(), tempfile::tempdir().unwrap());
    let provider = publisher.provider("2026-01-01");
    publisher.says("8.8.8.0/24\n9.9.9.9\n");
    let first = book(folder.path());
    let live = first.live(&provider).unwrap();
    first.refresh(&publisher.refresh, &live).await.unwrap();
    let path = folder.path().join("ranges/a.json");
    let kept = std::fs::read_to_string(&path).unwrap();
    let begins_with = |provider: &Provider| {
        let live = book(folder.path()).live(provider).unwrap();
        live.contains(&ip("9.9.9.9"))
    };
    assert!(begins_with(&provider));
    assert!(!begins_with(&publisher.provider("9999-01-01")));
    for bad in [
        "{".to_owned(),
        String::new(),
        kept.replace("\"version\": 1", "\"version\": 2"),
        kept.replace("ips.txt", "other.txt"),
        kept.replace("9.9.9.9/32", "10.0.0.0/8"),
        kept.replace("9.9.9.9/32", "9.9.9.9/33"),
    ] {
        std::fs::write(&path, &bad).unwrap();
        assert!(!begins_with(&provider), "{bad}");
    }
    std::fs::write(&path, &kept).unwrap();
    assert!(begins_with(&provider));
}

// Fails if ranges that cannot be saved are not used either.
#[tokio::test]
async fn a_folder_that_cannot_be_written_is_reported() {
    let (publisher, folder) = (publish(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let provider = publisher.provider("2026-01-01");
    publisher.says("8.8.8.0/24\n9.9.9.9\n");
    let book = book(&file);
    let live = book.live(&provider).unwrap();
    let outcome = book.refresh(&publisher.refresh, &live).await;
    assert!(matches!(outcome, Err(RefreshError::Keep { .. })));
    assert!(live.contains(&ip("9.9.9.9")));
}

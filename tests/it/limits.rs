//! Tests of source addresses, trusted proxies, rates and in-flight permits.

use std::net::Ipv4Addr;

use crate::harness::app::{App, Latch, held, ok};
use crate::harness::client::Reply;
use crate::harness::gate::Gate;
use crate::harness::sender::{Hook, Provider, Sender};
use crate::harness::{LIMIT, poll_for};

fn event() -> Hook {
    Sender::new(Provider::Github).event("/hook")
}

fn route(app: &App, more: &str) -> String {
    Provider::Github.route("hook", &app.url("/in"), more)
}

fn retry_after(reply: &Reply) -> u64 {
    reply
        .header("retry-after")
        .expect("Retry-After")
        .parse()
        .unwrap()
}

mod allowlist {
    use super::*;

    /// Fails when `allow_ips` is read and not checked.
    #[tokio::test]
    async fn only_listed_addresses_may_send() {
        let app = App::start(ok());
        let gate = Gate::start(&route(
            &app,
            "allow_ips = [\"127.0.0.5\", \"127.1.0.0/16\"]",
        ))
        .await;
        for (source, status) in [
            ("127.0.0.5", 200),
            ("127.1.2.3", 200),
            ("127.0.0.6", 403),
            ("127.2.0.1", 403),
        ] {
            let reply = gate.client().from_ip(source).send(&event()).await;
            assert_eq!(reply.status, status, "{source}");
        }
        assert_eq!(app.count(), 2);
        gate.wait_for_line(&["source-not-allowed", "127.2.0.1"])
            .await;
    }

    fn kept_ranges(cidr: &str, read: &str) -> String {
        format!(
            r#"{{"version":1,"url":"https://api.github.com/meta","read":"{read}","cidrs":["{cidr}"]}}"#
        )
    }

    /// Fails when the gate uses only the compiled ranges, or only those known at the start.
    #[tokio::test]
    async fn ranges_that_were_refreshed_count_from_the_start_and_from_a_reload_on() {
        let app = App::start(ok());
        let server = "[server]\ntrusted_proxies = [\"127.0.0.8/30\"]\nstate_dir = \"$DIR\"\n";
        let text = format!("{server}{}", route(&app, "allow_ips = [\"provider\"]"));
        let gate = Gate::options(&text)
            .file(
                "ranges/github.json",
                kept_ranges("9.9.9.0/24", "2099-01-01").as_bytes(),
            )
            .start()
            .await;
        let status = async |source: &str| {
            let hook = event().with("X-Forwarded-For", source);
            gate.client().from_ip("127.0.0.9").send(&hook).await.status
        };
        assert_eq!(status("9.9.9.9").await, 200);
        assert_eq!(status("8.8.8.8").await, 403);
        assert_eq!(status("140.82.112.1").await, 403);
        let labels = ["github"];
        let read = gate.metric("hookgate_ip_ranges_read_timestamp_seconds", &labels);
        assert!((read.await - 4_070_908_800.0).abs() < 1.0);

        let file = gate.folder().join("ranges/github.json");
        std::fs::write(file, kept_ranges("8.8.8.0/24", "2099-01-02")).unwrap();
        assert_eq!(status("8.8.8.8").await, 403);
        gate.reload_as_it_is().await;
        assert_eq!(status("8.8.8.8").await, 200);
        assert_eq!(status("9.9.9.9").await, 403);
    }

    /// Fails when no ranges are known until a refresh has succeeded.
    #[tokio::test]
    async fn without_a_state_folder_the_built_in_ranges_count() {
        let app = App::start(ok());
        let server =
            "[server]\ntrusted_proxies = [\"127.0.0.8/30\"]\nstate_dir = \"/nonexistent\"\n";
        let text = format!(
            "{server}{}",
            route(&app, "allow_ips = [\"provider\", \"10.1.1.1\"]")
        );
        let gate = Gate::start(&text).await;
        for (source, status) in [("140.82.112.1", 200), ("10.1.1.1", 200), ("9.9.9.9", 403)] {
            let hook = event().with("X-Forwarded-For", source);
            let reply = gate.client().from_ip("127.0.0.9").send(&hook).await;
            assert_eq!(reply.status, status, "{source}");
        }
    }

    /// Fails when the allowlist is checked after the signature: any client could test signatures.
    #[tokio::test]
    async fn the_address_is_judged_before_the_signature() {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app, "allow_ips = [\"192.0.2.1\"]")).await;
        let forged = event().flip_body_byte();
        assert_eq!(gate.send(&forged).await.status, 403);
        assert_eq!(
            gate.send(&event().without("X-Hub-Signature-256"))
                .await
                .status,
            403
        );
    }

    /// Fails when a forwarding header of an untrusted client is accepted.
    #[tokio::test]
    async fn an_untrusted_client_cannot_claim_another_address() {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app, "allow_ips = [\"203.0.113.7\"]")).await;
        for (name, value) in [
            ("X-Forwarded-For", "203.0.113.7"),
            ("X-Real-IP", "203.0.113.7"),
            ("Forwarded", "for=203.0.113.7"),
            ("True-Client-IP", "203.0.113.7"),
            ("CF-Connecting-IP", "203.0.113.7"),
            ("X-Client-IP", "203.0.113.7"),
        ] {
            let reply = gate.send(&event().with(name, value)).await;
            assert_eq!(reply.status, 403, "{name}");
        }
        assert_eq!(app.count(), 0);
    }
}

mod trusted_proxies {
    use super::*;

    async fn gate(app: &App, server: &str) -> Gate {
        let server = format!("[server]\ntrusted_proxies = [\"127.0.0.8/30\"]\n{server}\n");
        let allowed = route(app, "allow_ips = [\"203.0.113.7\"]");
        Gate::start(&format!("{server}{allowed}")).await
    }

    /// Fails when the left-most address is used, or an untrusted client's header is accepted.
    #[tokio::test]
    async fn the_right_most_address_that_is_no_proxy_counts() {
        let app = App::start(ok());
        let gate = gate(&app, "").await;
        let cases = [
            ("127.0.0.9", "203.0.113.7", 200),
            ("127.0.0.9", "198.51.100.1, 203.0.113.7", 200),
            ("127.0.0.9", "203.0.113.7, 127.0.0.10", 200),
            ("127.0.0.9", "203.0.113.7, 198.51.100.1", 403),
            ("127.0.0.9", "203.0.113.7, nonsense", 403),
            ("127.0.0.9", "", 403),
            ("127.0.0.2", "203.0.113.7", 403),
        ];
        for (proxy, value, status) in cases {
            let hook = event().with("X-Forwarded-For", value);
            let reply = gate.client().from_ip(proxy).send(&hook).await;
            assert_eq!(reply.status, status, "{proxy}: {value:?}");
        }
    }

    /// Fails when `tell_origin` appends and nothing was removed before; either measure alone is sufficient.
    #[tokio::test]
    async fn the_app_gets_only_what_the_gate_knows() {
        let app = App::start(ok());
        let gate = gate(&app, "").await;
        let hook = event()
            .with("X-Forwarded-For", "6.6.6.6, 203.0.113.7")
            .with("X-Forwarded-Proto", "gopher");
        assert_eq!(
            gate.client().from_ip("127.0.0.9").send(&hook).await.status,
            200
        );
        let request = app.only_request();
        assert_eq!(
            request.header("x-forwarded-for").as_deref(),
            Some("203.0.113.7")
        );
        assert_eq!(
            request.header("x-forwarded-proto").as_deref(),
            Some("https")
        );
    }

    /// Returns a PROXY protocol v2 header for TCP over IPv4.
    fn version2(source: Ipv4Addr) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        bytes.extend(source.octets());
        bytes.extend([127, 0, 0, 1]);
        bytes.extend([0x10, 0x00, 0x01, 0xbb]);
        bytes
    }

    /// Fails when the PROXY header of an untrusted client is accepted, or its address is not the source.
    #[tokio::test]
    async fn the_proxy_protocol_counts_from_trusted_proxies_only() {
        let app = App::start(ok());
        let gate = gate(&app, "proxy_protocol = \"required\"").await;
        let (good, bad) = (
            Ipv4Addr::new(203, 0, 113, 7),
            Ipv4Addr::new(198, 51, 100, 1),
        );
        let version1 =
            |ip: Ipv4Addr| format!("PROXY TCP4 {ip} 127.0.0.1 4096 443\r\n").into_bytes();
        for (header, status) in [
            (version1(good), 200),
            (version1(bad), 403),
            (version2(good), 200),
            (version2(bad), 403),
        ] {
            let client = gate.client().from_ip("127.0.0.9").preamble(&header);
            assert_eq!(client.send(&event()).await.status, status);
        }
        let stranger = gate.client().from_ip("127.0.0.2").preamble(&version1(good));
        assert!(stranger.try_send(&event()).await.is_err());
        let without = gate.client().from_ip("127.0.0.9");
        assert!(without.try_send(&event()).await.is_err());
        assert_eq!(app.count(), 2);
    }

    /// Fails when the header is read although the config does not enable it.
    #[tokio::test]
    async fn without_the_setting_a_proxy_header_ends_the_connection() {
        let app = App::start(ok());
        let gate = gate(&app, "").await;
        let client = gate.client().from_ip("127.0.0.9");
        let client = client.preamble(b"PROXY TCP4 203.0.113.7 127.0.0.1 4096 443\r\n");
        assert!(client.try_send(&event()).await.is_err());
        assert_eq!(app.count(), 0);
    }
}

mod rates {
    use super::*;

    /// Fails when the source's rate is checked after the signature, or not keyed by source.
    #[tokio::test]
    async fn a_source_that_is_too_fast_learns_when_to_retry() {
        let app = App::start(ok());
        let server = "[server]\nper_source_rate_limit = { per_second = 1, burst = 4 }\n\n";
        let gate = Gate::start(&format!("{server}{}", route(&app, ""))).await;
        let flood = gate.client().from_ip("127.0.0.20");
        let mut statuses = Vec::new();
        for _ in 0..12 {
            let reply = flood.send(&event().flip_body_byte()).await;
            if reply.status == 429 {
                assert!((1..=2).contains(&retry_after(&reply)));
            }
            statuses.push(reply.status);
        }
        assert_eq!(statuses[..4], [401; 4]);
        assert!(
            statuses.iter().filter(|status| **status == 429).count() >= 4,
            "{statuses:?}"
        );
        let honest = gate.client().from_ip("127.0.0.21").send(&event()).await;
        assert_eq!(honest.status, 200, "another source is not touched");
        assert_eq!(app.count(), 1);
    }

    /// Fails when verified requests stay charged to their source: a push to many repositories comes from one address.
    #[tokio::test]
    async fn a_burst_of_genuine_events_from_one_source_passes_with_the_defaults() {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app, "")).await;
        let mut connection = gate.client().connect().await.unwrap();
        for number in 0..300 {
            let reply = connection.send(&event()).await;
            assert_eq!(reply.status, 200, "event {number}");
        }
        assert_eq!(app.count(), 300);
    }

    /// Fails when a refund exceeds the charge, or a refused request is refunded: the rate is so low that the allowance
    /// does not refill during the test.
    #[tokio::test]
    async fn only_what_is_not_verified_counts_against_a_source() {
        let app = App::start(ok());
        let server = "[server]\nper_source_rate_limit = \"4/h\"\n\n";
        let gate = Gate::start(&format!("{server}{}", route(&app, ""))).await;
        let (genuine, missing) = (event(), event().without("X-Hub-Signature-256"));
        for (hook, status) in [
            (&event(), 200),
            (&event().flip_body_byte(), 401),
            (&event(), 200),
            (&missing, 401),
            (&genuine, 200),
            // A duplicate is verified, so it is refunded.
            (&genuine, 200),
            (&event().flip_body_byte(), 401),
            (&event(), 200),
            (&missing, 401),
            (&missing, 429),
            // Before it is read, it looks like the others.
            (&event(), 429),
        ] {
            assert_eq!(gate.send(hook).await.status, status);
        }
    }

    /// Fails when the route's rate comes before the signature check: untrusted clients would use it up.
    #[tokio::test]
    async fn untrusted_clients_do_not_use_up_a_routes_rate() {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app, "rate_limit = { per_second = 1, burst = 3 }")).await;
        for _ in 0..10 {
            assert_eq!(gate.send(&event().flip_body_byte()).await.status, 401);
        }
        let mut replies = Vec::new();
        for _ in 0..8 {
            replies.push(gate.send(&event()).await);
        }
        let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
        assert_eq!(statuses[..3], [200; 3]);
        let limited: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
        assert!(limited.len() >= 2, "{statuses:?}");
        assert!(limited.iter().all(|reply| retry_after(reply) >= 1));
        let taken = statuses.iter().filter(|status| **status == 200).count();
        assert_eq!(app.count(), taken);
    }

    /// Fails when a rate-limited event spends its id: its retry would count as a duplicate and be lost.
    #[tokio::test]
    async fn an_event_that_was_limited_may_come_again() {
        let app = App::start(ok());
        let gate = Gate::start(&route(&app, "rate_limit = { per_second = 5, burst = 1 }")).await;
        assert_eq!(gate.send(&event()).await.status, 200);
        let hook = event();
        let taken = poll_for("the next token of the rate limit", LIMIT, async || {
            let reply = gate.send(&hook).await;
            (reply.status != 429).then_some(reply)
        })
        .await;
        assert_eq!(
            (taken.status, taken.header("hookgate-duplicate")),
            (200, None)
        );
        assert_eq!(app.count(), 2);
    }
}

/// Fails when requests in flight are not counted, or a permit is not returned.
#[tokio::test]
async fn too_many_requests_in_flight_are_shed_with_503() {
    let latch = Latch::default();
    let app = App::start(held(&latch, 200));
    let gate = Gate::start(&format!(
        "[server]\nmax_in_flight = 2\n\n{}",
        route(&app, "")
    ))
    .await;
    let held = [event(), event()].map(|hook| {
        let client = gate.client();
        tokio::spawn(async move { client.send(&hook).await.status })
    });
    app.wait_for_requests(2).await;
    let shed = gate.send(&event()).await;
    assert_eq!(shed.status, 503);
    assert!(retry_after(&shed) >= 1);
    latch.open();
    for task in held {
        assert_eq!(task.await.unwrap(), 200);
    }
    assert_eq!(gate.send(&event()).await.status, 200);
    assert_eq!(app.count(), 3);
    gate.wait_for_line(&["overload"]).await;
}

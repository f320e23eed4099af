//! Tests of the manager against Pebble, with a clock that the test sets. They are left out where Pebble is not installed.

mod authority;
mod dns;
mod moves;
mod rig;
mod window;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::acme::tests::rig::{AcmeRig, HOUR, RigOptions};
use crate::test_rig::pebble::PebbleSettings;

/// Fails when a certificate is not renewed at two thirds of its lifetime, when a key can be read by others, or when a
/// rejected nonce ends an order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_obtained_and_renewed_in_time() {
    let settings = |settings: &mut PebbleSettings| settings.nonce_rejects = 30;
    let Some(rig) = AcmeRig::start(RigOptions::new(&["a.example.com"]).pebble(settings)).await
    else {
        return;
    };
    assert!(rig.handshake("a.example.com").await.is_err());
    let missing = rig.manager.missing().unwrap();
    assert!(missing.contains("no certificate yet"), "{missing}");
    rig.settle().await;
    assert_eq!((rig.manager.missing(), rig.issued()), (None, 1));
    let first = rig.handshake("a.example.com").await.unwrap();
    let health = rig.health("a.example.com");
    assert_eq!(health.failure, None);
    let lifetime = 90 * 24 * HOUR;
    let next = health.next_renewal_ms.unwrap() / 1000;
    let began = health.not_after.unwrap() - lifetime;
    assert!(
        (next - began - lifetime / 3 * 2).abs() < 10,
        "{next} {began}"
    );
    for file in std::fs::read_dir(rig.folder().join("acme")).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{:?}", file.path());
    }
    // Nothing is due until then.
    rig.set_seconds(next - HOUR);
    rig.settle().await;
    assert_eq!(rig.issued(), 1);
    rig.set_seconds(next + 1);
    rig.settle().await;
    assert_eq!(rig.issued(), 2);
    assert_ne!(rig.handshake("a.example.com").await.unwrap(), first);
}

/// Fails when a CA that is away costs the certificate in use, is asked in a hurry, or is not asked again in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ca_that_is_away_for_a_day_is_asked_until_it_is_back() {
    let Some(mut rig) = AcmeRig::start(RigOptions::new(&["a.example.com"])).await else {
        return;
    };
    rig.settle().await;
    let first = rig.handshake("a.example.com").await.unwrap();
    let began = rig.health("a.example.com").next_renewal_ms.unwrap() / 1000 + 1;
    rig.pebble.stop();
    rig.set_seconds(began);
    let mut attempts = 0;
    while rig.seconds() < began + 24 * HOUR {
        let asked = rig.seconds();
        rig.settle().await;
        attempts += 1;
        let health = rig.health("a.example.com");
        let failure = health.failure.unwrap();
        assert_eq!(failure.count, attempts);
        assert!(
            failure.text.contains("cannot connect to"),
            "{}",
            failure.text
        );
        let next = health.next_renewal_ms.unwrap();
        assert!(next / 1000 >= asked + 60, "{next} after {asked}");
        rig.set_seconds(next / 1000 + 1);
    }
    assert!((24..=40).contains(&attempts), "{attempts} in a day");
    assert_eq!(rig.handshake("a.example.com").await.unwrap(), first);
    // Pebble has forgotten the account, so a new one is needed as well.
    rig.pebble.resume();
    rig.settle().await;
    let next = rig.health("a.example.com").next_renewal_ms.unwrap();
    rig.set_seconds((next / 1000 + 1).max(rig.seconds()));
    rig.settle().await;
    assert_ne!(rig.handshake("a.example.com").await.unwrap(), first);
    assert_eq!(rig.health("a.example.com").failure, None);
}

/// Fails when one name that cannot be proven keeps another one from its certificate, when the reason is not shown, or
/// when the next attempt is in a hurry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_fails_is_repeated_later_and_holds_up_no_other() {
    let options = RigOptions::new(&["bad.example.com", "good.example.com"]);
    let Some(rig) = AcmeRig::start(options).await else {
        return;
    };
    // Nothing listens there, so the CA cannot check the name.
    rig.pebble.set_address("bad.example.com", "127.0.0.9");
    let began = rig.seconds();
    rig.settle().await;
    assert!(rig.handshake("good.example.com").await.is_ok());
    let health = rig.health("bad.example.com");
    let failure = health.failure.unwrap();
    assert_eq!((failure.count, health.not_after), (1, None));
    assert!(failure.text.contains("127.0.0.9"), "{}", failure.text);
    let next = health.next_renewal_ms.unwrap() / 1000;
    assert!(next >= began + 300, "{next} after {began}");
    rig.pebble.set_address("bad.example.com", "127.0.0.1");
    rig.settle().await;
    assert_eq!(rig.issued(), 1);
    rig.set_seconds(next + 1);
    rig.settle().await;
    assert_eq!(rig.health("bad.example.com").failure, None);
    assert_eq!(rig.issued(), 2);
}

/// Fails when a process that dies during the check of the CA begins a second order, or loses the key of the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unfinished_order_is_continued() {
    let slow = |settings: &mut PebbleSettings| {
        settings.environment = vec![("PEBBLE_VA_SLEEPTIME", "2".to_owned())];
    };
    let Some(rig) = AcmeRig::start(RigOptions::new(&["a.example.com"]).pebble(slow)).await else {
        return;
    };
    {
        let round = rig.manager.round();
        let stored = crate::test_rig::wait_for("the stored order", Duration::from_secs(20), || {
            rig.folder().join("acme/order-a.example.com.json").exists()
        });
        // The future is dropped in the middle, as a process that is killed would do.
        tokio::select! {
            _ = round => panic!("the order ended before it could be interrupted"),
            () = stored => {}
        }
    }
    let manager = rig.another_manager();
    rig.settle_manager(&manager).await;
    assert_eq!((rig.pebble.orders(), rig.issued()), (1, 1));
    assert!(rig.handshake("a.example.com").await.is_ok());
    assert!(!rig.folder().join("acme/order-a.example.com.json").exists());
}

/// Fails when names that a certificate of a file covers get another one, or a name that was removed stays in use.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_come_first_and_removed_names_go() {
    let options = RigOptions::new(&["file.example.com", "a.example.com"]).file("*.example.com");
    let Some(rig) = AcmeRig::start(options).await else {
        return;
    };
    rig.settle().await;
    assert_eq!(rig.issued(), 0);
    assert_eq!(rig.manager.health(), []);
    rig.without_file();
    rig.settle().await;
    assert_eq!(rig.issued(), 2);
    rig.follow(&["a.example.com"]);
    rig.settle().await;
    let names: Vec<_> = rig
        .manager
        .health()
        .iter()
        .map(|one| one.names.clone())
        .collect();
    assert_eq!(names, [["a.example.com"]]);
    assert_eq!(rig.issued(), 2);
}

//! Tests of the choice and the reload of certificates.

use super::*;
use crate::edge::testing::write_pair;

#[test]
fn names_and_expiry_are_read_from_the_leaf() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_pair(
        folder.path(),
        "a",
        &["Hooks.example.com", "*.example.org", "192.0.2.7"],
        30,
    );
    let pair = load_pair(&files.cert, &files.key).unwrap();
    // The common name is not among them.
    let names = ["hooks.example.com", "*.example.org", "192.0.2.7"];
    assert_eq!(pair.info.names, names);
    assert!(!pair.info.is_expired(ClockReading::read()));
    let end = pair.info.not_after;
    assert!(!pair.info.is_expired(ClockReading::at_unix_seconds(end)));
    assert!(pair.info.is_expired(ClockReading::at_unix_seconds(end + 1)));
}

// Mutation: remove one of the files from `digest_of`, or the length.
#[test]
fn a_change_of_either_file_is_seen() {
    let digest = digest_of(b"cert", b"key");
    assert_eq!(digest, digest_of(b"cert", b"key"));
    for (cert, key) in [("cerT", "key"), ("cert", "keY"), ("certk", "ey")] {
        assert_ne!(digest, digest_of(cert.as_bytes(), key.as_bytes()));
    }
}

#[test]
fn each_fault_has_its_own_error() {
    let folder = tempfile::tempdir().unwrap();
    let a = write_pair(folder.path(), "a", &["a.example"], 30);
    let b = write_pair(folder.path(), "b", &["b.example"], 30);
    let old = write_pair(folder.path(), "old", &["old.example"], -1);
    let missing = folder.path().join("none.pem");
    let check = |cert: &Path, key: &Path| load_pair(cert, key).map(|_| ()).unwrap_err();
    assert!(matches!(
        check(&a.cert, &b.key),
        CertificateError::Mismatch { .. }
    ));
    assert!(matches!(
        check(&missing, &a.key),
        CertificateError::Read { .. }
    ));
    assert!(matches!(
        check(&a.key, &a.key),
        CertificateError::NoCertificate { .. }
    ));
    assert!(matches!(
        check(&a.cert, &a.cert),
        CertificateError::NoKey { .. }
    ));
    assert!(matches!(
        check(&old.cert, &old.key),
        CertificateError::Expired { .. }
    ));
    assert!(matches!(
        load_authorities(&a.key),
        Err(CertificateError::NoCertificate { .. })
    ));
    // At start, an expired certificate is better than no service, and is reported.
    let store = CertificateStore::load(&[old]).unwrap();
    assert!(matches!(
        store.deny_expired(),
        Err(CertificateError::Expired { .. })
    ));
}

#[test]
fn exact_beats_wildcard_and_a_wildcard_is_one_label() {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        write_pair(folder.path(), "first", &["default.example"], 30),
        write_pair(folder.path(), "wild", &["*.example.com"], 30),
        write_pair(folder.path(), "exact", &["a.example.com"], 30),
        write_pair(
            folder.path(),
            "later",
            &["a.example.com", "*.example.com"],
            30,
        ),
    ];
    let key_of = |files: &CertificateFiles| {
        let pair = load_pair(&files.cert, &files.key).unwrap();
        pair.key.cert[0].clone()
    };
    let store = CertificateStore::load(&files).unwrap();
    let names = store.current.load();
    let schemes = ClientSignatureSchemes {
        handshake: Cow::Borrowed(&SCHEMES),
        all: &SCHEMES,
    };
    let find = |name: &str| names.find(name, &schemes);
    let exact = find("a.example.com").unwrap();
    let wild = find("b.example.com").unwrap();
    assert_eq!(exact.cert[0], key_of(&files[2]));
    assert_eq!(wild.cert[0], key_of(&files[1]));
    assert!(Arc::ptr_eq(&wild, &find("c.example.com").unwrap()));
    assert!(find("x.b.example.com").is_none());
    assert!(find("example.com").is_none());
}

#[test]
fn reload_takes_new_files_and_keeps_the_old_ones_on_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    let files = write_pair(folder.path(), "a", &["a.example"], 30);
    let store = CertificateStore::load(std::slice::from_ref(&files)).unwrap();
    assert!(!store.reload().unwrap());
    write_pair(folder.path(), "a", &["b.example"], 60);
    assert!(store.reload().unwrap());
    assert_eq!(store.infos()[0].names, ["b.example"]);
    let other = write_pair(folder.path(), "other", &["c.example"], 60);
    std::fs::copy(&other.cert, &files.cert).unwrap();
    assert!(matches!(
        store.reload(),
        Err(CertificateError::Mismatch { .. })
    ));
    assert_eq!(store.infos()[0].names, ["b.example"]);
    write_pair(folder.path(), "a", &["late.example"], -1);
    assert!(matches!(
        store.reload(),
        Err(CertificateError::Expired { .. })
    ));
    assert_eq!(store.infos()[0].names, ["b.example"]);
}

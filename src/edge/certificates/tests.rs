//! Tests of loading certificates.

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
}

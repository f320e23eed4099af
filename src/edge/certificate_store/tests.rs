//! Tests of the choice and the reload of certificates.

use std::borrow::Cow;

use super::*;
use crate::edge::certificates::{SCHEMES, load_pair};
use crate::edge::testing::write_pair;

fn load(files: &[CertificateFiles]) -> CertificateStore {
    CertificateStore::load(files, Arc::default()).unwrap()
}

#[test]
fn an_expired_certificate_is_better_than_no_service() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_pair(folder.path(), "old", &["old.example"], -1);
    let store = load(&[old]);
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
    let store = load(&files);
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
    let store = load(std::slice::from_ref(&files));
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

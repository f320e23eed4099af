//! Each part survives writing and reading, and each error names its cause.

use proptest::prelude::*;

use super::*;

const FILE: &[u8] = b"# received: 2026-05-03T10:11:12.345Z\n# by hand\nPOST /a?b=%20c HTTP/1.1\r\n\
    Host: hooks.example.com\nX-Two: 1\r\nx-two:  2 \r\n\r\n{\"a\":1}\n";

#[test]
fn every_part_is_read() {
    let file = RequestFile::parse(FILE).unwrap();
    assert_eq!(file.method, Method::POST);
    assert_eq!(file.target, "/a?b=%20c");
    assert_eq!(file.fact("Received"), Some("2026-05-03T10:11:12.345Z"));
    assert_eq!(file.comments.get(1).unwrap(), "by hand");
    let names: Vec<&str> = file.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Host", "X-Two", "x-two"]);
    assert_eq!(file.header("host"), Some("hooks.example.com"));
    assert_eq!(file.header("x-two"), None);
    assert_eq!(
        file.header_map().unwrap().get_all("x-two").iter().count(),
        2
    );
    assert_eq!(file.body, "{\"a\":1}\n");
    assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
}

#[test]
fn errors_give_line_cause_and_correction() {
    for (text, line, part) in [
        ("", 0, "is empty"),
        ("POST /a HTTP/1.1", 1, "ends before the empty line"),
        ("POST /a HTTP/1.1\nA: 1\n", 3, "ends before the empty line"),
        ("# x\nPOST  /a HTTP/1.1\n\n", 2, "`POST /path HTTP/1.1`"),
        ("PO(ST /a HTTP/1.1\n\n", 1, "begin with a method"),
        ("POST a HTTP/1.1\n\n", 1, "begin with `/`"),
        ("POST /a#b HTTP/1.1\n\n", 1, "fragment"),
        ("POST /a HTTP/2\n\n", 1, "` HTTP/1.1`"),
        (
            "POST /a HTTP/1.1\nA b: 1\n\n",
            2,
            "`A b` is not a header name",
        ),
        ("POST /a HTTP/1.1\nA : 1\n\n", 2, "not a header name"),
        ("POST /a HTTP/1.1\nA: 1\n b\n\n", 3, "begins with a space"),
        ("POST /a HTTP/1.1\nA: 1\u{1}\n\n", 2, "control character"),
        (
            "POST /a HTTP/1.1\n{\"a\"}\n\n",
            2,
            "empty line must come before the body",
        ),
    ] {
        let error = RequestFile::parse(text.as_bytes()).unwrap_err();
        assert_eq!(error.line, line, "{text:?}: {error}");
        assert!(error.to_string().contains(part), "{text:?}: {error}");
    }
}

// Fails when an error shows a value that may be a token.
#[test]
fn an_error_shows_no_value() {
    let error = RequestFile::parse(b"POST / HTTP/1.1\nAuthorization: s3cret\x01\n\n");
    assert!(!error.unwrap_err().to_string().contains("s3cret"));
}

#[test]
fn ambiguous_requests_are_not_written() {
    let file = || RequestFile::new(Method::POST, "/", Bytes::new());
    let with = |name: &str, value: &'static str| RequestFile {
        headers: vec![(name.to_owned(), Bytes::from_static(value.as_bytes()))],
        ..file()
    };
    for file in [
        with("a", "1\r\nb: 2"),
        with("a\nb", "1"),
        with("a", " 1"),
        RequestFile {
            target: "/ HTTP/1.1".to_owned(),
            ..file()
        },
        RequestFile {
            comments: vec!["a\nb".to_owned()],
            ..file()
        },
        with(
            "a",
            std::str::from_utf8(Vec::leak(vec![b'x'; MAX_HEAD])).unwrap(),
        ),
    ] {
        assert!(file.to_bytes().is_err(), "{:.100}", format!("{file:?}"));
    }
}

#[test]
fn a_line_end_of_an_editor_is_reported() {
    let file = |body: &str| {
        let text = format!("POST / HTTP/1.1\nContent-Length: 2\n\n{body}");
        RequestFile::parse(text.as_bytes())
            .unwrap()
            .length_warning()
    };
    assert_eq!(file("{}"), None);
    assert!(file("{}\n").unwrap().contains("an editor"));
    assert!(!file("{1}").unwrap().contains("an editor"));
}

#[test]
fn a_head_without_end_is_refused() {
    let long = [
        b"POST / HTTP/1.1\n".as_slice(),
        &b"a: 1\n".repeat(MAX_LINES),
    ]
    .concat();
    assert!(
        RequestFile::parse(&long)
            .unwrap_err()
            .message
            .contains("more than")
    );
    let wide = vec![b'x'; MAX_HEAD + 1];
    assert!(
        RequestFile::parse(&wide)
            .unwrap_err()
            .message
            .contains("more than")
    );
}

proptest! {
    #[test]
    fn a_written_file_reads_back(
        comments in proptest::collection::vec("[^\r\n]{0,20}", 0..4),
        method in "[A-Z]{1,7}",
        target in "/[a-zA-Z0-9%?&=._~/-]{0,30}",
        headers in proptest::collection::vec(("[A-Za-z0-9-]{1,12}", "([!-~]([ -~]{0,20}[!-~])?)?"), 0..8),
        body in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let file = RequestFile {
            comments,
            method: method.parse().unwrap(),
            target,
            headers: headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect(),
            body: Bytes::from(body),
        };
        prop_assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
    }

    #[test]
    fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(file) = RequestFile::parse(&text) {
            prop_assert_eq!(RequestFile::parse(&file.to_bytes().unwrap()).unwrap(), file);
        }
    }
}

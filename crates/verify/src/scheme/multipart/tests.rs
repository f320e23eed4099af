//! Tests with bodies of real clients, and with bodies that two parsers split differently.

use http::HeaderValue;

use super::*;
use crate::scheme::form;

fn announced(content_type: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(content_type).unwrap();
    headers.insert(header::CONTENT_TYPE, value);
    headers
}

fn read(body: &[u8]) -> Result<Vec<(String, String)>, &'static str> {
    let headers = announced("multipart/form-data; boundary=b0");
    let fields = form::read(&headers, body)?;
    let owned = fields.into_iter();
    Ok(owned
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect())
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected.iter();
    owned
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

const TOKEN: &str = "--b0\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nabc\r\n";

/// Bodies of Python's requests, Go and browsers. Fails if files count as fields, or if values lose bytes at their ends.
#[test]
fn fields_and_files_are_told_apart() {
    let body = format!(
        "{TOKEN}--b0\r\ncontent-disposition: form-data; name=timestamp\r\nContent-Type: text/plain\r\n\r\n 17 \r\n\r\n--b0\r\n\
         Content-Disposition: form-data; name=\"attachment-1\"; filename=\"a \\\"b\\\"; name=.txt\"\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Type: text/plain\r\n\r\nAAAA\r\n--b0\r\n\
         Content-Disposition: form-data; name=\"e\"\r\n\r\n\r\n--b0--\r\n"
    );
    let expected = [
        ("token", "abc"),
        ("timestamp", " 17 \r\n"),
        ("attachment-1", ""),
        ("e", ""),
    ];
    assert_eq!(read(body.as_bytes()), Ok(pairs(&expected)));
    let mut binary = TOKEN.as_bytes().to_vec();
    binary.extend(b"--b0\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n\xff\r\n--b0--");
    let expected = [("token", "abc"), ("n", "")];
    assert_eq!(read(&binary), Ok(pairs(&expected)));
}

/// Fails if a body that another parser splits differently is accepted.
#[test]
fn bodies_with_two_meanings_are_refused() {
    let end = "--b0--\r\n";
    let part = |head: &str| format!("{TOKEN}--b0\r\n{head}\r\n\r\nx\r\n{end}");
    let named = "Content-Disposition: form-data; name=\"token\"";
    for body in [
        String::new(),
        "token=abc".to_owned(),
        TOKEN.to_owned(),
        format!("preamble\r\n{TOKEN}{end}"),
        format!("{TOKEN}{end}{TOKEN}{end}"),
        format!("{TOKEN}--b0x\r\n{named}\r\n\r\nx\r\n{end}"),
        format!("{TOKEN}--b0 \r\n{named}\r\n\r\nx\r\n{end}"),
        format!("{TOKEN}--b0\n{named}\r\n\r\nx\r\n{end}"),
        format!("{TOKEN}--b0\r\n{named}\r\nx\r\n{end}"),
        part("Content-Disposition: form-data"),
        part("Content-Disposition: attachment; name=\"x\""),
        part("Content-Disposition: form-data; filename=\"x\""),
        part("Content-Disposition: form-data; name=\"x\"; name=\"token\""),
        part("Content-Disposition: form-data; name=\"x"),
        part("Content-Disposition: form-data; name=\"x\" token"),
        part("Content-Disposition: form-data; filename=\"a\\\"; name=\"token\""),
        part("Content-Disposition: form-data;\r\n name=\"x\""),
        part("Content-Disposition: form-data; name=\"x\"\r\nContent-Transfer-Encoding: base64"),
        part(&format!("{named}\r\n{named}")),
        part(&format!("{named}\r\nX-Long: {}", "x".repeat(MAX_HEAD))),
        part(&format!("{named}{}", "\r\nX: y".repeat(MAX_LINES))),
        format!("{}{end}", TOKEN.repeat(MAX_PARTS + 1)),
    ] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
    let doubled = format!("{TOKEN}{TOKEN}{end}");
    let headers = announced("multipart/form-data; boundary=b0");
    let fields = form::read(&headers, doubled.as_bytes()).unwrap();
    assert!(form::one(&fields, "token").is_err());
}

#[test]
fn the_boundary_is_the_headers() {
    let of = |value: &str| {
        boundary(&announced(value))
            .map(|found| found.map(|bytes| String::from_utf8(bytes).unwrap()))
    };
    let quoted = "Multipart/Form-Data; charset=utf-8; Boundary=\"a b;c\"";
    // A boundary cannot contain a semicolon.
    assert!(of(quoted).is_err());
    let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
    for wrong in [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/form-data; boundary=\"a",
        long.as_str(),
    ] {
        assert!(of(wrong).is_err(), "{wrong}");
    }
    let written = "Multipart/Form-Data; charset=utf-8; Boundary=\"a b'c\"";
    assert_eq!(of(written), Ok(Some("a b'c".to_owned())));
    assert_eq!(of("application/json"), Ok(None));
    assert_eq!(boundary(&HeaderMap::new()), Ok(None));
}

/// Measures no time: bodies that look like boundaries at every byte are rejected, and the test ends soon only if the
/// search is linear.
#[test]
fn near_misses_of_the_boundary_cost_one_pass() {
    let mut body = b"--b0\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n".to_vec();
    body.extend(b"\r\n--b".repeat(1 << 18));
    assert!(read(&body).is_err());
}

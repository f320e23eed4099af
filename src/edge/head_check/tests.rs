//! Valid heads, and each fault of invalid ones.

use proptest::prelude::*;

use super::*;

fn whole(head: &[u8]) -> Result<Option<BodyFraming>, HeadFault> {
    match EndFinder::default().find(head)? {
        None => Ok(None),
        Some(end) => check_head(&head[..end]).map(Some),
    }
}

fn check(head: &str, expected: Result<BodyFraming, HeadFault>) {
    assert_eq!(whole(head.as_bytes()), expected.map(Some), "{head:?}");
}

#[test]
fn valid_heads_pass() {
    check(
        "POST /a HTTP/1.1\r\nHost: h\r\n\r\n",
        Ok(BodyFraming::Empty),
    );
    check(
        "POST / HTTP/1.1\r\nhost:h:8443\r\ncontent-length: 5 \r\n\r\n",
        Ok(BodyFraming::Length(5)),
    );
    check(
        "POST /?a=b|{c} HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\n\r\n",
        Ok(BodyFraming::Chunked),
    );
    check("GET / HTTP/1.0\r\n\r\n", Ok(BodyFraming::Empty));
    check(
        "GET https://H/a HTTP/1.1\r\nHost: h\r\n\r\n",
        Ok(BodyFraming::Empty),
    );
    check(
        "GET / HTTP/1.1\r\nHost: h\r\nX: caf\u{e9}\t1\r\nEmpty:\r\n\r\n",
        Ok(BodyFraming::Empty),
    );
}

// Mutation for each line: make the arm of the named fault return Ok.
#[test]
fn each_fault_is_found() {
    use HeadFault::*;
    let head = |lines: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{lines}\r\n");
    for (lines, fault) in [
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            BothFramings,
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            BothFramings,
        ),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", ContentLength),
        ("Content-Length: 1, 1\r\n", ContentLength),
        ("Content-Length: +1\r\n", ContentLength),
        ("Content-Length: -1\r\n", ContentLength),
        ("Content-Length: 0x1\r\n", ContentLength),
        ("Content-Length:\r\n", ContentLength),
        ("Content-Length: 1 1\r\n", ContentLength),
        ("Content-Length: 18446744073709551616\r\n", ContentLength),
        ("Transfer-Encoding: gzip, chunked\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked, chunked\r\n", TransferEncoding),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            TransferEncoding,
        ),
        ("Transfer-Encoding: \"chunked\"\r\n", TransferEncoding),
        ("Transfer-Encoding: chunked;a=b\r\n", TransferEncoding),
        ("Transfer-Encoding: identity\r\n", TransferEncoding),
        ("Transfer-Encoding:\r\n", TransferEncoding),
        ("Transfer-Encoding: xchunked\r\n", TransferEncoding),
        ("Transfer-Encoding : chunked\r\n", HeaderName),
        ("Transfer-Encoding\r\n", HeaderName),
        (": x\r\n", HeaderName),
        ("a b: x\r\n", HeaderName),
        ("a\u{e9}: x\r\n", HeaderName),
        ("a(: x\r\n", HeaderName),
        ("X: 1\r\n folded\r\n", Folded),
        ("X: 1\r\n\tfolded\r\n", Folded),
        ("X: 1\n", LineEnd),
        ("X: 1\nY: 2\r\n", LineEnd),
        ("X: 1\rY: 2\r\n", LineEnd),
        ("X: a\0b\r\n", Control),
        ("X: a\x0bb\r\n", Control),
        ("X: a\x7fb\r\n", Control),
        ("X\0: a\r\n", Control),
        ("Host: h\r\n", Host),
        ("Content-Type: a\r\ncontent-type: b\r\n", Duplicate),
        ("Authorization: a\r\nAuthorization: b\r\n", Duplicate),
        (
            "Expect: 100-continue\r\nExpect: 100-continue\r\n",
            Duplicate,
        ),
        (&"X: 1\r\n".repeat(100), TooLarge),
    ] {
        check(&head(lines), Err(fault));
    }
}

#[test]
fn odd_first_lines_and_hosts_are_rejected() {
    use HeadFault::*;
    for (line, fault) in [
        ("get / HTTP/1.1", Method),
        ("G\u{e9}T / HTTP/1.1", Method),
        ("CONNECT h:443 HTTP/1.1", Method),
        ("TRACE / HTTP/1.1", Method),
        ("PRI * HTTP/2.0", Version),
        ("GET / HTTP/2.0", Version),
        ("GET / HTTP/1.2", Version),
        ("GET / http/1.1", Version),
        ("GET / HTTP/1.1 ", Version),
        ("GET  / HTTP/1.1", Version),
        ("GET / HTTP/1.1 x", Version),
        ("GET /", RequestLine),
        ("GET", RequestLine),
        ("", RequestLine),
        (" GET / HTTP/1.1", Method),
        ("GET * HTTP/1.1", Target),
        ("OPTIONS * HTTP/1.1", Target),
        ("GET a HTTP/1.1", Target),
        ("GET /a#b HTTP/1.1", Target),
        ("GET /a\tb HTTP/1.1", Target),
        ("GET /\u{e9} HTTP/1.1", Target),
        ("GET /\0 HTTP/1.1", Target),
        ("GET ftp://h/ HTTP/1.1", Target),
        ("GET http://h HTTP/1.1", Target),
        ("GET http:///a HTTP/1.1", Target),
        ("GET http://u@h/ HTTP/1.1", Target),
        ("GET http://other/ HTTP/1.1", Host),
    ] {
        check(&format!("{line}\r\nHost: h\r\n\r\n"), Err(fault));
    }
    for host in [
        "", "a b", "a/b", "a@b", "a:b", "a:", "a:99999", "a:1:2", "[::1", "[x]", "a,b", "a%41",
        "\u{e9}",
    ] {
        check(
            &format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"),
            Err(Host),
        );
    }
    check("GET / HTTP/1.1\r\n\r\n", Err(Host));
    check(
        "GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        Err(TransferEncoding),
    );
    check("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Err(Host));
}

#[test]
fn hopeless_beginnings_are_rejected_at_once() {
    for begin in [
        "\x16\x03\x01",
        "get",
        "\r\n",
        "\n",
        "GET /\r\n",
        "PRI * HTTP/2.0\r\n",
        "GET / HTTP/1.1\nHost",
    ] {
        assert!(whole(begin.as_bytes()).is_err(), "{begin:?}");
    }
    for begin in [
        "",
        "G",
        "GET / HT",
        "GET / HTTP/1.1\r\nHo",
        "GET / HTTP/1.1\r\nHost: h\r\n",
    ] {
        assert_eq!(whole(begin.as_bytes()), Ok(None), "{begin:?}");
    }
}

/// Heads that are nearly valid, so that both verdicts occur.
fn nearly_heads() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("\r\n".to_owned()),
        Just("Host: h\r\n".to_owned()),
        Just("Content-Length: 3\r\n".to_owned()),
        Just("Transfer-Encoding: chunked\r\n".to_owned()),
        "[A-Za-z0-9_ :\t-]{0,12}: ?[ -~]{0,20}\r\n",
        "[\\x00-\\x7f]{0,6}",
    ];
    let first = "[A-Z]{1,5} /[!-~]{0,20} HTTP/1.[01]\r\n";
    (first, prop::collection::vec(piece, 0..6)).prop_map(|(first, rest)| {
        let text = format!("{first}{}\r\n", rest.concat());
        text.into_bytes()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        let _ = whole(&bytes);
        let _ = check_head(&bytes);
    }

    #[test]
    fn splits_do_not_change_the_verdict(head in nearly_heads(), cuts in prop::collection::vec(1_usize..40, 0..20)) {
        let at_once = whole(&head);
        let mut finder = EndFinder::default();
        let (mut have, mut verdict) = (0_usize, Ok(None));
        for step in cuts.into_iter().chain([usize::MAX]) {
            have = head.len().min(have.saturating_add(step));
            verdict = finder.find(&head[..have]);
            if !matches!(verdict, Ok(None)) {
                break;
            }
        }
        let in_pieces = verdict.and_then(|end| end.map(|end| check_head(&head[..end])).transpose());
        prop_assert_eq!(at_once.is_ok(), in_pieces.is_ok());
        if at_once.is_ok() {
            prop_assert_eq!(at_once, in_pieces);
        }
    }

    #[test]
    fn httparse_reads_accepted_heads_alike(head in nearly_heads()) {
        if let Ok(Some(_)) = whole(&head) {
            let mut headers = [httparse::EMPTY_HEADER; 100];
            let mut request = httparse::Request::new(&mut headers);
            prop_assert!(request.parse(&head).unwrap().is_complete());
            prop_assert!(request.path.unwrap().parse::<http::Uri>().is_ok());
            for header in request.headers.iter() {
                prop_assert!(http::HeaderValue::from_bytes(header.value).is_ok());
            }
        }
    }
}

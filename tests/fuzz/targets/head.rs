//! Fuzzes the strict check of request heads.
//!
//! A head has the same end whether it arrives whole or in pieces. If the strict check accepts a head, hyper's parser
//! accepts it too, with the same end.
#![no_main]

use hookgate::internals::{EndFinder, check_head};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (step, bytes) = input;
    let taken = |end: Option<usize>| {
        let head = bytes.get(..end?)?;
        Some((end?, check_head(head).ok()?))
    };
    let at_once = EndFinder::default().find(bytes).ok().flatten();

    let mut finder = EndFinder::default();
    let mut in_pieces = None;
    let step = usize::from(step).max(1);
    for end in (step..bytes.len()).step_by(step).chain([bytes.len()]) {
        match finder.find(&bytes[..end]) {
            Ok(None) => {}
            Ok(found) => {
                in_pieces = found;
                break;
            }
            Err(_) => break,
        }
    }
    assert_eq!(taken(at_once), taken(in_pieces));

    let Some((end, _)) = taken(at_once) else {
        return;
    };
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(&bytes[..end]);
    assert_eq!(parsed, Ok(httparse::Status::Complete(end)));
    let hosts = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"));
    assert!(hosts.count() <= 1);
});

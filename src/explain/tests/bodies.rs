//! Tests with bodies that are changed in transit.

use std::io::Write;

use data_encoding::BASE64;

use super::{JSON, KEY, TEXT, check, proves, route, says, signed, spec, with_body, with_header};

/// Signs one body and sends another.
#[track_caller]
fn changed(original: &[u8], sent: &[u8], slug: &str) -> String {
    let mut all = String::new();
    for (provider, secret) in [
        ("stripe", TEXT),
        ("github", TEXT),
        ("standard_webhooks", KEY),
        ("slack", TEXT),
    ] {
        let seen = with_body(&signed(&spec(provider), secret, "/a", original), sent);
        let explanation = proves(
            &route("a", provider, secret, ""),
            &seen,
            "bad-signature",
            slug,
        );
        all.push_str(&says(&explanation));
    }
    all
}

#[test]
fn a_line_end_is_added_or_lost() {
    let line = format!("{JSON}\n");
    assert!(changed(JSON.as_bytes(), line.as_bytes(), "body-line-end").contains("without"));
    assert!(changed(line.as_bytes(), JSON.as_bytes(), "body-line-end").contains("gone"));
    changed(
        JSON.as_bytes(),
        format!("{JSON}\r\n").as_bytes(),
        "body-line-end",
    );
    changed(
        JSON.as_bytes(),
        format!("  {JSON} \n").as_bytes(),
        "body-line-end",
    );
}

#[test]
fn line_ends_are_converted() {
    changed(b"a\nb\nc", b"a\r\nb\r\nc", "body-line-endings");
    changed(b"a\r\nb\r\nc", b"a\nb\nc", "body-line-endings");
    changed(b"abc", b"a\nbc", "body-line-endings");
}

#[test]
fn a_byte_order_mark_comes_or_goes() {
    let marked = format!("\u{feff}{JSON}");
    changed(JSON.as_bytes(), marked.as_bytes(), "body-byte-order-mark");
    changed(marked.as_bytes(), JSON.as_bytes(), "body-byte-order-mark");
}

#[test]
fn json_is_parsed_and_written_again() {
    let value: serde_json::Value = serde_json::from_str(JSON).unwrap();
    let pretty = serde_json::to_string_pretty(&value).unwrap();
    let sorted = serde_json::to_string(&value).unwrap();
    let python = JSON
        .replace("\":", "\": ")
        .replace(",\"", ", \"")
        .replace('ë', "\\u00eb");
    let php = JSON.replace('/', "\\/").replace('ë', "\\u00eb");
    assert!(sorted != JSON);
    for original in [&pretty, &sorted, &python, &php] {
        for sent in [JSON, &pretty] {
            if original == sent {
                continue;
            }
            let (sent_sorted, original) = (sent == pretty, original.as_bytes());
            // Keys that were sorted in transit cannot be put back into the sender's order.
            if sent_sorted && original != sorted.as_bytes() {
                continue;
            }
            changed(original, sent.as_bytes(), "body-reserialised");
        }
    }
    let words = changed(sorted.as_bytes(), JSON.as_bytes(), "body-reserialised");
    assert!(words.contains("sorted keys"), "{words}");
    let words = changed(php.as_bytes(), JSON.as_bytes(), "body-reserialised");
    assert!(words.contains("slashes"), "{words}");
}

#[test]
fn a_form_is_decoded_and_encoded_again() {
    let original = "text=a+b%2Fc&name=Zo%C3%AB~";
    for sent in [
        "text=a%20b%2Fc&name=Zo%C3%AB%7E",
        "text=a+b%2fc&name=Zo%c3%ab~",
    ] {
        let seen = signed(&spec("slack"), TEXT, "/a", original.as_bytes());
        let seen = with_header(
            &with_body(&seen, sent.as_bytes()),
            "content-type",
            "application/x-www-form-urlencoded",
        );
        proves(
            &route("a", "slack", TEXT, ""),
            &seen,
            "bad-signature",
            "form-reencoded",
        );
    }
}

#[test]
fn characters_are_converted() {
    let latin: Vec<u8> = JSON
        .chars()
        .map(|letter| u8::try_from(u32::from(letter)).unwrap())
        .collect();
    changed(&latin, JSON.as_bytes(), "body-charset");
    changed(JSON.as_bytes(), &latin, "body-charset");
    let twice: String = JSON.bytes().map(char::from).collect();
    changed(JSON.as_bytes(), twice.as_bytes(), "body-charset");
}

#[test]
fn a_body_is_compressed_after_it_was_signed() {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(JSON.as_bytes()).unwrap();
    changed(
        JSON.as_bytes(),
        &packed.finish().unwrap(),
        "body-compressed",
    );
    let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(JSON.as_bytes()).unwrap();
    changed(
        JSON.as_bytes(),
        &packed.finish().unwrap(),
        "body-compressed",
    );
}

#[test]
fn a_body_is_unpacked_on_the_way() {
    let seen = signed(&spec("github"), TEXT, "/a", b"the packed body");
    let seen = with_header(
        &with_body(&seen, JSON.as_bytes()),
        "content-encoding",
        "gzip",
    );
    check(
        &route("a", "github", TEXT, ""),
        &seen,
        "bad-signature",
        "body-decompressed",
    );
}

#[test]
fn a_body_is_not_whole() {
    let seen = signed(&spec("github"), TEXT, "/a", JSON.as_bytes());
    let config = route("a", "github", TEXT, "");
    // The declared length shows that the body is cut, or the broken JSON shows it.
    let mut short = seen.clone();
    short.body = short.body.slice(..40);
    check(&config, &short, "body-aborted", "body-truncated");
    let short = with_body(&seen, &JSON.as_bytes()[..40]);
    check(&config, &short, "bad-signature", "body-truncated");
    check(
        &config,
        &with_body(&seen, b""),
        "bad-signature",
        "body-lost",
    );
    let mut kept = seen.clone();
    kept.body = kept.body.slice(..40);
    kept.is_cut = true;
    check(&config, &kept, "bad-signature", "body-not-kept");
}

#[test]
fn a_body_is_longer_than_declared() {
    let mut seen = signed(&spec("github"), TEXT, "/a", JSON.as_bytes());
    seen.body = format!("{JSON}<!-- injected -->").into();
    proves(
        &route("a", "github", TEXT, ""),
        &seen,
        "body-aborted",
        "body-longer",
    );
}

#[test]
fn a_body_is_wrapped() {
    changed(
        JSON.as_bytes(),
        BASE64.encode(JSON.as_bytes()).as_bytes(),
        "body-wrapped",
    );
    let text = serde_json::to_string(JSON).unwrap();
    changed(JSON.as_bytes(), text.as_bytes(), "body-wrapped");
}

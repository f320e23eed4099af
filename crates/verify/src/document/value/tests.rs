//! Tests of the value parsers: the forms that each one accepts and rejects.

use proptest::prelude::*;

use super::*;
use crate::document::TomlDocument;
use crate::document::key::{KeyDefinition, ValueKind};
use crate::document::source::SourceText;

static KEY: KeyDefinition = KeyDefinition {
    name: "a",
    kind: ValueKind::Text,
    default: None,
    example: "1",
    doc: "",
};

fn parse<T>(
    text: &str,
    parser: impl Fn(&TomlValue<'_>) -> Result<T, ValueFault>,
) -> Result<T, String> {
    let source = SourceText::new("a.toml", format!("a = {text}\n"));
    let document = TomlDocument::parse(&source);
    let parsed = document.root().read(&KEY, |value| parser(value));
    let report = document.into_report();
    parsed.ok_or_else(|| report.render(crate::document::report::ReportStyle::Plain))
}

#[test]
fn durations() {
    for (text, millis) in [
        ("500ms", 500),
        ("5m", 300_000),
        ("1h30m", 5_400_000),
        ("3d", 259_200_000),
    ] {
        let parsed = parse(&format!("\"{text}\""), duration);
        assert_eq!(parsed, Ok(Duration::from_millis(millis)), "{text}");
    }
    for text in [
        "",
        "5",
        "m",
        "5 m",
        "0s",
        "-5m",
        "30m1h",
        "5m5m",
        "99999999999999999999d",
        "4000d",
        "5x",
        "1.5h",
    ] {
        assert!(parse(&format!("\"{text}\""), duration).is_err(), "{text}");
    }
    assert!(parse("300", duration).is_err());
}

#[test]
fn sizes() {
    for (text, bytes) in [
        ("\"64KiB\"", 65536),
        ("\"1MiB\"", 1 << 20),
        ("\"1 MiB\"", 1 << 20),
        ("\"512B\"", 512),
        ("100", 100),
    ] {
        assert_eq!(parse(text, size), Ok(bytes), "{text}");
    }
    for text in [
        "\"1MB\"",
        "\"\"",
        "\"MiB\"",
        "0",
        "\"0\"",
        "-1",
        "\"99999999999GiB\"",
        "true",
    ] {
        assert!(parse(text, size).is_err(), "{text}");
    }
}

#[test]
fn rates() {
    let rate_of = |text: &str| {
        parse(text, rate).map(|rate| (rate.count.get(), rate.period.as_secs(), rate.burst.get()))
    };
    assert_eq!(rate_of("\"100/s\""), Ok((100, 1, 100)));
    assert_eq!(rate_of("\"600/m\""), Ok((600, 60, 600)));
    assert_eq!(rate_of("{ per_second = 5, burst = 9 }"), Ok((5, 1, 9)));
    for text in [
        "\"0/s\"",
        "\"5/x\"",
        "\"5\"",
        "\"+5/s\"",
        "5",
        "{}",
        "{ burst = 1 }",
        "{ per_second = 0 }",
        "{ per_second = 1, x = 1 }",
    ] {
        assert!(parse(text, rate).is_err(), "{text}");
    }
}

#[test]
fn networks_and_addresses() {
    assert_eq!(
        parse("\"192.0.2.7\"", network),
        Ok("192.0.2.7/32".parse().unwrap())
    );
    assert_eq!(
        parse("\"2001:db8::/32\"", network),
        Ok("2001:db8::/32".parse().unwrap())
    );
    assert!(
        parse("\"10.0.0.1/8\"", network)
            .unwrap_err()
            .contains("`10.0.0.0/8`")
    );
    assert!(parse("\"localhost\"", network).is_err());
    assert!(parse("\"[::]:443\"", socket_address).is_ok());
    assert!(parse("\"localhost:443\"", socket_address).is_err());
}

#[test]
fn urls_and_hosts() {
    for text in [
        "http://127.0.0.1:8080/in",
        "https://app.internal",
        "http://[::1]:80/",
        "http://[::1]/",
    ] {
        assert!(parse(&format!("\"{text}\""), http_url).is_ok(), "{text}");
    }
    for text in [
        "",
        "127.0.0.1:8080",
        "/in",
        "ftp://a/",
        "http://a/?q",
        "http://a/#f",
        "http://u:p@a/",
        "http://a:/",
        "http://a:0/",
        "http://a:99999/",
        "http:///x",
        "a b",
    ] {
        assert!(parse(&format!("\"{text}\""), http_url).is_err(), "{text}");
    }
    for (text, url) in [
        ("https://a.example:8443/", "https://a.example:8443"),
        ("https://a.example/x", "https://a.example/x"),
        ("https://a.example/x/y.z/", "https://a.example/x/y.z"),
    ] {
        let read = parse(&format!("\"{text}\""), base_url);
        assert_eq!(read, Ok(url.to_owned()));
    }
    for text in [
        "https://a.example//",
        "https://a.example/x//",
        "https://a.example/x//y",
        "https://a.example/../x",
        "https://a.example/x/.",
        "https://a.example/x?y",
        "https://a.example/x#y",
    ] {
        let read = parse(&format!("\"{text}\""), base_url);
        assert!(read.is_err(), "{text}");
    }
    assert_eq!(
        parse("\"Hooks.Example.com\"", host),
        Ok("hooks.example.com".to_owned())
    );
    for text in ["https://a", "a:443", "a/b", "", "-a", "a..b"] {
        assert!(parse(&format!("\"{text}\""), host).is_err(), "{text}");
    }
}

#[test]
fn moments() {
    assert_eq!(parse("1970-01-02", moment), Ok(86_400_000));
    assert_eq!(parse("1970-01-01T01:00:00+01:00", moment), Ok(0));
    assert_eq!(parse("2026-12-31T18:00:00Z", moment), Ok(1_798_740_000_000));
    for text in ["18:00:00", "2026-12-31T18:00:00", "\"2026-12-31\""] {
        assert!(parse(text, moment).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_panics_a_parser(text in ".{0,40}") {
        let quoted = toml::Value::String(text.clone()).to_string();
        for text in [&text, &quoted] {
            let _ = parse(text, duration);
            let _ = parse(text, size);
            let _ = parse(text, rate);
            let _ = parse(text, network);
            let _ = parse(text, socket_address);
            let _ = parse(text, base_url);
            let _ = parse(text, host);
            let _ = parse(text, moment);
            let _ = parse(text, header);
            let _ = parse(text, character);
            let _ = parse(text, count);
            let _ = parse(text, |value| choice(value, &[("a", 1), ("b", 2)]));
        }
    }

    #[test]
    fn likely_durations_never_panic(text in "[0-9]{0,30}(ms|s|m|h|d)?[0-9]{0,3}(ms|s|m|h|d)?") {
        let _ = parse_duration(&text);
        let _ = parse_size(&text);
        let _ = parse_rate(&text);
    }
}

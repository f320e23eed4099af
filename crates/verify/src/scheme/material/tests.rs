//! Tests of the formats of values in the head.

use super::*;
use crate::scheme::spec::TimeUnit;

fn parse(text: &str, unit: TimeUnit) -> Option<i64> {
    let timestamp = SentTimestamp::parse(text.as_bytes(), unit).ok()?;
    assert_eq!(timestamp.text(), text.as_bytes());
    Some(timestamp.unix_ms())
}

#[test]
fn timestamps_are_read_in_their_unit() {
    assert_eq!(
        parse("1614265330", TimeUnit::Seconds),
        Some(1_614_265_330_000)
    );
    assert_eq!(parse("0", TimeUnit::Seconds), Some(0));
    assert_eq!(
        parse("999999999999", TimeUnit::Seconds),
        Some(999_999_999_999_000)
    );
    assert_eq!(
        parse("1614265330123", TimeUnit::Millis),
        Some(1_614_265_330_123)
    );
    let time = "2021-02-25T15:02:10.123456789Z";
    assert_eq!(parse(time, TimeUnit::Rfc3339), Some(1_614_265_330_123));
    let time = "2021-02-25T16:02:10+01:00";
    assert_eq!(parse(time, TimeUnit::Rfc3339), Some(1_614_265_330_000));
    let time = "Thu, 25 Feb 2021 15:02:10 GMT";
    assert_eq!(parse(time, TimeUnit::HttpDate), Some(1_614_265_330_000));
}

#[test]
fn odd_timestamps_are_none() {
    for text in [
        "",
        "-1",
        "+1",
        " 1",
        "1 ",
        "1_0",
        "0x1",
        "1.0",
        "1e9",
        "1000000000000",
        "١",
    ] {
        assert_eq!(parse(text, TimeUnit::Seconds), None, "{text:?}");
    }
    for text in [
        "",
        "1614265330",
        "2021-02-25",
        "2021-02-25T15:02:10",
        "2021-02-25T15:02:10Z[UTC]",
        "2021-02-25 15:02:10Z",
    ] {
        assert_eq!(parse(text, TimeUnit::Rfc3339), None, "{text:?}");
    }
    for text in [
        "",
        "1614265330",
        "Wed, 25 Feb 2021 15:02:10 GMT",
        "Thu, 25 Feb 2021 15:02:10 UTC",
        "thu, 25 feb 2021 15:02:10 GMT",
        "Thu,  25 Feb 2021 15:02:10 GMT",
        "Thu, 31 Feb 2021 15:02:10 GMT",
        "Thursday, 25-Feb-21 15:02:10 GMT",
        "Thu Feb 25 15:02:10 2021",
    ] {
        assert_eq!(parse(text, TimeUnit::HttpDate), None, "{text:?}");
    }
}

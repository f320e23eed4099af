//! Parsers of single TOML values.
//!
//! Each parser returns a value that is ready to use, or a fault that says what to write instead.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method, Uri};
use ipnet::IpNet;
use jiff::civil::Time as CivilTime;
use jiff::tz::Offset;
use toml::de::DeValue;
use toml::value::{Datetime, Offset as TomlOffset};

use crate::document::suggest;
use crate::document::table::{TomlValue, ValueFault};
use crate::model::rate::RateLimit;
use crate::net::host::{is_dns_label, without_root};
use crate::net::special_addresses::is_forbidden_host;

/// Maximum duration: no setting needs more than ten years, and sums of durations stay far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(3650 * 24 * 3600);

/// Maximum count: more than a machine can hold, and far below the limits of counters and semaphores.
const MAX_COUNT: u64 = 1_000_000_000;

/// Parses `true` or `false`.
pub fn boolean(value: &TomlValue<'_>) -> Result<bool, ValueFault> {
    value
        .content()
        .as_bool()
        .ok_or_else(|| value.unexpected("`true` or `false`", "true"))
}

/// Parses a string that is not empty.
pub fn text(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    match value.text() {
        Some("") => Err(ValueFault::new(
            "the text is empty",
            "write a text between the quotes",
        )),
        Some(text) => Ok(text.to_owned()),
        None => Err(value.unexpected("a string", "\"text\"")),
    }
}

/// Parses a string that may be empty.
pub(crate) fn any_text(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    value
        .text()
        .map(str::to_owned)
        .ok_or_else(|| value.unexpected("a string", "\"text\""))
}

/// Parses a string of a single character.
pub(crate) fn character(value: &TomlValue<'_>) -> Result<char, ValueFault> {
    let text = text(value)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(char), None) => Ok(char),
        _ => Err(ValueFault::new(
            format!("`{text}` is more than one character"),
            "for example `\",\"`",
        )),
    }
}

/// Parses the path of a file.
pub fn path(value: &TomlValue<'_>) -> Result<PathBuf, ValueFault> {
    let text = text(value)?;
    if text.contains('\0') {
        return Err(ValueFault::new(
            "a path cannot hold a NUL character",
            "remove it",
        ));
    }
    Ok(PathBuf::from(text))
}

/// Parses one string of a fixed list.
pub fn choice<T: Copy>(value: &TomlValue<'_>, choices: &[(&str, T)]) -> Result<T, ValueFault> {
    let names = || choices.iter().map(|(name, _)| *name);
    let legal = || {
        let quoted: Vec<_> = names().map(|name| format!("`\"{name}\"`")).collect();
        quoted.join(", ")
    };
    let text = value
        .text()
        .ok_or_else(|| value.unexpected(&format!("one of {}", legal()), &quote_first(choices)))?;
    if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*choice);
    }
    let help = match suggest::nearest(text, names()) {
        Some(near) => format!("did you mean `\"{near}\"`? The choices are {}", legal()),
        None => format!("the choices are {}", legal()),
    };
    Err(ValueFault::new(
        format!("`{text}` is not one of the choices"),
        help,
    ))
}

/// Returns the word of a value in its table of choices.
pub fn choice_word<T: PartialEq>(choices: &[(&'static str, T)], value: &T) -> &'static str {
    let row = choices.iter().find(|(_, choice)| choice == value);
    row.map_or("", |(word, _)| word)
}

/// Returns the words of a table of choices, for the reference of a key.
#[expect(
    clippy::indexing_slicing,
    reason = "runs in the compiler, where an index out of bounds is an error"
)]
pub const fn choice_words<T, const N: usize>(
    choices: &[(&'static str, T); N],
) -> [&'static str; N] {
    let mut words = [""; N];
    let mut at = 0;
    while at < N {
        words[at] = choices[at].0;
        at += 1;
    }
    words
}

fn quote_first<T>(choices: &[(&str, T)]) -> String {
    choices
        .first()
        .map_or_else(String::new, |(name, _)| format!("\"{name}\""))
}

/// Parses a whole number of at least 1.
pub fn count(value: &TomlValue<'_>) -> Result<u64, ValueFault> {
    let number = match value.content() {
        DeValue::Integer(number) => number,
        _ => return Err(value.unexpected("a whole number", "1000")),
    };
    let parsed = u64::from_str_radix(number.as_str(), number.radix());
    match parsed {
        Ok(count) if (1..=MAX_COUNT).contains(&count) => Ok(count),
        _ => Err(ValueFault::new(
            format!("`{number}` is not a number from 1 to {MAX_COUNT}"),
            "for example `1000`",
        )),
    }
}

/// Parses a count like [`count`], as a `usize` for things in memory.
pub fn size_count(value: &TomlValue<'_>) -> Result<usize, ValueFault> {
    let count = count(value)?;
    usize::try_from(count).map_err(|_| {
        ValueFault::new(
            format!("`{count}` is larger than this machine can count"),
            "use a smaller number",
        )
    })
}

/// Parses a whole number from 0 to a bound.
pub fn amount(value: &TomlValue<'_>, most: usize) -> Result<usize, ValueFault> {
    let DeValue::Integer(number) = value.content() else {
        return Err(value.unexpected("a whole number", "100"));
    };
    match usize::from_str_radix(number.as_str(), number.radix()) {
        Ok(amount) if amount <= most => Ok(amount),
        _ => Err(ValueFault::new(
            format!("`{number}` is not a number from 0 to {most}"),
            "for example `100`; `0` turns it off",
        )),
    }
}

/// Parses a number between two bounds, with or without a fraction.
pub fn number(value: &TomlValue<'_>, least: f64, most: f64) -> Result<f64, ValueFault> {
    let read = match value.content() {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        _ => None,
    };
    read.filter(|number: &f64| (least..=most).contains(number))
        .ok_or_else(|| {
            ValueFault::new(
                "the value is not a number within its bounds",
                format!("write a number from {least} to {most}"),
            )
        })
}

/// Parses `false` as `None`, and everything else with the given parser.
pub fn false_or<'a, T>(
    value: &TomlValue<'a>,
    parse: impl FnOnce(&TomlValue<'a>) -> Result<T, ValueFault>,
) -> Result<Option<T>, ValueFault> {
    match value.content().as_bool() {
        Some(false) => Ok(None),
        _ => parse(value).map(Some),
    }
}

/// Parses a duration above zero, the largest unit first: `"5m"`, `"1h30m"`, `"500ms"`, `"3d"`.
pub fn duration(value: &TomlValue<'_>) -> Result<Duration, ValueFault> {
    const HELP: &str =
        "a number with a unit, `ms`, `s`, `m`, `h` or `d`: `\"500ms\"`, `\"5m\"`, `\"1h30m\"`";
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a duration", "\"5m\""))?;
    let duration = parse_duration(text)
        .ok_or_else(|| ValueFault::new(format!("`{text}` is not a duration"), HELP))?;
    if duration.is_zero() {
        return Err(ValueFault::new(
            format!("`{text}` is not longer than zero"),
            HELP,
        ));
    }
    if duration > MAX_DURATION {
        return Err(ValueFault::new(
            format!("`{text}` is longer than ten years"),
            "use a shorter duration",
        ));
    }
    Ok(duration)
}

/// Parses a duration like [`duration`], from a text. Returns `None` for any other text.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit_len = after
            .find(|char: char| char.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_len)?;
        let unit_ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        // Units must get smaller: `30m1h` or `5m5m` is more likely a mistake than a sum.
        if unit_ms >= last_unit {
            return None;
        }
        last_unit = unit_ms;
        let part = number.parse::<u64>().ok()?.checked_mul(unit_ms)?;
        total_ms = total_ms.checked_add(part)?;
        rest = after;
    }
    (last_unit != u64::MAX).then(|| Duration::from_millis(total_ms))
}

/// Parses a size in bytes above zero: `"64KiB"`, `"1MiB"`, `"1GiB"`, `"512B"`, or a bare number of bytes.
pub fn size(value: &TomlValue<'_>) -> Result<usize, ValueFault> {
    const HELP: &str = "a number with a unit, `B`, `KiB`, `MiB` or `GiB`: `\"1MiB\"`";
    let Some(text) = value.text() else {
        return size_count(value).map_err(|_| value.unexpected("a size", "\"1MiB\""));
    };
    parse_size(text)
        .filter(|size| *size > 0)
        .ok_or_else(|| ValueFault::new(format!("`{text}` is not a size"), HELP))
}

fn parse_size(text: &str) -> Option<usize> {
    let digits = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: usize = match unit.trim_start_matches(' ') {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        // Decimal units are rejected, not guessed: 1 MB would be less than most people expect of it.
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(unit)
}

/// Parses a rate: `"100/s"`, `"600/m"`, `"1000/h"`, or `{ per_second = 50, burst = 100 }`.
pub fn rate(value: &TomlValue<'_>) -> Result<RateLimit, ValueFault> {
    const HELP: &str =
        "`\"100/s\"`, `\"600/m\"`, `\"1000/h\"`, or `{ per_second = 100, burst = 200 }`";
    if value.content().is_table() {
        return rate_table(value);
    }
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a rate", "\"100/s\""))?;
    parse_rate(text).ok_or_else(|| ValueFault::new(format!("`{text}` is not a rate"), HELP))
}

fn parse_rate(text: &str) -> Option<RateLimit> {
    let (count, unit) = text.split_once('/')?;
    let period = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return None,
    };
    // `parse` of a number would also take a sign, such as `+5`.
    if !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: NonZeroU32 = count.parse().ok()?;
    Some(RateLimit {
        count,
        period: Duration::from_secs(period),
        burst: count,
    })
}

fn rate_table(value: &TomlValue<'_>) -> Result<RateLimit, ValueFault> {
    let example = "{ per_second = 100, burst = 200 }";
    let wrong = || {
        ValueFault::new(
            "a rate table holds `per_second` and optionally `burst`, whole numbers of at least 1",
            format!("for example `{example}`"),
        )
    };
    let table = value.content().as_table().ok_or_else(wrong)?;
    let mut per_second = None;
    let mut burst = None;
    for (key, entry) in table {
        let number = match entry.get_ref() {
            DeValue::Integer(number) => u32::from_str_radix(number.as_str(), number.radix())
                .ok()
                .and_then(NonZeroU32::new),
            _ => None,
        };
        let slot = match key.get_ref().as_ref() {
            "per_second" => &mut per_second,
            "burst" => &mut burst,
            _ => {
                return Err(ValueFault {
                    span: Some(key.span().into()),
                    ..wrong()
                });
            }
        };
        *slot = Some(number.ok_or_else(|| ValueFault {
            span: Some(entry.span().into()),
            ..wrong()
        })?);
    }
    let count = per_second.ok_or_else(wrong)?;
    Ok(RateLimit {
        count,
        period: Duration::from_secs(1),
        burst: burst.unwrap_or(count),
    })
}

/// Parses `"10.0.0.0/8"` or a single address. Bits beyond the prefix are rejected, since they are a typing mistake.
pub fn network(value: &TomlValue<'_>) -> Result<IpNet, ValueFault> {
    const HELP: &str =
        "an address or a range: `\"192.0.2.7\"`, `\"10.0.0.0/8\"`, `\"2001:db8::/32\"`";
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("an address range", "\"10.0.0.0/8\""))?;
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(ip));
    }
    // A plain address was already handled above, so the text needs a prefix here.
    let net: IpNet = text
        .parse()
        .map_err(|_| ValueFault::new(format!("`{text}` is not an address range"), HELP))?;
    if net.trunc() == net {
        Ok(net)
    } else {
        Err(ValueFault::new(
            format!("`{text}` has bits set beyond its prefix"),
            format!("did you mean `{}`?", net.trunc()),
        ))
    }
}

/// Parses an IP address with a port: `"0.0.0.0:443"`, `"[::]:443"`.
///
/// Names are rejected: a config must mean the same on each start.
pub fn socket_address(value: &TomlValue<'_>) -> Result<SocketAddr, ValueFault> {
    const HELP: &str =
        "an IP address and a port: `\"0.0.0.0:443\"`, `\"[::]:443\"`, `\"127.0.0.1:8080\"`";
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("an address and port", "\"0.0.0.0:443\""))?;
    text.parse()
        .map_err(|_| ValueFault::new(format!("`{text}` is not an address with a port"), HELP))
}

const URL_HELP: &str = "scheme, host, optional port and path: `\"http://127.0.0.1:8080/hooks\"`";

/// Parses an absolute `http://` or `https://` URL without user, query and fragment.
pub fn http_url(value: &TomlValue<'_>) -> Result<Uri, ValueFault> {
    let url = destination_url(value)?;
    if url.query().is_some() {
        let fault = "the URL has a query";
        return Err(ValueFault::new(fault, URL_HELP));
    }
    Ok(url)
}

/// Parses a URL like [`http_url`], but allows a query.
pub fn destination_url(value: &TomlValue<'_>) -> Result<Uri, ValueFault> {
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a URL", "\"http://127.0.0.1:8080/hooks\""))?;
    parse_destination_url(text)
}

/// Parses a URL like [`destination_url`], from a text. The fault does not repeat the text, which may be a credential.
pub fn parse_destination_url(text: &str) -> Result<Uri, ValueFault> {
    let wrong = |what: &str| ValueFault::new(format!("the URL {what}"), URL_HELP);
    // A password may come before an `@`. The message therefore does not repeat the text, and the report masks the line.
    if text.contains('#') {
        return Err(wrong("has a fragment"));
    }
    let uri: Uri = text.parse().map_err(|_| wrong("is malformed"))?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        Some(other) => {
            return Err(wrong(&format!(
                "has the scheme `{other}`, not `http` or `https`"
            )));
        }
        None => return Err(wrong("has no scheme")),
    }
    // `Uri` accepts user, empty host and port 0, which no request can use, so they are checked here.
    let authority = uri.authority().ok_or_else(|| wrong("has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("has a user or password"));
    }
    if authority.host().is_empty() || authority.as_str().ends_with(':') {
        return Err(wrong("has no host or an empty port"));
    }
    if authority
        .as_str()
        .rsplit_once(':')
        .is_some_and(|(_, port)| {
            !port.ends_with(']') && port.parse::<u16>().map_or(true, |port| port == 0)
        })
    {
        return Err(wrong("has no port from 1 to 65535"));
    }
    if is_forbidden_host(authority.host()) {
        return Err(ValueFault::new(
            "the URL points to a link-local address or a metadata service, to which hookgate never connects",
            URL_HELP,
        ));
    }
    Ok(uri)
}

/// Parses the base URL of requests: `https://hooks.example.com`, with an optional port and base path. The result has no
/// slash at its end.
pub fn base_url(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    const HELP: &str = "scheme, host and port, and the part of the path that a proxy in front takes away: `\"https://hooks.example.com/prod\"`";
    let uri = http_url(value)?;
    let text = value.text().unwrap_or_default();
    // A path is appended later, and begins with a slash of its own.
    let text = text.strip_suffix('/').unwrap_or(text);
    let path = uri.path();
    // Senders sign the text of the URL. A path that can be written in two ways would match only by chance.
    let is_odd = |segment: &str| matches!(segment, "" | "." | "..");
    let mut segments = path.trim_end_matches('/').split('/').skip(1);
    if path.ends_with("//") || segments.any(is_odd) {
        return Err(ValueFault::new(
            "the URL has an empty or a dot segment",
            HELP,
        ));
    }
    Ok(text.to_owned())
}

/// Parses a host name or address, as it appears in `Host`. The result is lowercase, without port and root dot.
pub fn host(value: &TomlValue<'_>) -> Result<String, ValueFault> {
    const HELP: &str = "a name without scheme, port and path: `\"hooks.example.com\"`";
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a host name", "\"hooks.example.com\""))?;
    // Hosts are compared without case and without the dot of the DNS root.
    let lower = without_root(text).to_ascii_lowercase();
    // `Host` has brackets around an IPv6 address (RFC 3986, section 3.2.2).
    let bare = lower
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_ip6 = bare.is_some_and(|bare| bare.parse::<std::net::Ipv6Addr>().is_ok());
    // RFC 1123 allows no underscore in a host name, but names of internal networks have them.
    let is_label = |label: &str| is_dns_label(label, b"-_");
    let is_name = lower.len() <= 253 && lower.split('.').all(is_label);
    if is_ip6 || is_name {
        Ok(lower)
    } else {
        Err(ValueFault::new(
            format!("`{text}` is not a host name"),
            HELP,
        ))
    }
}

/// Parses the name of a header field.
pub(crate) fn header(value: &TomlValue<'_>) -> Result<HeaderName, ValueFault> {
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a header name", "\"X-Signature\""))?;
    text.parse().map_err(|_| {
        ValueFault::new(
            format!("`{text}` is not a header name"),
            "letters, digits and `-`: `\"X-Signature\"`",
        )
    })
}

/// Parses an HTTP method, in capitals.
pub fn method(value: &TomlValue<'_>) -> Result<Method, ValueFault> {
    let text = value
        .text()
        .ok_or_else(|| value.unexpected("a method", "\"POST\""))?;
    // `CONNECT` and `TRACE` are missing: the edge rejects them before any route.
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    if known.contains(&text) {
        return text.parse().map_err(|_| {
            ValueFault::new(
                format!("`{text}` is not a method"),
                "for example `\"POST\"`",
            )
        });
    }
    Err(ValueFault::new(
        format!("`{text}` is not a method that a route can take"),
        format!("the choices are `{}`", known.join("`, `")),
    ))
}

/// Parses a moment to milliseconds since the Unix epoch: a TOML date (00:00 UTC) or a date-time with an offset.
pub fn moment(value: &TomlValue<'_>) -> Result<i64, ValueFault> {
    const HELP: &str = "a date, which begins at 00:00 UTC, or a time with its offset: `2026-12-31`, `2026-12-31T18:00:00Z`";
    let DeValue::Datetime(datetime) = value.content() else {
        return Err(value.unexpected("a date or time without quotes", "2026-12-31"));
    };
    parse_moment(datetime).ok_or_else(|| {
        ValueFault::new(
            format!("`{datetime}` is not a date, or a time with date and offset"),
            HELP,
        )
    })
}

fn parse_moment(datetime: &Datetime) -> Option<i64> {
    let date = datetime.date?;
    let date = jiff::civil::Date::new(
        i16::try_from(date.year).ok()?,
        i8::try_from(date.month).ok()?,
        i8::try_from(date.day).ok()?,
    )
    .ok()?;
    let offset_minutes = match (datetime.time, datetime.offset) {
        (None, _) | (Some(_), Some(TomlOffset::Z)) => 0,
        (Some(_), Some(TomlOffset::Custom { minutes })) => i32::from(minutes),
        // A local time means a different moment on each machine.
        (Some(_), None) => return None,
    };
    let time = match datetime.time {
        None => CivilTime::midnight(),
        Some(time) => CivilTime::new(
            i8::try_from(time.hour).ok()?,
            i8::try_from(time.minute).ok()?,
            // TOML allows the leap second `:60`, which a civil time does not have.
            i8::try_from(time.second.unwrap_or(0)).ok()?.min(59),
            i32::try_from(time.nanosecond.unwrap_or(0)).ok()?,
        )
        .ok()?,
    };
    let offset = Offset::from_seconds(offset_minutes.checked_mul(60)?).ok()?;
    let timestamp = offset.to_timestamp(date.to_datetime(time)).ok()?;
    Some(timestamp.as_millisecond())
}

#[cfg(test)]
mod tests;

//! Validation of targets and headers, shared by reading and writing.

use http::{HeaderName, HeaderValue, Uri};

/// Parses a target as hyper would.
pub(super) fn target_of(target: &str) -> Result<Uri, String> {
    const RIGHT: &str = "it should be a path, with a query or without: `/path?a=1`";
    if !target.starts_with('/') {
        return Err(format!("the target does not begin with `/`; {RIGHT}"));
    }
    if target.contains('#') {
        return Err(format!(
            "the target has a fragment, which is never sent; {RIGHT}"
        ));
    }
    let is_plain = |byte: u8| byte > b' ' && byte != 0x7f;
    match target.bytes().all(is_plain) {
        true => target
            .parse()
            .map_err(|_| format!("the target is not valid; {RIGHT}")),
        false => Err(format!(
            "the target holds a space or a control character; {RIGHT}"
        )),
    }
}

pub(super) fn header_of(name: &str, value: &[u8]) -> Result<(HeaderName, HeaderValue), String> {
    // Bounded and escaped, since the text may come from a file of any content.
    let shown: String = name.escape_debug().take(64).collect();
    let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        format!("`{shown}` is not a header name; names have letters, digits and hyphens")
    })?;
    // Reading would trim the value, so it would not read back the same.
    if value.trim_ascii().len() != value.len() {
        return Err(format!(
            "the value of `{shown}` begins or ends with white space"
        ));
    }
    let value = HeaderValue::from_bytes(value)
        .map_err(|_| format!("the value of `{shown}` holds a control character"))?;
    Ok((parsed, value))
}

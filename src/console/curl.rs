//! An event as a curl command, to send it to an app under development.
//!
//! The command must never contain a secret, and text from the sender must never end the shell word it is in.

use crate::admin::documents::EventDetail;

/// Longest body in bytes that is part of the command. A longer one is named as a file.
const MAX_BODY: usize = 16 * 1024;

/// Headers that curl writes by itself.
const LEFT_OUT: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];

/// Formats the curl command that sends `event` with `body`.
pub(super) fn command(event: &EventDetail, body: Option<&[u8]>) -> String {
    let scheme = if event.tls { "https" } else { "http" };
    let host = event.host.as_deref().unwrap_or("localhost");
    let url = format!("{scheme}://{host}{}", event.target);
    let mut lines = vec![format!(
        "curl -X {} {}",
        quoted(&event.method),
        quoted(&url)
    )];
    for header in &event.headers {
        if LEFT_OUT.contains(&header.name.as_str()) {
            continue;
        }
        // The admin API masks secret values. curl drops a header without a value, so asterisks show where one belongs.
        let value = header.value.as_deref().unwrap_or("***");
        lines.push(format!(
            "-H {}",
            quoted(&format!("{}: {value}", header.name))
        ));
    }
    // An argument of a command cannot contain a zero byte.
    let text = body.filter(|body| body.len() <= MAX_BODY && !body.contains(&0));
    let text = text.and_then(|body| std::str::from_utf8(body).ok());
    lines.push(match text {
        Some("") => return lines.join(" \\\n  "),
        Some(text) => format!("--data-raw {}", quoted(text)),
        None => format!("--data-binary @{}.bin", event.uid),
    });
    lines.join(" \\\n  ")
}

/// Quotes text as one word of a shell.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    // In single quotes only the quote itself has a meaning: close, escape it, open again.
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when text from a sender can end its shell word and run as a command of the operator who pastes it.
    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("POST"), "POST");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("'; rm -rf ~ #"), r"''\''; rm -rf ~ #'");
        assert_eq!(quoted("$(id)`id`\n"), "'$(id)`id`\n'");
        assert_eq!(quoted(""), "''");
    }
}

//! An event as a command, to send it to an app under development. What may be a secret is left out.

use crate::admin::wire::EventDetail;

/// A body that is longer is named as a file.
const MAX_BODY: usize = 16 * 1024;

/// What curl writes by itself.
const LEFT_OUT: [&str; 4] = ["content-length", "host", "connection", "transfer-encoding"];

/// The command.
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
        // A header without its value would be sent as none, so that the place of the secret is seen.
        let value = header.value.as_deref().unwrap_or("***");
        lines.push(format!(
            "-H {}",
            quoted(&format!("{}: {value}", header.name))
        ));
    }
    let text = body.filter(|body| body.len() <= MAX_BODY && !body.contains(&0));
    let text = text.and_then(|body| std::str::from_utf8(body).ok());
    lines.push(match text {
        Some("") => return lines.join(" \\\n  "),
        Some(text) => format!("--data-raw {}", quoted(text)),
        None => format!("--data-binary @{}.bin", event.uid),
    });
    lines.join(" \\\n  ")
}

/// A word of a shell, whatever stands in it.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when what a sender wrote can end the word that it stands in, and become a command of whoever pastes it.
    #[test]
    fn words_stay_words() {
        assert_eq!(quoted("POST"), "POST");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("'; rm -rf ~ #"), r"''\''; rm -rf ~ #'");
        assert_eq!(quoted("$(id)`id`\n"), "'$(id)`id`\n'");
        assert_eq!(quoted(""), "''");
    }
}

//! Slack's incoming webhooks, which Mattermost and others accept too.
//!
//! Slack shows the blocks, whose text has no markup at all. Others show `text`, which is therefore complete.

use serde_json::{Value as Json, json};

use crate::alerts::message::AlertMessage;
use crate::alerts::payload::unlinked;

/// Most characters of a header block.
const MAX_HEADER: usize = 150;

/// Most characters of a section block.
const MAX_SECTION: usize = 3000;

pub(in crate::alerts) fn payload(message: &AlertMessage, host: &str) -> Json {
    let title = message.title(host);
    let header: String = unlinked(&title).chars().take(MAX_HEADER).collect();
    let body = message.plain(MAX_SECTION, unlinked);
    let text = format!(
        "{}\n{}",
        escaped(&title),
        message.plain(MAX_SECTION, escaped)
    );
    json!({
        "text": text,
        "unfurl_links": false,
        "unfurl_media": false,
        "blocks": [
            { "type": "header", "text": { "type": "plain_text", "text": header, "emoji": false } },
            { "type": "section", "text": { "type": "plain_text", "text": body, "emoji": false } },
        ],
    })
}

/// Escapes Slack's three control characters, and breaks up Markdown for the services that read `text` as such.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in unlinked(text).chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '`' => out.push('\''),
            '*' | '~' | '[' | '!' | '#' => {
                out.push(letter);
                out.push('\u{200b}');
            }
            _ => out.push(letter),
        }
    }
    out
}

//! Discord's webhooks: one embed, and no mention of anybody.

use serde_json::{Value as Json, json};

use crate::alerts::book::AlertChange;
use crate::alerts::message::AlertMessage;
use crate::alerts::payload::unlinked;

/// Most characters of an embed's title.
const MAX_TITLE: usize = 256;

/// Most characters of an embed's description.
const MAX_DESCRIPTION: usize = 4096;

const RED: u32 = 0x00d9_3025;
const GREEN: u32 = 0x001e_8e3e;

pub(in crate::alerts) fn payload(message: &AlertMessage, host: &str) -> Json {
    let title: String = escaped(&message.title(host))
        .chars()
        .take(MAX_TITLE)
        .collect();
    let is_good = |change| matches!(change, AlertChange::Over | AlertChange::Acknowledged);
    let color = match message.notes.iter().all(|note| is_good(note.change)) {
        true => GREEN,
        false => RED,
    };
    json!({
        "embeds": [{
            "title": title,
            "description": message.plain(MAX_DESCRIPTION, escaped),
            "color": color,
        }],
        // Without this, `@everyone` in a text would notify everyone.
        "allowed_mentions": { "parse": [] },
    })
}

/// Puts a backslash before every character that Markdown may read.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in unlinked(text).chars() {
        if "\\*_~`|<>[]()#".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}

//! Microsoft Teams: an Adaptive Card, as the webhook trigger of Workflows takes it.
//!
//! The text is in runs of a `RichTextBlock`, which has no markup. A mention needs an entity, and the card has no entity.

use serde_json::{Value as Json, json};

use crate::alerts::message::AlertMessage;
use crate::alerts::payload::unlinked;

/// Most characters of the text. A card may have 28 KB, and a character up to 12 bytes in JSON.
const MAX_TEXT: usize = 2000;

pub(in crate::alerts) fn payload(message: &AlertMessage, host: &str) -> Json {
    let title: String = unlinked(&message.title(host)).chars().take(200).collect();
    let run = |text: &str, is_strong: bool| {
        let weight = if is_strong { "Bolder" } else { "Default" };
        json!({
            "type": "RichTextBlock",
            "inlines": [{ "type": "TextRun", "text": text, "weight": weight }],
        })
    };
    let mut body = vec![run(&title, true)];
    // A block for each line: a run shows no line breaks.
    let text = message.plain(MAX_TEXT, unlinked);
    let lines = text.lines().filter(|line| !line.is_empty());
    body.extend(lines.map(|line| run(line, !line.starts_with("- "))));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": "1.4",
                "msteams": { "width": "Full" },
                "body": body,
            },
        }],
    })
}

//! The payloads against the documented shapes and limits, with texts that try to be markup.

use serde_json::Value as Json;

use super::*;
use crate::alerts::book::{AlertBook, AlertNote, BookTimes};
use crate::alerts::message::AlertMessage;
use crate::model::problem::{FoundProblem, ProblemKind};

/// Text that is markup, a mention or a link somewhere.
const EVIL: &str = "<!channel> @everyone <@U1> [x](https://evil.example) **b** `c` _d_ ~e~ |f| # g > h & <at>i</at> \\* @here";

const NOW: i64 = 1_800_000_000_000;

fn notes(count: usize, text: &str) -> Vec<AlertNote> {
    let problems = (0..count).map(|index| {
        let kind = ProblemKind::ALL[index % ProblemKind::ALL.len()].1;
        FoundProblem::new(kind, format!("s{index}"), text)
    });
    let hold = |_| std::time::Duration::ZERO;
    let times = BookTimes {
        now_ms: NOW,
        interval: std::time::Duration::from_secs(15),
        hold: &hold,
        is_partial: false,
    };
    AlertBook::default().observe(problems.collect(), times)
}

fn message(count: usize, text: &str) -> AlertMessage {
    AlertMessage::new("alert_1".to_owned(), NOW, notes(count, text))
}

fn length(value: &Json) -> usize {
    value.as_str().unwrap().chars().count()
}

/// Returns all texts of a payload.
fn texts(value: &Json) -> Vec<String> {
    match value {
        Json::String(text) => vec![text.clone()],
        Json::Array(items) => items.iter().flat_map(texts).collect(),
        Json::Object(members) => members.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}

/// Fails if a text can mention a channel, begin a link or be markup, in blocks or in `text`.
#[test]
fn slack_gets_plain_text_within_its_limits() {
    for count in [1, 40, 1500] {
        let payload = slack::payload(&message(count, EVIL), "edge-1");
        let blocks = payload["blocks"].as_array().unwrap();
        assert_eq!(blocks[0]["type"], "header");
        assert!(blocks.len() <= 50 && length(&blocks[0]["text"]["text"]) <= 150);
        for block in blocks {
            assert_eq!(block["text"]["type"], "plain_text");
            let text = length(&block["text"]["text"]);
            assert!((1..=3000).contains(&text), "{text}");
        }
        let text = payload["text"].as_str().unwrap();
        assert!(text.chars().count() < 40_000);
        for sign in ["<", ">", "@everyone", "@here", "://", "`", "**", "[x", "<!"] {
            assert!(!text.contains(sign), "{sign} in {text}");
        }
        assert!(text.contains("&lt;!"), "{text}");
        assert_eq!(
            (&payload["unfurl_links"], &payload["unfurl_media"]),
            (&Json::from(false), &Json::from(false))
        );
    }
}

/// Fails if Discord would notify anybody, or if a character of Markdown is not escaped.
#[test]
fn discord_mentions_nobody_and_reads_no_markdown() {
    for count in [1, 40, 1500] {
        let payload = discord::payload(&message(count, EVIL), "edge-1");
        assert_eq!(
            payload["allowed_mentions"],
            serde_json::json!({ "parse": [] })
        );
        let embeds = payload["embeds"].as_array().unwrap();
        let embed = &embeds[0];
        assert_eq!(embeds.len(), 1);
        assert!(length(&embed["title"]) <= 256);
        assert!((1..=4096).contains(&length(&embed["description"])));
        assert!(length(&embed["title"]) + length(&embed["description"]) <= 6000);
        let text = embed["description"].as_str().unwrap();
        let mut before = ' ';
        let mut is_escaped = false;
        for letter in text.chars() {
            is_escaped = before == '\\' && !is_escaped;
            if "*_~`|<>[]()#".contains(letter) {
                assert!(is_escaped, "{letter} in {text}");
            }
            before = letter;
        }
        assert!(
            !text.contains("@everyone") && !text.contains("://"),
            "{text}"
        );
    }
}

/// Fails if the card is not the one that Workflows take, if it can be larger than 28 KB, or if it has a mention.
#[test]
fn teams_gets_an_adaptive_card_without_markup() {
    for (count, text) in [
        (1, EVIL),
        (40, EVIL),
        (1500, EVIL),
        (1500, &"\u{1f4a3}\"".repeat(200)),
    ] {
        let payload = teams::payload(&message(count, text), "edge-1");
        assert!(serde_json::to_vec(&payload).unwrap().len() < 28_000);
        assert_eq!(payload["type"], "message");
        let attachment = &payload["attachments"][0];
        assert_eq!(
            attachment["contentType"],
            "application/vnd.microsoft.card.adaptive"
        );
        let card = &attachment["content"];
        assert_eq!(
            (&card["type"], &card["version"]),
            (&Json::from("AdaptiveCard"), &Json::from("1.4"))
        );
        assert!(card["msteams"].get("entities").is_none());
        for block in card["body"].as_array().unwrap() {
            assert_eq!(block["type"], "RichTextBlock");
            assert_eq!(block["inlines"][0]["type"], "TextRun");
            assert!(length(&block["inlines"][0]["text"]) > 0);
        }
        assert!(!texts(card).iter().any(|text| text.contains("@everyone")));
    }
}

/// Fails if the fields of the JSON change, on which programs rely.
#[test]
fn programs_get_json_with_type_timestamp_and_data() {
    let payload = json::payload(&message(1500, "it is full"), "edge-1");
    assert_eq!(
        (&payload["type"], &payload["timestamp"]),
        (
            &Json::from("alerts.changed"),
            &Json::from("2027-01-15T08:00:00Z")
        )
    );
    let data = &payload["data"];
    assert_eq!(
        (&data["host"], &data["left_out"]),
        (&Json::from("edge-1"), &Json::from(1300))
    );
    assert_eq!(
        data["alerts"][0],
        serde_json::json!({
            "id": 1,
            "change": "opened",
            "condition": "store",
            "subject": "s0",
            "text": "it is full",
            "level": 0,
            "since": "2027-01-15T08:00:00Z",
            "at": "2027-01-15T08:00:00Z",
            "acknowledged_by": null,
        })
    );
    let test = AlertMessage::test("alert_2".to_owned(), NOW);
    assert_eq!(json::payload(&test, "edge-1")["type"], "alerts.test");
    assert!(
        texts(&slack::payload(&test, "edge-1"))
            .iter()
            .any(|text| text.contains("arrive here"))
    );
}

/// Fails if many problems of one kind take many lines, or if a text exceeds its budget.
#[test]
fn problems_of_one_kind_share_a_group() {
    let problems: Vec<_> = notes(ProblemKind::ALL.len() * 30, "it is full");
    let groups = AlertMessage::new(String::new(), NOW, problems).groups();
    assert_eq!(groups.len(), ProblemKind::ALL.len());
    for group in &groups {
        assert_eq!(
            (group.lines.len(), group.left_out),
            (10, 20),
            "{}",
            group.heading
        );
    }
    for budget in [100, 1000, 5000] {
        let text = message(510, "it is full").plain(budget, str::to_owned);
        assert!(
            text.chars().count() <= budget,
            "{budget}: {}",
            text.chars().count()
        );
        assert!(text.ends_with("run `hookgate alerts`."), "{text}");
    }
    let text = message(2, "it is full").plain(5000, str::to_owned);
    assert_eq!(
        text,
        "Store unavailable\n- New: it is full (alert 1)\n\nConfig rejected\n- New: it is full (alert 2)"
    );
}

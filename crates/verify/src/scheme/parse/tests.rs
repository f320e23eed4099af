//! Tests of valid schemes, and of the messages for invalid ones.

use proptest::prelude::*;

use super::*;
use crate::document::report::ReportStyle;
use crate::document::{SourceText, TomlDocument};
use crate::scheme::parse::template::parse_template;
use crate::scheme::spec::{FieldLocation, TemplatePart};

fn parse(text: &str) -> Result<SchemeSpec, String> {
    let source = SourceText::new("scheme.toml", text.to_owned());
    let document = TomlDocument::parse(&source);
    let spec = parse_spec(&mut document.root());
    let report = document.into_report();
    assert!(spec.is_some() || report.has_errors(), "{report:?}");
    let spec = spec.filter(|_| !report.has_errors());
    spec.ok_or_else(|| report.render(ReportStyle::Plain))
}

const HMAC: &str = "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\n";

#[test]
fn the_schemes_of_the_documentation() {
    let stripe = format!(
        "{HMAC}signature = {{ header = \"Stripe-Signature\", list = \",\", key = \"v1\" }}
signed = \"{{timestamp}}.{{body}}\"
timestamp = {{ header = \"Stripe-Signature\", key = \"t\", unit = \"s\" }}
event_id = {{ json = \"/id\" }}
event_type = [{{ header = \"X\" }}, {{ json = \"/a~1b/~0\" }}]
"
    );
    let spec = parse(&stripe).unwrap();
    assert_eq!(spec.event_id, [FieldLocation::Json(vec!["id".to_owned()])]);
    let json = vec!["a/b".to_owned(), "~".to_owned()];
    assert_eq!(spec.event_type.last(), Some(&FieldLocation::Json(json)));
    let SchemeFamily::Hmac(hmac) = spec.family else {
        panic!("not an HMAC");
    };
    let list = hmac.signature.list.unwrap();
    assert_eq!(
        (list.separator, list.key.as_str(), list.assign),
        (',', "v1", '=')
    );
    let parts = [
        TemplatePart::Timestamp,
        TemplatePart::Literal(".".to_owned()),
        TemplatePart::Body,
    ];
    assert_eq!(hmac.signed.parts, parts);
    assert!(parse("type = \"token\"\ntoken = { basic = true }\n").is_ok());
}

#[test]
fn templates() {
    let parts = parse_template("v0{{:{header:X-A}}}{body}").unwrap().parts;
    let expected = [
        TemplatePart::Literal("v0{:".to_owned()),
        TemplatePart::Header("x-a".parse().unwrap()),
        TemplatePart::Literal("}".to_owned()),
        TemplatePart::Body,
    ];
    assert_eq!(parts, expected);
    for text in [
        "{",
        "}",
        "{bod}",
        "{body",
        "{header:}",
        "{header:a b}",
        "a}b",
    ] {
        assert!(parse_template(text).is_err(), "{text}");
    }
}

#[test]
fn faults() {
    for (text, message) in [
        ("", "needs `type`"),
        ("type = \"hmca\"", "did you mean `\"hmac\"`?"),
        ("type = \"hmac\"", "needs `signed`"),
        ("type = \"token\"\ntoken = {}", "exactly one location"),
        (
            "type = \"token\"\ntoken = { query = \"t\" }\nsigned = \"{body}\"",
            "has no `signed`",
        ),
        (
            "type = \"token\"\ntoken = { query = \"t\" }\nevent_id = \"id\"",
            "expected a table",
        ),
        (
            "type = \"token\"\ntoken = { query = \"t\" }\nevent_id = { json = \"id\" }",
            "not a JSON pointer",
        ),
        (
            "type = \"hash\"\nalgorithm = \"md5\"",
            "is not one of the choices",
        ),
        (
            "type = \"hmac\"\nalgorithm = \"keccak256\"",
            "is not one of the choices",
        ),
        (
            "type = \"ecdsa\"\nsignature = { header = \"X\", list = \",\", base64_json = \"/s\" }",
            "either a list or base64 of a JSON object",
        ),
        (
            "type = \"ecdsa\"\nsignature = { header = \"X\", base64_json = \"s\" }",
            "not a JSON pointer",
        ),
        (
            "type = \"rsa\"\nalgorithm = \"p256_sha1\"",
            "is not one of the choices",
        ),
        (
            "type = \"jwt\"\nalgorithms = [\"RS512\"]\nkeys = \"secret\"\ntoken = { body = true }\ndetached = true",
            "both the token and its payload",
        ),
        (
            "type = \"jwt\"\nalgorithms = [\"RS512\"]\nkeys = \"secret\"\ntoken = { header = \"X\" }\ndetached = true\nissuer = \"a\"",
            "so `issuer` has nothing to look at",
        ),
        (
            "type = \"jwt\"\nalgorithms = [\"RS512\"]\nkeys = \"secret\"\ntoken = { header = \"X\" }\ndetached = true\naudience = \"url\"",
            "so `audience` has nothing to look at",
        ),
        (
            "type = \"jwt\"\nalgorithms = [\"RS512\"]\nkeys = \"secret\"\ntoken = { header = \"X\" }\ndetached = true\nevent_id = { claim = \"jti\" }",
            "that have a payload of their own",
        ),
        ("type = \"hmac\"\ndetached = true", "has no `detached`"),
    ] {
        let rendered = parse(text).unwrap_err();
        assert!(rendered.contains(message), "{text}: {rendered}");
    }
    let text = format!("{HMAC}signature = {{ header = \"X\" }}\nsigned = \"{{timestamp}}\"\n");
    assert!(
        parse(&text)
            .unwrap_err()
            .contains("does not contain `{body}`")
    );
}

proptest! {
    #[test]
    fn no_template_panics(text in ".{0,30}", braces in "[{}a:]{0,20}") {
        let _ = parse_template(&text);
        let _ = parse_template(&braces);
    }
}

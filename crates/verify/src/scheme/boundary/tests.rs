//! Tests with handmade requests that have a second reading: the signed reading passes, the other does not.

use data_encoding::HEXLOWER;
use http::HeaderName;
use http::{HeaderMap, HeaderValue, Method, Uri};
use sha1::{Digest as _, Sha1};

use super::*;
use crate::providers;

fn provider(id: &str) -> BoundaryRules {
    BoundaryRules::compile(&providers::find(id).unwrap().scheme)
}

/// Compiles the boundary rules of a custom scheme.
fn own(text: &str) -> BoundaryRules {
    let fact = |name: &str, value: &str| format!("{name} = {{ {value}, source = \"s\" }}\n");
    let identity = [
        fact("key", "nothing = true"),
        fact("retries_resign", "value = \"unknown\""),
        fact("response", "value = \"ignored\""),
        fact("tenant", "value = \"customer\""),
    ];
    let provider = format!(
        "id = \"a\"\nname = \"A\"\ndocs = \"https://a.test/\"\n[scheme]\n{text}\n[identity]\n{}",
        identity.concat()
    );
    BoundaryRules::compile(&providers::parse(&provider).ok().unwrap().scheme)
}

fn check(rules: &BoundaryRules, uri: &str, headers: &[(&str, &str)], body: &[u8]) -> bool {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let name: HeaderName = name.parse().unwrap();
        map.append(name, HeaderValue::from_str(value).unwrap());
    }
    let head = RequestHead {
        method: &Method::POST,
        uri: &uri.parse::<Uri>().unwrap(),
        headers: &map,
    };
    rules.check(&head, &[], body).is_ok()
}

/// Fails if a digest with the secret in front is treated like an HMAC: with one signature a client can extend the text.
#[test]
fn an_extended_body_is_refused() {
    for id in ["sellsy", "hubspot_v1", "hubspot_v2", "lark"] {
        let rules = provider(id);
        let nonce = [("x-lark-request-nonce", "n")];
        let takes = |body: &[u8]| check(&rules, "/", &nonce, body);
        for good in [
            &b"{\"a\":[1]}"[..],
            b"[{\"a\":1}]\n",
            b"",
            b"a=1&b=%c3%a9",
            "[\"\u{e9}\"]".as_bytes(),
        ] {
            assert!(takes(good), "{id}: {good:?}");
        }
        let padding = [&[0x80][..], &[0; 20], &[1, 0x38]].concat();
        for body in [&b"{\"a\":1}"[..], b"", b"a=1"] {
            for suffix in [&b""[..], b"{\"a\":2}", b",\"b\":2}"] {
                let longer = [body, &padding, suffix].concat();
                assert!(!takes(&longer), "{id}: {longer:?}");
            }
        }
        for bad in [
            &b"{\"a\":1}{\"a\":2}"[..],
            b"{\"a\":1",
            b"1}",
            b"a\x00b",
            b"\x80",
        ] {
            assert!(!takes(bad), "{id}: {bad:?}");
        }
    }
    // The actual attack: compute the signature of the longer body from that of the shorter one.
    let (secret, body) = (b"fake-sellsy-secret-0001", b"{\"eventType\":\"docslog\"}");
    let length = secret.len() + body.len();
    let mut glue = vec![0x80];
    while (length + glue.len()) % 64 != 56 {
        glue.push(0);
    }
    glue.extend_from_slice(&(u64::try_from(length * 8).unwrap()).to_be_bytes());
    let longer = [&body[..], &glue, b"{\"eventType\":\"other\"}"].concat();
    let scheme = providers::find("sellsy").unwrap().scheme.clone();
    let key = crate::model::secret::Secret::new(secret.to_vec());
    let compiled = crate::scheme::Scheme::compile(&scheme, &[&key], None).unwrap();
    let signature = HEXLOWER.encode(&Sha1::digest([&secret[..], &longer].concat()));
    let headers = [("x-webhook-signature", signature.as_str())];
    let mut map = HeaderMap::new();
    map.insert("x-webhook-signature", signature.parse().unwrap());
    let head = RequestHead {
        method: &Method::POST,
        uri: &Uri::from_static("/"),
        headers: &map,
    };
    let material = compiled.material(&head).unwrap();
    let verifier = compiled.begin(material, head, crate::scheme::secret_set::SecretSet::all(1));
    assert!(
        verifier.finish(&longer, None).unwrap().is_some(),
        "it is signed"
    );
    assert!(!check(&provider("sellsy"), "/", &headers, &longer));
}

/// Fails if `is_extendable` checks only the body: every value after the secret can be extended.
#[test]
fn an_extended_value_is_refused() {
    let rules = own(
        "type = \"hash\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"x-s\" }\nsigned = \"{secret}{query:a}\"\nbody_unsigned = true",
    );
    assert!(check(&rules, "/?a=b%20c", &[], b""));
    assert!(!check(&rules, "/?a=b%80%00%00c", &[], b""));
    assert!(!check(&rules, "/?a=b%00c", &[], b""));
    // Nothing follows the secret: nothing can be appended.
    assert!(check(&provider("moralis"), "/", &[], b"\x80\x00"));
    assert!(check(&provider("github"), "/", &[], b"\x80\x00"));
}

/// Fails if a part of a body is accepted where the body is next to a value of any text.
#[test]
fn a_body_that_is_cut_elsewhere_is_refused() {
    let nonce = "x-sinch-webhook-signature-nonce";
    let sinch = provider("sinch");
    assert!(check(&sinch, "/", &[(nonce, "n")], b"{\"a\":1.5}"));
    assert!(!check(&sinch, "/", &[(nonce, "5}.n")], b"{\"a\":1"));
    for id in ["square", "trello", "hubspot_v3", "twitch", "configcat"] {
        let rules = provider(id);
        assert!(check(&rules, "/?x=1", &[], b"{\"a\":{\"b\":1}}"), "{id}");
        assert!(!check(&rules, "/?x=", &[], b"1{\"a\":{\"b\":1}}"), "{id}");
        assert!(!check(&rules, "/?x=1%7B", &[], b"\"a\":{\"b\":1}}"), "{id}");
        assert!(!check(&rules, "/?x=1", &[], b"{\"a\":{\"b\":1}"), "{id}");
        // Nothing can be appended to the text of an HMAC, so all other bodies are allowed.
        assert!(check(&rules, "/?x=1", &[], b"\xff\x00"), "{id}");
    }
    for (id, header, timed) in [
        (
            "twitch",
            "twitch-eventsub-message-id",
            "a2026-11-03T20:26:10Z",
        ),
        ("configcat", "x-configcat-webhook-id", "a1700000300"),
    ] {
        let rules = provider(id);
        let takes = |id: &str, body: &[u8]| check(&rules, "/", &[(header, id)], body);
        assert!(
            takes("84c1e79a-2a4b-4c13-ba0b-4312293e9308", b"{\"a\":1}"),
            "{id}"
        );
        assert!(takes("84c1e79a", b""), "{id}");
        // Both ends of the time are open: the text in front of it could belong to the id.
        assert!(!takes("84c1700000000a=1&t=", b""), "{id}");
        assert!(
            !takes("84c", timed.as_bytes()) && !takes("84c", b"1{}"),
            "{id}"
        );
    }
    // A delimiter that neither side can contain has only one reading.
    for id in [
        "stripe",
        "slack",
        "github",
        "discord",
        "standard_webhooks",
        "xsolla",
        "keygen",
    ] {
        assert!(!provider(id).needs_whole_body, "{id}");
    }
}

/// Fails if an id may contain a time: `a.TIME.TIME.BODY` is another event with another body.
#[test]
fn an_id_that_holds_a_time_is_refused() {
    for id in ["standard_webhooks", "polar", "supabase_auth"] {
        let rules = provider(id);
        let takes = |id: &str| check(&rules, "/", &[("webhook-id", id)], b"hello");
        for good in [
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
            "a.b",
            "a.1",
            "v1.2.3",
            "a.b.c",
            "1700000000",
            "a.17000000000000",
        ] {
            assert!(takes(good), "{id}: {good}");
        }
        for bad in [
            "a.1700000000",
            "a.1700000000.b",
            ".1700000000",
            "a.b.1700000000.1",
            "a.{\"b\":1}",
        ] {
            assert!(!takes(bad), "{id}: {bad}");
        }
        let body = |body: &[u8]| check(&rules, "/", &[("webhook-id", "a")], body);
        assert!(body(b"17.5") && body(b"1700000000") && body(b"1700000000,5"));
        // The other reading: the id is `a.1700000000`, and the body is `hello`.
        for bad in [
            &b"1700000000.hello"[..],
            b"b.1700000000.hello",
            b"b.1700000000.{\"a\":1}",
        ] {
            assert!(!body(bad), "{bad:?}");
        }
        assert!(body(b"{\"a\":\"b.1700000000.c\"}") && body(b"b 1700000000.hello"));
    }
}

/// Fails if a value in a group may contain its delimiter: `a;request-id:b` is then one value or two.
#[test]
fn a_value_that_holds_its_delimiter_is_refused() {
    let rules = provider("mercadopago");
    let takes = |query: &str, id: &str| check(&rules, query, &[("x-request-id", id)], b"{}");
    assert!(takes("/?data.id=1", "b"));
    assert!(!takes("/?data.id=1%3Brequest-id%3Ab", "b"));
    assert!(!takes("/?data.id=1", "b;ts:1"));
    let own = own(
        "type = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\nsignature = { header = \"x-s\" }\nsigned = \"{json:/id}:{json:/type}\"\nbody_unsigned = true",
    );
    assert!(check(&own, "/", &[], b"{\"id\":\"1\",\"type\":\"a:b\"}"));
    assert!(!check(&own, "/", &[], b"{\"id\":\"1:a\",\"type\":\"b\"}"));
}

const CONTENTFUL: [(&str, &str); 4] = [
    ("content-type", "application/json; charset=utf-8"),
    (
        "x-contentful-signed-headers",
        "content-type,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic",
    ),
    ("x-contentful-timestamp", "1700000000000"),
    ("x-contentful-topic", "ContentManagement.Entry.publish"),
];

/// Fails if a genuine request is rejected for an id in base64, or for a body of plain text.
#[test]
fn what_senders_send_passes() {
    let takes = |id: &str, header: &str, value: &str, body: &[u8]| {
        check(&provider(id), "/", &[(header, value)], body)
    };
    let id = "k1SWN3SGe2BeNYxkD_cjR4maZ99PDRDd6Zx48W9t5qw=";
    assert!(takes("twitch", "twitch-eventsub-message-id", id, b"{}"));
    for body in [
        &b"Flag changed in production"[..],
        b"text=changed",
        b"<b>1</b>",
        b"",
    ] {
        let header = "x-configcat-webhook-id";
        assert!(takes(
            "configcat",
            header,
            "b616ca659d154a5fb907dd8475792eeb",
            body
        ));
    }
}

/// Fails if the list may omit itself or the time, or if a value may contain the beginning of an entry.
#[test]
fn a_listed_header_swallows_no_other() {
    let rules = provider("contentful");
    let takes = |headers: &[(&str, &str)]| check(&rules, "/", headers, b"{}");
    assert!(takes(&CONTENTFUL));
    // Values may contain the separator of entries.
    let with = |at: usize, value: &'static str| {
        let mut headers = CONTENTFUL;
        headers[at].1 = value;
        headers
    };
    assert!(takes(&with(3, "a;b")));
    // No source says that each sender lists the type: a type that is not listed is unsigned, but the list is signed.
    let untyped = "content-type,x-contentful-signed-headers,x-contentful-timestamp";
    assert!(takes(&with(1, untyped)[..3]));
    assert!(takes(&with(1, untyped)));
    // The same text with only one listed header, and any time and type.
    let swallowed = "application/json;x-contentful-signed-headers:content-type;x-contentful-timestamp:1700000000000;x-contentful-topic:ContentManagement.Entry.publish";
    let mut headers = with(1, "content-type");
    headers[0].1 = swallowed;
    assert!(!takes(&headers));
    for list in [
        "",
        "content-type",
        "x-contentful-signed-headers",
        "x-contentful-timestamp,x-contentful-topic",
        "content-type,x-contentful-timestamp,x-contentful-topic",
        "content-type,x-contentful-signed-headers,x-contentful-topic",
        "content-type,x-contentful-signed-headers,x-contentful-timestamp,x-contentful-topic,x-contentful-topic",
    ] {
        assert!(!takes(&with(1, list)), "{list}");
    }
    for (at, value) in [
        (0, "a;x-contentful-timestamp:1"),
        (0, "a;x-contentful-topic:b"),
        (3, "a;x-contentful-timestamp:1"),
        (3, "a;content-type:b"),
    ] {
        assert!(!takes(&with(at, value)), "{value}");
    }
}

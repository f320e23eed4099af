//! Tests of mistakes with headers, signature formats, signed texts and the sender.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, HEXLOWER};
use hookgate_verify::scheme::spec::{
    DigestAlgorithm, SchemeFamily, SchemeSpec, SignedTemplate, TemplatePart,
};

use super::{
    JSON, KEY, OTHER, TEXT, check, proves, route, says, signed, spec, with_header, without,
};

const BODY: &[u8] = JSON.as_bytes();

/// Returns the scheme of a provider with a change applied.
fn altered(
    provider: &str,
    change: impl FnOnce(&mut hookgate_verify::scheme::spec::HmacSpec),
) -> SchemeSpec {
    let mut spec = spec(provider);
    match &mut spec.family {
        SchemeFamily::Hmac(family) => change(family),
        _ => panic!("{provider} is no HMAC"),
    }
    spec
}

#[test]
fn the_same_mac_in_another_encoding() {
    // The scheme expects hexadecimal and the sender writes base64.
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "x-hub-signature-256");
    let mac = HEXLOWER
        .decode(value.trim_start_matches("sha256=").as_bytes())
        .unwrap();
    let config = route("a", "github", TEXT, "");
    for text in [
        BASE64.encode(&mac),
        BASE64_NOPAD.encode(&mac),
        BASE64URL.encode(&mac),
    ] {
        let seen = with_header(&seen, "x-hub-signature-256", &format!("sha256={text}"));
        let explanation = proves(&config, &seen, "malformed-signature", "signature-encoding");
        assert!(says(&explanation).contains("base64"), "{explanation:#?}");
    }
    // The scheme expects base64 and the sender writes hexadecimal, unpadded or URL-safe base64.
    let seen = signed(&spec("shopify"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "x-shopify-hmac-sha256");
    let mac = BASE64.decode(value.as_bytes()).unwrap();
    let config = route("a", "shopify", TEXT, "");
    let hex = HEXLOWER.encode(&mac);
    for text in [
        hex.clone(),
        hex.to_uppercase(),
        BASE64_NOPAD.encode(&mac),
        BASE64URL.encode(&mac).replace('=', ""),
    ] {
        let seen = with_header(&seen, "x-shopify-hmac-sha256", &text);
        proves(&config, &seen, "malformed-signature", "signature-encoding");
    }
    // The signature is an entry of a list.
    let seen = signed(&spec("standard_webhooks"), KEY, "/a", BODY);
    let (_, value) = without(&seen, "webhook-signature");
    let mac = BASE64
        .decode(value.trim_start_matches("v1,").as_bytes())
        .unwrap();
    let seen = with_header(
        &seen,
        "webhook-signature",
        &format!("v1,{}", HEXLOWER.encode(&mac)),
    );
    let config = route("a", "standard_webhooks", KEY, "");
    proves(&config, &seen, "malformed-signature", "signature-encoding");
}

#[test]
fn the_text_before_the_signature() {
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "x-hub-signature-256");
    let bare = value.trim_start_matches("sha256=");
    let config = route("a", "github", TEXT, "");
    for text in [bare.to_owned(), format!("hmac={bare}")] {
        let seen = with_header(&seen, "x-hub-signature-256", &text);
        proves(&config, &seen, "malformed-signature", "signature-prefix");
    }
    // The sender writes a prefix and the scheme has no prefix.
    let seen = signed(&spec("shopify"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "x-shopify-hmac-sha256");
    let seen = with_header(&seen, "x-shopify-hmac-sha256", &format!("sha256={value}"));
    let config = route("a", "shopify", TEXT, "");
    proves(&config, &seen, "malformed-signature", "signature-prefix");
}

#[test]
fn another_algorithm() {
    for (algorithm, name) in [
        (DigestAlgorithm::Sha512, "SHA-512"),
        (DigestAlgorithm::Sha1, "SHA-1"),
    ] {
        let spec = altered("github", |family| family.algorithm = algorithm);
        let seen = signed(&spec, TEXT, "/a", BODY);
        let config = route("a", "github", TEXT, "");
        let explanation = proves(&config, &seen, "malformed-signature", "wrong-algorithm");
        assert!(says(&explanation).contains(name), "{explanation:#?}");
    }
    let seen = signed(
        &altered("slack", |family| family.algorithm = DigestAlgorithm::Sha384),
        TEXT,
        "/a",
        BODY,
    );
    proves(
        &route("a", "slack", TEXT, ""),
        &seen,
        "malformed-signature",
        "wrong-algorithm",
    );
}

#[test]
fn the_header_under_another_name() {
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    let (seen, value) = without(&seen, "stripe-signature");
    let config = route("a", "stripe", TEXT, "");
    for name in [
        "x-stripe-signature",
        "stripe_signature",
        "x-forwarded-stripe-signature",
    ] {
        let seen = with_header(&seen, name, &value);
        let explanation = proves(&config, &seen, "missing-signature", "header-renamed");
        assert!(says(&explanation).contains(name), "{explanation:#?}");
    }
}

#[test]
fn sha1_of_old_where_sha256_is_expected() {
    let seen = signed(&spec("github_sha1"), TEXT, "/a", BODY);
    let seen = with_header(
        &with_header(&seen, "x-github-event", "push"),
        "x-github-delivery",
        "1",
    );
    let config = route("a", "github", TEXT, "");
    let explanation = proves(&config, &seen, "missing-signature", "other-provider");
    assert!(
        says(&explanation).contains("`github_sha1`"),
        "{explanation:#?}"
    );
}

#[test]
fn another_providers_request() {
    // With the route's secret the provider is proven; without it the headers give a hint.
    let config = route("a", "stripe", TEXT, "");
    let genuine = signed(&spec("github"), TEXT, "/a", BODY);
    let genuine = with_header(
        &with_header(&genuine, "x-github-event", "push"),
        "x-github-delivery",
        "1",
    );
    let explanation = proves(&config, &genuine, "missing-signature", "other-provider");
    assert!(
        says(&explanation).contains("(`github`)"),
        "{explanation:#?}"
    );
    let foreign = signed(
        &spec("github"),
        "nobody-knows-this-secret-0123456789",
        "/a",
        BODY,
    );
    let foreign = with_header(
        &with_header(&foreign, "x-github-event", "push"),
        "x-github-delivery",
        "1",
    );
    let explanation = check(
        &config,
        &foreign,
        "missing-signature",
        "looks-like-other-provider",
    );
    assert!(
        says(&explanation).contains("GitHub (`github`)"),
        "{explanation:#?}"
    );
    assert!(!explanation.cause.unwrap().is_proven);
    let foreign = signed(
        &spec("shopify"),
        "nobody-knows-this-secret-0123456789",
        "/a",
        BODY,
    );
    let explanation = check(
        &config,
        &foreign,
        "missing-signature",
        "looks-like-other-provider",
    );
    assert!(says(&explanation).contains("Shopify"), "{explanation:#?}");
}

#[test]
fn a_request_for_another_route() {
    let config = route("a", "stripe", TEXT, "") + &route("b", "slack", OTHER, "");
    let seen = signed(&spec("slack"), OTHER, "/a", BODY);
    let explanation = proves(&config, &seen, "missing-signature", "wrong-route");
    assert!(says(&explanation).contains("`b`"), "{explanation:#?}");
}

#[test]
fn a_signature_cut_by_a_proxy() {
    for (provider, header) in [
        ("stripe", "stripe-signature"),
        ("github", "x-hub-signature-256"),
        ("slack", "x-slack-signature"),
        ("shopify", "x-shopify-hmac-sha256"),
    ] {
        let seen = signed(&spec(provider), TEXT, "/a", BODY);
        let (_, value) = without(&seen, header);
        let seen = with_header(&seen, header, &value[..value.len() - 7]);
        let config = route("a", provider, TEXT, "");
        let explanation = proves(&config, &seen, "malformed-signature", "signature-cut");
        let right = value
            .rsplit_once(['=', ','])
            .map_or(value.as_str(), |(_, right)| right);
        assert!(
            !says(&explanation).contains(&right[..8.min(right.len())]) || right.is_empty(),
            "{explanation:#?}"
        );
    }
}

#[test]
fn a_signature_doubled_by_a_proxy() {
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "x-hub-signature-256");
    let config = route("a", "github", TEXT, "");
    for text in [format!("{value}, {value}"), format!("{value},{value}")] {
        let seen = with_header(&seen, "x-hub-signature-256", &text);
        proves(&config, &seen, "malformed-signature", "signature-doubled");
    }
    let mut twice = seen.clone();
    twice
        .headers
        .append("x-hub-signature-256", value.parse().unwrap());
    proves(&config, &twice, "malformed-signature", "signature-doubled");
    let mut twice = seen;
    twice
        .headers
        .insert("x-hub-signature-256", "sha256=0".parse().unwrap());
    twice
        .headers
        .append("x-hub-signature-256", value.parse().unwrap());
    proves(&config, &twice, "malformed-signature", "signature-doubled");
}

#[test]
fn a_signature_under_another_key_of_the_list() {
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    let (_, value) = without(&seen, "stripe-signature");
    let seen = with_header(&seen, "stripe-signature", &value.replace("v1=", "v0="));
    proves(
        &route("a", "stripe", TEXT, ""),
        &seen,
        "malformed-signature",
        "signature-version",
    );
}

#[test]
fn another_signed_text() {
    // The sender signs the body alone instead of `timestamp.body`.
    let alone = altered("stripe", |family| {
        family.signed = SignedTemplate {
            parts: vec![TemplatePart::Body],
        }
    });
    let seen = signed(&alone, TEXT, "/a", BODY);
    let explanation = proves(
        &route("a", "stripe", TEXT, ""),
        &seen,
        "bad-signature",
        "signed-text",
    );
    assert!(says(&explanation).contains("`{body}`"), "{explanation:#?}");
    // The sender leaves out the id.
    let parts = vec![
        TemplatePart::Timestamp,
        TemplatePart::Literal(".".to_owned()),
        TemplatePart::Body,
    ];
    let no_id = altered("standard_webhooks", |family| {
        family.signed = SignedTemplate { parts }
    });
    let seen = signed(&no_id, KEY, "/a", BODY);
    let explanation = proves(
        &route("a", "standard_webhooks", KEY, ""),
        &seen,
        "bad-signature",
        "signed-text",
    );
    assert!(
        says(&explanation).contains("`{timestamp}.{body}`"),
        "{explanation:#?}"
    );
    // The sender leaves out the `v0:` in front.
    let parts = vec![
        TemplatePart::Timestamp,
        TemplatePart::Literal(":".to_owned()),
        TemplatePart::Body,
    ];
    let seen = signed(
        &altered("slack", |family| family.signed = SignedTemplate { parts }),
        TEXT,
        "/a",
        BODY,
    );
    proves(
        &route("a", "slack", TEXT, ""),
        &seen,
        "bad-signature",
        "signed-text",
    );
}

#[test]
fn a_header_whose_name_has_an_underscore_is_dropped() {
    let scheme = "[routes.a]\npath = \"/a\"\nupstream = \"http://127.0.0.1:1/\"\n";
    let config = format!(
        "{scheme}secret = \"{TEXT}\"\n[routes.a.scheme]\ntype = \"hmac\"\nalgorithm = \"sha256\"\nencoding = \"hex\"\n\
         signature = {{ header = \"X_Sig\" }}\nsigned = \"{{body}}\"\n"
    );
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    let (seen, _) = without(&seen, "x-hub-signature-256");
    let explanation = check(&config, &seen, "missing-signature", "header-dropped");
    assert!(
        says(&explanation).contains("underscores_in_headers"),
        "{explanation:#?}"
    );
}

#[test]
fn a_request_without_any_signature() {
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    let (seen, _) = without(&seen, "stripe-signature");
    let config = route("a", "stripe", TEXT, "");
    check(&config, &seen, "missing-signature", "not-signed");
    let seen = with_header(&seen, "via", "1.1 proxy");
    let explanation = check(&config, &seen, "missing-signature", "not-signed");
    assert!(
        says(&explanation).contains("through a proxy"),
        "{explanation:#?}"
    );
}

#[test]
fn a_token_without_its_prefix() {
    let config = format!(
        "[routes.a]\npath = \"/a\"\nupstream = \"http://127.0.0.1:1/\"\nsecret = \"{TEXT}\"\n[routes.a.scheme]\n\
         type = \"token\"\ntoken = {{ header = \"Authorization\", prefix = \"Bearer \" }}\n"
    );
    let seen = signed(&spec("gitlab"), TEXT, "/a", BODY);
    let (seen, value) = without(&seen, "x-gitlab-token");
    let seen = with_header(&seen, "authorization", &value);
    let explanation = super::explain(&super::explainer(&config), None, &seen);
    let cause = explanation.cause.unwrap();
    assert_eq!(cause.slug, "signature-prefix");
}

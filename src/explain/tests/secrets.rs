//! Tests of mistakes with secrets.

use data_encoding::{BASE64, HEXLOWER};

use super::{JSON, KEY, OTHER, OTHER_KEY, T, TEXT, proves, route, says, signed, spec};

const BODY: &[u8] = JSON.as_bytes();

#[test]
fn white_space_around_the_secret_of_the_route() {
    for provider in ["stripe", "github", "slack", "shopify"] {
        // A line end at the end is left out: loading the config rejects it.
        for secret in [format!("{TEXT} "), format!(" {TEXT}"), format!("\n{TEXT}")] {
            let seen = signed(&spec(provider), TEXT, "/a", BODY);
            proves(
                &route("a", provider, &secret, ""),
                &seen,
                "bad-signature",
                "secret-whitespace",
            );
        }
    }
}

#[test]
fn quotes_around_the_secret_of_the_route() {
    for secret in [format!("\"{TEXT}\""), format!("'{TEXT}'")] {
        let seen = signed(&spec("github"), TEXT, "/a", BODY);
        proves(
            &route("a", "github", &secret, ""),
            &seen,
            "bad-signature",
            "secret-quoted",
        );
    }
}

#[test]
fn a_line_end_or_quotes_in_the_secret_of_the_sender() {
    for (secret, word) in [
        (format!("{TEXT}\n"), "line end"),
        (format!("\"{TEXT}\""), "quotes"),
    ] {
        let seen = signed(&spec("slack"), &secret, "/a", BODY);
        let explanation = proves(
            &route("a", "slack", TEXT, ""),
            &seen,
            "bad-signature",
            "sender-secret-unclean",
        );
        assert!(says(&explanation).contains(word), "{explanation:#?}");
    }
}

#[test]
fn a_sender_that_decodes_a_secret_which_the_scheme_takes_as_text() {
    for text in [
        BASE64.encode(TEXT.as_bytes()),
        HEXLOWER.encode(TEXT.as_bytes()),
    ] {
        let seen = signed(&spec("github"), TEXT, "/a", BODY);
        proves(
            &route("a", "github", &text, ""),
            &seen,
            "bad-signature",
            "secret-not-decoded",
        );
    }
}

#[test]
fn a_sender_that_signs_with_the_text_which_the_scheme_decodes() {
    let mut as_text = spec("standard_webhooks");
    if let hookgate_verify::scheme::spec::SchemeFamily::Hmac(family) = &mut as_text.family {
        family.secret = Default::default();
    }
    let config = route("a", "standard_webhooks", KEY, "");
    let seen = signed(&as_text, KEY, "/a", BODY);
    proves(&config, &seen, "bad-signature", "secret-decoded");
    // The sender leaves out the prefix and signs with the text of the key.
    let seen = signed(&as_text, KEY.trim_start_matches("whsec_"), "/a", BODY);
    proves(&config, &seen, "bad-signature", "secret-decoded");
}

#[test]
fn a_prefix_that_was_cut_off_or_that_does_not_count() {
    let seen = signed(&spec("stripe"), &format!("whsec_{TEXT}"), "/a", BODY);
    proves(
        &route("a", "stripe", TEXT, ""),
        &seen,
        "bad-signature",
        "secret-prefix",
    );
    let seen = signed(&spec("stripe"), TEXT, "/a", BODY);
    let config = route("a", "stripe", &format!("whsec_{TEXT}"), "");
    proves(&config, &seen, "bad-signature", "secret-prefix");
}

#[test]
fn the_secret_of_test_mode_on_the_route_of_live_mode() {
    let config = route("live", "stripe", TEXT, "") + &route("test-mode", "stripe", OTHER, "");
    let seen = signed(&spec("stripe"), OTHER, "/live", BODY);
    let explanation = proves(&config, &seen, "bad-signature", "secret-of-other-route");
    assert!(
        says(&explanation).contains("`test-mode`"),
        "{explanation:#?}"
    );
    let config = route("live", "standard_webhooks", KEY, "") + &route("b", "svix", OTHER_KEY, "");
    let seen = signed(&spec("standard_webhooks"), OTHER_KEY, "/live", BODY);
    proves(&config, &seen, "bad-signature", "secret-of-other-route");
}

#[test]
fn a_secret_of_the_rotation_out_of_its_time() {
    let day = |seconds: i64| jiff::Timestamp::from_second(seconds).unwrap().to_string();
    let (before, after) = (day(T - 86_400), day(T + 86_400));
    let folder = tempfile::tempdir().unwrap();
    let entry = |name: &str, text: &str, limit: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        format!(
            "{{ file = \"{}\", name = \"{name}\"{limit} }}",
            file.display()
        )
    };
    let expired = entry("old", TEXT, &format!(", until = {before}"));
    let current = entry("new", OTHER, "");
    let config = route("a", "github", &format!("[{expired}, {current}]"), "");
    let seen = signed(&spec("github"), TEXT, "/a", BODY);
    let explanation = proves(&config, &seen, "bad-signature", "secret-expired");
    assert!(says(&explanation).contains("`old`"), "{explanation:#?}");

    let coming = entry("coming", TEXT, &format!(", not_before = {after}"));
    let config = route("a", "github", &format!("[{coming}, {current}]"), "");
    proves(&config, &seen, "bad-signature", "secret-not-yet-valid");
    let config = route("a", "github", &format!("[{coming}]"), "");
    proves(&config, &seen, "no-current-secret", "secret-not-yet-valid");
}

#[test]
fn a_token_that_belongs_to_another_route() {
    let config = route("a", "gitlab", TEXT, "") + &route("b", "gitlab", OTHER, "");
    let seen = signed(&spec("gitlab"), OTHER, "/a", BODY);
    proves(&config, &seen, "bad-signature", "secret-of-other-route");
    let seen = signed(&spec("gitlab"), TEXT, "/a", BODY);
    let config = route("a", "gitlab", &format!("{TEXT} "), "");
    proves(&config, &seen, "bad-signature", "secret-whitespace");
}

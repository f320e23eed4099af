//! The URL checks that senders make before they send, by name. How each is answered stands in `gate/challenge`.

use crate::document::value::choice_word;

/// What a route does with its sender's URL checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnChallenge {
    /// The gate answers.
    Answer,
    /// The app answers: a check that is not signed goes there as an unverified request.
    Forward,
    /// The gate opens the URL that a signed message names.
    Confirm,
    /// The gate answers, and the log shows the secret that the check brings.
    Show,
}

impl OnChallenge {
    /// Each with the word for it in a config.
    pub const ALL: [(&'static str, Self); 4] = [
        ("answer", Self::Answer),
        ("forward", Self::Forward),
        ("confirm", Self::Confirm),
        ("show", Self::Show),
    ];

    /// The word for it in a config.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// A sender's URL check.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Challenge {
    /// Slack's signed `url_verification` event, and its unsigned `ssl_check`.
    Slack,
    /// Meta's `hub.mode`, `hub.challenge` and `hub.verify_token`.
    Meta,
    /// Strava's, which are Meta's with JSON as the answer.
    Strava,
    /// WebSub's verification of intent.
    WebSub,
    /// Zoom's signed `endpoint.url_validation` event.
    Zoom,
    /// X's challenge-response check: an HMAC of `crc_token`.
    XCrc,
    /// Dropbox's `challenge` parameter.
    Dropbox,
    /// Nylas's `challenge` parameter.
    Nylas,
    /// eBay's `challenge_code` parameter.
    Ebay,
    /// Onfleet's `check` parameter.
    Onfleet,
    /// Microsoft Graph's `validationToken` parameter.
    Graph,
    /// Okta's `X-Okta-Verification-Challenge` header.
    Okta,
    /// Asana's `X-Hook-Secret` header, which brings the secret itself.
    Asana,
    /// Twitch's signed `webhook_callback_verification` message.
    Twitch,
    /// Azure Event Grid's `SubscriptionValidation` event.
    EventGrid,
    /// `OPTIONS` with `WebHook-Request-Origin`, of CloudEvents' web hooks.
    CloudEvents,
    /// Amazon SNS's signed `SubscriptionConfirmation` message.
    Sns,
    /// Discord's signed ping.
    Discord,
    /// Smartsheet's `Smartsheet-Hook-Challenge` header.
    Smartsheet,
    /// monday.com's body with nothing but a `challenge`.
    Monday,
    /// Lark's `url_verification` event with the token in the body.
    Lark,
    /// Braintree's `bt_challenge` parameter.
    Braintree,
    /// Worldline's `X-GCS-Webhooks-Endpoint-Verification` header.
    Worldline,
    /// Tebex's signed `validation.webhook` event.
    Tebex,
    /// Notion's unsigned body with nothing but a `verification_token`.
    Notion,
    /// WooCommerce's unsigned form with nothing but a `webhook_id`.
    WooCommerce,
    /// Xero's intent to receive: requests with good and with bad signatures.
    Xero,
    /// The unsigned connection test of Bitbucket Data Center.
    BitbucketPing,
    /// A `HEAD` or `GET` without anything in it.
    Probe,
}

impl Challenge {
    /// Each with the name that stands in provider files.
    pub const ALL: &[(&'static str, Self)] = &[
        ("slack_url_verification", Self::Slack),
        ("meta_hub", Self::Meta),
        ("strava_hub", Self::Strava),
        ("websub_hub", Self::WebSub),
        ("zoom_url_validation", Self::Zoom),
        ("x_crc", Self::XCrc),
        ("dropbox_echo", Self::Dropbox),
        ("nylas_echo", Self::Nylas),
        ("ebay_challenge", Self::Ebay),
        ("onfleet_check", Self::Onfleet),
        ("graph_validation_token", Self::Graph),
        ("okta_header", Self::Okta),
        ("asana_hook_secret", Self::Asana),
        ("twitch_callback", Self::Twitch),
        ("event_grid_validation", Self::EventGrid),
        ("cloudevents_options", Self::CloudEvents),
        ("sns_confirm", Self::Sns),
        ("discord_ping", Self::Discord),
        ("smartsheet_header", Self::Smartsheet),
        ("monday_echo", Self::Monday),
        ("lark_echo", Self::Lark),
        ("braintree_challenge", Self::Braintree),
        ("worldline_echo", Self::Worldline),
        ("tebex_validation", Self::Tebex),
        ("notion_token", Self::Notion),
        ("woocommerce_ping", Self::WooCommerce),
        ("xero_intent", Self::Xero),
        ("bitbucket_ping", Self::BitbucketPing),
        ("head_ok", Self::Probe),
    ];

    /// The name that stands in provider files.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, kind)| *kind == self);
        row.map_or("", |(name, _)| name)
    }

    /// Whether the route needs a `verify_token`: what shows that it is the provider who asks, as the protocol has no
    /// signature on the check; for Braintree the public key that goes into the answer, for eBay the token that is hashed
    /// into it.
    #[must_use]
    pub fn needs_verify_token(self) -> bool {
        matches!(
            self,
            Self::Meta | Self::Strava | Self::Braintree | Self::WebSub | Self::Lark | Self::Ebay
        )
    }

    /// Returns whether the answer holds the URL that the sender called, so that the route needs a `public_url`.
    #[must_use]
    pub fn needs_public_url(self) -> bool {
        self == Self::Ebay
    }

    /// What a route may do with it, the usual first.
    #[must_use]
    pub fn choices(self) -> &'static [OnChallenge] {
        match self {
            Self::Sns => &[OnChallenge::Forward, OnChallenge::Confirm],
            Self::Notion => &[OnChallenge::Forward, OnChallenge::Show],
            _ => &[OnChallenge::Answer, OnChallenge::Forward],
        }
    }

    /// Returns whether a 401 has an empty body, because the sender's own test asks for it.
    #[must_use]
    pub fn wants_empty_refusals(self) -> bool {
        self == Self::Xero
    }

    /// Query parameters of the unsigned check. Nothing else of a query reaches an app that answers checks itself.
    #[must_use]
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Meta | Self::Strava => &["hub.mode", "hub.challenge", "hub.verify_token"],
            Self::WebSub => &[
                "hub.mode",
                "hub.topic",
                "hub.challenge",
                "hub.lease_seconds",
            ],
            Self::XCrc => &["crc_token", "nonce"],
            Self::Dropbox | Self::Nylas => &["challenge"],
            Self::Ebay => &["challenge_code"],
            Self::Onfleet => &["check"],
            Self::Graph => &["validationToken"],
            Self::Braintree => &["bt_challenge"],
            Self::Slack => &["ssl_check", "token"],
            _ => &[],
        }
    }

    /// What a route does that says nothing; none where the check is a request like any other.
    #[must_use]
    pub fn usual(self) -> Option<OnChallenge> {
        let first = self.choices().first().copied();
        first.filter(|first| *first == OnChallenge::Answer)
    }

    /// What is asked and what goes back, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Slack => {
                "a signed `url_verification` event, whose `challenge` goes back; and an unsigned `ssl_check=1`, answered 200"
            }
            Self::Meta => {
                "a GET with `hub.challenge`, which goes back where `hub.verify_token` is the route's `verify_token`"
            }
            Self::Strava => {
                "a GET with `hub.challenge`, which goes back as JSON where `hub.verify_token` is the route's `verify_token`"
            }
            Self::WebSub => {
                "a GET with `hub.challenge`, which goes back where `hub.topic` is the route's `verify_token`"
            }
            Self::Zoom => {
                "a signed `endpoint.url_validation` event; its `plainToken` goes back with an HMAC under the secret"
            }
            Self::XCrc => {
                "a GET with `crc_token`, hourly; an HMAC of it under the secret goes back"
            }
            Self::Dropbox | Self::Nylas => "a GET with `challenge`, which goes back",
            Self::Ebay => {
                "a GET with `challenge_code`; the SHA-256 of it, the route's `verify_token` and the URL goes back in JSON"
            }
            Self::Onfleet => "a GET with `check`, which goes back",
            Self::Graph => "a POST with `validationToken`, which goes back",
            Self::Okta => "a GET with `X-Okta-Verification-Challenge`, which goes back in JSON",
            Self::Asana => {
                "a POST with `X-Hook-Secret`, which goes back in the same header; it is the secret, and Asana shows it where the webhook is made"
            }
            Self::Twitch => {
                "a signed `webhook_callback_verification` message; its `challenge` goes back"
            }
            Self::EventGrid => {
                "a `SubscriptionValidation` event, once it has passed as any other; its `validationCode` goes back"
            }
            Self::CloudEvents => {
                "an OPTIONS with `WebHook-Request-Origin`, which goes back as `WebHook-Allowed-Origin`"
            }
            Self::Sns => {
                "a signed `SubscriptionConfirmation`; `on_challenge = \"confirm\"` confirms it"
            }
            Self::Discord => "a signed ping; a pong goes back",
            Self::Smartsheet => {
                "a POST with `Smartsheet-Hook-Challenge`, which goes back in `Smartsheet-Hook-Response`"
            }
            Self::Monday => "a POST with nothing but a `challenge`, which goes back in JSON",
            Self::Lark => {
                "a `url_verification` event; its `challenge` goes back in JSON where its `token` is the route's `verify_token`"
            }
            Self::Braintree => {
                "a GET with `bt_challenge`; the public key, which is the route's `verify_token`, and an HMAC of it under the private key go back"
            }
            Self::Worldline => "a GET with `X-GCS-Webhooks-Endpoint-Verification`, which goes back",
            Self::Tebex => "a signed `validation.webhook` event; its `id` goes back in JSON",
            Self::Notion => {
                "a POST with nothing but a `verification_token`, which is the secret: with `on_challenge = \"show\"` it stands in the log"
            }
            Self::WooCommerce => "a POST with nothing but `webhook_id`; 200 goes back",
            Self::Xero => {
                "events with good and with bad signatures; an event without entries is answered 200, a bad signature 401 with an empty body"
            }
            Self::BitbucketPing => {
                "an unsigned POST of `{\"test\": true}` with the event key `diagnostics:ping`; 200 goes back"
            }
            Self::Probe => "a HEAD or GET; 200 goes back",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_name() {
        for (name, kind) in Challenge::ALL {
            assert_eq!(kind.name(), *name);
        }
    }
}

//! The URL checks that providers make before they send, by name.
//!
//! This crate only names them. The program recognizes and answers them.

use crate::document::value::choice_word;
use crate::scheme::form;

/// The action of a route on its sender's URL checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnChallenge {
    /// The gate responds, without involving the app.
    Answer,
    /// The app responds: the gate forwards an unsigned check as an unverified request.
    Forward,
    /// The gate opens the URL that a signed message contains.
    Confirm,
    /// The gate responds, and the log shows the secret that the check contains.
    Show,
}

impl OnChallenge {
    /// Every action with its config value.
    pub const ALL: [(&'static str, Self); 4] = [
        ("answer", Self::Answer),
        ("forward", Self::Forward),
        ("confirm", Self::Confirm),
        ("show", Self::Show),
    ];

    /// Returns the config value of the action.
    #[must_use]
    pub fn word(self) -> &'static str {
        choice_word(&Self::ALL, &self)
    }
}

/// The URL check of a provider.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProviderChallenge {
    /// Slack's signed `url_verification` event, and its unsigned `ssl_check`.
    Slack,
    /// Meta's `hub.mode`, `hub.challenge` and `hub.verify_token`.
    Meta,
    /// Strava's `hub.*` parameters, which are Meta's with a JSON response.
    Strava,
    /// WebSub's verification of intent, by the same parameters.
    WebSub,
    /// Zoom's signed `endpoint.url_validation` event, with an HMAC as the response.
    Zoom,
    /// X's challenge-response check: an HMAC of `crc_token`.
    XCrc,
    /// Dropbox's `challenge` parameter, which is sent back.
    Dropbox,
    /// Nylas's `challenge` parameter, which is sent back.
    Nylas,
    /// eBay's `challenge_code` parameter, whose digest is sent back.
    Ebay,
    /// Onfleet's `check` parameter, which is sent back.
    Onfleet,
    /// Microsoft Graph's `validationToken` parameter, which is sent back as text.
    Graph,
    /// Okta's `X-Okta-Verification-Challenge` header, which is sent back as JSON.
    Okta,
    /// Asana's `X-Hook-Secret` header, which brings the secret itself.
    Asana,
    /// Twitch's signed `webhook_callback_verification` message, recognized by its header.
    Twitch,
    /// Azure Event Grid's `SubscriptionValidation` event.
    EventGrid,
    /// `OPTIONS` with `WebHook-Request-Origin`, from the webhook specification of CloudEvents.
    CloudEvents,
    /// Amazon SNS's signed `SubscriptionConfirmation` message.
    Sns,
    /// Discord's signed ping, which expects a pong.
    Discord,
    /// Smartsheet's `Smartsheet-Hook-Challenge` header, which is sent back in another header.
    Smartsheet,
    /// monday.com's body with only a `challenge`.
    Monday,
    /// Lark's `url_verification` event with the token in the body.
    Lark,
    /// Braintree's `bt_challenge` parameter, with an HMAC as the response.
    Braintree,
    /// Worldline's `X-GCS-Webhooks-Endpoint-Verification` header, which is sent back.
    Worldline,
    /// Tebex's signed `validation.webhook` event, whose id is sent back.
    Tebex,
    /// Notion's unsigned body with only a `verification_token`.
    Notion,
    /// WooCommerce's unsigned form with only a `webhook_id`.
    WooCommerce,
    /// Xero's intent to receive: requests with good and with bad signatures.
    Xero,
    /// The unsigned connection test of Bitbucket Data Center.
    BitbucketPing,
    /// A `HEAD` or `GET` without any content.
    Probe,
}

impl ProviderChallenge {
    /// Every check with its name in provider files.
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

    /// Returns the name of the check in provider files.
    #[must_use]
    pub fn name(self) -> &'static str {
        let row = Self::ALL.iter().find(|(_, kind)| *kind == self);
        row.map_or("", |(name, _)| name)
    }

    /// Returns whether the signed text is one that this URL check may ask to sign, so that any client could have obtained
    /// the signature. No genuine event of these senders has such a text.
    #[must_use]
    pub fn signs_for_anyone(self, body: &[u8]) -> bool {
        match self {
            // Events are JSON objects.
            Self::XCrc => !body.trim_ascii_start().starts_with(b"{"),
            // A payload is base64 of XML, which begins with `PG`, and a challenge is hexadecimal.
            Self::Braintree => {
                let fields = form::fields(body).unwrap_or_default();
                let payload = form::one(&fields, "bt_payload").ok().flatten();
                let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
                payload.is_none_or(|text| text.bytes().all(is_digit))
            }
            _ => false,
        }
    }

    /// Returns whether the route needs a `verify_token`. The token shows that the check is the provider's, since the
    /// protocol does not sign it. For Braintree it is the public key, which is part of the response; for eBay it is part of
    /// the digest that is sent back.
    #[must_use]
    pub fn needs_verify_token(self) -> bool {
        matches!(
            self,
            Self::Meta | Self::Strava | Self::Braintree | Self::WebSub | Self::Lark | Self::Ebay
        )
    }

    /// Returns whether the response contains the URL that the sender called, so that the route needs a `public_url`.
    #[must_use]
    pub fn needs_public_url(self) -> bool {
        self == Self::Ebay
    }

    /// Returns the actions that a route may choose, the default first.
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

    /// Returns the query parameters of the unsigned check. A forwarded check keeps only these parameters.
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

    /// Returns the default action of a route, or `None` if the check is treated like any request.
    #[must_use]
    pub fn usual(self) -> Option<OnChallenge> {
        let first = self.choices().first().copied();
        first.filter(|first| *first == OnChallenge::Answer)
    }

    /// Describes the check and its response, for `providers show` and the docs.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Slack => {
                "a signed `url_verification` event, whose `challenge` is sent back; and an unsigned `ssl_check=1`, which gets 200"
            }
            Self::Meta => {
                "a GET with `hub.challenge`, which is sent back if `hub.verify_token` equals the route's `verify_token`"
            }
            Self::Strava => {
                "a GET with `hub.challenge`, which is sent back as JSON if `hub.verify_token` equals the route's `verify_token`"
            }
            Self::WebSub => {
                "a GET with `hub.challenge`, which is sent back if `hub.topic` equals the route's `verify_token`"
            }
            Self::Zoom => {
                "a signed `endpoint.url_validation` event; its `plainToken` is sent back with its HMAC under the secret"
            }
            Self::XCrc => "a GET with `crc_token`, hourly; its HMAC under the secret is sent back",
            Self::Dropbox | Self::Nylas => "a GET with `challenge`, which is sent back",
            Self::Ebay => {
                "a GET with `challenge_code`; the SHA-256 of it, the route's `verify_token` and the URL is sent back in JSON"
            }
            Self::Onfleet => "a GET with `check`, which is sent back",
            Self::Graph => "a POST with `validationToken`, which is sent back",
            Self::Okta => "a GET with `X-Okta-Verification-Challenge`, which is sent back in JSON",
            Self::Asana => {
                "a POST with `X-Hook-Secret`, which is sent back in the same header; it is the secret, and Asana returns it to the API call that creates the webhook"
            }
            Self::Twitch => {
                "a signed `webhook_callback_verification` message; its `challenge` is sent back"
            }
            Self::EventGrid => {
                "a `SubscriptionValidation` event, which must pass all checks of an event; its `validationCode` is sent back"
            }
            Self::CloudEvents => {
                "an OPTIONS with `WebHook-Request-Origin`, which is sent back as `WebHook-Allowed-Origin`"
            }
            Self::Sns => {
                "a signed `SubscriptionConfirmation`; `on_challenge = \"confirm\"` confirms it"
            }
            Self::Discord => "a signed ping; a pong is sent back",
            Self::Smartsheet => {
                "a POST with `Smartsheet-Hook-Challenge`, which is sent back in `Smartsheet-Hook-Response`"
            }
            Self::Monday => "a POST with only a `challenge`, which is sent back in JSON",
            Self::Lark => {
                "a `url_verification` event; its `challenge` is sent back in JSON if its `token` equals the route's `verify_token`"
            }
            Self::Braintree => {
                "a GET with `bt_challenge`; the public key, which is the route's `verify_token`, and an HMAC of the challenge under the private key are sent back"
            }
            Self::Worldline => {
                "a GET with `X-GCS-Webhooks-Endpoint-Verification`, which is sent back"
            }
            Self::Tebex => "a signed `validation.webhook` event; its `id` is sent back in JSON",
            Self::Notion => {
                "a POST with only a `verification_token`, which is the secret: with `on_challenge = \"show\"` the log shows it"
            }
            Self::WooCommerce => "a POST with only a `webhook_id`; the response is 200",
            Self::Xero => {
                "events with good and with bad signatures; an event without entries gets 200, a bad signature 401 with an empty body"
            }
            Self::BitbucketPing => {
                "an unsigned POST of `{\"test\": true}` with the event key `diagnostics:ping`; the response is 200"
            }
            Self::Probe => "a HEAD or GET; the response is 200",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_one_name() {
        for (name, kind) in ProviderChallenge::ALL {
            assert_eq!(kind.name(), *name);
        }
    }
}

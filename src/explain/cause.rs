//! What usually goes wrong: one table with a word, a sentence and a fix for each cause.
//!
//! `{}` in a sentence stands for what is particular to this request: a name, a number, an address. Never a secret, and
//! never any part of one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request is refused that its sender meant well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each has a sentence in the table below")]
pub enum Cause {
    SecretWhitespace,
    SecretQuoted,
    SenderSecretUnclean,
    SecretNotDecoded,
    SecretDecoded,
    SecretPrefix,
    SecretOfOtherRoute,
    SecretExpired,
    SecretNotYet,
    SignatureEncoding,
    SignaturePrefix,
    WrongAlgorithm,
    SignatureCut,
    SignatureDoubled,
    SignatureVersion,
    HeaderRenamed,
    HeaderDropped,
    NotSigned,
    OtherProvider,
    LooksLikeOtherProvider,
    WrongRoute,
    SignedText,
    BodyLineEnd,
    BodyLineEnds,
    BodyMark,
    BodyReserialised,
    FormReencoded,
    BodyCharset,
    BodyCompressed,
    BodyDecompressed,
    BodyTruncated,
    BodyLonger,
    BodyWrapped,
    BodyLost,
    BodyNotKept,
    PublicUrl,
    UrlChanged,
    TimestampUnit,
    TimeZone,
    Retried,
    ClockOfSender,
    ClockHere,
    SignatureOld,
    OffUnread,
    PathDiffers,
    HostDiffers,
    ProxyNotTrusted,
    SourceUnknown,
    MethodNotTaken,
    ContentTypeNotTaken,
    BodyLimit,
    EventFiltered,
    Duplicate,
}

/// What the table says of a cause.
pub struct Row {
    /// The word for it.
    pub slug: &'static str,
    /// What happened.
    pub says: &'static str,
    /// What to do.
    pub fix: &'static str,
}

/// A cause that was found for one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RequestCause)]
pub struct Finding {
    /// The word for the cause.
    pub slug: String,
    /// What happened, in a sentence.
    pub says: String,
    /// What to do, in a sentence.
    pub fix: String,
    /// Whether the real verification passes once this one thing is put right; else the request only looks like it.
    pub is_proven: bool,
}

impl Cause {
    /// Found by making the verification pass.
    pub(super) fn proven(self, detail: &str) -> Finding {
        self.finding(detail, true)
    }

    /// What the request looks like.
    pub(super) fn likely(self, detail: &str) -> Finding {
        self.finding(detail, false)
    }

    fn finding(self, detail: &str, is_proven: bool) -> Finding {
        let row = self.row();
        Finding {
            slug: row.slug.to_owned(),
            says: row.says.replace("{}", detail),
            fix: row.fix.replace("{}", detail),
            is_proven,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn slug(self) -> &'static str {
        self.row().slug
    }

    /// The table.
    #[must_use]
    pub fn row(self) -> &'static Row {
        match self {
            Self::SecretWhitespace => &Row {
                slug: "secret-whitespace",
                says: "The route's secret has a space or a line end around it that does not belong to it.",
                fix: "Take the white space out of the secret where the config gets it from (`printf %s` writes no line end, `echo` does).",
            },
            Self::SecretQuoted => &Row {
                slug: "secret-quoted",
                says: "The route's secret stands in quotes that do not belong to it.",
                fix: "Take the quotes out of the secret; env and credential files hold the bare text.",
            },
            Self::SenderSecretUnclean => &Row {
                slug: "sender-secret-unclean",
                says: "The sender signs with this secret and {} that was copied along with it.",
                fix: "Enter the secret once more at the sender, without {}.",
            },
            Self::SecretNotDecoded => &Row {
                slug: "secret-not-decoded",
                says: "The route's secret is {} text, and the sender signs with the bytes that it stands for.",
                fix: "Say so in the scheme: `secret = { encoding = ... }` in `[routes.NAME.scheme]` ({}), or enter a secret at the sender that is plain text.",
            },
            Self::SecretDecoded => &Row {
                slug: "secret-decoded",
                says: "The secret was decoded once too often: the sender signs with {}.",
                fix: "Copy the secret from the sender exactly as it is shown, and let the scheme take it as `secret = { encoding = \"utf8\" }` where it is text.",
            },
            Self::SecretPrefix => &Row {
                slug: "secret-prefix",
                says: "The prefix of the secret is the matter: the sender signs with {}.",
                fix: "Copy the secret from the sender whole, with its prefix; a scheme of your own says with `strip_prefix` whether the prefix counts.",
            },
            Self::SecretOfOtherRoute => &Row {
                slug: "secret-of-other-route",
                says: "The request is signed with the secret of the route `{}`: another endpoint's, or test mode's instead of live mode's.",
                fix: "Give this route the secret of the endpoint that sends here, or enter the URL of `{}` at that endpoint.",
            },
            Self::SecretExpired => &Row {
                slug: "secret-expired",
                says: "The request is signed with the secret `{}` of this route, whose `until` had passed.",
                fix: "Let the sender sign with the new secret, or move the `until` of `{}` until it does.",
            },
            Self::SecretNotYet => &Row {
                slug: "secret-not-yet-valid",
                says: "The request is signed with the secret `{}` of this route before its `not_before`.",
                fix: "Move the `not_before` of `{}` to when the sender began with it, or take it out.",
            },
            Self::SignatureEncoding => &Row {
                slug: "signature-encoding",
                says: "The signature is right but written in another way: as {}.",
                fix: "Set the scheme's `encoding` to {}, or have the sender write it as the scheme says.",
            },
            Self::SignaturePrefix => &Row {
                slug: "signature-prefix",
                says: "The signature is right, but the text before it is another one: {}.",
                fix: "Set the `prefix` of the scheme's `signature` to what the sender writes ({}).",
            },
            Self::WrongAlgorithm => &Row {
                slug: "wrong-algorithm",
                says: "The request is signed with {}, and the route's scheme takes another algorithm.",
                fix: "Choose the sender's algorithm to match, or a `provider` or `scheme` with {}.",
            },
            Self::SignatureCut => &Row {
                slug: "signature-cut",
                says: "The signature is right as far as it goes, but {}.",
                fix: "Look for a proxy or a log shipper in front that limits the length of headers, and raise its limit.",
            },
            Self::SignatureDoubled => &Row {
                slug: "signature-doubled",
                says: "The value of `{}` is right but stands there twice, as when a proxy in front adds a header that is there.",
                fix: "Let the proxy in front set `{}` once or not at all.",
            },
            Self::SignatureVersion => &Row {
                slug: "signature-version",
                says: "The signature is right, but stands under another key of the list than the scheme's.",
                fix: "Set the `key` of the scheme's `signature` to the one that the sender writes, or have it send this version.",
            },
            Self::HeaderRenamed => &Row {
                slug: "header-renamed",
                says: "What the scheme looks for stands in the header {}.",
                fix: "Have the proxy in front leave the name alone, or name the header in the scheme: {}.",
            },
            Self::HeaderDropped => &Row {
                slug: "header-dropped",
                says: "The name of `{}` has an underscore, and many proxies drop such headers without a word.",
                fix: "Let the proxy in front pass `{}` on (nginx: `underscores_in_headers on`).",
            },
            Self::NotSigned => &Row {
                slug: "not-signed",
                says: "The request carries no signature of any provider that hookgate knows: {}.",
                fix: "Set the secret at the sender, for the endpoint with this URL; if it is set, look for a proxy in front that drops headers.",
            },
            Self::OtherProvider => &Row {
                slug: "other-provider",
                says: "The request is genuine under the route's secret as one of {}.",
                fix: "Write the route's `provider` accordingly: {}.",
            },
            Self::LooksLikeOtherProvider => &Row {
                slug: "looks-like-other-provider",
                says: "The request carries the headers of another sender than the route's: this looks like {}.",
                fix: "Enter the right URL at that sender, or write the route's `provider` accordingly: {}.",
            },
            Self::WrongRoute => &Row {
                slug: "wrong-route",
                says: "The request is a genuine one for the route `{}`.",
                fix: "Enter the URL of the route `{}` at the sender.",
            },
            Self::SignedText => &Row {
                slug: "signed-text",
                says: "The sender signs another text than the scheme says: {}.",
                fix: "Write the scheme's `signed` accordingly: {}.",
            },
            Self::BodyLineEnd => &Row {
                slug: "body-line-end",
                says: "The body was changed at its end on the way: the sender signed it {}.",
                fix: "Let whatever stands in front pass the body on byte for byte; `curl --data-binary` keeps line ends that `--data` drops.",
            },
            Self::BodyLineEnds => &Row {
                slug: "body-line-endings",
                says: "The line ends in the body were changed on the way: the sender signed it with {}.",
                fix: "Let whatever stands in front pass the body on as binary, not as text.",
            },
            Self::BodyMark => &Row {
                slug: "body-byte-order-mark",
                says: "A byte-order mark at the start of the body makes the difference: the sender signed it {}.",
                fix: "Have the body written and passed on without a byte-order mark (UTF-8 without BOM).",
            },
            Self::BodyReserialised => &Row {
                slug: "body-reserialised",
                says: "The JSON was parsed and written again on the way: the sender signed it {}.",
                fix: "Let whatever stands in front pass the raw body on instead of parsing it; in code, sign and send the same bytes.",
            },
            Self::FormReencoded => &Row {
                slug: "form-reencoded",
                says: "The form was decoded and encoded again on the way: the sender signed it with {}.",
                fix: "Let whatever stands in front pass the raw body on instead of parsing the form.",
            },
            Self::BodyCharset => &Row {
                slug: "body-charset",
                says: "The characters of the body were converted on the way: the sender signed it as {}.",
                fix: "Let whatever stands in front leave the bytes alone, or have the sender write UTF-8.",
            },
            Self::BodyCompressed => &Row {
                slug: "body-compressed",
                says: "The body comes compressed ({}), and the sender signed it before it was compressed.",
                fix: "Switch the compression of requests off at the sender or the proxy in front, or decompress in front of hookgate.",
            },
            Self::BodyDecompressed => &Row {
                slug: "body-decompressed",
                says: "`Content-Encoding` says {}, and the body is not compressed: somebody unpacked it on the way, while the sender signed the packed one.",
                fix: "Let the proxy in front pass compressed bodies on as they are.",
            },
            Self::BodyTruncated => &Row {
                slug: "body-truncated",
                says: "The body is not whole: {}.",
                fix: "Look for a limit on bodies in what stands in front; for a file, capture the request once more in whole.",
            },
            Self::BodyLonger => &Row {
                slug: "body-longer",
                says: "The body is right up to its `Content-Length`; {} follow that the sender did not sign.",
                fix: "Look for what appends to the body on the way.",
            },
            Self::BodyWrapped => &Row {
                slug: "body-wrapped",
                says: "The body was wrapped on the way: the sender signed {}.",
                fix: "Let what stands in front pass the raw body on (for API gateways: the binary, unwrapped payload).",
            },
            Self::BodyLost => &Row {
                slug: "body-lost",
                says: "The body is empty, and the scheme signs a body.",
                fix: "Look for a redirect in front (POST becomes GET) or a proxy that drops bodies.",
            },
            Self::BodyNotKept => &Row {
                slug: "body-not-kept",
                says: "Only the start of the body was kept, so that its signature cannot be tried again.",
                fix: "Save such a request whole where it is sent, or in front of the gate, and explain that file.",
            },
            Self::PublicUrl => &Row {
                slug: "public-url",
                says: "The sender signs the URL that it calls, and the route's `public_url` is another one.",
                fix: "Set `public_url = \"{}\"` on this route.",
            },
            Self::UrlChanged => &Row {
                slug: "url-changed",
                says: "The sender signs the URL that it calls, and the target was rewritten on the way: it signed `{}`.",
                fix: "Let the proxy in front pass the target on as it came, or enter at the sender the URL that hookgate sees.",
            },
            Self::TimestampUnit => &Row {
                slug: "timestamp-unit",
                says: "The timestamp is written in another unit than the scheme's: as {}.",
                fix: "Set the `unit` of the scheme's `timestamp` ({}), or have the sender write the scheme's.",
            },
            Self::TimeZone => &Row {
                slug: "time-zone",
                says: "The signed time is off by {}: a local time was taken for UTC, at the sender or here.",
                fix: "Have the sender sign Unix time (UTC), and check with `timedatectl` that this machine's clock is UTC inside.",
            },
            Self::Retried => &Row {
                slug: "retried-with-old-signature",
                says: "The signature is right but was made {} before: the sender, or a queue in front, tries again with its first signature.",
                fix: "Raise the route's `tolerance` to the time over which it retries (dedup keeps out second copies), or ask for signatures at each try.",
            },
            Self::ClockOfSender => &Row {
                slug: "clock-of-sender",
                says: "The signature is right and its time lies {} in the future: the sender's clock is ahead, or this machine's behind.",
                fix: "Set both clocks (`timedatectl`, chrony); hold the time of other senders against it to see whose is wrong.",
            },
            Self::ClockHere => &Row {
                slug: "clock-here",
                says: "The signature is right, and other senders were off by about as much ({}) at that time: this machine's clock is wrong.",
                fix: "Set this machine's clock: `timedatectl set-ntp true`, then `chronyc tracking`.",
            },
            Self::SignatureOld => &Row {
                slug: "signature-old",
                says: "The signature is right but was made {} before the request came: a delay on the way, a retry with the first signature, a clock that is behind, or a capture that is replayed.",
                fix: "Compare clocks (`timedatectl`); where the sender retries with old signatures, raise the route's `tolerance`.",
            },
            Self::OffUnread => &Row {
                slug: "time-off-unread",
                says: "The signed time is {}. The request was refused before its body was read, so whether the signature is right cannot be told.",
                fix: "Compare clocks (`timedatectl`); where the sender retries with its first signature, raise the route's `tolerance`. Old and from a stranger, it is a capture that is replayed.",
            },
            Self::PathDiffers => &Row {
                slug: "path-differs",
                says: "Paths are compared byte by byte, and this one differs from that of {}.",
                fix: "Enter the path at the sender exactly as the route has it: {}.",
            },
            Self::HostDiffers => &Row {
                slug: "host-differs",
                says: "There is a route with this path, but for another host: {}.",
                fix: "Enter the URL with that host at the sender, or let the proxy in front pass on `Host`: {}.",
            },
            Self::ProxyNotTrusted => &Row {
                slug: "proxy-not-trusted",
                says: "The request came through a proxy that is not trusted, so its own address counted; `X-Forwarded-For` names {}, which is allowed.",
                fix: "Put the address of the proxy into `trusted_proxies` of `[server]`, if it is yours.",
            },
            Self::SourceUnknown => &Row {
                slug: "source-unknown",
                says: "The address {} is not among those from which the route takes requests.",
                fix: "If it is the sender's: `hookgate providers refresh-ranges`, or add it to `allow_ips`.",
            },
            Self::MethodNotTaken => &Row {
                slug: "method",
                says: "The route does not take {} requests.",
                fix: "Add it to the route's `methods` if this sender uses it; a redirect in front turns POST into GET.",
            },
            Self::ContentTypeNotTaken => &Row {
                slug: "content-type",
                says: "The sender writes its body as {}, and the route does not take that.",
                fix: "Choose the route's type at the sender, or add this one to the route's `content_types`.",
            },
            Self::BodyLimit => &Row {
                slug: "body-limit",
                says: "The body is larger than the route takes.",
                fix: "Set `max_body = \"{}\"` on this route, or more.",
            },
            Self::EventFiltered => &Row {
                slug: "event-filtered",
                says: "The request is genuine; {} of the route keeps the event from the app.",
                fix: "Change {} of the route if the app is to get it.",
            },
            Self::Duplicate => &Row {
                slug: "duplicate",
                says: "The request is genuine; an event with the same id was taken, or was in flight, when it came.",
                fix: "Nothing, where it was the provider's retry; else have the sender give each event an id of its own.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    // The variants stand in the order of the enum, so the last one has the highest number.
    const ALL: usize = Cause::Duplicate as usize + 1;

    #[test]
    fn every_word_is_its_own() {
        let text = include_str!("cause.rs");
        let slugs: Vec<&str> = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("slug: \"")?.strip_suffix("\","))
            .collect();
        let own: HashSet<&str> = slugs.iter().copied().collect();
        assert_eq!((slugs.len(), own.len()), (ALL, ALL));
    }
}

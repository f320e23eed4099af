//! Catalogue of causes: one table with a slug, a sentence and a fix for each.
//!
//! `{}` in a sentence is replaced by a detail of the request: a name, a number, an address. It must never be a secret
//! or any part of one.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Cause of a reject of a request that its sender meant well.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(test, derive(strum::VariantArray))]
pub(crate) enum RefusalCause {
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

/// Entry of a cause in the catalogue.
pub(crate) struct CauseRow {
    /// Stable identifier of the cause in the API and on the command line.
    pub slug: &'static str,
    /// Sentence that says what happened.
    pub says: &'static str,
    /// Sentence that says what to do.
    pub fix: &'static str,
}

/// Cause that was found for one request.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = RequestCause)]
pub(crate) struct CauseFinding {
    /// Stable identifier of the cause.
    pub slug: String,
    /// Sentence that says what happened.
    pub says: String,
    /// Sentence that says what to do.
    pub fix: String,
    /// True if the real verification passes with this one change undone; false if the request only looks like it.
    pub is_proven: bool,
}

impl RefusalCause {
    /// Returns a finding that made the verification pass, or that follows from the reject itself.
    pub(super) fn proven(self, detail: &str) -> CauseFinding {
        self.finding(detail, true)
    }

    /// Returns a finding that the form of the request suggests.
    pub(super) fn likely(self, detail: &str) -> CauseFinding {
        self.finding(detail, false)
    }

    fn finding(self, detail: &str, is_proven: bool) -> CauseFinding {
        let row = self.row();
        CauseFinding {
            slug: row.slug.to_owned(),
            // `replace` instead of `format!`, because the sentence is not known at compile time.
            says: row.says.replace("{}", detail),
            fix: row.fix.replace("{}", detail),
            is_proven,
        }
    }

    /// Returns the cause's entry in the catalogue.
    pub(crate) fn row(self) -> &'static CauseRow {
        match self {
            // Secrets: copied with something around them, decoded wrongly, of another route, or outside of their
            // period.
            Self::SecretWhitespace => &CauseRow {
                slug: "secret-whitespace",
                says: "The route's secret has a space or a line end around it that is not part of it.",
                fix: "Remove the white space from the variable, file or credential that holds the secret (`printf %s` writes no line end, `echo` does).",
            },
            Self::SecretQuoted => &CauseRow {
                slug: "secret-quoted",
                says: "The route's secret is in quotes that are not part of it.",
                fix: "Remove the quotes: variables, files and credentials hold the bare text of the secret.",
            },
            Self::SenderSecretUnclean => &CauseRow {
                slug: "sender-secret-unclean",
                says: "The sender signs with this secret plus {} that was copied along with it.",
                fix: "Enter the secret again at the sender, without {}.",
            },
            Self::SecretNotDecoded => &CauseRow {
                slug: "secret-not-decoded",
                says: "The route's secret is {} text, and the sender signs with the decoded bytes.",
                fix: "Set the encoding in the scheme: `secret = { encoding = ... }` in `[routes.NAME.scheme]` ({}), or enter a plain-text secret at the sender.",
            },
            Self::SecretDecoded => &CauseRow {
                slug: "secret-decoded",
                says: "The secret was decoded although it must not be: the sender signs with {}.",
                fix: "Copy the secret from the sender exactly as it is shown, and set `secret = { encoding = \"utf8\" }` in the scheme if it is plain text.",
            },
            Self::SecretPrefix => &CauseRow {
                slug: "secret-prefix",
                says: "The prefix of the secret makes the difference: the sender signs with {}.",
                fix: "Copy the whole secret from the sender, with its prefix; in a scheme of your own, `strip_prefix` removes a prefix that is not part of the key.",
            },
            Self::SecretOfOtherRoute => &CauseRow {
                slug: "secret-of-other-route",
                says: "The request is signed with the secret of the route `{}`: the secret of another endpoint, or of test mode instead of live mode.",
                fix: "Set this route's secret to that of the endpoint that sends here, or enter the URL of `{}` at that endpoint.",
            },
            Self::SecretExpired => &CauseRow {
                slug: "secret-expired",
                says: "The request is signed with the secret `{}` of this route, which had expired (`until`).",
                fix: "Switch the sender to the new secret, or set a later `until` for `{}` until it has switched.",
            },
            Self::SecretNotYet => &CauseRow {
                slug: "secret-not-yet-valid",
                says: "The request is signed with the secret `{}` of this route before its `not_before`.",
                fix: "Set the `not_before` of `{}` to the time at which the sender began to use it, or remove it.",
            },
            // Format of the signature: the MAC is correct, but not where or how the scheme expects it.
            Self::SignatureEncoding => &CauseRow {
                slug: "signature-encoding",
                says: "The signature is correct, but encoded differently: as {}.",
                fix: "Set the scheme's `encoding` to {}, or configure the sender to use the scheme's encoding.",
            },
            Self::SignaturePrefix => &CauseRow {
                slug: "signature-prefix",
                says: "The signature is correct, but the prefix before it differs from the scheme's: {}.",
                fix: "Set the `prefix` of the scheme's `signature` to the sender's ({}).",
            },
            Self::WrongAlgorithm => &CauseRow {
                slug: "wrong-algorithm",
                says: "The request is signed with {}, and the route's scheme expects another algorithm.",
                fix: "Choose the matching algorithm at the sender, or a `provider` or `scheme` with {}.",
            },
            Self::SignatureCut => &CauseRow {
                slug: "signature-cut",
                says: "The signature is correct but truncated: {}.",
                fix: "Look for a proxy in front that limits the length of headers, and raise its limit.",
            },
            Self::SignatureDoubled => &CauseRow {
                slug: "signature-doubled",
                says: "The value of `{}` is correct but appears twice, as when a proxy in front adds a header that is already there.",
                fix: "Configure the proxy in front to pass `{}` on without adding it again.",
            },
            Self::SignatureVersion => &CauseRow {
                slug: "signature-version",
                says: "The signature is correct, but the list has it under another key than the scheme's.",
                fix: "Set the `key` of the scheme's `signature` to the sender's key, or choose the scheme's signature version at the sender.",
            },
            // Headers that do not arrive under their names.
            Self::HeaderRenamed => &CauseRow {
                slug: "header-renamed",
                says: "The value that the scheme expects is in the header {}.",
                fix: "Configure the proxy in front not to rename the header, or set this header in the scheme: {}.",
            },
            Self::HeaderDropped => &CauseRow {
                slug: "header-dropped",
                says: "The name of `{}` has an underscore, and many proxies silently drop such headers.",
                fix: "Configure the proxy in front to pass `{}` on (nginx: `underscores_in_headers on`).",
            },
            Self::NotSigned => &CauseRow {
                slug: "not-signed",
                says: "The request carries no signature of any provider that hookgate knows: {}.",
                fix: "Set the secret at the sender for the endpoint with this URL; if it is set, look for a proxy in front that drops headers.",
            },
            // Another sender or another endpoint than the route's.
            Self::OtherProvider => &CauseRow {
                slug: "other-provider",
                says: "The route's secret verifies the request with the scheme of another provider: {}.",
                fix: "Set the route's `provider` accordingly: {}.",
            },
            Self::LooksLikeOtherProvider => &CauseRow {
                slug: "looks-like-other-provider",
                says: "The request has the headers of another provider than the route's: it looks like {}.",
                fix: "Enter the right URL at that sender, or set the route's `provider` accordingly: {}.",
            },
            Self::WrongRoute => &CauseRow {
                slug: "wrong-route",
                says: "The request is genuine, but belongs to the route `{}`.",
                fix: "Enter the URL of the route `{}` at the sender.",
            },
            Self::SignedText => &CauseRow {
                slug: "signed-text",
                says: "The sender signs another text than the scheme's: {}.",
                fix: "Set the scheme's `signed` accordingly: {}.",
            },
            // Bodies that were changed in transit. The fix is always in front of the gate: it must verify the bytes as
            // they are.
            Self::BodyLineEnd => &CauseRow {
                slug: "body-line-end",
                says: "The end of the body was changed in transit: the sender signed it {}.",
                fix: "Configure the proxies in front to pass the body on byte for byte; `curl --data-binary` keeps line ends that `--data` drops.",
            },
            Self::BodyLineEnds => &CauseRow {
                slug: "body-line-endings",
                says: "The line ends in the body were changed in transit: the sender signed it with {}.",
                fix: "Configure the proxies in front to pass the body on as binary data, not as text.",
            },
            Self::BodyMark => &CauseRow {
                slug: "body-byte-order-mark",
                says: "A byte-order mark (BOM) at the start of the body makes the difference: the sender signed it {}.",
                fix: "Write and forward the body without a byte-order mark (UTF-8 without BOM).",
            },
            Self::BodyReserialised => &CauseRow {
                slug: "body-reserialised",
                says: "The JSON was parsed and reserialized in transit: the sender signed it {}.",
                fix: "Configure the proxies in front to pass the raw body on instead of parsing it; in code, sign and send the same bytes.",
            },
            Self::FormReencoded => &CauseRow {
                slug: "form-reencoded",
                says: "The form was decoded and encoded again in transit: the sender signed it with {}.",
                fix: "Configure the proxies in front to pass the raw body on instead of parsing the form.",
            },
            Self::BodyCharset => &CauseRow {
                slug: "body-charset",
                says: "The character set of the body was converted in transit: the sender signed it as {}.",
                fix: "Configure the proxies in front not to convert the body, or configure the sender to write UTF-8.",
            },
            Self::BodyCompressed => &CauseRow {
                slug: "body-compressed",
                says: "The body is compressed ({}), and the sender signed it before it was compressed.",
                fix: "Disable the compression of requests at the sender or at the proxy in front, or decompress bodies in front of hookgate.",
            },
            Self::BodyDecompressed => &CauseRow {
                slug: "body-decompressed",
                says: "`Content-Encoding` is {}, but the body is not compressed: it was decompressed in transit, while the sender signed the compressed body.",
                fix: "Configure the proxy in front to pass compressed bodies on unchanged.",
            },
            Self::BodyTruncated => &CauseRow {
                slug: "body-truncated",
                says: "The body is incomplete: {}.",
                fix: "Look for a limit on body sizes in the proxies in front; for a request file, capture the whole request again.",
            },
            Self::BodyLonger => &CauseRow {
                slug: "body-longer",
                says: "The body is correct up to its `Content-Length`; {} follow that the sender did not sign.",
                fix: "Look for a proxy or middleware in front that appends to the body.",
            },
            Self::BodyWrapped => &CauseRow {
                slug: "body-wrapped",
                says: "The body was wrapped in transit: the sender signed {}.",
                fix: "Configure the proxies in front to pass the raw body on (for API gateways: the binary, unwrapped payload).",
            },
            Self::BodyLost => &CauseRow {
                slug: "body-lost",
                says: "The body is empty, although the scheme signs a body.",
                fix: "Look for a redirect in front (POST becomes GET) or a proxy that drops bodies.",
            },
            Self::BodyNotKept => &CauseRow {
                slug: "body-not-kept",
                says: "Only the start of the body was kept, so its signature cannot be verified again.",
                fix: "Save the whole request at the sender or in front of the gate, and run `hookgate explain` on that file.",
            },
            // Signed URLs.
            Self::PublicUrl => &CauseRow {
                slug: "public-url",
                says: "The sender signs the URL that it calls, and the route's `public_url` differs from it.",
                fix: "Set `public_url = \"{}\"` on this route.",
            },
            Self::UrlChanged => &CauseRow {
                slug: "url-changed",
                says: "The sender signs the URL that it calls, and the target was rewritten in transit: it signed `{}`.",
                fix: "Configure the proxy in front to pass the target on unchanged, or enter the URL that hookgate sees at the sender.",
            },
            // Signed times. Most need a look at a clock, which the explanation cannot take.
            Self::TimestampUnit => &CauseRow {
                slug: "timestamp-unit",
                says: "The timestamp has another unit than the scheme's: it is written as {}.",
                fix: "Set the `unit` of the scheme's `timestamp` ({}), or configure the sender to use the scheme's unit.",
            },
            Self::TimeZone => &CauseRow {
                slug: "time-zone",
                says: "The signed time is off by {}: a local time was taken for UTC, at the sender or here.",
                fix: "Configure the sender to sign Unix time (UTC), and check with `timedatectl` that the universal time of this machine is correct.",
            },
            Self::Retried => &CauseRow {
                slug: "retried-with-old-signature",
                says: "The signature is correct but was made {} earlier: the sender, or a queue in front, retries with the first signature.",
                fix: "Raise the route's `tolerance` to the time over which the sender retries (dedup rejects second copies), or let the sender sign each attempt.",
            },
            Self::ClockOfSender => &CauseRow {
                slug: "clock-of-sender",
                says: "The signature is correct and its time is {} in the future: the sender's clock is ahead, or this machine's is behind.",
                fix: "Synchronize both clocks (`timedatectl`, chrony); compare with the times of other senders to see which one is wrong.",
            },
            Self::ClockHere => &CauseRow {
                slug: "clock-here",
                says: "The signature is correct, and other senders were off by about as much ({}) at that time: this machine's clock is wrong.",
                fix: "Synchronize this machine's clock: `timedatectl set-ntp true`, then `chronyc tracking`.",
            },
            Self::SignatureOld => &CauseRow {
                slug: "signature-old",
                says: "The signature is correct but was made {} before the request arrived: a delay in transit, a retry with the first signature, a clock that is behind, or a replayed capture.",
                fix: "Compare clocks (`timedatectl`); if the sender retries with old signatures, raise the route's `tolerance`.",
            },
            Self::OffUnread => &CauseRow {
                slug: "time-off-unread",
                says: "The signed time is {}. The request was rejected before its body was read, so the signature could not be verified.",
                fix: "Compare clocks (`timedatectl`); if the sender retries with its first signature, raise the route's `tolerance`. An old request from an unknown source is likely a replayed capture.",
            },
            // Checks before the signature.
            Self::PathDiffers => &CauseRow {
                slug: "path-differs",
                says: "Paths are compared byte by byte, and this one differs from that of {}.",
                fix: "Enter the path at the sender exactly as in the route: {}.",
            },
            Self::HostDiffers => &CauseRow {
                slug: "host-differs",
                says: "A route with this path exists, but for another host: {}.",
                fix: "Enter the URL with that host at the sender, or configure the proxy in front to pass on `Host`: {}.",
            },
            Self::ProxyNotTrusted => &CauseRow {
                slug: "proxy-not-trusted",
                says: "The request came through a proxy that is not trusted, so the proxy's address was checked; `X-Forwarded-For` names {}, which is allowed.",
                fix: "Add the address of the proxy to `trusted_proxies` in `[server]`, if the proxy is yours.",
            },
            Self::SourceUnknown => &CauseRow {
                slug: "source-unknown",
                says: "The address {} is not allowed by the route's `allow_ips`.",
                fix: "If the address is the sender's, run `hookgate providers refresh-ranges`, or add the address to `allow_ips`.",
            },
            Self::MethodNotTaken => &CauseRow {
                slug: "method",
                says: "The route does not accept {} requests.",
                fix: "Add the method to the route's `methods` if this sender uses it; note that a redirect in front turns POST into GET.",
            },
            Self::ContentTypeNotTaken => &CauseRow {
                slug: "content-type",
                says: "The sender's content type is {}, and the route does not accept it.",
                fix: "Choose the route's content type at the sender, or add this one to the route's `content_types`.",
            },
            Self::BodyLimit => &CauseRow {
                slug: "body-limit",
                says: "The body is larger than the route's `max_body`.",
                fix: "Set `max_body = \"{}\"` on this route, or more.",
            },
            // Genuine requests that the gate does not forward on purpose.
            Self::EventFiltered => &CauseRow {
                slug: "event-filtered",
                says: "The request is genuine; {} of the route filters the event out, so the app does not get it.",
                fix: "Change {} of the route if the app should get such events.",
            },
            Self::Duplicate => &CauseRow {
                slug: "duplicate",
                says: "The request is genuine; an event with the same dedup key was already accepted, or was in flight, when it arrived.",
                fix: "Nothing to do if it was a retry of the provider; otherwise make sure that the sender gives each event its own id.",
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use strum::VariantArray;

    use super::*;

    #[test]
    fn every_slug_is_unique() {
        let causes = RefusalCause::VARIANTS.iter();
        let slugs: HashSet<&str> = causes.map(|cause| cause.row().slug).collect();
        assert_eq!(slugs.len(), RefusalCause::VARIANTS.len());
    }
}

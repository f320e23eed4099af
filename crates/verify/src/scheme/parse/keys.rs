//! Rows for the config keys of a scheme: names, kinds and docs.

use crate::document::key::{KeyDefinition, SectionDefinition, ValueKind};

/// Keys of `[scheme]` in a provider file and of `[routes.NAME.scheme]` in a config.
pub static SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme",
    doc: "Your own signature scheme, if no provider fits.",
    keys: &[
        &TYPE,
        &ALGORITHM,
        &ENCODING,
        &SIGNATURE,
        &SIGNED,
        &TIMESTAMP,
        &EVENT_ID,
        &EVENT_TYPE,
        &VERSION,
        &SECRET,
        &REQUIRE,
        &EITHER_PORT,
        &PUBLIC_KEY,
        &BODY_UNSIGNED,
        &COMPONENTS,
        &PARAMETERS,
        &LABEL,
        &TAG,
        &KEYID,
        &HEADER_PREFIXES,
        &GZIP,
        &TOKEN,
        &DETACHED,
        &ALGORITHMS,
        &KEYS,
        &JWKS,
        &ISSUER,
        &AUDIENCE,
        &TOLERANCE_CLAIM,
        &BODY_CLAIM,
        &URL_CLAIM,
        &CLAIMS,
        &ROUTE_CLAIMS,
        &HOSTS,
    ],
    required: &["type"],
    one_of: &[],
};

pub(super) static SIGNATURE_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.signature",
    doc: "Location and format of the signature.",
    keys: &[
        &HEADER,
        &NUMBERED,
        &QUERY,
        &FORM,
        &JSON,
        &BASE64_JSON,
        &PREFIX,
        &LIST,
        &KEY,
        &ASSIGN,
        &TRIM,
        &QUOTED,
        &SETS,
    ],
    required: &[],
    one_of: &[&["header", "query", "form", "json"]],
};

pub(super) static TIMESTAMP_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.timestamp",
    doc: "Location and format of the signed timestamp.",
    keys: &[&HEADER, &QUERY, &FORM, &JSON, &KEY, &UNIT],
    required: &["unit"],
    one_of: &[&["header", "query", "form", "json"]],
};

pub(super) static SECRET_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.secret",
    doc: "How to convert the text of a secret into the key.",
    keys: &[&SECRET_ENCODING, &STRIP_PREFIX, &DERIVE],
    required: &[],
    one_of: &[],
};

pub(super) static TOKEN_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.token",
    doc: "Location of the token.",
    keys: &[&HEADER, &PREFIX, &QUERY, &FORM, &JSON, &BASIC, &BODY],
    required: &[],
    one_of: &[],
};

pub(super) static REQUIRE_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.require",
    doc: "A rule for the value at one location.",
    keys: &[&HEADER, &QUERY, &FORM, &JSON, &VALUE, &WITHOUT, &ABSENT],
    required: &[],
    one_of: &[
        &["header", "query", "form", "json"],
        &["value", "without", "absent"],
    ],
};

pub(super) static FIELD_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.event_id",
    doc: "Location of an id or a type.",
    keys: &[&HEADER, &JSON, &FORM, &QUERY, &CLAIM],
    required: &[],
    one_of: &[],
};

pub static TYPE: KeyDefinition = KeyDefinition {
    name: "type",
    kind: ValueKind::Choice(&[
        "hmac",
        "hash",
        "ed25519",
        "ecdsa",
        "rsa",
        "jwt",
        "token",
        "sns",
        "paypal",
        "app_store",
        "http_signature",
    ]),
    default: None,
    example: "\"hmac\"",
    doc: "Type of the signature: an HMAC (`hmac`) or a plain digest (`hash`) over a text from the request, a public-key signature over it (`ed25519`, `ecdsa`, `rsa`), a signed token (`jwt`), a shared token that is sent unchanged (`token`), the signatures of Amazon SNS, PayPal and Apple's App Store, or HTTP Message Signatures (RFC 9421).",
};

pub(super) static ALGORITHM: KeyDefinition = KeyDefinition {
    name: "algorithm",
    kind: ValueKind::Choice(&[
        "md5",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
        "keccak256",
        "sha256_of_digest",
        "p256_sha256",
        "p256_sha256_fixed",
        "p256_sha1",
        "p384_sha384",
        "hmac-sha256",
        "ed25519",
        "ecdsa-p256-sha256",
        "ecdsa-p384-sha384",
        "rsa-pss-sha512",
        "rsa-v1_5-sha256",
    ]),
    default: None,
    example: "\"sha256\"",
    doc: "Digest algorithm. For `ecdsa`, curve and digest; `_fixed` means that the signature is two numbers side by side instead of ASN.1. Use `\"sha1\"`, `\"p256_sha1\"`, or `\"md5\"` for an HMAC, only if the sender supports nothing better. `\"keccak256\"` is for plain digests only; `\"sha256_of_digest\"` is for `rsa` over the SHA-256 of the text. For `http_signature`, one of the six names from `\"hmac-sha256\"` on (RFC 9421).",
};

pub(super) static ENCODING: KeyDefinition = KeyDefinition {
    name: "encoding",
    kind: ValueKind::Choice(&["hex", "base64", "base64url", "base64url_unpadded"]),
    default: None,
    example: "\"hex\"",
    doc: "Encoding of the signature. It must be canonical, except for the case of hexadecimal digits.",
};

pub(super) static SIGNATURE: KeyDefinition = KeyDefinition {
    name: "signature",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&SIGNATURE_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-Signature\", prefix = \"sha256=\" }",
    doc: "Location of the signature: a header, a query parameter, or a field of a form or JSON body, with an optional text in front (`prefix`). If the value has several entries, set the character between them (`list`), the key of the entries that are signatures (`key`) and the character after the key (`assign`). With several locations, any of them may match.",
};

pub(super) static SIGNED: KeyDefinition = KeyDefinition {
    name: "signed",
    kind: ValueKind::Text,
    default: None,
    example: "\"{timestamp}.{body}\"",
    doc: "The signed text. It consists of plain text, `{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}`, `{path_query}`, `{url}`, `{url_no_query}`, `{host}`, `{header:NAME}`, `{lower:header:NAME}`, `{lower:method}`, `{entry:NAME}`, `{query:NAME}`, `{lower:query:NAME}`, `{form:NAME}`, `{form_sorted}`, `{url_form_sorted}`, `{body_or_form:NAME}`, `{json:/POINTER}`, `{body:sha256:hex}`, `{body:json_string}`, `{listed_headers:NAME}`, and `{secret}` in plain digests. A part in `[...]` is left out if a value in it is missing.",
};

pub(super) static TIMESTAMP: KeyDefinition = KeyDefinition {
    name: "timestamp",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&TIMESTAMP_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-Timestamp\", unit = \"s\" }",
    doc: "Location of the signed timestamp and its unit: seconds (`s`), milliseconds (`ms`), either of them by its length (`s_or_ms`), `rfc3339` or `http_date`. In a list of entries, `key` names the entry; an empty key means the first of entries without keys. With several locations, the first one that is present counts.",
};

pub(super) static EVENT_ID: KeyDefinition = KeyDefinition {
    name: "event_id",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-ID\" }",
    doc: "Location of the event id: a header, a JSON pointer into the body, a form field, a query parameter, or a claim of a signed token. `form` and `json` together mean the JSON in a form field. With several locations, the first one that is present counts.",
};

pub(super) static EVENT_TYPE: KeyDefinition = KeyDefinition {
    name: "event_type",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ json = \"/type\" }",
    doc: "Location of the event type, as for `event_id`.",
};

pub(super) static VERSION: KeyDefinition = KeyDefinition {
    name: "version",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ json = \"/api_version\" }",
    doc: "Location of the payload version, as for `event_id`.",
};

pub(super) static REQUIRE: KeyDefinition = KeyDefinition {
    name: "require",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&REQUIRE_SECTION)),
    default: None,
    example: "{ header = \"X-Signature-Version\", value = \"1\" }",
    doc: "Rules for values of the request. A location must have one `value`, such as the version of the signature; or it must be `absent`, because it is not signed; or its value must be `without` the text that separates signed values.",
};

pub(super) static EITHER_PORT: KeyDefinition = KeyDefinition {
    name: "either_port",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Tries the URL both with and without a port, whichever form `public_url` has. Use it for senders that sign either form.",
};

pub(super) static PUBLIC_KEY: KeyDefinition = KeyDefinition {
    name: "public_key",
    kind: ValueKind::Text,
    default: None,
    example: "\"-----BEGIN PUBLIC KEY----- ...\"",
    doc: "The sender's well-known public key. Routes then need no `secret`.",
};

pub(super) static BODY_UNSIGNED: KeyDefinition = KeyDefinition {
    name: "body_unsigned",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Confirms that the signed text does not cover the body. A client that has seen one request can then send another body with its signature.",
};

pub(super) static HEADER_PREFIXES: KeyDefinition = KeyDefinition {
    name: "header_prefixes",
    kind: ValueKind::List(&ValueKind::Text),
    default: None,
    example: "[\"X-Acme-\", \"Acme-\"]",
    doc: "Two prefixes of header names: the one that the scheme uses, and an alternative one that the sender may use for all of these headers.",
};

pub(super) static GZIP: KeyDefinition = KeyDefinition {
    name: "gzip",
    kind: ValueKind::Choice(&["plain", "sent"]),
    default: None,
    example: "\"plain\"",
    doc: "Accepts bodies compressed with gzip. The signature covers either the `plain` text or the bytes as they are `sent`. hookgate reads the plain text within `max_body`, and forwards the original bytes.",
};

pub(super) static SECRET: KeyDefinition = KeyDefinition {
    name: "secret",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&SECRET_SECTION)),
    default: Some("{ encoding = \"utf8\" }"),
    example: "{ encoding = \"base64\", strip_prefix = \"whsec_\" }",
    doc: "How to convert the text of the secret into the key: its encoding, and a prefix that is not part of the key. With several forms, each form that fits the text gives a key.",
};

pub(super) static COMPONENTS: KeyDefinition = KeyDefinition {
    name: "components",
    kind: ValueKind::List(&ValueKind::Text),
    default: None,
    example: "[\"@method\", \"@target-uri\", \"content-digest\"]",
    doc: "Components that an HTTP Message Signature must cover; it may cover more. Use header names in lower case, `@method`, `@target-uri`, `@authority`, `@scheme`, `@request-target`, `@path`, `@query`, and `@query-param;name=\"NAME\"`. `content-digest` covers the body and is required unless `body_unsigned` is set.",
};

pub(super) static PARAMETERS: KeyDefinition = KeyDefinition {
    name: "parameters",
    kind: ValueKind::List(&ValueKind::Choice(&[
        "created", "expires", "nonce", "alg", "keyid", "tag",
    ])),
    default: Some("[\"created\"]"),
    example: "[\"created\", \"nonce\"]",
    doc: "Parameters that an HTTP Message Signature must have. If present, `created` is checked against `tolerance`, `expires` against the clock, and `alg` must be the scheme's `algorithm`.",
};

pub(super) static LABEL: KeyDefinition = KeyDefinition {
    name: "label",
    kind: ValueKind::Text,
    default: Some("any label"),
    example: "\"sig1\"",
    doc: "Label of the signature to verify, in `Signature-Input` and `Signature`. Signatures with other labels are ignored.",
};

pub(super) static TAG: KeyDefinition = KeyDefinition {
    name: "tag",
    kind: ValueKind::Text,
    default: Some("any tag, or no tag"),
    example: "\"acme-webhooks\"",
    doc: "`tag` that an HTTP Message Signature must have. Signatures with another tag are ignored.",
};

pub(super) static KEYID: KeyDefinition = KeyDefinition {
    name: "keyid",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: Some("any `keyid`, or no `keyid`"),
    example: "\"acme-2027\"",
    doc: "Accepted values of `keyid`. Signatures with another `keyid`, or without one, are ignored. For the others, every secret of the route is tried.",
};

pub(super) static TOKEN: KeyDefinition = KeyDefinition {
    name: "token",
    kind: ValueKind::Table(&TOKEN_SECTION),
    default: None,
    example: "{ header = \"X-Gitlab-Token\" }",
    doc: "Location of the token: a header with an optional `prefix`, a query parameter, a field of a form or JSON body (`form` and `json` together mean the JSON in a form field), or HTTP Basic. A signed token may also be the whole body (`body = true`).",
};

pub(super) static HEADER: KeyDefinition = KeyDefinition {
    name: "header",
    kind: ValueKind::Text,
    default: None,
    example: "\"X-Webhook-Signature\"",
    doc: "Name of the header.",
};

pub(super) static NUMBERED: KeyDefinition = KeyDefinition {
    name: "numbered",
    kind: ValueKind::Count,
    default: None,
    example: "100",
    doc: "Highest number that may be appended to the header name, beginning with 1. For senders with one header for each of their keys.",
};

pub(super) static QUERY: KeyDefinition = KeyDefinition {
    name: "query",
    kind: ValueKind::Text,
    default: None,
    example: "\"signature\"",
    doc: "Name of the query parameter.",
};

pub(super) static FORM: KeyDefinition = KeyDefinition {
    name: "form",
    kind: ValueKind::Text,
    default: None,
    example: "\"signature\"",
    doc: "Name of the field in a form body.",
};

pub(super) static VALUE: KeyDefinition = KeyDefinition {
    name: "value",
    kind: ValueKind::Text,
    default: None,
    example: "\"1\"",
    doc: "The value that is required.",
};

pub(super) static WITHOUT: KeyDefinition = KeyDefinition {
    name: "without",
    kind: ValueKind::Text,
    default: None,
    example: "\":\"",
    doc: "Text that the value must not contain, if there is a value.",
};

pub(super) static ABSENT: KeyDefinition = KeyDefinition {
    name: "absent",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Requires that there is no value.",
};

pub(super) static TRIM: KeyDefinition = KeyDefinition {
    name: "trim",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Ignores spaces around the entries of a list, and a comma after each of them.",
};

pub(super) static QUOTED: KeyDefinition = KeyDefinition {
    name: "quoted",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The values in a list are in double quotes.",
};

pub(super) static SETS: KeyDefinition = KeyDefinition {
    name: "sets",
    kind: ValueKind::Text,
    default: None,
    example: "\" \"",
    doc: "Character between several lists, each with its own timestamp.",
};

pub(super) static DERIVE: KeyDefinition = KeyDefinition {
    name: "derive",
    kind: ValueKind::Choice(&["sha1", "sha256", "sha384", "sha512"]),
    default: None,
    example: "\"sha1\"",
    doc: "Digest to apply to the secret; the result is the key.",
};

pub(super) static PREFIX: KeyDefinition = KeyDefinition {
    name: "prefix",
    kind: ValueKind::Text,
    default: Some("\"\""),
    example: "\"sha256=\"",
    doc: "Text in front of the value.",
};

pub(super) static BASE64_JSON: KeyDefinition = KeyDefinition {
    name: "base64_json",
    kind: ValueKind::Text,
    default: None,
    example: "\"/signature\"",
    doc: "Says that the value is base64 of a JSON object, at most 4,096 characters long, and points to the signature in it. The other members of the object are ignored.",
};

pub(super) static LIST: KeyDefinition = KeyDefinition {
    name: "list",
    kind: ValueKind::Text,
    default: None,
    example: "\",\"",
    doc: "Character between the entries, if the value has several.",
};

pub(super) static KEY: KeyDefinition = KeyDefinition {
    name: "key",
    kind: ValueKind::Text,
    default: None,
    example: "\"v1\"",
    doc: "Key of the entry; `\"*\"` matches any key.",
};

pub(super) static ASSIGN: KeyDefinition = KeyDefinition {
    name: "assign",
    kind: ValueKind::Text,
    default: Some("\"=\""),
    example: "\"=\"",
    doc: "Character between the key of an entry and its value.",
};

pub(super) static UNIT: KeyDefinition = KeyDefinition {
    name: "unit",
    kind: ValueKind::Choice(&["s", "ms", "rfc3339", "s_or_ms"]),
    default: None,
    example: "\"s\"",
    doc: "Unit or format of the timestamp.",
};

pub(super) static SECRET_ENCODING: KeyDefinition = KeyDefinition {
    name: "encoding",
    kind: ValueKind::Choice(&["utf8", "base64", "hex"]),
    default: Some("\"utf8\""),
    example: "\"base64\"",
    doc: "Encoding of the key in the text of the secret.",
};

pub(super) static STRIP_PREFIX: KeyDefinition = KeyDefinition {
    name: "strip_prefix",
    kind: ValueKind::Text,
    default: None,
    example: "\"whsec_\"",
    doc: "Prefix to remove from the text of the secret.",
};

pub(super) static BASIC: KeyDefinition = KeyDefinition {
    name: "basic",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "HTTP Basic credentials; the secret is `user:password`.",
};

pub(super) static JSON: KeyDefinition = KeyDefinition {
    name: "json",
    kind: ValueKind::Text,
    default: None,
    example: "\"/id\"",
    doc: "JSON pointer into the body (RFC 6901).",
};

pub(super) static BODY: KeyDefinition = KeyDefinition {
    name: "body",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The whole body is the signed token.",
};

pub(super) static CLAIM: KeyDefinition = KeyDefinition {
    name: "claim",
    kind: ValueKind::Text,
    default: None,
    example: "\"jti\"",
    doc: "Name of a claim of the signed token.",
};

/// Keys of a claim and its value, in a scheme or a route.
pub static CLAIM_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.claims",
    doc: "A claim and the value that it must have.",
    keys: &[&CLAIM_NAME, &CLAIM_VALUE],
    required: &["name", "value"],
    one_of: &[],
};

pub(super) static BODY_CLAIM_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.body_claim",
    doc: "The claim with a digest of the body.",
    keys: &[&CLAIM_NAME, &DIGEST, &ENCODING, &UNLESS_EMPTY],
    required: &["name", "digest", "encoding"],
    one_of: &[],
};

pub(super) static URL_CLAIM_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.url_claim",
    doc: "The claim with the called URL, or with a digest of it.",
    keys: &[&CLAIM_NAME, &DIGEST, &ENCODING],
    required: &["name"],
    one_of: &[],
};

pub(super) static HOSTS_SECTION: SectionDefinition = SectionDefinition {
    path: "routes.NAME.scheme.jwks",
    doc: "Hosts from which a route's key set may be fetched.",
    keys: &[&HOSTS],
    required: &["hosts"],
    one_of: &[],
};

pub(super) static DETACHED: KeyDefinition = KeyDefinition {
    name: "detached",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Says that the signed token leaves out its payload (`header..signature`), which is the body as it was sent (RFC 7515 Appendix F). Such a token has no claims.",
};

pub(super) static ALGORITHMS: KeyDefinition = KeyDefinition {
    name: "algorithms",
    kind: ValueKind::List(&ValueKind::Choice(&[
        "HS256", "HS384", "HS512", "RS256", "RS512", "ES256", "EdDSA",
    ])),
    default: None,
    example: "[\"HS256\"]",
    doc: "Algorithms with which a token may be signed. A token cannot select any other one. HMACs and public keys exclude each other.",
};

pub(super) static KEYS: KeyDefinition = KeyDefinition {
    name: "keys",
    kind: ValueKind::Choice(&["secret", "jwks", "asked"]),
    default: None,
    example: "\"secret\"",
    doc: "Source of the keys for signed tokens: `secret`, the route's `secret` (a shared secret or a public key); `jwks`, the key set that the sender publishes; or `asked`, single keys that are fetched with the account's `client_id:secret`.",
};

pub(super) static JWKS: KeyDefinition = KeyDefinition {
    name: "jwks",
    kind: ValueKind::Either(&ValueKind::Url, &ValueKind::Table(&HOSTS_SECTION)),
    default: None,
    example: "\"https://example.com/.well-known/jwks.json\"",
    doc: "Location of the key set: an `https` URL, `\"route\"` if each route sets its own, or the hosts from which a route may choose (`*.` matches one label).",
};

pub(super) static ISSUER: KeyDefinition = KeyDefinition {
    name: "issuer",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "\"https://accounts.google.com\"",
    doc: "Accepted issuers of a token (`iss`).",
};

pub(super) static AUDIENCE: KeyDefinition = KeyDefinition {
    name: "audience",
    kind: ValueKind::Choice(&["none", "route", "url"]),
    default: Some("\"none\" with `keys = \"secret\"`"),
    example: "\"route\"",
    doc: "Audience that a token must have (`aud`): `route`, the value of the route's `audience`; or `url`, the called URL, below `public_url`. `none` skips this check.",
};

pub(super) static TOLERANCE_CLAIM: KeyDefinition = KeyDefinition {
    name: "tolerance_claim",
    kind: ValueKind::OneOrMore(&ValueKind::Choice(&["exp", "iat"])),
    default: None,
    example: "\"exp\"",
    doc: "Required claims that limit the age of a token: `exp`, or `iat`, which is checked against `tolerance`. If present, `exp`, `nbf` and an `iat` in the future are always checked, with a minute of leeway for clocks.",
};

pub(super) static BODY_CLAIM: KeyDefinition = KeyDefinition {
    name: "body_claim",
    kind: ValueKind::Table(&BODY_CLAIM_SECTION),
    default: None,
    example: "{ name = \"sha256\", digest = \"sha256\", encoding = \"hex\" }",
    doc: "Claim with a digest of the body. Without it, the token does not cover the body.",
};

pub(super) static URL_CLAIM: KeyDefinition = KeyDefinition {
    name: "url_claim",
    kind: ValueKind::Table(&URL_CLAIM_SECTION),
    default: None,
    example: "{ name = \"url_hash\", digest = \"sha256\", encoding = \"hex\" }",
    doc: "Claim with the called URL, below `public_url`, or with a digest of it.",
};

pub(super) static CLAIMS: KeyDefinition = KeyDefinition {
    name: "claims",
    kind: ValueKind::OneOrMore(&ValueKind::Table(&CLAIM_SECTION)),
    default: None,
    example: "{ name = \"email_verified\", value = \"true\" }",
    doc: "Claims that must have a given value.",
};

pub(super) static ROUTE_CLAIMS: KeyDefinition = KeyDefinition {
    name: "route_claims",
    kind: ValueKind::OneOrMore(&ValueKind::Text),
    default: None,
    example: "\"email\"",
    doc: "Claims whose value each route must set in `claims`, because the sender signs for all customers with the same key.",
};

pub(super) static HOSTS: KeyDefinition = KeyDefinition {
    name: "hosts",
    kind: ValueKind::List(&ValueKind::Text),
    default: None,
    example: "[\"api.example.com\", \"*.example.com\"]",
    doc: "Hosts from which keys or certificates may be fetched. For `sns` and `paypal` it defaults to the sender's own hosts.",
};

pub(super) static DIGEST: KeyDefinition = KeyDefinition {
    name: "digest",
    kind: ValueKind::Choice(&["sha1", "sha256", "sha384", "sha512"]),
    default: None,
    example: "\"sha256\"",
    doc: "Digest algorithm of the claim.",
};

pub static CLAIM_NAME: KeyDefinition = KeyDefinition {
    name: "name",
    kind: ValueKind::Text,
    default: None,
    example: "\"email\"",
    doc: "Name of the claim.",
};

pub static CLAIM_VALUE: KeyDefinition = KeyDefinition {
    name: "value",
    kind: ValueKind::Text,
    default: None,
    example: "\"push@example.com\"",
    doc: "Value that the claim must have.",
};

pub(super) static UNLESS_EMPTY: KeyDefinition = KeyDefinition {
    name: "unless_empty",
    kind: ValueKind::Bool,
    default: Some("false"),
    example: "true",
    doc: "The sender omits the claim if the body is empty.",
};

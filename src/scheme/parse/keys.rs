//! The keys of a scheme: their names, kinds and meanings.

use crate::document::key::{Key, Kind, Section};

/// `[scheme]` of a provider file, `[routes.NAME.scheme]` of a config.
pub static SECTION: Section = Section {
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

pub(super) static SIGNATURE_SECTION: Section = Section {
    path: "routes.NAME.scheme.signature",
    doc: "Where the signature stands.",
    keys: &[
        &HEADER, &NUMBERED, &QUERY, &FORM, &JSON, &PREFIX, &LIST, &KEY, &ASSIGN, &TRIM, &QUOTED,
        &SETS,
    ],
    required: &[],
    one_of: &[&["header", "query", "form", "json"]],
};

pub(super) static TIMESTAMP_SECTION: Section = Section {
    path: "routes.NAME.scheme.timestamp",
    doc: "Where the signed time stands.",
    keys: &[&HEADER, &QUERY, &FORM, &JSON, &KEY, &UNIT],
    required: &["unit"],
    one_of: &[&["header", "query", "form", "json"]],
};

pub(super) static SECRET_SECTION: Section = Section {
    path: "routes.NAME.scheme.secret",
    doc: "How the text of a secret becomes the key.",
    keys: &[&SECRET_ENCODING, &STRIP_PREFIX, &DERIVE],
    required: &[],
    one_of: &[],
};

pub(super) static TOKEN_SECTION: Section = Section {
    path: "routes.NAME.scheme.token",
    doc: "Where the token stands.",
    keys: &[&HEADER, &PREFIX, &QUERY, &FORM, &JSON, &BASIC, &BODY],
    required: &[],
    one_of: &[],
};

pub(super) static REQUIRE_SECTION: Section = Section {
    path: "routes.NAME.scheme.require",
    doc: "What must hold of a place.",
    keys: &[&HEADER, &QUERY, &FORM, &JSON, &VALUE, &WITHOUT, &ABSENT],
    required: &[],
    one_of: &[
        &["header", "query", "form", "json"],
        &["value", "without", "absent"],
    ],
};

pub(super) static FIELD_SECTION: Section = Section {
    path: "routes.NAME.scheme.event_id",
    doc: "Where an id or a type stands.",
    keys: &[&HEADER, &JSON, &FORM, &QUERY, &CLAIM],
    required: &[],
    one_of: &[],
};

pub(super) static TYPE: Key = Key {
    name: "type",
    kind: Kind::Choice(&[
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
    doc: "An HMAC or a plain digest over a text made of the request, a public key's signature over it, a signed token (JWT), a shared token that is sent as it is, the signatures of Amazon SNS, PayPal and Apple's App Store, or HTTP Message Signatures (RFC 9421).",
};

pub(super) static ALGORITHM: Key = Key {
    name: "algorithm",
    kind: Kind::Choice(&[
        "md5",
        "sha1",
        "sha256",
        "sha384",
        "sha512",
        "keccak256",
        "sha256_of_digest",
        "p256_sha256",
        "p256_sha256_fixed",
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
    doc: "The digest; for `ecdsa` curve and digest, where `_fixed` is a signature of two numbers side by side instead of ASN.1. `\"sha1\"`, and `\"md5\"` for an HMAC, only where the sender has nothing better; `\"keccak256\"` for a plain digest, `\"sha256_of_digest\"` for `rsa` over the SHA-256 of the text. For `http_signature` one of the six names from `\"hmac-sha256\"` on (RFC 9421).",
};

pub(super) static ENCODING: Key = Key {
    name: "encoding",
    kind: Kind::Choice(&["hex", "base64", "base64url", "base64url_unpadded"]),
    default: None,
    example: "\"hex\"",
    doc: "How the signature is written; no other form of the same bytes passes, but for the case of hexadecimal digits.",
};

pub(super) static SIGNATURE: Key = Key {
    name: "signature",
    kind: Kind::OneOrMore(&Kind::Table(&SIGNATURE_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-Signature\", prefix = \"sha256=\" }",
    doc: "Where the signature stands: a header, a query parameter, a field of a form or of a JSON body, the text before it, and where there are several entries the character between them (`list`), the key of those that count and the character behind the key (`assign`). Of several places any may match.",
};

pub(super) static SIGNED: Key = Key {
    name: "signed",
    kind: Kind::Text,
    default: None,
    example: "\"{timestamp}.{body}\"",
    doc: "The text that is signed, made of plain text, `{body}`, `{timestamp}`, `{id}`, `{method}`, `{path}`, `{path_query}`, `{url}`, `{url_no_query}`, `{host}`, `{header:NAME}`, `{lower:header:NAME}`, `{lower:method}`, `{entry:NAME}`, `{query:NAME}`, `{lower:query:NAME}`, `{form:NAME}`, `{form_sorted}`, `{url_form_sorted}`, `{body_or_form:NAME}`, `{json:/POINTER}`, `{body:sha256:hex}`, `{body:json_string}`, `{listed_headers:NAME}`, and `{secret}` in plain digests. `[...]` vanishes where a value in it is not there.",
};

pub(super) static TIMESTAMP: Key = Key {
    name: "timestamp",
    kind: Kind::OneOrMore(&Kind::Table(&TIMESTAMP_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-Timestamp\", unit = \"s\" }",
    doc: "The place of the time, and whether it counts seconds (`s`), milliseconds (`ms`), either (`s_or_ms`, by its length) or is `rfc3339` or `http_date`; in a list of entries, `key` names the entry, and an empty one means the first of entries without keys. Of several places the first that is there counts.",
};

pub(super) static EVENT_ID: Key = Key {
    name: "event_id",
    kind: Kind::OneOrMore(&Kind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ header = \"X-Webhook-ID\" }",
    doc: "The place of the event's id: a header, a JSON pointer into the body, a field of a form, a query parameter, or a claim of a signed token; `form` and `json` together name the JSON in a field of a form. Of several places the first that is there counts.",
};

pub(super) static EVENT_TYPE: Key = Key {
    name: "event_type",
    kind: Kind::OneOrMore(&Kind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ json = \"/type\" }",
    doc: "Where the type of the event stands, as for `event_id`.",
};

pub(super) static VERSION: Key = Key {
    name: "version",
    kind: Kind::OneOrMore(&Kind::Table(&FIELD_SECTION)),
    default: None,
    example: "{ json = \"/api_version\" }",
    doc: "Where the version of the payload stands, as for `event_id`.",
};

pub(super) static REQUIRE: Key = Key {
    name: "require",
    kind: Kind::OneOrMore(&Kind::Table(&REQUIRE_SECTION)),
    default: None,
    example: "{ header = \"X-Signature-Version\", value = \"1\" }",
    doc: "Places that must hold one `value`, such as the version of the signature; that must be `absent`, since they are not signed; or that must be `without` the text that stands between signed values.",
};

pub(super) static EITHER_PORT: Key = Key {
    name: "either_port",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Tries the URL with its port and without one, whichever form `public_url` has: for senders that sign now one, now the other.",
};

pub(super) static PUBLIC_KEY: Key = Key {
    name: "public_key",
    kind: Kind::Text,
    default: None,
    example: "\"-----BEGIN PUBLIC KEY----- ...\"",
    doc: "The sender's one well-known public key; a route then needs no `secret`.",
};

pub(super) static BODY_UNSIGNED: Key = Key {
    name: "body_unsigned",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Says that the signed text leaves the body out: whoever has seen one request can send another body under its signature.",
};

pub(super) static HEADER_PREFIXES: Key = Key {
    name: "header_prefixes",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"X-Acme-\", \"Acme-\"]",
    doc: "Two beginnings of header names: that of the headers that the scheme names, and another one that the sender may use for all of them instead.",
};

pub(super) static GZIP: Key = Key {
    name: "gzip",
    kind: Kind::Choice(&["plain", "sent"]),
    default: None,
    example: "\"plain\"",
    doc: "Says that bodies may be compressed with gzip, and what is signed: the `plain` text, or the bytes as they are `sent`. The gate reads the plain text within `max_body`, and forwards the bytes as they came.",
};

pub(super) static SECRET: Key = Key {
    name: "secret",
    kind: Kind::OneOrMore(&Kind::Table(&SECRET_SECTION)),
    default: Some("{ encoding = \"utf8\" }"),
    example: "{ encoding = \"base64\", strip_prefix = \"whsec_\" }",
    doc: "How the text of the secret becomes the key: its encoding, and text before it that is no part of the key. Of several forms each in which the text can be read gives a key.",
};

pub(super) static COMPONENTS: Key = Key {
    name: "components",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"@method\", \"@target-uri\", \"content-digest\"]",
    doc: "The components that an HTTP Message Signature has to cover; it may cover more. Headers by their names in small letters, `@method`, `@target-uri`, `@authority`, `@scheme`, `@request-target`, `@path`, `@query`, and `@query-param;name=\"NAME\"`. `content-digest` binds the body and is one of them, unless `body_unsigned` is set.",
};

pub(super) static PARAMETERS: Key = Key {
    name: "parameters",
    kind: Kind::List(&Kind::Choice(&[
        "created", "expires", "nonce", "alg", "keyid", "tag",
    ])),
    default: Some("[\"created\"]"),
    example: "[\"created\", \"nonce\"]",
    doc: "The parameters that an HTTP Message Signature has to have. `created` is compared with `tolerance` and `expires` against the clock wherever they stand; `alg` has to be the scheme's `algorithm` wherever it stands.",
};

pub(super) static LABEL: Key = Key {
    name: "label",
    kind: Kind::Text,
    default: Some("any label"),
    example: "\"sig1\"",
    doc: "The label of the signature that counts, in `Signature-Input` and `Signature`. Signatures under other labels are passed over.",
};

pub(super) static TAG: Key = Key {
    name: "tag",
    kind: Kind::Text,
    default: Some("any tag, or none"),
    example: "\"acme-webhooks\"",
    doc: "The `tag` that an HTTP Message Signature has to have. Signatures with another one are passed over.",
};

pub(super) static KEYID: Key = Key {
    name: "keyid",
    kind: Kind::OneOrMore(&Kind::Text),
    default: Some("any `keyid`, or none"),
    example: "\"acme-2027\"",
    doc: "Values of `keyid` that count. Signatures with another one, or without, are passed over; every secret of the route is tried for those that are left.",
};

pub(super) static TOKEN: Key = Key {
    name: "token",
    kind: Kind::Table(&TOKEN_SECTION),
    default: None,
    example: "{ header = \"X-Gitlab-Token\" }",
    doc: "Where the token stands: a header with an optional `prefix`, a query parameter, a field of a form or of a JSON body (`form` and `json` together: the JSON in a form's field), or HTTP Basic. A signed token may also be the whole body (`body = true`).",
};

pub(super) static HEADER: Key = Key {
    name: "header",
    kind: Kind::Text,
    default: None,
    example: "\"X-Webhook-Signature\"",
    doc: "The name of a header.",
};

pub(super) static NUMBERED: Key = Key {
    name: "numbered",
    kind: Kind::Count,
    default: None,
    example: "100",
    doc: "The last number with which the header's name may go on, from 1: one header for each of the sender's keys.",
};

pub(super) static QUERY: Key = Key {
    name: "query",
    kind: Kind::Text,
    default: None,
    example: "\"signature\"",
    doc: "The name of a query parameter.",
};

pub(super) static FORM: Key = Key {
    name: "form",
    kind: Kind::Text,
    default: None,
    example: "\"signature\"",
    doc: "The name of a field of a form body.",
};

pub(super) static VALUE: Key = Key {
    name: "value",
    kind: Kind::Text,
    default: None,
    example: "\"1\"",
    doc: "The value that must stand there.",
};

pub(super) static WITHOUT: Key = Key {
    name: "without",
    kind: Kind::Text,
    default: None,
    example: "\":\"",
    doc: "A text that the value, if there is one, must not hold.",
};

pub(super) static ABSENT: Key = Key {
    name: "absent",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "That nothing stands there.",
};

pub(super) static TRIM: Key = Key {
    name: "trim",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Whether spaces around the entries of a list, and a comma behind each, are passed over.",
};

pub(super) static QUOTED: Key = Key {
    name: "quoted",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Whether the values in a list stand between double quotes.",
};

pub(super) static SETS: Key = Key {
    name: "sets",
    kind: Kind::Text,
    default: None,
    example: "\" \"",
    doc: "The character between whole lists, each with its own timestamp.",
};

pub(super) static DERIVE: Key = Key {
    name: "derive",
    kind: Kind::Choice(&["sha1", "sha256", "sha384", "sha512"]),
    default: None,
    example: "\"sha1\"",
    doc: "The digest of the secret that is the key, where it is not the secret itself.",
};

pub(super) static PREFIX: Key = Key {
    name: "prefix",
    kind: Kind::Text,
    default: Some("\"\""),
    example: "\"sha256=\"",
    doc: "Text that stands before the value.",
};

pub(super) static LIST: Key = Key {
    name: "list",
    kind: Kind::Text,
    default: None,
    example: "\",\"",
    doc: "The character between the entries of a value that holds several.",
};

pub(super) static KEY: Key = Key {
    name: "key",
    kind: Kind::Text,
    default: None,
    example: "\"v1\"",
    doc: "The key of the entry; `\"*\"` for any.",
};

pub(super) static ASSIGN: Key = Key {
    name: "assign",
    kind: Kind::Text,
    default: Some("\"=\""),
    example: "\"=\"",
    doc: "The character between the key of an entry and its value.",
};

pub(super) static UNIT: Key = Key {
    name: "unit",
    kind: Kind::Choice(&["s", "ms", "rfc3339", "s_or_ms"]),
    default: None,
    example: "\"s\"",
    doc: "How the time is written.",
};

pub(super) static SECRET_ENCODING: Key = Key {
    name: "encoding",
    kind: Kind::Choice(&["utf8", "base64", "hex"]),
    default: Some("\"utf8\""),
    example: "\"base64\"",
    doc: "How the key stands in the secret's text.",
};

pub(super) static STRIP_PREFIX: Key = Key {
    name: "strip_prefix",
    kind: Kind::Text,
    default: None,
    example: "\"whsec_\"",
    doc: "Text before the key that is no part of it.",
};

pub(super) static BASIC: Key = Key {
    name: "basic",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "HTTP Basic; the secret is `user:password`.",
};

pub(super) static JSON: Key = Key {
    name: "json",
    kind: Kind::Text,
    default: None,
    example: "\"/id\"",
    doc: "A JSON pointer into the body.",
};

pub(super) static BODY: Key = Key {
    name: "body",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Whether the whole body is the signed token.",
};

pub(super) static CLAIM: Key = Key {
    name: "claim",
    kind: Kind::Text,
    default: None,
    example: "\"jti\"",
    doc: "The name of a claim of the signed token.",
};

/// A claim with its value, in a scheme or a route.
pub static CLAIM_SECTION: Section = Section {
    path: "routes.NAME.scheme.claims",
    doc: "A claim that must have one value.",
    keys: &[&CLAIM_NAME, &CLAIM_VALUE],
    required: &["name", "value"],
    one_of: &[],
};

pub(super) static BODY_CLAIM_SECTION: Section = Section {
    path: "routes.NAME.scheme.body_claim",
    doc: "The claim that holds a digest of the body.",
    keys: &[&CLAIM_NAME, &DIGEST, &ENCODING, &UNLESS_EMPTY],
    required: &["name", "digest", "encoding"],
    one_of: &[],
};

pub(super) static URL_CLAIM_SECTION: Section = Section {
    path: "routes.NAME.scheme.url_claim",
    doc: "The claim that holds the URL that was called, or a digest of it.",
    keys: &[&CLAIM_NAME, &DIGEST, &ENCODING],
    required: &["name"],
    one_of: &[],
};

pub(super) static HOSTS_SECTION: Section = Section {
    path: "routes.NAME.scheme.jwks",
    doc: "The hosts on which a route's key set may stand.",
    keys: &[&HOSTS],
    required: &["hosts"],
    one_of: &[],
};

pub(super) static ALGORITHMS: Key = Key {
    name: "algorithms",
    kind: Kind::List(&Kind::Choice(&[
        "HS256", "HS384", "HS512", "RS256", "ES256", "EdDSA",
    ])),
    default: None,
    example: "[\"HS256\"]",
    doc: "The algorithms with which a token may be signed; what a token says of itself chooses nothing else. HMACs and public keys exclude each other.",
};

pub(super) static KEYS: Key = Key {
    name: "keys",
    kind: Kind::Choice(&["secret", "jwks", "asked"]),
    default: None,
    example: "\"secret\"",
    doc: "Where the keys of signed tokens come from: the route's `secret` (a shared secret, or a public key), the key set that the sender publishes, or one key at a time, asked for with the account's `client_id:secret`.",
};

pub(super) static JWKS: Key = Key {
    name: "jwks",
    kind: Kind::Either(&Kind::Url, &Kind::Table(&HOSTS_SECTION)),
    default: None,
    example: "\"https://example.com/.well-known/jwks.json\"",
    doc: "Where the key set stands: an `https` URL, `\"route\"` where each route says its own, or the hosts on which it may (`*.` stands for one label).",
};

pub(super) static ISSUER: Key = Key {
    name: "issuer",
    kind: Kind::OneOrMore(&Kind::Text),
    default: None,
    example: "\"https://accounts.google.com\"",
    doc: "Who must have issued a token (`iss`).",
};

pub(super) static AUDIENCE: Key = Key {
    name: "audience",
    kind: Kind::Choice(&["none", "route", "url"]),
    default: Some("\"none\" with `keys = \"secret\"`"),
    example: "\"route\"",
    doc: "For whom a token must be (`aud`): what the route says in `audience`, or the URL that was called, as `public_url` has it.",
};

pub(super) static TOLERANCE_CLAIM: Key = Key {
    name: "tolerance_claim",
    kind: Kind::OneOrMore(&Kind::Choice(&["exp", "iat"])),
    default: None,
    example: "\"exp\"",
    doc: "The claims that must be there to tell a token's age: `exp`, or `iat`, which is held against `tolerance`. `exp`, `nbf` and an `iat` in the future count wherever they stand, with a minute for clocks that differ.",
};

pub(super) static BODY_CLAIM: Key = Key {
    name: "body_claim",
    kind: Kind::Table(&BODY_CLAIM_SECTION),
    default: None,
    example: "{ name = \"sha256\", digest = \"sha256\", encoding = \"hex\" }",
    doc: "The claim that holds a digest of the body; without one the token does not cover the body.",
};

pub(super) static URL_CLAIM: Key = Key {
    name: "url_claim",
    kind: Kind::Table(&URL_CLAIM_SECTION),
    default: None,
    example: "{ name = \"url_hash\", digest = \"sha256\", encoding = \"hex\" }",
    doc: "The claim that holds the URL that was called, as `public_url` has it, or a digest of it.",
};

pub(super) static CLAIMS: Key = Key {
    name: "claims",
    kind: Kind::OneOrMore(&Kind::Table(&CLAIM_SECTION)),
    default: None,
    example: "{ name = \"email_verified\", value = \"true\" }",
    doc: "Claims that must have one value each.",
};

pub(super) static ROUTE_CLAIMS: Key = Key {
    name: "route_claims",
    kind: Kind::OneOrMore(&Kind::Text),
    default: None,
    example: "\"email\"",
    doc: "Claims for which each route has to say the value, in `claims`, since the sender signs for everybody alike.",
};

pub(super) static HOSTS: Key = Key {
    name: "hosts",
    kind: Kind::List(&Kind::Text),
    default: None,
    example: "[\"api.example.com\", \"*.example.com\"]",
    doc: "The hosts on which keys or certificates may stand; for `sns` and `paypal` the sender's own where it is absent.",
};

pub(super) static DIGEST: Key = Key {
    name: "digest",
    kind: Kind::Choice(&["sha1", "sha256", "sha384", "sha512"]),
    default: None,
    example: "\"sha256\"",
    doc: "The digest that the claim holds.",
};

pub(super) static CLAIM_NAME: Key = Key {
    name: "name",
    kind: Kind::Text,
    default: None,
    example: "\"email\"",
    doc: "The name of the claim.",
};

pub(super) static CLAIM_VALUE: Key = Key {
    name: "value",
    kind: Kind::Text,
    default: None,
    example: "\"push@example.com\"",
    doc: "The value that it must have.",
};

pub(super) static UNLESS_EMPTY: Key = Key {
    name: "unless_empty",
    kind: Kind::Bool,
    default: Some("false"),
    example: "true",
    doc: "Whether the sender leaves the claim out where the body is empty.",
};

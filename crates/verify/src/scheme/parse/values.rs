//! Values that several families have.

use crate::document::key::KeyDefinition;
use crate::document::table::TomlTable;
use crate::document::value;
use crate::scheme::parse::keys::{DERIVE, SECRET_ENCODING, STRIP_PREFIX};
use crate::scheme::spec::{DigestAlgorithm, SecretEncoding, SecretForm, SignatureEncoding};

pub(crate) const DIGESTS: [(&str, DigestAlgorithm); 4] = [
    ("sha1", DigestAlgorithm::Sha1),
    ("sha256", DigestAlgorithm::Sha256),
    ("sha384", DigestAlgorithm::Sha384),
    ("sha512", DigestAlgorithm::Sha512),
];

pub(crate) const ENCODINGS: [(&str, SignatureEncoding); 4] = [
    ("hex", SignatureEncoding::Hex),
    ("base64", SignatureEncoding::Base64),
    ("base64url", SignatureEncoding::Base64Url),
    ("base64url_unpadded", SignatureEncoding::Base64UrlUnpadded),
];

/// Reads an optional table: `Some(None)` if it is absent, `None` if it is wrong.
pub(crate) fn optional<'a, T>(
    table: &mut TomlTable<'a>,
    key: &KeyDefinition,
    parse: impl FnOnce(&mut TomlTable<'a>) -> Option<T>,
) -> Option<Option<T>> {
    if !table.has(key) {
        // Reading the key marks it as known.
        table.value(key);
        return Some(None);
    }
    let mut inner = table.table(key)?;
    let parsed = parse(&mut inner);
    inner.deny_unknown();
    parsed.map(Some)
}

pub(crate) fn secret_form(table: &mut TomlTable<'_>) -> Option<SecretForm> {
    let encoding = table.read(&SECRET_ENCODING, |value| {
        value::choice(
            value,
            &[
                ("utf8", SecretEncoding::Utf8),
                ("base64", SecretEncoding::Base64),
                ("hex", SecretEncoding::Hex),
            ],
        )
    });
    let strip_prefix = table.read(&STRIP_PREFIX, value::text);
    let derive = table.read(&DERIVE, |value| value::choice(value, &DIGESTS));
    Some(SecretForm {
        encoding: encoding.unwrap_or_default(),
        strip_prefix: strip_prefix.unwrap_or_default(),
        derive,
        alternative: None,
    })
}

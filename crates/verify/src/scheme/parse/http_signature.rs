//! Parser for `type = "http_signature"`: HTTP Message Signatures (RFC 9421).

use crate::document::table::{SpannedValue, TomlTable, ValueFault};
use crate::document::value;
use crate::scheme::http_signature::component;
use crate::scheme::parse::keys::{
    ALGORITHM, BODY_UNSIGNED, COMPONENTS, KEYID, LABEL, PARAMETERS, PUBLIC_KEY, SECRET, TAG,
};
use crate::scheme::parse::values::{optional, secret_form};
use crate::scheme::spec::{HttpAlgorithm, HttpParameter, HttpSpec, SignatureComponent};

/// Reads the keys of a scheme with HTTP Message Signatures.
pub(super) fn http_signature(table: &mut TomlTable<'_>) -> Option<HttpSpec> {
    let algorithm = table.require(&ALGORITHM, |value| {
        value::choice(value, &HttpAlgorithm::ALL)
    });
    let is_body_unsigned = table.read(&BODY_UNSIGNED, value::boolean).unwrap_or(false);
    let components = components(table, is_body_unsigned);
    let parameters = table.list(&PARAMETERS, |value| {
        value::choice(value, &HttpParameter::ALL)
    });
    let parameters = parameters.map(|found| found.into_iter().map(|one| one.value).collect());
    let label = table.read(&LABEL, |value| {
        let text = value::text(value)?;
        match sfv::KeyRef::from_str(&text) {
            Ok(_) => Ok(text),
            Err(_) => Err(ValueFault::new(
                format!("`{text}` is not a valid label"),
                "use lower-case letters, digits and `_-.*`, for example `\"sig1\"`",
            )),
        }
    });
    let tag = table.read(&TAG, value::text);
    let keyids = table.one_or_more(&KEYID, value::text).unwrap_or_default();
    let secret = optional(table, &SECRET, secret_form);
    let public_key = table.read_placed(&PUBLIC_KEY, value::text);
    let algorithm = algorithm?.value;
    if let (HttpAlgorithm::HmacSha256, Some(key)) = (algorithm, &public_key) {
        let fault = ValueFault::new("an HMAC scheme has no public key", "remove `public_key`");
        table.error(key.span, fault);
    }
    Some(HttpSpec {
        algorithm,
        components: components?,
        // By default, because without `created` a captured request has no age.
        parameters: parameters.unwrap_or_else(|| vec![HttpParameter::Created]),
        label,
        tag,
        keyids: keyids.into_iter().map(|one| one.value).collect(),
        secret: secret?.unwrap_or_default(),
        public_key: public_key.map(|key| key.value),
    })
}

fn components(
    table: &mut TomlTable<'_>,
    is_body_unsigned: bool,
) -> Option<Vec<SignatureComponent>> {
    if !table.has(&COMPONENTS) {
        table.missing(&COMPONENTS);
    }
    let found = table.list(&COMPONENTS, |value| {
        let text = value::text(value)?;
        component::parse(&text).map_err(|fault| {
            ValueFault::new(
                format!("the component `{text}` {fault}"),
                "use for example `\"@method\"`, `\"@path\"`, `\"@query\"`, `\"content-digest\"` or `'@query-param;name=\"id\"'`",
            )
        })
    })?;
    check_body(table, &found, is_body_unsigned);
    for (index, one) in found.iter().enumerate() {
        // Two spellings of one component, such as `a` and `"a"`, have the same source.
        let mut earlier = found.iter().take(index);
        if earlier.any(|other| other.value.source == one.value.source) {
            let fault = ValueFault::new("this component is listed twice", "remove one of them");
            table.error(one.span, fault);
        }
    }
    Some(found.into_iter().map(|one| one.value).collect())
}

/// Reports a list without the digest of the body, unless `body_unsigned` confirms that the body is not signed.
fn check_body(
    table: &TomlTable<'_>,
    found: &[SpannedValue<SignatureComponent>],
    is_body_unsigned: bool,
) {
    let bound = found.iter().find(|one| one.value.binds_body());
    match (bound, is_body_unsigned) {
        (None, false) => table.error(
            table.span(),
            ValueFault::new(
                "`components` does not contain `content-digest`, so any client could change the body",
                "add `\"content-digest\"`; if the sender really does not sign it, add `body_unsigned = true`",
            ),
        ),
        (Some(one), true) => table.error(
            one.span,
            ValueFault::new(
                "`components` contains the digest of the body, so `body_unsigned` is wrong",
                "remove `body_unsigned`",
            ),
        ),
        _ => {}
    }
}

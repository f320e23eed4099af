//! `Content-Digest` (RFC 9530): the digest in the head, compared with the body as it arrives.

use aws_lc_rs::digest::{Context, SHA256, SHA512};
use sfv::{BareItem, Dictionary, Item, ListEntry, Parser};
use subtle::ConstantTimeEq as _;

use crate::scheme::head::RequestHead;
use crate::scheme::http_signature::field_text::joined;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::spec::{CONTENT_DIGEST, ComponentSource, FieldForm, SignatureComponent};

/// One digest of the body that is still being computed.
pub(super) struct RunningDigest {
    context: Context,
    expected: Vec<u8>,
}

/// One digest of the body as the request states it.
pub(super) struct ContentDigest {
    is_long: bool,
    expected: Vec<u8>,
}

/// Reads the digests that a signature with these components covers; returns an empty list if it covers no digest.
///
/// Every digest of a known algorithm must be correct, because the app may check any of them. RFC 9530 section 5 lists
/// the others as insecure; they are ignored.
pub(super) fn read(
    head: &RequestHead<'_>,
    components: &[SignatureComponent],
) -> Result<Vec<ContentDigest>, MaterialFault> {
    let malformed = |fault| MaterialFault::malformed(CONTENT_DIGEST.as_str(), fault);
    let mut bound = components.iter().filter(|one| one.binds_body()).peekable();
    if bound.peek().is_none() {
        return Ok(Vec::new());
    }
    let text = joined(head, &CONTENT_DIGEST)?;
    let digests = Parser::new(&text).parse::<Dictionary>();
    let digests = digests.map_err(|_| malformed("is not a dictionary of digests (RFC 9530)"))?;
    let known = [("sha-256", false), ("sha-512", true)];
    let mut shown = Vec::new();
    // A weak or unknown algorithm is ignored, but at least one known digest is required.
    for (name, is_long) in known {
        let expected = match digests.get(name) {
            None => continue,
            Some(ListEntry::Item(Item {
                bare_item: BareItem::ByteSequence(bytes),
                ..
            })) => bytes.clone(),
            Some(_) => return Err(malformed("contains a digest that is not a byte sequence")),
        };
        shown.push(ContentDigest { is_long, expected });
    }
    if shown.is_empty() {
        return Err(malformed("contains neither `sha-256` nor `sha-512`"));
    }
    // If only single members are covered, one of them must be a digest that is compared.
    let mut is_bound = false;
    for component in bound {
        is_bound |= match &component.source {
            ComponentSource::Header(_, FieldForm::Member(key)) => {
                known.iter().any(|(name, _)| name == key)
            }
            _ => true,
        };
    }
    match is_bound {
        true => Ok(shown),
        false => Err(malformed(
            "is covered only for an algorithm that hookgate does not verify",
        )),
    }
}

impl RunningDigest {
    /// Begins to compute the digest of the body.
    pub(super) fn new(shown: ContentDigest) -> Self {
        let algorithm = match shown.is_long {
            true => &SHA512,
            false => &SHA256,
        };
        Self {
            context: Context::new(algorithm),
            expected: shown.expected,
        }
    }

    /// Feeds the next piece of the body.
    pub(super) fn update(&mut self, chunk: &[u8]) {
        self.context.update(chunk);
    }

    /// Returns whether the digest of the body is the stated one.
    pub(super) fn finish(self) -> bool {
        self.context.finish().as_ref().ct_eq(&self.expected).into()
    }
}

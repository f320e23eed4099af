//! `Signature-Input` and `Signature` (RFC 9421 section 4): finds the signatures that the scheme can verify.

use sfv::visitor::{DictionaryVisitor, EntryVisitor};
use sfv::{BareItem, Dictionary, InnerList, KeyRef, ListEntry, Parser};

use crate::scheme::head::RequestHead;
use crate::scheme::http_signature::base::ComponentValues;
use crate::scheme::http_signature::digest::{self, ContentDigest};
use crate::scheme::http_signature::field_text::{SIGNATURE, SIGNATURE_INPUT, joined};
use crate::scheme::http_signature::origin::PublicOrigin;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::sent_timestamp::SentTimestamp;
use crate::scheme::spec::{HttpParameter, HttpSpec, TimeUnit};

/// Limit of labels in one request, including signatures for other applications.
const MAX_LABELS: usize = 16;

/// Limit of signatures to verify: each costs a signed text, and with public keys a verification per key.
const MAX_SIGNATURES: usize = 3;

/// Limit of parameters in one signature.
const MAX_PARAMETERS: usize = 16;

/// An unverified signature that fulfills all requirements of the scheme.
pub(in crate::scheme) struct HttpCandidate {
    /// Signed text that the signature is verified against.
    pub(super) base: Vec<u8>,
    pub(super) signature: Vec<u8>,
    pub(super) created: Option<SentTimestamp>,
    pub(super) expires: Option<i64>,
    pub(super) digests: Vec<ContentDigest>,
}

/// Reads the signatures to verify; returns at least one, or an error.
pub(super) fn read(
    spec: &HttpSpec,
    origin: Option<&PublicOrigin>,
    head: &RequestHead<'_>,
) -> Result<Vec<HttpCandidate>, MaterialFault> {
    let inputs = dictionary(head, &SIGNATURE_INPUT)?;
    let signatures = dictionary(head, &SIGNATURE)?;
    let input = |fault| MaterialFault::malformed(SIGNATURE_INPUT.as_str(), fault);
    // Checked before any work that grows with the number of labels.
    if inputs.len() > MAX_LABELS || signatures.len() > MAX_LABELS {
        return Err(input("has too many labels"));
    }
    let values = ComponentValues::new(head, origin);
    let mut candidates = Vec::new();
    let mut tried = 0;
    // Report the first fault only if no signature is usable: others may be for other applications.
    let mut fault = None;
    for (label, entry) in &inputs {
        let wanted = spec.label.as_deref();
        if wanted.is_some_and(|wanted| wanted != label.as_str()) {
            continue;
        }
        let ListEntry::InnerList(list) = entry else {
            fault.get_or_insert(input("has a label without a list of components"));
            continue;
        };
        if let Err(reason) = is_meant(spec, list) {
            fault.get_or_insert(input(reason));
            continue;
        }
        // Count only signatures for this scheme: those of other applications cost nothing.
        tried += 1;
        if tried > MAX_SIGNATURES {
            return Err(input("has too many signatures"));
        }
        let signature = match signatures.get(label) {
            Some(ListEntry::Item(item)) => item.bare_item.as_byte_sequence(),
            _ => None,
        };
        let Some(signature) = signature else {
            let missing = "has no signature for a label of `signature-input`";
            fault.get_or_insert(MaterialFault::malformed(SIGNATURE.as_str(), missing));
            continue;
        };
        match candidate(spec, head, &values, list, signature) {
            Ok(one) => candidates.push(one),
            Err(one) => {
                fault.get_or_insert(one);
            }
        }
    }
    if candidates.is_empty() {
        return Err(fault.unwrap_or_else(|| input("has no signature under the scheme's label")));
    }
    Ok(candidates)
}

/// Returns an error if a signature is not for this scheme. A request may carry others, made for other applications.
fn is_meant(spec: &HttpSpec, list: &InnerList) -> Result<(), &'static str> {
    if list.params.len() > MAX_PARAMETERS {
        return Err("has too many parameters");
    }
    if let Some(wanted) = &spec.tag
        && text(list, "tag")? != Some(wanted)
    {
        return Err("does not have the `tag` of this scheme");
    }
    let keyid = text(list, "keyid")?;
    let is_known = |keyid: &str| spec.keyids.iter().any(|known| known == keyid);
    if !spec.keyids.is_empty() && !keyid.is_some_and(is_known) {
        return Err("does not have a `keyid` of this scheme");
    }
    // RFC 9421 section 3.2: if `alg` is present, it must be the algorithm of the key.
    match text(list, "alg")? {
        Some(alg) if alg != spec.algorithm.name() => Err("names another algorithm in `alg`"),
        _ => Ok(()),
    }
}

fn candidate(
    spec: &HttpSpec,
    head: &RequestHead<'_>,
    values: &ComponentValues<'_>,
    list: &InnerList,
    signature: &[u8],
) -> Result<HttpCandidate, MaterialFault> {
    let input = |fault| MaterialFault::malformed(SIGNATURE_INPUT.as_str(), fault);
    for parameter in &spec.parameters {
        if !list.params.contains_key(parameter.name()) {
            let name = format!("`{}` in `signature-input`", parameter.name());
            return Err(MaterialFault::missing(&name));
        }
    }
    // RFC 9421 section 2.3 defines these as strings; another type is malformed even if nothing reads it.
    for name in ["nonce", "keyid", "tag", "alg"] {
        text(list, name).map_err(input)?;
    }
    let created = seconds(list, HttpParameter::Created).map_err(input)?;
    let created =
        created.map(|time| SentTimestamp::parse(time.to_string().as_bytes(), TimeUnit::Seconds));
    let created = created.transpose();
    let (base, components) = values.base(list)?;
    for wanted in &spec.components {
        if !components.iter().any(|one| one.covers(wanted)) {
            let name = format!(
                "{} among the components of `signature-input`",
                wanted.identifier
            );
            return Err(MaterialFault::missing(&name));
        }
    }
    Ok(HttpCandidate {
        base,
        signature: signature.to_vec(),
        created: created.map_err(|_| input("has a `created` that is not a valid time"))?,
        expires: seconds(list, HttpParameter::Expires).map_err(input)?,
        digests: digest::read(head, &components)?,
    })
}

/// Returns the text of a parameter; `None` if it is absent.
fn text<'l>(list: &'l InnerList, name: &str) -> Result<Option<&'l str>, &'static str> {
    match list.params.get(name) {
        None => Ok(None),
        Some(BareItem::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err("has a parameter that is not a string"),
    }
}

/// Returns the time in a parameter, in seconds; `None` if it is absent.
fn seconds(list: &InnerList, parameter: HttpParameter) -> Result<Option<i64>, &'static str> {
    match list.params.get(parameter.name()) {
        None => Ok(None),
        Some(BareItem::Integer(time)) => match i64::from(*time) {
            time @ 0..1_000_000_000_000 => Ok(Some(time)),
            _ => Err("has a parameter that is not a valid time"),
        },
        Some(_) => Err("has a parameter that is not a valid time"),
    }
}

fn dictionary(
    head: &RequestHead<'_>,
    name: &http::HeaderName,
) -> Result<Dictionary, MaterialFault> {
    let text = joined(head, name)?;
    let parsed = Parser::new(&text).parse_dictionary_with_visitor(UniqueDictionary::default());
    let fault = "is not a dictionary with each label once (RFC 8941)";
    parsed.map_err(|_| MaterialFault::malformed(name.as_str(), fault))
}

/// A dictionary with unique keys. Of two equal keys, the app might read the other one.
#[derive(Default)]
struct UniqueDictionary(Dictionary);

#[derive(Debug, thiserror::Error)]
#[error("a key occurs twice")]
struct DuplicateKey;

impl<'de> DictionaryVisitor<'de> for UniqueDictionary {
    type Out = Dictionary;
    type Error = DuplicateKey;

    fn entry(&mut self, key: &'de KeyRef) -> Result<impl EntryVisitor<'de>, Self::Error> {
        if self.0.contains_key(key) {
            return Err(DuplicateKey);
        }
        DictionaryVisitor::entry(&mut self.0, key).map_err(|never| match never {})
    }

    fn finish(self) -> Result<Self::Out, Self::Error> {
        Ok(self.0)
    }
}

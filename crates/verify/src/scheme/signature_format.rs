//! Formats of signatures: encodings, prefixes, and lists.

use data_encoding::{BASE64, BASE64URL, BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};

use crate::scheme::mac::{DigestBytes, digest_len};
use crate::scheme::spec::{DigestAlgorithm, ListSpec, SignatureEncoding};

/// Limit of signatures in one list. A sender that rotates its secret sends two; each costs a decode and a comparison.
pub(crate) const MAX_SIGNATURES: usize = 16;

/// Limit of entries in one list, including those of other versions.
pub(crate) const MAX_ENTRIES: usize = 32;

/// Length of the longest decoded digest, with the bytes for its base64 padding.
pub(crate) const MAX_DECODED: usize = 66;

/// One signature or several. Only a list with several allocates.
pub(super) struct SignatureList {
    pub(super) first: DigestBytes,
    pub(super) rest: Vec<DigestBytes>,
}

/// Format of one signature in a request.
#[derive(Clone)]
pub(super) struct SignatureFormat {
    pub(super) algorithm: DigestAlgorithm,
    pub(super) encoding: SignatureEncoding,
    pub(super) prefix: Box<str>,
}

impl SignatureFormat {
    /// Parses one signature; the error says what is wrong with it.
    pub(super) fn parse(&self, text: &[u8]) -> Result<DigestBytes, &'static str> {
        let text = text
            .strip_prefix(self.prefix.as_bytes())
            .ok_or("does not begin with the prefix of this scheme's signatures")?;
        let fault = self.encoding.fault();
        let encoding = match self.encoding {
            SignatureEncoding::Hex => HEXLOWER_PERMISSIVE,
            SignatureEncoding::Base64 => BASE64,
            SignatureEncoding::Base64Url => BASE64URL,
            SignatureEncoding::Base64UrlUnpadded => BASE64URL_NOPAD,
        };
        const LENGTH: &str = "does not have the length of a signature";
        // The length is checked first, so a long header is never decoded.
        if text.len() != encoding.encode_len(digest_len(self.algorithm)) {
            return Err(LENGTH);
        }
        let mut buffer = [0; MAX_DECODED];
        let len = encoding.decode_len(text.len()).map_err(|_| LENGTH)?;
        let room = buffer.get_mut(..len).ok_or(LENGTH)?;
        let len = encoding.decode_mut(text, room).map_err(|_| fault)?;
        // Padding in the middle gives a text of the right length with fewer bytes.
        if len != digest_len(self.algorithm) {
            return Err(fault);
        }
        let bytes = room.get(..len).ok_or(LENGTH)?;
        DigestBytes::new(bytes).ok_or(LENGTH)
    }
}

/// Values of a list that matter for verification.
pub(super) struct ListValues<'v> {
    pub(super) signatures: SignatureList,
    /// Value of the entry under the timestamp's key.
    pub(super) timestamp: Option<&'v [u8]>,
}

/// Parses a list; the error says what is wrong with it.
pub(super) fn parse_list<'v>(
    value: &'v [u8],
    list: &ListSpec,
    written: &SignatureFormat,
    timestamp_key: Option<&str>,
) -> Result<ListValues<'v>, &'static str> {
    let text = std::str::from_utf8(value).map_err(|_| "is not text")?;
    let mut signatures: Option<SignatureList> = None;
    let mut timestamp = None;
    // Entries are parsed before anything is verified, so their number is bounded.
    for (count, entry) in text.split(list.separator).enumerate() {
        if count >= MAX_ENTRIES {
            return Err("has too many entries");
        }
        let (key, value) = split_entry(entry, list)?;
        if is_time(timestamp_key, key, timestamp.is_some()) {
            if timestamp.replace(value.as_bytes()).is_some() {
                return Err("has two timestamps");
            }
        } else if key == list.key {
            // One malformed signature rejects the whole list, because no genuine sender writes one.
            let digest = written.parse(value.as_bytes())?;
            match &mut signatures {
                None => {
                    signatures = Some(SignatureList {
                        first: digest,
                        rest: Vec::new(),
                    });
                }
                Some(found) if found.rest.len() + 1 < MAX_SIGNATURES => found.rest.push(digest),
                // Each signature costs a comparison with every MAC.
                Some(_) => return Err("has too many signatures"),
            }
        }
    }
    Ok(ListValues {
        signatures: signatures.ok_or("contains no signature of this scheme's version")?,
        timestamp,
    })
}

/// Returns whether an entry is the timestamp: the one under its key, or the first entry if entries have no keys.
pub(super) fn is_time(wanted: Option<&str>, key: &str, is_found: bool) -> bool {
    wanted.is_some_and(|wanted| wanted == key && !(wanted.is_empty() && is_found))
}

/// Splits an entry into key and value; bare values have the empty key.
pub(super) fn split_entry<'v>(
    entry: &'v str,
    list: &ListSpec,
) -> Result<(&'v str, &'v str), &'static str> {
    let entry = if list.trim {
        let entry = entry.trim_matches(' ');
        // Some senders write a comma and a space between entries.
        entry.strip_suffix(',').unwrap_or(entry)
    } else {
        entry
    };
    if list.key.is_empty() && !list.any_key {
        return Ok(("", entry));
    }
    let (key, value) = entry
        .split_once(list.assign)
        .ok_or("has an entry without a value")?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if key.is_empty() || !key.bytes().all(is_word) {
        return Err("has an entry with an invalid key");
    }
    if list.is_quoted {
        return Ok((key, unquote(value)?));
    }
    // Spaces occur in lists of names, such as Hook0's; signatures and times contain no spaces.
    if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("has an entry with an invalid value");
    }
    Ok((key, value))
}

/// Removes the double quotes around a value, in which nothing may be escaped.
pub(crate) fn unquote(value: &str) -> Result<&str, &'static str> {
    let inner = value.strip_prefix('"');
    let inner = inner.and_then(|value| value.strip_suffix('"'));
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    inner
        .filter(|value| value.bytes().all(is_plain))
        .ok_or("has an entry without double quotes around it")
}

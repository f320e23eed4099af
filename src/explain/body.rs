//! Hypotheses about bodies that were changed between the sender and the gate.
//!
//! Each change that proxies and frameworks often make is undone, and the real verification runs over the result.

use std::io::Read;

use data_encoding::BASE64;
use flate2::read::{GzDecoder, ZlibDecoder};
use hookgate_verify::scheme::form;
use http::header;

use crate::explain::case::RefusalCase;
use crate::explain::cause::{CauseFinding, RefusalCause};
use crate::explain::json;
use crate::explain::trial::TrialBudget;

/// Maximum size of a decompressed body in bytes, against decompression bombs.
const MAX_UNPACKED: u64 = 32 << 20;

/// Byte-order mark (BOM) of UTF-8, which some editors and programs add or drop.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// A change of the body in transit, and the function that undoes it.
struct BodyChange {
    cause: RefusalCause,
    /// Form in which the sender signed the body; it completes the cause's sentence.
    detail: &'static str,
    /// Returns the body that the sender signed, if this change happened; `None` if it cannot have happened.
    undo: fn(&[u8]) -> Option<Vec<u8>>,
}

static CHANGES: [BodyChange; 15] = [
    BodyChange {
        cause: RefusalCause::BodyLineEnd,
        detail: "without the line end that it has now",
        undo: |body| without_end(body, b"\n"),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnd,
        detail: "without the line end that it has now",
        undo: |body| without_end(body, b"\r\n"),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnd,
        detail: "with a line end that is gone",
        undo: |body| Some([body, b"\n"].concat()),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnd,
        detail: "with a line end that is gone",
        undo: |body| Some([body, b"\r\n"].concat()),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnd,
        detail: "without the white space around it",
        undo: |body| changed(body, body.trim_ascii().to_vec()),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnds,
        detail: "LF where it has CR LF now",
        undo: |body| replaced(body, b"\r\n", b"\n"),
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnds,
        detail: "CR LF where it has LF now",
        undo: |body| {
            // Normalized first, so that an existing CR LF does not become CR CR LF.
            let plain = replaced(body, b"\r\n", b"\n");
            replaced(plain.as_deref().unwrap_or(body), b"\n", b"\r\n")
        },
    },
    BodyChange {
        cause: RefusalCause::BodyLineEnds,
        detail: "no line ends where it has some now",
        undo: |body| {
            let plain = replaced(body, b"\r\n", b"").unwrap_or_else(|| body.to_vec());
            changed(body, replaced(&plain, b"\n", b"").unwrap_or(plain))
        },
    },
    BodyChange {
        cause: RefusalCause::BodyMark,
        detail: "without the one that it has now",
        undo: |body| body.strip_prefix(MARK).map(<[u8]>::to_vec),
    },
    BodyChange {
        cause: RefusalCause::BodyMark,
        detail: "with one that is gone",
        undo: |body| Some([MARK, body].concat()),
    },
    BodyChange {
        cause: RefusalCause::BodyCharset,
        detail: "ISO 8859-1, and it is UTF-8 now",
        undo: to_latin1,
    },
    BodyChange {
        cause: RefusalCause::BodyCharset,
        detail: "UTF-8, and its bytes were taken for ISO 8859-1",
        undo: |body| to_latin1(&to_latin1(body)?),
    },
    BodyChange {
        cause: RefusalCause::BodyCharset,
        detail: "UTF-8, and it is ISO 8859-1 now",
        undo: from_latin1,
    },
    BodyChange {
        cause: RefusalCause::BodyWrapped,
        detail: "the decoded bytes of its base64",
        undo: |body| {
            BASE64
                .decode(body.trim_ascii())
                .ok()
                .filter(|body| !body.is_empty())
        },
    },
    BodyChange {
        cause: RefusalCause::BodyWrapped,
        detail: "the text inside the JSON string",
        undo: |body| {
            serde_json::from_slice::<String>(body)
                .ok()
                .map(String::into_bytes)
        },
    },
];

/// Finds the first change of the body that makes the request verify when it is undone.
pub(super) fn find(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let body = &*case.base.body;
    // Cheap changes come first: most of them only touch the end of the body.
    for change in &CHANGES {
        if hunt.is_spent() {
            return None;
        }
        let Some(undone) = (change.undo)(body) else {
            continue;
        };
        if hunt.passes(&case.base.with_body(undone)) {
            return Some(change.cause.proven(change.detail));
        }
    }
    let found = longer(case, hunt);
    let found = found.or_else(|| compressed(case, hunt));
    let found = found.or_else(|| written_again(case, hunt));
    found.or_else(|| form_again(case, hunt))
}

/// Guesses what happened to the body, if no hypothesis verifies.
pub(super) fn guess(case: &RefusalCase<'_>) -> Option<CauseFinding> {
    let body = &*case.base.body;
    // Checked first, because every other guess would describe the cut that the gate itself made.
    if case.request.is_cut {
        return Some(RefusalCause::BodyNotKept.likely(""));
    }
    if let Some(declared) = declared(case).filter(|declared| *declared > body.len()) {
        let detail = format!("{declared} bytes are declared and {} are here", body.len());
        return Some(RefusalCause::BodyTruncated.likely(&detail));
    }
    if body.is_empty() && case.route.scheme.signs_body() {
        return Some(RefusalCause::BodyLost.likely(""));
    }
    // The head claims a compression that the body does not have.
    if let Some(packing) = packing(case).filter(|_| unpacked(body).is_none()) {
        return Some(RefusalCause::BodyDecompressed.likely(&packing));
    }
    // A body that begins as JSON and ends in the middle of it was most likely cut by a limit in front.
    let opens = body.trim_ascii_start().first();
    let is_open = matches!(opens, Some(b'{' | b'[')) && body.len() > 2;
    let is_broken =
        serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err_and(|err| err.is_eof());
    (is_open && is_broken).then(|| {
        let detail = format!("the JSON breaks off after {} bytes", body.len());
        RefusalCause::BodyTruncated.likely(&detail)
    })
}

/// Returns the value of `Content-Length`.
fn declared(case: &RefusalCase<'_>) -> Option<usize> {
    let value = case.request.headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

/// Returns the compression that `Content-Encoding` names, if it is a common one.
fn packing(case: &RefusalCase<'_>) -> Option<String> {
    let value = case.base.headers.get(header::CONTENT_ENCODING)?;
    let value = value.to_str().ok()?.trim().to_ascii_lowercase();
    let is_known = matches!(
        value.as_str(),
        "gzip" | "deflate" | "br" | "zstd" | "x-gzip"
    );
    is_known.then(|| format!("`{value}`"))
}

/// Tries the body up to its declared length.
fn longer(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let length = declared(case)?;
    let body = &*case.base.body;
    let start = body
        .get(..length)
        .filter(|start| start.len() < body.len())?;
    // A request file may hold more than the declared body; hyper would never read it.
    let more = format!("{} bytes", body.len() - length);
    let trial = case.base.with_body(start.to_vec());
    hunt.passes(&trial)
        .then(|| RefusalCause::BodyLonger.proven(&more))
}

/// Tries the decompressed body, in case the sender signed before compressing.
fn compressed(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    let (packing, body) = unpacked(&case.base.body)?;
    let trial = case.base.with_body(body);
    hunt.passes(&trial)
        .then(|| RefusalCause::BodyCompressed.proven(packing))
}

/// Decompresses a body that looks like gzip or zlib, up to `MAX_UNPACKED` bytes.
fn unpacked(body: &[u8]) -> Option<(&'static str, Vec<u8>)> {
    let mut out = Vec::new();
    let (name, read) = match body {
        // Magic number of gzip (RFC 1952).
        [0x1f, 0x8b, ..] => {
            let read = GzDecoder::new(body)
                .take(MAX_UNPACKED)
                .read_to_end(&mut out);
            ("gzip", read)
        }
        // First byte of zlib with a window of 32 KiB (RFC 1950), which `deflate` means in HTTP.
        [0x78, ..] => {
            let read = ZlibDecoder::new(body)
                .take(MAX_UNPACKED)
                .read_to_end(&mut out);
            ("deflate", read)
        }
        _ => return None,
    };
    read.ok().map(|_| (name, out))
}

/// Tries the JSON in the formats of common serializers.
fn written_again(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    // Text that is not UTF-8 is not JSON (RFC 8259, section 8.1).
    let text = std::str::from_utf8(&case.base.body).ok()?;
    let node = json::parse(text)?;
    for style in json::styles() {
        if hunt.is_spent() {
            return None;
        }
        let written = style.write(&node);
        // The unchanged text was already verified by the gate itself.
        if written != text && hunt.passes(&case.base.with_body(written.into_bytes())) {
            return Some(RefusalCause::BodyReserialised.proven(&style.describe()));
        }
    }
    None
}

/// Style in which a program encodes a form (`application/x-www-form-urlencoded`).
struct FormStyle {
    words: &'static str,
    space: &'static str,
    /// Characters that are not escaped, besides letters and digits.
    unescaped: &'static [u8],
    is_upper: bool,
}

const FORM_STYLES: [FormStyle; 6] = [
    FormStyle {
        words: "`+` for spaces",
        space: "+",
        unescaped: b"-._*",
        is_upper: true,
    },
    FormStyle {
        words: "`+` for spaces and `~` as it is",
        space: "+",
        unescaped: b"-._~",
        is_upper: true,
    },
    FormStyle {
        words: "`%20` for spaces",
        space: "%20",
        unescaped: b"-._~",
        is_upper: true,
    },
    FormStyle {
        words: "`%20` for spaces, as JavaScript writes it",
        space: "%20",
        unescaped: b"-._~!*'()",
        is_upper: true,
    },
    FormStyle {
        words: "small letters in its escapes",
        space: "+",
        unescaped: b"-._*",
        is_upper: false,
    },
    FormStyle {
        words: "`%20` and small letters in its escapes",
        space: "%20",
        unescaped: b"-._~",
        is_upper: false,
    },
];

/// Tries the form in the encodings of common frameworks, with fields in their order and sorted.
fn form_again(case: &RefusalCase<'_>, hunt: &mut TrialBudget) -> Option<CauseFinding> {
    if !form::is_form(&case.base.headers) {
        return None;
    }
    let fields = form::fields(&case.base.body).ok()?;
    // Some frameworks hold fields in an ordered map, which loses the sender's order.
    let mut sorted = fields.clone();
    sorted.sort();
    for (fields, order) in [(&fields, ""), (&sorted, " and sorted fields")] {
        for style in &FORM_STYLES {
            let pairs: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{}={}", style.escape(name), style.escape(value)))
                .collect();
            if hunt.passes(&case.base.with_body(pairs.join("&").into_bytes())) {
                return Some(
                    RefusalCause::FormReencoded.proven(&format!("{}{order}", style.words)),
                );
            }
        }
    }
    None
}

impl FormStyle {
    fn escape(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for byte in text.bytes() {
            match byte {
                b' ' => out.push_str(self.space),
                byte if byte.is_ascii_alphanumeric() || self.unescaped.contains(&byte) => {
                    out.push(char::from(byte));
                }
                // RFC 3986 recommends upper-case digits in escapes, but not all encoders follow it.
                byte if self.is_upper => out.push_str(&format!("%{byte:02X}")),
                byte => out.push_str(&format!("%{byte:02x}")),
            }
        }
        out
    }
}

/// Returns the other body, or `None` if it is the same: trying it again would prove nothing.
fn changed(body: &[u8], other: Vec<u8>) -> Option<Vec<u8>> {
    (other != body).then_some(other)
}

fn without_end(body: &[u8], end: &[u8]) -> Option<Vec<u8>> {
    body.strip_suffix(end).map(<[u8]>::to_vec)
}

fn replaced(body: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = 0;
    for at in memchr::memmem::find_iter(body, from) {
        out.extend_from_slice(body.get(rest..at)?);
        out.extend_from_slice(to);
        rest = at + from.len();
    }
    out.extend_from_slice(body.get(rest..)?);
    changed(body, out)
}

/// Converts UTF-8 to ISO 8859-1; `None` if a character has no byte there, or if all are ASCII.
fn to_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(body)
        .ok()
        .filter(|text| !text.is_ascii())?;
    text.chars()
        .map(|letter| u8::try_from(u32::from(letter)).ok())
        .collect()
}

/// Converts ISO 8859-1 to UTF-8; `None` if all bytes are ASCII.
fn from_latin1(body: &[u8]) -> Option<Vec<u8>> {
    let text: String = body.iter().map(|byte| char::from(*byte)).collect();
    (!body.is_ascii()).then(|| text.into_bytes())
}

//! Composes the signed text from the parts of a whole request.

use std::borrow::Cow;
use std::collections::HashSet;

use data_encoding::HEXLOWER;
use http::HeaderName;
use zeroize::Zeroizing;

use crate::scheme::form;
use crate::scheme::form_field;
use crate::scheme::mac::digest;
use crate::scheme::material_fault::MaterialFault;
use crate::scheme::multipart;
use crate::scheme::public_url;
use crate::scheme::read_head;
use crate::scheme::sign;
use crate::scheme::spec::{DigestAlgorithm, SchemeLocation, TemplatePart};
use crate::scheme::whole_request::WholeRequest;

/// Limit of headers that one request may list as signed.
const MAX_LISTED: usize = 64;

/// Escapes that HubSpot's v3 signatures decode before they sign
/// (<https://developers.hubspot.com/docs/api/webhooks/validating-requests>).
const HUBSPOT_UNESCAPED: [(&str, char); 12] = [
    ("%3A", ':'),
    ("%2F", '/'),
    ("%3F", '?'),
    ("%40", '@'),
    ("%21", '!'),
    ("%24", '$'),
    ("%27", '\''),
    ("%28", '('),
    ("%29", ')'),
    ("%2A", '*'),
    ("%2C", ','),
    ("%3B", ';'),
];

/// One request, with the values that its text needs.
pub(super) struct TextComposer<'c, 'r> {
    pub(super) whole: &'c WholeRequest<'r>,
    pub(super) public_url: &'c str,
    pub(super) timestamp: Option<&'c [u8]>,
    pub(super) entries: &'c [(String, String)],
    pub(super) id: Option<&'c [u8]>,
}

impl TextComposer<'_, '_> {
    /// Composes the text. It is wiped on drop, because the text of a plain digest contains the secret.
    pub(super) fn compose(
        &self,
        parts: &[TemplatePart],
        secret: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, MaterialFault> {
        // Room for literals and headers too: a buffer that grows leaves a copy of the secret behind that is not wiped.
        let room = self.whole.body().len() + secret.len() + 256;
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        for part in parts {
            match part {
                TemplatePart::Secret => text.extend_from_slice(secret),
                TemplatePart::Group(parts) => self.add_group(parts, &mut text)?,
                part => {
                    let value = self.value(part)?;
                    let value = value.ok_or_else(|| self.missing(part))?;
                    text.extend_from_slice(&value);
                }
            }
        }
        Ok(text)
    }

    fn add_group(&self, parts: &[TemplatePart], text: &mut Vec<u8>) -> Result<(), MaterialFault> {
        let start = text.len();
        for part in parts {
            match self.value(part)? {
                Some(value) => text.extend_from_slice(&value),
                None => {
                    // A missing value removes the whole group, including the parts before it.
                    text.truncate(start);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Returns the text of one part; `None` if its value is missing.
    fn value(&self, part: &TemplatePart) -> Result<Option<Cow<'_, [u8]>>, MaterialFault> {
        let (head, body) = (self.whole.head(), self.whole.body());
        let path_query = || read_head::path_query(head);
        Ok(match part {
            TemplatePart::Literal(text) => Some(Cow::Owned(text.as_bytes().to_vec())),
            TemplatePart::Body => Some(Cow::Borrowed(body)),
            TemplatePart::Timestamp => self.timestamp.map(Cow::Borrowed),
            TemplatePart::Id => self.id.map(Cow::Borrowed),
            TemplatePart::Method => Some(Cow::Borrowed(head.method.as_str().as_bytes())),
            TemplatePart::LowerMethod => {
                let method = head.method.as_str().to_ascii_lowercase();
                Some(Cow::Owned(method.into_bytes()))
            }
            TemplatePart::Path => Some(Cow::Owned(self.below_base(head.uri.path()))),
            TemplatePart::PathQuery => Some(Cow::Owned(self.below_base(&path_query()))),
            TemplatePart::Url => Some(self.url(&path_query())),
            TemplatePart::UrlNoQuery => Some(self.url(head.uri.path())),
            TemplatePart::Host => Some(Cow::Borrowed(public_url::host(self.public_url).as_bytes())),
            TemplatePart::UrlDecoded => Some(self.url(&hubspot_unescape(path_query()))),
            TemplatePart::Header(name) => self.whole.read(&SchemeLocation::Header(name.clone()))?,
            TemplatePart::LowerHeader(name) => {
                let value = self.whole.read(&SchemeLocation::Header(name.clone()))?;
                value.map(|value| Cow::Owned(value.to_ascii_lowercase()))
            }
            TemplatePart::Entry(name) => self.entry(name)?,
            TemplatePart::Query(name) => self.whole.read(&SchemeLocation::Query(name.clone()))?,
            TemplatePart::LowerQuery(name) => {
                let value = self.whole.read(&SchemeLocation::Query(name.clone()))?;
                value.map(|value| Cow::Owned(value.to_ascii_lowercase()))
            }
            TemplatePart::Form(name) => self.whole.read(&SchemeLocation::Form(name.clone()))?,
            TemplatePart::Json(pointer) => {
                self.whole.read(&SchemeLocation::Json(pointer.clone()))?
            }
            TemplatePart::BodyDigest(algorithm, encoding) => digest(*algorithm, body)
                .map(|digest| Cow::Owned(sign::encode(*encoding, digest.as_bytes()).into_bytes())),
            TemplatePart::BodyOrForm(name) => Some(self.body_or_form(name)?),
            TemplatePart::BodyJsonString => Some(Cow::Owned(self.json_string()?)),
            TemplatePart::FormSorted => Some(Cow::Owned(self.form_sorted()?)),
            TemplatePart::UrlFormSorted => Some(Cow::Owned(self.url_form_sorted()?)),
            TemplatePart::FormOrDigest(name) => Some(Cow::Owned(self.form_or_digest(name)?)),
            TemplatePart::ListedHeaders(name) => Some(Cow::Owned(self.listed_headers(name)?)),
            // The parser ensures that a group contains no group and no secret.
            TemplatePart::Group(_) | TemplatePart::Secret => None,
        })
    }

    fn missing(&self, part: &TemplatePart) -> MaterialFault {
        match part {
            TemplatePart::Header(name) | TemplatePart::LowerHeader(name) => {
                MaterialFault::missing(name.as_str())
            }
            TemplatePart::Query(name)
            | TemplatePart::LowerQuery(name)
            | TemplatePart::Form(name)
            | TemplatePart::Entry(name) => MaterialFault::missing(name),
            TemplatePart::Json(pointer) => SchemeLocation::Json(pointer.clone()).missing(),
            _ => MaterialFault::missing("a part of the signed text"),
        }
    }

    fn url(&self, rest: &str) -> Cow<'static, [u8]> {
        Cow::Owned([self.public_url.as_bytes(), rest.as_bytes()].concat())
    }

    /// Returns the path that the sender calls, with the base path of `public_url`.
    fn below_base(&self, rest: &str) -> Vec<u8> {
        let base = public_url::base_path(self.public_url);
        [base.as_bytes(), rest.as_bytes()].concat()
    }

    /// Returns the only value of another entry in the signature's list.
    fn entry(&self, name: &str) -> Result<Option<Cow<'_, [u8]>>, MaterialFault> {
        let mut found = self.entries.iter().filter(|(key, _)| key == name);
        let value = found.next().map(|(_, value)| value.as_bytes());
        match found.next() {
            Some(_) => Err(MaterialFault::malformed(name, "occurs twice")),
            None => Ok(value.map(Cow::Borrowed)),
        }
    }

    fn json_string(&self) -> Result<Vec<u8>, MaterialFault> {
        let fault = |fault| MaterialFault::malformed("the body", fault);
        let text = std::str::from_utf8(self.whole.body()).map_err(|_| fault("is not text"))?;
        // JSON cannot contain these bytes, and each of them would become six signed characters.
        let is_bare = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
        if text.bytes().any(is_bare) {
            return Err(fault("is not JSON"));
        }
        serde_json::to_vec(text).map_err(|_| fault("is not text"))
    }

    /// Returns the fields of a form whose names and values are joined in the signed text with nothing between them.
    ///
    /// Such a text has several readings, and no check can tell them apart: `a=bc` and `ab=c` are signed alike, and so is
    /// the end of a query with the start of the first field. This rejects forms that no sender writes: JSON in the place of
    /// the form, a field without a name, and a name that could be the query of a URL without one.
    fn joined_fields(&self) -> Result<&[form_field::FormField<'_>], MaterialFault> {
        let malformed = |fault| MaterialFault::malformed("the body", fault);
        if form::is_like_json(self.whole.body()) {
            return Err(malformed(
                "is JSON, and the signed text has fields of a form",
            ));
        }
        let fields = self.whole.form().map_err(malformed)?;
        let is_open =
            |(name, _): &form_field::FormField<'_>| name.is_empty() || name.starts_with('?');
        match fields.iter().any(is_open) {
            true => Err(malformed(
                "has a field whose name could be a part of the URL or of a value",
            )),
            false => Ok(fields),
        }
    }

    /// Joins the sorted fields of a form, without duplicates, as Twilio's libraries do.
    fn form_sorted(&self) -> Result<Vec<u8>, MaterialFault> {
        if multipart::boundary(self.whole.head().headers).is_ok_and(|found| found.is_some()) {
            let fault = "is a multipart form, and this scheme does not sign the contents of files";
            return Err(MaterialFault::malformed("the body", fault));
        }
        let mut sorted = form::sorted(self.joined_fields()?);
        sorted.dedup();
        let parts = sorted.iter().flat_map(|(name, value)| [*name, *value]);
        Ok(parts.collect::<String>().into_bytes())
    }

    /// Composes the text of Plivo's version 3: `URL[?query][.][fields]`. A name may occur several times, with its
    /// values sorted.
    fn url_form_sorted(&self) -> Result<Vec<u8>, MaterialFault> {
        let head = self.whole.head();
        let body = self.whole.body();
        if !body.is_empty() && !form::is_form(head.headers) {
            return Err(MaterialFault::malformed("the body", "is not a form"));
        }
        let fields = self.joined_fields()?;
        let fault = |fault| MaterialFault::malformed("the query", fault);
        // Empty parameters would not appear in the signed text, so a client could add them.
        if head
            .uri
            .query()
            .is_some_and(|query| query.split('&').any(str::is_empty))
        {
            return Err(fault("has an empty parameter"));
        }
        // Plivo unescapes the parameters before it sorts them.
        let query = form::fields(head.uri.query().unwrap_or_default().as_bytes());
        let query = query.map_err(fault)?;
        let pairs: Vec<String> = form::sorted(&query)
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let mut text = self.url(head.uri.path()).into_owned();
        if !pairs.is_empty() || !fields.is_empty() {
            text.push(b'?');
            text.extend_from_slice(pairs.join("&").as_bytes());
        }
        // The dot separates query and fields, and is there only if both are.
        if !pairs.is_empty() && !fields.is_empty() {
            text.push(b'.');
        }
        for (name, value) in form::sorted(fields) {
            text.extend_from_slice(name.as_bytes());
            text.extend_from_slice(value.as_bytes());
        }
        Ok(text)
    }

    /// Returns the body, or the only field of a form. A client could add other fields without changing the signed text.
    fn body_or_form(&self, name: &str) -> Result<Cow<'_, [u8]>, MaterialFault> {
        if !form::is_form(self.whole.head().headers) {
            return Ok(Cow::Borrowed(self.whole.body()));
        }
        let fault = |fault| MaterialFault::malformed("the body", fault);
        match self.whole.form().map_err(fault)? {
            [(only, value)] if only == name => Ok(Cow::Borrowed(value.as_bytes())),
            _ => Err(fault("is a form with fields that are not signed")),
        }
    }

    fn form_or_digest(&self, name: &str) -> Result<Vec<u8>, MaterialFault> {
        let head = self.whole.head();
        let place = SchemeLocation::Query(name.to_owned());
        let Some(shown) = self.whole.read(&place)? else {
            return if form::is_form(head.headers) || self.whole.body().is_empty() {
                self.form_sorted()
            } else {
                Err(place.missing())
            };
        };
        let expected = digest(DigestAlgorithm::Sha256, self.whole.body());
        let expected = expected.map(|digest| HEXLOWER.encode(digest.as_bytes()));
        // The client knows both values, so the comparison need not be constant-time.
        if expected.is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(&shown)) {
            return Ok(Vec::new());
        }
        Err(place.malformed("is not the SHA-256 of the body"))
    }

    fn listed_headers(&self, name: &HeaderName) -> Result<Vec<u8>, MaterialFault> {
        let fault = |fault| MaterialFault::malformed(name.as_str(), fault);
        let head = self.whole.head();
        let list = read_head::read_header(head, name)?;
        let list = std::str::from_utf8(list).map_err(|_| fault("is not text"))?;
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        for listed in list.split(',') {
            if entries.len() >= MAX_LISTED {
                return Err(fault("lists too many headers"));
            }
            let listed: HeaderName = listed
                .trim()
                .parse()
                .map_err(|_| fault("lists something that is not a header name"))?;
            // One long header that is listed 64 times would make a text of several megabytes.
            if !seen.insert(listed.clone()) {
                return Err(fault("lists a header twice"));
            }
            let value = read_head::read_header(head, &listed)?;
            entries.push([listed.as_str().as_bytes(), b":", value.trim_ascii()].concat());
        }
        Ok(entries.join(&b';'))
    }
}

fn hubspot_unescape(mut text: String) -> String {
    for (escape, plain) in HUBSPOT_UNESCAPED {
        // RFC 3986 section 2.1: the digits of an escape may have either case.
        let lower = escape.to_ascii_lowercase();
        for escape in [escape, lower.as_str()] {
            if text.contains(escape) {
                text = text.replace(escape, plain.encode_utf8(&mut [0; 4]));
            }
        }
    }
    text
}

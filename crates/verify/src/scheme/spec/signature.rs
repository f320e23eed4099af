//! Location and format of a signature and of its timestamp.

use crate::scheme::spec::location::SchemeLocation;

/// Location and format of the signature: `{ header = "X-Sig", prefix = "sha256=" }`, or in a list such as
/// `{ header = "Stripe-Signature", list = ",", key = "v1", assign = "=" }` or
/// `{ header = "webhook-signature", list = " ", key = "v1", assign = "," }`.
#[derive(Clone, Debug)]
pub struct SignatureSpec {
    /// Location of the value, such as a header.
    pub location: SchemeLocation,
    /// Pointer to the signature in a JSON object, if the value is base64 of one.
    pub base64_json: Option<Vec<String>>,
    /// Text that is required in front of the encoded signature.
    pub prefix: String,
    /// Format of the list, if the value has several entries.
    pub list: Option<ListSpec>,
}

/// Format of a list: `key<assign>value` entries, or bare values if `key` is empty, with `separator` between them.
#[derive(Clone, Debug)]
pub struct ListSpec {
    /// Character between entries of the list.
    pub separator: char,
    /// Key of the entries that are signatures; other entries are ignored. Empty: each entry is a signature.
    pub key: String,
    /// Character between key and value.
    pub assign: char,
    /// Accepts signatures under any key.
    pub any_key: bool,
    /// Ignores spaces around entries, and a comma after each of them.
    pub trim: bool,
    /// Requires double quotes around values.
    pub is_quoted: bool,
    /// Character between sets of entries, if the value has several sets, each with its own timestamp.
    pub sets: Option<char>,
}

impl TimestampSpec {
    /// Returns whether the timestamp has a location of its own, or is an entry that this signature's list can contain.
    #[must_use]
    pub fn is_beside(&self, signature: &SignatureSpec) -> bool {
        let (Some(key), Some(list)) = (&self.key, &signature.list) else {
            return self.key.is_none();
        };
        let is_bare = list.key.is_empty() && !list.any_key;
        self.location == signature.location && key.is_empty() == is_bare
    }
}

/// Location and unit of the timestamp.
#[derive(Clone, Debug)]
pub struct TimestampSpec {
    /// Location of the value, such as a header.
    pub location: SchemeLocation,
    /// For lists, the key of the entry with the timestamp, which must occur exactly once. Empty: the first of entries
    /// without keys.
    pub key: Option<String>,
    /// Unit or format of the timestamp.
    pub unit: TimeUnit,
}

/// Unit or format of a timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// Seconds since the Unix epoch.
    Seconds,
    /// Milliseconds since the Unix epoch.
    Millis,
    /// Text in the format of RFC 3339.
    Rfc3339,
    /// Text as in the header `Date` (RFC 9110 section 5.6.7), only in its current format.
    HttpDate,
    /// Milliseconds if it has more than 11 digits, else seconds.
    SecondsOrMillis,
}

//! Newtypes for names and ids, so that a route name cannot be taken for an event id.

use std::fmt;
use std::sync::Arc;

/// Names one request in answers, logs and towards the app: a UUID of version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// A new id for the given wall clock time in milliseconds; the rest is random.
    #[must_use]
    pub fn new(unix_ms: i64, random: [u8; 10]) -> Self {
        let millis = u64::try_from(unix_ms).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The 16 bytes of the id, as stores keep it.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id of 16 bytes that [`Self::as_bytes`] gave.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// The wall clock time from which it was made, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        i64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Reads the 36 characters of an id; none where it is no id of this form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let id = uuid::Uuid::try_parse(text).ok()?;
        (text.len() == 36).then_some(Self(id))
    }

    /// The 36 characters of the id.
    pub fn encode<'a>(&self, buffer: &'a mut [u8; 36]) -> &'a str {
        self.0.hyphenated().encode_lower(buffer)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The name of a route, as in `[routes.NAME]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RouteName(Arc<str>);

impl RouteName {
    /// Wraps a name that the config has checked.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a destination, as in `[routes.NAME.destinations.NAME]`; unique within its route.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct DestinationName(Arc<str>);

impl DestinationName {
    /// Wraps a name that the config has checked.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DestinationName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The sender's id of an event: any text of 1 to 1024 bytes. Senders use times, names and URLs as ids, in any script; the
/// places that print one escape it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct EventId(Arc<str>);

impl EventId {
    /// Bytes of the longest id.
    pub const MAX_BYTES: usize = 1024;

    /// Wraps an id. None where the text is empty or too long.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (1..=Self::MAX_BYTES)
            .contains(&text.len())
            .then(|| Self(text.into()))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

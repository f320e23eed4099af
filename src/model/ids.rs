//! Newtypes for names and ids.
//!
//! They keep a route name from being passed where an event id belongs.

use std::fmt;
use std::sync::Arc;

/// The id of one request in responses, logs and upstream headers: a UUID of version 7 (RFC 9562), so ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId(uuid::Uuid);

impl RequestId {
    /// Builds an id from a wall clock time in milliseconds and random bits for the rest.
    #[must_use]
    pub fn new(unix_ms: i64, random: [u8; 10]) -> Self {
        // A clock before 1970 must not stop requests: the random bits still make the id unique.
        let millis = u64::try_from(unix_ms).unwrap_or(0);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// Returns the 16 bytes of the id, which is the form that stores write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Rebuilds an id from the 16 bytes that [`Self::as_bytes`] returned.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// Returns the wall clock time inside the id, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        // The first 48 bits of a UUID of version 7 are the time (RFC 9562, section 5.7).
        let [a, b, c, d, e, f, ..] = *self.0.as_bytes();
        i64::from_be_bytes([0, 0, a, b, c, d, e, f])
    }

    /// Parses the hyphenated form of 36 characters, or returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        // `try_parse` also takes braces, `urn:uuid:` and the form without hyphens; an id has one form only.
        let id = uuid::Uuid::try_parse(text).ok()?;
        (text.len() == 36).then_some(Self(id))
    }

    /// Writes the hyphenated form of 36 characters in lower case.
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
    /// Wraps a name that the config has already checked.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name as in the config.
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
    /// Wraps a name that the config has already checked.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Returns the name as in the config, without that of its route.
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

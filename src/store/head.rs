//! The head of a stored event as bytes: method, target, host, source, digest and headers.
//!
//! Each text follows its length and is not escaped, so decoding returns exactly what was encoded, in the same order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::store::rows::StoredEvent;

/// Version of the encoding, so that others may follow.
const FORM: u8 = 1;

/// The parts of an event that a delivery needs beside its body.
pub(in crate::store) struct EventHead {
    pub(in crate::store) source: IpAddr,
    pub(in crate::store) is_tls: bool,
    pub(in crate::store) method: Method,
    pub(in crate::store) target: String,
    pub(in crate::store) host: Option<String>,
    pub(in crate::store) headers: HeaderMap,
    pub(in crate::store) digest: [u8; 32],
}

impl EventHead {
    /// Returns a placeholder for a head that cannot be decrypted.
    pub(in crate::store) fn unknown() -> Self {
        Self {
            source: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            is_tls: false,
            method: Method::POST,
            target: String::new(),
            host: None,
            headers: HeaderMap::new(),
            digest: [0; 32],
        }
    }

    pub(in crate::store) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = HeadReader(bytes);
        // A later version may write another encoding. The event then counts as unreadable.
        if reader.byte()? != FORM {
            return None;
        }
        let flags = reader.byte()?;
        let digest = *reader.take(32)?.first_chunk()?;
        let source = match flags & IS_V6 {
            0 => IpAddr::V4(Ipv4Addr::from(*reader.take(4)?.first_chunk::<4>()?)),
            _ => IpAddr::V6(Ipv6Addr::from(*reader.take(16)?.first_chunk::<16>()?)),
        };
        let method = Method::from_bytes(reader.text()?).ok()?;
        let target = String::from_utf8(reader.text()?.to_vec()).ok()?;
        let host = match flags & HAS_HOST {
            0 => None,
            _ => Some(String::from_utf8(reader.text()?.to_vec()).ok()?),
        };
        let mut headers = HeaderMap::new();
        while !reader.0.is_empty() {
            let name = HeaderName::from_bytes(reader.text()?).ok()?;
            let value = HeaderValue::from_bytes(reader.text()?).ok()?;
            headers.append(name, value);
        }
        Some(Self {
            source,
            is_tls: flags & IS_TLS != 0,
            method,
            target,
            host,
            headers,
            digest,
        })
    }
}

pub(in crate::store) fn encode(event: &StoredEvent) -> Vec<u8> {
    let mut flags = 0;
    for (flag, is_set) in [
        (IS_TLS, event.is_tls),
        (HAS_HOST, event.host.is_some()),
        (IS_V6, event.source.is_ipv6()),
    ] {
        flags |= if is_set { flag } else { 0 };
    }
    let mut bytes = Vec::with_capacity(512);
    bytes.extend_from_slice(&[FORM, flags]);
    bytes.extend_from_slice(&event.digest);
    match event.source {
        IpAddr::V4(address) => bytes.extend_from_slice(&address.octets()),
        IpAddr::V6(address) => bytes.extend_from_slice(&address.octets()),
    }
    put(&mut bytes, event.method.as_str().as_bytes());
    put(&mut bytes, event.target.as_bytes());
    if let Some(host) = &event.host {
        put(&mut bytes, host.as_bytes());
    }
    for (name, value) in &event.headers {
        put(&mut bytes, name.as_str().as_bytes());
        put(&mut bytes, value.as_bytes());
    }
    bytes
}

const IS_TLS: u8 = 1;
const HAS_HOST: u8 = 2;
const IS_V6: u8 = 4;

fn put(bytes: &mut Vec<u8>, text: &[u8]) {
    // Heads are bounded far below what four bytes can express.
    let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(text);
}

struct HeadReader<'a>(&'a [u8]);

impl<'a> HeadReader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(*self.take(4)?.first_chunk()?);
        self.take(usize::try_from(length).ok()?)
    }
}

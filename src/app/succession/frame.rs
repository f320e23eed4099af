//! Messages between a process and its successor, as JSON.
//!
//! Both may be of different versions: unknown fields are ignored, and a frame that is unknown ends the takeover before it
//! changes anything.

use hookgate_verify::identity::dedup_key::DedupKey;
use http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::app::succession::sockets::HandedSocket;
use crate::gate::dedup::ClaimChange;

/// One message.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "frame", rename_all = "snake_case")]
pub(super) enum SuccessionFrame {
    /// Successor: takes over, with the ids of its own process and of the main process of the service.
    Hello { pid: u32, main: u32 },
    /// Predecessor: its listening sockets, whose descriptors follow.
    Sockets { names: Vec<HandedSocket> },
    /// Successor: needs the store.
    WantStore,
    /// Predecessor: the store can be opened.
    StoreFree,
    /// Successor: is complete, and serves from `Go` on.
    Ready,
    /// Predecessor: changes of claims of a route.
    Claims {
        route: String,
        changes: Vec<ClaimEntry>,
    },
    /// Predecessor: all claims up to here are known.
    Go,
    /// Successor: accepts connections.
    Serving,
    /// Predecessor: accepts no more connections, and is no longer the main process of the service.
    MainProcess,
    /// Operator: reload the config, or upgrade if the program has changed.
    Reload,
    /// Gate: the request of the operator was done.
    Done { text: String },
    /// Gate: the request failed, and nothing has changed.
    Refused { text: String },
}

/// A change of one claim: key in hexadecimal digits, kind, status.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ClaimEntry(String, ChangeKind, u16);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ChangeKind {
    Claimed,
    Released,
    Spent,
}

impl ClaimEntry {
    pub(super) fn new(key: DedupKey, change: ClaimChange) -> Self {
        let (kind, status) = match change {
            ClaimChange::Claimed => (ChangeKind::Claimed, 0),
            ClaimChange::Released(status) => (ChangeKind::Released, status.as_u16()),
            ClaimChange::Spent(status) => (ChangeKind::Spent, status.as_u16()),
        };
        let key = data_encoding::HEXLOWER.encode(&key.to_bytes());
        Self(key, kind, status)
    }

    /// Returns the change, or `None` if the entry does not fit.
    pub(super) fn read(&self) -> Option<(DedupKey, ClaimChange)> {
        let bytes = data_encoding::HEXLOWER.decode(self.0.as_bytes()).ok()?;
        let key = DedupKey::from_bytes(bytes.try_into().ok()?);
        let status = || StatusCode::from_u16(self.2).ok();
        let change = match self.1 {
            ChangeKind::Claimed => ClaimChange::Claimed,
            ChangeKind::Released => ClaimChange::Released(status()?),
            ChangeKind::Spent => ClaimChange::Spent(status()?),
        };
        Some((key, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Fails when a change does not arrive as it was sent.
    #[test]
    fn changes_of_claims_arrive_as_they_were_sent() {
        let key = DedupKey::of_id("evt_1");
        for change in [
            ClaimChange::Claimed,
            ClaimChange::Released(StatusCode::BAD_GATEWAY),
            ClaimChange::Spent(StatusCode::ACCEPTED),
        ] {
            let text = serde_json::to_string(&ClaimEntry::new(key, change)).unwrap();
            let read: ClaimEntry = serde_json::from_str(&text).unwrap();
            assert_eq!(read.read(), Some((key, change)));
        }
        let broken: ClaimEntry = serde_json::from_str(r#"["abc", "spent", 200]"#).unwrap();
        assert_eq!(broken.read(), None);
    }
}

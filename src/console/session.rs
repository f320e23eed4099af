//! Sessions of logged-in visitors, kept in memory only.
//!
//! A restart logs out every visitor. A session holds the token of its visitor, and the API checks that token again for
//! every page: when a token leaves the config, its sessions end.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use parking_lot::{Mutex, MutexGuard};
use sha2::{Digest, Sha256};

use crate::model::clock;

/// Longest life of a session: a working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// A session ends after this time without a request.
const IDLE: Duration = Duration::from_secs(2 * 3600);

/// Bound on sessions. Only a valid token opens one; at the bound the least recently used session ends.
const MAX_SESSIONS: usize = 64;

/// All sessions, by the digest of their ids, so that leaked memory reveals no usable id.
pub(super) struct SessionTable {
    by_digest: Mutex<HashMap<[u8; 32], StoredSession>>,
    /// Form token for visitors without a session, on a listener that needs no login.
    open_form_token: String,
}

struct StoredSession {
    session: ConsoleSession,
    began: Instant,
    used: Instant,
}

/// The part of a session that pages use.
#[derive(Clone)]
pub(super) struct ConsoleSession {
    /// `Bearer` and the token. Marked as sensitive, so that `Debug` prints no token.
    pub(super) bearer: HeaderValue,
    /// Token in each form. A page of another site cannot know it.
    pub(super) form_token: String,
}

impl SessionTable {
    pub(super) fn new() -> Self {
        Self {
            by_digest: Mutex::new(HashMap::new()),
            open_form_token: random(),
        }
    }

    /// Returns the form token for visitors without a session.
    pub(super) fn open_form_token(&self) -> String {
        self.open_form_token.clone()
    }

    /// Begins a session and returns its id, of which only the visitor keeps a copy.
    pub(super) fn begin(&self, mut bearer: HeaderValue) -> String {
        bearer.set_sensitive(true);
        let session = ConsoleSession {
            bearer,
            form_token: random(),
        };
        let id = random();
        let now = clock::instant();
        let mut kept = self.live_sessions(now);
        // A client that logs in again and again must not make the gate grow.
        while kept.len() >= MAX_SESSIONS {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else {
                break;
            };
            kept.remove(&oldest);
        }
        let began = StoredSession {
            session,
            began: now,
            used: now,
        };
        kept.insert(digest(&id), began);
        id
    }

    /// Returns the session with this id, if it has not expired, and marks it as used.
    pub(super) fn find(&self, id: &str) -> Option<ConsoleSession> {
        // An empty id is one that was made without random bytes: any visitor could send it.
        if id.is_empty() {
            return None;
        }
        let now = clock::instant();
        let mut all = self.live_sessions(now);
        let kept = all.get_mut(&digest(id))?;
        kept.used = now;
        Some(kept.session.clone())
    }

    /// Ends the session with this id, if there is one.
    pub(super) fn end(&self, id: &str) {
        self.live_sessions(clock::instant()).remove(&digest(id));
    }

    /// Locks the sessions and drops those that expired before `now`.
    fn live_sessions(&self, now: Instant) -> MutexGuard<'_, HashMap<[u8; 32], StoredSession>> {
        let mut kept = self.by_digest.lock();
        kept.retain(|_, kept| {
            now.saturating_duration_since(kept.began) < LIFE
                && now.saturating_duration_since(kept.used) < IDLE
        });
        kept
    }
}

/// Lifetime of the session cookie in seconds.
pub(super) const LIFE_SECONDS: u64 = LIFE.as_secs();

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

/// Returns 256 random bits in hexadecimal digits.
fn random() -> String {
    let mut bytes = [0; 32];
    // Without random bytes the result is empty, never guessable: an empty form token matches no form, so nothing can be
    // changed.
    match rand::fill(&mut bytes) {
        Ok(()) => HEXLOWER.encode(&bytes),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &SessionTable, token: &'static str) -> String {
        sessions.begin(HeaderValue::from_static(token))
    }

    #[test]
    fn a_session_is_found_until_it_is_ended() {
        let sessions = SessionTable::new();
        let id = begin(&sessions, "Bearer a");
        let session = sessions.find(&id).unwrap();
        assert_eq!(session.bearer, "Bearer a");
        assert_eq!(format!("{:?}", session.bearer), "Sensitive");
        assert_ne!(session.form_token, id);
        assert!(sessions.find("").is_none());
        sessions.end(&id);
        assert!(sessions.find(&id).is_none());
    }

    // Fails when a session whose id could not be made is open to a cookie without a value.
    #[test]
    fn a_session_without_an_id_is_found_by_nothing() {
        let sessions = SessionTable::new();
        let id = begin(&sessions, "Bearer a");
        let mut kept = sessions.live_sessions(clock::instant());
        let session = kept.remove(&digest(&id)).unwrap();
        kept.insert(digest(""), session);
        drop(kept);
        assert!(sessions.find("").is_none());
    }

    // Fails when a client that logs in again and again makes the gate grow.
    #[test]
    fn sessions_are_bounded() {
        let sessions = SessionTable::new();
        let first = begin(&sessions, "Bearer first");
        let second = begin(&sessions, "Bearer second");
        for _ in 2..MAX_SESSIONS {
            begin(&sessions, "Bearer other");
        }
        assert!(sessions.find(&first).is_some());
        begin(&sessions, "Bearer one more");
        assert!(sessions.find(&first).is_some(), "it was used last");
        assert!(sessions.find(&second).is_none());
        assert_eq!(sessions.live_sessions(clock::instant()).len(), MAX_SESSIONS);
    }

    #[test]
    fn sessions_end_by_themselves() {
        let sessions = SessionTable::new();
        let id = begin(&sessions, "Bearer a");
        let now = clock::instant();
        assert_eq!(
            sessions
                .live_sessions(now + IDLE - Duration::from_secs(1))
                .len(),
            1
        );
        assert_eq!(
            sessions
                .live_sessions(now + IDLE + Duration::from_secs(1))
                .len(),
            0
        );
        assert!(sessions.find(&id).is_none());
    }
}

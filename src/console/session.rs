//! Who is logged in. Sessions live in memory: a restart logs everybody out.
//!
//! A session holds what its visitor logged in with, and the API judges that anew for every page: a token that the config
//! no longer has ends its sessions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::rand;
use data_encoding::HEXLOWER;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::model::clock;

/// A working day.
const LIFE: Duration = Duration::from_secs(12 * 3600);

/// Without a page asked for.
const IDLE: Duration = Duration::from_secs(2 * 3600);

/// Only who has a token makes one; beyond them the one that was used least lately goes.
const MAX_SESSIONS: usize = 64;

/// All sessions, by the digest of their ids: memory that leaks opens none.
pub(super) struct Sessions {
    by_digest: Mutex<HashMap<[u8; 32], Kept>>,
    /// Stands in forms where nobody has to log in.
    open_form_token: String,
}

struct Kept {
    session: Session,
    began: Instant,
    used: Instant,
}

/// What a page needs of a session.
#[derive(Clone)]
pub(super) struct Session {
    /// `Bearer` and the token. Marked, so that no `Debug` shows it.
    pub(super) bearer: HeaderValue,
    /// Stands in each form: a page of somebody else does not know it.
    pub(super) form_token: String,
}

impl Sessions {
    pub(super) fn new() -> Self {
        Self {
            by_digest: Mutex::new(HashMap::new()),
            open_form_token: random(),
        }
    }

    /// The form token where nobody has to log in.
    pub(super) fn open_form_token(&self) -> String {
        self.open_form_token.clone()
    }

    /// Begins a session and returns its id, which only the visitor keeps.
    pub(super) fn begin(&self, mut bearer: HeaderValue) -> String {
        bearer.set_sensitive(true);
        let session = Session {
            bearer,
            form_token: random(),
        };
        let id = random();
        let now = clock::instant();
        let mut kept = self.kept(now);
        while kept.len() >= MAX_SESSIONS {
            let oldest = kept.iter().min_by_key(|(_, kept)| kept.used);
            let Some(oldest) = oldest.map(|(digest, _)| *digest) else {
                break;
            };
            kept.remove(&oldest);
        }
        let began = Kept {
            session,
            began: now,
            used: now,
        };
        kept.insert(digest(&id), began);
        id
    }

    /// The session of an id, if it is not over.
    pub(super) fn find(&self, id: &str) -> Option<Session> {
        let now = clock::instant();
        let mut all = self.kept(now);
        let kept = all.get_mut(&digest(id))?;
        kept.used = now;
        Some(kept.session.clone())
    }

    /// Ends a session.
    pub(super) fn end(&self, id: &str) {
        self.kept(clock::instant()).remove(&digest(id));
    }

    /// Those that are not over.
    fn kept(&self, now: Instant) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Kept>> {
        let mut kept = self
            .by_digest
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, kept| {
            now.saturating_duration_since(kept.began) < LIFE
                && now.saturating_duration_since(kept.used) < IDLE
        });
        kept
    }
}

/// How long a browser keeps the cookie.
pub(super) const LIFE_SECONDS: u64 = LIFE.as_secs();

fn digest(id: &str) -> [u8; 32] {
    Sha256::digest(id.as_bytes()).into()
}

/// 256 bits that nobody can guess.
fn random() -> String {
    let mut bytes = [0; 32];
    // Without random bytes no session is better than one that can be guessed: an empty id is never found.
    match rand::fill(&mut bytes) {
        Ok(()) => HEXLOWER.encode(&bytes),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(sessions: &Sessions, token: &'static str) -> String {
        sessions.begin(HeaderValue::from_static(token))
    }

    #[test]
    fn a_session_is_found_until_it_is_ended() {
        let sessions = Sessions::new();
        let id = begin(&sessions, "Bearer a");
        let session = sessions.find(&id).unwrap();
        assert_eq!(session.bearer, "Bearer a");
        assert_eq!(format!("{:?}", session.bearer), "Sensitive");
        assert_ne!(session.form_token, id);
        assert!(sessions.find("").is_none());
        sessions.end(&id);
        assert!(sessions.find(&id).is_none());
    }

    // Fails when whoever logs in again and again makes the gate grow.
    #[test]
    fn sessions_are_bounded() {
        let sessions = Sessions::new();
        let first = begin(&sessions, "Bearer first");
        let second = begin(&sessions, "Bearer second");
        for _ in 2..MAX_SESSIONS {
            begin(&sessions, "Bearer other");
        }
        assert!(sessions.find(&first).is_some());
        begin(&sessions, "Bearer one more");
        assert!(sessions.find(&first).is_some(), "it was used last");
        assert!(sessions.find(&second).is_none());
        assert_eq!(sessions.kept(clock::instant()).len(), MAX_SESSIONS);
    }

    #[test]
    fn sessions_end_by_themselves() {
        let sessions = Sessions::new();
        let id = begin(&sessions, "Bearer a");
        let now = clock::instant();
        assert_eq!(sessions.kept(now + IDLE - Duration::from_secs(1)).len(), 1);
        assert_eq!(sessions.kept(now + IDLE + Duration::from_secs(1)).len(), 0);
        assert!(sessions.find(&id).is_none());
    }
}

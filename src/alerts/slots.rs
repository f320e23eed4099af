//! Four weeks of quarter hours, one bit for each.

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// Length of a slot.
pub(super) const SLOT_MS: i64 = 15 * 60_000;

/// Slots of a week.
pub(super) const WEEK: i64 = 7 * 24 * 4;

/// Slots of a day.
pub(super) const DAY: i64 = 24 * 4;

/// Slots that a ring holds.
pub(super) const HELD: i64 = 4 * WEEK;

const BYTES: usize = (HELD / 8) as usize;

/// The last four weeks up to the newest marked slot: which quarter hours are marked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(from = "StoredRing", into = "StoredRing")]
pub(super) struct SlotRing {
    newest: Option<i64>,
    bits: Vec<u8>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredRing {
    newest: Option<i64>,
    bits: String,
}

/// Returns the slot of a time.
pub(super) fn slot_of(unix_ms: i64) -> i64 {
    unix_ms.div_euclid(SLOT_MS)
}

impl Default for SlotRing {
    fn default() -> Self {
        Self {
            newest: None,
            bits: vec![0; BYTES],
        }
    }
}

impl SlotRing {
    /// Marks a slot. Slots between the newest one and this one stay unmarked. Returns whether anything changed.
    pub(super) fn mark(&mut self, slot: i64) -> bool {
        let newest = self.newest.unwrap_or(slot.saturating_sub(1));
        if slot > newest {
            // The bits of a former round of the ring must not appear as marks of the slots in between.
            for passed in (newest + 1..=slot).take(HELD as usize) {
                self.set(passed, false);
            }
            self.newest = Some(slot);
        }
        if self.has(slot) || slot <= newest.saturating_sub(HELD) {
            return false;
        }
        self.set(slot, true);
        true
    }

    /// Returns whether a slot is marked. Slots outside of the four weeks are not.
    pub(super) fn has(&self, slot: i64) -> bool {
        let is_held = self
            .newest
            .is_some_and(|newest| slot <= newest && slot > newest - HELD);
        let (byte, bit) = position(slot);
        is_held && self.bits.get(byte).is_some_and(|bits| bits & bit != 0)
    }

    /// Returns the newest slot that was marked.
    pub(super) fn newest(&self) -> Option<i64> {
        self.newest
    }

    fn set(&mut self, slot: i64, is_marked: bool) {
        let (byte, bit) = position(slot);
        if let Some(bits) = self.bits.get_mut(byte) {
            match is_marked {
                true => *bits |= bit,
                false => *bits &= !bit,
            }
        }
    }
}

/// Returns the byte of a slot, and its bit in it.
fn position(slot: i64) -> (usize, u8) {
    let index = slot.rem_euclid(HELD);
    let byte = usize::try_from(index / 8).unwrap_or(0);
    (byte, 1 << (index % 8))
}

impl From<SlotRing> for StoredRing {
    fn from(ring: SlotRing) -> Self {
        Self {
            newest: ring.newest,
            bits: BASE64.encode(&ring.bits),
        }
    }
}

impl From<StoredRing> for SlotRing {
    fn from(stored: StoredRing) -> Self {
        let bits = BASE64.decode(stored.bits.as_bytes()).unwrap_or_default();
        // A damaged row is learned again.
        match bits.len() == BYTES {
            true => Self {
                newest: stored.newest,
                bits,
            },
            false => Self::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails if a mark of a former round of the ring shows up again, or if a mark is lost by storing it.
    #[test]
    fn marks_are_forgotten_after_four_weeks_and_survive_a_restart() {
        let mut ring = SlotRing::default();
        assert!(!ring.has(5) && ring.newest().is_none());
        assert!(ring.mark(5) && !ring.mark(5));
        assert!(ring.mark(7) && ring.mark(6));
        assert!(ring.has(5) && ring.has(6) && ring.has(7) && !ring.has(8));
        let text = serde_json::to_string(&ring).unwrap();
        assert_eq!(serde_json::from_str::<SlotRing>(&text).unwrap(), ring);
        assert!(ring.mark(5 + HELD));
        assert!(!ring.has(5) && ring.has(6) && ring.has(5 + HELD));
        // Too old to be held.
        assert!(!ring.mark(5));
        ring.mark(6 + 10 * HELD);
        let held = (5 * HELD..12 * HELD).filter(|slot| ring.has(*slot)).count();
        assert_eq!(held, 1);
        let damaged: SlotRing = serde_json::from_str(r#"{"newest":3,"bits":"AA=="}"#).unwrap();
        assert_eq!(damaged, SlotRing::default());
    }
}

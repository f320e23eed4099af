//! Flags of a file that two processes share, as its handles and its writer see them.

use std::sync::atomic::{AtomicBool, Ordering};

/// The state of a file that two processes share.
pub(super) struct FileSharing {
    is_wanted: AtomicBool,
    is_shared: AtomicBool,
    has_predecessor: AtomicBool,
}

impl FileSharing {
    pub(super) fn new(has_predecessor: bool) -> Self {
        Self {
            is_wanted: AtomicBool::new(false),
            is_shared: AtomicBool::new(false),
            has_predecessor: AtomicBool::new(has_predecessor),
        }
    }

    /// Returns whether this process leaves, so that another one may have the file.
    pub(super) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Acquire)
    }

    /// Returns whether a process that leaves may still write to the file.
    pub(super) fn has_predecessor(&self) -> bool {
        self.has_predecessor.load(Ordering::Acquire)
    }

    pub(super) fn set_predecessor(&self, has_predecessor: bool) {
        self.has_predecessor
            .store(has_predecessor, Ordering::Release);
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    pub(super) fn set_wanted(&self, is_wanted: bool) {
        self.is_wanted.store(is_wanted, Ordering::Release);
    }

    pub(super) fn set_shared(&self, is_shared: bool) {
        self.is_shared.store(is_shared, Ordering::Release);
    }
}

//! Locks of counters.

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Code under these locks only inserts, removes or replaces whole values, so a panic leaves no partial state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Counting calls, and saying which of them fail.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Every n-th call of one kind fails.
#[derive(Debug)]
pub(super) struct Fault {
    what: &'static str,
    pub(super) every: u64,
    calls: AtomicU64,
}

impl Fault {
    /// None fails until `every` is set.
    pub(super) fn none(what: &'static str) -> Self {
        Self::every(what, 0)
    }

    /// Call number `every`, and each multiple of it, fails.
    pub(super) fn every(what: &'static str, every: u64) -> Self {
        Self { what, every, calls: AtomicU64::new(0) }
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Counts a call.
    ///
    /// # Errors
    /// [`Error::External`] when it is one that fails.
    pub(super) fn strike(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if self.every > 0 && call.is_multiple_of(self.every) {
            return Err(Error::external(self.what, format!("call {call} fails")));
        }
        Ok(())
    }
}

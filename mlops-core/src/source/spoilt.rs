//! Writes that must not go on.

use crate::{Error, Result};

/// Remembers whether a write failed half-way: some rows of a batch may be there then, and others not.
#[derive(Debug, Default)]
pub(crate) struct Spoilt(bool);

impl Spoilt {
    /// Begins to write a batch: until [`done`](Self::done), everything counts as spoilt.
    ///
    /// # Errors
    /// What [`ensure_whole`](Self::ensure_whole) says.
    pub(crate) fn writing(&mut self) -> Result<()> {
        self.ensure_whole()?;
        self.0 = true;
        Ok(())
    }

    /// The batch is written.
    pub(crate) fn done(&mut self) {
        self.0 = false;
    }

    /// # Errors
    /// [`Error::Invalid`] when a batch was begun and not done.
    pub(crate) fn ensure_whole(&self) -> Result<()> {
        if self.0 {
            return Err(Error::invalid("writer", "one whose write failed", "a writer whose writes all succeeded"));
        }
        Ok(())
    }
}

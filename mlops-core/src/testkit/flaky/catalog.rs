//! A catalog that fails and dawdles on purpose.

use std::time::Duration;

use super::fault::Fault;
use crate::catalog::{Catalog, Entry, Revision};
use crate::{Digest, Name, Result};

/// A catalog around another: calls fail with [`Error::External`](crate::Error::External), and take longer.
#[derive(Debug)]
pub struct FlakyCatalog<C> {
    inner: C,
    calls: Fault,
    answers: Fault,
    delay: Duration,
}

impl<C> FlakyCatalog<C> {
    /// `inner` as it is.
    pub fn new(inner: C) -> Self {
        let (calls, answers) = (Fault::none("flaky catalog"), Fault::none("flaky answer"));
        Self { inner, calls, answers, delay: Duration::ZERO }
    }

    /// Fails call number `n`, `2n`, `3n` … of any kind, before it does anything; 1 fails all, 0 none.
    pub fn fail_every(mut self, n: u64) -> Self {
        self.calls.every = n;
        self
    }

    /// Fails `put` number `n`, `2n`, `3n` … of those that succeeded: the answer is lost, not the deed.
    pub fn lose_put_every(mut self, n: u64) -> Self {
        self.answers.every = n;
        self
    }

    /// Sleeps for `delay` before each call.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.calls()
    }

    fn trouble(&self) -> Result<()> {
        std::thread::sleep(self.delay);
        self.calls.strike()
    }
}

impl<C: Catalog> Catalog for FlakyCatalog<C> {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        self.trouble()?;
        let revision = self.inner.put(entry, expected)?;
        self.answers.strike()?;
        Ok(revision)
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        self.trouble()?;
        self.inner.get(name)
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        self.trouble()?;
        self.inner.history(name)
    }

    fn list(&self) -> Result<Vec<Name>> {
        self.trouble()?;
        self.inner.list()
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        self.trouble()?;
        self.inner.by_digest(digest)
    }
}

//! A catalog in memory: for tests, and for programs whose catalog ends with them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Catalog, Entry, KIND, Revision, ensure_unchanged, not_found};
use crate::{Digest, Error, Name, Result};

/// Entries in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryCatalog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Revision `n` is at `n - 1`.
    entries: BTreeMap<Name, Vec<Entry>>,
    digests: BTreeMap<Digest, Entry>,
}

impl MemoryCatalog {
    /// An empty catalog.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Both maps only ever grow by whole entries, so a panic elsewhere does not spoil them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn latest(entries: &[Entry]) -> Revision {
    Revision(entries.len() as u64)
}

impl Catalog for MemoryCatalog {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        let mut state = self.lock();
        let found = state.entries.get(&entry.name).map_or(Revision(0), |entries| latest(entries));
        ensure_unchanged(&entry.name, expected, found)?;
        state.digests.insert(entry.digest, entry.clone());
        state.entries.entry(entry.name.clone()).or_default().push(entry.clone());
        Ok(found.next())
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        let state = self.lock();
        let entries = state.entries.get(name).ok_or_else(|| not_found(name))?;
        let entry = entries.last().ok_or_else(|| not_found(name))?;
        Ok((entry.clone(), latest(entries)))
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        self.lock().entries.get(name).cloned().ok_or_else(|| not_found(name))
    }

    fn list(&self) -> Result<Vec<Name>> {
        Ok(self.lock().entries.keys().cloned().collect())
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        let found = self.lock().digests.get(digest).cloned();
        found.ok_or_else(|| Error::not_found(KIND, digest.to_string()))
    }
}

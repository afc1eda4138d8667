//! Definitions in memory: for tests, and for programs that bring theirs with them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mlops_core::catalog::Revision;

use super::{DefinitionStore, ensure_unchanged, not_found};
use crate::definitions::Deployment;
use crate::error::Result;

/// Definitions in memory. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemoryDefinitions {
    /// Revision `n` is at `n - 1`.
    revisions: Arc<Mutex<Vec<Deployment>>>,
}

impl MemoryDefinitions {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Deployment>> {
        // The list only ever grows by whole revisions, so a panic elsewhere does not spoil it.
        self.revisions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DefinitionStore for MemoryDefinitions {
    fn load(&self) -> Result<(Deployment, Revision)> {
        let revisions = self.lock();
        Ok((revisions.last().cloned().unwrap_or_default(), Revision(revisions.len() as u64)))
    }

    fn at(&self, revision: Revision) -> Result<Deployment> {
        let place = usize::try_from(revision.0).ok().and_then(|number| number.checked_sub(1));
        let found = place.and_then(|place| self.lock().get(place).cloned());
        Ok(found.ok_or_else(|| not_found(revision))?)
    }

    fn put(&self, deployment: &Deployment, expected: Revision) -> Result<Revision> {
        let mut revisions = self.lock();
        ensure_unchanged(expected, Revision(revisions.len() as u64))?;
        revisions.push(deployment.clone());
        Ok(expected.next())
    }
}

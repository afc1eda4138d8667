//! Blobs in memory: for tests and throw-away runs.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ArtifactStore, Blob, Sha256, VerifyingReader};
use crate::{Error, Result};

/// Blobs in memory; gone with the process.
#[derive(Debug, Default)]
pub struct MemoryArtifacts(Mutex<BTreeMap<Sha256, Arc<[u8]>>>);

impl MemoryArtifacts {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Sha256, Arc<[u8]>>> {
        // Every critical section leaves the map whole, so a panic elsewhere does not make it unusable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ArtifactStore for MemoryArtifacts {
    fn put(&self, content: &mut dyn Read) -> Result<Blob> {
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|e| mlops_core::Error::io("artifact content", e))?;
        let blob = Blob { digest: Sha256::of(&bytes), size: bytes.len() as u64 };
        self.blobs().insert(blob.digest, bytes.into());
        Ok(blob)
    }

    fn open(&self, digest: &Sha256) -> Result<Box<dyn Read + Send>> {
        let bytes = self.blobs().get(digest).cloned();
        let bytes = bytes.ok_or_else(|| Error::not_found("artifact", digest.to_string()))?;
        Ok(Box::new(VerifyingReader::new(Cursor::new(bytes), *digest)))
    }

    fn size(&self, digest: &Sha256) -> Result<Option<u64>> {
        Ok(self.blobs().get(digest).map(|bytes| bytes.len() as u64))
    }

    fn list(&self) -> Result<Vec<Blob>> {
        Ok(self.blobs().iter().map(|(digest, bytes)| Blob { digest: *digest, size: bytes.len() as u64 }).collect())
    }

    fn remove(&self, digest: &Sha256) -> Result<bool> {
        Ok(self.blobs().remove(digest).is_some())
    }
}

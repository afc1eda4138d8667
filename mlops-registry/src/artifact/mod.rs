//! Bytes by content: what is stored is named by its SHA-256, so a name from outside never becomes a path.
//!
//! [`ArtifactStore`] keeps blobs; a [`Manifest`] gives names to several of them and is itself a blob. Reading verifies:
//! bytes that are not those that were put come back as [`Corrupt`](mlops_core::Error::Corrupt), never as data.

mod digest;
mod file;
mod manifest;
mod memory;

pub use digest::Sha256;
pub use file::FileArtifacts;
pub use manifest::{Manifest, ManifestEntry};
pub use memory::MemoryArtifacts;

use std::fmt::Debug;
use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One stored blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blob {
    /// Its content's digest, which is its name.
    pub digest: Sha256,
    /// Its length in bytes.
    pub size: u64,
}

/// Content-addressed blobs.
///
/// # Contract
/// * What `put` returned for survives a crash, whole; a blob that was not completely put does not exist.
/// * Putting the same bytes again is a no-op that gives the same answer.
/// * A reader from `open` fails with [`Corrupt`](mlops_core::Error::Corrupt) (inside the I/O error) at the latest with
///   its last byte when the bytes are not those that were put.
/// * Memory does not grow with the size of a blob.
///
/// `testkit::artifact_store` checks these; run it on your own store.
pub trait ArtifactStore: Debug + Send + Sync + 'static {
    /// Stores everything that `content` gives.
    ///
    /// # Errors
    /// [`Io`](mlops_core::Error::Io) when reading or storing fails; nothing is stored then.
    fn put(&self, content: &mut dyn Read) -> Result<Blob>;

    /// Reads a blob, verifying it on the way.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when it was never put.
    fn open(&self, digest: &Sha256) -> Result<Box<dyn Read + Send>>;

    /// Size of a blob, `None` when it is not here.
    ///
    /// # Errors
    /// [`Io`](mlops_core::Error::Io) when the storage fails.
    fn size(&self, digest: &Sha256) -> Result<Option<u64>>;

    /// All blobs, sorted by digest.
    ///
    /// # Errors
    /// [`Io`](mlops_core::Error::Io) when the storage fails.
    fn list(&self) -> Result<Vec<Blob>>;

    /// Forgets a blob; `false` when it was not here.
    ///
    /// # Errors
    /// [`Io`](mlops_core::Error::Io) when the storage fails.
    fn remove(&self, digest: &Sha256) -> Result<bool>;
}

/// What can be done with every store. Not to be implemented by hand.
pub trait ArtifactStoreExt: ArtifactStore {
    /// Stores `bytes`.
    ///
    /// # Errors
    /// As [`ArtifactStore::put`].
    fn put_bytes(&self, bytes: &[u8]) -> Result<Blob> {
        self.put(&mut &*bytes)
    }

    /// Reads a whole blob of at most `size_max` bytes, verified.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound), [`Corrupt`](mlops_core::Error::Corrupt), or
    /// [`Invalid`](mlops_core::Error::Invalid) when the blob is larger than `size_max`.
    fn get(&self, digest: &Sha256, size_max: u64) -> Result<Vec<u8>> {
        let size = self.size(digest)?.ok_or_else(|| Error::not_found("artifact", digest.to_string()))?;
        if size > size_max {
            return Err(Error::invalid("artifact size", size, "within the caller's limit"));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut reader = self.open(digest)?.take(size_max.saturating_add(1));
        reader.read_to_end(&mut bytes).map_err(|e| read_error(digest, e))?;
        Ok(bytes)
    }

    /// Reads a blob to its end without keeping it.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) or [`Corrupt`](mlops_core::Error::Corrupt).
    fn verify(&self, digest: &Sha256) -> Result<u64> {
        let mut reader = self.open(digest)?;
        std::io::copy(&mut reader, &mut std::io::sink()).map_err(|e| read_error(digest, e))
    }

    /// Stores a manifest and gives the digest that stands for all of its blobs.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when one of its blobs is not here.
    fn put_manifest(&self, manifest: &Manifest) -> Result<Blob> {
        for entry in manifest.entries() {
            self.size(&entry.digest)?.ok_or_else(|| Error::not_found("artifact", entry.digest.to_string()))?;
        }
        self.put_bytes(&manifest.to_bytes()?)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// As [`get`](Self::get), and [`InvalidData`](mlops_core::Error::InvalidData) when the blob is not a manifest.
    fn manifest(&self, digest: &Sha256) -> Result<Manifest> {
        Manifest::from_bytes(&self.get(digest, manifest::MANIFEST_BYTES_MAX)?)
    }

    /// Reads a manifest and every byte that it names.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) or [`Corrupt`](mlops_core::Error::Corrupt) naming the blob.
    fn verify_manifest(&self, digest: &Sha256) -> Result<Manifest> {
        let manifest = self.manifest(digest)?;
        for entry in manifest.entries() {
            let size = self.verify(&entry.digest)?;
            if size != entry.size {
                return Err(Error::corrupt(format!("artifact {}", entry.digest), "its size is not the manifest's"));
            }
        }
        Ok(manifest)
    }
}

impl<S: ArtifactStore + ?Sized> ArtifactStoreExt for S {}

/// The typed error that a verifying reader carried inside an I/O error, or the I/O error itself.
fn read_error(digest: &Sha256, error: std::io::Error) -> Error {
    match error.downcast::<mlops_core::Error>() {
        Ok(ours) => Error::Core(ours),
        Err(io) => Error::Core(mlops_core::Error::io(format!("artifact {digest}"), io)),
    }
}

/// Hashes what passes through and compares at the end.
struct VerifyingReader<R> {
    inner: R,
    hasher: digest::Hasher,
    expected: Sha256,
    verified: bool,
}

impl<R: Read> VerifyingReader<R> {
    fn new(inner: R, expected: Sha256) -> Self {
        Self { inner, hasher: digest::Hasher::default(), expected, verified: false }
    }
}

impl<R: Read> Read for VerifyingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        if read == 0 && !buffer.is_empty() && !self.verified {
            if self.hasher.clone().finish() != self.expected {
                let error = mlops_core::Error::corrupt(format!("artifact {}", self.expected), "its digest is another");
                return Err(std::io::Error::other(error));
            }
            self.verified = true;
        }
        Ok(read)
    }
}

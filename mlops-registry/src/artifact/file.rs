//! Blobs as files: `<two hex digits>/<the other 62>` below one folder.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use mlops_core::file::{create_dir_all_synced, sync_dir};

use super::{ArtifactStore, Blob, Sha256, VerifyingReader, digest};
use crate::{Error, Result};

const CHUNK_BYTES: usize = 1 << 18;
const INCOMING: &str = "incoming";

/// Blobs in a folder, one file each, durable and verified.
///
/// A blob is written to `incoming/`, synced, renamed to its digest, and its folder synced; several processes may share
/// the folder.
///
/// # Examples
/// ```
/// use mlops_registry::artifact::{ArtifactStoreExt, FileArtifacts};
///
/// let folder = tempfile::tempdir()?;
/// let store = FileArtifacts::open(folder.path())?;
/// let blob = store.put_bytes(b"weights")?;
/// assert_eq!(store.get(&blob.digest, 1 << 20)?, b"weights");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileArtifacts {
    root: PathBuf,
}

fn at(path: &Path) -> impl Fn(std::io::Error) -> mlops_core::Error + '_ {
    move |e| mlops_core::Error::io(path, e)
}

impl FileArtifacts {
    /// Opens the store in `root`, creating it where there is none.
    ///
    /// # Errors
    /// [`Io`](mlops_core::Error::Io) when the folder cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        create_dir_all_synced(&root.join(INCOMING))?;
        Ok(Self { root })
    }

    fn path(&self, digest: &Sha256) -> PathBuf {
        let hex = digest.to_string();
        self.root.join(&hex[..2]).join(&hex[2..])
    }

    fn receive(content: &mut dyn Read, path: &Path) -> Result<Blob> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(at(path))?;
        let mut hasher = digest::Hasher::default();
        let mut size = 0;
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = match content.read(&mut chunk) {
                Ok(0) => break,
                Ok(read) => read,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(mlops_core::Error::io("artifact content", e).into()),
            };
            hasher.update(&chunk[..read]);
            file.write_all(&chunk[..read]).map_err(at(path))?;
            size += read as u64;
        }
        file.sync_all().map_err(at(path))?;
        Ok(Blob { digest: hasher.finish(), size })
    }

    /// Gives the blob its name, also where it is known already: whatever stands there (the same bytes, damaged ones, those
    /// of a writer whose rename is not durable yet) is replaced by bytes that are whole and synced.
    fn keep(&self, blob: Blob, incoming: &Path) -> Result<Blob> {
        let path = self.path(&blob.digest);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
            sync_dir(&self.root)?;
            fs::rename(incoming, &path).map_err(at(&path))?;
            sync_dir(parent)?;
        }
        Ok(blob)
    }
}

impl ArtifactStore for FileArtifacts {
    fn put(&self, content: &mut dyn Read) -> Result<Blob> {
        let incoming = self.root.join(INCOMING).join(uuid::Uuid::now_v7().simple().to_string());
        let stored = Self::receive(content, &incoming).and_then(|blob| self.keep(blob, &incoming));
        if stored.is_err() {
            // The first error is the one to report; a file left in `incoming` is never read.
            let _ = fs::remove_file(&incoming);
        }
        stored
    }

    fn open(&self, digest: &Sha256) -> Result<Box<dyn Read + Send>> {
        let path = self.path(digest);
        self.size(digest)?; // refuses links and other things that are no plain files
        match File::open(&path) {
            Ok(file) => Ok(Box::new(VerifyingReader::new(file, *digest))),
            Err(e) if e.kind() == ErrorKind::NotFound => Err(Error::not_found("artifact", digest.to_string())),
            Err(e) => Err(at(&path)(e).into()),
        }
    }

    fn size(&self, digest: &Sha256) -> Result<Option<u64>> {
        let path = self.path(digest);
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Err(Error::corrupt(path.display().to_string(), "it is not a regular file")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(at(&path)(e).into()),
        }
    }

    fn list(&self) -> Result<Vec<Blob>> {
        let mut blobs = Vec::new();
        for folder in fs::read_dir(&self.root).map_err(at(&self.root))? {
            let folder = folder.map_err(at(&self.root))?.path();
            let prefix = folder.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
            if prefix.len() != 2 {
                continue;
            }
            for file in fs::read_dir(&folder).map_err(at(&folder))? {
                let file = file.map_err(at(&folder))?;
                let name = format!("{prefix}{}", file.file_name().to_string_lossy());
                if let Ok(digest) = name.parse() {
                    blobs.push(Blob { digest, size: file.metadata().map_err(at(&folder))?.len() });
                }
            }
        }
        blobs.sort_unstable();
        Ok(blobs)
    }

    fn remove(&self, digest: &Sha256) -> Result<bool> {
        let path = self.path(digest);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(at(&path)(e).into()),
        }
    }
}

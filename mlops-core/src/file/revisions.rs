//! Numbered files that are never written again.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{AtomicFile, create_dir_all_synced};
use crate::{Error, Result};

/// The revisions of one document in a folder of its own: `00000001.json`, `00000002.json` … without gaps.
///
/// A new revision is one file that appears, whole and on disk, under a name that must not be taken yet. So of two writers
/// one wins without a lock that could be left behind, a kill at any point leaves either the revision or nothing, a reader
/// never waits, and two branches of git that add the same revision meet in a merge conflict. Hidden files are not looked at.
///
/// # Examples
/// ```
/// use mlops_core::file::RevisionFiles;
/// let folder = tempfile::tempdir()?;
/// let revisions = RevisionFiles::new(folder.path().join("note"));
/// assert_eq!(revisions.last()?, 0);
/// assert!(revisions.add(1, b"{}")?);
/// assert!(!revisions.add(1, b"{}")?);
/// assert_eq!(revisions.last()?, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RevisionFiles {
    folder: PathBuf,
}

impl RevisionFiles {
    /// Those in `folder`, which need not be there before something is added.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where revision `number` is, or would be.
    pub fn path(&self, number: u64) -> PathBuf {
        self.folder.join(file_name(number))
    }

    /// The number of revisions that are there.
    ///
    /// # Errors
    /// [`Error::InvalidData`] for a file of another name, [`Error::Corrupt`] when a revision is missing but later ones are there,
    /// [`Error::Io`] when the folder cannot be read.
    pub fn last(&self) -> Result<u64> {
        let numbers: BTreeSet<u64> = match visible(&self.folder, number_of) {
            Ok(numbers) => numbers.into_iter().collect(),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let last = numbers.last().copied().unwrap_or(0);
        if numbers.len() as u64 == last {
            return Ok(last);
        }
        for number in (1..last).filter(|number| !numbers.contains(number)) {
            // A listing may leave out what appeared while it was made, so look again.
            let path = self.path(number);
            if !path.exists() {
                return Err(Error::corrupt(path.display().to_string(), "it is missing, but later revisions are there"));
            }
        }
        Ok(last)
    }

    /// Adds `bytes` as revision `number`, which is the one after the last, and tells whether nobody else was faster.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails; nothing is added then.
    pub fn add(&self, number: u64, bytes: &[u8]) -> Result<bool> {
        create_dir_all_synced(&self.folder)?;
        let path = self.path(number);
        let mut file = AtomicFile::create(&path)?;
        file.write_all(bytes).map_err(|e| Error::io(&path, e))?;
        match file.commit_new() {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn file_name(revision: u64) -> String {
    format!("{revision:08}.json")
}

fn number_of(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".json")?.parse().ok().filter(|number| *number > 0)?;
    (file_name(number) == file).then_some(number)
}

/// What `of` makes of the names in `folder`, hidden ones apart.
///
/// # Errors
/// [`Error::InvalidData`] for a name that it makes nothing of, [`Error::Io`] when the folder cannot be read.
pub fn visible<T>(folder: &Path, of: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let failed = |e| Error::io(folder, e);
    let mut found = Vec::new();
    for item in fs::read_dir(folder).map_err(failed)? {
        let name = item.map_err(failed)?.file_name();
        let text = name.to_str().unwrap_or_default();
        if text.starts_with('.') {
            continue;
        }
        let foreign = || Error::invalid_data(folder.join(&name).display().to_string(), "it does not belong here");
        found.push(of(text).ok_or_else(foreign)?);
    }
    Ok(found)
}

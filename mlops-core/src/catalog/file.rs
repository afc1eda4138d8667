//! A catalog in a folder: one readable document per change of an entry, made to be kept in git.
//!
//! ```text
//! catalog.json                      which layout this is
//! .gitignore                        leaves out what a killed process may leave behind
//! entries/<label>-<digest>/         one folder per data set: the start of its name for people, the digest of it for us
//!     00000001.json                 its entry as it was put first
//!     00000002.json                 … and what it was changed to
//! ```
//! Documents are [`RevisionFiles`]: never written again, history is all of them. A name is data: no path is made of one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Catalog, Entry, KIND, Revision, document, ensure_unchanged, not_found};
use crate::document::open_folder;
use crate::file::{RevisionFiles, create_dir_all_synced, sync_dir, visible};
use crate::{Digest, Error, Name, Result};

const MARKER: &str = "catalog.json";
const ENTRIES: &str = "entries";
const MARKER_KIND: &str = "mlops catalog";
/// Layout of the folder.
const LAYOUT: u64 = 1;
/// Letters of a name that its folder shows.
const LABEL_CHARS: usize = 40;
/// Hex digits of the digest of a name in its folder: no two names meet in one.
const KEY_DIGITS: usize = 32;

/// Entries in a folder, durable and shared by any number of processes. Clones share what they have read.
///
/// A document that is damaged, truncated or of another kind is [`Error::Corrupt`] or [`Error::InvalidData`] naming the
/// file; other entries stay readable. Hidden files are not looked at.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::catalog::{Catalog, CatalogExt, Entry, FileCatalog};
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let folder = tempfile::tempdir()?;
/// let catalog = FileCatalog::open(folder.path())?;
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// catalog.register(&Entry::of(Name::new("customers")?, "crm", &data, EventTime::EPOCH)?)?;
///
/// let again = FileCatalog::open(folder.path())?;
/// assert_eq!(again.by_digest(&data.digest()?)?.owner, "crm");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileCatalog {
    root: PathBuf,
    known: Arc<Mutex<Known>>,
}

/// What was read of documents, which never change.
#[derive(Debug, Default)]
struct Known {
    /// The name that each folder is about.
    names: BTreeMap<String, Name>,
    /// Where content is described.
    digests: BTreeMap<Digest, (String, u64)>,
    /// Revisions of each folder that `digests` covers.
    covered: BTreeMap<String, u64>,
}

impl FileCatalog {
    /// Opens the catalog in `root`, creating it where there is nothing.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the folder holds other things or a catalog of a later layout, [`Error::Corrupt`] when its
    /// `catalog.json` is damaged, [`Error::Io`] when it cannot be made or read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        open_folder(&root, MARKER, MARKER_KIND, LAYOUT)?;
        create_dir_all_synced(&root.join(ENTRIES))?;
        Ok(Self { root, known: Arc::default() })
    }

    /// The folder that the catalog is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn revisions(&self, key: &str) -> RevisionFiles {
        RevisionFiles::new(self.root.join(ENTRIES).join(key))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The maps only ever grow by whole facts, so a panic elsewhere does not spoil them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads revision `number` of the data set in folder `key`.
    fn read(&self, key: &str, number: u64) -> Result<Entry> {
        let path = self.revisions(key).path(number);
        let (found, entry) = document::read_file(&path)?;
        if found != number {
            return Err(Error::corrupt(path.display().to_string(), format!("it holds revision {found}")));
        }
        if key_of(&entry.name) != key {
            return Err(Error::corrupt(path.display().to_string(), format!("it is about `{}`", entry.name)));
        }
        Ok(entry)
    }

    /// Keys of the folders that are there.
    fn keys(&self) -> Result<Vec<String>> {
        let folder = self.root.join(ENTRIES);
        visible(&folder, |key| if is_key(key) { Some(key.to_owned()) } else { None })
    }

    fn name_of(&self, key: &str) -> Result<Option<Name>> {
        let last = self.revisions(key).last()?;
        if last == 0 {
            return Ok(None); // a process was killed before its first document was there
        }
        if let Some(name) = self.lock().names.get(key) {
            return Ok(Some(name.clone()));
        }
        let name = self.read(key, last)?.name;
        self.lock().names.insert(key.to_owned(), name.clone());
        Ok(Some(name))
    }

    /// Looks into every document that was not looked into before. A damaged one does not hide the others: it is the
    /// error that is given in the end.
    fn cover(&self) -> Result<()> {
        let mut trouble = Ok(());
        for key in self.keys()? {
            let mut covered = self.lock().covered.get(&key).copied().unwrap_or(0);
            let last = match self.revisions(&key).last() {
                Ok(last) => last,
                Err(error) => {
                    trouble = Err(error);
                    continue;
                }
            };
            while covered < last {
                match self.read(&key, covered + 1) {
                    Ok(entry) => {
                        covered += 1;
                        self.lock().digests.insert(entry.digest, (key.clone(), covered));
                    }
                    Err(error) => {
                        trouble = Err(error);
                        break;
                    }
                }
            }
            self.lock().covered.insert(key, covered);
        }
        trouble
    }

    fn recall(&self, digest: &Digest) -> Option<Entry> {
        let (key, number) = self.lock().digests.get(digest).cloned()?;
        self.read(&key, number).ok().filter(|entry| entry.digest == *digest)
    }
}

impl Catalog for FileCatalog {
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision> {
        let revisions = self.revisions(&key_of(&entry.name));
        let text = document::write(entry, expected.next())?;
        ensure_unchanged(&entry.name, expected, Revision(revisions.last()?))?;
        if expected == Revision(0) {
            create_dir_all_synced(revisions.folder())?;
            // Where another process has just made the folder, it may not have come to this yet.
            sync_dir(&self.root.join(ENTRIES))?;
        }
        if revisions.add(expected.next().0, text.as_bytes())? {
            return Ok(expected.next());
        }
        let found = Revision(revisions.last()?.max(expected.next().0));
        ensure_unchanged(&entry.name, expected, found).map(|()| found)
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        let key = key_of(name);
        match self.revisions(&key).last()? {
            0 => Err(not_found(name)),
            last => Ok((self.read(&key, last)?, Revision(last))),
        }
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        let key = key_of(name);
        match self.revisions(&key).last()? {
            0 => Err(not_found(name)),
            last => (1..=last).map(|number| self.read(&key, number)).collect(),
        }
    }

    fn list(&self) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for key in self.keys()? {
            names.extend(self.name_of(&key)?);
        }
        names.sort_unstable();
        Ok(names)
    }

    fn by_digest(&self, digest: &Digest) -> Result<Entry> {
        if let Some(entry) = self.recall(digest) {
            return Ok(entry);
        }
        // What was remembered may have gone with a checkout of another branch: look at everything anew then.
        if self.lock().digests.remove(digest).is_some() {
            self.lock().covered.clear();
        }
        let covered = self.cover();
        match self.recall(digest) {
            Some(entry) => Ok(entry),
            None => covered.and(Err(Error::not_found(KIND, digest.to_string()))),
        }
    }
}

/// The folder of `name`: a label that is safe on every file system, case-blind ones too, and a digest that tells names apart.
fn key_of(name: &Name) -> String {
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_lowercase() } else { '-' };
    let label: String = name.as_str().chars().take(LABEL_CHARS).map(safe).collect();
    let digest = Digest::of(name.as_str()).to_string();
    format!("{label}-{}", &digest[..KEY_DIGITS])
}

fn is_key(folder: &str) -> bool {
    folder.rsplit_once('-').is_some_and(|(label, digits)| {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        !label.is_empty() && digits.len() == KEY_DIGITS && digits.bytes().all(hex)
    })
}

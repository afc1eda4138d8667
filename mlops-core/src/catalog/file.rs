//! A catalog in a folder: one readable document per change of an entry, made to be kept in git.
//!
//! ```text
//! catalog.json                      which layout this is
//! .gitignore                        leaves out what a killed process may leave behind
//! entries/<label>-<digest>/         one folder per data set: the start of its name for people, the digest of it for us
//!     00000001.json                 its entry as it was put first
//!     00000002.json                 … and what it was changed to
//! ```
//! A put is one file that appears, whole and on disk, under a name that must not be taken yet. So of two writers one wins
//! without a lock that could be left behind, a kill at any point leaves either the change or nothing, a reader never
//! waits, and two branches that change the same entry meet in a merge conflict. Documents are never written again:
//! history is all of them. A name is data: no path is made of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Catalog, Entry, KIND, Revision, document, ensure_unchanged, not_found};
use crate::file::{AtomicFile, create_dir_all_synced, sync_dir, write_bytes};
use crate::{Digest, Error, Name, Result};

const MARKER: &str = "catalog.json";
const ENTRIES: &str = "entries";
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
        create_dir_all_synced(&root)?;
        let marker = root.join(MARKER);
        if !marker.exists() {
            ensure_unused(&root)?;
            write_bytes(root.join(".gitignore"), b".mlops-*.tmp\n")?;
            write_bytes(&marker, document::marker().as_bytes())?;
        }
        document::check_marker(&marker)?;
        create_dir_all_synced(&root.join(ENTRIES))?;
        Ok(Self { root, known: Arc::default() })
    }

    /// The folder that the catalog is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn folder(&self, key: &str) -> PathBuf {
        self.root.join(ENTRIES).join(key)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // The maps only ever grow by whole facts, so a panic elsewhere does not spoil them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads revision `number` of the data set in folder `key`.
    fn read(&self, key: &str, number: u64) -> Result<Entry> {
        let path = self.folder(key).join(file_name(number));
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
        let last = last_revision(&self.folder(key))?;
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
            let last = match last_revision(&self.folder(&key)) {
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
        let folder = self.folder(&key_of(&entry.name));
        let text = document::write(entry, expected.next())?;
        ensure_unchanged(&entry.name, expected, Revision(last_revision(&folder)?))?;
        if expected == Revision(0) {
            create_dir_all_synced(&folder)?;
            // Where another process has just made the folder, it may not have come to this yet.
            sync_dir(&self.root.join(ENTRIES))?;
        }
        let path = folder.join(file_name(expected.next().0));
        let mut file = AtomicFile::create(&path)?;
        file.write_all(text.as_bytes()).map_err(|e| Error::io(&path, e))?;
        match file.commit_new() {
            Ok(_) => Ok(expected.next()),
            Err(Error::AlreadyExists { .. }) => {
                let found = Revision(last_revision(&folder)?.max(expected.next().0));
                ensure_unchanged(&entry.name, expected, found).map(|()| found)
            }
            Err(error) => Err(error),
        }
    }

    fn get(&self, name: &Name) -> Result<(Entry, Revision)> {
        let key = key_of(name);
        match last_revision(&self.folder(&key))? {
            0 => Err(not_found(name)),
            last => Ok((self.read(&key, last)?, Revision(last))),
        }
    }

    fn history(&self, name: &Name) -> Result<Vec<Entry>> {
        let key = key_of(name);
        match last_revision(&self.folder(&key))? {
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

fn file_name(revision: u64) -> String {
    format!("{revision:08}.json")
}

fn number_of(file: &str) -> Option<u64> {
    let number = file.strip_suffix(".json")?.parse().ok().filter(|number| *number > 0)?;
    (file_name(number) == file).then_some(number)
}

/// The number of revisions in `folder`, which are 1, 2, 3 … without gaps; 0 where there is no folder.
fn last_revision(folder: &Path) -> Result<u64> {
    let numbers: BTreeSet<u64> = match visible(folder, number_of) {
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
        let path = folder.join(file_name(number));
        if !path.exists() {
            return Err(Error::corrupt(path.display().to_string(), "it is missing, but later revisions are there"));
        }
    }
    Ok(last)
}

/// What `of` makes of the names in `folder`, hidden ones apart.
///
/// # Errors
/// [`Error::InvalidData`] for a name that it makes nothing of.
fn visible<T>(folder: &Path, of: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let failed = |e| Error::io(folder, e);
    let mut found = Vec::new();
    for item in fs::read_dir(folder).map_err(failed)? {
        let name = item.map_err(failed)?.file_name();
        let text = name.to_str().unwrap_or_default();
        if text.starts_with('.') {
            continue;
        }
        let foreign = || Error::invalid_data(folder.join(&name).display().to_string(), "no part of a catalog");
        found.push(of(text).ok_or_else(foreign)?);
    }
    Ok(found)
}

/// Checks that a folder without a marker is free to become a catalog.
fn ensure_unused(root: &Path) -> Result<()> {
    // Another process may be making the catalog right now; its marker comes before anything else.
    if visible(root, |_| Some(()))?.is_empty() || root.join(MARKER).exists() {
        return Ok(());
    }
    Err(Error::invalid_data(root.display().to_string(), "a folder with other things in it, not a catalog"))
}

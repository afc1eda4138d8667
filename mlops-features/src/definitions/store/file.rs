//! Definitions in a folder: one readable document per apply, made to be kept in git.
//!
//! ```text
//! definitions.json        which layout this is
//! .gitignore              leaves out what a killed process may leave behind
//! revisions/00000001.json what was applied first
//! revisions/00000002.json … and what was applied over it
//! ```

use std::path::{Path, PathBuf};

use mlops_core::catalog::Revision;
use mlops_core::document::{open_folder, read_file};
use mlops_core::file::RevisionFiles;

use super::document::{self, REVISION_BYTES_MAX};
use super::{DefinitionStore, ensure_unchanged, not_found};
use crate::definitions::Deployment;
use crate::error::Result;

const MARKER: &str = "definitions.json";
const MARKER_KIND: &str = "mlops definitions folder";
const LAYOUT: u64 = 1;
const REVISIONS: &str = "revisions";

/// Definitions in a folder, durable and shared by any number of processes.
///
/// A put is one file that appears, whole and on disk, under a name that must not be taken yet: of two writers one wins without
/// a lock, and a kill at any point leaves either the revision or nothing. A document that is damaged, truncated or of another
/// kind is `Core(Corrupt)` or `Core(InvalidData)` naming the file.
///
/// # Examples
/// ```
/// use mlops_features::definitions::{Definitions, DefinitionStoreExt, FileDefinitions};
/// use mlops_features::{Entity, KeyType};
///
/// let folder = tempfile::tempdir()?;
/// let store = FileDefinitions::open(folder.path())?;
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// store.apply_now(&Definitions::builder().with(customer).build()?)?;
///
/// let again = FileDefinitions::open(folder.path())?;
/// assert_eq!(again.definitions()?.entity("customer")?.keys().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileDefinitions {
    root: PathBuf,
    revisions: RevisionFiles,
}

impl FileDefinitions {
    /// Opens the store in `root`, creating it where there is nothing.
    ///
    /// # Errors
    /// `Core(InvalidData)` when the folder holds other things or a store of another layout, `Core(Corrupt)` when its
    /// `definitions.json` is damaged, `Core(Io)` when it cannot be made or read.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        open_folder(&root, MARKER, MARKER_KIND, LAYOUT)?;
        let revisions = RevisionFiles::new(root.join(REVISIONS));
        Ok(Self { root, revisions })
    }

    /// The folder that the store is in.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn read(&self, revision: Revision) -> Result<Deployment> {
        let path = self.revisions.path(revision.0);
        document::read(&path.display().to_string(), &read_file(&path, REVISION_BYTES_MAX)?, revision)
    }
}

impl DefinitionStore for FileDefinitions {
    fn load(&self) -> Result<(Deployment, Revision)> {
        match Revision(self.revisions.last()?) {
            Revision(0) => Ok((Deployment::default(), Revision(0))),
            last => Ok((self.read(last)?, last)),
        }
    }

    fn at(&self, revision: Revision) -> Result<Deployment> {
        let last = self.revisions.last()?;
        if revision.0 == 0 || revision.0 > last { Err(not_found(revision).into()) } else { self.read(revision) }
    }

    fn put(&self, deployment: &Deployment, expected: Revision) -> Result<Revision> {
        let next = expected.next();
        let text = document::write(deployment, next)?;
        ensure_unchanged(expected, Revision(self.revisions.last()?))?;
        if !self.revisions.add(next.0, text.as_bytes())? {
            ensure_unchanged(expected, Revision(self.revisions.last()?.max(next.0)))?;
        }
        Ok(next)
    }
}

//! Where definitions are kept.

mod document;
mod file;
mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use file::FileDefinitions;
pub use memory::MemoryDefinitions;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteDefinitions;

use std::fmt::Debug;

use mlops_core::catalog::Revision;

use super::Deployment;
use crate::error::{Core, Result};

/// What the thing in a store is called in errors.
const KIND: &str = "definitions";

/// A place that remembers what is applied, and all that ever was.
///
/// # Contract
/// * A new store is at [`Revision`] 0 and holds nothing.
/// * `put` replaces the whole only when it is still at the `expected` revision, and gives the next one; of two writers with the
///   same expectation one gets `Core(Conflict)`.
/// * What `put` returned for survives a crash; a reader sees all of it or what was there before, exactly as it was put.
/// * Nothing is forgotten: `at` gives every revision that ever was.
///
/// What may be put is judged by [`DefinitionStoreExt`](super::DefinitionStoreExt), which every store has: call that.
/// `testkit::definition_store` checks these; run it on your own store.
pub trait DefinitionStore: Debug + Send + Sync + 'static {
    /// What is there, with its revision.
    ///
    /// # Errors
    /// `Core(Corrupt)` when what is stored is damaged, `Core(Io)` when the storage fails.
    fn load(&self) -> Result<(Deployment, Revision)>;

    /// What was there at `revision`.
    ///
    /// # Errors
    /// `Core(NotFound)` when there was no such revision, and as [`load`](Self::load).
    fn at(&self, revision: Revision) -> Result<Deployment>;

    /// Stores `deployment` over the revision that the caller knows.
    ///
    /// # Errors
    /// `Core(Conflict)` when somebody else was faster, `Core(Invalid)` when it is too large to be stored, `Core(Io)` when the
    /// storage fails; nothing is changed then.
    fn put(&self, deployment: &Deployment, expected: Revision) -> Result<Revision>;
}

/// # Errors
/// `Core(Conflict)` when the caller knew another revision than the one that is there.
pub(super) fn ensure_unchanged(expected: Revision, found: Revision) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (expected, found) = (expected.to_string(), found.to_string());
    Err(Core::Conflict { kind: KIND, name: "all".to_owned(), expected, found }.into())
}

fn not_found(revision: Revision) -> Core {
    Core::not_found("revision of the definitions", revision.to_string())
}

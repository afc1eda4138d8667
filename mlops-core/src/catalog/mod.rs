//! What data there is: entries per data set, with owner, schema, sensitivity, digest and provenance.
//!
//! Entry points: [`Entry::of`] describes a data set, [`CatalogExt::register`] puts it where others find it with
//! [`CatalogExt::search_as`], [`CatalogExt::open_as`] reads what was found, [`Lineage::of`] tells what was made from what.
//! [`openlineage`] and [`croissant`] tell it to other systems. Default: [`FileCatalog`].

mod access;
pub mod croissant;
mod document;
mod entry;
mod escape;
mod ext;
mod file;
mod freshness;
mod lineage;
mod memory;
pub mod openlineage;
mod search;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statistics;
mod words;

pub use access::{Readers, Seen, guarded};
pub use document::ENTRY_BYTES_MAX;
pub use entry::{Column, Entry};
pub use ext::{CONFLICT_TRIES_MAX, CatalogExt};
pub use file::FileCatalog;
pub use freshness::{Freshness, Refresh};
pub use lineage::{
    DRAWN_EDGES_MAX, DRAWN_NODES_MAX, LINEAGE_SIZE_MAX, Lineage, LineageEdge, LineageNode, Reached, Trace, mermaid_text,
};
pub use memory::MemoryCatalog;
pub use search::{HITS_DEFAULT, HITS_MAX, Hit, Query};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteCatalog;
pub use statistics::{ColumnStatistics, Statistics};
pub use words::{QUERY_BYTES_MAX, Words};

use std::fmt::{self, Debug};

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Name, Result};

/// What the things in a catalog are called in errors.
const KIND: &str = "data set";

/// Counts the changes of one entry: 0 before the first, then 1, 2, 3 … without gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

impl Revision {
    /// The one after this.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A place that remembers entries.
///
/// # Contract
/// * `put` replaces an entry only when it still has the `expected` revision, and gives the next one; of two writers with the
///   same expectation one gets [`Error::Conflict`].
/// * What `put` returned for survives a crash; a reader sees a whole entry or none, exactly as it was put.
/// * Nothing is forgotten: `history` gives every entry that was ever put, in order, and every content digest that was ever
///   put stays resolvable through `by_digest`, so that lineage never breaks.
///
/// `testkit::catalog` checks these; run it on your own catalog.
pub trait Catalog: Debug + Send + Sync + 'static {
    /// Stores `entry` over the revision that the caller knows ([`Revision`] 0: none yet).
    ///
    /// # Errors
    /// [`Error::Conflict`] when somebody else was faster.
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision>;

    /// The entry of `name`, with its revision.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    fn get(&self, name: &Name) -> Result<(Entry, Revision)>;

    /// All that was ever put under `name`, oldest first: revision 1, 2, 3 …
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none.
    fn history(&self, name: &Name) -> Result<Vec<Entry>>;

    /// All names, sorted.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails.
    fn list(&self) -> Result<Vec<Name>>;

    /// The entry, present or past, whose content had `digest`; where there were several, any one of them.
    ///
    /// # Errors
    /// [`Error::NotFound`] when no such content was ever registered.
    fn by_digest(&self, digest: &Digest) -> Result<Entry>;
}

fn not_found(name: &Name) -> Error {
    Error::not_found(KIND, name.as_str())
}

/// # Errors
/// [`Error::Conflict`] when the caller knew another revision than the one that is there.
fn ensure_unchanged(name: &Name, expected: Revision, found: Revision) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let (name, expected, found) = (name.to_string(), expected.to_string(), found.to_string());
    Err(Error::Conflict { kind: KIND, name, expected, found })
}

#[cfg(test)]
mod tests;

//! What data there is: entries per data set, with owner, schema, sensitivity, digest and provenance.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::dataset::Provenance;
use crate::schema::{Role, Sensitivity};
use crate::source::SourceInfo;
use crate::time::EventTime;
use crate::{Digest, Name, Result};

/// One column, as a catalog keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Column name.
    pub name: String,
    /// Arrow type as text.
    pub data_type: String,
    /// Whether nulls may occur.
    pub nullable: bool,
    /// What it is for.
    pub role: Role,
    /// Who may see its values.
    pub sensitivity: Sensitivity,
    /// Unit, where one was stated.
    pub unit: Option<String>,
}

/// Who may read a data set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Readers {
    /// Whoever can reach the catalog.
    #[default]
    Everyone,
    /// These people or services only.
    Only(Vec<String>),
}

/// What a catalog knows of one data set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the data set.
    pub name: Name,
    /// Who answers for it.
    pub owner: String,
    /// What it is, in words.
    pub description: String,
    /// Who may read it.
    pub readers: Readers,
    /// Where it is, in what format, how large.
    pub source: SourceInfo,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: u64,
    /// Content digest.
    pub digest: Digest,
    /// What it was made from.
    pub provenance: Option<Provenance>,
    /// First registration.
    pub created: EventTime,
    /// Last registration.
    pub modified: EventTime,
    /// Free labels.
    pub tags: Vec<String>,
}

/// Counts the changes of one entry: 0 before the first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A place that remembers entries.
///
/// # Contract
/// * `put` replaces an entry only when it still has the `expected` revision, and gives the next one; of two writers with the
///   same expectation one gets [`Error::Conflict`](crate::Error::Conflict).
/// * What `put` returned for survives a crash; a reader sees a whole entry or none.
/// * Every content digest that was ever put stays resolvable through `by_digest`, so that lineage never breaks.
///
/// `testkit::catalog` checks these; run it on your own catalog.
pub trait Catalog: Debug + Send + Sync + 'static {
    /// Stores `entry` over the revision that the caller knows ([`Revision`] 0: none yet).
    ///
    /// # Errors
    /// [`Error::Conflict`](crate::Error::Conflict) when somebody else was faster.
    fn put(&self, entry: &Entry, expected: Revision) -> Result<Revision>;

    /// The entry of `name`, with its revision.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when there is none.
    fn get(&self, name: &Name) -> Result<(Entry, Revision)>;

    /// All names, sorted.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the storage fails.
    fn list(&self) -> Result<Vec<Name>>;

    /// The entry, present or past, whose content had `digest`.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) when no such content was ever registered.
    fn by_digest(&self, digest: &Digest) -> Result<Entry>;
}

//! Who may read what, and what everybody else sees.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ext::readable;
use super::{Catalog, CatalogExt, Entry, KIND, Revision};
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Dataset, Error, Name, Result, Schema};

/// Who may read a data set.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Readers {
    /// Whoever can reach the catalog.
    #[default]
    Everyone,
    /// These people or services only; the owner, too, only when named.
    Only(Vec<String>),
}

impl Readers {
    /// These people or services only.
    pub fn only(readers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Only(readers.into_iter().map(Into::into).collect())
    }

    /// Whether `reader` is one of them.
    pub fn allow(&self, reader: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Only(readers) => readers.iter().any(|allowed| allowed == reader),
        }
    }
}

/// An entry, as far as one reader may know it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seen {
    /// All of it.
    Whole {
        /// The entry.
        entry: Box<Entry>,
        /// Its revision.
        revision: Revision,
    },
    /// That it is there, and whom to ask for it. Schema, size, numbers, place, origin, words and labels stay hidden.
    Sealed {
        /// Name of the data set.
        name: Name,
        /// Who answers for it.
        owner: String,
    },
}

impl Seen {
    /// What `reader` may know of `entry`.
    pub fn by(reader: &str, entry: Entry, revision: Revision) -> Self {
        if entry.readers.allow(reader) {
            return Self::Whole { entry: Box::new(entry), revision };
        }
        Self::Sealed { name: entry.name, owner: entry.owner }
    }

    /// Name of the data set.
    pub fn name(&self) -> &Name {
        match self {
            Self::Whole { entry, .. } => &entry.name,
            Self::Sealed { name, .. } => name,
        }
    }

    /// The entry, where all of it may be known.
    pub fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Whole { entry, .. } => Some(entry),
            Self::Sealed { .. } => None,
        }
    }
}

impl Entry {
    /// Checks that `reader` may read the data set.
    ///
    /// # Errors
    /// [`Error::Forbidden`] when the entry names its readers and `reader` is none of them.
    pub fn ensure_readable_by(&self, reader: &str) -> Result<()> {
        if self.readers.allow(reader) {
            return Ok(());
        }
        let what = format!("{KIND} `{}`", self.name);
        Err(Error::Forbidden { who: format!("`{reader}`"), action: "read", what })
    }
}

/// As [`CatalogExt::open_as`], for a data set that is kept for long: whether `reader` may read it is looked up again at every
/// scan, so that a permission that was taken back ends what was opened with it.
///
/// # Errors
/// As [`CatalogExt::open_as`]; scans fail with [`Error::Forbidden`] once the permission is gone, and with what the catalog
/// fails with.
pub fn guarded(catalog: Arc<dyn Catalog>, name: &Name, reader: &str) -> Result<Dataset> {
    let data = catalog.open_as(name, reader)?;
    let provenance = data.provenance().cloned();
    let source = Guarded { catalog, name: name.clone(), reader: reader.to_owned(), data };
    let guarded = Dataset::from_source(Arc::new(source))?;
    Ok(match provenance {
        Some(provenance) => guarded.with_provenance(provenance),
        None => guarded,
    })
}

/// Rows behind a permission.
#[derive(Debug)]
struct Guarded {
    catalog: Arc<dyn Catalog>,
    name: Name,
    reader: String,
    data: Dataset,
}

impl DataSource for Guarded {
    fn info(&self) -> Result<SourceInfo> {
        self.data.info()
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.data.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        readable(self.catalog.as_ref(), &self.name, &self.reader)?;
        self.data.scan(request)
    }
}

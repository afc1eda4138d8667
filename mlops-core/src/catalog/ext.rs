//! What every catalog can do besides its contract.

use std::sync::Arc;

use super::{Catalog, Entry, Hit, Query, Revision, Seen, search};
#[cfg(doc)]
use crate::dataset::Provenance;
use crate::source::{CsvSource, DataSource, JsonSource, ParquetSource};
use crate::{Dataset, Error, Name, Result};

/// Times that [`CatalogExt::register`] and [`CatalogExt::update`] try again when somebody else was faster.
pub const CONFLICT_TRIES_MAX: usize = 100;

/// Conveniences on top of [`Catalog`], for every implementation.
pub trait CatalogExt: Catalog {
    /// Puts `entry` over whatever is there under its name, and gives its revision.
    ///
    /// The time of the first registration is kept. Where everything but the times is as it was already, nothing is put
    /// and the present revision is given: registering again, after a crash or a lost answer, changes nothing.
    ///
    /// Secrets among the parameters of its provenance are left out, as [`Provenance::redacted`] says.
    ///
    /// # Errors
    /// [`Error::Conflict`] when others were faster [`CONFLICT_TRIES_MAX`] times, and what the catalog fails with.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::catalog::{Catalog, CatalogExt, Entry, FileCatalog, Revision};
    /// use mlops_core::source::CsvSource;
    /// use mlops_core::{Clock, Dataset, Name, SystemClock};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("offers.csv");
    /// std::fs::write(&path, "offer,price\n1,100\n2,250\n")?;
    /// let offers = Dataset::from_source(std::sync::Arc::new(CsvSource::open(&path)?))?;
    ///
    /// let catalog = FileCatalog::open(folder.path().join("catalog"))?;
    /// let name = Name::new("offers")?;
    /// let entry = Entry::of(name.clone(), "pricing", &offers, SystemClock.now())?;
    /// assert_eq!(catalog.register(&entry)?, Revision(1));
    /// assert_eq!(catalog.open_as(&name, "mina")?.digest()?, entry.digest);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    fn register(&self, entry: &Entry) -> Result<Revision> {
        let entry = entry.clone().redacted();
        retried(|| match self.get(&entry.name) {
            Ok((found, revision)) => {
                let mut next = entry.clone();
                next.created = found.created;
                let unchanged = Entry { modified: found.modified, ..next.clone() } == found;
                if unchanged { Ok(revision) } else { self.put(&next, revision) }
            }
            Err(Error::NotFound { .. }) => self.put(&entry, Revision(0)),
            Err(error) => Err(error),
        })
    }

    /// Changes the entry of `name` by `change`, which is called again when somebody else was faster. Nothing is put where
    /// nothing changed.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no entry, [`Error::Invalid`] when `change` renames it, [`Error::Conflict`] when
    /// others were faster [`CONFLICT_TRIES_MAX`] times, and what the catalog fails with.
    fn update(&self, name: &Name, mut change: impl FnMut(&mut Entry)) -> Result<Revision> {
        retried(|| {
            let (found, revision) = self.get(name)?;
            let mut next = found.clone();
            change(&mut next);
            next = next.redacted();
            if next.name != found.name {
                return Err(Error::invalid("name", &next.name, "the name that the entry has already"));
            }
            if next == found { Ok(revision) } else { self.put(&next, revision) }
        })
    }

    /// What `reader` may know of the entry of `name`: all of it, or its name and owner.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no entry, and what the catalog fails with.
    fn look_as(&self, name: &Name, reader: &str) -> Result<Seen> {
        let (entry, revision) = self.get(name)?;
        Ok(Seen::by(reader, entry, revision))
    }

    /// The entries that `query` asks for, as far as `reader` may know them, the best first and then by name.
    ///
    /// An entry that the reader may not read is found by its name and its owner alone: no query tells what stands in it.
    /// Costs a read of the latest revision of every entry; memory is bounded by the limit of the query.
    ///
    /// # Errors
    /// What the catalog fails with.
    fn search_as(&self, query: &Query, reader: &str) -> Result<Vec<Hit>> {
        search::run(self, query, reader)
    }

    /// The data set of `name`, for `reader`, from the local CSV (commas, header), JSON-lines or Parquet file that its entry
    /// tells of, with the schema and provenance of the entry.
    ///
    /// The place is opened as the entry has it, relative places from the current folder: use catalogs whose writers you
    /// trust with your files. Content is not compared; [`Entry::verify`] does, for one scan.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no entry or no file, [`Error::Forbidden`] when `reader` may not read it,
    /// [`Error::Invalid`] when the format is not one of those (see [`open_with`](Self::open_with)), [`Error::Schema`] and
    /// [`Error::InvalidData`] when the file has other columns by now.
    fn open_as(&self, name: &Name, reader: &str) -> Result<Dataset> {
        let entry = readable(self, name, reader)?;
        let source = open_local(&entry)?;
        opened(&entry, source)
    }

    /// As [`open_as`](Self::open_as), from `source`: for other formats and places.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Forbidden`], and [`Error::Schema`] when `source` has other columns than the entry.
    fn open_with(&self, name: &Name, reader: &str, source: Arc<dyn DataSource>) -> Result<Dataset> {
        opened(&readable(self, name, reader)?, source)
    }
}

impl<C: Catalog + ?Sized> CatalogExt for C {}

fn retried(mut attempt: impl FnMut() -> Result<Revision>) -> Result<Revision> {
    for _ in 1..CONFLICT_TRIES_MAX {
        match attempt() {
            Err(Error::Conflict { .. }) => {}
            done => return done,
        }
    }
    attempt()
}

pub(super) fn readable<C: Catalog + ?Sized>(catalog: &C, name: &Name, reader: &str) -> Result<Entry> {
    let (entry, _) = catalog.get(name)?;
    entry.ensure_readable_by(reader)?;
    Ok(entry)
}

fn open_local(entry: &Entry) -> Result<Arc<dyn DataSource>> {
    let (place, schema) = (&entry.source.location, entry.schema()?);
    Ok(match entry.source.format.as_str() {
        "csv" => Arc::new(CsvSource::builder(place).schema(schema).build()?),
        "json_lines" => Arc::new(JsonSource::builder(place).schema(schema).build()?),
        "parquet" => Arc::new(ParquetSource::builder(place).schema(schema).build()?),
        other => return Err(Error::invalid("format", other, "csv, json_lines or parquet: open others with a source")),
    })
}

fn opened(entry: &Entry, source: Arc<dyn DataSource>) -> Result<Dataset> {
    let data = Dataset::from_source(source)?.with_schema(entry.schema()?)?;
    Ok(match &entry.provenance {
        Some(provenance) => data.with_provenance(provenance.clone()),
        None => data,
    })
}

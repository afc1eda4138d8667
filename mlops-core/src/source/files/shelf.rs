//! Where the files of one source lie.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::SCHEMA_FILE;
use super::listing::{self, Listing};
use crate::source::local::shown;
use crate::source::medium::Medium;
use crate::source::{DataSource, IpcSource, ParquetSource};
use crate::{Error, Result, Schema};

/// What files are listed in and read from.
pub(in crate::source) trait Shelf: Debug + Send + Sync + 'static {
    /// The data files of `place`: a folder, a pattern or a file.
    fn list(&self, place: &Path) -> Result<Listing>;

    /// The schema that whoever wrote the files of `place` has left beside them.
    fn kept_schema(&self, place: &Path) -> Result<Option<Schema>>;

    /// Checks that the folder `root` is still there.
    fn ensure(&self, root: &Path) -> Result<()>;

    /// How `place` is told.
    fn location(&self, place: &Path) -> String;

    /// What is read in place of the file at `path`, and its name in messages.
    fn stand_in(&self, path: &Path) -> Option<(PathBuf, Arc<dyn Medium>)>;

    /// The Parquet file at `path`; `schema` names the columns that are read, or all.
    fn parquet(&self, path: &Path, schema: Option<Schema>) -> Result<Arc<dyn DataSource>>;

    /// `error` of a reader of one of the files, as it is told.
    fn told(&self, error: Error) -> Error;
}

/// The file system.
#[derive(Debug)]
pub(super) struct Disk;

impl Shelf for Disk {
    fn list(&self, place: &Path) -> Result<Listing> {
        listing::list(place)
    }

    fn kept_schema(&self, place: &Path) -> Result<Option<Schema>> {
        let kept = place.join(SCHEMA_FILE);
        if place.is_dir() && kept.is_file() { IpcSource::open(&kept)?.schema().map(Some) } else { Ok(None) }
    }

    fn ensure(&self, root: &Path) -> Result<()> {
        std::fs::metadata(root).map(drop).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::not_found("folder", shown(root)),
            _ => Error::io(root, e),
        })
    }

    fn location(&self, place: &Path) -> String {
        shown(place)
    }

    fn stand_in(&self, _: &Path) -> Option<(PathBuf, Arc<dyn Medium>)> {
        None
    }

    fn parquet(&self, path: &Path, schema: Option<Schema>) -> Result<Arc<dyn DataSource>> {
        let builder = ParquetSource::builder(path);
        Ok(Arc::new(if let Some(schema) = schema { builder.schema(schema) } else { builder }.build()?))
    }

    fn told(&self, error: Error) -> Error {
        error
    }
}

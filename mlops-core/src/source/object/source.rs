//! Objects as sources.

use std::sync::Arc;

use object_store::path::Path as Key;

use super::parquet::ParquetObject;
use super::reader::{Object, unwrapped};
use super::store::{ObjectStore, key_of};
use crate::source::{
    BatchStream, CsvSource, CsvSourceBuilder, DataSource, FileFormat, IpcSource, JsonSource, JsonSourceBuilder,
    ParquetSource, ScanRequest, SourceInfo,
};
use crate::{Error, Result, Schema};

/// Rows of one object, in any of the file formats.
///
/// Of a Parquet object, a scan reads the footer and then the columns and row groups that are asked for, a row group at a time,
/// neighbouring columns in one request. Text and Arrow IPC are read in blocks of 8 MiB, one ahead. An object that is replaced
/// while it is read is [`Error::InvalidData`]; one that cannot be reached is [`Error::External`], after the retries of the store.
///
/// Made by [`ObjectStore::source`], [`ObjectStore::csv`], [`ObjectStore::json`] or [`open`](Self::open).
#[derive(Clone, Debug)]
pub struct ObjectStoreSource {
    inner: Arc<dyn DataSource>,
}

impl ObjectStoreSource {
    /// The object at `url`, in the format that the ending of its name says, with credentials from the environment.
    ///
    /// # Errors
    /// What [`ObjectStore::open`] and [`ObjectStore::source`] say.
    pub fn open(url: &str) -> Result<Self> {
        let (store, name) = ObjectStore::of_object(url)?;
        store.source(name)
    }
}

impl ObjectStore {
    /// The object at `key` as a source, in the format that the ending of its name says (see [`FileFormat`]). The dialect of a
    /// `.csv` is found by looking at it.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key with tricks or an ending that says no format, [`Error::NotFound`] when there is no object, and
    /// what the format's own `open` says.
    pub fn source(&self, key: &str) -> Result<ObjectStoreSource> {
        match FileFormat::of(key)? {
            FileFormat::Csv => self.csv(key, CsvSourceBuilder::sniff),
            FileFormat::Tsv => self.csv(key, |settings| settings.delimiter(b'\t')),
            FileFormat::JsonLines => self.json(key, |settings| settings),
            FileFormat::Parquet => self.parquet(key, None),
            FileFormat::ArrowIpc => self.ipc(key),
        }
    }

    /// The object at `key` as CSV, with the settings that `set` makes.
    ///
    /// # Errors
    /// As [`source`](Self::source), and what [`CsvSourceBuilder::build`] says.
    pub fn csv(&self, key: &str, set: impl FnOnce(CsvSourceBuilder) -> CsvSourceBuilder) -> Result<ObjectStoreSource> {
        let key = key_of(key)?;
        let settings = match &self.root {
            Some(root) => CsvSource::builder(root.join(key.as_ref())),
            None => CsvSource::builder(self.object(&key).path()).stand_in(Arc::new(self.object(&key))),
        };
        made(set(settings).build())
    }

    /// The object at `key` as JSON lines, with the settings that `set` makes.
    ///
    /// # Errors
    /// As [`source`](Self::source), and what [`JsonSourceBuilder::build`] says.
    pub fn json(
        &self,
        key: &str,
        set: impl FnOnce(JsonSourceBuilder) -> JsonSourceBuilder,
    ) -> Result<ObjectStoreSource> {
        let key = key_of(key)?;
        let settings = match &self.root {
            Some(root) => JsonSource::builder(root.join(key.as_ref())),
            None => JsonSource::builder(self.object(&key).path()).stand_in(Arc::new(self.object(&key))),
        };
        made(set(settings).build())
    }

    /// The object at `key` as Parquet; `schema` names the columns that are read, with their annotations, or all.
    ///
    /// # Errors
    /// As [`source`](Self::source), and what [`ParquetSourceBuilder::build`](crate::source::ParquetSourceBuilder::build) says.
    pub fn parquet(&self, key: &str, schema: Option<Schema>) -> Result<ObjectStoreSource> {
        let key = key_of(key)?;
        let Some(root) = &self.root else { return made(ParquetObject::open(self.object(&key), schema)) };
        let settings = ParquetSource::builder(root.join(key.as_ref()));
        made(match schema {
            Some(schema) => settings.schema(schema).build(),
            None => settings.build(),
        })
    }

    fn ipc(&self, key: &str) -> Result<ObjectStoreSource> {
        let key = key_of(key)?;
        made(match &self.root {
            Some(root) => IpcSource::open(root.join(key.as_ref())),
            None => IpcSource::builder(self.object(&key).path()).stand_in(Arc::new(self.object(&key))).build(),
        })
    }

    fn object(&self, key: &Key) -> Object {
        Object { remote: self.remote.clone(), key: key.clone() }
    }

    /// The store that the object at `url` is in, and its name there.
    pub(super) fn of_object(url: &str) -> Result<(Self, &str)> {
        let cut = url.rsplit_once('/').filter(|(folder, name)| !name.is_empty() && !folder.ends_with('/'));
        let Some((folder, name)) = cut else {
            return Err(Error::invalid("url", "a place without a name", "the URL of an object"));
        };
        Ok((Self::open(folder)?, name))
    }
}

fn made(source: Result<impl DataSource>) -> Result<ObjectStoreSource> {
    source.map(|source| ObjectStoreSource { inner: Arc::new(source) }).map_err(unwrapped)
}

impl DataSource for ObjectStoreSource {
    fn info(&self) -> Result<SourceInfo> {
        self.inner.info().map_err(unwrapped)
    }

    fn schema(&self) -> Result<Schema> {
        self.inner.schema().map_err(unwrapped)
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let stream = self.inner.scan(request).map_err(unwrapped)?;
        Ok(BatchStream::new(stream.schema().clone(), stream.map(|batch| batch.map_err(unwrapped))))
    }
}

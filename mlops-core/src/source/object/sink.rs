//! Objects as sinks.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use object_store::path::Path as Key;
use object_store::{MultipartUpload, ObjectStore as Client, ObjectStoreExt};
use tokio::task::JoinSet;

use super::store::{ObjectStore, key_of};
use crate::file::{Staging, create_dir_all_synced};
use crate::source::{DataSink, FileFormat, SinkWriter, Written};
use crate::{Error, Result, Schema};

/// Bytes up to which an object is put in one request, and of one part of a larger one at the least.
const PART_BYTES_MIN: u64 = 8 << 20;

/// Parts of one object: S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;

/// Parts that are under way at once.
const PARTS_AT_ONCE: usize = 4;

type Make = Arc<dyn Fn(&Path) -> Result<Box<dyn DataSink>> + Send + Sync>;

/// One object, in any of the file formats.
///
/// In a local folder, this is the sink of the format: temporary file, fsync, rename, fsync of the folder. For any other store,
/// the file is made in the temporary folder of this machine, whose disk must have room for it, and uploaded by the commit:
/// in one request up to 8 MiB, else in parts, four at a time. The object appears when its last request is answered. Until the
/// commit nothing is in the store that would have to be thrown away; an upload that fails is aborted, and one whose process
/// is killed leaves parts that the store's own rule for unfinished uploads removes.
#[derive(Clone)]
pub struct ObjectStoreSink {
    store: ObjectStore,
    key: Key,
    make: Make,
}

impl fmt::Debug for ObjectStoreSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectStoreSink").field("url", &self.store.remote.url_of(&self.key)).finish_non_exhaustive()
    }
}

impl ObjectStoreSink {
    /// The object at `url`, in the format that the ending of its name says, with credentials from the environment.
    ///
    /// # Errors
    /// What [`ObjectStore::open`] and [`ObjectStore::sink`] say.
    pub fn open(url: &str) -> Result<Self> {
        let (store, name) = ObjectStore::of_object(url)?;
        store.sink(name)
    }
}

impl ObjectStore {
    /// The object at `key` as a sink, in the format that the ending of its name says (see [`FileFormat`]).
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key with tricks or an ending that says no format.
    pub fn sink(&self, key: &str) -> Result<ObjectStoreSink> {
        let format = FileFormat::of(key)?;
        self.sink_by(key, move |path| format.sink(path))
    }

    /// The object at `key` as a sink that `make` makes for a file: any format, with any settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key with tricks.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::source::{CsvSink, ObjectStore};
    ///
    /// let store = ObjectStore::memory("reports");
    /// let sink = store.sink_by("today.csv", |path| Ok(Box::new(CsvSink::builder(path).delimiter(b';').build()?)))?;
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn sink_by(
        &self,
        key: &str,
        make: impl Fn(&Path) -> Result<Box<dyn DataSink>> + Send + Sync + 'static,
    ) -> Result<ObjectStoreSink> {
        let key = key_of(key)?;
        if key.is_root() {
            return Err(Error::invalid("key", "empty", "the name of an object"));
        }
        Ok(ObjectStoreSink { store: self.clone(), key, make: Arc::new(make) })
    }
}

impl DataSink for ObjectStoreSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        if let Some(root) = &self.store.root {
            let path = root.join(self.key.as_ref());
            path.parent().map_or(Ok(()), create_dir_all_synced)?;
            return (self.make)(&path)?.begin(schema);
        }
        let folder = Staging::within(&std::env::temp_dir(), true)?;
        let path = folder.path().join(self.key.filename().unwrap_or_default());
        let told = Told { path: path.clone(), url: self.store.remote.url_of(&self.key) };
        let inner = (self.make)(&path).and_then(|sink| sink.begin(schema)).map_err(|e| told.of(e))?;
        Ok(Box::new(Writer { inner, told, sink: self.clone(), path, _folder: folder }))
    }
}

struct Writer {
    inner: Box<dyn SinkWriter>,
    told: Told,
    sink: ObjectStoreSink,
    path: PathBuf,
    /// Removes the file when it is dropped.
    _folder: Staging,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.inner.write(batch).map_err(|e| self.told.of(e))
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        let Self { inner, told, sink, path, _folder } = *self;
        let written = inner.commit().map_err(|e| told.of(e))?;
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        let size = file.metadata().map_err(|e| Error::io(&path, e))?.len();
        sink.store.remote.upload(&sink.key, |client, key| upload(client, key, file, size))?;
        Ok(written)
    }
}

/// Puts the object where messages say a temporary file.
struct Told {
    path: PathBuf,
    url: String,
}

impl Told {
    fn of(&self, error: Error) -> Error {
        match error {
            Error::InvalidData { what, reason } => {
                Error::InvalidData { what: what.replace(&self.path.display().to_string(), &self.url), reason }
            }
            other => other,
        }
    }
}

async fn upload(client: Arc<dyn Client>, key: Key, mut file: File, size: u64) -> object_store::Result<()> {
    if size <= PART_BYTES_MIN {
        let bytes = piece(&mut file, PART_BYTES_MIN)?;
        return client.put(&key, bytes.into()).await.map(|_| ());
    }
    let mut upload = client.put_multipart(&key).await?;
    let sent = match parts(&mut *upload, &mut file, PART_BYTES_MIN.max(size.div_ceil(PARTS_MAX))).await {
        Ok(()) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if sent.is_err() {
        // The first failure is the one to tell.
        let _ = upload.abort().await;
    }
    sent
}

async fn parts(upload: &mut dyn MultipartUpload, file: &mut File, part_bytes: u64) -> object_store::Result<()> {
    let mut under_way = JoinSet::new();
    loop {
        let part = piece(file, part_bytes)?;
        if part.is_empty() {
            break;
        }
        if under_way.len() >= PARTS_AT_ONCE {
            joined(&mut under_way).await?;
        }
        under_way.spawn(upload.put_part(part.into()));
    }
    while !under_way.is_empty() {
        joined(&mut under_way).await?;
    }
    Ok(())
}

async fn joined(under_way: &mut JoinSet<object_store::Result<()>>) -> object_store::Result<()> {
    match under_way.join_next().await {
        None => Ok(()),
        Some(Ok(sent)) => sent,
        Some(Err(source)) => Err(object_store::Error::JoinError { source }),
    }
}

/// The next bytes of `file`, at most `length`.
fn piece(file: &mut File, length: u64) -> object_store::Result<Bytes> {
    let mut bytes = Vec::new();
    let local = |source: std::io::Error| object_store::Error::Generic { store: "local", source: source.into() };
    Read::take(file, length).read_to_end(&mut bytes).map_err(local)?;
    Ok(bytes.into())
}

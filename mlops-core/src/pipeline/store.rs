//! The directory of a pipeline: outputs by content, and a record per finished step.
//!
//! ```text
//! format              which layout this is
//! lock                held by the one run that writes
//! partial             what is being written
//! artifacts/<digest>  outputs; the digest is that of the file's bytes
//! records/<key>       which output a step made from which inputs: written last, so that a step is finished or not
//! last                the report of the last run that came to its end
//! ```
//! A file appears under its name only when it is whole and on disk. Names of steps never become paths.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::report::Output;
use super::{Artifact, ArtifactKind, RunOptions, RunReport};
use crate::dataset::{ContentHasher, Provenance};
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::time::EventTime;
use crate::{Dataset, Digest, Error, Name, Result, Schema};

const LAYOUT: &str = "mlops pipeline 1\n";
const RECORD: &str = "mlops record 1 ";
/// Records and reports above this are taken for damage.
const RECORD_BYTES_MAX: u64 = 256 << 20;
const LOCK_POLL: Duration = Duration::from_millis(20);

/// Where an output lies.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stored {
    pub(super) output: Output,
    /// Digest of the file's bytes, which is its name.
    pub(super) file: Digest,
    pub(super) provenance: Option<Provenance>,
}

/// Proof that a step finished.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    pub(super) pipeline: Name,
    pub(super) step: Name,
    pub(super) key: Digest,
    pub(super) stored: Stored,
    pub(super) started: EventTime,
    pub(super) finished: EventTime,
    pub(super) took_us: u64,
}

/// A run that came to its end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LastRun {
    pub(super) report: RunReport,
    pub(super) stored: BTreeMap<Name, Stored>,
}

/// What is known of a step's output.
pub(super) enum Found {
    Whole(Box<Record>),
    Nothing,
    Damaged(String),
}

#[derive(Clone, Debug)]
pub(super) struct RunDir {
    root: PathBuf,
}

/// Held while a run writes; the operating system frees it when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "the lock lives as long as the open file")] File);

impl RunDir {
    /// A directory that was written before.
    pub(super) fn existing(root: &Path) -> Result<Self> {
        let dir = Self { root: root.to_owned() };
        if dir.check_layout()? { Ok(dir) } else { Err(Error::not_found("run directory", root.display().to_string())) }
    }

    /// Makes the directory where it is missing, and keeps every other run out of it.
    pub(super) fn lock(root: &Path, options: &RunOptions) -> Result<(Self, Lock)> {
        for folder in [root, &root.join("artifacts"), &root.join("records")] {
            fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        let lock = Self::wait_for_lock(root, options)?;
        let dir = Self { root: root.to_owned() };
        if !dir.check_layout()? {
            dir.write(|out| Ok(out.write_all(LAYOUT.as_bytes())?), |(), _| dir.root.join("format"))?;
            root.parent().map_or(Ok(()), sync_dir)?;
        }
        Ok((dir, lock))
    }

    fn wait_for_lock(root: &Path, options: &RunOptions) -> Result<Lock> {
        let path = root.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|e| Error::io(&path, e))?;
        let mut left = options.lock_wait;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::Error(e)) => return Err(Error::io(&path, e)),
                Err(TryLockError::WouldBlock) if left.is_zero() => {
                    return Err(Error::Busy { what: root.display().to_string() });
                }
                Err(TryLockError::WouldBlock) => {
                    let piece = left.min(LOCK_POLL);
                    if !options.sleep(piece) {
                        return Err(Error::Cancelled { stage: format!("wait for {}", root.display()) });
                    }
                    left -= piece;
                }
            }
        }
    }

    /// Whether the directory is one of ours; false when it is new.
    fn check_layout(&self) -> Result<bool> {
        let path = self.root.join("format");
        match read_bounded(&path, 64) {
            Ok(found) if found == LAYOUT.as_bytes() => Ok(true),
            Ok(_) => Err(Error::invalid_data(path.display().to_string(), "not a run directory of this version")),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.root
    }

    fn artifact(&self, file: Digest) -> PathBuf {
        self.root.join("artifacts").join(file.to_string())
    }

    fn record(&self, key: Digest) -> PathBuf {
        self.root.join("records").join(key.to_string())
    }

    /// Stores an output; durable on return, but the step is not finished before [`commit`](Self::commit).
    pub(super) fn put(&self, artifact: &Artifact, provenance: impl FnOnce() -> Provenance) -> Result<Stored> {
        let kind = artifact.kind();
        let place = |_: &(Digest, Option<u64>), file| self.artifact(file);
        let ((content, rows), file, bytes) = match artifact {
            Artifact::Dataset(data) => self.write(|out| write_dataset(data, out), place)?,
            Artifact::Json(value) => {
                let text = serde_json::to_vec(value).map_err(|e| Error::invalid_data("JSON artifact", e))?;
                self.write(|out| Ok(out.write_all(&text).map(|()| (Digest::of(&text), None))?), place)?
            }
            Artifact::Bytes(all) => {
                self.write(|out| Ok(out.write_all(all).map(|()| (Digest::of(all), None))?), place)?
            }
        };
        let output = Output { kind, digest: kind.digest(content), content, bytes, rows };
        Ok(Stored { output, file, provenance: (kind == ArtifactKind::Dataset).then(provenance) })
    }

    /// From here on the step is finished.
    pub(super) fn commit(&self, record: &Record) -> Result<()> {
        self.write_sealed(record, self.record(record.key))
    }

    /// The record under `key`, when it and its output look whole. The output's bytes are verified when it is loaded.
    pub(super) fn find(&self, key: Digest) -> Result<Found> {
        let record: Record = match read_sealed(&self.record(key)) {
            Ok(Some(record)) => record,
            Ok(None) => return Ok(Found::Nothing),
            Err(Error::Corrupt { reason, .. }) => return Ok(Found::Damaged(format!("record: {reason}"))),
            Err(error) => return Err(error),
        };
        if record.key != key {
            return Ok(Found::Damaged("record: it belongs to another step".to_owned()));
        }
        let path = self.artifact(record.stored.file);
        match fs::metadata(&path) {
            Ok(found) if found.len() == record.stored.output.bytes => Ok(Found::Whole(Box::new(record))),
            Ok(found) => {
                let expected = record.stored.output.bytes;
                Ok(Found::Damaged(format!("output: {} of {expected} bytes", found.len())))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Found::Damaged("output: missing".to_owned())),
            Err(e) => Err(Error::io(path, e)),
        }
    }

    /// Reads an output and verifies its digest.
    pub(super) fn load(&self, stored: &Stored) -> Result<Artifact> {
        let path = self.artifact(stored.file);
        let what = || format!("output {}", stored.file.short());
        let failed = |e: io::Error| match e.kind() {
            ErrorKind::NotFound => Error::corrupt(what(), "missing"),
            _ => Error::io(&path, e),
        };
        let differs = || Error::corrupt(what(), "its bytes do not have the digest that they were stored under");
        if stored.output.kind == ArtifactKind::Dataset {
            let mut hasher = blake3::Hasher::new();
            let mut file = File::open(&path).map_err(failed)?;
            io::copy(&mut file, &mut hasher).map_err(failed)?;
            if Digest::from(hasher.finalize()) != stored.file {
                return Err(differs());
            }
            return open_dataset(path, stored).map(Artifact::Dataset);
        }
        let bytes = read_bounded(&path, stored.output.bytes).map_err(failed)?;
        if Digest::of(&bytes) != stored.file {
            return Err(differs());
        }
        match stored.output.kind {
            ArtifactKind::Json => {
                let value = serde_json::from_slice(&bytes).map_err(|e| Error::corrupt(what(), e))?;
                Ok(Artifact::Json(value))
            }
            _ => Ok(Artifact::Bytes(bytes.into())),
        }
    }

    pub(super) fn save_last(&self, last: &LastRun) -> Result<()> {
        self.write_sealed(last, self.root.join("last"))
    }

    /// The last run that came to its end.
    pub(super) fn last_run(&self) -> Result<Option<LastRun>> {
        read_sealed(&self.root.join("last"))
    }

    fn write_sealed(&self, value: &impl Serialize, target: PathBuf) -> Result<()> {
        let text = serde_json::to_vec(value).map_err(|e| Error::invalid_data("record", e))?;
        let seal = format!("{RECORD}{}\n", Digest::of(&text));
        let fill =
            |out: &mut BufWriter<Hashing>| Ok(out.write_all(seal.as_bytes()).and_then(|()| out.write_all(&text))?);
        self.write(fill, |(), _| target)?;
        Ok(())
    }

    /// Writes one file in full before it gets its name, and makes both survive a crash.
    fn write<T>(
        &self,
        fill: impl FnOnce(&mut BufWriter<Hashing>) -> Result<T, WriteError>,
        name: impl FnOnce(&T, Digest) -> PathBuf,
    ) -> Result<(T, Digest, u64)> {
        let partial = self.root.join("partial");
        let failed = |e: io::Error| Error::io(&partial, e);
        fault::point().map_err(failed)?;
        let file = File::create(&partial).map_err(failed)?;
        let mut out = BufWriter::with_capacity(1 << 16, Hashing { file, hasher: blake3::Hasher::new(), bytes: 0 });
        let made = fill(&mut out).map_err(|e| match e {
            WriteError::Io(e) => Error::io(&partial, e),
            WriteError::Other(e) => e,
        })?;
        let out = out.into_inner().map_err(|e| failed(e.into_error()))?;
        fault::point().and_then(|()| out.file.sync_all()).map_err(failed)?;
        let digest = Digest::from(out.hasher.finalize());
        let target = name(&made, digest);
        fault::point().and_then(|()| fs::rename(&partial, &target)).map_err(|e| Error::io(&target, e))?;
        fault::point().map_err(failed)?;
        target.parent().map_or(Ok(()), sync_dir)?;
        Ok((made, digest, out.bytes))
    }
}

enum WriteError {
    Io(io::Error),
    Other(Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl From<ArrowError> for WriteError {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, error) => Self::Io(error),
            other => Self::Other(other.into()),
        }
    }
}

struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if let Err(error) = fault::point() {
            self.file.write_all(&buffer[..buffer.len() / 2])?; // a torn write, as a crash leaves it
            return Err(error);
        }
        let written = self.file.write(buffer)?;
        self.hasher.update(&buffer[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Makes the names in `folder` survive a crash.
fn sync_dir(folder: &Path) -> Result<()> {
    // Only Unix knows how to sync a directory; elsewhere a rename is as durable as it gets.
    if cfg!(unix) && !folder.as_os_str().is_empty() {
        File::open(folder).and_then(|dir| dir.sync_all()).map_err(|e| Error::io(folder, e))?;
    }
    Ok(())
}

/// At most one byte more than `bytes_max`, so that a file that is too long is seen as such.
fn read_bounded(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn read_sealed<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let corrupt = |reason: &str| Error::corrupt(path.display().to_string(), reason);
    let bytes = match read_bounded(path, RECORD_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::io(path, e)),
    };
    let text = bytes.strip_prefix(RECORD.as_bytes()).ok_or_else(|| corrupt("it does not begin as a record"))?;
    let (seal, text) = text.split_at_checked(65).ok_or_else(|| corrupt("cut short"))?;
    if seal != format!("{}\n", Digest::of(text)).as_bytes() {
        return Err(corrupt("its bytes do not have the digest that they were stored under"));
    }
    serde_json::from_slice(text).map(Some).map_err(|e| corrupt(&e.to_string()))
}

/// One pass: rows go to the file and to the digest as they come.
fn write_dataset(data: &Dataset, out: &mut BufWriter<Hashing>) -> Result<(Digest, Option<u64>), WriteError> {
    let mut writer = StreamWriter::try_new(out, data.schema().arrow())?;
    let mut hasher = ContentHasher::new(data.schema())?;
    for batch in data.batches()? {
        let batch = batch?;
        hasher.update(&batch)?;
        writer.write(&batch)?;
    }
    writer.finish()?;
    let rows = hasher.rows();
    Ok((hasher.finish(), Some(rows)))
}

fn open_dataset(path: PathBuf, stored: &Stored) -> Result<Dataset> {
    let reader = open_stream(&path, None)?;
    let source = StoredRows { schema: Schema::new(reader.schema())?, path, bytes: stored.output.bytes };
    let data = Dataset::from_source(Arc::new(source))?;
    let data = data.with_identity(stored.output.content, stored.output.rows.unwrap_or(0));
    Ok(match &stored.provenance {
        Some(provenance) => data.with_provenance(provenance.clone()),
        None => data,
    })
}

fn open_stream(path: &Path, columns: Option<Vec<usize>>) -> Result<StreamReader<BufReader<File>>> {
    let file = File::open(path).map_err(|e| Error::io(path, e))?;
    Ok(StreamReader::try_new(BufReader::with_capacity(1 << 16, file), columns)?)
}

/// Rows of an Arrow IPC stream file.
#[derive(Debug)]
struct StoredRows {
    path: PathBuf,
    schema: Schema,
    bytes: u64,
}

impl DataSource for StoredRows {
    fn info(&self) -> Result<SourceInfo> {
        let size_bytes = Some(self.bytes);
        Ok(SourceInfo { size_bytes, ..SourceInfo::new("arrow_ipc_stream", self.path.display().to_string()) })
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let names = request.columns_to_read(&self.schema)?;
        let some = !names.is_empty() && names.len() < self.schema.len();
        let columns = names.iter().map(|name| self.schema.index_of(name)).collect::<Result<Vec<_>>>()?;
        let reader = open_stream(&self.path, some.then_some(columns))?;
        // The reader tells the schema of the whole file, whatever it was asked for.
        let schema = if some { self.schema.project(&names)? } else { self.schema.clone() };
        request.finish(BatchStream::new(schema, reader.map(|batch| Ok(batch?))))
    }
}

/// Where tests cut a run off: at the n-th touch of the disk, and dead from then on.
#[cfg(test)]
pub(super) mod fault {
    use std::cell::Cell;
    use std::io;

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Lets `points` touches of the disk pass on this thread; `None` lets all pass.
    pub(in super::super) fn after(points: Option<u64>) {
        LEFT.set(points);
    }

    /// Whether the run was cut off.
    pub(in super::super) fn struck() -> bool {
        LEFT.get() == Some(0)
    }

    pub(super) fn point() -> io::Result<()> {
        match LEFT.get() {
            Some(0) => Err(io::Error::other("cut off by the test")),
            left => {
                LEFT.set(left.map(|points| points - 1));
                Ok(())
            }
        }
    }
}

#[cfg(not(test))]
mod fault {
    #[expect(clippy::unnecessary_wraps, reason = "the test build can fail here")]
    pub(super) fn point() -> std::io::Result<()> {
        Ok(())
    }
}

//! Where events go.

#[cfg(feature = "http")]
mod http;

#[cfg(feature = "http")]
pub use http::{ATTEMPTS_MAX, HttpSink, HttpSinkBuilder};

use std::fmt::{self, Debug};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Event;
use crate::file::FileLock;
use crate::{Error, Result};

/// Bytes of one event at the most.
pub const EVENT_BYTES_MAX: usize = 16 << 20;

/// How long a file is waited for that another process writes to.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// Takes events.
///
/// # Contract
/// * What `emit` returned for is told: it is on disk, or the other side has said that it took it.
/// * An event whose answer was lost may be told again: it is the same to the letter.
pub trait EventSink: Debug + Send + Sync + 'static {
    /// Tells `event`.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when it has no JSON form (a time outside of the years 0 to 9999), [`Error::Invalid`] when it
    /// is longer than [`EVENT_BYTES_MAX`], and what the other side fails with.
    fn emit(&self, event: &Event) -> Result<()>;
}

/// The event as one line of JSON.
fn line(event: &Event) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(event).map_err(|e| Error::invalid_data("lineage event", e))?;
    if text.len() > EVENT_BYTES_MAX {
        return Err(Error::invalid("bytes of the event", text.len(), "at most 16 MiB"));
    }
    text.push(b'\n');
    Ok(text)
}

/// Events as lines of JSON at the end of a file.
///
/// Each line is written as a whole and is on disk when `emit` returns. Processes take turns by a lock on the file
/// `<path>.lock`. What a process that was killed left of a line is removed by the next one; a file of other things is
/// left alone.
///
/// # Examples
/// ```
/// use mlops_core::EventTime;
/// use mlops_core::catalog::openlineage::{Dataset, DatasetEvent, EventSink, FileSink, Origin};
///
/// let folder = tempfile::tempdir()?;
/// let sink = FileSink::new(folder.path().join("lineage.jsonl"));
/// let origin = Origin::builder("shop").build()?;
/// sink.emit(&DatasetEvent::new(&origin, EventTime::EPOCH, Dataset::named(&origin, "customers")).into())?;
/// assert_eq!(std::fs::read_to_string(sink.path())?.lines().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileSink(PathBuf);

impl FileSink {
    /// Appends to the file at `path`, which is made by the first event; its folder must be there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl EventSink for FileSink {
    fn emit(&self, event: &Event) -> Result<()> {
        let line = line(event)?;
        let mut lock = self.0.as_os_str().to_owned();
        lock.push(".lock");
        let _lock = FileLock::acquire(Path::new(&lock), LOCK_WAIT)?;
        let failed = |e| Error::io(&self.0, e);
        let mut file = File::options().create(true).read(true).append(true).open(&self.0).map_err(failed)?;
        match append(&mut file, &line).map_err(failed)? {
            Some(0) => {
                let folder = self.0.parent().filter(|folder| !folder.as_os_str().is_empty());
                crate::file::sync_dir(folder.unwrap_or(Path::new(".")))
            }
            Some(_) => Ok(()),
            None => Err(Error::invalid_data(self.0.display().to_string(), "no file of lineage events")),
        }
    }
}

/// What every line begins with.
const BEGIN: &[u8] = b"{\"eventTime\"";

/// Adds a line and tells where it begins; none when the file holds other things.
fn append(file: &mut File, line: &[u8]) -> std::io::Result<Option<u64>> {
    let end = whole_lines(file)?;
    for line_at in [0, end] {
        let mut begin = Vec::new();
        file.seek(SeekFrom::Start(line_at))?;
        Read::by_ref(file).take(BEGIN.len() as u64).read_to_end(&mut begin)?;
        if !BEGIN.starts_with(&begin) {
            return Ok(None);
        }
    }
    file.set_len(end)?;
    let written = file.write_all(line).and_then(|()| file.sync_data());
    if written.is_err() {
        let _ = file.set_len(end); // as it was: the storage may be full
    }
    written.map(|()| Some(end))
}

/// Where the last whole line ends: after it there is at most one line that was cut off.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    const STEP: u64 = 1 << 16;
    let mut end = file.metadata()?.len();
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(STEP);
        piece.clear();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut piece)?;
        if let Some(place) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + place as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// Gives events to a function.
pub struct CallbackSink<F>(F);

impl<F: Fn(&Event) -> Result<()> + Send + Sync + 'static> CallbackSink<F> {
    /// Calls `tell` with every event.
    pub fn new(tell: F) -> Self {
        Self(tell)
    }
}

impl<F: Fn(&Event) -> Result<()> + Send + Sync + 'static> EventSink for CallbackSink<F> {
    fn emit(&self, event: &Event) -> Result<()> {
        (self.0)(event)
    }
}

impl<F> Debug for CallbackSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackSink")
    }
}

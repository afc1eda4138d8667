//! Local files, seen as places of data.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;

use super::compression::Output;
use super::spoilt::Spoilt;
use super::{SinkWriter, SourceInfo, Written};
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// Path as it stands in messages.
pub(super) fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::not_found("file", shown(path)),
        _ => Error::io(path, error),
    }
}

/// Opens `path` for reading.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::open(path).map_err(|e| failed(path, e))?;
    // Folders can be opened; only the first read would fail, with fewer words.
    if path.is_dir() {
        return Err(Error::invalid("path", shown(path), "the path of a file"));
    }
    Ok(file)
}

/// Format, place, size and last change of `path`.
pub(super) fn info(path: &Path, format: &str) -> Result<SourceInfo> {
    let metadata = fs::metadata(path).map_err(|e| failed(path, e))?;
    let since_epoch = |time: std::time::SystemTime| time.duration_since(std::time::UNIX_EPOCH).ok();
    let modified = metadata.modified().ok().and_then(since_epoch).map(|d| EventTime::EPOCH.plus(d));
    Ok(SourceInfo { size_bytes: Some(metadata.len()), modified, ..SourceInfo::new(format, shown(path)) })
}

/// What an error about content says, with the file in front.
pub(super) fn in_file(path: &Path, error: Error) -> Error {
    match error {
        Error::InvalidData { what, reason } => Error::InvalidData { what: format!("{}, {what}", shown(path)), reason },
        Error::AlreadyExists { kind, name } => {
            Error::invalid_data(shown(path), format!("{kind} `{name}` is there twice"))
        }
        other => other,
    }
}

/// Turns batches into lines of text.
pub(super) trait Lines: Send {
    /// Appends the rows of `batch` to `out`; `first_row` counts those before.
    fn lines(&mut self, batch: &RecordBatch, first_row: u64, out: &mut String) -> Result<()>;
}

/// One write of a text format.
pub(super) struct LineWriter<L> {
    pub(super) file: Output,
    pub(super) schema: Schema,
    pub(super) lines: L,
    pub(super) rows: u64,
    pub(super) text: String,
    pub(super) spoilt: Spoilt,
}

/// Rows that are turned into text at once, so that the text stays small.
const ROWS_AT_ONCE: usize = 4_096;

impl<L> LineWriter<L> {
    pub(super) fn flush(&mut self) -> Result<()> {
        self.file.write_all(self.text.as_bytes()).map_err(|e| Error::io(self.file.path(), e))?;
        self.text.clear();
        Ok(())
    }
}

impl<L: Lines> SinkWriter for LineWriter<L> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        let batch = self.schema.attach(batch)?;
        for start in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
            let piece = batch.slice(start, ROWS_AT_ONCE.min(batch.num_rows() - start));
            self.lines.lines(&piece, self.rows, &mut self.text)?;
            self.flush()?;
            self.rows += piece.num_rows() as u64;
        }
        self.spoilt.done();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        self.spoilt.ensure_whole()?;
        Ok(Written { rows: self.rows, size_bytes: self.file.commit()? })
    }
}

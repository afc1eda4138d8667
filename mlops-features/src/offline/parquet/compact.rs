//! Many small appends become few files, and stay the appends that they are.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use arrow::datatypes::SchemaRef;
use mlops_core::EventTime;
use mlops_core::file::{FileLock, sync_dir};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use serde::{Deserialize, Serialize};

use super::checksum::Checksums;
use super::footer::{Parts, load};
use super::listing::{Span, covering, list, read};
use super::{ParquetStore, Writer};
use crate::error::{Core, Result};
use crate::view::FeatureView;

/// How long one compaction waits for another.
const LOCK_WAIT: Duration = Duration::from_secs(1);

const LOCK: &str = ".compact.lock";

/// Rows that are copied at a time.
const COPY_ROWS: usize = 16_384;

/// Settings of a compaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CompactOptions {
    /// Most rows of a file that is made. Default 4194304.
    pub rows_max: u64,
    /// Fewest files that are made one. Default 8.
    pub files_min: usize,
    /// How long files that were made one stay, for those who have listed but not read them, in microseconds. Default an
    /// hour.
    pub grace_us: u64,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self { rows_max: 1 << 22, files_min: 8, grace_us: 3_600_000_000 }
    }
}

/// What a compaction did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactReport {
    /// Files that were made.
    pub made: u64,
    /// Files that were made one.
    pub merged: u64,
    /// Files that were removed, because they were made one before.
    pub removed: u64,
}

/// A file that may become part of a larger one.
struct Small {
    span: Span,
    path: PathBuf,
    footer: ArrowReaderMetadata,
    parts: Parts,
    rows: u64,
}

impl ParquetStore {
    /// Makes few files of the many that small appends of `view` leave, which are faster to read.
    ///
    /// Rows, their order, positions in it and ids of appends stay what they are, so that whoever reads on from a position
    /// notices nothing; columns that the view no longer has stay, too. Neighbours are merged while they have the same columns
    /// and together at most [`rows_max`](CompactOptions::rows_max) rows; the last file stays as it is. A crash at any point loses nothing. Files that
    /// were merged are removed by a later call, once the [grace](CompactOptions::grace_us) is over at `now`; a scan that takes
    /// longer reads on in the file that took their place. Memory is that of a few batches and one row group.
    ///
    /// # Errors
    /// `Core(Busy)` while another compaction of the view is at work, `Core(Corrupt)` for a file that cannot be read, `Core(Io)` when
    /// the disk is full or fails; what was made before stays.
    pub fn compact(&self, view: &FeatureView, options: &CompactOptions, now: EventTime) -> Result<CompactReport> {
        let folder = self.folder(view);
        let mut report = CompactReport::default();
        if !folder.is_dir() {
            return Ok(report);
        }
        let _lock = FileLock::acquire(&folder.join(LOCK), LOCK_WAIT)?;
        report.removed = remove_merged(&folder, options, now)?;
        let mut run: Vec<Small> = Vec::new();
        let mut rows = 0;
        let mut spans = list(&folder)?;
        // The greatest number must never be missed by who looks for the next one, so its file stays.
        spans.pop();
        for span in spans {
            let next = Small::open(&folder, span)?;
            let fits = run.last().is_none_or(|last| last.is_followed_by(&next)) && rows + next.rows <= options.rows_max;
            if !fits {
                finish(&folder, &mut run, options, &mut report)?;
                rows = 0;
            }
            rows += next.rows;
            run.push(next);
        }
        finish(&folder, &mut run, options, &mut report)?;
        Ok(report)
    }
}

/// Removes what a file that has been there for the grace stands for.
fn remove_merged(folder: &Path, options: &CompactOptions, now: EventTime) -> Result<u64> {
    let all = read(folder)?;
    let kept = covering(all.clone());
    let mut removed = 0;
    for span in all.into_iter().filter(|span| kept.binary_search(span).is_err()) {
        let Some(instead) = kept.iter().find(|kept| kept.covers(span)) else { continue };
        let path = folder.join(instead.file_name());
        let modified = fs::metadata(&path).and_then(|file| file.modified()).map_err(|e| Core::io(&path, e))?;
        let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now.since(EventTime::EPOCH.plus(since_epoch)) < Duration::from_micros(options.grace_us) {
            continue;
        }
        let path = folder.join(span.file_name());
        fs::remove_file(&path).map_err(|e| Core::io(&path, e))?;
        removed += 1;
    }
    if removed > 0 {
        sync_dir(folder)?;
    }
    Ok(removed)
}

impl Small {
    fn open(folder: &Path, span: Span) -> Result<Self> {
        let path = folder.join(span.file_name());
        let file = File::open(&path).map_err(|e| Core::io(&path, e))?;
        let footer = load(&file, &path)?;
        let parts = Parts::read(&footer, span, &path)?;
        let rows = parts.iter().map(|part| part.rows).sum();
        Ok(Self { span, path, footer, parts, rows })
    }

    fn schema(&self) -> &SchemaRef {
        self.footer.schema()
    }

    /// Whether `next` comes right after this, with the same columns.
    fn is_followed_by(&self, next: &Self) -> bool {
        self.span.last.checked_add(1) == Some(next.span.first) && self.schema().fields() == next.schema().fields()
    }
}

/// Makes one file of `run`, if it is long enough, and empties it.
fn finish(folder: &Path, run: &mut Vec<Small>, options: &CompactOptions, report: &mut CompactReport) -> Result<()> {
    let run = std::mem::take(run);
    let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
    if run.len() < options.files_min.max(2) {
        return Ok(());
    }
    let span = Span { first: first.span.first, last: last.span.last };
    let parts = Parts::new(run.iter().flat_map(|small| small.parts.iter()).copied().collect());
    let io = |e| Core::io(folder, e);
    let made = tempfile::Builder::new().prefix(".append-").tempfile_in(folder).map_err(io)?;
    let mut writer = Writer::begin(first.schema(), Some(parts.told()?), made.as_file(), made.path())?;
    run.iter().try_for_each(|small| copy(small, &mut writer))?;
    writer.finish()?;
    let path = folder.join(span.file_name());
    made.persist_noclobber(&path).map_err(|e| Core::io(&path, e.error))?;
    sync_dir(folder)?;
    report.made += 1;
    report.merged += run.len() as u64;
    Ok(())
}

fn copy(small: &Small, writer: &mut Writer) -> Result<()> {
    let damaged = |e: &dyn std::fmt::Display| Core::corrupt(small.path.display().to_string(), e);
    let file = File::open(&small.path).map_err(|e| Core::io(&small.path, e))?;
    let checksums = Checksums::read(&small.footer, &small.path)?;
    for group in 0..small.footer.metadata().num_row_groups() {
        checksums.check(&file, &small.path, &small.footer, group, &ProjectionMask::all())?;
    }
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, small.footer.clone());
    let mut reader = reader.with_batch_size(COPY_ROWS).build().map_err(|e| damaged(&e))?;
    let mut rows = 0;
    loop {
        // As where history is read: a decoder may panic on damaged pages.
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| reader.next()));
        let Some(batch) = next.map_err(|_| damaged(&"its pages contradict each other"))? else { break };
        let batch = batch.map_err(|e| damaged(&e))?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    if rows == small.rows { Ok(()) } else { Err(damaged(&"rows are missing").into()) }
}

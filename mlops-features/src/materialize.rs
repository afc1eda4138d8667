//! Brings the latest rows of history to the online store.

mod latest;
mod options;

pub use self::options::{MaterializeOptions, MaterializeOptionsBuilder, Range};

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use mlops_core::pipeline::{Artifact, Inputs, Step, StepContext};
use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use self::latest::Latest;
use self::options::OptionsForm;
use crate::error::{Core, Result};
use crate::ingest::Gate;
use crate::key::Keys;
use crate::offline::{HistoryRequest, OfflineStore, Watermark};
use crate::online::{OnlineStore, WriteSummary};
use crate::view::FeatureView;
use crate::wait::block_on;

/// What a materialization did so far.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaterializeReport {
    /// Rows of history that were read.
    pub rows: u64,
    /// Rows with a null in their key, which were left out.
    pub null_keys: u64,
    /// Rows that failed a check and were set aside.
    #[serde(default)]
    pub set_aside: u64,
    /// What became of the others.
    pub online: WriteSummary,
    /// Portions that were written with the position that they reach.
    pub chunks: u64,
    /// Position from which it went on.
    pub from: Option<Watermark>,
    /// Position up to which it came.
    pub to: Option<Watermark>,
}

/// Brings rows of `view` from `offline` to `online`; see [`Materializer`], whose defaults this is.
///
/// # Errors
/// As [`Materializer::run`].
pub fn materialize(
    offline: &dyn OfflineStore,
    online: &dyn OnlineStore,
    view: &FeatureView,
    options: &MaterializeOptions,
    progress: &mut dyn FnMut(&MaterializeReport) -> bool,
) -> Result<MaterializeReport> {
    Materializer::new(offline, online, view).options(options.clone()).run(progress)
}

/// Rows of one write: as many as a server takes in well within the time of a call.
const WRITE_ROWS: usize = 131_072;

/// Rows that pass the gate together.
const PIECE_ROWS: usize = 32_768;

/// Rows of history that are read for one chunk, per key that it may have.
const READ_PER_KEY: u64 = 8;

/// Memory of one batch that is read or written: this part of all.
const BATCH_PART: usize = 8;

/// Brings rows of a view from history to the online store.
///
/// Rows are read in the order in which they came in. The latest of each key are gathered until they are enough for a chunk, and
/// written with the position up to which history was read; a row that a later one of its chunk beats is never written. A run
/// that was cut off at any point goes on from the last position the next time, and running again changes nothing: the
/// online store keeps the latest row per key whatever the order. Rows with late event times are not missed, for the
/// position is one of arrival.
///
/// Memory is bounded by [`memory_bytes`](MaterializeOptionsBuilder::memory_bytes), whatever the length of history. A gate that
/// keeps statistics counts rows as they are read, each batch of history by itself and before it is written: a run that is cut
/// off in between counts the same batches again, which changes nothing.
#[derive(Clone, Debug)]
pub struct Materializer<'a> {
    offline: &'a dyn OfflineStore,
    online: &'a dyn OnlineStore,
    view: &'a FeatureView,
    options: MaterializeOptions,
    gate: Gate,
}

/// Rows that pass the gate together, in the making.
#[derive(Default)]
struct Piece {
    batches: Vec<RecordBatch>,
    /// Rows that were read for it, those with null keys, too.
    read: u64,
    end: Watermark,
}

/// A run on its way.
struct Run<'a> {
    latest: Latest<'a>,
    /// Rows that were read since the last chunk, whether they came to anything or not; `None` when nothing was.
    read: Option<u64>,
    report: MaterializeReport,
    progress: &'a mut dyn FnMut(&MaterializeReport) -> bool,
}

impl<'a> Materializer<'a> {
    /// From `offline` to `online`, with default options and an open gate.
    pub fn new(offline: &'a dyn OfflineStore, online: &'a dyn OnlineStore, view: &'a FeatureView) -> Self {
        Self { offline, online, view, options: MaterializeOptions::default(), gate: Gate::new() }
    }

    /// Which rows, and how many at a time.
    pub fn options(mut self, options: MaterializeOptions) -> Self {
        self.options = options;
        self
    }

    /// What rows pass on their way online. Default an open gate.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }

    /// Runs to the end; calls `progress` after every 32768 rows that were read, at most, and after the last write. It may
    /// answer false to stop there: what was read by then is written first.
    ///
    /// This is a plain call that waits for the store: on an async runtime, run it on a thread for blocking work.
    ///
    /// # Errors
    /// Whatever keeps either store from its work, `Core(Rejected)` when rows fail the checks of the gate and are not set
    /// aside; what was read before the failure is brought online. `Core(Cancelled)` when `progress` said so.
    pub fn run(&self, progress: &mut dyn FnMut(&MaterializeReport) -> bool) -> Result<MaterializeReport> {
        let mut report = MaterializeReport::default();
        let request = self.request(&mut report)?;
        let (piece_rows, latest) = (request.rows_per_batch() as u64, Latest::new(self.view));
        let mut run = Run { latest, read: None, report, progress };
        let mut piece = Piece::default();
        for batch in self.offline.scan(self.view, &request)? {
            let batch = match batch {
                Ok(batch) => batch,
                Err(error) => {
                    self.admit(piece, &mut run)?;
                    self.write(&mut run)?;
                    return Err(error);
                }
            };
            let read = batch.rows.num_rows() as u64;
            if self.gate.counts() || piece.read + read > piece_rows {
                self.admit(std::mem::take(&mut piece), &mut run)?;
            }
            piece.read += read;
            piece.end = batch.end;
            piece.batches.push(with_keys(self.view, batch.rows)?);
        }
        self.admit(piece, &mut run)?;
        if run.read.is_some() {
            self.write(&mut run)?;
            self.tell(&mut run)?;
        }
        Ok(run.report)
    }

    /// What is read, and how much at a time.
    fn request(&self, report: &mut MaterializeReport) -> Result<HistoryRequest> {
        let OptionsForm { range, chunk_rows, memory_bytes } = self.options.0;
        let narrow = memory_bytes / BATCH_PART / self.view.layout().bytes_min();
        let request = HistoryRequest::all().batch_rows(chunk_rows.min(PIECE_ROWS).min(narrow).max(1));
        Ok(match range {
            Range::Window(window) => request.window(window),
            Range::New => {
                report.from = block_on(self.online.watermark(self.view))?;
                match report.from {
                    Some(from) => request.after(from),
                    None => request,
                }
            }
        })
    }

    /// Lets the rows of `piece` pass the gate and join the others, which are written when they are enough.
    fn admit(&self, piece: Piece, run: &mut Run<'_>) -> Result<()> {
        let Piece { batches, read, end } = piece;
        let rows = match batches.as_slice() {
            [] => return Ok(()),
            [one] => one.clone(),
            [first, ..] => concat_batches(&first.schema(), batches.iter())?,
        };
        drop(batches);
        let null_keys = read - rows.num_rows() as u64;
        let passed = self.gate.admit(self.view, rows);
        let counted = passed.and_then(|(rows, set_aside)| {
            self.gate.came_in(self.view, &rows)?;
            Ok((rows, set_aside))
        });
        let (rows, set_aside) = match counted {
            Ok(passed) => passed,
            Err(error) => {
                self.write(run)?;
                return Err(error);
            }
        };
        run.report.rows += read;
        run.report.null_keys += null_keys;
        run.report.set_aside += set_aside;
        run.report.to = Some(end);
        let read = run.read.unwrap_or(0) + read;
        run.read = Some(read);
        run.latest.push(rows)?;
        let OptionsForm { chunk_rows, memory_bytes, .. } = self.options.0;
        let is_whole = run.latest.keys() >= chunk_rows
            || read >= chunk_rows as u64 * READ_PER_KEY
            || run.latest.exceeds(memory_bytes)?;
        if is_whole {
            self.write(run)?;
        }
        self.tell(run)
    }

    /// Writes what was gathered, the position with the last of it.
    fn write(&self, run: &mut Run<'_>) -> Result<()> {
        if run.read.is_none() {
            return Ok(());
        }
        let checkpoint = run.report.to.filter(|_| self.options.0.range == Range::New);
        let beaten = run.latest.pushed() - run.latest.keys() as u64;
        run.report.online += WriteSummary { written: 0, superseded: beaten };
        let mut batches = run.latest.batches(WRITE_ROWS, self.options.0.memory_bytes / BATCH_PART)?.peekable();
        while let Some(rows) = batches.next() {
            let checkpoint = checkpoint.filter(|_| batches.peek().is_none());
            run.report.online += block_on(self.online.write(self.view, &rows?, checkpoint))?;
        }
        drop(batches);
        run.latest.clear();
        run.read = None;
        run.report.chunks += 1;
        Ok(())
    }

    /// Tells how far it is. Where that is enough, what was gathered is written before it stops.
    fn tell(&self, run: &mut Run<'_>) -> Result<()> {
        if (run.progress)(&run.report) {
            return Ok(());
        }
        self.write(run)?;
        Err(Core::Cancelled { stage: format!("materialize `{}`", self.view.name()) }.into())
    }
}

/// The rows without a null in their key.
pub(crate) fn with_keys(view: &FeatureView, rows: RecordBatch) -> Result<RecordBatch> {
    let keys = Keys::of(view.entity(), &rows)?;
    if !keys.has_nulls() {
        return Ok(rows);
    }
    let whole: BooleanArray = (0..keys.len()).map(|row| Some(!keys.is_null(row))).collect();
    Ok(filter_record_batch(&rows, &whole)?)
}

/// [`materialize`] as a step of a pipeline; its artifact is the report as JSON.
///
/// Its inputs are not read; they say when it must run again. Let it depend on the steps that append to the view.
#[derive(Clone)]
pub struct MaterializeStep {
    name: Name,
    offline: Arc<dyn OfflineStore>,
    online: Arc<dyn OnlineStore>,
    view: FeatureView,
    options: MaterializeOptions,
    gate: Gate,
}

impl MaterializeStep {
    /// A step of this name.
    pub fn new(
        name: Name,
        offline: Arc<dyn OfflineStore>,
        online: Arc<dyn OnlineStore>,
        view: FeatureView,
        options: MaterializeOptions,
    ) -> Self {
        Self { name, offline, online, view, options, gate: Gate::new() }
    }

    /// What rows pass on their way online. Default an open gate.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.gate = gate;
        self
    }
}

impl Step for MaterializeStep {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> mlops_core::Result<Digest> {
        Digest::of_json(&("materialize", 1, self.view.fingerprint(), &self.options))
    }

    fn run(&self, _inputs: &Inputs, context: &StepContext) -> mlops_core::Result<Artifact> {
        let mut go_on = |_: &MaterializeReport| !(context.cancelled)();
        let materializer = Materializer::new(&*self.offline, &*self.online, &self.view);
        let report = materializer.options(self.options.clone()).gate(self.gate.clone()).run(&mut go_on)?;
        (context.progress)(1.0);
        let json = serde_json::to_value(&report).map_err(|e| Core::invalid_data("report of a materialization", e))?;
        Ok(Artifact::Json(json))
    }
}

impl fmt::Debug for MaterializeStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaterializeStep").field("name", &self.name).field("view", &self.view).finish_non_exhaustive()
    }
}

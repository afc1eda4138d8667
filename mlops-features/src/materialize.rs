//! Brings the latest rows of history to the online store.

use std::fmt;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use mlops_core::pipeline::{Artifact, Inputs, Step, StepContext};
use mlops_core::{Digest, Name, Window};
use serde::{Deserialize, Serialize};

use crate::error::{Core, Result};
use crate::ingest::Gate;
use crate::key::Keys;
use crate::offline::{HistoryRequest, OfflineStore, Watermark};
use crate::online::{OnlineStore, WriteSummary};
use crate::view::FeatureView;
use crate::wait::block_on;

/// Which rows are brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Range {
    /// Those that came in since the last time, however old their event times are; the position is stored with them.
    #[default]
    New,
    /// Those whose event time lies in a window; stored positions stay as they are.
    Window(Window),
}

/// Settings of a materialization.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "OptionsForm", into = "OptionsForm")]
#[derive(Default)]
pub struct MaterializeOptions(OptionsForm);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct OptionsForm {
    range: Range,
    chunk_rows: usize,
}

/// Rows of one write where nothing was said.
const CHUNK_ROWS_DEFAULT: usize = 32_768;

impl Default for OptionsForm {
    fn default() -> Self {
        Self { range: Range::New, chunk_rows: CHUNK_ROWS_DEFAULT }
    }
}

impl From<MaterializeOptions> for OptionsForm {
    fn from(options: MaterializeOptions) -> Self {
        options.0
    }
}

impl TryFrom<OptionsForm> for MaterializeOptions {
    type Error = crate::Error;

    fn try_from(form: OptionsForm) -> Result<Self> {
        if !(1..=1 << 20).contains(&form.chunk_rows) {
            return Err(Core::invalid("chunk rows", form.chunk_rows, "in 1..=1048576").into());
        }
        Ok(Self(form))
    }
}

impl MaterializeOptions {
    /// The defaults, stated at each setting.
    pub fn builder() -> MaterializeOptionsBuilder {
        MaterializeOptionsBuilder(OptionsForm::default())
    }
}

/// Collects the settings of a materialization.
#[derive(Clone, Debug)]
pub struct MaterializeOptionsBuilder(OptionsForm);

impl MaterializeOptionsBuilder {
    /// Which rows. Default [`Range::New`].
    pub fn range(mut self, range: Range) -> Self {
        self.0.range = range;
        self
    }

    /// Rows that are held and written at once, which is what a crash costs and, by their width, what memory is needed.
    /// Default 32768.
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.0.chunk_rows = rows;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` when the rows of a chunk are not in 1..=1048576.
    pub fn build(self) -> Result<MaterializeOptions> {
        self.0.try_into()
    }
}

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
    /// Writes.
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

/// Brings rows of a view from history to the online store.
///
/// Rows are read in the order in which they came in and written a chunk at a time, each with the position that it reaches.
/// A run that was cut off at any point goes on from there the next time, and running again changes nothing: the online
/// store keeps the latest row per key whatever the order. Rows with late event times are not missed, for the position
/// is one of arrival. Memory is bounded by one chunk.
#[derive(Clone, Debug)]
pub struct Materializer<'a> {
    offline: &'a dyn OfflineStore,
    online: &'a dyn OnlineStore,
    view: &'a FeatureView,
    options: MaterializeOptions,
    gate: Gate,
}

/// A chunk in the making.
#[derive(Default)]
struct Chunk {
    batches: Vec<RecordBatch>,
    /// Rows that were read for it, those with null keys, too.
    read: usize,
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

    /// Runs to the end; calls `progress` after each chunk, which may answer false to stop there.
    ///
    /// This is a plain call that waits for the store: on an async runtime, run it on a thread for blocking work.
    ///
    /// # Errors
    /// Whatever keeps either store from its work, `Core(Rejected)` when rows fail the checks of the gate and are not set
    /// aside; chunks before the failure stay. `Core(Cancelled)` when `progress` said so.
    pub fn run(&self, progress: &mut dyn FnMut(&MaterializeReport) -> bool) -> Result<MaterializeReport> {
        let OptionsForm { range, chunk_rows } = self.options.0;
        let mut request = HistoryRequest::all().batch_rows(chunk_rows);
        let mut report = MaterializeReport::default();
        match range {
            Range::New => {
                report.from = block_on(self.online.watermark(self.view))?;
                request = report.from.map_or(request.clone(), |from| request.after(from));
            }
            Range::Window(window) => request = request.window(window),
        }
        let mut chunk = Chunk::default();
        for batch in self.offline.scan(self.view, &request)? {
            let batch = batch?;
            if chunk.read + batch.rows.num_rows() > chunk_rows {
                self.flush(&mut chunk, &mut report, progress)?;
            }
            let all = batch.rows.num_rows();
            report.rows += all as u64;
            report.to = Some(batch.end);
            let rows = with_keys(self.view, batch.rows)?;
            report.null_keys += (all - rows.num_rows()) as u64;
            chunk.read += all;
            chunk.batches.push(rows);
        }
        self.flush(&mut chunk, &mut report, progress)?;
        Ok(report)
    }

    /// Writes what `chunk` holds.
    fn flush(
        &self,
        chunk: &mut Chunk,
        report: &mut MaterializeReport,
        progress: &mut dyn FnMut(&MaterializeReport) -> bool,
    ) -> Result<()> {
        let Chunk { batches, .. } = std::mem::take(chunk);
        let Some(first) = batches.first() else { return Ok(()) };
        let rows = concat_batches(&first.schema(), batches.iter())?;
        drop(batches);
        let (rows, set_aside) = self.gate.admit(self.view, rows)?;
        let checkpoint = report.to.filter(|_| self.options.0.range == Range::New);
        report.online += block_on(self.online.write(self.view, &rows, checkpoint))?;
        self.gate.came_in(self.view, &rows)?;
        report.set_aside += set_aside;
        report.chunks += 1;
        if progress(report) {
            return Ok(());
        }
        Err(Core::Cancelled { stage: format!("materialize `{}`", self.view.name()) }.into())
    }
}

/// The rows without a null in their key.
pub(crate) fn with_keys(view: &FeatureView, rows: RecordBatch) -> Result<RecordBatch> {
    let keys = Keys::of(view.entity(), &rows)?;
    if (0..keys.len()).all(|row| !keys.is_null(row)) {
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

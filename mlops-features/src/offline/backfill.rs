//! History of a new feature, made of what happened before there was one.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::pipeline::{Artifact, Inputs, Step, StepContext};
use mlops_core::source::{BatchStream, Comparison, DataSource, Predicate, ScanRequest, SourceInfo};
use mlops_core::{Dataset, Digest, EventTime, Name, Window};
use serde::{Deserialize, Serialize};

use super::{AppendOnce, Once};
use crate::error::{Core, Result};
use crate::view::FeatureView;

/// Most chunks of one backfill.
pub const CHUNKS_MAX: u64 = 1_000_000;

/// What one call of the host's code makes rows of.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The stretch of time whose rows are to be made.
    pub window: Window,
    /// What happened in it, and as long before it as was asked for; read when it is scanned.
    pub events: Dataset,
}

/// How the history of a view is made of events, in chunks of time.
///
/// Each chunk is one append, with an id of what it is: the view, the version of the host's code and the chunk's window. A
/// run that was cut off at any point goes on where it was, and running again changes nothing. A new version appends
/// all chunks again: its rows win where their created time is later or, without one, because they came later.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
///
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
/// use mlops_core::{Dataset, EventTime, Window};
/// use mlops_features::offline::{Backfill, ParquetStore};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let user = Entity::builder("user").key("user_id", KeyType::Int64).build()?;
/// let visits = FeatureView::builder("visits", user).event_time("at").feature("total", ValueType::Int64).build()?;
/// let events = Dataset::from_batches([RecordBatch::try_from_iter([
///     ("user_id", Arc::new(Int64Array::from(vec![7, 8, 7])) as ArrayRef),
///     ("at", Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 12]).with_timezone("UTC"))),
///     ("total", Arc::new(Int64Array::from(vec![1, 1, 2]))),
/// ])?])?;
///
/// let range = Window::new(EventTime::EPOCH, EventTime::from_micros(20))?;
/// let backfill = Backfill::builder(visits, range).chunk(Duration::from_micros(10)).version("1").build()?;
/// let folder = tempfile::tempdir()?;
/// let store = ParquetStore::open(folder.path())?;
/// let made = backfill.run(&store, &events, &|chunk| Ok(chunk.events.clone()), &mut |_| true)?;
/// assert_eq!((made.chunks, made.appended, made.rows), (2, 2, 3));
/// let again = backfill.run(&store, &events, &|chunk| Ok(chunk.events.clone()), &mut |_| true)?;
/// assert_eq!((again.appended, again.before), (0, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Backfill {
    view: FeatureView,
    range: Window,
    chunk_us: u64,
    lookback: Duration,
    version: String,
    time: String,
}

/// What a backfill did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillReport {
    /// Chunks of the whole range.
    pub chunks: u64,
    /// Those that were appended now.
    pub appended: u64,
    /// Those that had been appended before, which were not made again.
    pub before: u64,
    /// Those for which there were no rows.
    pub empty: u64,
    /// Rows that were appended now.
    pub rows: u64,
}

impl BackfillReport {
    /// Chunks that are done with.
    pub fn done(&self) -> u64 {
        self.appended + self.before + self.empty
    }
}

impl Backfill {
    /// Starts a backfill of `view` for `range`.
    pub fn builder(view: FeatureView, range: Window) -> BackfillBuilder {
        let time = view.event_time().to_owned();
        let chunk = Duration::from_hours(24);
        BackfillBuilder { view, range, chunk, lookback: Duration::ZERO, version: String::new(), time }
    }

    /// The view.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// Chunks of the whole range, in the order of time. Each is as long as was asked for; the last may be shorter.
    pub fn windows(&self) -> impl Iterator<Item = Window> + use<> {
        let (start, end) = (self.range.start.as_micros(), self.range.end.as_micros());
        let length = self.chunk_us;
        (0..self.chunks()).map(move |at| {
            // Within the range, which is one of `i64`.
            let from = (i128::from(start) + i128::from(at) * i128::from(length)) as i64;
            let to = (i128::from(from) + i128::from(length)).min(i128::from(end)) as i64;
            Window { start: EventTime::from_micros(from), end: EventTime::from_micros(to) }
        })
    }

    fn chunks(&self) -> u64 {
        self.range.end.as_micros().wrapping_sub(self.range.start.as_micros()).cast_unsigned().div_ceil(self.chunk_us)
    }

    /// The id of the append of a chunk.
    fn id(&self, window: Window) -> Result<Digest> {
        let told = (self.view.fingerprint(), &self.version, window, self.lookback.as_micros() as u64, &self.time);
        Ok(Digest::of_json(&("backfill", 1, told))?)
    }

    /// Makes and appends the chunks that are missing, the earliest first; calls `progress` after each, which may answer
    /// false to stop there.
    ///
    /// * `events`: rows with an instant each; scanned once per chunk, so sources that can leave out rows by time are faster.
    /// * `make`: rows with the columns of the view, for the window of the chunk. Where it looks back, rows before the window
    ///   are in the chunk's events, too. It may give no rows; such a chunk is made again in a later run.
    ///
    /// Memory is that of `make` and of one batch: rows that it gives as a source are never held.
    ///
    /// # Errors
    /// What `make`, the events and the store fail with; chunks before stay. `Core(Cancelled)` when `progress` said so.
    pub fn run(
        &self,
        store: &dyn AppendOnce,
        events: &Dataset,
        make: &dyn Fn(&Chunk) -> Result<Dataset>,
        progress: &mut dyn FnMut(&BackfillReport) -> bool,
    ) -> Result<BackfillReport> {
        let mut report = BackfillReport { chunks: self.chunks(), ..BackfillReport::default() };
        for window in self.windows() {
            let id = self.id(window)?;
            if store.appended(&self.view, &id)?.is_some() {
                report.before += 1;
            } else {
                let rows = make(&Chunk { window, events: self.events(events, window)? })?;
                match store.append_once(&self.view, &id, &rows)? {
                    Once::Now(appended) if appended.end.is_none() => report.empty += 1,
                    Once::Now(appended) => {
                        report.appended += 1;
                        report.rows += appended.rows;
                    }
                    Once::Before(_) => report.before += 1,
                }
            }
            if !progress(&report) {
                return Err(Core::Cancelled { stage: format!("backfill of `{}`", self.view.name()) }.into());
            }
        }
        Ok(report)
    }

    fn events(&self, events: &Dataset, window: Window) -> Result<Dataset> {
        let window = Window { start: window.start.minus(self.lookback), end: window.end };
        let source = Between { data: events.clone(), column: self.time.clone(), window };
        Ok(Dataset::from_source(Arc::new(source))?)
    }
}

/// Rows of a stretch of time.
#[derive(Debug)]
struct Between {
    data: Dataset,
    column: String,
    window: Window,
}

impl DataSource for Between {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        self.data.info()
    }

    fn schema(&self) -> mlops_core::Result<mlops_core::Schema> {
        Ok(self.data.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let from = Predicate::new(&self.column, Comparison::GtEq, self.window.start);
        let to = Predicate::new(&self.column, Comparison::Lt, self.window.end);
        self.data.scan(&request.clone().filter(from).filter(to))
    }
}

/// Collects the settings of a [`Backfill`].
#[derive(Clone, Debug)]
pub struct BackfillBuilder {
    view: FeatureView,
    range: Window,
    chunk: Duration,
    lookback: Duration,
    version: String,
    time: String,
}

impl BackfillBuilder {
    /// Length of a chunk, which is what a crash costs. Default a day.
    pub fn chunk(mut self, length: Duration) -> Self {
        self.chunk = length;
        self
    }

    /// How long before its window a chunk's events begin. Default zero.
    pub fn lookback(mut self, length: Duration) -> Self {
        self.lookback = length;
        self
    }

    /// Stands for the code that makes the rows: whoever changes that, changes this. Default empty.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Column of the events with the instant of each. Default that of the view.
    pub fn events_time(mut self, column: impl Into<String>) -> Self {
        self.time = column.into();
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a chunk below a microsecond or above 2^63 of them, or for more than [`CHUNKS_MAX`] chunks.
    pub fn build(self) -> Result<Backfill> {
        let chunk_us = u64::try_from(self.chunk.as_micros()).ok().filter(|us| (1..=i64::MAX as u64).contains(us));
        let domain = "at least a microsecond and at most 2^63 of them";
        let chunk_us = chunk_us.ok_or_else(|| Core::invalid("chunk", format!("{:?}", self.chunk), domain))?;
        let Self { view, range, lookback, version, time, .. } = self;
        Window::new(range.start, range.end)?;
        let backfill = Backfill { view, range, chunk_us, lookback, version, time };
        if backfill.chunks() > CHUNKS_MAX {
            return Err(Core::invalid("chunks of a backfill", backfill.chunks(), "at most 1000000").into());
        }
        Ok(backfill)
    }
}

type Make = dyn Fn(&Chunk) -> Result<Dataset> + Send + Sync;

/// A [`Backfill`] as a step of a pipeline; its artifact is the report as JSON.
#[derive(Clone)]
pub struct BackfillStep {
    name: Name,
    backfill: Backfill,
    store: Arc<dyn AppendOnce>,
    events: Name,
    make: Arc<Make>,
}

impl BackfillStep {
    /// A step `name` that makes rows of the data set that the step `events` gives.
    pub fn new(
        name: Name,
        backfill: Backfill,
        store: Arc<dyn AppendOnce>,
        events: Name,
        make: impl Fn(&Chunk) -> Result<Dataset> + Send + Sync + 'static,
    ) -> Self {
        Self { name, backfill, store, events, make: Arc::new(make) }
    }
}

impl Step for BackfillStep {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> mlops_core::Result<Digest> {
        let all = self.backfill.id(self.backfill.range)?;
        Digest::of_json(&(all, self.backfill.chunk_us, &self.events))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> mlops_core::Result<Artifact> {
        let events = inputs.get(self.events.as_str())?.as_dataset()?;
        let mut go_on = |report: &BackfillReport| {
            (context.progress)(report.done() as f64 / report.chunks.max(1) as f64);
            !(context.cancelled)()
        };
        let report = self.backfill.run(&*self.store, events, &*self.make, &mut go_on)?;
        (context.progress)(1.0);
        let json = serde_json::to_value(report).map_err(|e| Core::invalid_data("report of a backfill", e))?;
        Ok(Artifact::Json(json))
    }
}

impl fmt::Debug for BackfillStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackfillStep")
            .field("name", &self.name)
            .field("backfill", &self.backfill)
            .finish_non_exhaustive()
    }
}

//! A polars plan as a source.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::RecordBatch;
use polars::prelude::{DataFrame, Engine, IdxSize, LazyFrame, PlanCallback, PolarsError, col};

use super::{Privacy, batches, caught, pushdown, schema_of};
use crate::error::Cause;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Error, Result, Schema};

/// Frames that polars may be ahead of the reader.
const FRAMES_AHEAD: usize = 1;

/// Any polars plan as a source: it runs anew at each scan, in polars' streaming engine.
///
/// * Projection and limit of a scan go into the plan, and so do predicates, as far as polars' comparison means what
///   Arrow's does (see [`Predicate`](crate::source::Predicate)); the rest is applied to what comes out. A limit goes in
///   when all predicates did; otherwise the plan is stopped when enough rows came.
/// * Rows come in batches of at most the size asked for, while the plan runs: memory is bounded by what the plan itself
///   must hold, such as one side of a join, or all rows for a sort.
/// * Rows come in the plan's order. A plan that does not fix one (a group-by that does not maintain order, a join with
///   unspecified order) breaks the contract of [`DataSource`]: two scans may differ.
/// * Each scan that is being read has a thread of its own, which ends when the stream is read to its end or dropped.
/// * Annotations: none, until [`annotated_like`](Self::annotated_like) lays some over.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::interop::polars::LazyFrameSource;
/// use mlops_core::interop::polars::polars::df;
/// use mlops_core::interop::polars::polars::prelude::{IntoLazy, col, lit};
/// use mlops_core::source::{Comparison, Predicate, ScanRequest};
///
/// let plan = df!("id" => [1_i64, 2, 3])?.lazy().with_column((col("id") * lit(10_i64)).alias("tens"));
/// let data = Dataset::from_source(Arc::new(LazyFrameSource::new("tens", plan)?))?;
/// let large = data.scan(&ScanRequest::all().filter(Predicate::new("tens", Comparison::Gt, 10)))?;
/// assert_eq!(Dataset::collect(large)?.num_rows()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct LazyFrameSource {
    name: Arc<str>,
    plan: LazyFrame,
    schema: Schema,
    privacy: Privacy,
}

impl fmt::Debug for LazyFrameSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The plan is left out: it prints literals, and they may be personal.
        f.debug_struct("LazyFrameSource")
            .field("name", &self.name)
            .field("schema", &self.schema)
            .finish_non_exhaustive()
    }
}

impl LazyFrameSource {
    /// A source of what `plan` gives; `name` is for messages and catalogs. The plan is resolved, not run.
    ///
    /// # Errors
    /// [`Error::NotFound`] naming a column that the plan asks for and does not find, [`Error::External`] when polars cannot
    /// resolve it for another reason, [`Error::InvalidData`] naming a column of a type that Arrow does not have.
    pub fn new(name: impl Into<Arc<str>>, plan: LazyFrame) -> Result<Self> {
        Self::guarded(name, plan, Privacy::Open)
    }

    pub(super) fn guarded(name: impl Into<Arc<str>>, mut plan: LazyFrame, privacy: Privacy) -> Result<Self> {
        let resolved = caught(|| Ok(plan.collect_schema()?)).map_err(|cause| match missing_column(&cause) {
            Some(name) => Error::not_found("column", name),
            None => failed(privacy)(cause),
        })?;
        let schema = schema_of(&resolved, privacy)?;
        Ok(Self { name: name.into(), plan, schema, privacy })
    }

    /// The same source with the annotations that `schema` has for columns of the same name. Where one of them is
    /// personal, polars' messages are withheld from errors.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when an annotation is unknown.
    pub fn annotated_like(mut self, schema: &Schema) -> Result<Self> {
        self.schema = self.schema.annotated_like(schema)?;
        self.privacy = self.privacy.or(Privacy::of(&self.schema));
        Ok(self)
    }

    /// The plan.
    pub fn plan(&self) -> &LazyFrame {
        &self.plan
    }

    /// The plan with as much of `request` in it as polars can do, the columns that it gives, and what is left to do.
    pub(super) fn narrowed(&self, request: &ScanRequest) -> Result<(LazyFrame, Schema, ScanRequest)> {
        let needed = request.columns_to_read(&self.schema)?;
        let mut plan = self.plan.clone();
        let mut left = ScanRequest::all().batch_rows(request.rows_per_batch());
        let mut all_pushed = true;
        for predicate in request.predicates() {
            predicate.check(&self.schema)?;
            let pushed = pushdown::push(predicate, self.schema.field(predicate.column())?.data_type());
            let is_exact = pushed.as_ref().is_some_and(|pushed| pushed.is_exact);
            if let Some(pushed) = pushed {
                plan = plan.filter(pushed.expr);
            }
            if !is_exact {
                left = left.filter(predicate.clone());
                all_pushed = false;
            }
        }
        if let Some(projection) = request.projection() {
            left = left.columns(projection);
        }
        if let Some(rows) = request.limit_rows() {
            left = left.limit(rows);
            if let (true, Ok(rows)) = (all_pushed, IdxSize::try_from(rows)) {
                plan = plan.limit(rows);
            }
        }
        let columns = self.columns_of(request, needed, all_pushed);
        if !columns.is_empty() {
            plan = plan.select(columns.iter().map(|name| col(name.as_str())).collect::<Vec<_>>());
        }
        Ok((plan, self.schema.project(&columns)?, left))
    }

    /// What the plan must give so that the rest of the request can be done.
    fn columns_of(&self, request: &ScanRequest, needed: Vec<String>, all_pushed: bool) -> Vec<String> {
        let columns = match request.projection() {
            Some(projection) if all_pushed => projection.to_vec(),
            _ => needed,
        };
        if columns.is_empty() {
            // Rows can only be counted along a column.
            return self.schema.names().take(1).map(str::to_owned).collect();
        }
        columns
    }
}

impl DataSource for LazyFrameSource {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo::new("polars", &*self.name))
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let (plan, schema, left) = self.narrowed(request)?;
        let rows = NonZeroUsize::new(request.rows_per_batch()).unwrap_or(NonZeroUsize::MIN);
        let running = Running {
            state: State::Ready(Box::new(plan), rows),
            schema: schema.clone(),
            privacy: self.privacy,
            pending: VecDeque::new(),
        };
        left.finish(BatchStream::new(schema, running))
    }
}

/// The column that a plan asks for and does not find.
fn missing_column(cause: &Cause) -> Option<String> {
    let mut error = cause.downcast_ref::<PolarsError>()?;
    while let PolarsError::Context { error: inner, .. } | PolarsError::ExprContext { error: inner, .. } = error {
        error = inner;
    }
    match error {
        PolarsError::ColumnNotFound(message) => message.split('"').nth(1).map(str::to_owned),
        _ => None,
    }
}

fn failed(privacy: Privacy) -> impl Fn(Cause) -> Error {
    move |cause| Error::external("polars", privacy.screen(cause))
}

/// What the thread of a plan says.
enum Message {
    Rows(DataFrame),
    Failed(Cause),
    /// All rows were given. Without this word the plan has died, and what came before is not all.
    Done,
}

enum State {
    Ready(Box<LazyFrame>, NonZeroUsize),
    Reading(Receiver<Message>),
    Over,
}

/// A plan that is being run, as batches.
struct Running {
    state: State,
    schema: Schema,
    privacy: Privacy,
    pending: VecDeque<RecordBatch>,
}

/// Starts the thread of `plan`.
fn start(plan: LazyFrame, rows: NonZeroUsize) -> Result<Receiver<Message>> {
    let (sender, receiver) = sync_channel(FRAMES_AHEAD);
    let run = move || {
        let end = match caught(|| run(plan, rows, &sender)) {
            Ok(()) => Message::Done,
            Err(cause) => Message::Failed(cause),
        };
        // This fails when nobody listens any more: the stream was dropped.
        let _ = sender.send(end);
    };
    thread::Builder::new()
        .name("polars-scan".to_owned())
        .spawn(run)
        .map_err(|e| Error::external("thread for a polars plan", e))?;
    Ok(receiver)
}

impl Running {
    fn receive(&mut self) -> Result<Option<DataFrame>> {
        let receiver = match std::mem::replace(&mut self.state, State::Over) {
            State::Ready(plan, rows) => start(*plan, rows)?,
            State::Reading(receiver) => receiver,
            State::Over => return Ok(None),
        };
        match receiver.recv() {
            Ok(Message::Rows(frame)) => {
                self.state = State::Reading(receiver);
                Ok(Some(frame))
            }
            Ok(Message::Done) => Ok(None),
            Ok(Message::Failed(cause)) => Err(failed(self.privacy)(cause)),
            Err(_) => Err(Error::external("polars", "the plan ended without giving all of its rows")),
        }
    }
}

/// Runs `plan`, handing its rows to `sender` until nobody listens.
fn run(plan: LazyFrame, rows: NonZeroUsize, sender: &SyncSender<Message>) -> Result<(), Cause> {
    let rows_out = sender.clone();
    let hand_on = PlanCallback::new(move |frame| Ok(rows_out.send(Message::Rows(frame)).is_err()));
    plan.sink_batches(hand_on, true, Some(rows))?.collect_with_engine(Engine::Streaming)?;
    Ok(())
}

impl Iterator for Running {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.pending.pop_front() {
                return Some(self.schema.attach(&batch));
            }
            match self.receive() {
                Ok(None) => return None,
                Ok(Some(mut frame)) => {
                    // Polars collects small pieces up to the size asked for; as one chunk they are one batch.
                    frame.rechunk_mut();
                    match batches(frame, self.privacy) {
                        Ok((_, batches)) => self.pending.extend(batches),
                        Err(error) => return Some(Err(error)),
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

//! The observer that a ranking pipeline hands its answers to.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::Field;
use mlops_core::rank::{Observer, Served};
use mlops_core::source::DataSink;
use mlops_core::{Error, Name, Result, Schema};
use serde::{Deserialize, Serialize};

use super::BATCH_ROWS;
use super::rows::Layout;

/// Answers that wait, and what became of all answers.
///
/// [`Observer::observe`] only puts a reference into a bounded queue: no copy, no conversion, no waiting for I/O. When the
/// queue is full the newest answer is dropped and counted. The host drains the queue whenever it likes, from a thread of
/// its own: [`drain`](Self::drain) gives record batches, [`drain_into`](Self::drain_into) writes them to a sink.
///
/// # Rows
/// One per served candidate, best first: [`REQUEST_ID`](super::REQUEST_ID), [`EVENT_TIME`](super::EVENT_TIME), the
/// candidate key, [`POSITION`](super::POSITION), [`SCORE`](super::SCORE) (NaN stays NaN), for each declared objective
/// `score_…` and `version_…` (null where it was not scored), [`TOOK_US`](super::TOOK_US), [`DEGRADED`](super::DEGRADED),
/// then the declared feature columns as they were served, then those of the request's context. A column that an answer
/// lacks, or has in another type, is null and counted in [`LogCounters::unfit_columns`].
///
/// # Examples
/// ```
/// use std::{sync::Arc, time::Duration};
/// use mlops_core::arrow::array::{Float64Array, Int64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::{DataType, Field};
/// use mlops_core::rank::{Observer, Query, RequestId, Served, Slate};
/// use mlops_core::{EventTime, Name};
/// use mlops_monitor::log::PredictionLog;
///
/// let log = PredictionLog::builder(Name::new("impressions")?, Field::new("offer_id", DataType::Int64, false))
///     .feature(Field::new("price", DataType::Float64, true))
///     .build()?;
/// let context = RecordBatch::try_from_iter([("customer_id", Arc::new(Int64Array::from(vec![7])) as _)])?;
/// let offers = RecordBatch::try_from_iter([
///     ("offer_id", Arc::new(Int64Array::from(vec![3, 1])) as _),
///     ("price", Arc::new(Float64Array::from(vec![9.5, 2.0])) as _),
/// ])?;
/// log.observe(&Arc::new(Served {
///     query: Query::new(RequestId(1), EventTime::from_secs(60), context, 10)?,
///     slate: Slate::new(offers)?,
///     scores: vec![0.9, 0.4],
///     versions: Vec::new(),
///     filtered: vec![],
///     degraded: Vec::new(),
///     took: Duration::from_micros(180),
/// }));
/// let batches = log.drain(1_000)?;
/// assert_eq!(batches[0].num_rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct PredictionLog {
    name: Name,
    layout: Layout,
    requests_max: usize,
    rows_max: usize,
    queue: Mutex<Queue>,
    observed: AtomicU64,
    dropped: AtomicU64,
    drained: AtomicU64,
    rows: AtomicU64,
    refused: AtomicU64,
    unfit: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    requests: VecDeque<Arc<Served>>,
    rows: usize,
}

/// What one drain adds to the counters.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    drained: u64,
    rows: u64,
    refused: u64,
    unfit: u64,
}

/// What became of the answers that a log was shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogCounters {
    /// Answers shown.
    pub observed: u64,
    /// Answers that found the queue full.
    pub dropped: u64,
    /// Answers that were drained, those without candidates included.
    pub drained: u64,
    /// Rows made of them.
    pub rows: u64,
    /// Answers that could not become rows: another type of key, or not one score per candidate.
    pub refused: u64,
    /// Declared columns that an answer lacked or had in another type; null was written.
    pub unfit_columns: u64,
    /// Answers in the queue now.
    pub waiting: u64,
}

/// Builder of [`PredictionLog`].
#[derive(Debug, Clone)]
pub struct PredictionLogBuilder {
    name: Name,
    key: Field,
    objectives: Vec<Name>,
    features: Vec<Field>,
    context: Vec<Field>,
    requests_max: usize,
    rows_max: usize,
}

impl PredictionLogBuilder {
    /// Logs score and model version of `objective`. Default: none but the blended score.
    pub fn objective(mut self, objective: Name) -> Self {
        self.objectives.push(objective);
        self
    }

    /// Logs a column of the candidates as it was used for scoring; annotations in the field's metadata are kept.
    pub fn feature(mut self, field: Field) -> Self {
        self.features.push(field);
        self
    }

    /// Logs a column of the request's context.
    pub fn context(mut self, field: Field) -> Self {
        self.context.push(field);
        self
    }

    /// Answers that may wait. Default 8192.
    pub fn requests_max(mut self, requests: usize) -> Self {
        self.requests_max = requests;
        self
    }

    /// Candidates of the waiting answers together. Default 1 048 576.
    pub fn rows_max(mut self, rows: usize) -> Self {
        self.rows_max = rows;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a bound is 0 or a column is secret, [`Error::AlreadyExists`] when two columns have one name.
    pub fn build(self) -> Result<PredictionLog> {
        if self.requests_max == 0 || self.rows_max == 0 {
            return Err(Error::invalid("bound of the log", 0, "at least 1"));
        }
        Ok(PredictionLog {
            name: self.name,
            layout: Layout::new(self.key, self.objectives, self.features, self.context)?,
            requests_max: self.requests_max,
            rows_max: self.rows_max,
            queue: Mutex::default(),
            observed: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            drained: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            unfit: AtomicU64::new(0),
        })
    }
}

impl PredictionLog {
    /// A log of candidates whose key is `key`.
    pub fn builder(name: Name, key: Field) -> PredictionLogBuilder {
        PredictionLogBuilder {
            name,
            key,
            objectives: Vec::new(),
            features: Vec::new(),
            context: Vec::new(),
            requests_max: 8_192,
            rows_max: 1 << 20,
        }
    }

    /// Columns of the rows, with roles and sensitivities.
    pub fn schema(&self) -> &Schema {
        &self.layout.schema
    }

    /// What became of the answers so far.
    pub fn counters(&self) -> LogCounters {
        LogCounters {
            waiting: self.lock().requests.len() as u64,
            observed: self.observed.load(Ordering::Relaxed),
            dropped: self.dropped.load(Ordering::Relaxed),
            drained: self.drained.load(Ordering::Relaxed),
            rows: self.rows.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            unfit_columns: self.unfit.load(Ordering::Relaxed),
        }
    }

    /// Takes up to `requests_max` waiting answers, oldest first, as rows; one request is never cut in two.
    ///
    /// # Errors
    /// [`Error::External`] when Arrow cannot join the columns; the answers taken count as refused then.
    pub fn drain(&self, requests_max: usize) -> Result<Vec<RecordBatch>> {
        let taken = self.take(requests_max);
        match self.convert(&taken) {
            Ok((batches, tally)) => {
                self.count(tally);
                Ok(batches)
            }
            Err(error) => {
                self.count(Tally { refused: taken.len() as u64, ..Tally::default() });
                Err(error)
            }
        }
    }

    /// Writes up to `requests_max` waiting answers to `sink` in one commit and says how many rows it were; begins no
    /// write when there is nothing. For one drainer at a time: when the sink fails, the answers go back to the head
    /// of the queue, and what no longer fits there is dropped and counted.
    ///
    /// # Errors
    /// What the sink says; nothing of this write is visible then.
    pub fn drain_into(&self, sink: &dyn DataSink, requests_max: usize) -> Result<u64> {
        let taken = self.take(requests_max);
        let write = || -> Result<Tally> {
            let (batches, tally) = self.convert(&taken)?;
            if !batches.is_empty() {
                let mut writer = sink.begin(self.schema())?;
                for batch in &batches {
                    writer.write(batch)?;
                }
                writer.commit()?;
            }
            Ok(tally)
        };
        match write() {
            Ok(tally) => {
                self.count(tally);
                Ok(tally.rows)
            }
            Err(error) => {
                self.put_back(taken);
                Err(error)
            }
        }
    }

    fn take(&self, requests_max: usize) -> Vec<Arc<Served>> {
        let mut taken = Vec::new();
        while taken.len() < requests_max {
            // Short holds, so that no request waits for a long drain.
            let mut queue = self.lock();
            let count = (requests_max - taken.len()).min(256).min(queue.requests.len());
            if count == 0 {
                break;
            }
            let chunk = queue.requests.drain(..count);
            let start = taken.len();
            taken.extend(chunk);
            queue.rows -= taken[start..].iter().map(|served| served.slate.len()).sum::<usize>();
        }
        taken
    }

    fn put_back(&self, taken: Vec<Arc<Served>>) {
        let mut queue = self.lock();
        for served in taken.into_iter().rev() {
            let rows = served.slate.len();
            if queue.requests.len() >= self.requests_max || queue.rows.saturating_add(rows) > self.rows_max {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            queue.rows += rows;
            queue.requests.push_front(served);
        }
    }

    fn convert(&self, mut taken: &[Arc<Served>]) -> Result<(Vec<RecordBatch>, Tally)> {
        let (mut batches, mut tally) = (Vec::new(), Tally::default());
        while !taken.is_empty() {
            let mut rows = 0;
            let enough = |served: &Arc<Served>| {
                rows += served.slate.len();
                rows >= BATCH_ROWS
            };
            let count = taken.iter().position(enough).map_or(taken.len(), |last| last + 1);
            let (chunk, rest) = taken.split_at(count);
            let made = self.layout.rows(chunk)?;
            tally.drained += chunk.len() as u64 - made.refused;
            tally.refused += made.refused;
            tally.unfit += made.unfit;
            tally.rows += made.batch.as_ref().map_or(0, RecordBatch::num_rows) as u64;
            batches.extend(made.batch);
            taken = rest;
        }
        Ok((batches, tally))
    }

    fn count(&self, tally: Tally) {
        self.drained.fetch_add(tally.drained, Ordering::Relaxed);
        self.rows.fetch_add(tally.rows, Ordering::Relaxed);
        self.refused.fetch_add(tally.refused, Ordering::Relaxed);
        self.unfit.fetch_add(tally.unfit, Ordering::Relaxed);
    }

    /// A panic elsewhere cannot leave the queue half changed: each change is one call that does not panic.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for PredictionLog {
    fn name(&self) -> &Name {
        &self.name
    }

    fn observe(&self, served: &Arc<Served>) {
        self.observed.fetch_add(1, Ordering::Relaxed);
        let rows = served.slate.len();
        let mut queue = self.lock();
        if queue.requests.len() >= self.requests_max || queue.rows.saturating_add(rows) > self.rows_max {
            drop(queue);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.rows += rows;
        queue.requests.push_back(Arc::clone(served));
    }
}

#[cfg(test)]
mod tests;

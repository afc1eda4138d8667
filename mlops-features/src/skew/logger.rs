//! Keeps a sample of served vectors, at little cost to those who wait for them.

use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use foldhash::fast::FixedState;
use mlops_core::EventTime;
use mlops_core::schema::Sensitivity;

use super::log::{LogSchema, VectorLog};
use crate::error::{Core, Result};
use crate::serve::{FeatureVectors, ServingPlan};

/// Fixed, so that the same request is in every sample or in none.
const SEED: u64 = 0x736b_6577;

/// Keeps a sample of what one service answered, for an [`audit`](super::audit).
///
/// [`observe`](Self::observe) only puts rows aside; [`flush`](Self::flush), called from where waiting does no harm, writes
/// them. When more rows wait than the logger may hold, further ones are dropped and counted.
///
/// Values of columns that are more sensitive than allowed (by default: than `Internal`) are never put aside. Keys are: the
/// audit has to look them up. A log of personal keys is to be guarded like any table of them.
pub struct VectorLogger {
    columns: LogSchema,
    log: Arc<dyn VectorLog>,
    share: f64,
    rows_max: usize,
    waiting: Mutex<Vec<RecordBatch>>,
    held: AtomicU64,
    logged: AtomicU64,
    dropped: AtomicU64,
}

/// Collects the settings of a [`VectorLogger`].
#[derive(Clone, Debug)]
pub struct VectorLoggerBuilder {
    plan: ServingPlan,
    log: Arc<dyn VectorLog>,
    share: f64,
    rows_max: usize,
    sensitivity_max: Sensitivity,
}

impl VectorLoggerBuilder {
    /// Share of the rows that are kept, chosen by their keys and instants. Default 0.01.
    pub fn share(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// Most rows that wait for a flush. Default 65536.
    pub fn rows_max(mut self, rows: usize) -> Self {
        self.rows_max = rows;
        self
    }

    /// The most sensitive columns whose values are kept. Default `Internal`.
    pub fn sensitivity_max(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity_max = sensitivity;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` for a share outside of `(0, 1]`, [`Error::Collision`](crate::Error::Collision) when a column of the
    /// caller has the name of a returned one.
    pub fn build(self) -> Result<VectorLogger> {
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(Core::invalid("share of logged rows", self.share, "above 0 and at most 1").into());
        }
        Ok(VectorLogger {
            columns: LogSchema::new(&self.plan, self.sensitivity_max)?,
            log: self.log,
            share: self.share,
            rows_max: self.rows_max,
            waiting: Mutex::default(),
            held: AtomicU64::default(),
            logged: AtomicU64::default(),
            dropped: AtomicU64::default(),
        })
    }
}

impl VectorLogger {
    /// Settings of a logger of what `plan` answers.
    pub fn builder(plan: &ServingPlan, log: Arc<dyn VectorLog>) -> VectorLoggerBuilder {
        let (share, rows_max, sensitivity_max) = (0.01, 65_536, Sensitivity::Internal);
        VectorLoggerBuilder { plan: plan.clone(), log, share, rows_max, sensitivity_max }
    }

    /// Puts a sample of `vectors`, which `entities` asked for at `now`, aside.
    ///
    /// # Errors
    /// `Core(Schema)` when `entities` are not those of the vectors, or the vectors not those of the plan.
    pub fn observe(&self, entities: &RecordBatch, vectors: &FeatureVectors, now: EventTime) -> Result<()> {
        if !self.wants(vectors.plan()) {
            let found = format!("service `{}` under another definition", vectors.plan().service());
            return Err(Core::schema("logged vectors", "those of the logger's plan", found).into());
        }
        let picked = self.columns.pick(entities, self.share, |bytes| self.in_sample(bytes, now))?;
        let rows = picked.count_set_bits();
        if rows == 0 {
            return Ok(());
        }
        if self.held.fetch_add(rows as u64, Ordering::Relaxed) + rows as u64 > self.rows_max as u64 {
            self.held.fetch_sub(rows as u64, Ordering::Relaxed);
            self.dropped.fetch_add(rows as u64, Ordering::Relaxed);
            return Ok(());
        }
        let rows = self.columns.rows(entities, vectors, now)?;
        let rows = filter_record_batch(&rows, &BooleanArray::new(picked, None))?;
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(rows);
        Ok(())
    }

    /// Whether it was made for `plan`.
    pub(crate) fn wants(&self, plan: &ServingPlan) -> bool {
        plan.fingerprint() == self.columns.fingerprint()
    }

    fn in_sample(&self, key: &[u8], now: EventTime) -> bool {
        let mut hasher = FixedState::with_seed(SEED).build_hasher();
        hasher.write(key);
        hasher.write_i64(now.as_micros());
        // The upper 53 bits as a number in [0, 1).
        let place = (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64;
        place < self.share
    }

    /// Writes what waits; says how many rows that were. Rows that cannot be written wait on.
    ///
    /// # Errors
    /// As [`VectorLog::append`].
    pub fn flush(&self) -> Result<u64> {
        let batches = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let rows: u64 = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        if rows == 0 {
            return Ok(0);
        }
        let written = concat_batches(self.columns.schema.arrow(), &batches)
            .map_err(crate::Error::from)
            .and_then(|rows| self.log.append(&rows));
        if let Err(error) = written {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(batches);
            return Err(error);
        }
        self.held.fetch_sub(rows, Ordering::Relaxed);
        self.logged.fetch_add(rows, Ordering::Relaxed);
        Ok(rows)
    }

    /// Rows written so far.
    pub fn logged(&self) -> u64 {
        self.logged.load(Ordering::Relaxed)
    }

    /// Rows that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for VectorLogger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VectorLogger")
            .field("log", &self.log)
            .field("share", &self.share)
            .field("logged", &self.logged())
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

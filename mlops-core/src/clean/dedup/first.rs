//! Keeping the first row of each key.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;

use super::super::rows::admit;
use super::super::{Changes, Pass, StepChanges};
use super::key::KeyReader;
use super::{KIND, Limits};
use crate::rowkey::{KeyLimits, RowSet, Seen, Times};
use crate::spill::{Shelf, Shelved};
use crate::{Error, Result, Schema};

/// Lets the first row of each key through, as rows come while the keys are held. From the batch on in which a key waits, rows
/// are set aside, and those that come first go out when the pass is drained.
pub(super) struct First {
    input: Schema,
    reader: KeyReader,
    seen: Seen,
    held_bytes_max: u64,
    /// Rows that may come first, which are numbered in this order.
    candidates: u64,
    stage: Stage,
    changes: StepChanges,
}

enum Stage {
    Passing,
    /// Candidates from a number on.
    Holding(u64, Box<Shelf>),
    Draining(Aside),
    Drained,
}

/// Candidates that were set aside, and which of them do not come first.
struct Aside {
    rows: Shelved,
    next: u64,
    again: RowSet,
}

impl First {
    pub(super) fn begin(input: &Schema, reader: KeyReader, limits: Limits) -> Self {
        let held_bytes_max = limits.held_bytes_max;
        let keys = KeyLimits { held_bytes_max, distinct_max: limits.keys_max, setting: "keys_max" };
        Self {
            input: input.clone(),
            reader,
            seen: Seen::new(keys),
            held_bytes_max,
            candidates: 0,
            stage: Stage::Passing,
            changes: StepChanges::new(KIND),
        }
    }

    /// The rows of `batch` that may come first.
    fn candidates(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut may_be_first = Vec::with_capacity(batch.num_rows());
        for key in self.reader.keys(batch)? {
            let times = match key {
                Some(key) => self.seen.see(key, self.candidates)?,
                None => Times::First,
            };
            let is_candidate = matches!(times, Times::First | Times::Waiting);
            self.candidates += u64::from(is_candidate);
            may_be_first.push(is_candidate);
        }
        Ok(filter_record_batch(batch, &BooleanArray::from(may_be_first))?)
    }

    fn settle(&mut self, first: u64, shelf: Shelf) -> Result<Aside> {
        let mut again = RowSet::default();
        self.seen.settle(&mut |candidate, times| {
            if times != Times::First {
                again.insert(candidate);
            }
        })?;
        Ok(Aside { rows: shelf.open(), next: first, again })
    }
}

impl Aside {
    /// The next rows that come first, as long as there are any.
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        for batch in &mut self.rows {
            let batch = batch?;
            let again: BooleanBuffer = self.again.marks(self.next, batch.num_rows());
            self.next += batch.num_rows() as u64;
            let kept = filter_record_batch(&batch, &BooleanArray::new(!&again, None))?;
            if kept.num_rows() > 0 {
                return Ok(Some(kept));
            }
        }
        Ok(None)
    }
}

impl Pass for First {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        if matches!(self.stage, Stage::Draining(_) | Stage::Drained) {
            return Err(Error::invalid("pass", "drained", "one that was not drained yet"));
        }
        let before = self.candidates;
        let candidates = self.candidates(&batch)?;
        self.changes.rows_in += batch.num_rows() as u64;
        if self.seen.waits() && matches!(self.stage, Stage::Passing) {
            let shelf = Shelf::new(self.input.arrow().clone(), self.held_bytes_max);
            self.stage = Stage::Holding(before, Box::new(shelf));
        }
        if let Stage::Holding(_, shelf) = &mut self.stage {
            if candidates.num_rows() > 0 {
                shelf.push(&candidates)?;
            }
            return Ok(batch.slice(0, 0));
        }
        self.changes.rows_out += candidates.num_rows() as u64;
        Ok(candidates)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        self.stage = match std::mem::replace(&mut self.stage, Stage::Drained) {
            Stage::Holding(first, shelf) => Stage::Draining(self.settle(first, *shelf)?),
            other => other,
        };
        let Stage::Draining(aside) = &mut self.stage else { return Ok(None) };
        let Some(kept) = aside.next()? else { return Ok(None) };
        self.changes.rows_out += kept.num_rows() as u64;
        self.input.attach(&kept).map(Some)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

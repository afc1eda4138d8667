//! The runs of a suite's checks side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;

use super::given::Shared;
use super::rule::RuleRun;
use super::sample::{Sample, Sampler};
use super::suite::{Entry, Suite, in_check};
use super::{Check, CheckRun, Finding, Scope, Severity};
use crate::expr::Common;
use crate::rowkey::{KeyHasher, RowSet};
use crate::{Error, Name, Result, Schema};

/// The runs of a suite over one table.
pub(super) struct Lanes {
    open: Vec<Lane>,
    hasher: KeyHasher,
    common: Arc<Common>,
    /// Checks whose marks reject a row, in the order of the suite.
    pub(super) bits: Vec<Name>,
    pub(super) rows: u64,
}

/// A run of a check. Rules see what others asked of a batch, checks of the host do not.
pub(super) enum Open {
    Rule(RuleRun),
    Own(Box<dyn CheckRun>),
}

impl Open {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let run = match self {
            Self::Rule(run) => return run.update(batch),
            Self::Own(run) => run,
        };
        Ok(run.update(batch)?.map(|marks| match marks.nulls() {
            Some(nulls) => marks.values() & nulls.inner(),
            None => marks.values().clone(),
        }))
    }

    fn waits(&self) -> bool {
        matches!(self, Self::Rule(run) if run.waits())
    }

    fn settle(&mut self) -> Result<RowSet> {
        match self {
            Self::Rule(run) => run.settle(),
            Self::Own(_) => Ok(RowSet::default()),
        }
    }

    fn finish(self) -> Result<Finding> {
        match self {
            Self::Rule(run) => run.finish(),
            Self::Own(run) => run.finish(),
        }
    }
}

struct Lane {
    entry: Entry,
    run: Open,
    sampler: Sampler,
    rejects: bool,
    late: Late,
}

/// Rows that were marked after the last one was seen.
struct Late {
    rows: RowSet,
    sampler: Sampler,
}

/// What the rows of one batch came to.
pub(super) struct Judged {
    /// Per check that rejects, in the order of the bits: its marks.
    pub(super) marks: Vec<BooleanBuffer>,
    /// Rows that at least one of these marks.
    pub(super) rejected: BooleanBuffer,
}

impl Lanes {
    pub(super) fn begin(suite: &Suite, schema: &Schema, samples: usize) -> Result<Self> {
        let common = Arc::new(Common::of(suite.entries().iter().flat_map(Entry::expressions)));
        let given = suite.given().clone().waiting().sharing(common.clone());
        let lane = |entry: &Entry| {
            let run = entry.begin(schema, &given)?;
            let check = entry.check();
            let sampler = || Sampler::new(schema, check, samples);
            let rejects = check.severity() == Severity::Error && check.scope() != Scope::Table;
            let late = Late { rows: RowSet::default(), sampler: sampler() };
            Ok(Lane { entry: entry.clone(), run, sampler: sampler(), rejects, late })
        };
        let open = suite.entries().iter().map(lane).collect::<Result<Vec<_>>>()?;
        let bits = open.iter().filter(|lane| lane.rejects).map(|lane| lane.entry.check().id().clone()).collect();
        Ok(Self { open, hasher: KeyHasher::new(), common, bits, rows: 0 })
    }

    pub(super) fn judge(&mut self, batch: &RecordBatch) -> Result<Judged> {
        let mut judged = Judged { marks: Vec::new(), rejected: BooleanBuffer::new_unset(batch.num_rows()) };
        let shared = Shared::new(batch, &self.hasher, self.rows).remembering(self.common.memo());
        for lane in &mut self.open {
            let Some(failing) = marks(lane.entry.check(), &mut lane.run, &shared)? else { continue };
            let any = failing.count_set_bits() > 0;
            if any {
                lane.sampler.take(batch, &failing, self.rows)?;
            }
            if lane.rejects {
                if any {
                    judged.rejected = &judged.rejected | &failing;
                }
                judged.marks.push(failing);
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(judged)
    }

    /// Whether rows that were judged may still be marked, by [`settle`](Self::settle).
    pub(super) fn waits(&self) -> bool {
        self.open.iter().any(|lane| lane.run.waits())
    }

    /// Marks what could not be marked before all rows were seen.
    pub(super) fn settle(&mut self) -> Result<()> {
        for lane in self.open.iter_mut().filter(|lane| lane.run.waits()) {
            lane.late.rows = lane.run.settle().map_err(|e| in_check(lane.entry.check().id(), e))?;
        }
        Ok(())
    }

    /// Rows that were marked late, per check that rejects, in the order of the bits.
    pub(super) fn late(&self) -> impl Iterator<Item = &RowSet> {
        self.open.iter().filter(|lane| lane.rejects).map(|lane| &lane.late.rows)
    }

    /// The last row that a sample of those marked late shows.
    pub(super) fn last_sample(&self) -> Option<u64> {
        let last = |lane: &Lane| lane.late.rows.iter().take(lane.late.sampler.left()).last();
        self.open.iter().filter_map(last).max()
    }

    /// Columns that samples of rows marked late show.
    pub(super) fn late_columns(&self) -> BTreeSet<&str> {
        let late = self.open.iter().filter(|lane| lane.late.rows.len() > 0);
        late.flat_map(|lane| lane.late.sampler.columns()).collect()
    }

    /// Shows rows of `batch` that were marked late; `first_row` is the place of its first row in the table.
    pub(super) fn sample_late(&mut self, batch: &RecordBatch, first_row: u64) -> Result<()> {
        for lane in self.open.iter_mut().filter(|lane| lane.late.rows.len() > 0) {
            lane.late.sampler.take(batch, &lane.late.rows.marks(first_row, batch.num_rows()), first_row)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<(Vec<Finding>, Vec<Sample>)> {
        let (mut findings, mut samples) = (Vec::with_capacity(self.open.len()), Vec::new());
        for lane in self.open {
            findings.push(lane.run.finish().map_err(|e| in_check(lane.entry.check().id(), e))?);
            samples.extend(lane.sampler.finish(lane.late.sampler));
        }
        Ok((findings, samples))
    }
}

/// One batch through one run: a mark per row, without nulls, or none for a check of the whole table.
pub(super) fn marks(check: &dyn Check, run: &mut Open, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
    let answer = run.update(batch).map_err(|e| in_check(check.id(), e))?;
    let wanted = check.scope() != Scope::Table;
    match answer {
        None if !wanted => Ok(None),
        Some(marks) if wanted && marks.len() == batch.num_rows() => Ok(Some(marks)),
        other => {
            let found = other.map_or("no marks".to_owned(), |marks| format!("{} marks", marks.len()));
            let expected = if wanted { format!("{} marks", batch.num_rows()) } else { "no marks".to_owned() };
            Err(in_check(check.id(), Error::invalid_data("answer", format!("{found} instead of {expected}"))))
        }
    }
}

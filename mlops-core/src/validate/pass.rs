//! One pass of a suite over a table, which goes back to rows whose verdict came late.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};

use super::lanes::{Judged, Lanes};
use super::suite::Suite;
use super::{Finding, Sample};
use crate::dataset::ContentHasher;
use crate::rowkey::RowSet;
use crate::source::{BatchStream, ScanRequest};
use crate::spill::{Shelf, Shelved};
use crate::{Dataset, Digest, Error, Name, Result};

/// Bytes of marks that wait in memory before they go to a file.
const MARK_BYTES_MAX: u64 = 1 << 24;

/// What a pass is to give beside findings.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    /// Rows shown per check.
    pub(super) samples: usize,
    pub(super) digest: bool,
    /// Every batch together with what is known of its rows in the end.
    pub(super) batches: bool,
    /// The marks of each check, too.
    pub(super) marks: bool,
}

/// Judges a table batch by batch.
///
/// A batch is handed out as soon as all is known of its rows. From the first batch on of which a row waits, what was found so
/// far is set aside (a bit per row in memory, and the marks of each check in a file); after the last row the rest is known,
/// and the table is read again, from that batch on.
pub(super) struct Pass {
    lanes: Lanes,
    data: Dataset,
    request: ScanRequest,
    wants: Wants,
    hasher: Option<ContentHasher>,
    rejected_rows: u64,
    stage: Stage,
}

enum Stage {
    Fresh,
    Reading(BatchStream),
    Again(Again),
    Done,
}

/// What a pass came to.
pub(super) struct Found {
    pub(super) rows: u64,
    pub(super) rejected_rows: u64,
    pub(super) digest: Option<Digest>,
    pub(super) findings: Vec<Finding>,
    pub(super) samples: Vec<Sample>,
}

impl Pass {
    pub(super) fn begin(suite: &Suite, data: &Dataset, request: ScanRequest, wants: Wants) -> Result<Self> {
        let schema = data.schema();
        Ok(Self {
            lanes: Lanes::begin(suite, schema, wants.samples)?,
            data: data.clone(),
            request,
            wants,
            hasher: wants.digest.then(|| ContentHasher::new(schema)).transpose()?,
            rejected_rows: 0,
            stage: Stage::Fresh,
        })
    }

    /// Checks whose marks reject a row, in the order of the suite.
    pub(super) fn bits(&self) -> &[Name] {
        &self.lanes.bits
    }

    /// The next batch. Without [`Wants::batches`], those whose rows wait are left out.
    pub(super) fn next(&mut self) -> Result<Option<(RecordBatch, Judged)>> {
        if matches!(self.stage, Stage::Fresh) {
            self.stage = Stage::Reading(self.data.scan(&self.request)?);
        }
        if let Stage::Reading(stream) = &mut self.stage {
            let Some(batch) = stream.next().transpose()? else {
                self.stage = Stage::Done;
                return Ok(None);
            };
            let first = self.lanes.rows;
            let judged = self.judge(&batch)?;
            if !self.lanes.waits() {
                self.rejected_rows += judged.rejected.count_set_bits() as u64;
                return Ok(Some((batch, judged)));
            }
            self.read_on(first, &judged)?;
        }
        match &mut self.stage {
            Stage::Again(again) => again.next(&mut self.lanes),
            _ => Ok(None),
        }
    }

    fn judge(&mut self, batch: &RecordBatch) -> Result<Judged> {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(batch)?;
        }
        self.lanes.judge(batch)
    }

    /// Reads the rest of the table and settles what waits.
    fn read_on(&mut self, first: u64, judged: &Judged) -> Result<()> {
        let marks = self.wants.marks && !self.lanes.bits.is_empty();
        let mut rejected = RowSet::default();
        let mut shelf = marks.then(|| Marks::shelf(&self.lanes.bits));
        let mut keep = |row: u64, judged: &Judged| {
            rejected.extend_marked(row, &judged.rejected);
            shelf.as_mut().map_or(Ok(()), |shelf| shelf.push(&Marks::batch(&judged.marks)?))
        };
        keep(first, judged)?;
        if let Stage::Reading(stream) = std::mem::replace(&mut self.stage, Stage::Done) {
            for batch in stream {
                let row = self.lanes.rows;
                keep(row, &self.judge(&batch?)?)?;
            }
        }
        self.lanes.settle()?;
        self.lanes.late().for_each(|late| rejected.extend(late));
        self.rejected_rows += rejected.len();
        if self.wants.batches {
            let marks = shelf.map(|shelf| Marks { shelved: shelf.open(), rest: None });
            let stream = self.data.scan(&self.request)?;
            self.stage = Stage::Again(Again { stream, marks, rejected, first, row: 0 });
        } else if let Some(last) = self.lanes.last_sample() {
            self.sample(last)?;
        }
        Ok(())
    }

    /// Reads again what samples show, up to the row `last`.
    fn sample(&mut self, last: u64) -> Result<()> {
        let request = ScanRequest::all().columns(self.lanes.late_columns());
        let mut row = 0;
        for batch in self.data.scan(&request)? {
            let batch = batch?;
            self.lanes.sample_late(&batch, row)?;
            row += batch.num_rows() as u64;
            if row > last {
                return Ok(());
            }
        }
        Err(changed(self.lanes.rows, row))
    }

    pub(super) fn finish(self) -> Result<Found> {
        let rows = self.lanes.rows;
        let (findings, samples) = self.lanes.finish()?;
        let digest = self.hasher.map(ContentHasher::finish);
        Ok(Found { rows, rejected_rows: self.rejected_rows, digest, findings, samples })
    }
}

/// The second reading.
struct Again {
    stream: BatchStream,
    /// What each check had marked in the first one.
    marks: Option<Marks>,
    /// Rows from `first` on that are rejected.
    rejected: RowSet,
    /// The first row that was not handed out in the first one.
    first: u64,
    row: u64,
}

impl Again {
    fn next(&mut self, lanes: &mut Lanes) -> Result<Option<(RecordBatch, Judged)>> {
        loop {
            let Some(batch) = self.stream.next().transpose()? else {
                return if self.row == lanes.rows { Ok(None) } else { Err(changed(lanes.rows, self.row)) };
            };
            let known = self.first.saturating_sub(self.row).min(batch.num_rows() as u64);
            self.row += batch.num_rows() as u64;
            if self.row > lanes.rows {
                return Err(changed(lanes.rows, self.row));
            }
            let batch = batch.slice(known as usize, batch.num_rows() - known as usize);
            if batch.num_rows() > 0 {
                return self.judged(batch, lanes).map(Some);
            }
        }
    }

    fn judged(&mut self, batch: RecordBatch, lanes: &mut Lanes) -> Result<(RecordBatch, Judged)> {
        let rows = batch.num_rows();
        let first = self.row - rows as u64;
        lanes.sample_late(&batch, first)?;
        let rejected = self.rejected.marks(first, rows);
        let marks = match &mut self.marks {
            None => Vec::new(),
            Some(marks) => {
                let known = marks.take(rows)?;
                known.iter().zip(lanes.late()).map(|(known, late)| known | &late.marks(first, rows)).collect()
            }
        };
        Ok((batch, Judged { marks, rejected }))
    }
}

/// Marks of rows that wait, check by check.
struct Marks {
    shelved: Shelved,
    rest: Option<RecordBatch>,
}

impl Marks {
    fn schema(checks: usize) -> SchemaRef {
        let field = |place: usize| Field::new(place.to_string(), DataType::Boolean, false);
        Arc::new(ArrowSchema::new((0..checks).map(field).collect::<Vec<_>>()))
    }

    fn shelf(bits: &[Name]) -> Shelf {
        Shelf::new(Self::schema(bits.len()), MARK_BYTES_MAX)
    }

    fn batch(marks: &[BooleanBuffer]) -> Result<RecordBatch> {
        let column = |marks: &BooleanBuffer| Arc::new(BooleanArray::new(marks.clone(), None)) as ArrayRef;
        Ok(RecordBatch::try_new(Self::schema(marks.len()), marks.iter().map(column).collect())?)
    }

    /// The marks of the next rows, whichever batches they were found in.
    fn take(&mut self, rows: usize) -> Result<Vec<BooleanBuffer>> {
        let (mut parts, mut missing) = (Vec::new(), rows);
        while missing > 0 {
            let next = self.rest.take().map(Ok).or_else(|| self.shelved.next());
            let batch = next.unwrap_or_else(|| Err(changed(0, missing as u64)))?;
            let len = missing.min(batch.num_rows());
            parts.push(batch.slice(0, len));
            self.rest = (len < batch.num_rows()).then(|| batch.slice(len, batch.num_rows() - len));
            missing -= len;
        }
        let Some(first) = parts.first() else { return Ok(Vec::new()) };
        let whole = concat_batches(&first.schema(), &parts)?;
        Ok(whole.columns().iter().map(|column| column.as_boolean().values().clone()).collect())
    }
}

/// The table had other rows when it was read again.
fn changed(expected: u64, found: u64) -> Error {
    let rows = |rows: u64| format!("{rows} rows");
    Error::Conflict { kind: "data set", name: "read twice".to_owned(), expected: rows(expected), found: rows(found) }
}

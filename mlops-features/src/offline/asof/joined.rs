//! Entity rows and features side by side, put together whenever they are read.

use std::fmt;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::UInt8Type;
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use mlops_core::{Dataset, Schema};

use super::spine::Spine;
use crate::error::Result;
use mlops_core::spill::{Spooled, SpooledBatches, SpooledRows};

/// Features of one view, or some of them.
#[derive(Clone)]
pub(crate) enum Part {
    /// One array per feature, as long as there are entity rows.
    Held(Vec<ArrayRef>),
    /// In the order of the entity rows.
    Filed(Spooled),
    /// In that order within each partition; and the partition of each entity row, cut like the blocks of these.
    Scattered { rows: Spooled, numbers: Spooled },
}

impl Part {
    fn len(&self) -> usize {
        match self {
            Self::Held(columns) => columns.len(),
            Self::Filed(rows) | Self::Scattered { rows, .. } => rows.schema().fields().len(),
        }
    }
}

/// The entity rows with `parts` beside them: in memory if all of it is, else as a source.
pub(crate) fn dataset(schema: Schema, spine: Spine, parts: Vec<Part>) -> Result<Dataset> {
    if let (Some(batches), Some(columns)) = (spine.held(), held(&parts)) {
        return Ok(side_by_side(schema, batches, &columns)?);
    }
    Ok(Dataset::from_source(std::sync::Arc::new(Joined { schema, spine, parts }))?)
}

fn held(parts: &[Part]) -> Option<Vec<ArrayRef>> {
    let columns = |part: &Part| if let Part::Held(columns) = part { Some(columns.clone()) } else { None };
    Some(parts.iter().map(columns).collect::<Option<Vec<_>>>()?.concat())
}

fn side_by_side(schema: Schema, batches: &[RecordBatch], columns: &[ArrayRef]) -> mlops_core::Result<Dataset> {
    let mut start = 0;
    let mut extended = Vec::with_capacity(batches.len());
    for batch in batches {
        let rows = batch.num_rows();
        let mut arrays = batch.columns().to_vec();
        arrays.extend(columns.iter().map(|column| column.slice(start, rows)));
        start += rows;
        extended.push(RecordBatch::try_new(schema.arrow().clone(), arrays)?);
    }
    Dataset::held(schema, extended)
}

/// A result that does not fit into memory.
struct Joined {
    schema: Schema,
    spine: Spine,
    parts: Vec<Part>,
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined")
            .field("rows", &self.spine.rows())
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

impl DataSource for Joined {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        Ok(SourceInfo::new("as_of_join", "files without a name"))
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let schema = request.schema_to_read(&self.schema)?;
        let wanted = schema.names().map(|name| self.schema.index_of(name)).collect::<mlops_core::Result<Vec<_>>>()?;
        let own = self.schema.len() - self.parts.iter().map(Part::len).sum::<usize>();
        let within = |from: usize, to: usize| -> Vec<usize> {
            wanted.iter().filter(|at| (from..to).contains(*at)).map(|at| at - from).collect()
        };
        let mut parts = Vec::new();
        let mut first = own;
        for part in &self.parts {
            let columns = within(first, first + part.len());
            first += part.len();
            if !columns.is_empty() {
                parts.push((PartRows::new(part), columns));
            }
        }
        let rows =
            Rows { schema: schema.clone(), spine: self.spine.blocks(), columns: within(0, own), parts, failed: false };
        request.finish(BatchStream::new(schema, rows))
    }
}

/// One reading of a [`Joined`].
struct Rows {
    schema: Schema,
    spine: Box<dyn Iterator<Item = mlops_core::Result<RecordBatch>> + Send>,
    /// What is wanted of the entity rows, and of each part.
    columns: Vec<usize>,
    parts: Vec<(PartRows, Vec<usize>)>,
    failed: bool,
}

impl Iterator for Rows {
    type Item = mlops_core::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let block = self.spine.next()?.and_then(|block| self.extend(&block));
        self.failed = block.is_err();
        Some(block)
    }
}

impl Rows {
    fn extend(&mut self, block: &RecordBatch) -> mlops_core::Result<RecordBatch> {
        let mut arrays: Vec<ArrayRef> = self.columns.iter().map(|at| block.column(*at).clone()).collect();
        for (part, columns) in &mut self.parts {
            let rows = part.next(block.num_rows())?;
            arrays.extend(columns.iter().map(|at| rows[*at].clone()));
        }
        Ok(RecordBatch::try_new(self.schema.arrow().clone(), arrays)?)
    }
}

/// One reading of a [`Part`].
enum PartRows {
    Held { columns: Vec<ArrayRef>, start: usize },
    Filed(SpooledRows),
    Scattered { partitions: Vec<SpooledRows>, numbers: SpooledBatches },
}

impl PartRows {
    fn new(part: &Part) -> Self {
        match part {
            Part::Held(columns) => Self::Held { columns: columns.clone(), start: 0 },
            Part::Filed(rows) => Self::Filed(SpooledRows::new(rows, 0)),
            Part::Scattered { rows, numbers } => Self::Scattered {
                partitions: (0..rows.partitions()).map(|partition| SpooledRows::new(rows, partition)).collect(),
                numbers: numbers.read(0),
            },
        }
    }

    /// The columns of the next `rows` entity rows.
    fn next(&mut self, rows: usize) -> mlops_core::Result<Vec<ArrayRef>> {
        match self {
            Self::Held { columns, start } => {
                let next = columns.iter().map(|column| column.slice(*start, rows)).collect();
                *start += rows;
                Ok(next)
            }
            Self::Filed(filed) => {
                let mut pieces = Vec::new();
                filed.take(rows, &mut pieces)?;
                Ok(together(&pieces)?.columns().to_vec())
            }
            Self::Scattered { partitions, numbers } => {
                let missing = || mlops_core::Error::corrupt("a file of spilled rows", "it ends early");
                let numbers = numbers.next().ok_or_else(missing)??;
                let numbers = numbers.column(0).as_primitive::<UInt8Type>().values();
                debug_assert_eq!(numbers.len(), rows, "numbers are cut like entity rows");
                Ok(interleave(partitions, numbers)?.columns().to_vec())
            }
        }
    }
}

fn together(pieces: &[RecordBatch]) -> mlops_core::Result<RecordBatch> {
    match pieces {
        [one] => Ok(one.clone()),
        many => Ok(concat_batches(many[0].schema_ref(), many)?),
    }
}

/// The next row of the partition that each number says.
fn interleave(partitions: &mut [SpooledRows], numbers: &[u8]) -> mlops_core::Result<RecordBatch> {
    let mut counts = vec![0_usize; partitions.len()];
    numbers.iter().for_each(|number| counts[usize::from(*number)] += 1);
    let mut pieces = Vec::new();
    let (mut next, mut start) = (Vec::with_capacity(counts.len()), 0_u32);
    for (rows, count) in partitions.iter_mut().zip(&counts) {
        rows.take(*count, &mut pieces)?;
        next.push(start);
        start += *count as u32;
    }
    let places = numbers.iter().map(|number| {
        let place = &mut next[usize::from(*number)];
        *place += 1;
        *place - 1
    });
    let places = places.collect::<UInt32Array>();
    Ok(take_record_batch(&together(&pieces)?, &places)?)
}

//! Where rows go once they were judged: to quarantine with the checks that they failed, or on.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use crate::source::{DataSink, SinkWriter, Written};
use crate::{Error, Name, Result, Schema};

/// Column of the quarantine that says which checks a row failed: bit `i` stands for the i-th of
/// [`Report::mark_bits`](super::Report::mark_bits).
pub const MARKS_COLUMN: &str = "failed_checks";

/// Field metadata of [`MARKS_COLUMN`] that names the bits: ids separated by commas, bit 0 first.
pub const MARKS_METADATA: &str = "mlops.mark_bits";

/// Most checks that can set bits in one quarantine.
pub const MARKS_MAX: usize = 64;

/// The two open writes of one run, each optional.
pub(super) struct Router {
    quarantine: Option<(Box<dyn SinkWriter>, Schema)>,
    passed: Option<Box<dyn SinkWriter>>,
}

impl Router {
    pub(super) fn begin(
        schema: &Schema,
        bits: &[Name],
        quarantine: Option<&dyn DataSink>,
        passed: Option<&dyn DataSink>,
    ) -> Result<Self> {
        let open = |sink: &dyn DataSink| {
            let schema = with_marks(schema, bits)?;
            Ok::<_, Error>((sink.begin(&schema)?, schema))
        };
        Ok(Self {
            quarantine: quarantine.map(open).transpose()?,
            passed: passed.map(|sink| sink.begin(schema)).transpose()?,
        })
    }

    /// Routes `batch`: `rejected` are the rows that at least one of `marks` holds; `marks` are in the order of the bits.
    pub(super) fn route(
        &mut self,
        batch: &RecordBatch,
        marks: &[BooleanBuffer],
        rejected: &BooleanBuffer,
    ) -> Result<()> {
        let none = rejected.count_set_bits() == 0;
        if let Some((writer, schema)) = self.quarantine.as_mut().filter(|_| !none) {
            writer.write(&marked(batch, marks, rejected, schema)?)?;
        }
        if let Some(writer) = &mut self.passed {
            let kept = if none { batch.clone() } else { keep(batch, rejected)? };
            if kept.num_rows() > 0 {
                writer.write(&kept)?;
            }
        }
        Ok(())
    }

    /// Makes what was set aside visible first: nothing has left the input before it can be found there.
    pub(super) fn commit(self) -> Result<(Option<Written>, Option<Written>)> {
        let quarantined = self.quarantine.map(|(writer, _)| writer.commit()).transpose()?;
        let passed = self.passed.map(SinkWriter::commit).transpose()?;
        Ok((quarantined, passed))
    }
}

/// The rows of `batch` that are not `rejected`.
pub(super) fn keep(batch: &RecordBatch, rejected: &BooleanBuffer) -> Result<RecordBatch> {
    Ok(filter_record_batch(batch, &BooleanArray::new(!rejected, None))?)
}

fn with_marks(schema: &Schema, bits: &[Name]) -> Result<Schema> {
    if bits.len() > MARKS_MAX {
        return Err(Error::invalid("suite", format!("{} checks that mark rows as errors", bits.len()), "at most 64"));
    }
    let ids: Vec<&str> = bits.iter().map(Name::as_str).collect();
    let marks = Field::new(MARKS_COLUMN, DataType::UInt64, false)
        .with_metadata([(MARKS_METADATA.to_owned(), ids.join(","))].into());
    let arrow = schema.arrow();
    let fields = arrow.fields().iter().cloned().chain([Arc::new(marks)]);
    Schema::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), arrow.metadata().clone()))
}

fn marked(
    batch: &RecordBatch,
    marks: &[BooleanBuffer],
    rejected: &BooleanBuffer,
    schema: &Schema,
) -> Result<RecordBatch> {
    let mask = |row: usize| {
        let set = marks.iter().enumerate().filter(|(_, marks)| marks.value(row));
        set.fold(0_u64, |mask, (bit, _)| mask | 1 << bit)
    };
    let masks: UInt64Array = rejected.set_indices().map(mask).collect();
    let rows = filter_record_batch(batch, &BooleanArray::new(rejected.clone(), None))?;
    let columns = rows.columns().iter().cloned().chain([Arc::new(masks) as _]).collect();
    Ok(RecordBatch::try_new(schema.arrow().clone(), columns)?)
}

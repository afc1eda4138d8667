//! Where rows go once they were judged: to quarantine with the checks that they failed, or on.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch, UInt64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use crate::source::{DataSink, SinkWriter, Written};
use crate::{Error, Name, Result, Schema};

/// Column of the quarantine that says which checks a row failed: bit `i` stands for the i-th of
/// [`Report::mark_bits`](super::Report::mark_bits).
///
/// `UInt64` up to [`MARKS_IN_WORD`] checks. With more, fixed-size binary of as many words of 8 bytes as are needed: bit `i` is
/// bit `i % 8`, from the lowest, of byte `i / 8`.
pub const MARKS_COLUMN: &str = "failed_checks";

/// Field metadata of [`MARKS_COLUMN`] that names the bits: ids separated by commas, bit 0 first.
pub const MARKS_METADATA: &str = "mlops.mark_bits";

/// Most checks whose bits are one number.
pub const MARKS_IN_WORD: usize = 64;

/// Most checks that can set bits in one quarantine.
pub const MARKS_MAX: usize = 10_000;

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
        return Err(Error::invalid(
            "suite",
            format!("{} checks that mark rows as errors", bits.len()),
            "at most 10000",
        ));
    }
    let ids: Vec<&str> = bits.iter().map(Name::as_str).collect();
    let layout = if bits.len() > MARKS_IN_WORD {
        DataType::FixedSizeBinary((bits.len().div_ceil(64) * 8) as i32)
    } else {
        DataType::UInt64
    };
    let marks =
        Field::new(MARKS_COLUMN, layout, false).with_metadata([(MARKS_METADATA.to_owned(), ids.join(","))].into());
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
    let masks: ArrayRef = if marks.len() > MARKS_IN_WORD {
        let width = marks.len().div_ceil(64) * 8;
        let mut bytes = vec![0_u8; width * rejected.count_set_bits()];
        for (row, bytes) in rejected.set_indices().zip(bytes.chunks_mut(width)) {
            let set = marks.iter().enumerate().filter(|(_, marks)| marks.value(row));
            set.for_each(|(bit, _)| bytes[bit / 8] |= 1 << (bit % 8));
        }
        Arc::new(FixedSizeBinaryArray::try_new(width as i32, bytes.into(), None)?)
    } else {
        let mask = |row: usize| {
            let set = marks.iter().enumerate().filter(|(_, marks)| marks.value(row));
            set.fold(0_u64, |mask, (bit, _)| mask | 1 << bit)
        };
        Arc::new(rejected.set_indices().map(mask).collect::<UInt64Array>())
    };
    let rows = filter_record_batch(batch, &BooleanArray::new(rejected.clone(), None))?;
    let columns = rows.columns().iter().cloned().chain([masks]).collect();
    Ok(RecordBatch::try_new(schema.arrow().clone(), columns)?)
}

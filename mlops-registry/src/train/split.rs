//! Splits into rows to learn from and rows to judge by.

use mlops_core::arrow::array::{Array, BooleanArray, RecordBatch};
use mlops_core::arrow::compute::filter_record_batch;
use mlops_core::arrow::compute::not;
use mlops_core::arrow::row::{RowConverter, SortField};
use mlops_core::source::{Comparison, Predicate};
use mlops_core::{Dataset, Digest, EventTime};

use crate::{Error, Result};

/// Splits by time: rows before `at`, and rows at or after it. Both are held in memory.
///
/// * `column`: a timestamp or date column without nulls.
///
/// # Errors
/// [`NotFound`](mlops_core::Error::NotFound) or [`Schema`](mlops_core::Error::Schema) naming the column.
pub fn split_at(data: &Dataset, column: &str, at: EventTime) -> Result<(Dataset, Dataset)> {
    let before = Predicate::new(column, Comparison::Lt, at);
    before.check(data.schema())?;
    split(data, |batch| {
        let mask = before.mask(batch)?;
        if mask.null_count() > 0 {
            return Err(mlops_core::Error::schema(
                column,
                "times without nulls",
                format!("{} nulls", mask.null_count()),
            )
            .into());
        }
        Ok(mask)
    })
}

/// Splits by the values of `columns`: all rows of one value fall on one side, about `share` of the values on the first.
///
/// The side of a value depends on the value and `seed` only, so it stays when rows are added. Both sides are held in
/// memory.
///
/// # Errors
/// [`NotFound`](mlops_core::Error::NotFound) naming a missing column, [`Invalid`](mlops_core::Error::Invalid) when `share`
/// is outside 0 to 1.
pub fn split_by_key(data: &Dataset, columns: &[&str], share: f64, seed: u64) -> Result<(Dataset, Dataset)> {
    if !(0.0..=1.0).contains(&share) {
        return Err(Error::invalid("share", share, "between 0 and 1"));
    }
    let keys = data.schema().project(columns)?;
    let fields = keys.arrow().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    split(data, |batch| {
        let arrays = columns.iter().map(|name| batch.column_by_name(name).cloned());
        let arrays =
            arrays.collect::<Option<Vec<_>>>().ok_or_else(|| Error::not_found("column", columns.join(", ")))?;
        let rows = converter.convert_columns(&arrays)?;
        Ok(rows.iter().map(|row| Some(fraction(row.as_ref(), seed) < share)).collect())
    })
}

/// A number in `[0, 1)` from a value and a seed.
fn fraction(value: &[u8], seed: u64) -> f64 {
    let digest = Digest::of_parts([seed.to_le_bytes().as_slice(), value]);
    let first = digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    (first >> 11) as f64 / (1_u64 << 53) as f64
}

fn split(data: &Dataset, first: impl Fn(&RecordBatch) -> Result<BooleanArray>) -> Result<(Dataset, Dataset)> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for batch in data.batches()? {
        let batch = batch?;
        let mask = first(&batch)?;
        left.push(filter_record_batch(&batch, &mask)?);
        right.push(filter_record_batch(&batch, &not(&mask)?)?);
    }
    let schema = data.schema();
    Ok((Dataset::held(schema.clone(), left)?, Dataset::held(schema.clone(), right)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlops_core::arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};

    use super::*;

    fn data() -> Dataset {
        let ids: Vec<i64> = (0..1_000).collect();
        let times: Vec<i64> = ids.iter().map(|i| i * 1_000_000).collect();
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int64Array::from(ids)) as ArrayRef),
            ("at", Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
        ]);
        Dataset::from_batches([batch.unwrap()]).unwrap()
    }

    #[test]
    fn the_row_at_the_instant_falls_on_the_later_side() {
        let (before, after) = split_at(&data(), "at", EventTime::from_secs(600)).unwrap();
        assert_eq!((before.num_rows().unwrap(), after.num_rows().unwrap()), (600, 400));
        assert!(split_at(&data(), "id", EventTime::EPOCH).is_err());
    }

    #[test]
    fn a_key_stays_on_its_side_when_rows_are_added() {
        let (left, right) = split_by_key(&data(), &["id"], 0.8, 7).unwrap();
        assert_eq!(left.num_rows().unwrap() + right.num_rows().unwrap(), 1_000);
        assert!((740..=860).contains(&left.num_rows().unwrap()), "{}", left.num_rows().unwrap());
        let half = Dataset::from_batches([data().to_batch().unwrap().slice(0, 500)]).unwrap();
        let (left_half, _) = split_by_key(&half, &["id"], 0.8, 7).unwrap();
        let all = left.to_batch().unwrap();
        let first = all.slice(0, usize::try_from(left_half.num_rows().unwrap()).unwrap());
        assert_eq!(left_half.to_batch().unwrap(), first);
        assert!(split_by_key(&data(), &["id"], 1.5, 7).is_err());
    }
}

//! Row groups that cannot hold a row which is asked for.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use parquet::arrow::arrow_reader::ArrowReaderBuilder;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;

use crate::source::{Comparison, Predicate, Scalar};
use crate::{Error, Result};

/// Numbers of the row groups that may hold rows for which all of `predicates` are true.
///
/// Only a definite "no" drops a group: missing statistics and values that cannot be compared keep it.
pub(in crate::source) fn row_groups<T>(builder: &ArrowReaderBuilder<T>, predicates: &[Predicate]) -> Vec<usize> {
    let mut keep = vec![true; builder.metadata().num_row_groups()];
    for predicate in predicates {
        // No statistics for nested columns, and none that are worth an error.
        if let Ok(possible) = possible(builder, predicate) {
            let definite_no = |group: usize| possible.is_valid(group) && !possible.value(group);
            keep.iter_mut().enumerate().for_each(|(group, keep)| *keep &= !definite_no(group));
        }
    }
    keep.iter().enumerate().filter(|(_, keep)| **keep).map(|(group, _)| group).collect()
}

/// For each row group, whether a row of it can fit `predicate`; null where that is not known.
fn possible<T>(builder: &ArrowReaderBuilder<T>, predicate: &Predicate) -> Result<BooleanArray> {
    let groups = builder.metadata().row_groups();
    let column = predicate.column();
    let unknown = |e: &dyn std::fmt::Display| Error::invalid_data(format!("statistics of column `{column}`"), e);
    let statistics = StatisticsConverter::try_new(column, builder.schema(), builder.parquet_schema())
        .map_err(|e| unknown(&e))?
        .with_missing_null_counts_as_zero(false);
    let nulls = || statistics.row_group_null_counts(groups).map_err(|e| unknown(&e));
    let bound = |array: ArrayRef, comparison, value: &Scalar| {
        let batch = RecordBatch::try_from_iter_with_nullable([(column, array, true)])?;
        Predicate::new(column, comparison, value.clone()).mask(&batch)
    };
    let least = || statistics.row_group_mins(groups).map_err(|e| unknown(&e)).and_then(|least| cautious(least, -0.0));
    let greatest = || statistics.row_group_maxes(groups).map_err(|e| unknown(&e)).and_then(|most| cautious(most, 0.0));
    match predicate {
        Predicate::IsNull { .. } => Ok(nulls()?.iter().map(|count| count.map(|n| n > 0)).collect()),
        Predicate::IsNotNull { .. } => {
            let rows = groups.iter().map(|group| group.num_rows() as u64);
            Ok(nulls()?.iter().zip(rows).map(|(count, rows)| count.map(|n| n < rows)).collect())
        }
        Predicate::Compare { comparison, value, .. } => {
            // Statistics leave NaN out, which the predicate places above all else: upper bounds say nothing then.
            let floating = statistics.arrow_field().data_type().is_floating();
            if floating && matches!(value, Scalar::Float(v) if v.is_nan()) {
                return Err(unknown(&"NaN"));
            }
            match comparison {
                Comparison::Lt => bound(least()?, Comparison::Lt, value),
                Comparison::LtEq => bound(least()?, Comparison::LtEq, value),
                Comparison::Gt if !floating => bound(greatest()?, Comparison::Gt, value),
                Comparison::GtEq if !floating => bound(greatest()?, Comparison::GtEq, value),
                Comparison::Eq => {
                    let low = bound(least()?, Comparison::LtEq, value)?;
                    let high = bound(greatest()?, Comparison::GtEq, value)?;
                    Ok(arrow::compute::and_kleene(&low, &high)?)
                }
                _ => Err(unknown(&"not bounded")),
            }
        }
    }
}

/// Bounds of floats as the format wants them read, since writers differ: NaN says nothing, and either zero may stand for
/// both, so it counts as the one that lets more in.
fn cautious(bounds: ArrayRef, zero: f64) -> Result<ArrayRef> {
    if !bounds.data_type().is_floating() {
        return Ok(bounds);
    }
    let wide = cast(&bounds, &DataType::Float64)?;
    let read = |bound: f64| if bound == 0.0 { zero } else { bound };
    let bounds = wide.as_primitive::<Float64Type>().iter();
    Ok(Arc::new(bounds.map(|bound| bound.filter(|b| !b.is_nan()).map(read)).collect::<Float64Array>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_floats_are_read_with_caution() {
        let bounds: ArrayRef =
            Arc::new(Float64Array::from(vec![Some(0.0), Some(f64::NAN), None, Some(-0.0), Some(2.5)]));
        let bits = |zero| {
            let read = cautious(bounds.clone(), zero).unwrap();
            read.as_primitive::<Float64Type>().iter().map(|b| b.map(f64::to_bits)).collect::<Vec<_>>()
        };
        let (plus, minus, other) = (Some(0.0_f64.to_bits()), Some((-0.0_f64).to_bits()), Some(2.5_f64.to_bits()));
        assert_eq!(bits(-0.0), [minus, None, None, minus, other]);
        assert_eq!(bits(0.0), [plus, None, None, plus, other]);
    }
}

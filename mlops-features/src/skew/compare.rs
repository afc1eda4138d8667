//! Columns, bit for bit.

use arrow::array::{ArrayRef, make_comparator};
use arrow::buffer::BooleanBuffer;
use arrow::compute::SortOptions;

use crate::error::Result;

/// Rows at which `a` and `b`, which are of one type, have the same bits; two nulls are the same.
///
/// Floats compare by IEEE 754's total order: a NaN equals a NaN of the same bits, and −0.0 is not 0.0.
pub(super) fn same_bits(a: &ArrayRef, b: &ArrayRef) -> Result<BooleanBuffer> {
    let order = make_comparator(a, b, SortOptions::default())?;
    Ok(BooleanBuffer::collect_bool(a.len(), |row| order(row, row).is_eq()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float32Array, Float64Array, StringArray};

    use super::*;

    #[track_caller]
    fn same(a: ArrayRef, b: ArrayRef, expected: &[bool]) {
        assert_eq!(same_bits(&a, &b).unwrap().iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn zeros_and_nans_are_told_apart_by_their_bits() {
        let payload = f64::from_bits(f64::NAN.to_bits() | 1);
        let a = vec![Some(0.0), Some(f64::NAN), Some(f64::NAN), Some(f64::NAN), None, None, Some(f64::INFINITY)];
        let b = vec![Some(-0.0), Some(f64::NAN), Some(-f64::NAN), Some(payload), None, Some(0.0), Some(f64::INFINITY)];
        same(
            Arc::new(Float64Array::from(a)),
            Arc::new(Float64Array::from(b)),
            &[false, true, false, false, true, false, true],
        );
        same(
            Arc::new(Float32Array::from(vec![0.0, f32::NAN])),
            Arc::new(Float32Array::from(vec![-0.0, f32::NAN])),
            &[false, true],
        );
        same(
            Arc::new(StringArray::from(vec![Some("é"), None])),
            Arc::new(StringArray::from(vec![Some("e\u{301}"), None])),
            &[false, true],
        );
    }
}

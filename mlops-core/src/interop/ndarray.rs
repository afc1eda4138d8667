//! Columns as matrices and vectors, and back.
//!
//! Matrices are `f64`, one row per row of the table and one column per column named, in the order named, row after row in
//! memory. Nulls become NaN (see [`floats`] for what else becomes what) and NaN stays NaN on the way back, so a null does
//! not survive a round trip; impute first, or ask for `is_nan`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use ndarray::{Array1, Array2, ArrayView2};

use super::floats;
use crate::source::ScanRequest;
use crate::{Dataset, Error, Result, Schema};

/// `columns` of `batch` as a matrix, rows × columns.
///
/// # Errors
/// [`Error::NotFound`] for a missing column, [`Error::Schema`] for one that is no number, boolean or time.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
/// use mlops_core::interop::ndarray::matrix;
///
/// let batch = RecordBatch::try_from_iter([
///     ("price", Arc::new(Float64Array::from(vec![1.5, 2.5])) as ArrayRef),
///     ("sold", Arc::new(Int64Array::from(vec![Some(3), None]))),
/// ])?;
/// let matrix = matrix(&batch, &["sold", "price"])?;
/// assert_eq!(matrix.row(0).to_vec(), [3.0, 1.5]);
/// assert!(matrix[[1, 0]].is_nan());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn matrix(batch: &RecordBatch, columns: &[impl AsRef<str>]) -> Result<Array2<f64>> {
    let mut values = Vec::new();
    fill(&mut values, batch, columns)?;
    shaped(batch.num_rows(), columns.len(), values)
}

/// Column `column` of `batch` as a vector.
///
/// # Errors
/// As [`matrix`].
pub fn vector(batch: &RecordBatch, column: &str) -> Result<Array1<f64>> {
    Ok(floats(column, named(batch, column)?)?.to_vec().into())
}

/// A batch of `Float64` columns without nulls, named `names`, from the columns of `matrix`.
///
/// # Errors
/// [`Error::Invalid`] unless there is one name per column, [`Error::AlreadyExists`] when two are the same.
///
/// # Examples
/// ```
/// use mlops_core::interop::ndarray::{batch, vector};
/// use ndarray::array;
///
/// let made = batch(&["x", "y"], array![[1.0, 2.0], [3.0, 4.0]].view())?;
/// assert_eq!(vector(&made, "y")?, array![2.0, 4.0]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn batch(names: &[impl AsRef<str>], matrix: ArrayView2<'_, f64>) -> Result<RecordBatch> {
    if names.len() != matrix.ncols() {
        return Err(Error::invalid("names", names.len(), "one per column of the matrix"));
    }
    let fields = names.iter().map(|name| Field::new(name.as_ref(), DataType::Float64, false));
    let schema = Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>()))?;
    let columns = matrix.columns().into_iter().map(|column| self::column(column.to_owned())).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(matrix.nrows()));
    Ok(RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?)
}

/// `values` as a column without nulls; the vector's memory is taken over when it holds nothing else.
pub fn column(values: Array1<f64>) -> ArrayRef {
    let values = if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() };
    let rows = values.len();
    let (buffer, offset) = values.into_raw_vec_and_offset();
    let buffer = match offset {
        None | Some(0) if buffer.len() == rows => buffer,
        offset => {
            let first = offset.unwrap_or(0);
            buffer[first..first + rows].to_vec()
        }
    };
    Arc::new(Float64Array::from(buffer))
}

impl Dataset {
    /// `columns` of all rows as a matrix, rows × columns; only these columns are read.
    ///
    /// # Errors
    /// As [`matrix`], and the first error of the scan.
    pub fn to_matrix(&self, columns: &[impl AsRef<str>]) -> Result<Array2<f64>> {
        let (mut rows, mut values) = (0, Vec::new());
        for batch in self.scan(&ScanRequest::all().columns(columns.iter().map(AsRef::as_ref)))? {
            let batch = batch?;
            fill(&mut values, &batch, columns)?;
            rows += batch.num_rows();
        }
        shaped(rows, columns.len(), values)
    }
}

fn named<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a ArrayRef> {
    batch.column_by_name(column).ok_or_else(|| Error::not_found("column", column))
}

/// Adds the rows of `batch` to `values`, row after row.
fn fill(values: &mut Vec<f64>, batch: &RecordBatch, columns: &[impl AsRef<str>]) -> Result<()> {
    let (start, width) = (values.len(), columns.len());
    values.resize(start + batch.num_rows() * width, 0.0);
    for (index, name) in columns.iter().enumerate() {
        let column = floats(name.as_ref(), named(batch, name.as_ref())?)?;
        for (row, value) in values[start..].chunks_exact_mut(width).zip(column.iter()) {
            row[index] = *value;
        }
    }
    Ok(())
}

fn shaped(rows: usize, columns: usize, values: Vec<f64>) -> Result<Array2<f64>> {
    Array2::from_shape_vec((rows, columns), values).map_err(|e| Error::external("ndarray", e))
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Int64Array, StringArray};
    use ndarray::{Axis, array, s};

    use super::*;

    fn table() -> RecordBatch {
        RecordBatch::try_from_iter([
            ("a", Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])) as ArrayRef),
            ("b", Arc::new(Float64Array::from(vec![0.5, -0.0, f64::NAN]))),
            ("c", Arc::new(BooleanArray::from(vec![true, false, true]))),
            ("t", Arc::new(StringArray::from(vec!["x", "y", "z"]))),
        ])
        .unwrap()
    }

    #[test]
    fn columns_come_in_the_order_named_with_nulls_as_nan() {
        let found = matrix(&table(), &["c", "a"]).unwrap();
        assert_eq!(found.column(0).to_vec(), [1.0, 0.0, 1.0]);
        assert_eq!((found[[0, 1]], found[[2, 1]]), (1.0, 3.0));
        assert!(found[[1, 1]].is_nan() && found.is_standard_layout());
        let b = vector(&table(), "b").unwrap();
        assert!(b[1].is_sign_negative() && b[2].is_nan());
    }

    #[test]
    fn a_data_set_in_any_cut_gives_the_matrix_of_its_rows() {
        let whole = matrix(&table(), &["a", "b"]).unwrap().mapv(f64::to_bits);
        for step in 1..=3 {
            let cuts = (0..3).step_by(step).map(|at| table().slice(at, step.min(3 - at)));
            let data = Dataset::from_batches(cuts).unwrap();
            assert_eq!(data.to_matrix(&["a", "b"]).unwrap().mapv(f64::to_bits), whole);
        }
        let none = Dataset::empty(Schema::new(table().schema()).unwrap());
        assert_eq!(none.to_matrix(&["a", "b"]).unwrap().dim(), (0, 2));
        assert_eq!(matrix(&table(), &[] as &[&str]).unwrap().dim(), (3, 0));
    }

    #[test]
    fn what_no_matrix_holds_is_named() {
        assert!(matches!(matrix(&table(), &["z"]), Err(Error::NotFound { name, .. }) if name == "z"));
        assert!(matches!(vector(&table(), "t"), Err(Error::Schema { column, .. }) if column == "t"));
        let one = array![[1.0]];
        assert!(matches!(batch(&["x", "y"], one.view()), Err(Error::Invalid { .. })));
        assert!(matches!(batch(&["x", "x"], array![[1.0, 2.0]].view()), Err(Error::AlreadyExists { .. })));
    }

    #[test]
    fn a_matrix_comes_back_whatever_its_layout() {
        let square = array![[1.0, 2.0], [3.0, 4.0], [5.0, f64::NAN]];
        for view in [square.view(), square.slice(s![..;-1, ..]), square.slice(s![1.., ..])] {
            let made = batch(&["x", "y"], view).unwrap();
            let bits = |m: ArrayView2<'_, f64>| m.mapv(f64::to_bits);
            assert_eq!(bits(matrix(&made, &["x", "y"]).unwrap().view()), bits(view));
        }
        let turned = square.t().to_owned();
        assert_eq!(batch(&["a", "b", "c"], turned.view()).unwrap().num_rows(), 2);
        assert_eq!(batch(&[] as &[&str], Array2::zeros((2, 0)).view()).unwrap().num_rows(), 2);
    }

    #[test]
    fn a_vector_is_taken_over_without_a_copy() {
        let values = array![1.0, 2.0, 3.0];
        let address = values.as_ptr();
        let made = column(values);
        assert_eq!(made.to_data().buffers()[0].as_ptr(), address.cast::<u8>());
        let mut tail = array![1.0, 2.0, 3.0];
        tail.slice_collapse(s![1..]);
        assert_eq!(*column(tail), Float64Array::from(vec![2.0, 3.0]));
        let mut turned = array![1.0, 2.0];
        turned.invert_axis(Axis(0));
        assert_eq!(*column(turned), Float64Array::from(vec![2.0, 1.0]));
    }
}

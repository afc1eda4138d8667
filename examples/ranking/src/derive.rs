//! Features that are computed from others: one definition, for a training table and for the candidates of a request.

use std::sync::Arc;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Field, Float64Type};
use mlops_core::rank::{Budget, Hydrator, Query, Slate};
use mlops_core::{Error, Name, async_trait};

/// One feature of others.
#[derive(Clone, Copy, Debug)]
pub struct Derived {
    /// Name of its column.
    pub name: &'static str,
    /// Columns that it is made of.
    pub inputs: &'static [&'static str],
    /// The value; a null comes in as NaN, and a NaN that comes out is null.
    pub compute: fn(&[f64]) -> f64,
}

impl Derived {
    /// Its column.
    pub fn field(&self) -> Field {
        Field::new(self.name, DataType::Float64, true)
    }

    /// The values for the rows of `batch`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when an input is missing, [`Error::Schema`] when one is no number.
    pub fn column(&self, batch: &RecordBatch) -> mlops_core::Result<ArrayRef> {
        let inputs = self.inputs.iter().map(|name| numbers(batch, name)).collect::<mlops_core::Result<Vec<_>>>()?;
        let mut cells = vec![0.0; inputs.len()];
        let row = |row: usize| {
            for (cell, input) in cells.iter_mut().zip(&inputs) {
                *cell = if input.is_valid(row) { input.value(row) } else { f64::NAN };
            }
            let value = (self.compute)(&cells);
            (!value.is_nan()).then_some(value)
        };
        Ok(Arc::new((0..batch.num_rows()).map(row).collect::<Float64Array>()))
    }
}

/// A column of any number type as floats.
///
/// # Errors
/// [`Error::NotFound`] when it is missing, [`Error::Schema`] when it holds no numbers.
pub fn numbers(batch: &RecordBatch, name: &str) -> mlops_core::Result<Float64Array> {
    let column = batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))?;
    if !(column.data_type().is_numeric() || column.data_type() == &DataType::Boolean) {
        return Err(Error::schema(name, "a number", column.data_type()));
    }
    Ok(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
}

/// The derived features of a request's candidates.
#[derive(Debug)]
pub struct DerivedFeatures {
    name: Name,
    derived: Vec<Derived>,
}

impl DerivedFeatures {
    /// A stage of this name.
    pub fn new(name: Name, derived: Vec<Derived>) -> Self {
        Self { name, derived }
    }
}

#[async_trait]
impl Hydrator for DerivedFeatures {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        self.derived.iter().map(Derived::field).collect()
    }

    async fn hydrate(&self, _: &Query, slate: &Slate, _: Budget) -> mlops_core::Result<Vec<ArrayRef>> {
        self.derived.iter().map(|derived| derived.column(slate.rows())).collect()
    }
}

#[cfg(test)]
mod tests {
    use mlops_core::arrow::array::Int64Array;

    use super::*;

    #[test]
    fn a_null_comes_in_as_nan_and_goes_out_as_null() {
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("price", Arc::new(Int64Array::from(vec![Some(80), None])) as ArrayRef, true),
            ("budget", Arc::new(Float64Array::from(vec![40.0, 40.0])), true),
        ]);
        let ratio = Derived { name: "ratio", inputs: &["price", "budget"], compute: |x| x[0] / x[1] };
        let column = ratio.column(&batch.unwrap()).unwrap();
        assert_eq!(column.as_primitive::<Float64Type>(), &Float64Array::from(vec![Some(2.0), None]));
    }

    #[test]
    fn a_missing_input_and_one_of_text_are_named() {
        let texts = std::sync::Arc::new(mlops_core::arrow::array::StringArray::from(vec!["a"]));
        let batch = RecordBatch::try_from_iter([("price", texts as ArrayRef)]).unwrap();
        let of = |inputs| Derived { name: "x", inputs, compute: |x| x[0] };
        assert!(of(&["gone"]).column(&batch).unwrap_err().to_string().contains("`gone`"));
        assert!(of(&["price"]).column(&batch).unwrap_err().to_string().contains("`price`"));
    }
}

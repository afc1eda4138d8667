//! Columns in another type, without losing a value in silence.

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{CastOptions, cast_with_options, nullif};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};

use super::pick::assign;
use super::rows::{Fieldset, RowKernel, RowPass, fitted_column, pack, settings, type_name};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::rowkey::canonical;
use crate::source::is_text;
use crate::stats::values::is_time;
use crate::time::EventTime;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "cast";

/// What a column is cast to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CastTo {
    /// `Boolean`.
    Bool,
    /// `Int64`; a time becomes µs since the epoch.
    Int,
    /// `Float64`.
    Float,
    /// `Utf8`.
    Text,
    /// µs since the epoch, UTC; text without a zone is UTC.
    Time,
}

impl CastTo {
    fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
            Self::Time => EventTime::data_type(),
        }
    }
}

/// What becomes of a value that has no equal in the new type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unreadable {
    /// It is an error that names the column and counts the values.
    #[default]
    Refuse,
    /// It becomes null, and counts as such.
    Null,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CastRule {
    columns: Pick,
    to: CastTo,
}

/// Casts columns to other types.
///
/// * A value that would change is unreadable: 1.5 and NaN as integers, 2^53 + 1 as a float, a time of nanoseconds that
///   µs do not hold, text that is not a number. Text is read as Arrow's cast reads it.
/// * Nulls stay null; roles, sensitivities and units stay. Nothing is learned.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{Array, ArrayRef, RecordBatch, StringArray};
/// use mlops_core::clean::{Cast, CastTo, FittedTransformExt, Transform, Unreadable};
///
/// let ages = StringArray::from(vec!["31", "unknown"]);
/// let rows = RecordBatch::try_from_iter([("age", Arc::new(ages) as ArrayRef)])?;
/// let data = Dataset::from_batches([rows.clone()])?;
/// let cast = Cast::builder().column("age", CastTo::Int);
/// assert!(cast.clone().build()?.fit(&data)?.apply_batch(&rows).is_err());
/// let clean = cast.unreadable(Unreadable::Null).build()?.fit(&data)?.apply_batch(&rows)?;
/// assert_eq!(clean["age"].null_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "CastBuilder", into = "CastBuilder")]
pub struct Cast {
    rules: Vec<CastRule>,
    unreadable: Unreadable,
}

/// Builder of [`Cast`], and its form in files.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CastBuilder {
    rules: Vec<CastRule>,
    #[serde(default)]
    unreadable: Unreadable,
}

impl CastBuilder {
    /// Casts `columns`. Where two rules pick a column, the later one holds.
    pub fn column(mut self, columns: impl Into<Pick>, to: CastTo) -> Self {
        self.rules.push(CastRule { columns: columns.into(), to });
        self
    }

    /// What becomes of a value that has no equal in the new type. Default [`Unreadable::Refuse`].
    pub fn unreadable(mut self, unreadable: Unreadable) -> Self {
        self.unreadable = unreadable;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule.
    pub fn build(self) -> Result<Cast> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        Ok(Cast { rules: self.rules, unreadable: self.unreadable })
    }
}

impl TryFrom<CastBuilder> for Cast {
    type Error = Error;

    fn try_from(builder: CastBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Cast> for CastBuilder {
    fn from(cast: Cast) -> Self {
        Self { rules: cast.rules, unreadable: cast.unreadable }
    }
}

impl Cast {
    /// Starts without a rule.
    pub fn builder() -> CastBuilder {
        CastBuilder::default()
    }
}

impl Cast {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let mut columns = Vec::new();
        for (name, rule) in assign(schema, self.rules.iter().map(|rule| (&rule.columns, rule)))? {
            let data_type = schema.field(&name)?.data_type();
            ensure_castable(&name, data_type, rule.to)?;
            columns.push(CastColumn { data_type: type_name(data_type), name, to: rule.to });
        }
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let picks = study::any_picks(self.rules.iter().map(|rule| &rule.columns));
        let fitted = FittedCast { columns, unreadable: self.unreadable };
        Ok(Study::new(study::known(fitted)).concerns(names.clone()).changes(names).picks(picks).reshapes(true))
    }
}

impl Transform for Cast {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        self.begin(data.schema())?.fit(self, data)
    }

    fn study(&self, schema: &Schema) -> Result<Option<Study>> {
        self.begin(schema).map(Some)
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

fn ensure_castable(name: &str, from: &DataType, to: CastTo) -> Result<()> {
    let is_plain = from.is_numeric() || from == &DataType::Boolean || is_text(from) || is_time(from);
    if is_plain && arrow::compute::can_cast_types(from, &to.data_type()) {
        return Ok(());
    }
    Err(Error::schema(name, format!("a type that casts to {}", to.data_type()), from))
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CastColumn {
    name: String,
    data_type: String,
    to: CastTo,
}

/// A [`Cast`] that knows its columns.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FittedCast {
    columns: Vec<CastColumn>,
    unreadable: Unreadable,
}

/// What [`Cast`] knows, read back from its state.
pub(super) fn restore(state: &TransformState) -> Result<Box<dyn FittedTransform>> {
    Ok(Box::new(super::rows::unpack::<FittedCast>(KIND, state)?))
}

impl FittedTransform for FittedCast {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        for column in &self.columns {
            let position = fitted_column(input, &column.name, &column.data_type)?;
            let field = input.arrow().field(position);
            ensure_castable(&column.name, field.data_type(), column.to)?;
            let nullable = field.is_nullable() || self.unreadable == Unreadable::Null;
            fields.replace(position, column.to.data_type(), nullable);
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for column in &self.columns {
            columns.push((input.index_of(&column.name)?, column.clone()));
        }
        Ok(RowPass::begin(KIND, input, output, Kernel { columns, unreadable: self.unreadable }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    columns: Vec<(usize, CastColumn)>,
    unreadable: Unreadable,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns = batch.columns().to_vec();
        for (position, column) in &self.columns {
            let array = batch.column(*position);
            let written = faithful(array, &column.to.data_type())?;
            let lost = (written.logical_null_count() - array.logical_null_count()) as u64;
            if lost > 0 && self.unreadable == Unreadable::Refuse {
                let found = format!("{lost} values in a batch of {} rows that are not", array.len());
                return Err(Error::schema(&column.name, format!("values of {}", column.to.data_type()), found));
            }
            changes.count(&column.name, Change::Nulled, lost);
            if array.data_type() != written.data_type() {
                let present = array.len() - written.logical_null_count();
                changes.count(&column.name, Change::Cast, present as u64);
            }
            columns[*position] = written;
        }
        Ok((columns, batch.num_rows()))
    }
}

/// `array` in another type, null where the value would be another one.
fn faithful(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let safe = CastOptions { safe: true, ..CastOptions::default() };
    let written = cast_with_options(array, to, &safe)?;
    let measured = |data_type: &DataType| data_type.is_numeric() || is_time(data_type);
    if !measured(array.data_type()) || !measured(to) {
        return Ok(written);
    }
    let back = cast_with_options(&written, array.data_type(), &safe)?;
    let changed: BooleanArray = distinct(&canonical(&back), &canonical(array))?;
    nullif(&written, &changed)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray, UInt64Array};
    use arrow::datatypes::{Float64Type, Int64Type};

    use super::super::FittedTransformExt;
    use super::*;

    fn cast(values: impl Array + 'static, to: CastTo) -> Result<ArrayRef> {
        let batch = RecordBatch::try_from_iter_with_nullable([("x", Arc::new(values) as ArrayRef, true)])?;
        let data = Dataset::from_batches([batch.clone()])?;
        let cast = Cast::builder().column("x", to).unreadable(Unreadable::Null).build()?;
        let fitted = cast.fit(&data)?;
        let clean = fitted.apply_batch(&batch)?;
        let lost = clean.column(0).logical_null_count() - batch.column(0).logical_null_count();
        assert_eq!(fitted.changes_of(&data)?.cells("x", Change::Nulled), lost as u64);
        Ok(clean.column(0).clone())
    }

    #[test]
    fn a_value_that_would_change_is_unreadable() {
        let floats = Float64Array::from(vec![Some(2.0), Some(-0.0), Some(1.5), Some(f64::NAN), Some(1e300), None]);
        let whole = cast(floats, CastTo::Int).unwrap();
        let expected = [Some(2), Some(0), None, None, None, None];
        assert_eq!(whole.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected);
        let large = Int64Array::from(vec![1 << 53, (1 << 53) + 1]);
        let floats = cast(large, CastTo::Float).unwrap();
        let expected = [Some(9007199254740992.0), None];
        assert_eq!(floats.as_primitive::<Float64Type>().iter().collect::<Vec<_>>(), expected);
        assert_eq!(cast(UInt64Array::from(vec![u64::MAX]), CastTo::Int).unwrap().null_count(), 1);
        assert_eq!(cast(TimestampNanosecondArray::from(vec![1000, 1001]), CastTo::Time).unwrap().null_count(), 1);
    }

    #[test]
    fn text_is_read_or_refused_by_name_without_being_quoted() {
        let texts = || StringArray::from(vec![Some("0912345678"), Some("secret text"), None]);
        assert_eq!(cast(texts(), CastTo::Int).unwrap().null_count(), 2);
        let batch = RecordBatch::try_from_iter([("phone", Arc::new(texts()) as ArrayRef)]).unwrap();
        let data = Dataset::from_batches([batch.clone()]).unwrap();
        let fitted = Cast::builder().column("phone", CastTo::Int).build().unwrap().fit(&data).unwrap();
        let error = fitted.apply_batch(&batch).unwrap_err().to_string();
        assert!(error.contains("`phone`") && error.contains("1 values") && !error.contains("secret"), "{error}");
    }

    #[test]
    fn what_does_not_cast_is_refused_at_the_fit() {
        let bools = arrow::array::BooleanArray::from(vec![true]);
        let batch = RecordBatch::try_from_iter([("x", Arc::new(bools) as ArrayRef)]).unwrap();
        let data = Dataset::from_batches([batch]).unwrap();
        let error = Cast::builder().column("x", CastTo::Time).build().unwrap().fit(&data).unwrap_err();
        assert!(matches!(error, Error::Schema { .. }), "{error}");
        assert!(Cast::builder().build().is_err());
    }
}

//! Filling what is missing.

pub(super) mod forward;
pub(super) mod nearest;

pub use forward::{FillForward, FillForwardBuilder, FittedFillForward, GROUPS_DEFAULT};
pub use nearest::{FittedNearest, Nearest, NearestBuilder, Neighbours};

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, Scalar as ArrowScalar, StringArray,
    TimestampMicrosecondArray,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::compute::kernels::zip::zip;
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use serde::{Deserialize, Serialize};

use super::learn::{Modes, Numbers};
use super::pick::{assign, is_number};
use super::rows::{Fieldset, RowKernel, RowPass, booleans, fitted_column, may_be_learned, pack, settings, type_name};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::source::{Scalar, is_text};
use crate::stats::values::is_time;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "impute";

/// Suffix of the columns that tell where something was missing.
const SUFFIX: &str = "_missing";

/// What a missing value is filled with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Strategy {
    /// Mean of the finite values: numbers only.
    Mean,
    /// Median of the finite values, the mean of the two in the middle where their number is even: numbers only. Exact up to
    /// [`EXACT_VALUES_MAX`](super::EXACT_VALUES_MAX) values.
    Median,
    /// The value seen most often, the smallest of them where several were: numbers, booleans, text. Infinities are not
    /// counted. At most [`MODE_VALUES_MAX`](super::MODE_VALUES_MAX) different values. Refused for numbers and text that are
    /// personal or secret: it would write what one person has into a state and into the rows of others.
    MostFrequent,
    /// This value: numbers, booleans, text, times.
    Constant(Scalar),
}

impl Strategy {
    /// This value.
    pub fn constant(value: impl Into<Scalar>) -> Self {
        Self::Constant(value.into())
    }
}

/// What NaN is in a column of floats.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Nan {
    /// A missing value, like null: it is filled.
    #[default]
    Missing,
    /// A value: it stays. Nothing is learned from it either way.
    Value,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FillRule {
    columns: Pick,
    strategy: Strategy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fallback: Option<Scalar>,
}

/// Fills missing values: nulls, and in columns of floats NaN unless [`Nan::Value`] is set.
///
/// * A column keeps its type, except that integers become `Float64` where the value learned for them is not a whole number
///   of their type's range (the mean of 1 and 2). A filled column has no nulls, and its field says so.
/// * A column without a single value to learn from is an error, unless a fallback is stated with
///   [`fill_or`](ImputeBuilder::fill_or).
/// * With [`indicator`](ImputeBuilder::indicator), a column `<name>_missing` of booleans per filled column comes after
///   all others; it is as sensitive as its column, and a feature where that is one.
/// * Roles, sensitivities and units stay.
/// * Memory of a fit: 8 bytes per value and column with [`Strategy::Median`] up to 2 MiB, the counts of different values with
///   [`Strategy::MostFrequent`], nothing to speak of otherwise. One scan of the columns that are learned from.
///
/// scikit-learn's `SimpleImputer` gives the same values (1.9.1); there a column without values is dropped in silence.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{FittedTransformExt, Impute, Strategy, Transform};
///
/// let rows = RecordBatch::try_from_iter([
///     ("age", Arc::new(Int64Array::from(vec![Some(20), None, Some(40)])) as ArrayRef),
///     ("plan", Arc::new(StringArray::from(vec![None, Some("basic"), None]))),
/// ])?;
/// let impute = Impute::builder()
///     .fill("age", Strategy::Median)
///     .fill("plan", Strategy::constant("unknown"))
///     .indicator(true)
///     .build()?;
/// let clean = impute.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["age"].as_primitive::<Int64Type>().values(), &[20, 30, 40]);
/// assert_eq!(clean["age_missing"].as_boolean().true_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "ImputeBuilder", into = "ImputeBuilder")]
pub struct Impute {
    rules: Vec<FillRule>,
    indicator: bool,
    nan: Nan,
}

/// Builder of [`Impute`], and its form in files.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImputeBuilder {
    rules: Vec<FillRule>,
    #[serde(default)]
    indicator: bool,
    #[serde(default)]
    nan: Nan,
}

impl ImputeBuilder {
    /// Fills `columns` by `strategy`. Where two rules pick a column, the later one holds.
    pub fn fill(mut self, columns: impl Into<Pick>, strategy: Strategy) -> Self {
        self.rules.push(FillRule { columns: columns.into(), strategy, fallback: None });
        self
    }

    /// As [`fill`](Self::fill); a column without a single value to learn from gets `fallback`.
    pub fn fill_or(mut self, columns: impl Into<Pick>, strategy: Strategy, fallback: impl Into<Scalar>) -> Self {
        self.rules.push(FillRule { columns: columns.into(), strategy, fallback: Some(fallback.into()) });
        self
    }

    /// Whether a column `<name>_missing` is added per filled column. Default no.
    pub fn indicator(mut self, indicator: bool) -> Self {
        self.indicator = indicator;
        self
    }

    /// What NaN is in columns of floats. Default [`Nan::Missing`].
    pub fn nan(mut self, nan: Nan) -> Self {
        self.nan = nan;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule, or a constant or a fallback is not finite.
    pub fn build(self) -> Result<Impute> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        for rule in &self.rules {
            let constant = if let Strategy::Constant(value) = &rule.strategy { Some(value) } else { None };
            for value in constant.into_iter().chain(&rule.fallback) {
                if let Scalar::Float(number) = value
                    && !number.is_finite()
                {
                    return Err(Error::invalid("constant", number, "a finite number"));
                }
            }
        }
        Ok(Impute { rules: self.rules, indicator: self.indicator, nan: self.nan })
    }
}

impl TryFrom<ImputeBuilder> for Impute {
    type Error = Error;

    fn try_from(builder: ImputeBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Impute> for ImputeBuilder {
    fn from(impute: Impute) -> Self {
        Self { rules: impute.rules, indicator: impute.indicator, nan: impute.nan }
    }
}

impl Impute {
    /// Starts without a rule.
    pub fn builder() -> ImputeBuilder {
        ImputeBuilder::default()
    }
}

/// What is learned of one column on the way.
enum Learner {
    Mean(Numbers),
    Median(Numbers),
    MostFrequent(Modes),
}

impl Learner {
    fn new(schema: &Schema, column: &str, strategy: &Strategy) -> Result<Option<Self>> {
        let data_type = schema.field(column)?.data_type();
        let unfit = |expected: &str| Error::schema(column, expected, data_type);
        Ok(match strategy {
            Strategy::Mean | Strategy::Median if !is_number(data_type) => {
                return Err(unfit("integers or floats, of which there is a mean or a median"));
            }
            Strategy::Mean => Some(Self::Mean(Numbers::new(false))),
            Strategy::Median => Some(Self::Median(Numbers::new(true))),
            Strategy::MostFrequent => {
                may_be_learned(schema, column)?;
                let modes = Modes::new(data_type).ok_or_else(|| unfit("numbers, booleans or text"))?;
                Some(Self::MostFrequent(modes))
            }
            Strategy::Constant(_) => None,
        })
    }

    fn update(&mut self, column: &str, array: &ArrayRef) -> Result<()> {
        match self {
            Self::Mean(numbers) | Self::Median(numbers) => numbers.update(array),
            Self::MostFrequent(modes) => modes.update(column, array),
        }
    }

    /// The value learned, and by how much its rank may be off.
    fn finish(self, column: &str) -> Result<(Option<Scalar>, f64)> {
        match self {
            Self::Mean(numbers) => Ok((numbers.finish()?.moments.mean().map(Scalar::Float), 0.0)),
            Self::Median(numbers) => {
                let learned = numbers.finish()?;
                Ok((learned.quantile(0.5).map(Scalar::Float), learned.rank_error()))
            }
            Self::MostFrequent(modes) => Ok((modes.finish(column)?, 0.0)),
        }
    }
}

impl Impute {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let assigned = assign(schema, self.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut reads, mut learners, mut rules) = (Vec::new(), Vec::new(), Vec::new());
        for (name, rule) in assigned {
            if let Some(learner) = Learner::new(schema, &name, &rule.strategy)? {
                reads.push(name.clone());
                learners.push((name.clone(), learner));
            }
            rules.push((name, rule.clone()));
        }
        let names: Vec<String> = rules.iter().map(|(name, _)| name.clone()).collect();
        let update = |(learners, rows): &mut (Vec<(String, Learner)>, u64), batch: &RecordBatch| {
            *rows += batch.num_rows() as u64;
            let columns = learners.iter_mut().zip(batch.columns());
            columns.into_iter().try_for_each(|((name, learner), array)| learner.update(name, array))
        };
        let (schema, indicator, nan) = (schema.clone(), self.indicator, self.nan);
        let conclude = move |(learners, rows): (Vec<(String, Learner)>, u64)| {
            let mut learned = learners.into_iter().map(|(name, learner)| learner.finish(&name));
            let mut columns = Vec::with_capacity(rules.len());
            for (name, rule) in rules {
                let learns = !matches!(rule.strategy, Strategy::Constant(_));
                let found = if learns { learned.next().transpose()? } else { None };
                columns.push(Fill::of(name, &rule, found, rows, &schema)?);
            }
            let fitted = FittedImpute { columns, indicator, nan };
            fitted.output_schema(&schema)?;
            Ok(Box::new(fitted) as Box<dyn FittedTransform>)
        };
        let study = Study::new(study::learner((learners, 0), update, conclude)).reads(reads).concerns(names.clone());
        let picks = study::any_picks(self.rules.iter().map(|rule| &rule.columns));
        Ok(study.changes(names).picks(picks).reshapes(indicator))
    }
}

impl Transform for Impute {
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

/// A whole number learned for a column of integers is written as one.
fn settle(value: Scalar, data_type: &DataType) -> Scalar {
    match value {
        Scalar::Float(number) if data_type.is_integer() && number.fract() == 0.0 && number.abs() < 2_f64.powi(63) => {
            Scalar::Int(number as i64)
        }
        other => other,
    }
}

/// What one column is filled with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fill {
    name: String,
    data_type: String,
    value: Scalar,
    /// By how much the rank of a median may be off; 0 where exact.
    rank_error: f64,
}

impl Fill {
    /// What fills `name`: its constant, or what was `learned` of `rows` rows and by how much its rank may be off.
    fn of(
        name: String,
        rule: &FillRule,
        learned: Option<(Option<Scalar>, f64)>,
        rows: u64,
        schema: &Schema,
    ) -> Result<Self> {
        let (value, rank_error) = match &rule.strategy {
            Strategy::Constant(value) => (Some(value.clone()), 0.0),
            _ => learned.unwrap_or((None, 0.0)),
        };
        let lacking =
            || Error::schema(&name, "a value to learn from, or a fallback", format!("{rows} rows without any"));
        let value = value.or_else(|| rule.fallback.clone()).ok_or_else(lacking)?;
        let data_type = schema.field(&name)?.data_type();
        let fill = Self { value: settle(value, data_type), data_type: type_name(data_type), name, rank_error };
        fill.array(data_type)?;
        Ok(fill)
    }

    /// Type after the step of a column that is of `data_type` before.
    fn output_type(&self, data_type: &DataType) -> DataType {
        match self.value {
            Scalar::Float(_) if data_type.is_integer() => DataType::Float64,
            _ => data_type.clone(),
        }
    }

    /// The value as one row of the output's type, dictionaries aside.
    fn array(&self, data_type: &DataType) -> Result<ArrayRef> {
        let output = self.output_type(data_type);
        let plain = if let DataType::Dictionary(_, values) = &output { values.as_ref() } else { &output };
        let (array, fits): (ArrayRef, bool) = match &self.value {
            Scalar::Bool(v) => (Arc::new(BooleanArray::from(vec![*v])), plain == &DataType::Boolean),
            Scalar::Int(v) => (Arc::new(Int64Array::from(vec![*v])), is_number(plain)),
            Scalar::Float(v) => (Arc::new(Float64Array::from(vec![*v])), is_number(plain)),
            Scalar::Text(v) => (Arc::new(StringArray::from(vec![v.as_str()])), is_text(plain)),
            Scalar::Time(v) => {
                let array = TimestampMicrosecondArray::from(vec![v.as_micros()]).with_timezone("UTC");
                (Arc::new(array), is_time(plain))
            }
        };
        let unfit = || Error::schema(&self.name, format!("a type that holds {}", shown(&self.value)), data_type);
        if !fits {
            return Err(unfit());
        }
        let array = cast(&array, plain)?;
        if array.null_count() > 0 { Err(unfit()) } else { Ok(array) }
    }
}

/// What kind of value it is; text is not quoted, for it may come from a sensitive column.
fn shown(value: &Scalar) -> String {
    match value {
        Scalar::Bool(v) => v.to_string(),
        Scalar::Int(v) => v.to_string(),
        Scalar::Float(v) => v.to_string(),
        Scalar::Text(_) => "text".to_owned(),
        Scalar::Time(_) => "a time".to_owned(),
    }
}

/// An [`Impute`] that knows its values.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedImpute {
    columns: Vec<Fill>,
    indicator: bool,
    nan: Nan,
}

impl FittedImpute {
    /// What `column` is filled with; `None` when it is not filled.
    pub fn value(&self, column: &str) -> Option<&Scalar> {
        self.columns.iter().find(|fill| fill.name == column).map(|fill| &fill.value)
    }

    /// By how much the rank of the value of `column` may be off, as a share of its values: 0 unless it is the median of more
    /// than [`EXACT_VALUES_MAX`](super::EXACT_VALUES_MAX) values.
    pub fn rank_error(&self, column: &str) -> f64 {
        self.columns.iter().find(|fill| fill.name == column).map_or(0.0, |fill| fill.rank_error)
    }
}

impl FittedTransform for FittedImpute {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        for fill in &self.columns {
            let position = fitted_column(input, &fill.name, &fill.data_type)?;
            let data_type = input.arrow().field(position).data_type();
            fields.replace(position, fill.output_type(data_type), false);
        }
        for fill in self.columns.iter().filter(|_| self.indicator) {
            fields.flag(&fill.name, SUFFIX)?;
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for fill in &self.columns {
            let position = input.index_of(&fill.name)?;
            let data_type = input.arrow().field(position).data_type();
            columns.push(Column {
                position,
                name: fill.name.clone(),
                fill: ArrowScalar::new(fill.array(data_type)?),
                output: fill.output_type(data_type),
            });
        }
        let kernel = Kernel { columns, indicator: self.indicator, nan: self.nan };
        Ok(RowPass::begin(KIND, input, output, kernel))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Column {
    position: usize,
    name: String,
    fill: ArrowScalar<ArrayRef>,
    output: DataType,
}

struct Kernel {
    columns: Vec<Column>,
    indicator: bool,
    nan: Nan,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns = batch.columns().to_vec();
        for column in &self.columns {
            let array = batch.column(column.position);
            let missing = missing(array, self.nan);
            let count = missing.count_set_bits() as u64;
            changes.count(&column.name, Change::Imputed, count);
            columns[column.position] = column.filled(array, &missing, count)?;
            if self.indicator {
                columns.push(booleans(missing));
            }
        }
        Ok((columns, batch.num_rows()))
    }
}

impl Column {
    fn filled(&self, array: &ArrayRef, missing: &BooleanBuffer, count: u64) -> Result<ArrayRef> {
        if count == 0 {
            return Ok(cast(array, &self.output)?);
        }
        let plain = if let DataType::Dictionary(_, values) = &self.output { values.as_ref() } else { &self.output };
        let array = cast(array, plain)?;
        let filled = zip(&BooleanArray::new(missing.clone(), None), &self.fill, &array)?;
        Ok(cast(&filled, &self.output)?)
    }
}

/// Which rows of `array` are missing.
pub(super) fn missing(array: &ArrayRef, nan: Nan) -> BooleanBuffer {
    let nulls = array.logical_nulls().filter(|nulls| nulls.null_count() > 0);
    let rows = array.len();
    let nulls = nulls.map_or_else(|| BooleanBuffer::new_unset(rows), |nulls| !nulls.inner());
    match array.data_type() {
        DataType::Float32 if nan == Nan::Missing => {
            let values = array.as_primitive::<Float32Type>().values();
            &nulls | &BooleanBuffer::collect_bool(rows, |row| values[row].is_nan())
        }
        DataType::Float64 if nan == Nan::Missing => {
            let values = array.as_primitive::<Float64Type>().values();
            &nulls | &BooleanBuffer::collect_bool(rows, |row| values[row].is_nan())
        }
        _ => nulls,
    }
}

#[cfg(test)]
mod tests;

//! Values far from the others.

pub(super) mod forest;

pub use forest::{FittedIsolationForest, IsolationForest, IsolationForestBuilder};

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::nullif;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use serde::{Deserialize, Serialize};

use super::learn::{Learned, Numbers, learn_columns};
use super::pick::{assign, is_number};
use super::rows::{Fieldset, RowKernel, RowPass, booleans, filtered, fitted_column, pack, settings, type_name};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "outliers";

/// Suffix of the columns that tell where a value was an outlier.
const SUFFIX: &str = "_outlier";

/// Between which two points a value is no outlier; the points themselves belong to it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fence {
    /// `[q₁ − k · IQR, q₃ + k · IQR]`, quartiles of type 7 (Tukey, *Exploratory Data Analysis*, 1977).
    Iqr {
        /// Widths of the interquartile range beyond the quartiles; 1.5 for outliers, 3 for those far out.
        k: f64,
    },
    /// `mean ± z · sd` with divisor n (scipy's `zscore`). One extreme value widens it: prefer the modified one.
    ZScore {
        /// Standard deviations from the mean.
        z: f64,
    },
    /// `median ± z · MAD / 0.6745`, MAD being the median of the distances from the median (Iglewicz and Hoaglin, *How to
    /// Detect and Handle Outliers*, ASQC 1993).
    ModifiedZScore {
        /// Greatest modified z-score; the authors recommend 3.5.
        z: f64,
    },
    /// Quantiles of type 7.
    Quantiles {
        /// Share of the values below the lower point.
        low: f64,
        /// Share of the values below the upper point.
        high: f64,
    },
    /// These points; nothing is learned.
    Bounds {
        /// The least value that is no outlier.
        low: Option<f64>,
        /// The greatest value that is no outlier.
        high: Option<f64>,
    },
}

impl Fence {
    /// Tukey's fence with k = 1.5.
    pub const fn iqr() -> Self {
        Self::Iqr { k: 1.5 }
    }

    /// The z-score with z = 3.
    pub const fn z_score() -> Self {
        Self::ZScore { z: 3.0 }
    }

    /// The modified z-score with z = 3.5.
    pub const fn modified_z_score() -> Self {
        Self::ModifiedZScore { z: 3.5 }
    }

    fn check(&self) -> Result<()> {
        let positive = |setting, value: f64| {
            if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Error::invalid(setting, value, "above 0")) }
        };
        match *self {
            Self::Iqr { k } => positive("k", k),
            Self::ZScore { z } | Self::ModifiedZScore { z } => positive("z", z),
            Self::Quantiles { low, high } if 0.0 <= low && low < high && high <= 1.0 => Ok(()),
            Self::Quantiles { low, high } => {
                Err(Error::invalid("quantiles", format!("{low} to {high}"), "two shares in 0..=1, the lower one first"))
            }
            Self::Bounds { low, high } => {
                let finite = low.iter().chain(&high).all(|bound| bound.is_finite());
                let ordered = low.zip(high).is_none_or(|(low, high)| low <= high);
                let some = low.is_some() || high.is_some();
                if finite && ordered && some {
                    return Ok(());
                }
                Err(Error::invalid("bounds", format!("{low:?} to {high:?}"), "one or two finite points in order"))
            }
        }
    }

    fn learns(&self) -> bool {
        !matches!(self, Self::Bounds { .. })
    }

    fn needs_order(&self) -> bool {
        matches!(self, Self::Iqr { .. } | Self::ModifiedZScore { .. } | Self::Quantiles { .. })
    }

    /// The two points; `None` where the values do not spread, so that there is no scale to judge by.
    fn points(&self, learned: &Learned) -> Option<(f64, f64)> {
        let around = |center: f64, reach: f64| (reach > 0.0).then_some((center - reach, center + reach));
        match *self {
            Self::Iqr { k } => {
                let (q1, q3) = (learned.quantile(0.25)?, learned.quantile(0.75)?);
                let reach = k * (q3 - q1);
                (reach > 0.0).then_some((q1 - reach, q3 + reach))
            }
            Self::ZScore { z } => {
                let spread = if learned.is_constant() { 0.0 } else { learned.moments.standard_deviation(0)? };
                around(learned.moments.mean()?, z * spread)
            }
            Self::ModifiedZScore { z } => {
                let median = learned.quantile(0.5)?;
                around(median, z * learned.median_deviation(median)? / 0.6745)
            }
            Self::Quantiles { low, high } => Some((learned.quantile(low)?, learned.quantile(high)?)),
            Self::Bounds { .. } => None,
        }
    }
}

/// What becomes of an outlier.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Action {
    /// It is moved to the nearer point of the fence.
    Clip,
    /// It becomes null.
    Null,
    /// It stays, and a column `<name>_outlier` of booleans is true for it.
    Flag,
    /// Its row is dropped.
    DropRow,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FenceRule {
    columns: Pick,
    fence: Fence,
    action: Action,
}

/// Treats values outside of a fence.
///
/// * Columns of integers and floats. Nulls and NaN are no outliers and stay; neither they nor infinities are learned
///   from; an infinity is outside of any fence that is closed on its side.
/// * A column whose values do not spread (all equal; or an IQR or MAD of 0, which more than half equal values have) has no
///   fence: nothing in it is an outlier. [`FittedOutliers::fence`] tells.
/// * Integers are compared with the whole numbers inside of the fence, and clipped to those; where there is none inside,
///   with the two around it. Points outside of the type's range are taken to its ends.
/// * Flags come after all other columns; each is as sensitive as its column, and a feature where that is one. Roles,
///   sensitivities and units stay.
/// * A row that is dropped is not clipped or flagged first: only what is kept counts as changed besides.
/// * Memory of a fit: 8 bytes per value and column up to 2 MiB, or a sketch beyond
///   [`EXACT_VALUES_MAX`](super::EXACT_VALUES_MAX) values, for fences of quantiles and medians.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{Action, Fence, FittedTransformExt, Outliers, Transform};
///
/// let prices = Int64Array::from(vec![10, 11, 12, 13, 1_000]);
/// let rows = RecordBatch::try_from_iter([("price", Arc::new(prices) as ArrayRef)])?;
/// let outliers = Outliers::builder().fence("price", Fence::iqr(), Action::Clip).build()?;
/// let clean = outliers.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// // Quartiles 11 and 13: the fence is [8, 16].
/// assert_eq!(clean["price"].as_primitive::<Int64Type>().values(), &[10, 11, 12, 13, 16]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "OutliersBuilder", into = "OutliersBuilder")]
pub struct Outliers {
    rules: Vec<FenceRule>,
}

/// Builder of [`Outliers`], and its form in files.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutliersBuilder {
    rules: Vec<FenceRule>,
}

impl OutliersBuilder {
    /// Does `action` to what lies outside of `fence` in `columns`. Where two rules pick a column, the later one holds.
    pub fn fence(mut self, columns: impl Into<Pick>, fence: Fence, action: Action) -> Self {
        self.rules.push(FenceRule { columns: columns.into(), fence, action });
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule or a fence's numbers are out of their domain.
    pub fn build(self) -> Result<Outliers> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        self.rules.iter().try_for_each(|rule| rule.fence.check())?;
        Ok(Outliers { rules: self.rules })
    }
}

impl TryFrom<OutliersBuilder> for Outliers {
    type Error = Error;

    fn try_from(builder: OutliersBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Outliers> for OutliersBuilder {
    fn from(outliers: Outliers) -> Self {
        Self { rules: outliers.rules }
    }
}

impl Outliers {
    /// Starts without a rule.
    pub fn builder() -> OutliersBuilder {
        OutliersBuilder::default()
    }
}

impl Outliers {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let assigned = assign(schema, self.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut names, mut learners, mut columns) = (Vec::new(), Vec::new(), Vec::new());
        for (name, rule) in assigned {
            let data_type = schema.field(&name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
            if rule.fence.learns() {
                names.push(name.clone());
                learners.push(Numbers::new(rule.fence.needs_order()));
            }
            columns.push((name, type_name(data_type), rule.clone()));
        }
        let changes: Vec<String> = columns.iter().map(|(name, ..)| name.clone()).collect();
        let has = |action: Action| columns.iter().any(|(.., rule)| rule.action == action);
        let (flags, drops) = (has(Action::Flag), has(Action::DropRow));
        let schema = schema.clone();
        let conclude = move |learners: Vec<Numbers>| {
            let mut learned = learners.into_iter();
            let fenced = columns.into_iter().map(|(name, data_type, rule)| {
                let learned = if rule.fence.learns() { learned.next().map(Numbers::finish).transpose()? } else { None };
                Ok(Fenced::of(name, data_type, &rule, learned.as_ref()))
            });
            let fitted = FittedOutliers { columns: fenced.collect::<Result<_>>()? };
            fitted.output_schema(&schema)?;
            Ok(Box::new(fitted) as Box<dyn FittedTransform>)
        };
        let update = |numbers: &mut Vec<Numbers>, batch: &RecordBatch| learn_columns(numbers, batch);
        let study = Study::new(study::learner(learners, update, conclude)).reads(names).concerns(changes.clone());
        let picks = study::any_picks(self.rules.iter().map(|rule| &rule.columns));
        Ok(study.changes(changes).picks(picks).reshapes(flags).drops_rows(drops))
    }
}

impl Transform for Outliers {
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

/// One column and its fence.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fenced {
    name: String,
    data_type: String,
    low: Option<f64>,
    high: Option<f64>,
    action: Action,
    /// By how much the ranks of quantiles may be off; 0 where exact.
    rank_error: f64,
}

impl Fenced {
    /// By what `rule` learned, where it learns.
    fn of(name: String, data_type: String, rule: &FenceRule, learned: Option<&Learned>) -> Self {
        let mut fenced = Self { name, data_type, low: None, high: None, action: rule.action, rank_error: 0.0 };
        if let Fence::Bounds { low, high } = rule.fence {
            (fenced.low, fenced.high) = (low, high);
        } else if let Some(learned) = learned {
            // A point beyond all numbers fences nothing off.
            let finite = |point: f64| Some(point).filter(|point| point.is_finite());
            let points = rule.fence.points(learned);
            (fenced.low, fenced.high) = points.map_or((None, None), |(low, high)| (finite(low), finite(high)));
            fenced.rank_error = learned.rank_error();
        }
        fenced
    }
}

/// [`Outliers`] that know their fences.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedOutliers {
    columns: Vec<Fenced>,
}

impl FittedOutliers {
    /// The two points of the fence of `column`, each `None` where it is open; `None` for a column that is not looked at.
    pub fn fence(&self, column: &str) -> Option<(Option<f64>, Option<f64>)> {
        self.columns.iter().find(|fenced| fenced.name == column).map(|fenced| (fenced.low, fenced.high))
    }
}

impl FittedTransform for FittedOutliers {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        for fenced in &self.columns {
            let position = fitted_column(input, &fenced.name, &fenced.data_type)?;
            let field = input.arrow().field(position);
            let nullable = field.is_nullable() || fenced.action == Action::Null;
            fields.replace(position, field.data_type().clone(), nullable);
        }
        for fenced in self.columns.iter().filter(|fenced| fenced.action == Action::Flag) {
            fields.flag(&fenced.name, SUFFIX)?;
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for fenced in &self.columns {
            let position = input.index_of(&fenced.name)?;
            let judge = judge_of(fenced, input.arrow().field(position).data_type())?;
            columns.push(Column { position, name: fenced.name.clone(), action: fenced.action, judge });
        }
        Ok(RowPass::begin(KIND, input, output, Kernel { columns }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

/// Knows a fence in the type of its column.
trait Judge: Send {
    /// Rows that lie outside; no nulls and no NaN.
    fn outside(&self, array: &ArrayRef) -> BooleanBuffer;
    /// The values, those outside moved to the fence.
    fn clipped(&self, array: &ArrayRef) -> ArrayRef;
}

/// The values that are no outliers, both ends included.
struct Span<T: ArrowPrimitiveType> {
    low: T::Native,
    high: T::Native,
}

impl<T: ArrowPrimitiveType> Judge for Span<T>
where
    T::Native: PartialOrd,
{
    fn outside(&self, array: &ArrayRef) -> BooleanBuffer {
        let array = array.as_primitive::<T>();
        let values = array.values();
        let outside =
            BooleanBuffer::collect_bool(values.len(), |row| values[row] < self.low || values[row] > self.high);
        match array.nulls() {
            Some(nulls) => &outside & nulls.inner(),
            None => outside,
        }
    }

    fn clipped(&self, array: &ArrayRef) -> ArrayRef {
        let clip = |value: T::Native| {
            if value < self.low {
                self.low
            } else if value > self.high {
                self.high
            } else {
                value
            }
        };
        let clipped: PrimitiveArray<T> = array.as_primitive::<T>().unary(clip);
        Arc::new(clipped)
    }
}

fn judge_of(fenced: &Fenced, data_type: &DataType) -> Result<Box<dyn Judge>> {
    let (low, high) = (fenced.low, fenced.high);
    // A cast from a float saturates at the ends of the integer's range.
    macro_rules! whole {
        ($type:ty, $native:ty) => {{
            let (low, high) = whole_points(low, high);
            let low = low.map_or(<$native>::MIN, |point| point as $native);
            Box::new(Span::<$type> { low, high: high.map_or(<$native>::MAX, |point| point as $native) })
        }};
    }
    Ok(match data_type {
        DataType::Int8 => whole!(Int8Type, i8),
        DataType::Int16 => whole!(Int16Type, i16),
        DataType::Int32 => whole!(Int32Type, i32),
        DataType::Int64 => whole!(Int64Type, i64),
        DataType::UInt8 => whole!(UInt8Type, u8),
        DataType::UInt16 => whole!(UInt16Type, u16),
        DataType::UInt32 => whole!(UInt32Type, u32),
        DataType::UInt64 => whole!(UInt64Type, u64),
        DataType::Float32 => Box::new(Span::<Float32Type> {
            low: low.map_or(f32::NEG_INFINITY, at_least),
            high: high.map_or(f32::INFINITY, |point| -at_least(-point)),
        }),
        DataType::Float64 => {
            Box::new(Span::<Float64Type> { low: low.unwrap_or(f64::NEG_INFINITY), high: high.unwrap_or(f64::INFINITY) })
        }
        other => return Err(Error::schema(&fenced.name, "integers or floats", other)),
    })
}

/// The whole numbers next to the points: inside, or around them where there is none inside.
fn whole_points(low: Option<f64>, high: Option<f64>) -> (Option<f64>, Option<f64>) {
    let (inner_low, inner_high) = (low.map(f64::ceil), high.map(f64::floor));
    match inner_low.zip(inner_high) {
        Some((low_in, high_in)) if low_in > high_in => (low.map(f64::floor), high.map(f64::ceil)),
        _ => (inner_low, inner_high),
    }
}

/// The least `f32` that is not below `point`.
fn at_least(point: f64) -> f32 {
    let near = point as f32;
    if f64::from(near) < point { near.next_up() } else { near }
}

struct Column {
    position: usize,
    name: String,
    action: Action,
    judge: Box<dyn Judge>,
}

struct Kernel {
    columns: Vec<Column>,
}

impl Kernel {
    /// Rows that a column condemns.
    fn condemned(&self, columns: &[ArrayRef], rows: usize, changes: &mut StepChanges) -> BooleanBuffer {
        let mut condemned = BooleanBuffer::new_unset(rows);
        for column in self.columns.iter().filter(|column| column.action == Action::DropRow) {
            let outside = column.judge.outside(&columns[column.position]);
            changes.count(&column.name, Change::RowDropped, outside.count_set_bits() as u64);
            condemned = &condemned | &outside;
        }
        condemned
    }
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns = batch.columns().to_vec();
        let mut rows = batch.num_rows();
        let condemned = self.condemned(&columns, rows, changes);
        let dropped = condemned.count_set_bits();
        if dropped > 0 {
            columns = filtered(&columns, &BooleanArray::new(!&condemned, None))?;
            rows -= dropped;
        }
        for column in &self.columns {
            let change = match column.action {
                Action::DropRow => continue,
                Action::Clip => Change::Clipped,
                Action::Null => Change::Nulled,
                Action::Flag => Change::Flagged,
            };
            let array = &columns[column.position];
            let outside = column.judge.outside(array);
            let count = outside.count_set_bits() as u64;
            changes.count(&column.name, change, count);
            match column.action {
                Action::Flag => columns.push(booleans(outside)),
                _ if count == 0 => {}
                Action::Null => columns[column.position] = nullif(array, &BooleanArray::new(outside, None))?,
                Action::Clip | Action::DropRow => columns[column.position] = column.judge.clipped(array),
            }
        }
        Ok((columns, rows))
    }
}

#[cfg(test)]
mod tests;

//! Numbers on a common scale.

mod curve;
mod power;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use self::curve::Curve;
use super::learn::{Learned, Numbers, learn_columns};
use super::pick::{assign, is_number};
use super::rows::{Fieldset, RowKernel, RowPass, fitted_column, pack, settings, type_name};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "scale";

/// How a column is scaled.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Method {
    /// `(x − mean) / sd`, divisor n (scikit-learn's `StandardScaler`).
    Standard,
    /// `(x − min) / (max − min)`, stretched to `low..=high` (`MinMaxScaler`). Later values may lie outside.
    MinMax {
        /// Where the least value goes.
        low: f64,
        /// Where the greatest value goes.
        high: f64,
    },
    /// `(x − median) / (q_high − q_low)`, quantiles of type 7 (`RobustScaler`).
    Robust {
        /// Share of the values below the lower quantile.
        low: f64,
        /// Share of the values below the upper quantile.
        high: f64,
    },
    /// `x / max |x|` (`MaxAbsScaler`): zeros stay zeros.
    MaxAbs,
    /// The share of the values below, linear between quantiles of type 7 (`QuantileTransformer`): 0 at and below the least
    /// value, 1 at and above the greatest; a value that several quantiles have gets the middle of their shares.
    Quantile {
        /// Most quantiles, 2..=10,000; one per value where there are fewer of those. scikit-learn's default is 1000.
        quantiles: u32,
        /// What the shares are turned into.
        output: Distribution,
    },
    /// `(y − mean) / sd` of a power of the values (`PowerTransformer`), its exponent λ found by maximum likelihood within
    /// −8..=8. Beyond [`EXACT_VALUES_MAX`](super::EXACT_VALUES_MAX) values, λ, mean and deviation are those of 8192 evenly
    /// spaced quantiles.
    Power(Power),
}

/// How the values of a quantile scale are spread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Distribution {
    /// Evenly over 0..=1.
    #[default]
    Uniform,
    /// As a standard normal, cut off at the quantiles of 10⁻⁷ and 1 − 10⁻⁷.
    Normal,
}

/// Which family of powers.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Power {
    /// For any numbers (Yeo and Johnson, *A new family of power transformations*, Biometrika 87, 2000).
    #[default]
    YeoJohnson,
    /// For numbers above 0 (Box and Cox, *An analysis of transformations*, JRSS B 26, 1964). Others are an error of the fit,
    /// and NaN where they come later.
    BoxCox,
}

impl Method {
    fn check(self) -> Result<()> {
        match self {
            Self::Standard | Self::MaxAbs | Self::Power(_) => Ok(()),
            Self::MinMax { low, high } if low < high && (high - low).is_finite() => Ok(()),
            Self::MinMax { low, high } => {
                Err(Error::invalid("min_max", format!("{low} to {high}"), "two finite numbers, the lower one first"))
            }
            Self::Robust { low, high } if 0.0 <= low && low < high && high <= 1.0 => Ok(()),
            Self::Quantile { quantiles, .. } if (2..=QUANTILES_MAX).contains(&quantiles) => Ok(()),
            Self::Quantile { quantiles, .. } => Err(Error::invalid("quantiles", quantiles, "within 2..=10000")),
            Self::Robust { low, high } => {
                Err(Error::invalid("robust", format!("{low} to {high}"), "two shares in 0..=1, the lower one first"))
            }
        }
    }

    /// Center and spread of what was learned; the spread is 0 where the values do not spread.
    fn measure(self, curve: &Curve, learned: &Learned) -> Option<(f64, f64)> {
        let moments = &learned.moments;
        let (min, max) = (moments.min()?, moments.max()?);
        let constant = learned.is_constant();
        Some(match self {
            // The sum of equal values may be rounded; each of them may not.
            Self::Standard if min == max => (min, 0.0),
            Self::Standard if constant => (moments.mean()?, 0.0),
            Self::Standard => (moments.mean()?, moments.standard_deviation(0)?),
            Self::MinMax { .. } => (min, max - min),
            Self::Robust { low, high } => (learned.quantile(0.5)?, learned.quantile(high)? - learned.quantile(low)?),
            Self::MaxAbs => (0.0, min.abs().max(max.abs())),
            Self::Quantile { .. } => (0.0, 1.0),
            Self::Power(_) if constant => (curve.of(min), 0.0),
            Self::Power(_) => curve.mean_and_deviation(&learned.sample(SAMPLE)?),
        })
    }

    fn needs_order(self) -> bool {
        matches!(self, Self::Robust { .. } | Self::Quantile { .. } | Self::Power(_))
    }

    fn curve(self, learned: &Learned) -> Option<Curve> {
        Some(match self {
            Self::Quantile { quantiles, output } => {
                let points = u64::from(quantiles).min(learned.moments.count()).max(2);
                let share = |i: u64| learned.quantile(i as f64 / (points - 1) as f64);
                let points = (0..points).map(share).collect::<Option<Vec<f64>>>()?;
                Curve::Quantile { points, normal: output == Distribution::Normal }
            }
            Self::Power(Power::BoxCox) if learned.moments.min()? <= 0.0 => return None,
            Self::Power(family) if learned.is_constant() => Curve::power(family, 1.0),
            Self::Power(family) => Curve::power(family, power::exponent(family, &learned.sample(SAMPLE)?)),
            _ => Curve::Straight,
        })
    }
}

/// Most quantiles of a quantile scale.
const QUANTILES_MAX: u32 = 10_000;

/// Quantiles that stand for the values of a column that is too long to be held.
const SAMPLE: usize = 8192;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleRule {
    columns: Pick,
    method: Method,
}

/// Scales columns of integers and floats.
///
/// * The output is `Float64`, or `Float32` where the input is. Nulls stay null, NaN stays NaN, infinities stay; none of
///   them is learned from.
/// * A column whose values do not spread is divided by 1: standard and robust give 0 for its value, min-max the lower end.
///   That includes an interquartile range of 0, and for `Standard` a variance that rounding explains.
/// * A column without a single finite value is an error, and so is one whose spread leaves the range of `f64`.
/// * Roles, sensitivities and nullability stay; so does the unit, which then is that of the values before.
/// * Memory of a fit: 8 bytes per value and column up to 2 MiB, or a sketch beyond
///   [`EXACT_VALUES_MAX`](super::EXACT_VALUES_MAX) values, for robust, quantile and power scaling; nothing to speak of otherwise.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_core::clean::{FittedTransformExt, Scale, Transform};
///
/// let spend = Int64Array::from(vec![1, 3]);
/// let rows = RecordBatch::try_from_iter([("spend", Arc::new(spend) as ArrayRef)])?;
/// let scale = Scale::builder().standard("spend").build()?;
/// let clean = scale.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["spend"].as_primitive::<Float64Type>().values(), &[-1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "ScaleBuilder", into = "ScaleBuilder")]
pub struct Scale {
    rules: Vec<ScaleRule>,
}

/// Builder of [`Scale`], and its form in files.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleBuilder {
    rules: Vec<ScaleRule>,
}

impl ScaleBuilder {
    /// Scales `columns` by `method`. Where two rules pick a column, the later one holds.
    pub fn method(mut self, columns: impl Into<Pick>, method: Method) -> Self {
        self.rules.push(ScaleRule { columns: columns.into(), method });
        self
    }

    /// Mean 0 and standard deviation 1.
    pub fn standard(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::Standard)
    }

    /// From 0 to 1.
    pub fn min_max(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::MinMax { low: 0.0, high: 1.0 })
    }

    /// Median 0 and interquartile range 1.
    pub fn robust(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::Robust { low: 0.25, high: 0.75 })
    }

    /// Greatest absolute value 1.
    pub fn max_abs(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::MaxAbs)
    }

    /// Shares of the values below, from 0 to 1, by 1000 quantiles.
    pub fn quantile(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::Quantile { quantiles: 1000, output: Distribution::Uniform })
    }

    /// As near to a standard normal as a power of Yeo and Johnson comes.
    pub fn power(self, columns: impl Into<Pick>) -> Self {
        self.method(columns, Method::Power(Power::YeoJohnson))
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule or a method's numbers are out of their domain.
    pub fn build(self) -> Result<Scale> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        self.rules.iter().try_for_each(|rule| rule.method.check())?;
        Ok(Scale { rules: self.rules })
    }
}

impl TryFrom<ScaleBuilder> for Scale {
    type Error = Error;

    fn try_from(builder: ScaleBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Scale> for ScaleBuilder {
    fn from(scale: Scale) -> Self {
        Self { rules: scale.rules }
    }
}

impl Scale {
    /// Starts without a rule.
    pub fn builder() -> ScaleBuilder {
        ScaleBuilder::default()
    }
}

impl Scale {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let assigned = assign(schema, self.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut columns, mut numbers) = (Vec::new(), Vec::new());
        for (name, rule) in assigned {
            let data_type = schema.field(&name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
            numbers.push(Numbers::new(rule.method.needs_order()));
            columns.push((name, type_name(data_type), rule.method));
        }
        let names: Vec<String> = columns.iter().map(|(name, ..)| name.clone()).collect();
        let conclude = |numbers: Vec<Numbers>| {
            let learned = columns.into_iter().zip(numbers);
            let scaled = learned
                .map(|((name, data_type, method), numbers)| Scaled::learn(name, data_type, method, &numbers.finish()?));
            Ok(Box::new(FittedScale { columns: scaled.collect::<Result<_>>()? }) as Box<dyn FittedTransform>)
        };
        let update = |numbers: &mut Vec<Numbers>, batch: &RecordBatch| learn_columns(numbers, batch);
        let picks = study::any_picks(self.rules.iter().map(|rule| &rule.columns));
        Ok(Study::new(study::learner(numbers, update, conclude)).reads(names.clone()).changes(names).picks(picks))
    }
}

impl Transform for Scale {
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

/// `(curve(x) − center) / spread · width + low`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Scaled {
    name: String,
    data_type: String,
    #[serde(default, skip_serializing_if = "Curve::is_straight")]
    curve: Curve,
    center: f64,
    spread: f64,
    width: f64,
    low: f64,
    /// By how much the ranks of quantiles may be off; 0 where exact.
    rank_error: f64,
}

impl Scaled {
    fn learn(name: String, data_type: String, method: Method, learned: &Learned) -> Result<Self> {
        if method == Method::Power(Power::BoxCox) && learned.moments.min().is_some_and(|min| min <= 0.0) {
            return Err(Error::schema(name, "numbers above 0, of which there is a Box-Cox power", "others"));
        }
        let curve = method.curve(learned);
        let measured = curve.and_then(|curve| method.measure(&curve, learned).map(|measured| (curve, measured)));
        let finite = |(_, (center, spread)): &(Curve, (f64, f64))| center.is_finite() && spread.is_finite();
        let Some((curve, (center, spread))) = measured.filter(finite) else {
            let found = format!("{} finite values", learned.moments.count());
            return Err(Error::schema(name, "finite values whose spread is a finite number", found));
        };
        let (low, width) = if let Method::MinMax { low, high } = method { (low, high - low) } else { (0.0, 1.0) };
        let spread = if spread == 0.0 { 1.0 } else { spread };
        Ok(Self { name, data_type, curve, center, spread, width, low, rank_error: learned.rank_error() })
    }

    fn of(&self, x: f64) -> f64 {
        self.line(self.curve.of(x))
    }

    fn line(&self, x: f64) -> f64 {
        (x - self.center) / self.spread * self.width + self.low
    }

    fn all(&self, values: &Float64Array) -> Float64Array {
        // Straight scales are most of them, and a loop without a branch.
        if self.curve.is_straight() { values.unary(|x| self.line(x)) } else { values.unary(|x| self.of(x)) }
    }
}

/// A [`Scale`] that knows its numbers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedScale {
    columns: Vec<Scaled>,
}

impl FittedScale {
    /// Exponent of the power of `column`, `None` when it is not scaled by one.
    pub fn lambda(&self, column: &str) -> Option<f64> {
        self.columns.iter().find(|scaled| scaled.name == column).and_then(|scaled| scaled.curve.lambda())
    }

    /// What is taken from the values of `column`, bent by their power where there is one, and what they are divided by then;
    /// `None` when it is not scaled.
    pub fn center_and_spread(&self, column: &str) -> Option<(f64, f64)> {
        self.columns.iter().find(|scaled| scaled.name == column).map(|scaled| (scaled.center, scaled.spread))
    }
}

fn output_type(data_type: &DataType) -> DataType {
    if data_type == &DataType::Float32 { DataType::Float32 } else { DataType::Float64 }
}

impl FittedTransform for FittedScale {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        for scaled in &self.columns {
            let position = fitted_column(input, &scaled.name, &scaled.data_type)?;
            let field = input.arrow().field(position);
            fields.replace(position, output_type(field.data_type()), field.is_nullable());
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut columns = Vec::with_capacity(self.columns.len());
        for scaled in &self.columns {
            columns.push((input.index_of(&scaled.name)?, scaled.clone()));
        }
        Ok(RowPass::begin(KIND, input, output, Kernel { columns }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    columns: Vec<(usize, Scaled)>,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns = batch.columns().to_vec();
        for (position, scaled) in &self.columns {
            let array = batch.column(*position);
            let wide = cast(array, &DataType::Float64)?;
            let values: Float64Array = scaled.all(wide.as_primitive());
            let values: ArrayRef = Arc::new(values);
            columns[*position] = cast(&values, &output_type(array.data_type()))?;
            changes.count(&scaled.name, Change::Scaled, (array.len() - array.null_count()) as u64);
        }
        Ok((columns, batch.num_rows()))
    }
}

#[cfg(test)]
mod tests;

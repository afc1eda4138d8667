//! Numbers and times between bounds.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    ArrowNativeTypeOp, DataType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::Given;
use super::kernel::{Column, Kernel, KernelRun, ValueRun, ValueTest, quoted};
use crate::source::Scalar;
use crate::time::DAY_US;
use crate::{Error, Result, Schema};

/// One end of a range.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The value itself still fits.
    Included(Scalar),
    /// The value itself does not fit any more.
    Excluded(Scalar),
}

impl Bound {
    fn parts(&self) -> (&Scalar, bool) {
        match self {
            Self::Included(value) => (value, true),
            Self::Excluded(value) => (value, false),
        }
    }
}

/// Every value of `column` lies between bounds.
///
/// * Integers, floats, decimals of up to 128 bits, timestamps and dates. Number bounds for number columns, time bounds
///   for time columns (a naive timestamp counts as UTC, a date as its midnight in UTC).
/// * Comparison is exact, without rounding on either side: a 32-bit float is compared by its value as a 64-bit one, a
///   decimal with the shortest text of a float bound.
/// * Nulls pass. NaN fails unless [`allow_nan`](Self::allow_nan); infinities are numbers like others.
/// * `observed` is the share of rows outside.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    column: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<Bound>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<Bound>,
    #[serde(default)]
    allow_nan: bool,
}

impl Range {
    /// A range over `column`, without bounds as yet; at least one is needed.
    pub fn of(column: impl Into<String>) -> Self {
        Self { column: column.into(), min: None, max: None, allow_nan: false }
    }

    /// Values are not less than `bound`.
    pub fn at_least(mut self, bound: impl Into<Scalar>) -> Self {
        self.min = Some(Bound::Included(bound.into()));
        self
    }

    /// Values are greater than `bound`.
    pub fn above(mut self, bound: impl Into<Scalar>) -> Self {
        self.min = Some(Bound::Excluded(bound.into()));
        self
    }

    /// Values are not greater than `bound`.
    pub fn at_most(mut self, bound: impl Into<Scalar>) -> Self {
        self.max = Some(Bound::Included(bound.into()));
        self
    }

    /// Values are less than `bound`.
    pub fn below(mut self, bound: impl Into<Scalar>) -> Self {
        self.max = Some(Bound::Excluded(bound.into()));
        self
    }

    /// NaN passes. Default: it fails.
    pub fn allow_nan(mut self) -> Self {
        self.allow_nan = true;
        self
    }

    pub(super) fn ends_set(&self) -> (Option<&Bound>, Option<&Bound>) {
        (self.min.as_ref(), self.max.as_ref())
    }

    fn bounds(&self) -> impl Iterator<Item = &Scalar> {
        [&self.min, &self.max].into_iter().flatten().map(|bound| bound.parts().0)
    }

    fn is_time(&self) -> bool {
        self.bounds().any(|bound| matches!(bound, Scalar::Time(_)))
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        let fits = |bound: &Scalar| match bound {
            Scalar::Float(value) => value.is_finite(),
            Scalar::Int(_) | Scalar::Time(_) => true,
            _ => false,
        };
        if !self.bounds().all(fits) {
            return Err(Error::invalid("bound", self.demand(), "a finite number or a time"));
        }
        if self.bounds().next().is_none() {
            return Err(Error::invalid("bounds", "none", "a lower bound, an upper bound or both"));
        }
        if self.is_time() && !self.bounds().all(|bound| matches!(bound, Scalar::Time(_))) {
            return Err(Error::invalid("bounds", self.demand(), "two numbers or two times"));
        }
        if self.is_empty() {
            return Err(Error::invalid("bounds", self.demand(), "a range that some value fits"));
        }
        Ok(Arc::new(self.clone()))
    }

    /// Whether no real number fits.
    fn is_empty(&self) -> bool {
        let (Some(min), Some(max)) = (&self.min, &self.max) else { return false };
        let ((low, low_in), (high, high_in)) = (min.parts(), max.parts());
        match compare(low, high) {
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => !(low_in && high_in),
            std::cmp::Ordering::Greater => true,
        }
    }
}

/// Order of two bounds of one kind; floats are finite.
pub(super) fn compare(a: &Scalar, b: &Scalar) -> std::cmp::Ordering {
    let whole = |value: &Scalar| match value {
        Scalar::Int(v) => (i128::from(*v), 0.0),
        Scalar::Float(v) => (v.floor() as i128, v - v.floor()),
        Scalar::Time(v) => (i128::from(v.as_micros()), 0.0),
        _ => (0, 0.0),
    };
    let ((a, a_rest), (b, b_rest)) = (whole(a), whole(b));
    a.cmp(&b).then(f64::total_cmp(&a_rest, &b_rest))
}

impl Kernel for Range {
    fn demand(&self) -> String {
        let mut demand = quoted(&self.column);
        let mut side = |bound: &Option<Bound>, included: &str, excluded: &str| match bound {
            Some(Bound::Included(value)) => demand.extend([" ", included, " ", &Plain(value).to_string()]),
            Some(Bound::Excluded(value)) => demand.extend([" ", excluded, " ", &Plain(value).to_string()]),
            None => {}
        };
        side(&self.min, ">=", ">");
        side(&self.max, "<=", "<");
        demand
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        use DataType as T;
        let column = Column::find(schema, &self.column)?;
        let found = column.value_type().clone();
        let is_time = matches!(found, T::Timestamp(..) | T::Date32 | T::Date64);
        if is_time != self.is_time() {
            return Err(column.unfit(if self.is_time() { "a timestamp or a date" } else { "a number" }));
        }
        let run = match &found {
            T::Int8 => self.whole::<Int8Type>(column, Unit::One),
            T::Int16 => self.whole::<Int16Type>(column, Unit::One),
            T::Int32 => self.whole::<Int32Type>(column, Unit::One),
            T::Int64 => self.whole::<Int64Type>(column, Unit::One),
            T::UInt8 => self.whole::<UInt8Type>(column, Unit::One),
            T::UInt16 => self.whole::<UInt16Type>(column, Unit::One),
            T::UInt32 => self.whole::<UInt32Type>(column, Unit::One),
            T::UInt64 => self.whole::<UInt64Type>(column, Unit::One),
            T::Decimal128(_, scale) => self.whole::<Decimal128Type>(column, Unit::Tenths(*scale)),
            T::Timestamp(TimeUnit::Second, _) => self.whole::<TimestampSecondType>(column, Unit::Micros(1_000_000)),
            T::Timestamp(TimeUnit::Millisecond, _) => {
                self.whole::<TimestampMillisecondType>(column, Unit::Micros(1000))
            }
            T::Timestamp(TimeUnit::Microsecond, _) => self.whole::<TimestampMicrosecondType>(column, Unit::Micros(1)),
            T::Timestamp(TimeUnit::Nanosecond, _) => self.whole::<TimestampNanosecondType>(column, Unit::Nanos),
            T::Date32 => self.whole::<Date32Type>(column, Unit::Micros(DAY_US)),
            T::Date64 => self.whole::<Date64Type>(column, Unit::Micros(1000)),
            T::Float16 | T::Float32 | T::Float64 => self.real(column),
            _ => return Err(column.unfit("an integer, a float, a decimal of up to 128 bits, a timestamp or a date")),
        };
        Ok(Box::new(run))
    }
}

/// A bound as people write it.
struct Plain<'a>(&'a Scalar);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Scalar::Int(v) => write!(f, "{v}"),
            Scalar::Float(v) => write!(f, "{v}"),
            Scalar::Time(v) => write!(f, "{v}"),
            Scalar::Bool(v) => write!(f, "{v}"),
            Scalar::Text(_) => f.write_str("text"),
        }
    }
}

/// What one step of a column's stored integer stands for.
#[derive(Clone, Copy)]
enum Unit {
    /// Itself.
    One,
    /// `10^-n`, for decimals.
    Tenths(i8),
    /// So many microseconds.
    Micros(i64),
    /// A nanosecond.
    Nanos,
}

/// A bound in a column's unit, rounded down, and whether nothing was cut off.
fn place(bound: &Scalar, unit: Unit) -> (i128, bool) {
    let divide = |value: i128, by: i128| (value.div_euclid(by), value.rem_euclid(by) == 0);
    match (bound, unit) {
        (Scalar::Float(value), Unit::Tenths(scale)) => decimal(*value, scale),
        (Scalar::Float(value), _) => (value.floor() as i128, value.fract() == 0.0),
        (Scalar::Time(time), Unit::Micros(step)) => divide(time.as_micros().into(), step.into()),
        (Scalar::Time(time), _) => (i128::from(time.as_micros()) * 1000, true),
        (Scalar::Int(value), Unit::Tenths(scale)) => {
            let value = i128::from(*value);
            match (10_i128.checked_pow(scale.unsigned_abs().into()), scale >= 0) {
                (Some(power), true) => (value.saturating_mul(power), true),
                (Some(power), false) => divide(value, power),
                (None, _) => (value.signum().saturating_mul(i128::MAX), false),
            }
        }
        (Scalar::Int(value), _) => ((*value).into(), true),
        (Scalar::Bool(_) | Scalar::Text(_), _) => (0, false),
    }
}

/// `value · 10^scale` by its shortest decimal text, rounded down, and whether nothing was cut off.
fn decimal(value: f64, scale: i8) -> (i128, bool) {
    let text = value.abs().to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let point = whole.len() as i64 + i64::from(scale);
    let digits = whole.bytes().chain(fraction.bytes()).map(|digit| i128::from(digit - b'0'));
    let (mut scaled, mut exact, mut count) = (0_i128, true, 0_i64);
    for digit in digits {
        if count < point {
            scaled = scaled.saturating_mul(10).saturating_add(digit);
        } else {
            exact &= digit == 0;
        }
        count += 1;
    }
    for _ in count..point {
        scaled = scaled.saturating_mul(10);
    }
    match (value < 0.0, exact) {
        (false, _) => (scaled, exact),
        (true, true) => (-scaled, true),
        (true, false) => (-scaled - 1, false),
    }
}

impl Range {
    /// Whole numbers that fit, both ends inclusive, in the unit of the column.
    fn ends(&self, unit: Unit) -> (i128, i128) {
        let low = self.min.as_ref().map_or(i128::MIN, |bound| {
            let (value, included) = bound.parts();
            let (floor, exact) = place(value, unit);
            if included && exact { floor } else { floor.saturating_add(1) }
        });
        let high = self.max.as_ref().map_or(i128::MAX, |bound| {
            let (value, included) = bound.parts();
            let (floor, exact) = place(value, unit);
            if exact && !included { floor.saturating_sub(1) } else { floor }
        });
        (low, high)
    }

    fn whole<T>(&self, column: Column, unit: Unit) -> ValueRun
    where
        T: ArrowPrimitiveType<Native: TryFrom<i128>>,
    {
        let (low, high) = self.ends(unit);
        ValueRun::new(column, Between::<T>::new(low, high))
    }

    fn real(&self, column: Column) -> ValueRun {
        let low = self.min.as_ref().map_or(f64::NEG_INFINITY, |bound| {
            let (value, included) = bound.parts();
            lowest(value, included)
        });
        let high = self.max.as_ref().map_or(f64::INFINITY, |bound| {
            let (value, included) = bound.parts();
            highest(value, included)
        });
        ValueRun::new(column, BetweenReal { low, high, allow_nan: self.allow_nan })
    }
}

/// The least float that fits a lower bound.
fn lowest(bound: &Scalar, included: bool) -> f64 {
    match bound {
        Scalar::Float(value) if included => *value,
        Scalar::Float(value) => value.next_up(),
        Scalar::Int(value) => {
            let near = *value as f64;
            let short = (near as i128) < i128::from(*value) || (!included && near as i128 == i128::from(*value));
            if short { near.next_up() } else { near }
        }
        _ => f64::NEG_INFINITY,
    }
}

/// The greatest float that fits an upper bound.
fn highest(bound: &Scalar, included: bool) -> f64 {
    match bound {
        Scalar::Float(value) if included => *value,
        Scalar::Float(value) => value.next_down(),
        Scalar::Int(value) => {
            let near = *value as f64;
            let long = (near as i128) > i128::from(*value) || (!included && near as i128 == i128::from(*value));
            if long { near.next_down() } else { near }
        }
        _ => f64::INFINITY,
    }
}

/// Whole numbers between two ends, both inclusive.
struct Between<T: ArrowPrimitiveType> {
    low: T::Native,
    high: T::Native,
}

impl<T: ArrowPrimitiveType<Native: TryFrom<i128>>> Between<T> {
    /// Ends outside of the type are cut to it; where nothing is left, `low > high`, which every value fails.
    fn new(low: i128, high: i128) -> Self {
        let (least, greatest) = (T::Native::MIN_TOTAL_ORDER, T::Native::MAX_TOTAL_ORDER);
        let nothing = Self { low: greatest, high: least };
        let low = match T::Native::try_from(low) {
            Ok(low) => low,
            Err(_) if low < 0 => least,
            Err(_) => return nothing,
        };
        let high = match T::Native::try_from(high) {
            Ok(high) => high,
            Err(_) if high > 0 => greatest,
            Err(_) => return nothing,
        };
        if low.is_gt(high) { nothing } else { Self { low, high } }
    }
}

impl<T: ArrowPrimitiveType> ValueTest for Between<T> {
    fn failing(&self, values: &dyn Array) -> Result<BooleanBuffer> {
        let values = values
            .as_primitive_opt::<T>()
            .ok_or_else(|| Error::schema("*", T::DATA_TYPE, values.data_type()))?
            .values();
        Ok(BooleanBuffer::collect_bool(values.len(), |row| values[row].is_lt(self.low) | values[row].is_gt(self.high)))
    }
}

/// Floats between two ends, both inclusive.
struct BetweenReal {
    low: f64,
    high: f64,
    allow_nan: bool,
}

impl BetweenReal {
    fn fails(&self, value: f64) -> bool {
        // A comparison with NaN is false, so each form says by itself what happens to it.
        if self.allow_nan { value < self.low || value > self.high } else { !(self.low..=self.high).contains(&value) }
    }
}

impl ValueTest for BetweenReal {
    fn failing(&self, values: &dyn Array) -> Result<BooleanBuffer> {
        let len = values.len();
        match values.data_type() {
            DataType::Float64 => {
                let values = values.as_primitive::<Float64Type>().values();
                Ok(BooleanBuffer::collect_bool(len, |row| self.fails(values[row])))
            }
            DataType::Float32 => {
                let values = values.as_primitive::<Float32Type>().values();
                Ok(BooleanBuffer::collect_bool(len, |row| self.fails(values[row].into())))
            }
            _ => self.failing(&cast(values, &DataType::Float64)?),
        }
    }
}

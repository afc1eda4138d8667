//! Times as columns that models can read.

mod civil;

use std::f64::consts::TAU;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use self::civil::Civil;
use super::derive::{Make, Maker, fitted_by_column};
use super::learn::present;
use super::pick::assign;
use super::rows::{Named, settings};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pick, StepChanges, Transform};
use crate::stats::values::is_time;
use crate::time::EventTime;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "dates";

/// Minutes by which clocks in Vietnam are ahead of UTC; the whole year, there is no summer time.
pub const VIETNAM_OFFSET_MINUTES: i32 = 7 * 60;

/// What is read off a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DatePart {
    /// `<name>_year`, proleptic Gregorian.
    Year,
    /// `<name>_quarter`, 1..=4.
    Quarter,
    /// `<name>_month`, 1..=12.
    Month,
    /// `<name>_day` of the month, 1..=31.
    Day,
    /// `<name>_day_of_year`, 1..=366.
    DayOfYear,
    /// `<name>_weekday`, 0..=6 from Monday.
    Weekday,
    /// `<name>_hour`, 0..=23.
    Hour,
    /// `<name>_minute`, 0..=59.
    Minute,
    /// `<name>_is_weekend`, true on Saturdays and Sundays.
    IsWeekend,
    /// `<name>_month_sin` and `<name>_month_cos`: the month as an angle, so that December is next to January.
    MonthCycle,
    /// `<name>_weekday_sin` and `<name>_weekday_cos`.
    WeekdayCycle,
    /// `<name>_hour_sin` and `<name>_hour_cos`: the time of the day, minutes and seconds included.
    HourCycle,
    /// `<name>_days_since` the [`reference`](DatesBuilder::reference), with fractions, below 0 before it.
    DaysSince,
}

/// What a part becomes.
enum Form {
    Whole(fn(&Civil) -> i64),
    Flag(fn(&Civil) -> bool),
    Cycle(fn(&Civil) -> f64),
    Since,
}

impl DatePart {
    fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Quarter => "quarter",
            Self::Month | Self::MonthCycle => "month",
            Self::Day => "day",
            Self::DayOfYear => "day_of_year",
            Self::Weekday | Self::WeekdayCycle => "weekday",
            Self::Hour | Self::HourCycle => "hour",
            Self::Minute => "minute",
            Self::IsWeekend => "is_weekend",
            Self::DaysSince => "days_since",
        }
    }

    fn form(self) -> Form {
        match self {
            Self::Year => Form::Whole(|civil| civil.year),
            Self::Quarter => Form::Whole(|civil| (civil.month - 1) / 3 + 1),
            Self::Month => Form::Whole(|civil| civil.month),
            Self::Day => Form::Whole(|civil| civil.day),
            Self::DayOfYear => Form::Whole(|civil| civil.day_of_year),
            Self::Weekday => Form::Whole(|civil| civil.weekday),
            Self::Hour => Form::Whole(|civil| civil.second_of_day / 3600),
            Self::Minute => Form::Whole(|civil| civil.second_of_day / 60 % 60),
            Self::IsWeekend => Form::Flag(|civil| civil.weekday >= 5),
            Self::MonthCycle => Form::Cycle(|civil| (civil.month - 1) as f64 / 12.0),
            Self::WeekdayCycle => Form::Cycle(|civil| civil.weekday as f64 / 7.0),
            Self::HourCycle => Form::Cycle(|civil| civil.second_of_day as f64 / 86_400.0),
            Self::DaysSince => Form::Since,
        }
    }

    fn fields(self, column: &str, nullable: bool) -> Vec<Field> {
        let name = format!("{column}_{}", self.name());
        let field = |name: String, data_type| Field::new(name, data_type, nullable);
        match self.form() {
            Form::Whole(_) => vec![field(name, DataType::Int64)],
            Form::Flag(_) => vec![field(name, DataType::Boolean)],
            Form::Since => vec![field(name, DataType::Float64)],
            Form::Cycle(_) => {
                vec![field(format!("{name}_sin"), DataType::Float64), field(format!("{name}_cos"), DataType::Float64)]
            }
        }
    }
}

/// Makes columns of times and dates.
///
/// * Columns come after all others, per column in the order of [`parts`](DatesBuilder::part); each is as sensitive as its
///   column, and a feature where that is one. The column itself stays unless [`drop_source`](DatesBuilder::drop_source).
/// * Times are read as on a clock that is [`offset_minutes`](DatesBuilder::offset_minutes) ahead of UTC, whatever zone their
///   type names; dates as they are. Nulls stay null.
/// * Nothing is learned.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampSecondArray};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{DatePart, Dates, FittedTransformExt, Transform, VIETNAM_OFFSET_MINUTES};
/// use mlops_core::Dataset;
///
/// // 2026-11-25 17:05 in UTC is a Thursday, five past midnight, in Vietnam.
/// let at = TimestampSecondArray::from(vec![1_795_626_300]);
/// let rows = RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef)])?;
/// let dates = Dates::builder("at").part(DatePart::Weekday).part(DatePart::Hour);
/// let dates = dates.offset_minutes(VIETNAM_OFFSET_MINUTES).build()?;
/// let clean = dates.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["at_weekday"].as_primitive::<Int64Type>().value(0), 3);
/// assert_eq!(clean["at_hour"].as_primitive::<Int64Type>().value(0), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "DatesBuilder", into = "DatesBuilder")]
pub struct Dates {
    settings: DatesBuilder,
}

/// Builder of [`Dates`], and its form in files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatesBuilder {
    columns: Pick,
    parts: Vec<DatePart>,
    #[serde(default)]
    offset_minutes: i32,
    #[serde(default = "epoch")]
    reference: EventTime,
    #[serde(default)]
    drop_source: bool,
}

fn epoch() -> EventTime {
    EventTime::EPOCH
}

impl DatesBuilder {
    /// Reads `part` off each time, too.
    pub fn part(mut self, part: DatePart) -> Self {
        self.parts.push(part);
        self
    }

    /// Minutes by which the clocks are ahead of UTC, within ±1440. Default 0; [`VIETNAM_OFFSET_MINUTES`] for Vietnam.
    pub fn offset_minutes(mut self, minutes: i32) -> Self {
        self.offset_minutes = minutes;
        self
    }

    /// What [`DatePart::DaysSince`] counts from. Default: the epoch.
    pub fn reference(mut self, time: EventTime) -> Self {
        self.reference = time;
        self
    }

    /// Whether the column itself goes. Default no.
    pub fn drop_source(mut self, drop: bool) -> Self {
        self.drop_source = drop;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no part, one comes twice, or the offset is more than a day.
    pub fn build(self) -> Result<Dates> {
        if self.parts.is_empty() {
            return Err(Error::invalid("parts", "none", "at least one part"));
        }
        for (place, part) in self.parts.iter().enumerate() {
            if self.parts[..place].contains(part) {
                return Err(Error::invalid("parts", format!("{part:?} twice"), "different parts"));
            }
        }
        if self.offset_minutes.abs() > 1440 {
            return Err(Error::invalid("offset_minutes", self.offset_minutes, "within -1440..=1440"));
        }
        Ok(Dates { settings: self })
    }
}

impl TryFrom<DatesBuilder> for Dates {
    type Error = Error;

    fn try_from(builder: DatesBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Dates> for DatesBuilder {
    fn from(dates: Dates) -> Self {
        dates.settings
    }
}

impl Dates {
    /// Starts with the times of `columns`, and no part.
    pub fn builder(columns: impl Into<Pick>) -> DatesBuilder {
        DatesBuilder {
            columns: columns.into(),
            parts: Vec::new(),
            offset_minutes: 0,
            reference: EventTime::EPOCH,
            drop_source: false,
        }
    }
}

impl Dates {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let mut columns = Vec::new();
        for (name, ()) in assign(schema, [(&self.settings.columns, &())])? {
            let data_type = schema.field(&name)?.data_type();
            if !is_time(data_type) {
                return Err(Error::schema(name, "a time or a date", data_type));
            }
            // A date is a day on the wall already: no clock moves it.
            let is_date = matches!(data_type, DataType::Date32 | DataType::Date64);
            columns.push(Dated {
                source: Named::of(schema, &name)?,
                parts: self.settings.parts.clone(),
                offset_minutes: if is_date { 0 } else { self.settings.offset_minutes },
                reference: self.settings.reference,
                drop_source: self.settings.drop_source,
            });
        }
        let names: Vec<String> = columns.iter().map(|column: &Dated| column.source.name.clone()).collect();
        let fitted = FittedDates { columns };
        fitted.output_schema(schema)?;
        let gone = if self.settings.drop_source { names.clone() } else { Vec::new() };
        let study = Study::new(study::known(fitted)).concerns(names).changes(gone);
        Ok(study.picks(study::any_picks([&self.settings.columns])).reshapes(true))
    }
}

impl Transform for Dates {
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

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dated {
    source: Named,
    parts: Vec<DatePart>,
    offset_minutes: i32,
    reference: EventTime,
    drop_source: bool,
}

/// [`Dates`] that know their columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedDates {
    columns: Vec<Dated>,
}

fitted_by_column!(FittedDates, KIND);

impl Maker for Dated {
    fn source(&self) -> &Named {
        &self.source
    }

    fn keeps_source(&self) -> bool {
        !self.drop_source
    }

    fn fields(&self, source: &Field) -> Vec<Field> {
        self.parts.iter().flat_map(|part| part.fields(source.name(), source.is_nullable())).collect()
    }

    fn prepare(&self) -> Result<Box<dyn Make>> {
        Ok(Box::new(Reader(self.clone())))
    }
}

struct Reader(Dated);

impl Make for Reader {
    fn make(&mut self, array: &ArrayRef, changes: &mut StepChanges) -> Result<Vec<ArrayRef>> {
        let times = cast(array, &EventTime::data_type())?;
        if times.logical_null_count() > array.logical_null_count() {
            return Err(Error::schema(&self.0.source.name, "times that µs since the epoch can hold", "others"));
        }
        let times = times.as_primitive::<TimestampMicrosecondType>();
        changes.count(&self.0.source.name, Change::Derived, present(times));
        let offset = i64::from(self.0.offset_minutes) * 60_000_000;
        let civils: Vec<Civil> = times.values().iter().map(|micros| Civil::of(*micros, offset)).collect();
        let mut arrays = Vec::new();
        for part in &self.0.parts {
            self.read(*part, times, &civils, &mut arrays);
        }
        Ok(arrays)
    }
}

impl Reader {
    fn read(&self, part: DatePart, times: &TimestampMicrosecondArray, civils: &[Civil], arrays: &mut Vec<ArrayRef>) {
        let nulls = || times.nulls().cloned();
        let floats = |values: Vec<f64>| Arc::new(Float64Array::new(values.into(), nulls())) as ArrayRef;
        match part.form() {
            Form::Whole(of) => {
                let values: Vec<i64> = civils.iter().map(of).collect();
                arrays.push(Arc::new(Int64Array::new(values.into(), nulls())));
            }
            Form::Flag(of) => arrays.push(Arc::new(BooleanArray::new(civils.iter().map(of).collect(), nulls()))),
            Form::Cycle(of) => {
                let turns: Vec<(f64, f64)> = civils.iter().map(|civil| (TAU * of(civil)).sin_cos()).collect();
                arrays.push(floats(turns.iter().map(|(sin, _)| *sin).collect()));
                arrays.push(floats(turns.iter().map(|(_, cos)| *cos).collect()));
            }
            Form::Since => {
                let start = i128::from(self.0.reference.as_micros());
                let days = |micros: &i64| (i128::from(*micros) - start) as f64 / 86_400e6;
                arrays.push(floats(times.values().iter().map(days).collect()));
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Missing values from the rows before, group by group.

mod cells;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use self::cells::filled;
use self::walk::{Groups, Walk};
use super::super::pick::is_number;
use super::super::rows::{Fieldset, Named, admit, assemble, booleans, may_be_learned, pack, settings};
use super::super::study::{self, Study};
use super::super::{Change, Changes, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use super::SUFFIX;
use crate::schema::Role;
use crate::source::{Scalar, is_text};
use crate::stats::values::is_time;
use crate::{Dataset, Error, Result, Schema};

pub(in crate::clean) const KIND: &str = "fill_forward";

/// Most groups where nothing was said.
pub const GROUPS_DEFAULT: u64 = 1_000_000;

/// Fills missing values with the last one before them in their group, in order of the event time.
///
/// * [`Scope::Table`]: a row is filled from the rows before it. What was fitted also knows the last value of each group and
///   column, and from when it is: it fills gaps of later rows (strictly), so that a table goes on where that of the fit ended,
///   and nothing flows back in time. [`FittedTransform::for_rows`] does only that, for single requests.
/// * Rows must come in order of their event time within a group: one that is older than another before it is an error, and so
///   is one without a time. Sort first.
/// * A gap with nothing before it stays. A row with a null in its group's columns is a group of its own: nothing is filled.
/// * Missing are nulls, and NaN in columns of floats. Types, roles, sensitivities and units stay.
/// * The state names groups by digest and holds a value per group and column, so columns that tell about a person are refused.
///   At most [`groups_max`](FillForwardBuilder::groups_max) groups. One scan.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampSecondArray};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_core::clean::{FillForward, FittedTransformExt, Transform};
/// use mlops_core::Dataset;
///
/// let table = |ids, at, price: Vec<Option<f64>>| {
///     RecordBatch::try_from_iter_with_nullable([
///         ("id", Arc::new(Int64Array::from_iter_values::<Vec<i64>>(ids)) as ArrayRef, false),
///         ("at", Arc::new(TimestampSecondArray::from_iter_values::<Vec<i64>>(at)), false),
///         ("price", Arc::new(Float64Array::from(price)), true),
///     ])
/// };
/// let history = table(vec![1, 2, 1], vec![10, 10, 20], vec![Some(5.0), Some(7.0), None])?;
/// let fill = FillForward::builder("price").by("id").time("at").build()?;
/// let fitted = fill.fit(&Dataset::from_batches([history])?)?;
/// let request = table(vec![1], vec![30], vec![None])?;
/// let rows = fitted.for_rows().ok_or("it treats single rows")?;
/// assert_eq!(rows.apply_batch(&request)?["price"].as_primitive::<Float64Type>().value(0), 5.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "FillForwardBuilder", into = "FillForwardBuilder")]
pub struct FillForward {
    settings: FillForwardBuilder,
}

/// Builder of [`FillForward`], and its form in files (every field but the columns may be left out).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillForwardBuilder {
    columns: Pick,
    #[serde(default)]
    by: Option<Pick>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default = "groups")]
    groups_max: u64,
    #[serde(default)]
    indicator: bool,
}

fn groups() -> u64 {
    GROUPS_DEFAULT
}

impl FillForwardBuilder {
    /// Columns that make a group. Default: those of role [`Role::Key`].
    pub fn by(mut self, columns: impl Into<Pick>) -> Self {
        self.by = Some(columns.into());
        self
    }

    /// Column of the event time. Default: the one column of role [`Role::EventTime`].
    pub fn time(mut self, column: impl Into<String>) -> Self {
        self.time = Some(column.into());
        self
    }

    /// Most groups of a fit and of a pass. Default [`GROUPS_DEFAULT`].
    pub fn groups_max(mut self, groups: u64) -> Self {
        self.groups_max = groups;
        self
    }

    /// Whether a column `<name>_missing` of booleans per column is added, after all others. Default no.
    pub fn indicator(mut self, indicator: bool) -> Self {
        self.indicator = indicator;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there may be no group.
    pub fn build(self) -> Result<FillForward> {
        if self.groups_max == 0 {
            return Err(Error::invalid("groups_max", 0, "at least 1"));
        }
        Ok(FillForward { settings: self })
    }
}

impl TryFrom<FillForwardBuilder> for FillForward {
    type Error = Error;

    fn try_from(builder: FillForwardBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<FillForward> for FillForwardBuilder {
    fn from(fill: FillForward) -> Self {
        fill.settings
    }
}

impl FillForward {
    /// Starts with the numbers, booleans, texts and times of `columns`.
    pub fn builder(columns: impl Into<Pick>) -> FillForwardBuilder {
        FillForwardBuilder {
            columns: columns.into(),
            by: None,
            time: None,
            groups_max: GROUPS_DEFAULT,
            indicator: false,
        }
    }

    /// What is fitted, before it knows any group.
    fn unlearned(&self, schema: &Schema) -> Result<FittedFillForward> {
        let named = |names: Vec<String>| names.iter().map(|name| Named::of(schema, name)).collect::<Result<Vec<_>>>();
        let columns = named(self.settings.columns.names(schema)?)?;
        for column in &columns {
            may_be_learned(schema, &column.name)?;
            let data_type = schema.field(&column.name)?.data_type();
            if !(is_number(data_type) || is_text(data_type) || is_time(data_type) || data_type == &DataType::Boolean) {
                return Err(Error::schema(&column.name, "numbers, booleans, text or times", data_type));
            }
        }
        let by = named(self.settings.by.clone().unwrap_or(Pick::Role(Role::Key)).names(schema)?)?;
        let time = match &self.settings.time {
            Some(time) => time.as_str(),
            None => schema.single(Role::EventTime)?,
        };
        if !is_time(schema.field(time)?.data_type()) {
            return Err(Error::schema(time, "a time", schema.field(time)?.data_type()));
        }
        if let Some(column) = columns.iter().find(|column| column.name == time || by.contains(column)) {
            return Err(Error::schema(&column.name, "a column beside those of group and time", "one of them"));
        }
        let (groups_max, indicator) = (self.settings.groups_max, self.settings.indicator);
        let time = Named::of(schema, time)?;
        Ok(FittedFillForward { columns, by, time, groups_max, indicator, rows_only: false, groups: BTreeMap::new() })
    }
}

impl FillForward {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let fitted = self.unlearned(schema)?;
        fitted.output_schema(schema)?;
        let mut names: Vec<String> = fitted.names().map(str::to_owned).collect();
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        let columns: Vec<String> = fitted.columns.iter().map(|column| column.name.clone()).collect();
        let walk = Walk::begin(&fitted, &schema.project(&names)?)?;
        let conclude = move |walk: Walk| {
            let last = |(digest, group): (u128, Group)| (format!("{digest:032x}"), group);
            let groups = walk.groups.into_iter().map(last).collect();
            Ok(Box::new(FittedFillForward { groups, ..fitted }) as Box<dyn FittedTransform>)
        };
        let FillForwardBuilder { columns: picked, by, time, indicator, .. } = &self.settings;
        let picks = time.is_none() || by.is_none() || study::any_picks(by.iter().chain([picked]));
        let study = Study::new(study::learner(walk, Walk::learn, conclude)).reads(names);
        Ok(study.changes(columns).picks(picks).reshapes(*indicator))
    }
}

impl Transform for FillForward {
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

/// The last value of each column, and when it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    at: i64,
    last: Vec<Option<(i64, Scalar)>>,
}

/// A [`FillForward`] that knows the last values.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedFillForward {
    columns: Vec<Named>,
    by: Vec<Named>,
    time: Named,
    groups_max: u64,
    indicator: bool,
    rows_only: bool,
    /// By the digest of their key.
    groups: BTreeMap<String, Group>,
}

impl FittedFillForward {
    /// How many groups it knows.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().chain(&self.by);
        columns.chain([&self.time]).map(|named| named.name.as_str())
    }
}

impl FittedTransform for FittedFillForward {
    fn scope(&self) -> Scope {
        if self.rows_only { Scope::Row } else { Scope::Table }
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.by.iter().chain([&self.time]).try_for_each(|named| named.find(input).map(drop))?;
        let mut fields = Fieldset::of(input);
        for column in &self.columns {
            column.find(input)?;
            if self.indicator {
                fields.flag(&column.name, SUFFIX)?;
            }
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let walk = Walk::begin(self, input)?;
        let known = self.groups.iter().map(|(digest, group)| {
            let digest = u128::from_str_radix(digest, 16).map_err(|e| Error::invalid_data("digest of a group", e))?;
            if group.last.len() == self.columns.len() {
                Ok((digest, group.clone()))
            } else {
                Err(Error::invalid_data(format!("state of `{KIND}`"), "a group without a place per column"))
            }
        });
        let known = known.collect::<Result<_>>()?;
        let changes = StepChanges::new(KIND);
        Ok(Box::new(ForwardPass {
            input: input.clone(),
            output,
            walk,
            known,
            indicator: self.indicator,
            rows_only: self.rows_only,
            changes,
        }))
    }

    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        Some(Arc::new(Self { rows_only: true, ..self.clone() }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct ForwardPass {
    input: Schema,
    output: Schema,
    walk: Walk,
    known: Groups,
    indicator: bool,
    rows_only: bool,
    changes: StepChanges,
}

impl Pass for ForwardPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let (fillings, gaps) = if self.rows_only {
            self.walk.fill_alone(&batch, &self.known)?
        } else {
            self.walk.fill(&batch, &self.known)?
        };
        let mut columns = batch.columns().to_vec();
        for (((position, name), fillings), gaps) in self.walk.columns.iter().zip(fillings).zip(gaps) {
            self.changes.count(name, Change::Imputed, fillings.len() as u64);
            columns[*position] = filled(batch.column(*position), &fillings)?;
            if self.indicator {
                columns.push(booleans(gaps));
            }
        }
        self.changes.rows_in += batch.num_rows() as u64;
        self.changes.rows_out += batch.num_rows() as u64;
        assemble(&self.output, columns, batch.num_rows())
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

#[cfg(test)]
mod tests;

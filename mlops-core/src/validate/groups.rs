//! Groups of rows that look as they should.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared, find_all};
use super::kernel::{Column, Kernel, KernelRun, Verdict, measures, quoted, ratio};
use super::statistic::{between, check_bounds};
use super::unique::DISTINCT_DEFAULT;
use crate::rowkey::{is_key, keyless};
use crate::stats::values::is_number;
use crate::{Error, Result, Schema};

/// Most failing groups that are told one by one.
const TOLD_MAX: usize = 10;

/// What is measured of each group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum GroupMeasure {
    /// Number of rows.
    Count,
    /// Sum of a column, in the order of the rows.
    Sum(String),
    /// Mean of a column.
    Mean(String),
    /// Least value of a column.
    Min(String),
    /// Greatest value of a column.
    Max(String),
    /// Number of different values of a column.
    Distinct(String),
}

impl GroupMeasure {
    fn column(&self) -> Option<&str> {
        match self {
            Self::Count => None,
            Self::Sum(column) | Self::Mean(column) | Self::Min(column) | Self::Max(column) | Self::Distinct(column) => {
                Some(column)
            }
        }
    }
}

impl fmt::Display for GroupMeasure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Count => return f.write_str("row count"),
            Self::Sum(_) => "sum",
            Self::Mean(_) => "mean",
            Self::Min(_) => "least",
            Self::Max(_) => "greatest",
            Self::Distinct(_) => "number of different values",
        };
        write!(f, "{name} of {}", quoted(self.column().unwrap_or_default()))
    }
}

/// A measure of every group of rows with one key lies between bounds, both inclusive.
///
/// * A row with a null in a column of the key is in no group. Nulls and NaN of the measured column do not count; a group
///   without a value passes. Sums of floats depend on the order of rows in the last digits.
/// * `observed` is the share of groups that fail. Measures: `groups`, `failing_groups`, `least` and `greatest` over the
///   groups, `without_key`. Failing groups are told by the place of their first row, never by their key.
/// * Memory: about 90 bytes per group, and 20 to 40 per different value of a group where those are counted; at most ten
///   million of either.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Groups {
    keys: Vec<String>,
    measure: GroupMeasure,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max: Option<f64>,
}

impl Groups {
    /// `measure` of the rows of each key, without bounds as yet; at least one is needed.
    pub fn of(keys: impl IntoIterator<Item = impl Into<String>>, measure: GroupMeasure) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect(), measure, min: None, max: None }
    }

    /// It is not less than `min`.
    pub fn at_least(mut self, min: f64) -> Self {
        self.min = Some(min);
        self
    }

    /// It is not greater than `max`.
    pub fn at_most(mut self, max: f64) -> Self {
        self.max = Some(max);
        self
    }

    pub(super) fn bounds(&self) -> (Option<f64>, Option<f64>) {
        (self.min, self.max)
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.keys.is_empty() || self.keys.len() > 64 {
            return Err(Error::invalid("keys", format!("{} columns", self.keys.len()), "1 to 64 columns"));
        }
        check_bounds(self.min, self.max)?;
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for Groups {
    fn demand(&self) -> String {
        let keys: Vec<String> = self.keys.iter().map(|name| quoted(name)).collect();
        format!("{} of each {} is {}", self.measure, keys.join(", "), between(self.min, self.max))
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        let measured = self.measure.column().filter(|column| !self.keys.iter().any(|key| key == column));
        self.keys.iter().map(String::as_str).chain(measured).collect()
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let keys = find_all(schema, &self.keys)?;
        let measured = self.measure.column().map(|name| Column::find(schema, name)).transpose()?;
        let distinct = matches!(self.measure, GroupMeasure::Distinct(_));
        for column in keys.iter().chain(measured.as_ref().filter(|_| distinct)) {
            if !is_key(column.value_type()) {
                return Err(column.unfit("a type that keys are made of"));
            }
        }
        if let Some(column) = measured.as_ref().filter(|column| !distinct && !is_number(column.value_type())) {
            return Err(column.unfit("a number"));
        }
        let (groups, values) = (HashMap::default(), HashSet::default());
        Ok(Box::new(Run { rule: self.clone(), keys, measured, groups, values, rows: 0, without_key: 0 }))
    }
}

#[derive(Clone, Copy)]
struct Group {
    first: u64,
    rows: u64,
    /// Values that count.
    count: u64,
    sum: f64,
    min: f64,
    max: f64,
}

struct Run {
    rule: Groups,
    keys: Vec<Column>,
    measured: Option<Column>,
    groups: HashMap<u128, Group, FixedState>,
    values: HashSet<u128, FixedState>,
    rows: u64,
    without_key: u64,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let arrays = self.keys.iter().map(|column| column.of(batch)).collect::<Result<Vec<_>>>()?;
        let keyless = keyless(&arrays);
        let hashes = self.keys.iter().map(|column| batch.keys(column)).collect::<Result<Vec<_>>>()?;
        let keys = batch.hasher().join(&hashes);
        let numbers = self.numbers(batch)?;
        let distinct = self.distinct(batch, &keys)?;
        for (row, key) in keys.into_iter().enumerate() {
            if keyless.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
                self.without_key += 1;
                continue;
            }
            let empty = Group {
                first: self.rows + row as u64,
                rows: 0,
                count: 0,
                sum: 0.0,
                min: f64::INFINITY,
                max: f64::NEG_INFINITY,
            };
            let group = self.groups.entry(key).or_insert(empty);
            group.rows += 1;
            if let Some(value) = numbers.as_ref().and_then(|numbers| numbers[row]) {
                group.count += 1;
                group.sum += value;
                group.min = group.min.min(value);
                group.max = group.max.max(value);
            }
            if let Some(Some(value)) = distinct.as_ref().map(|keys| keys[row]) {
                group.count += u64::from(self.values.insert(value));
            }
        }
        self.rows += batch.num_rows() as u64;
        if self.groups.len().max(self.values.len()) as u64 > DISTINCT_DEFAULT {
            return Err(Error::invalid("keys", "more than 10000000 groups or values", "at most 10000000 of either"));
        }
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        let mut failing = Vec::new();
        let (mut least, mut greatest) = (f64::INFINITY, f64::NEG_INFINITY);
        for group in self.groups.values() {
            let Some(value) = self.value(group) else { continue };
            (least, greatest) = (least.min(value), greatest.max(value));
            let fits = self.rule.min.is_none_or(|min| value >= min) && self.rule.max.is_none_or(|max| value <= max);
            if !fits {
                failing.push((group.first, value));
            }
        }
        failing.sort_by_key(|(first, _)| *first);
        let groups = self.groups.len() as u64;
        Ok(Verdict {
            passed: failing.is_empty(),
            failed_rows: 0,
            observed: ratio(failing.len() as u64, groups),
            measures: measures([
                ("groups", groups as f64),
                ("failing_groups", failing.len() as f64),
                ("least", least),
                ("greatest", greatest),
                ("without_key", self.without_key as f64),
            ]),
            detail: told(&failing),
        })
    }
}

fn told(failing: &[(u64, f64)]) -> String {
    let one = |(first, value): &(u64, f64)| format!("{value} in the group that starts at row {first}");
    let mut all: Vec<String> = failing.iter().take(TOLD_MAX).map(one).collect();
    if failing.len() > TOLD_MAX {
        all.push(format!("and {} more", failing.len() - TOLD_MAX));
    }
    all.join("; ")
}

impl Run {
    /// Values of the measured column; none where they are not numbers that count.
    fn numbers(&self, batch: &Shared<'_>) -> Result<Option<Vec<Option<f64>>>> {
        let distinct = matches!(self.rule.measure, GroupMeasure::Distinct(_));
        let Some(column) = self.measured.as_ref().filter(|_| !distinct) else { return Ok(None) };
        let wide = cast(&column.plain(batch)?, &DataType::Float64)?;
        let numbers = wide.as_primitive::<Float64Type>().iter();
        Ok(Some(numbers.map(|value| value.filter(|value| !value.is_nan())).collect()))
    }

    /// Each value together with its group.
    fn distinct(&self, batch: &Shared<'_>, keys: &[u128]) -> Result<Option<Vec<Option<u128>>>> {
        let distinct = matches!(self.rule.measure, GroupMeasure::Distinct(_));
        let Some(column) = self.measured.as_ref().filter(|_| distinct) else { return Ok(None) };
        let nulls = column.of(batch)?.logical_nulls();
        let both = batch.hasher().join(&[Arc::new(keys.to_vec()), batch.keys(column)?]);
        let present = |row: usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
        Ok(Some(both.into_iter().enumerate().map(|(row, key)| present(row).then_some(key)).collect()))
    }

    fn value(&self, group: &Group) -> Option<f64> {
        match self.rule.measure {
            GroupMeasure::Count => Some(group.rows as f64),
            GroupMeasure::Distinct(_) => Some(group.count as f64),
            _ if group.count == 0 => None,
            GroupMeasure::Sum(_) => Some(group.sum),
            GroupMeasure::Mean(_) => Some(group.sum / group.count as f64),
            GroupMeasure::Min(_) => Some(group.min),
            GroupMeasure::Max(_) => Some(group.max),
        }
    }
}

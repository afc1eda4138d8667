//! Columns that only rise or only fall.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared, find_all};
use super::kernel::{Column, Kernel, KernelRun, Tally, Verdict, quoted};
use super::unique::DISTINCT_DEFAULT;
use crate::rowkey::keyless;
use crate::stats::values::is_time;
use crate::{Error, Result, Schema};

/// Values of `column` do not fall from one row to the next, in the order of the table.
///
/// * Numbers (no decimals), dates and timestamps. A value is compared with the one before it that is neither null nor NaN,
///   and is marked where it is less; the next one is then compared with *it*, so that one dip is one mark.
/// * With [`per`](Self::per), each group of rows is looked at on its own, 40 to 80 bytes per group, at most ten million of
///   them; rows with a null in a column of the group are not looked at.
/// * `observed` is the share of rows marked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Monotonic {
    column: String,
    #[serde(default)]
    strict: bool,
    #[serde(default)]
    falling: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    per: Vec<String>,
}

impl Monotonic {
    /// Values of `column` do not fall.
    pub fn rising(column: impl Into<String>) -> Self {
        Self { column: column.into(), strict: false, falling: false, per: Vec::new() }
    }

    /// Values of `column` do not rise.
    pub fn falling(column: impl Into<String>) -> Self {
        Self { falling: true, ..Self::rising(column) }
    }

    /// A value that equals the one before is marked too.
    pub fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    /// Looks at the rows of each value of `columns` on their own.
    pub fn per(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.per = columns.into_iter().map(Into::into).collect();
        self
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.per.len() > 64 {
            return Err(Error::invalid("per", format!("{} columns", self.per.len()), "at most 64 columns"));
        }
        Ok(Arc::new(self.clone()))
    }
}

impl Kernel for Monotonic {
    fn demand(&self) -> String {
        let way = match (self.falling, self.strict) {
            (false, false) => "does not fall",
            (false, true) => "rises",
            (true, false) => "does not rise",
            (true, true) => "falls",
        };
        let groups: Vec<String> = self.per.iter().map(|name| quoted(name)).collect();
        let per = if groups.is_empty() { String::new() } else { format!(" within each {}", groups.join(", ")) };
        format!("{} {way}{per}", quoted(&self.column))
    }

    fn scope(&self) -> Scope {
        Scope::RowInTable
    }

    fn columns(&self) -> Vec<&str> {
        std::iter::once(&self.column).chain(&self.per).map(String::as_str).collect()
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        let found = column.value_type();
        if !(found.is_integer() || found.is_floating() || is_time(found)) {
            return Err(column.unfit("an integer, a float, a date or a timestamp"));
        }
        let per = find_all(schema, &self.per)?;
        Ok(Box::new(Run {
            rule: self.clone(),
            column,
            per,
            last: None,
            groups: HashMap::default(),
            tally: Tally::default(),
        }))
    }
}

struct Run {
    rule: Monotonic,
    column: Column,
    per: Vec<Column>,
    last: Option<Value>,
    groups: HashMap<u128, Value, FixedState>,
    tally: Tally,
}

/// A value that orders as that of the column.
#[derive(Clone, Copy)]
enum Value {
    Whole(i128),
    Real(f64),
}

impl Value {
    fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Whole(a), Self::Whole(b)) => a.cmp(&b),
            (Self::Real(a), Self::Real(b)) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
            _ => Ordering::Equal,
        }
    }
}

impl Run {
    fn breaks(&self, before: Value, now: Value) -> bool {
        match now.order(before) {
            Ordering::Less => !self.rule.falling,
            Ordering::Equal => self.rule.strict,
            Ordering::Greater => self.rule.falling,
        }
    }

    fn marks(
        &mut self,
        values: &ArrayRef,
        nulls: Option<&NullBuffer>,
        keys: Option<Vec<u128>>,
    ) -> Result<BooleanBuffer> {
        let mut failing = Vec::with_capacity(values.len());
        for row in 0..values.len() {
            let value = if nulls.is_some_and(|nulls| nulls.is_null(row)) { None } else { value(values, row) };
            let Some(value) = value else {
                failing.push(false);
                continue;
            };
            let before = match &keys {
                None => self.last.replace(value),
                Some(keys) => self.groups.insert(keys[row], value),
            };
            failing.push(before.is_some_and(|before| self.breaks(before, value)));
        }
        if self.groups.len() as u64 > DISTINCT_DEFAULT {
            return Err(Error::invalid("per", "more than 10000000 groups", "at most 10000000 groups"));
        }
        Ok(failing.into())
    }

    /// What most tables have: whole numbers without nulls, not in groups.
    fn marks_plain(&mut self, values: &[i64]) -> BooleanBuffer {
        let falls = |before: i64, now: i64| match now.cmp(&before) {
            Ordering::Less => !self.rule.falling,
            Ordering::Equal => self.rule.strict,
            Ordering::Greater => self.rule.falling,
        };
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return BooleanBuffer::new_unset(0) };
        let broken = self.last.is_some_and(|before| self.breaks(before, Value::Whole((*first).into())));
        let marks = BooleanBuffer::collect_bool(values.len(), |row| {
            if row == 0 { broken } else { falls(values[row - 1], values[row]) }
        });
        self.last = Some(Value::Whole((*last).into()));
        marks
    }
}

/// Values in one of three types that order as they do.
fn ordered(array: &ArrayRef) -> Result<ArrayRef> {
    let plain = match array.data_type() {
        DataType::Dictionary(_, values) => cast(array, values)?,
        _ => array.clone(),
    };
    Ok(match plain.data_type() {
        DataType::UInt64 => plain,
        DataType::Date32 => cast(&cast(&plain, &DataType::Int32)?, &DataType::Int64)?,
        other if other.is_floating() => cast(&plain, &DataType::Float64)?,
        _ => cast(&plain, &DataType::Int64)?,
    })
}

fn value(array: &ArrayRef, row: usize) -> Option<Value> {
    match array.data_type() {
        DataType::Float64 => {
            Some(array.as_primitive::<Float64Type>().value(row)).filter(|v| !v.is_nan()).map(Value::Real)
        }
        DataType::UInt64 => Some(Value::Whole(array.as_primitive::<UInt64Type>().value(row).into())),
        _ => Some(Value::Whole(array.as_primitive::<Int64Type>().value(row).into())),
    }
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let values = ordered(self.column.of(batch)?)?;
        let per = self.per.iter().map(|column| column.of(batch)).collect::<Result<Vec<_>>>()?;
        let nulls = NullBuffer::union(values.nulls(), keyless(&per).as_ref()).filter(|nulls| nulls.null_count() > 0);
        let plain = nulls.is_none() && per.is_empty() && *values.data_type() == DataType::Int64;
        let failing = if plain {
            self.marks_plain(values.as_primitive::<Int64Type>().values())
        } else {
            let keys = self.per.iter().map(|column| batch.keys(column)).collect::<Result<Vec<_>>>()?;
            let keys = (!keys.is_empty()).then(|| batch.hasher().join(&keys));
            self.marks(&values, nulls.as_ref(), keys)?
        };
        Ok(Some(self.tally.take(failing, None)))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.tally.verdict())
    }
}

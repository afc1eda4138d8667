//! What is behind a value, and what is served where nothing valid is.

use arrow::array::{Array, ArrayRef, BooleanArray, TimestampMicrosecondArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::nullif;
use mlops_core::EventTime;
use serde::{Deserialize, Serialize};

use super::plan::Read;
use crate::error::{Core, Error, Result};
use crate::online::OnlineRows;
use crate::policy::StatusPolicy;

/// What is behind one value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[non_exhaustive]
pub enum Status {
    /// The value is there and not too old; a computed value is not null.
    Present,
    /// The key is known and its row not too old, but the value is null; a computed value is null.
    NullValue,
    /// There is no row for the key, or the key is null. The value is null, or what the view's
    /// [policy](StatusPolicy) puts there; of a live window view it is that of an empty window.
    NotFound,
    /// The row is older than the view's ttl. The value is null, as it is in an as-of join, or what the view's
    /// [policy](StatusPolicy) puts there.
    OutsideMaxAge,
}

/// What was read of one view.
#[derive(Debug)]
pub(super) struct Part {
    /// What is served: the policy's values where there is no valid row.
    pub(super) served: Vec<ArrayRef>,
    /// What was known, null where there is no valid row; none where that is what is served.
    known: Option<Vec<ArrayRef>>,
    /// Per row: `Present`, `NotFound` or `OutsideMaxAge`; none where all are `Present`.
    states: Vec<Status>,
    pub(super) ages: Ages,
    pub(super) tally: Tally,
    /// The rows are one, which stands for every entity.
    pub(super) shared: bool,
}

/// Ages of rows or values in microseconds; none where there is no row.
#[derive(Clone, Debug)]
pub(super) enum Ages {
    /// Of rows that became true at these instants, as of another.
    Stored(TimestampMicrosecondArray, EventTime),
    /// Of computed values.
    Computed(Vec<Option<i64>>),
}

impl Ages {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Stored(event_time, _) => event_time.len(),
            Self::Computed(ages) => ages.len(),
        }
    }

    /// That of `row`; none beyond the last.
    pub(super) fn at(&self, row: usize) -> Option<i64> {
        match self {
            Self::Stored(event_time, now) => (row < event_time.len() && event_time.is_valid(row))
                .then(|| now.as_micros().saturating_sub(event_time.value(row))),
            Self::Computed(ages) => ages.get(row).copied().flatten(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = Option<i64>> {
        (0..self.len()).map(|row| self.at(row))
    }
}

/// How many values had which status.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tally {
    pub(super) present: u64,
    pub(super) null_value: u64,
    pub(super) not_found: u64,
    pub(super) outside_max_age: u64,
    /// Values whose row is older than the view promises.
    pub(super) overdue: u64,
    /// Rows whose event time lies ahead.
    pub(super) ahead: u64,
}

impl Part {
    /// Judges what a store answered to `read` for `count` keys.
    pub(super) fn judge(read: &Read, rows: OnlineRows, count: usize, shared: bool, now: EventTime) -> Result<Self> {
        let lengths = || rows.columns.iter().map(Array::len).chain([rows.event_time.len()]);
        if rows.columns.len() != read.defaults.len() || lengths().any(|len| len != count) {
            let found = format!("{} columns of {} values", rows.columns.len(), lengths().max().unwrap_or(0));
            let expected = format!("{} columns of {count} values", read.defaults.len());
            return Err(Core::schema(read.join.label().as_str(), expected, found).into());
        }
        let ages = Ages::Stored(rows.event_time, now);
        if ages.iter().all(|age| age.is_some_and(|age| age <= read.ttl_us)) {
            let tally = Tally::of(&[], &ages, &rows.columns, read.freshness_us);
            return Ok(Self { served: rows.columns, known: None, states: Vec::new(), ages, tally, shared });
        }
        let state = |age: Option<i64>| match age {
            None => Status::NotFound,
            Some(age) if age > read.ttl_us => Status::OutsideMaxAge,
            Some(_) => Status::Present,
        };
        let states: Vec<Status> = ages.iter().map(state).collect();
        let known = if states.contains(&Status::OutsideMaxAge) {
            let expired = mask(&states, |state| state == Status::OutsideMaxAge);
            rows.columns.iter().map(|column| nullif(column, &expired)).collect::<Result<Vec<_>, _>>()?
        } else {
            rows.columns.clone()
        };
        let tally = Tally::of(&states, &ages, &known, read.freshness_us);
        let served = by_policy(read, &states, &known, rows.columns)?;
        Ok(Self { served, known: Some(known), states, ages, tally, shared })
    }

    /// What was known of `column`: null where there is no valid row.
    pub(super) fn known(&self, column: usize) -> &ArrayRef {
        self.known.as_ref().map_or(&self.served[column], |known| &known[column])
    }

    /// Whether every value is `Present`.
    fn is_whole(&self) -> bool {
        self.tally.present == (self.served.len() * self.ages.len()) as u64
    }

    /// Writes the statuses of the values of all columns to `statuses`, which are `Present` so far.
    pub(super) fn all_statuses(&self, statuses: &mut [Status]) {
        if !self.is_whole() {
            let columns = statuses.chunks_exact_mut(self.ages.len().max(1));
            columns.enumerate().for_each(|(column, statuses)| self.statuses(column, statuses));
        }
    }

    /// As [`all_statuses`](Self::all_statuses), of one column.
    pub(super) fn statuses(&self, column: usize, statuses: &mut [Status]) {
        if !self.states.is_empty() {
            statuses.copy_from_slice(&self.states);
        }
        let Some(nulls) = self.known(column).nulls() else { return };
        for (row, status) in statuses.iter_mut().enumerate() {
            if *status == Status::Present && nulls.is_null(row) {
                *status = Status::NullValue;
            }
        }
    }
}

fn mask(states: &[Status], fits: impl Fn(Status) -> bool) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::collect_bool(states.len(), |row| fits(states[row])), None)
}

/// What is served where not all rows are valid.
fn by_policy(read: &Read, states: &[Status], known: &[ArrayRef], stored: Vec<ArrayRef>) -> Result<Vec<ArrayRef>> {
    match read.join.view().policy() {
        StatusPolicy::Stale => Ok(stored),
        StatusPolicy::Null => Ok(known.to_vec()),
        StatusPolicy::Fail => {
            let count = |wanted: Status| states.iter().filter(|state| **state == wanted).count();
            Err(Error::NoValidRow {
                view: read.join.label().to_string(),
                keys: states.len(),
                not_found: count(Status::NotFound),
                outside_max_age: count(Status::OutsideMaxAge),
            })
        }
        StatusPolicy::Default => {
            let missing = mask(states, |state| state != Status::Present);
            let fill = |(column, default): (&ArrayRef, &Option<ArrayRef>)| match default {
                None => Ok(column.clone()),
                Some(default) => Ok(zip(&missing, &arrow::array::Scalar::new(default.clone()), column)?),
            };
            known.iter().zip(&read.defaults).map(fill).collect()
        }
    }
}

impl Tally {
    /// Of the values of rows in these states; all are valid where none are given.
    fn of(states: &[Status], ages: &Ages, known: &[ArrayRef], freshness_us: i64) -> Self {
        let count = |wanted: Status| states.iter().filter(|state| **state == wanted).count();
        let (not_found, expired) = (count(Status::NotFound), count(Status::OutsideMaxAge));
        let nulls: usize = known.iter().map(Array::null_count).sum();
        let width = known.len();
        // Every column is null where there is no valid row.
        let null_value = nulls.saturating_sub((not_found + expired) * width);
        let count = |fits: &dyn Fn(i64) -> bool| ages.iter().flatten().filter(|age| fits(*age)).count();
        Self {
            present: ((ages.len() - not_found - expired) * width).saturating_sub(null_value) as u64,
            null_value: null_value as u64,
            not_found: (not_found * width) as u64,
            outside_max_age: (expired * width) as u64,
            overdue: (count(&|age| age > freshness_us) * width) as u64,
            ahead: count(&|age| age < 0) as u64,
        }
    }

    /// Of computed values, which are there or null.
    pub(super) fn of_computed(columns: &[ArrayRef]) -> Self {
        let nulls: usize = columns.iter().map(Array::null_count).sum();
        let all: usize = columns.iter().map(Array::len).sum();
        Self { present: (all - nulls) as u64, null_value: nulls as u64, ..Self::default() }
    }
}

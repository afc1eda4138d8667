//! Rows of a view, as far as their vectors go.

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, RecordBatch};
use arrow::datatypes::{Float32Type, TimestampMicrosecondType};

use super::Metric;
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::online::row::Stamp;
use crate::view::FeatureView;

/// Rows that were checked: with a key, a time, and a vector that can be compared or none.
#[derive(Debug)]
pub(super) struct Rows {
    keys: Vec<u8>,
    /// End of each row's key.
    ends: Vec<usize>,
    pub(super) stamps: Vec<Stamp>,
    vectors: FixedSizeListArray,
    /// Whether the row has a vector.
    has: Vec<bool>,
    /// Rows whose vector cannot be compared.
    pub(super) unusable: u64,
}

/// What becomes of a vector that no distance can be computed of: one with a NaN or an infinity, one without direction where
/// the angle counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Unusable {
    /// The write fails and names the row; nothing is written.
    #[default]
    Refuse,
    /// The row counts as one without a vector: its key is known, and is no neighbour of anything.
    LeaveOut,
}

impl Rows {
    /// Checks `rows` of `view`, whose one feature is the vector.
    pub(super) fn read(view: &FeatureView, rows: &RecordBatch, metric: Metric, unusable: Unusable) -> Result<Self> {
        let rows = view.conform(rows)?;
        let keys = Keys::of(view.entity(), &rows)?;
        let mut encoded = Self {
            keys: Vec::with_capacity(keys.len() * 48),
            ends: Vec::with_capacity(keys.len()),
            stamps: stamps(view, &rows),
            vectors: vectors(rows.column(rows.num_columns() - 1)),
            has: Vec::with_capacity(keys.len()),
            unusable: 0,
        };
        for row in 0..keys.len() {
            if !keys.encode(row, &mut encoded.keys) {
                let what = format!("key of `{}`", view.entity().name());
                return Err(Core::invalid_data(what, format!("null in row {row}")).into());
            }
            encoded.ends.push(encoded.keys.len());
        }
        for row in 0..keys.len() {
            let refusal = encoded.vectors.is_valid(row).then(|| metric.refusal(encoded.slice(row))).flatten();
            if let Some(reason) = refusal.filter(|_| unusable == Unusable::Refuse) {
                let what = format!("`{}:{}` in row {row}", view.name(), view.features()[0].name);
                return Err(Core::invalid_data(what, reason).into());
            }
            encoded.unusable += u64::from(refusal.is_some());
            encoded.has.push(encoded.vectors.is_valid(row) && refusal.is_none());
        }
        Ok(encoded)
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn key(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.keys[start..self.ends[row]]
    }

    /// The vector of `row`, where it has one.
    pub(super) fn vector(&self, row: usize) -> Option<&[f32]> {
        self.has[row].then(|| self.slice(row))
    }

    fn slice(&self, row: usize) -> &[f32] {
        numbers(&self.vectors, row)
    }
}

/// The vectors of a column that was conformed.
pub(super) fn vectors(column: &ArrayRef) -> FixedSizeListArray {
    column.as_fixed_size_list().clone()
}

/// The numbers of one vector, valid or not.
pub(super) fn numbers(vectors: &FixedSizeListArray, row: usize) -> &[f32] {
    let width = usize::try_from(vectors.value_length()).unwrap_or(0);
    let start = usize::try_from(vectors.value_offset(row)).unwrap_or(0);
    &vectors.values().as_primitive::<Float32Type>().values()[start..start + width]
}

fn stamps(view: &FeatureView, rows: &RecordBatch) -> Vec<Stamp> {
    let first = view.entity().keys().len();
    let event_time = rows.column(first).as_primitive::<TimestampMicrosecondType>();
    let created = view.created().map(|_| rows.column(first + 1).as_primitive::<TimestampMicrosecondType>());
    let stamp = |row: usize| {
        let created = created.filter(|created| created.is_valid(row)).map(|created| created.value(row));
        Stamp { event_time: event_time.value(row), created }
    };
    (0..rows.num_rows()).map(stamp).collect()
}

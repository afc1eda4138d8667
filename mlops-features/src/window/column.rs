//! One column of events in the order that they are computed on.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use foldhash::fast::RandomState;
use mlops_core::Dataset;

use super::aligned::History;
use super::events::Values;
use super::value::{Kind, Value};
use super::view::WindowView;
use crate::error::Result;
use crate::offline::asof::group::NONE;
use crate::offline::asof::scan;

/// Values of the events that are kept, by their places.
pub(super) enum Column {
    Ints {
        values: Vec<i64>,
        present: Vec<bool>,
    },
    /// NaN where there is none.
    Reals(Vec<f64>),
    /// Positions in the dictionary, [`NONE`] where there is none.
    Texts {
        codes: Vec<u32>,
        dictionary: Vec<Arc<str>>,
    },
}

impl Column {
    /// Reads the column `at` of `view`, once.
    pub(super) fn read(view: &WindowView, at: usize, events: &Dataset, history: &History) -> Result<Self> {
        let name = view.columns()[at].name.as_str();
        let kind = view.plan().kinds[at];
        let mut column = Self::new(kind, history.kept());
        let mut known: HashMap<Arc<str>, u32, RandomState> = HashMap::default();
        let mut rows = 0;
        for batch in scan(events, &[name], history.block_rows())? {
            let batch: RecordBatch = batch?;
            let end = rows + batch.num_rows();
            let Some(places) = history.places().get(rows..end) else { return Err(history.changed(view, end)) };
            column.fill(&Values::read(batch.column(0), kind, name)?, places, &mut known);
            rows = end;
        }
        if rows != history.rows() {
            return Err(history.changed(view, rows));
        }
        Ok(column)
    }

    fn new(kind: Kind, events: usize) -> Self {
        match kind {
            Kind::Int => Self::Ints { values: vec![0; events], present: vec![false; events] },
            Kind::Real => Self::Reals(vec![f64::NAN; events]),
            Kind::Text => Self::Texts { codes: vec![NONE; events], dictionary: Vec::new() },
        }
    }

    fn fill(&mut self, values: &Values, places: &[u32], known: &mut HashMap<Arc<str>, u32, RandomState>) {
        let kept = places.iter().enumerate().filter(|(_, place)| **place != NONE);
        let kept = kept.map(|(row, place)| (row, *place as usize));
        match (self, values) {
            (Self::Reals(column), Values::Reals(values)) => {
                for (row, place) in kept.filter(|(row, _)| values.is_valid(*row)) {
                    let value = values.value(row);
                    // Adding zero makes the negative zero positive.
                    column[place] = if value.is_finite() { value + 0.0 } else { f64::NAN };
                }
            }
            (Self::Ints { values: column, present }, Values::Ints(values)) => {
                for (row, place) in kept.filter(|(row, _)| values.is_valid(*row)) {
                    (column[place], present[place]) = (values.value(row), true);
                }
            }
            (Self::Texts { codes, dictionary }, Values::Texts(values)) => {
                for (row, place) in kept.filter(|(row, _)| values.is_valid(*row)) {
                    let text = values.value(row);
                    codes[place] = known.get(text).copied().unwrap_or_else(|| {
                        let text: Arc<str> = text.into();
                        known.insert(text.clone(), dictionary.len() as u32);
                        dictionary.push(text);
                        dictionary.len() as u32 - 1
                    });
                }
            }
            _ => debug_assert!(false, "both are of the kind of the column"),
        }
    }

    /// The value at a place, where it is present.
    pub(super) fn get(&self, at: usize) -> Option<Value> {
        match self {
            Self::Ints { values, present } => present[at].then(|| Value::Int(values[at])),
            Self::Reals(values) => Value::real(values[at]),
            Self::Texts { codes, dictionary } => {
                dictionary.get(codes[at] as usize).map(|text| Value::Text(text.clone()))
            }
        }
    }
}
